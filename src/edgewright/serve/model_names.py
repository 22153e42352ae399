"""What models are called."""

import re
from pathlib import Path
from typing import Final

MODEL_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", re.ASCII)


def name_of(path: Path) -> str:
    """What a model is called that was only given by its place."""
    name = path.stem if path.suffix == ".onnx" else path.absolute().name
    return name if MODEL_NAME.fullmatch(name) else "model"
