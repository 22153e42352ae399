"""Moving pictures from and to files, through OpenCV's own codecs (reading: its bundled ffmpeg; writing.

VP8 in WebM, which browsers play).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np

from edgewright.detections import Frame, ImageRgb
from edgewright.errors import DataError, HostError

SUFFIXES = frozenset({".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm"})
USUAL_FPS = 25.0  # when a file does not say


def read_frames(path: Path) -> Iterator[Frame]:
    """Every frame of a video file that can be decoded, RGB.

    Raises:
        DataError: the file is missing, or not one frame of it decodes.
    """
    if not path.is_file():
        raise DataError(f"{path} is not there", expected="an image or a video file")
    capture = cv2.VideoCapture(str(path))
    try:
        fps = frame_rate(capture)
        index = 0
        while True:
            sound, pixels = capture.read()
            if not sound:
                break
            yield Frame(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False), index, index / fps)
            index += 1
    finally:
        capture.release()
    if index == 0:
        raise DataError(
            f"no frame of {path} can be decoded", expected=f"a video ({', '.join(sorted(SUFFIXES))})", fix="play it, or export it anew"
        )


def frame_rate(capture: cv2.VideoCapture) -> float:
    """Frames a second as the file says, or the usual where it says nothing sensible."""
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if 0 < fps <= 1000 else USUAL_FPS


def probe(path: Path) -> tuple[float, int | None]:
    """Frames a second and, where the file says so, how many frames; reads the header only."""
    capture = cv2.VideoCapture(str(path))
    try:
        frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        return frame_rate(capture), frames if 0 < frames < 1 << 31 else None
    finally:
        capture.release()


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """OpenCV complains about a WebM tag straight to file descriptor 2, each time, though the file is right; there is no switch for it."""
    held = os.dup(2)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device, not a path of ours
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(held, 2)
        os.close(held)


class WebmWriter:
    """Writes RGB frames as VP8 into a WebM file; the first frame fixes the size. A context manager."""

    def __init__(self, path: Path, fps: float) -> None:
        self._path = path
        self._fps = fps
        self._writer: cv2.VideoWriter | None = None

    def write(self, image_rgb: ImageRgb) -> None:
        """Append a frame, H x W x 3."""
        if self._writer is None:
            size_wh = (image_rgb.shape[1], image_rgb.shape[0])
            with _quiet_stderr():
                self._writer = cv2.VideoWriter(str(self._path), cv2.VideoWriter.fourcc(*"VP80"), self._fps, size_wh)
            if not self._writer.isOpened():
                raise HostError(
                    f"cannot write {self._path}", got="this OpenCV opens no VP8 encoder there", fix="check the folder, or use --out FOLDER"
                )
        self._writer.write(cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._writer is not None:
            self._writer.release()
