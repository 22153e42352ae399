"""A recorded stretch, shown again: its pictures in order, at the times they were captured where a camera is played."""

from pathlib import Path

import numpy as np

from edgewright.detections import ImageRgb
from edgewright.run.readers.base import SourceOrder
from edgewright.run.stretch import LONGEST_WAIT_S, StretchFrame, read_stretch


def open_source(order: SourceOrder) -> "ReplayReader":
    """Raises DataError, with the first frame: the folder holds no stretch."""
    return ReplayReader(Path(order.address), loop=order.loop)


class ReplayReader:
    """The frames of a stretch that have a picture."""

    name = "a recorded stretch"
    is_patient = False
    fps: float | None = None
    frames: int | None = None

    def __init__(self, folder: Path, *, loop: bool) -> None:
        self.time_s = 0.0
        self._folder, self._loop = folder, loop
        self._coming = read_stretch(folder)
        self._pixels: ImageRgb | None = None
        self._before_s: float | None = None

    def next(self) -> bool | None:
        return self._take() or (self._loop and self._begin_again())

    def _take(self) -> bool:
        for frame in self._coming:
            if frame.image_rgb is not None:
                self._pixels = frame.image_rgb
                self._move_to(frame)
                return True
        return False

    def _begin_again(self) -> bool:
        self._coming, self._before_s = read_stretch(self._folder), None
        return self._take()

    def _move_to(self, frame: StretchFrame) -> None:
        """A clock that was another before a restart of the recording service is no reason to wait, or to go back."""
        at_s = frame.facts.monotonic_s
        if self._before_s is not None:
            self.time_s += min(max(at_s - self._before_s, 0.0), LONGEST_WAIT_S)
        self._before_s = at_s

    def size_wh(self) -> tuple[int, int]:
        assert self._pixels is not None  # noqa: S101 - `next` came before
        return self._pixels.shape[1], self._pixels.shape[0]

    def draw(self, picture: ImageRgb) -> None:
        assert self._pixels is not None  # noqa: S101 - `next` came before
        np.copyto(picture, self._pixels)

    def close(self) -> None:
        """Nothing is open between two pictures."""
