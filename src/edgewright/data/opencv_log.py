"""OpenCV's log, silenced while it meets a stranger's file: what is wrong with that is said in our sentence."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2

SILENT = 0  # cv::utils::logging::LOG_LEVEL_SILENT

# It moved between OpenCV 4.11 and 4.13. Both forms return the level before.
_set_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
_lock = threading.Lock()
_state: dict[str, Any] = {"depth": 0, "level": None}


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """OpenCV's log says nothing meanwhile.

    Its level is one for the process, so the first of several threads silences it and the last one puts it back. What libpng and ffmpeg
    print themselves stays: only standard error as a whole could be caught, and with it what other threads and children write.
    """
    with _lock:
        if not _state["depth"]:
            _state["level"] = _set_level(SILENT)
        _state["depth"] += 1
    try:
        yield
    finally:
        with _lock:
            _state["depth"] -= 1
            if not _state["depth"]:
                _set_level(_state["level"])
