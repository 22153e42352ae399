"""The folder a fit works in: `OUT/.fit`, locked against a second fit, thrown away when the work is begun anew.

What the user asked for appears in OUT itself only at the very end, file by file, each replaced in one step; until then an older
result stays whole.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgewright.artifact import FILE_NAME
from edgewright.errors import InputError

WORK = ".fit"


@contextmanager
def workspace(out: Path, *, resume: bool) -> Iterator[Path]:
    """The locked working folder of `out`, emptied unless `resume`.

    Raises:
        InputError: `out` is a file, or holds something that no fit wrote, or another fit is at work in it.
    """
    _refuse_foreign(out)
    work = out / WORK
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"another fit is at work in {out}", fix="wait for it, or choose another --out") from None
        if not resume:
            for entry in work.iterdir():
                if entry.name != "lock":
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        yield work


def publish(staged: Path, out: Path) -> None:
    """Move every file of `staged` into `out`, artifact.json after the model it names, and take away models that it no longer names."""
    new = sorted(staged.iterdir(), key=lambda path: (path.suffix == ".json", path.name))
    for path in new:
        os.replace(path, out / path.name)  # noqa: PTH105 - the atomic replace is the point
    kept = {path.name for path in new}
    for old in out.glob("model-*.onnx") if FILE_NAME in kept else ():
        if old.name not in kept:
            old.unlink()


def tidy(work: Path) -> None:
    """Drop the candidates' models, which weigh most and can be made again; what is left is small and serves a `--resume`."""
    for entry in work.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)


def _refuse_foreign(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file", expected="a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / WORK).is_dir() and not (out / FILE_NAME).is_file():
        raise InputError(f"--out {out} holds something that no fit wrote", expected="a new folder, an empty one or an earlier fit's")
