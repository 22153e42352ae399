"""What OpenCV's FFmpeg says while it decodes, overheard: of which size the pictures are that come, and what is wrong with them.

A camera that changes the size of its picture in mid-stream OpenCV scales to the size that it had when it was opened, and nothing that can
be asked of it (`CAP_PROP_FRAME_WIDTH`, the shape of a frame) says so. The decoder does, in its log: for H.264 when it begins anew, for
Motion JPEG with every picture. For HEVC it says no size (seen of OpenCV 5.0 with FFmpeg 8).

OpenCV writes that log to standard output, to which nothing else writes in a capture process. It goes into a pipe that takes what there is
room for and never holds the decoder up, and is read between two frames.
"""

import fcntl
import os
import re
from contextlib import suppress
from typing import Final

STANDARD_OUTPUT: Final = 1
STANDARD_ERROR: Final = 2
LEVEL: Final = "48"  # AV_LOG_DEBUG, where Motion JPEG says its size: 0.1 ms a frame of 640x360
PIPE_BYTES: Final = 1 << 20  # as much as anybody may ask for (pipe(7))
MOST_READ: Final = 1 << 16
LONGEST_LINE: Final = 4096
PICTURE_SIZE: Final = re.compile(rb"^\[OPENCV:FFMPEG:\d\d\] (?:Reinit context to|sof\d+: picture:) (\d{1,6})x(\d{1,6})\b", re.MULTILINE)
ERROR: Final = re.compile(rb"^\[OPENCV:FFMPEG:(?:00|08|16)\] .*\n", re.MULTILINE)  # up to AV_LOG_ERROR


class DecoderLog:
    """Overheard from now on, until `close`."""

    def __init__(self) -> None:
        self.size_wh: tuple[int, int] | None = None  # that the decoder had last, to whole blocks
        self._pending = b""
        self._before = os.dup(STANDARD_OUTPUT)
        self._reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        with suppress(OSError):
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.dup2(writing, STANDARD_OUTPUT, inheritable=False)
        os.close(writing)

    def hear(self) -> None:
        """Take in what was said; errors go on to standard error, for the log that is kept."""
        with suppress(BlockingIOError):
            while said := os.read(self._reading, MOST_READ):
                whole, newline, rest = (self._pending + said).rpartition(b"\n")
                self._pending = rest[-LONGEST_LINE:]
                for size in PICTURE_SIZE.finditer(whole):
                    self.size_wh = int(size[1]), int(size[2])
                if errors := b"".join(error[0] for error in ERROR.finditer(whole + newline)):
                    os.write(STANDARD_ERROR, errors)

    def close(self) -> None:
        """Standard output is what it was."""
        os.dup2(self._before, STANDARD_OUTPUT)
        os.close(self._before)
        os.close(self._reading)
