"""The process that runs a foreign converter.

    python -P -m edgewright.engines.conversion_child openvino float32 -- cut.onnx made/

It writes one line of JSON: {"files": [...]} by their names in the folder, or {"refused": {...}}. What a converter prints goes to standard
error instead.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, cast

from edgewright.engines.base import ENGINES, Converter, engine_module
from edgewright.errors import EdgewrightError
from edgewright.printable import printable


def main() -> int:
    """Convert one model; 0 whenever there is an answer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("precision", choices=("float32", "float16", "bfloat16", "int8"))
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    stream = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # libraries that print do not disturb the answer
    stream.write(json.dumps(_answer(options.engine, options.source, options.folder, options.precision)) + "\n")
    stream.flush()
    return 0


def _answer(engine: str, source: Path, folder: Path, precision: Any) -> dict[str, Any]:
    converter = cast("Converter", engine_module(engine))
    try:
        return {"files": [path.relative_to(folder).as_posix() for path in converter.convert(source, folder, precision)]}
    except EdgewrightError as error:
        return {"refused": {"what": error.what, "got": error.got, "expected": error.expected, "fix": error.fix}}
    except Exception as error:  # noqa: BLE001 - the edge of the process, and foreign code that raises what it likes
        got = printable(f"{type(error).__name__}: {error}", 300)
        what = f"the converter of {engine} cannot take {printable(source.name)}"
        return {"refused": {"what": what, "got": got, "expected": None, "fix": "use another engine"}}


if __name__ == "__main__":
    sys.exit(main())
