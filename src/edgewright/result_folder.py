"""The folder a result goes to: ours alone while we work, old or new when we are done, whole even when we are killed.

Work happens in a folder of our own inside it (`OUT/.fit`), and is published from there at the very end. Several files cannot take their
places in one step, so `publish` first writes down what is to go where. Then the files move: models, whose names hold their digest, so that
an older artifact.json never points at a newer model; artifact.json, with which the new result counts; the rest. Models that it no longer
names go last.

Whoever looks in between, or after a SIGKILL in between, finds the old artifact or the new one, whole. What can be seen in that window:
evidence.json and report.html of the older result beside the new artifact.json (evidence.json names the digest of its artifact), and models
of both. A reader who opened the older artifact.json may find its model gone by the time it opens that. The next run that takes the folder
finishes the moves from what was written down; where files that were to move are no longer what they were, it drops them instead.

Nothing in the folder is trusted: links are replaced or removed, never followed, and only names that we publish are touched. The folder
itself may be a link. Against someone who changes it while we work there is no protection.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from edgewright.artifact import FILE_NAME, MOST_JSON_BYTES, sha256_of
from edgewright.errors import InputError
from edgewright.printable import printable
from edgewright.whole_file import (
    SHOWN,
    is_own_file,
    is_own_folder,
    locked,
    make_folder,
    remove,
    sweep,
    sync_folder,
    telling_of_the_disk,
    write_whole,
)

FIT, QUANTIZE, CALIBRATE, RECOVER = ".fit", ".quantize", ".calibrate", ".recover"
WORKS: Final = (FIT, QUANTIZE, CALIBRATE, RECOVER)
GONE_ON_WITH: Final = (FIT, RECOVER)  # by --resume, which finds in them what a killed run had finished
STAGED = "staged"
INTENT = "publication.json"
MOST_INTENT_BYTES = 1 << 16
FIXED_NAMES: Final = (
    FILE_NAME,
    "evidence.json",
    "report.html",
    "recovery.json",
    "calibration.json",
    "calibration.jpg",
    "calibration.npz",
)
# In ONNX, or in an engine's own format: what it opens, its weights, the names of its ports.
MODEL = re.compile(r"model-[0-9a-f]{12}\.(onnx|xml|bin|mnn|param|ports\.json)")
DIGEST = re.compile(r"[0-9a-f]{64}")
COMMITS = (FILE_NAME, "calibration.json")  # with these a new result counts


@contextmanager
def working_folder(out: Path, name: str) -> Iterator[Path]:
    """`out` locked, what a killed run was about to publish in it published, and in it the folder `name` to work in.

    What earlier runs left in the working folder is still there; links, pipes and unfinished files are not.

    Raises:
        InputError: another run is at work in `out`, or it cannot be what it is to become.
        DiskError: something cannot be written.
    """
    with locked(out):
        _refuse_folders(out)
        settle(out)
        work = out / name
        if os.path.lexists(work) and not is_own_folder(work):
            raise InputError(f"{printable(str(work), SHOWN)} is a link or a file", expected="a folder of ours", fix="remove it")
        make_folder(work)
        sweep(work)
        yield work


def refuse_foreign(out: Path) -> None:
    """Refuse a folder that holds something, and nothing by which we know our own.

    Raises:
        InputError: it is one.
    """
    if out.is_dir() and any(out.iterdir()) and not any(os.path.lexists(out / name) for name in (*WORKS, FILE_NAME)):
        raise InputError(
            f"--out {printable(str(out), SHOWN)} holds something that edgewright did not write",
            expected="a new folder, an empty one or an earlier result",
        )


def staging(work: Path) -> Path:
    """An empty folder for the files to publish."""
    staged = work / STAGED
    remove(staged)
    make_folder(staged)
    return staged


def publish(staged: Path, out: Path) -> None:
    """Move every file of `staged` into `out`, as the module says; the files are on the disk already.

    Raises:
        DiskError: one cannot be moved. The next run on `out` tries again.
    """
    work = staged.parent
    with telling_of_the_disk(out):
        files = {path.name: sha256_of(path) for path in staged.iterdir()}
        sync_folder(staged)
    if not _are_ours(files):  # it would be written down, and not believed
        raise AssertionError(f"no names of a result: {sorted(files)}")
    write_whole(work / INTENT, json.dumps(files).encode())
    with telling_of_the_disk(out):
        sync_folder(work)
        _complete(work, out)


def settle(out: Path) -> None:
    """Finish or drop what killed runs were about to publish in `out`, which is locked; what was only staged is dropped.

    Raises:
        DiskError: a file cannot be moved.
    """
    for name in WORKS:
        work = out / name
        if is_own_folder(work):
            with telling_of_the_disk(out):
                _complete(work, out)
            if name not in GONE_ON_WITH:
                remove(work)


def empty(work: Path) -> None:
    """Take everything out of a working folder."""
    with telling_of_the_disk(work):
        entries = list(work.iterdir())
    for entry in entries:
        remove(entry)


def _complete(work: Path, out: Path) -> None:
    """Move what is written down from `work` into `out`, or drop it where it is not all there any more; nothing of it stays behind."""
    staged, files = work / STAGED, _read_intent(work / INTENT)
    if all(_is(staged / name, sha) or _is(out / name, sha) for name, sha in files.items()):
        _move(staged, out, files)
    elif FILE_NAME not in files or not _is(out / FILE_NAME, files[FILE_NAME]):
        _drop_strays(out, files)
    remove(staged)
    remove(work / INTENT)


def _move(staged: Path, out: Path, files: dict[str, str]) -> None:
    if not files:
        return
    for name in sorted(files, key=_order):
        with telling_of_the_disk(out / name):
            if name in COMMITS:  # what it names is there, after a power cut too
                sync_folder(out)
            if _is(staged / name, files[name]):
                os.replace(staged / name, out / name)  # noqa: PTH105 - the atomic replace is the point
    with telling_of_the_disk(out):
        sync_folder(out)
        if FILE_NAME in files:
            for old in [path for path in out.iterdir() if MODEL.fullmatch(path.name) and path.name not in files]:
                remove(old)


def _drop_strays(out: Path, files: dict[str, str]) -> None:
    """Models that were moved for a result which will not follow."""
    artifact = out / FILE_NAME
    named = b""
    if is_own_file(artifact):
        with artifact.open("rb") as stream:
            named = stream.read(MOST_JSON_BYTES)
    for name, sha in files.items():
        if MODEL.fullmatch(name) and _is(out / name, sha) and name.encode() not in named:
            remove(out / name)


def _order(name: str) -> tuple[int, str]:
    if name in COMMITS:
        return 1, name
    return 0 if MODEL.fullmatch(name) or name.startswith("calibration") else 2, name


def _read_intent(path: Path) -> dict[str, str]:
    """File name -> sha256; nothing where it is not what we write."""
    if not is_own_file(path) or path.stat().st_size > MOST_INTENT_BYTES:
        return {}
    try:
        found: Any = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and _are_ours(found) else {}


def _are_ours(files: dict[Any, Any]) -> bool:
    """Whether these are names that a result has, each with a digest."""
    return all(
        (name in FIXED_NAMES or MODEL.fullmatch(name)) and isinstance(sha, str) and DIGEST.fullmatch(sha) for name, sha in files.items()
    )


def _is(path: Path, sha256: str) -> bool:
    return is_own_file(path) and sha256_of(path) == sha256


def _refuse_folders(out: Path) -> None:
    """Before the work, not after it: no file takes the place of a folder."""
    for name in FIXED_NAMES:
        if is_own_folder(out / name):
            raise InputError(f"{printable(str(out / name), SHOWN)} is a folder", expected="a file of ours, or nothing", fix="move it away")
