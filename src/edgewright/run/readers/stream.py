"""Cameras by address or device, through OpenCV's own ffmpeg and V4L2. A read may hang for ever: this runs where it can be killed.

What is said here of OpenCV was seen of 5.0 with cameras that hang, garble and break off (tests/camera_bench.py). A camera that changes the
size of its picture in the middle of a stream is opened anew: until then OpenCV scales it to the size it had (`decoder_log`).
"""

import os
import time

import cv2
import numpy as np
from numpy.typing import NDArray

from edgewright.detections import ImageRgb
from edgewright.run.readers.base import MOST_PIXELS, PictureChanged, ReaderLost, SourceOrder
from edgewright.run.readers.decoder_log import LEVEL, DecoderLog

# Nothing that a stream says leads to a file, or to a protocol that opens one.
PROTOCOLS = "rtp,rtsp,rtsps,srtp,udp,tcp,tls,http,https,httpproxy,crypto"
DECODER_THREADS = 1  # with more, a frame is shown a frame later, and the cores are the detector's
# What an RTSP stream is, its SDP has said: probing it takes 3 s, in which pictures gather that are old when they come.
RTSP = {"probesize": "32", "analyzeduration": "0", "fflags": "nobuffer+discardcorrupt", "flags": "low_delay"}
HTTP = {"fflags": "nobuffer+discardcorrupt", "flags": "low_delay"}
FAILURES = 25  # in a row; a garbled stream fails now and then, and goes on
LATE = 0.9  # of the time limit


def open_source(order: SourceOrder) -> "StreamReader":
    """A camera at an address, or a V4L2 device. Raises ReaderLost."""
    timeout_ms = round(order.timeout_s * 1000)
    if "://" not in order.address:
        return StreamReader(_device(order), "OpenCV V4L2", order.timeout_s)
    os.environ["OPENCV_FFMPEG_LOGLEVEL"] = LEVEL
    options = RTSP if order.address.lower().startswith("rtsp") else HTTP
    options = {"protocol_whitelist": PROTOCOLS, **options, "rtsp_transport": order.transport}
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "|".join(f"{key};{value}" for key, value in options.items())
    settings = [
        *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms),
        *(cv2.CAP_PROP_N_THREADS, DECODER_THREADS),
    ]
    log = DecoderLog()
    return StreamReader(cv2.VideoCapture(order.address, cv2.CAP_FFMPEG, settings), "OpenCV FFmpeg", order.timeout_s, log)


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

    def __init__(self, capture: cv2.VideoCapture, name: str, timeout_s: float, log: DecoderLog | None = None) -> None:
        self._capture = capture
        self._timeout_s = timeout_s
        self._log = log
        self._first_wh: tuple[int, int] | None = None  # of the pictures that come, by the decoder's log
        self._last_wh: tuple[int, int] | None = None
        self._pixels: NDArray[np.uint8] | None = None
        self.name = name
        if not capture.isOpened():
            self.close()
            raise ReaderLost("it cannot be opened")
        fps = capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0.01 <= fps <= 1000 else None

    def next(self) -> bool | None:
        self._pixels = None
        asked_s = time.monotonic()
        for _ in range(FAILURES):
            found = self._capture.grab()
            # After its time limit OpenCV says once more that there is a frame, an old one, and is deaf from then on.
            if time.monotonic() - asked_s >= LATE * self._timeout_s:
                raise ReaderLost(f"it has sent nothing for {self._timeout_s:.0f} s")
            if self._log is not None:
                self._log.hear()
            if found:
                self._notice_size()
                return True
        raise ReaderLost("it sends no more frames")

    def _notice_size(self) -> None:
        """Two frames in a row of another size are no garbled one."""
        before_wh, self._last_wh = self._last_wh, None if self._log is None else self._log.size_wh
        self._first_wh = self._first_wh or self._last_wh
        if self._last_wh == before_wh != self._first_wh:
            raise PictureChanged

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
        if self._log is not None:
            self._log.hear()
            self._log.close()
