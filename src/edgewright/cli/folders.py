"""Folders that are named on the command line."""

from pathlib import Path

from edgewright.errors import InputError


def utf8(path: Path) -> Path:
    """The path, for what passes it to ONNX Runtime; refused before the work."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"--out {path} is not UTF-8, which ONNX Runtime asks of paths", fix="name another folder") from error
    return path
