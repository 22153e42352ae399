"""Quantize an ONNX model with OpenVINO and NNCF as their documentation has it, in a Python that has both.

    PEER/bin/python -I nncf_script.py model.onnx pictures.npy out/

`pictures.npy` holds what the model is fed, [pictures, 1, ...]. It writes out/model.xml and model.bin, and one line of JSON:
{"done": version of NNCF} or {"error": "..."}. Nothing of edgewright is imported: this file is all that enters that environment.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

# Both report what is done with them to a web service; where the package that does it is not there, they do without.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # how an import is made to fail, says importlib's documentation


def main() -> int:
    """Quantize one model."""
    model, pictures, folder = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # they print progress on standard output
    try:
        answer = {"done": quantize(model, Path(pictures), Path(folder))}
    except Exception as error:  # noqa: BLE001 - the edge of the process, and foreign code that raises what it likes
        answer = {"error": f"{type(error).__name__}: {error}"[:300]}
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
    return 3 if "error" in answer else 0


def quantize(model: str, pictures: Path, folder: Path) -> str:
    """Post-training quantization with every default but the number of pictures."""
    import nncf  # noqa: PLC0415 - heavy, and refused in a sentence where it is not there
    import numpy as np  # noqa: PLC0415
    import openvino  # noqa: PLC0415

    feeds: Any = np.load(pictures, mmap_mode="r")
    dataset = nncf.Dataset(feeds, np.array)  # each is copied out of the file when its turn comes
    quantized = nncf.quantize(openvino.convert_model(model), dataset, subset_size=len(feeds))
    openvino.save_model(quantized, folder / "model.xml")
    return str(nncf.__version__)


if __name__ == "__main__":
    sys.exit(main())
