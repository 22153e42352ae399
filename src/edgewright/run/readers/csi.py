"""A Raspberry Pi's own camera, through picamera2: the ISP scales and gives RGB, so the processor touches no pixel.

Written from picamera2's manual (streams, `capture_request`, formats: what libcamera calls BGR888 lies in memory as R, G, B). Nobody has
run it on a Pi (docs/unproven.md).
"""

from typing import Any

import numpy as np

from edgewright.detections import ImageRgb
from edgewright.errors import HostError
from edgewright.run.readers.base import ReaderLost, SourceOrder

USUAL_WH = (1280, 720)
USUAL_FPS = 30.0


def open_source(order: SourceOrder) -> "CsiReader":
    """Raises HostError: picamera2 is not installed. Raises ReaderLost: there is no such camera, or somebody else has it."""
    try:
        import picamera2  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - Debian's package, on a Pi only
    except ImportError as error:
        raise HostError("the camera module needs picamera2", fix="run: sudo apt-get install python3-picamera2") from error
    number = int(order.address.removeprefix("csi:") or 0)
    try:
        return CsiReader(picamera2.Picamera2(number), order)
    except (RuntimeError, IndexError) as error:
        raise ReaderLost(f"camera {number} cannot be opened: {error}") from error


class CsiReader:
    """A running camera."""

    name = "picamera2"
    is_patient = False
    frames: int | None = None
    time_s = 0.0

    def __init__(self, camera: Any, order: SourceOrder) -> None:
        self._camera = camera
        self.fps: float | None = order.fps or USUAL_FPS
        size = order.size_wh or USUAL_WH
        frame_us = round(1e6 / self.fps)
        camera.configure(
            camera.create_video_configuration(
                main={"size": size, "format": "BGR888"}, controls={"FrameDurationLimits": (frame_us, frame_us)}, buffer_count=4
            )
        )
        camera.start()
        self._pixels: ImageRgb | None = None

    def next(self) -> bool | None:
        self._pixels = None
        return True

    def size_wh(self) -> tuple[int, int]:
        pixels = self._taken()
        return pixels.shape[1], pixels.shape[0]

    def draw(self, picture: ImageRgb) -> None:
        np.copyto(picture, self._taken())

    def _taken(self) -> ImageRgb:
        if self._pixels is None:
            pixels: ImageRgb = self._camera.capture_array("main")
            self._pixels = pixels
        return self._pixels

    def close(self) -> None:
        self._camera.stop()
        self._camera.close()
