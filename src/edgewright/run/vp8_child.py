"""The process in which OpenCV's VP8 encoder runs: raw BGR pictures on standard input, a WebM file when they end.

    python -P -m edgewright.run.vp8_child 640x360 10 -- line.webm

OpenCV says nothing when a disk is full, so this looks; its last line on standard error is why it ended, as ffmpeg has it.
"""

import os
import signal
import sys
from pathlib import Path

import cv2
import numpy as np

LOOK_EVERY = 8  # frames, whether the disk has room left
FULL_BYTES = 1 << 16  # fewer left: no frame fits, and the next to ask would be told that the disk is full
NO_SPACE = "No space left on device"  # in the words of ffmpeg, and of the C library


def main() -> int:
    """Encode until standard input ends; 1 where the file cannot be written."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever feeds us says when it ends
    size, fps, _, path = sys.argv[1:]
    wide, high = map(int, size.split("x"))
    writer = _open(Path(path), (wide, high), float(fps))
    if not writer.isOpened():
        return _die(NO_SPACE if _is_full(Path(path)) else "this OpenCV has no VP8 encoder")
    frame = np.empty((high, wide, 3), np.uint8)
    count = 0
    while _fill(frame.data.cast("B")):
        writer.write(frame)
        if count % LOOK_EVERY == 0 and _is_full(Path(path)):
            writer.release()
            return _die(NO_SPACE)
        count += 1
    writer.release()
    return 0


def _open(path: Path, size_wh: tuple[int, int], fps: float) -> cv2.VideoWriter:
    """OpenCV complains about a WebM tag straight to file descriptor 2, though the file is right; there is no switch for it."""
    held = os.dup(2)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device, not a path of ours
        os.dup2(nowhere.fileno(), 2)
    try:
        # Of a text that is not UTF-8 OpenCV dies, so it gets bytes.
        return cv2.VideoWriter(os.fsencode(path), cv2.VideoWriter.fourcc(*"VP80"), fps, size_wh)  # type: ignore[call-overload,no-any-return]
    finally:
        os.dup2(held, 2)
        os.close(held)


def _fill(frame: memoryview) -> bool:
    """A whole frame has been read; False at the end, or where the last one is cut."""
    filled = 0
    while filled < len(frame):
        count = os.readv(0, [frame[filled:]])
        if not count:
            return False
        filled += count
    return True


def _is_full(path: Path) -> bool:
    disk = os.statvfs(path.parent)
    return disk.f_bavail * disk.f_frsize < FULL_BYTES


def _die(reason: str) -> int:
    sys.stderr.write(f"{reason}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
