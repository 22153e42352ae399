"""A film that is being written: frames go to a child process that encodes, and its file takes its name when it is whole.

    encoder = Encoder(kind, Path("line.mp4"), (640, 360), fps=10)
    encoder.write(image_rgb, at_s=12.3)
    encoder.close()

Cameras are irregular, films are not: a frame belongs to the tick of 1/fps second that its time is nearest to. The last of several frames of
a tick is shown, and a tick without a frame repeats the one before. So a moment lies in the film where it lay in time, to half a tick.

Until it is whole, the file is called `.edgewright-NAME`. When we are killed, the child meets the end of its input and closes the file
properly; when the child is killed, what it wrote can still be played. Either is found by `keep_what_plays`. The child holds a lock on the
file as long as it lives, so that nobody takes it from one that still writes.
"""

import errno
import fcntl
import os
import re
import selectors
import shutil
import signal
import subprocess
import termios
import time
from array import array
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgewright.data.clip_file import end_of_whole_boxes
from edgewright.data.video import read_frames
from edgewright.detections import ImageRgb
from edgewright.errors import DataError, HostError
from edgewright.printable import printable
from edgewright.run.known_encoders import KnownEncoder
from edgewright.run.secrets import hide_credentials
from edgewright.run.vp8_child import FULL_BYTES, NO_SPACE
from edgewright.whole_file import OURS, disk_error, telling_of_the_disk

Buffer: TypeAlias = NDArray[np.uint8]

FRAME_S = 5.0  # an encoder that takes no frame for as long hangs
CLOSE_S = 10.0
KILL_S = 2.0
LAST_WORDS = 2000  # bytes of what the child wrote to standard error
PIPE_BYTES = 1 << 20  # as much as anybody may ask for (pipe(7)): fewer changes between us and the child
NICER = 5  # the model goes first
CUT = "-cut"  # in the name of a film that ended before it was closed
# What an encoder may know of our environment; passwords may be in the rest.
PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "LIBVA_DRIVER_NAME", "LIBVA_DRIVERS_PATH", "PYTHONPATH", "PYTHONHOME", "TZ")
_SPEAKER = re.compile(r"^\[[^\]]* @ 0x[0-9a-f]+\] ")  # "[h264_v4l2m2m @ 0x55588ada08c0] "
QUIET_AND_SMALL = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}


def even_size(image_rgb: ImageRgb) -> tuple[int, int]:
    """Width and height of the film of such pictures."""
    return image_rgb.shape[1] & ~1, image_rgb.shape[0] & ~1


def unfinished_of(path: Path) -> Path:
    """What a film is called until it is whole."""
    return path.with_name(f"{OURS}{path.name}")


class Ticks:
    """Which tick a time belongs to, and how often the frame before is shown until then."""

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._start_s: float | None = None
        self.tick = 0  # of the frame that is held

    def advance(self, at_s: float) -> int:
        """To the tick of a frame: how often the one held before is shown; 0 where the new one takes its place."""
        if self._start_s is None:
            self._start_s = at_s
        tick = max(self.tick, round((at_s - self._start_s) * self._fps))
        shown, self.tick = tick - self.tick, tick
        return shown


class Encoder:
    """One film, of frames of one size; `path` is its name when it is whole.

    Raises:
        HostError: the encoder cannot be started.
        DiskError: the file cannot be made.
    """

    def __init__(self, kind: KnownEncoder, path: Path, size_wh: tuple[int, int], fps: float, *, frame_s: float = FRAME_S) -> None:
        self.kind, self.path, self.size_wh, self.fps = kind, path, size_wh, fps
        self.frames = 0  # in the film
        self.repeated = 0  # of those, shown again
        self.replaced = 0  # frames that another one of the same tick took the place of
        self.cpu_s = 0.0  # that the child took; known when it has ended
        self.unfinished = unfinished_of(path)
        self._frame_s = frame_s
        self._ticks = Ticks(fps)
        self._held: Buffer | None = None
        self._last_words = b""
        self._lock = _make_locked(self.unfinished, path)
        try:
            self._child = _start(kind.command(self.unfinished, size_wh, fps, shutil.which("ffmpeg") or "ffmpeg"), self._lock)
        except BaseException:
            os.close(self._lock)
            self.unfinished.unlink(missing_ok=True)
            raise

    @property
    def pid(self) -> int:
        return self._child.pid

    def write(self, image_rgb: ImageRgb, at_s: float) -> float:
        """Show a picture (H x W x 3, at least as large as the film) from `at_s` on; returns the second of the film it begins at.

        Raises:
            HostError: the encoder has ended or hangs; DiskError: for want of space. The film is to be given up (`abandon`).
        """
        frame = self.kind.frame_of(image_rgb, self.size_wh)
        shown = self._ticks.advance(at_s)
        if self._held is not None:
            self.replaced += not shown
            self._show(self._held, shown)
        self._held = frame
        return self._ticks.tick / self.fps

    def has_ended(self) -> bool:
        """Whether the child is no more."""
        return self._await_death(0.0)

    def waiting_bytes(self) -> int:
        """How much of what was written the child has not taken yet."""
        count = array("i", [0])
        fcntl.ioctl(self._stdin.fileno(), termios.FIONREAD, count)
        return count[0]

    def close(self, *, within_s: float = CLOSE_S) -> Path:
        """The film is whole, and has its name.

        Raises:
            HostError: it is not whole, and was given up; DiskError: for want of space.
        """
        try:
            if self._held is not None:
                self._show(self._held, 1)
            self._stdin.close()
            self._await_end(within_s)
            with telling_of_the_disk(self.path):
                os.fsync(self._lock)
                os.replace(self.unfinished, self.path)  # noqa: PTH105 - the atomic replace is the point
        except BaseException:
            self.abandon()
            raise
        self._let_go()
        return self.path

    def abandon(self) -> None:
        """End the child at once; what it wrote stays, under its unfinished name."""
        if self._child.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._await_death(KILL_S)
        self._let_go()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._child.stdin is not None  # noqa: S101 - a pipe
        return self._child.stdin

    @property
    def _stderr(self) -> IO[bytes]:
        assert self._child.stderr is not None  # noqa: S101 - a pipe
        return self._child.stderr

    def _show(self, frame: Buffer, times: int) -> None:
        for again in range(times):
            self._feed(frame.data)
            self.frames += 1
            self.repeated += again > 0

    def _feed(self, left: memoryview) -> None:
        """A whole frame into the pipe; what the child says meanwhile is heard, so that it never waits for us while we wait for it."""
        deadline = time.monotonic() + self._frame_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdin, selectors.EVENT_WRITE)
            selector.register(self._stderr, selectors.EVENT_READ)
            while left:
                ready = selector.select(max(deadline - time.monotonic(), 0.0))
                if not ready:
                    raise HostError(f"the video encoder {self.kind.name} hangs", got=f"no frame taken for {self._frame_s:g} s")
                for key, _ in ready:
                    if key.fileobj is self._stderr:
                        if not self._hear():
                            selector.unregister(self._stderr)
                        continue
                    try:
                        left = left[os.write(key.fd, left) :]
                    except BlockingIOError:
                        continue
                    except BrokenPipeError:
                        self._await_end(self._frame_s)
                        raise self._died() from None

    def _hear(self) -> bool:
        """Keep the end of what the child says; False when it will say no more."""
        with suppress(BlockingIOError):
            said = os.read(self._stderr.fileno(), 1 << 16)
            self._last_words = (self._last_words + said)[-LAST_WORDS:]
            return bool(said)
        return True

    def _await_end(self, within_s: float) -> None:
        """Hear the child out.

        Raises:
            HostError: it has failed, or hangs.
        """
        deadline = time.monotonic() + within_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._stderr, selectors.EVENT_READ)
            while selector.select(max(deadline - time.monotonic(), 0.0)):
                if not self._hear():
                    break
        if not self._await_death(max(deadline - time.monotonic(), 0.0)):
            raise HostError(f"the video encoder {self.kind.name} hangs", got=f"no end for {within_s:g} s")
        if self._child.returncode:
            raise self._died()

    def _await_death(self, within_s: float) -> bool:
        """Whether the child has ended in time; what it cost is known then. One that hangs in a driver outlives even SIGKILL."""
        deadline = time.monotonic() + within_s
        while self._child.returncode is None:
            pid, status, used = os.wait4(self._child.pid, os.WNOHANG)
            if pid:
                self._child.returncode = os.waitstatus_to_exitcode(status)
                self.cpu_s = used.ru_utime + used.ru_stime
            elif time.monotonic() > deadline:
                return False
            else:
                time.sleep(0.002)
        return True

    def _died(self) -> HostError:
        said = self._last_words.decode("utf-8", "replace")
        if NO_SPACE in said or _is_full(self.path.parent):
            return disk_error(OSError(errno.ENOSPC, ""), self.path)
        status = self._child.returncode
        how = f"exit status {status}" if status is None or status >= 0 else f"signal {-status}"
        return HostError(f"the video encoder {self.kind.name} ended", got=first_words(said) or how)

    def _let_go(self) -> None:
        for stream in (self._stdin, self._stderr):
            with suppress(OSError):
                stream.close()
        with suppress(OSError):
            os.close(self._lock)
        self._lock = -1


def first_words(said: str) -> str:
    """The first line that an encoder wrote to standard error, which is the reason; those after it follow from it."""
    lines = [line for line in (_SPEAKER.sub("", line).strip() for line in said.splitlines()) if line]
    return printable(hide_credentials(lines[0]), 160).rstrip(".") if lines else ""


def keep_what_plays(unfinished: Path, path: Path) -> Path | None:
    """Of a film that was not closed: `path` with `-cut` in its name when a frame of it can be played, otherwise it goes.

    None as well while an encoder still writes it.

    Raises:
        DiskError: it can be neither renamed nor removed.
    """
    with telling_of_the_disk(path), _held_alone(unfinished) as descriptor:
        if descriptor is None:
            return None
        if path.suffix == ".mp4":
            _cut_to_whole_boxes(descriptor)
        if not _plays(unfinished):
            unfinished.unlink()
            return None
        kept = path.with_stem(f"{path.stem}{CUT}")
        os.replace(unfinished, kept)  # noqa: PTH105 - the atomic replace is the point
        return kept


@contextmanager
def _held_alone(path: Path) -> Iterator[int | None]:
    """A descriptor of a regular file that no other process holds, or nothing."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield descriptor
    finally:
        os.close(descriptor)


def _cut_to_whole_boxes(descriptor: int) -> None:
    """Not every player gets over a fragment that is cut."""
    with os.fdopen(os.dup(descriptor), "rb") as stream:
        end = end_of_whole_boxes(stream)
    if end is not None:
        os.ftruncate(descriptor, end)


def _plays(path: Path) -> bool:
    try:
        with closing(read_frames(path)) as frames:  # type: ignore[type-var]
            return next(frames, None) is not None
    except DataError:
        return False


def _make_locked(unfinished: Path, path: Path) -> int:
    with telling_of_the_disk(path):
        descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        with suppress(OSError):  # where files cannot be locked, an encoder that outlives us may lose its file's name
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _start(command: list[str], lock: int) -> "subprocess.Popen[bytes]":
    environment = {name: os.environ[name] for name in PASSED if name in os.environ} | QUIET_AND_SMALL
    try:
        child = subprocess.Popen(  # noqa: S603 - a command of our own table
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=environment,
            pass_fds=(lock,),
            start_new_session=True,  # a Ctrl-C is for us; and a hung encoder is killed with all that it started
        )
    except FileNotFoundError:
        raise HostError(f"there is no {command[0]}", fix="apt install ffmpeg") from None
    except OSError as error:
        raise HostError(f"{command[0]} cannot be started", got=(error.strerror or "").lower()) from error
    assert child.stdin is not None and child.stderr is not None  # noqa: S101, PT018 - both are pipes
    with suppress(OSError):
        fcntl.fcntl(child.stdin.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, child.pid, NICER)
    for stream in (child.stdin, child.stderr):
        os.set_blocking(stream.fileno(), False)
    return child


def _is_full(folder: Path) -> bool:
    with suppress(OSError):
        return shutil.disk_usage(folder).free < FULL_BYTES
    return False
