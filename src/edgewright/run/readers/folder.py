"""A folder of pictures: those that are there, in the order of their names, or (`watch`) those that arrive.

A picture that somebody is still writing is taken once it has not changed for a look, and one that does not decode is passed over. One that
changes after that has arrived again: a slow copy that paused, or a camera that always writes the same name.
"""

import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import numpy as np

from edgewright.data.images import SUFFIXES, read_image
from edgewright.detections import ImageRgb
from edgewright.errors import DataError, InputError
from edgewright.run.readers.base import ReaderLost, SourceOrder

State: TypeAlias = tuple[int, int]  # bytes, and when it was last written (ns)

LOOK_EVERY_S = 0.2
MOST_FILES = 1_000_000
USUAL_FPS = 1.0  # of pictures in a folder, where somebody asks for their times


def open_source(order: SourceOrder) -> "FolderReader":
    """Raises ReaderLost: the folder is not there now. Raises InputError: it holds no pictures, and is not watched."""
    return FolderReader(Path(order.address), watch=order.watch, loop=order.loop)


class FolderReader:
    """Pictures in turn."""

    name = "pictures of a folder"
    fps: float | None = None

    def __init__(self, folder: Path, *, watch: bool, loop: bool) -> None:
        self._folder, self._loop, self.is_patient = folder, loop and not watch, watch
        self._pixels: ImageRgb | None = None
        self.time_s = -1 / USUAL_FPS
        self.broken = 0
        found = [] if watch else sorted(_pictures(folder))
        if not found and not watch:
            raise InputError(f"there is no picture in {folder}", expected=f"files that end in {', '.join(sorted(SUFFIXES))}")
        self.frames = None if watch or loop else len(found)
        self._coming: Iterator[Path | None] = self._arriving(_pictures(folder)) if watch else self._there(found)

    def next(self) -> bool | None:
        for path in self._coming:
            if path is None:
                return None
            try:
                self._pixels = read_image(path)
            except DataError:
                self.broken += 1
                continue
            self.time_s += 1 / USUAL_FPS
            return True
        return False

    def _there(self, names: list[str]) -> Iterator[Path]:
        while True:
            sound_before = self.time_s
            yield from (self._folder / name for name in names)
            if not self._loop or self.time_s == sound_before:
                return

    def _arriving(self, known: dict[str, State]) -> Iterator[Path | None]:
        before = known
        while True:
            now = _pictures(self._folder)
            settled = [name for name, state in sorted(now.items()) if before.get(name) == state and known.get(name) != state]
            known = {name: state for name, state in known.items() if name in now} | {name: now[name] for name in settled}
            before = now
            yield from (self._folder / name for name in settled)
            time.sleep(LOOK_EVERY_S)
            yield None

    def size_wh(self) -> tuple[int, int]:
        assert self._pixels is not None  # noqa: S101 - `next` came before
        return self._pixels.shape[1], self._pixels.shape[0]

    def draw(self, picture: ImageRgb) -> None:
        assert self._pixels is not None  # noqa: S101 - `next` came before
        np.copyto(picture, self._pixels)

    def close(self) -> None:
        """Nothing is open between two pictures."""


def _pictures(folder: Path) -> dict[str, State]:
    """Names of pictures, and what changes while one is written."""
    found: dict[str, State] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if Path(entry.name).suffix.lower() not in SUFFIXES or entry.name.startswith("."):
                    continue
                with suppress(FileNotFoundError):  # somebody takes pictures away while we look
                    state = entry.stat()
                    if stat.S_ISREG(state.st_mode):
                        found[entry.name] = (state.st_size, state.st_mtime_ns)
                if len(found) > MOST_FILES:
                    raise InputError(f"there are more than {MOST_FILES} pictures in {folder}")
    except OSError as error:
        raise ReaderLost(f"the folder cannot be read: {(error.strerror or str(error)).lower()}") from error
    return found
