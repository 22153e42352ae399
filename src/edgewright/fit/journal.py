"""What is done survives SIGKILL: one line of JSON a finished step, on the disk before the next step starts.

A step is recalled only for the very inputs it was done with (their digest is in the line), only while the files it made are what they
were, and only if whoever asks can read its result. A line that was being written when the power went, and one that is not as we wrote it,
counts for nothing: its step is done again.
"""

import hashlib
import json
import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias, TypeVar

from edgewright.artifact import sha256_of
from edgewright.errors import InputError
from edgewright.printable import printable
from edgewright.whole_file import is_own_file, sync_folder, telling_of_the_disk, write_whole

Step: TypeAlias = tuple[dict[str, Any], list[Path]]  # the result of a step, and the files it made in the workspace
Read = TypeVar("Read")

MOST_BYTES = 32 << 20  # a step's line has kilobytes; with a hundred thousand calibration pictures, ten megabytes
MOST_LINES = 100_000  # a fit has some hundred
LONGEST_NAME = 200
FRESH = "run it without --resume"
# What reading a result fails with that is not what our own step would have left. InputError: a file of it cannot be read.
UNREADABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, InputError)


@dataclass(frozen=True, slots=True)
class Entry:
    """A finished step: its inputs' digest, its result, the files it made (path in the workspace -> sha256) and the seconds it took."""

    step: str
    inputs: str
    result: dict[str, Any]
    files: dict[str, str]
    seconds: float

    def line(self) -> bytes:
        """As it stands in the journal, with a digest that tells when a bit of it has turned."""
        return json.dumps({**asdict(self), "digest": self._digest()}).encode() + b"\n"

    @classmethod
    def of_line(cls, line: bytes) -> "Entry | None":
        """What `line` wrote, or nothing."""
        try:
            found: Any = json.loads(line)
            digest = found.pop("digest")
            entry = cls(**found)
            return entry if entry._is_sound() and digest == entry._digest() else None
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
            return None

    def _digest(self) -> str:
        return digest_of(asdict(self))[:16]

    def _is_sound(self) -> bool:
        return (
            isinstance(self.step, str)
            and len(self.step) <= LONGEST_NAME
            and isinstance(self.inputs, str)
            and isinstance(self.result, dict)
            and isinstance(self.files, dict)
            and all(_is_inside(path) and isinstance(sha, str) for path, sha in self.files.items())
            and isinstance(self.seconds, int | float)
            and math.isfinite(self.seconds)
            and self.seconds >= 0
        )


class Journal:
    """The steps of one fit in `folder`, oldest first; `lost` lines of an earlier run were not as it had written them.

    Raises:
        InputError: what is there is no journal, or larger than any.
        DiskError: it cannot be mended.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder
        self.lost = 0
        self._path = folder / "journal.jsonl"
        self._clock = clock
        self._entries = {(entry.step, entry.inputs): entry for entry in self._read()}
        self._used: dict[tuple[str, str], Entry] = {}  # the steps of this run, done or recalled

    @property
    def seconds(self) -> float:
        """What the steps of this run took, whichever process did them; a step that is asked for twice took its time once."""
        return sum(entry.seconds for entry in self._used.values())

    def step(self, name: str, inputs: Any, work: Callable[[], Step], read: Callable[[dict[str, Any]], Read]) -> Read:
        """What `read` makes of the result of the step `name` for these inputs, which is recalled, or done now.

        `work` returns the result and the files it made in the workspace; `read` fails on a result that `work` cannot have left.
        """
        digest = digest_of(inputs)
        entry = self._recall(name, digest)
        if entry is not None:
            try:
                found = read(entry.result)
            except UNREADABLE:
                pass  # it is done again
            else:
                self._used[name, digest] = entry
                return found
        started = self._clock()
        result, files = work()
        self._used[name, digest] = entry = self._record(name, digest, result, files, self._clock() - started)
        return read(entry.result)

    def _recall(self, name: str, digest: str) -> Entry | None:
        entry = self._entries.get((name, digest))
        if entry is None or any(not _is_file_with(self.folder / path, sha256) for path, sha256 in entry.files.items()):
            return None
        return entry

    def _record(self, name: str, digest: str, result: dict[str, Any], files: list[Path], seconds: float) -> Entry:
        with telling_of_the_disk(self._path):
            for path in files:
                _sync(path)
        held = {path.relative_to(self.folder).as_posix(): sha256_of(path) for path in files}
        # As it will be read: lists for tuples, text for keys.
        entry = Entry(name, digest, json.loads(json.dumps(result)), held, round(seconds, 3))
        self._append(entry.line())
        self._entries[name, digest] = entry
        return entry

    def _append(self, line: bytes) -> None:
        """The line stands in the file, on the disk; or the file is as it was."""
        with telling_of_the_disk(self._path, len(line)):
            is_new = not self._path.exists()
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            try:
                size = os.fstat(descriptor).st_size
                try:
                    _write_all(descriptor, line)
                    os.fsync(descriptor)
                except OSError:
                    with suppress(OSError):
                        os.ftruncate(descriptor, size)
                    raise
            finally:
                os.close(descriptor)
            if is_new:
                sync_folder(self.folder)

    def _read(self) -> list[Entry]:
        """The entries of an earlier run; what is none of ours, and a torn last line, is taken out of the file."""
        if not os.path.lexists(self._path):
            return []
        if not is_own_file(self._path):
            raise InputError(f"{printable(str(self._path), 300)} is no file", expected="the journal of an earlier fit", fix=FRESH)
        status = self._path.stat()
        whole = self._path.read_bytes() if status.st_size <= MOST_BYTES else b""
        if status.st_size > MOST_BYTES or whole.count(b"\n") > MOST_LINES:
            got, most = f"{status.st_size} bytes", f"at most {MOST_BYTES} in {MOST_LINES} lines"
            raise InputError(f"{printable(str(self._path), 300)} is too large for a journal", got=got, expected=most, fix=FRESH)
        *lines, torn = whole.split(b"\n")
        read = [Entry.of_line(line) for line in lines]
        entries = [entry for entry in read if entry is not None]
        self.lost += len(read) - len(entries)
        # Another name of the same file (a backup of hard links) is not ours to append to.
        if torn or self.lost or status.st_nlink > 1:
            write_whole(self._path, b"".join(entry.line() for entry in entries))
        return entries


def digest_of(document: Any) -> str:
    """The digest of a JSON document, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()


def _is_inside(path: Any) -> bool:
    """Whether it names a file below a folder, by plain steps down."""
    if not isinstance(path, str) or "\0" in path or len(path) > 4 * LONGEST_NAME:
        return False
    pure = PurePosixPath(path)
    return bool(pure.parts) and not pure.is_absolute() and ".." not in pure.parts


def _is_file_with(path: Path, sha256: str) -> bool:
    return is_own_file(path) and sha256_of(path) == sha256


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
