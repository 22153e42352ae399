"""Cameras by address or device, through OpenCV's own ffmpeg and V4L2. A read may hang for ever: this runs where it can be killed."""

import os

import cv2
import numpy as np
from numpy.typing import NDArray

from edgewright.detections import ImageRgb
from edgewright.run.readers.base import MOST_PIXELS, ReaderLost, SourceOrder

# Nothing that a stream says leads to a file, or to a protocol that opens one.
PROTOCOLS = "rtp,rtsp,rtsps,srtp,udp,tcp,tls,http,https,httpproxy,crypto"
LOG_LEVEL = "16"  # AV_LOG_ERROR: what is wrong with the stream, for the log that is kept
DECODER_THREADS = 1  # a frame's latency less than with several, and the cores are the detector's


def open_source(order: SourceOrder) -> "StreamReader":
    """A camera at an address, or a V4L2 device. Raises ReaderLost."""
    timeout_ms = round(order.timeout_s * 1000)
    if "://" not in order.address:
        return StreamReader(_device(order), "OpenCV V4L2")
    os.environ["OPENCV_FFMPEG_LOGLEVEL"] = LOG_LEVEL
    options = {
        "rtsp_transport": order.transport,
        "protocol_whitelist": PROTOCOLS,
        "fflags": "discardcorrupt",
        "flags": "low_delay",
    }
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "|".join(f"{key};{value}" for key, value in options.items())
    settings = [
        *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms),
        *(cv2.CAP_PROP_N_THREADS, DECODER_THREADS),
    ]
    return StreamReader(cv2.VideoCapture(order.address, cv2.CAP_FFMPEG, settings), "OpenCV FFmpeg")


def _device(order: SourceOrder) -> cv2.VideoCapture:
    settings: list[int] = []
    if order.size_wh is not None:
        settings += [cv2.CAP_PROP_FRAME_WIDTH, order.size_wh[0], cv2.CAP_PROP_FRAME_HEIGHT, order.size_wh[1]]
    if order.fps is not None:
        settings += [cv2.CAP_PROP_FPS, max(1, round(order.fps))]
    device = int(order.address) if order.address.isdecimal() else order.address
    return cv2.VideoCapture(device, cv2.CAP_V4L2, settings)  # type: ignore[call-overload,no-any-return,unused-ignore]


class StreamReader:
    """An opened capture."""

    is_patient = False
    frames: int | None = None
    time_s = 0.0

    def __init__(self, capture: cv2.VideoCapture, name: str) -> None:
        self._capture = capture
        self._pixels: NDArray[np.uint8] | None = None
        self.name = name
        if not capture.isOpened():
            capture.release()
            raise ReaderLost("it cannot be opened")
        fps = capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0.01 <= fps <= 1000 else None

    def next(self) -> bool | None:
        self._pixels = None
        if not self._capture.grab():
            raise ReaderLost("it sends no more frames")
        return True

    def size_wh(self) -> tuple[int, int]:
        pixels = self._decoded()
        return pixels.shape[1], pixels.shape[0]

    def draw(self, picture: ImageRgb) -> None:
        cv2.cvtColor(self._decoded(), cv2.COLOR_BGR2RGB, dst=picture)

    def _decoded(self) -> NDArray[np.uint8]:
        if self._pixels is None:
            sound, pixels = self._capture.retrieve()
            if not sound or pixels.ndim != 3 or pixels.shape[2] != 3 or not 0 < pixels.shape[0] * pixels.shape[1] <= MOST_PIXELS:
                raise ReaderLost("it sends what is no picture")
            self._pixels = pixels.astype(np.uint8, copy=False)
        return self._pixels

    def close(self) -> None:
        self._capture.release()
