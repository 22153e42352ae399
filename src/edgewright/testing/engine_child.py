"""The process that an engine under check may crash.

    python -P -m edgewright.testing.engine_child mnn float32 1 -- cut.onnx scratch/

It finds fed.npz and names.json in the folder, converts the model into it, runs it once and leaves found.npz. It writes one line of JSON:
{"computes_in", "outputs"} or {"refused": "..."}; what the runtime prints goes to standard error.
"""

import argparse
import json
import os
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.engines import open_engine
from edgewright.engines.base import ENGINES
from edgewright.engines.conversion import convert
from edgewright.errors import EdgewrightError


def main() -> int:
    """Run one model once; 0 whenever there is an answer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("precision", choices=("float32", "float16", "bfloat16", "int8"))
    parser.add_argument("threads", type=int)
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    stream = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # libraries that print do not disturb the answer
    try:
        answer = _answer(options)
    except EdgewrightError as error:
        answer = {"refused": str(error)}
    stream.write(json.dumps(answer) + "\n")
    stream.flush()
    return 0


def _answer(options: Any) -> dict[str, Any]:
    folder = options.folder
    names = json.loads((folder / "names.json").read_text("ascii"))
    with np.load(folder / "fed.npz", allow_pickle=False) as held:
        feeds = {name: held[f"arr_{at}"] for at, name in enumerate(names)}
    [file, *_] = convert(options.engine, options.model, folder, precision=options.precision)
    with closing(open_engine(options.engine, file, threads=options.threads, precision=options.precision)) as engine:
        outputs = engine.run(feeds)
        np.savez(folder / "found.npz", *outputs)
        return {"computes_in": engine.describe().precision, "outputs": len(outputs)}


if __name__ == "__main__":
    sys.exit(main())
