"""A video file: every frame that decodes, with its place in time."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgewright.data import video
from edgewright.detections import Frame, ImageRgb
from edgewright.run.readers.base import SourceOrder


def open_source(order: SourceOrder) -> "ClipReader":
    """Raises DataError: it is no clip, or not one of its frames decodes."""
    return ClipReader(Path(order.address), loop=order.loop)


class ClipReader:
    """Its frames in turn; with `loop`, again and again, and time goes on."""

    name = "OpenCV FFmpeg, from a file"
    is_patient = False

    def __init__(self, path: Path, *, loop: bool) -> None:
        self.fps, self.frames = video.probe(path)
        if loop:
            self.frames = None
        self.time_s = 0.0
        self._path, self._loop = path, loop
        self._began_s = 0.0
        self._frame: Frame | None = None
        self._coming = self._open()

    def next(self) -> bool | None:
        self._frame = next(self._coming, None)
        if self._frame is None and self._loop:
            self._began_s = self.time_s + 1 / (self.fps or video.USUAL_FPS)
            self._coming = self._open()
            self._frame = next(self._coming, None)
        if self._frame is None:
            return False
        self.time_s = self._began_s + self._frame.time_s
        return True

    def _open(self) -> Iterator[Frame]:
        return video.read_frames(self._path, video.Reading())

    def size_wh(self) -> tuple[int, int]:
        pixels = self._pixels()
        return pixels.shape[1], pixels.shape[0]

    def draw(self, picture: ImageRgb) -> None:
        np.copyto(picture, self._pixels())

    def _pixels(self) -> ImageRgb:
        assert self._frame is not None  # noqa: S101 - `next` came before
        return self._frame.image_rgb

    def close(self) -> None:
        """The generator holds the file."""
        del self._coming
