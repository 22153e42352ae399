"""Which models have been admitted before, so that the child at the door need not be asked again about the same bytes on the same machine.

A record lies in `$EDGEWRIGHT_CACHE`, else `$XDG_CACHE_HOME/edgewright`, else `~/.cache/edgewright`. Its name is a digest over all that
the child's verdict rested on: the model's bytes as they are now and their description, this edgewright, the engine's version, the
processor. Change one, and nothing is remembered. What a record holds was written by whoever could write there, so it is parsed like any
stranger's file, and one that is not ours alone (another owner, others may write) is not believed. `EDGEWRIGHT_CACHE=off` remembers nothing.

Nothing here is an error: what cannot be read, written or believed is asked anew.
"""

import hashlib
import json
import mmap
import os
import secrets
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgewright.engines.base import engine_module
from edgewright.errors import EdgewrightError
from edgewright.regular_file import open_regular
from edgewright.version import __version__

VARIABLE = "EDGEWRIGHT_CACHE"
OFF = frozenset({"", "off"})
FOLDER = "admitted"
SUFFIX = ".json"
UNFINISHED = ".part"
MOST_RECORDS = 256  # of a few kilobytes each; the oldest go
MOST_BYTES = 1 << 20  # of a record: the description of a detector with 1,000 classes takes 20 kB
OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
PROCESSOR = ("model name", "flags", "Features", "CPU implementer", "CPU part")  # as the kernel calls them, on x86 and Arm
MOST_CPUINFO_BYTES = 1 << 14  # the first processor's lines
ELSEWHERE = b"location"  # the key under which an ONNX tensor names the file that its data lie in


def key_of(kind: str, what: dict[str, Any], engine: str) -> str | None:
    """The name of the record about `what`; None where nothing is to be remembered, or the engine is not there to be named."""
    if _folder() is None:
        return None
    try:
        version = engine_module(engine).version()
    except EdgewrightError:
        return None
    rests_on = [kind, what, __version__, engine, version, _processor()]
    return hashlib.sha256(json.dumps(rests_on, sort_keys=True).encode()).hexdigest()


def recall(key: str | None) -> dict[str, Any] | None:
    """What was remembered under that name; a stranger's words, if a stranger could write there."""
    folder = _folder()
    if key is None or folder is None:
        return None
    try:
        if not _is_ours(os.lstat(folder)):
            return None
        descriptor = os.open(folder / f"{key}{SUFFIX}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or not _is_ours(status) or status.st_size > MOST_BYTES:
                return None
            document = json.loads(stream.read(MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def remember(key: str | None, document: dict[str, Any]) -> None:
    """Keep it under that name, if that can be done."""
    folder = _folder()
    if key is None or folder is None:
        return
    data = json.dumps(document).encode()
    if len(data) > MOST_BYTES:
        return
    with suppress(OSError):
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if _is_ours(os.lstat(folder)):
            _write(folder / f"{key}{SUFFIX}", data)
            _drop_the_oldest(folder)


def is_all_there_is(model: Path, listed: Sequence[Path]) -> bool:
    """Whether an engine that opens `model` reads no file but the `listed` ones, whose digests are known."""
    if model.suffix == ".xml":  # OpenVINO's: the weights lie beside it, under its name
        return model.with_suffix(".bin") in listed
    if model.suffix not in (".onnx", ".ort"):
        return False
    try:
        with open_regular(model) as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            # The word may stand for something else; then the child is asked once too often.
            return data.find(ELSEWHERE) < 0
    except (OSError, ValueError):
        return False


def _folder() -> Path | None:
    named = os.environ.get(VARIABLE)
    if named is not None:
        return None if named.strip().lower() in OFF else Path(named).absolute() / FOLDER
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # noqa: PTH117 - the XDG specification: a relative path is to be ignored
        base = os.path.expanduser("~/.cache")  # noqa: PTH111 - Path.expanduser raises where there is no home
    return Path(base) / "edgewright" / FOLDER if os.path.isabs(base) else None  # noqa: PTH117


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & OTHERS_MAY_WRITE and not stat.S_ISLNK(status.st_mode)


def _write(path: Path, data: bytes) -> None:
    unfinished = path.with_name(f"{secrets.token_hex(8)}{UNFINISHED}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        os.replace(unfinished, path)  # noqa: PTH105 - the atomic replace is the point
    except OSError:
        with suppress(OSError):
            unfinished.unlink()
        raise


def _drop_the_oldest(folder: Path) -> None:
    """What killed runs left unfinished grows old as well."""
    with os.scandir(folder) as entries:
        ours = [entry for entry in entries if entry.name.endswith((SUFFIX, UNFINISHED)) and entry.is_file(follow_symlinks=False)]
    if len(ours) > MOST_RECORDS:
        ours.sort(key=lambda entry: entry.stat(follow_symlinks=False).st_mtime_ns)
        for entry in ours[: len(ours) - MOST_RECORDS]:
            with suppress(OSError):
                os.unlink(entry.path)  # noqa: PTH108 - a path of scandir's


def _processor() -> list[str]:
    """What tells this processor from another on which the model may not run, or otherwise."""
    try:
        with open("/proc/cpuinfo", "rb") as stream:  # noqa: PTH123 - the kernel's, and only its beginning
            first = stream.read(MOST_CPUINFO_BYTES).decode("utf-8", "replace").partition("\n\n")[0]
    except OSError:
        first = ""
    return [os.uname().machine, *(line for line in first.splitlines() if line.startswith(PROCESSOR))]
