"""The child at the door as it is, but its examination does to it what a hostile file might: crash, hang, or eat all memory.

python -m door.hostile_child ERRAND PATH: the name of the file says what happens.
"""

import ctypes
import os
import sys
from pathlib import Path

import numpy as np

from edgewright.door import child, limits
from edgewright.errors import ModelError

PATIENCE_S = 1.0


def crash() -> None:
    """What a bug in a native parser does."""
    ctypes.string_at(0)


def hang() -> None:
    """What a loop without an end does."""
    while True:
        pass


def devour() -> None:
    """What a size that the file claims does."""
    held = [np.empty(1 << 22) for _ in range(1 << 20)]
    assert held


def write() -> None:
    """What nobody who only reads should do."""
    Path("stolen").write_text("a byte")


def chatter() -> None:
    """Libraries print; that must not pass for an answer."""
    os.write(1, b'{"admitted": {}}\n')
    sys.stderr.write("\x1b[31mcalled out\n")
    raise KeyError("\x1b[31mlost\n" * 1000)


def babble() -> None:
    """What names without end might make of an inspection."""
    raise ModelError("a" * (1 << 20))


def quit_at_once() -> None:
    """An end without a word."""
    os._exit(7)


def inspect(path: Path, examination: child.Examination) -> dict[str, object]:
    """Begin as the real one does, then do as the file's name says."""
    examination.begin(path, [path])
    globals()[path.stem]()
    return {"survived": path.stem}


if __name__ == "__main__":
    child.ERRANDS["inspect"] = inspect
    limits.LEAST_S = PATIENCE_S
    limits.IMPORTS = 0.0
    sys.exit(child.main())
