"""What is done survives SIGKILL: one line of JSON a finished step, on the disk before the next step starts.

A step is recalled only for the very inputs it was done with (their digest is in the line) and only while the files it made are what they
were. A line that was being written when the power went is cut off when the journal is opened again.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from edgewright.artifact import sha256_of

Step: TypeAlias = tuple[dict[str, Any], list[Path]]  # the result of a step, and the files it made in the workspace


@dataclass(frozen=True, slots=True)
class Entry:
    """A finished step: its inputs' digest, its result, the files it made (path in the workspace -> sha256) and the seconds it took."""

    step: str
    inputs: str
    result: dict[str, Any]
    files: dict[str, str]
    seconds: float


class Journal:
    """The steps of one fit in `folder`, oldest first."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder
        self._path = folder / "journal.jsonl"
        self._clock = clock
        self._entries = {(entry.step, entry.inputs): entry for entry in _read(self._path)}
        self._used: dict[tuple[str, str], Entry] = {}  # the steps of this run, done or recalled

    @property
    def seconds(self) -> float:
        """What the steps of this run took, whichever process did them; a step that is asked for twice took its time once."""
        return sum(entry.seconds for entry in self._used.values())

    def step(self, name: str, inputs: Any, work: Callable[[], Step]) -> Entry:
        """The finished step `name` for these inputs.

        Recalled, or done now by `work`, which returns its result and the files it made in the workspace.
        """
        digest = digest_of(inputs)
        entry = self._recall(name, digest)
        if entry is None:
            started = self._clock()
            result, files = work()
            entry = self._record(name, digest, result, files, self._clock() - started)
        self._used[name, digest] = entry
        return entry

    def _recall(self, name: str, digest: str) -> Entry | None:
        entry = self._entries.get((name, digest))
        if entry is None or any(not _is_file_with(self.folder / path, sha256) for path, sha256 in entry.files.items()):
            return None
        return entry

    def _record(self, name: str, digest: str, result: dict[str, Any], files: list[Path], seconds: float) -> Entry:
        for path in files:
            _sync(path)
        held = {path.relative_to(self.folder).as_posix(): sha256_of(path) for path in files}
        entry = Entry(name, digest, result, held, round(seconds, 3))
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(entry)) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        self._entries[name, digest] = entry
        return entry


def digest_of(document: Any) -> str:
    """The digest of a JSON document, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()


def _read(path: Path) -> list[Entry]:
    """The entries of a journal; a torn last line is removed from the file."""
    if not path.is_file():
        return []
    whole = path.read_bytes()
    sound = whole[: whole.rfind(b"\n") + 1]
    if len(sound) < len(whole):
        with path.open("r+b") as stream:
            stream.truncate(len(sound))
    return [Entry(**json.loads(line)) for line in sound.splitlines()]


def _is_file_with(path: Path, sha256: str) -> bool:
    return path.is_file() and sha256_of(path) == sha256


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
