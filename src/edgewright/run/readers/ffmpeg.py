"""Cameras by address, through the system's ffmpeg, where there is one: a child of this process, with whatever decoders Debian gave it.

The address goes in through a pipe, as a one-line script for the concat demuxer: who lists processes sees no password. Pictures come out as
PPM, each with its size before it. What is said here of ffmpeg was seen of 5.1 (tests/camera_bench.py): it ends twice its time limit after a
camera falls silent, with exit status 0; it scales silently to the first size when the picture changes, so its log is read for that.
"""

import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO
from urllib.parse import urlsplit

from edgewright.detections import ImageRgb
from edgewright.errors import HostError, InputError
from edgewright.run.begin import die_with_parent
from edgewright.run.readers.base import MOST_PIXELS, PictureChanged, ReaderLost, SourceOrder
from edgewright.run.secrets import hide_credentials

PROTOCOLS = "pipe,file,rtsp,rtsps,rtp,srtp,tcp,udp,tls,http,https,crypto"
PICTURE_SIZE = re.compile(rb"graph 0 input from stream \S+ @ \S+\].* w:(\d+) h:(\d+)")
WORTH_KEEPING = re.compile(rb"\[(?:warning|error|fatal|panic)\]")
LONGEST_HEADER = 40  # bytes of "P6\n16384 16384\n255\n" and then some


def open_source(order: SourceOrder) -> "FfmpegReader":
    """Raises HostError: ffmpeg is not installed. Raises InputError: an address that cannot be said in a line."""
    program = shutil.which("ffmpeg")
    if program is None:
        raise HostError("ffmpeg is not installed", fix='run: sudo apt-get install ffmpeg, or take reader = "opencv"')
    if any(sign in order.address for sign in "\r\n\0"):
        raise InputError("an address of several lines", expected="one line")
    return FfmpegReader(program, order)


class FfmpegReader:
    """A running ffmpeg."""

    name = "ffmpeg"
    is_patient = False
    fps: float | None = None
    frames: int | None = None
    time_s = 0.0

    def __init__(self, program: str, order: SourceOrder) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - the system's own ffmpeg; what is the stranger's goes in through the pipe
            [program, *_options()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - this process has one thread when it starts a child
        )
        assert self._process.stdin is not None  # noqa: S101 - pipes, above
        assert self._process.stdout is not None  # noqa: S101
        assert self._process.stderr is not None  # noqa: S101
        self._pictures: BinaryIO = self._process.stdout  # type: ignore[assignment]
        self._size_wh: tuple[int, int] | None = None  # of the picture that comes next
        self._changed = threading.Event()
        self._log = threading.Thread(target=self._read_log, args=(self._process.stderr,), daemon=True)
        self._log.start()
        with suppress(BrokenPipeError):
            self._process.stdin.write(_script(order).encode())
            self._process.stdin.close()

    def next(self) -> bool | None:
        if self._size_wh is not None:
            self._pass_over()
        if self._changed.is_set():
            raise PictureChanged
        self._size_wh = self._header()
        return True

    def size_wh(self) -> tuple[int, int]:
        assert self._size_wh is not None  # noqa: S101 - `next` came before
        return self._size_wh

    def draw(self, picture: ImageRgb) -> None:
        """Straight from the pipe into the slot."""
        self._fill(memoryview(picture.reshape(-1)))  # type: ignore[arg-type]  # numpy's stubs, before 2.2
        self._size_wh = None

    def close(self) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def _header(self) -> tuple[int, int]:
        header = b""
        while header.count(b"\n") < 3:
            byte = self._pictures.read(1)
            header += byte
            if not byte or len(header) > LONGEST_HEADER:
                raise ReaderLost("it sends no more frames")
        found = re.fullmatch(rb"P6\n(\d{1,5}) (\d{1,5})\n255\n", header)
        if found is None or not 0 < int(found[1]) * int(found[2]) <= MOST_PIXELS:
            raise ReaderLost("it sends what is no picture")
        return int(found[1]), int(found[2])

    def _fill(self, room: memoryview) -> None:
        at = 0
        while at < len(room):
            taken = self._pictures.readinto(room[at:])  # type: ignore[attr-defined]
            if not taken:
                raise ReaderLost("it sends no more frames")
            at += taken

    def _pass_over(self) -> None:
        """The picture that nobody drew."""
        wide, high = self.size_wh()
        left = wide * high * 3
        while left:
            taken = len(self._pictures.read(min(left, 1 << 20)))
            if not taken:
                raise ReaderLost("it sends no more frames")
            left -= taken

    def _read_log(self, log: BinaryIO) -> None:
        """Its warnings go on to our own log; the size that it decodes is noted."""
        first: tuple[bytes, bytes] | None = None
        for line in _lines(log):
            if (found := PICTURE_SIZE.search(line)) is not None:
                size = (found[1], found[2])
                first = first or size
                if size != first:
                    self._changed.set()
            elif WORTH_KEEPING.search(line):
                sys.stderr.write(hide_credentials(line.decode(errors="replace")))
                sys.stderr.flush()


def _lines(log: BinaryIO) -> Iterator[bytes]:
    while line := log.readline(4096):
        yield line


def _options() -> list[str]:
    return [
        *("-hide_banner", "-nostats", "-loglevel", "level+verbose", "-threads", "1", "-fflags", "nobuffer", "-flags", "low_delay"),
        *("-f", "concat", "-safe", "0", "-protocol_whitelist", PROTOCOLS, "-i", "pipe:0", "-an"),
        *("-fps_mode", "passthrough", "-f", "image2pipe", "-c:v", "ppm", "pipe:1"),
    ]


def _script(order: SourceOrder) -> str:
    """The one-line playlist; its quoting is the demuxer's own (ffmpeg-utils: a quote ends the text, is escaped, and begins it again)."""
    options = {"fflags": "nobuffer", "timeout": str(round(order.timeout_s * 1e6))}
    if urlsplit(order.address).scheme.lower().startswith("rtsp"):
        options |= {"rtsp_transport": order.transport, "probesize": "32", "analyzeduration": "0"}
    quoted = order.address.replace("'", r"'\''")
    return "\n".join(["ffconcat version 1.0", f"file '{quoted}'", *(f"option {name} {value}" for name, value in options.items()), ""])
