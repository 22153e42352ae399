"""Moving pictures from and to files, through OpenCV's own codecs (reading: its bundled ffmpeg; writing: VP8 in WebM, which browsers play).

Clips come from strangers. What begins like no known container is refused unopened; a decoder gets the open file and may open no other.
Of a broken clip every frame that can be decoded is read, with its true place and time, and a `Reading` says what was lost.
"""

import errno
import math
import os
import secrets
import shutil
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import cv2
import numpy as np

from edgewright.data.clip_file import (
    container_of,
    end_of_whole_boxes,
    is_cut,
    is_intact,
    schedule_of_mp4,
    size_of,
    walk_matroska,
    what_else,
    why_unopened,
)
from edgewright.data.opencv_log import quiet_opencv
from edgewright.detections import Frame, ImageRgb
from edgewright.errors import DataError, HostError
from edgewright.printable import printable
from edgewright.regular_file import open_regular
from edgewright.whole_file import OURS, disk_error, telling_of_the_disk

SUFFIXES = frozenset({".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm"})
FULL_BYTES = 1 << 16  # fewer left: no frame fits, and the next to ask would be told that the disk is full
LOOK_EVERY = 64  # frames written, whether the disk has room left
USUAL_FPS = 25.0  # when a file does not say
MOST_PIXELS = 1 << 26  # of a frame: twice what 8K has, and about 1 GiB of memory for the decoder's copies and ours
MOST_TRIES = 10_000  # at frames that cannot be decoded, one after the other
TRIES_AT_THE_END = 100  # where no count of frames says whether it is the end; 100 broken frames in a row are four seconds
MOST_JUMPS = 16  # over stretches where reading on does not help
OPENCV_GOES_BACK = 16  # frames, when it is asked for a place
# ffmpeg would take one a core, each with frames of its own: memory that grows with the machine, cores that the detector needs, and of a
# broken clip other frames here than there. One decodes 640 x 360 pixels in 0.5 ms.
DECODER_THREADS = 1
SAME_S = 0.002  # seconds: Matroska and OpenCV round
OFF_GRID = 0.25  # of a frame: Matroska rounds times to milliseconds, a twelfth of a frame at 80 frames a second

# Only the demuxers of the containers we know, and no protocol that leads to another file or host; see `container_of`.
DEMUXERS = "mov,avi,matroska,gif,mpegts,mpeg,mpegvideo"
OPTIONS = {
    "OPENCV_FFMPEG_CAPTURE_OPTIONS": f"format_whitelist;{DEMUXERS}|protocol_whitelist;file,subfile",
    "OPENCV_FFMPEG_LOGLEVEL": "-8",  # quiet, for every thread of the process: what is wrong with a clip we say ourselves
}
_opening = threading.Lock()  # options travel through the environment


@dataclass(slots=True)
class Reading:
    """What came of reading a clip; it fills while frames are read, and is whole after the last.

    `expected`: frames as the container counts them, or as the duration of a broken one has them; None where neither tells. `broke_at`: the
    first that could not be decoded.
    `missing`: how many could not, None where nothing tells. `damaged`: decoded frames that lean on missing ones.
    """

    expected: int | None = None
    decoded: int = 0
    broke_at: int | None = None
    missing: int | None = 0
    decoded_after_break: int = 0
    damaged: int = 0
    was_cut: bool = False

    def sentence(self, name: str) -> str | None:
        """Where it broke, and what could be had after it; None of a sound clip."""
        if self.broke_at is None:
            return None
        where = f"{self.broke_at}" if self.expected is None else f"{self.broke_at} of {self.expected}"
        cut = ", where the file was cut" if self.was_cut and not self.decoded_after_break else ""
        lost = "nothing tells how many frames are lost" if self.missing is None else f"{_count(self.missing)} could not be decoded"
        return f"{name} broke at frame {where}{cut}: {lost}, {self.decoded_after_break} could after it"

    def damage(self, name: str) -> str | None:
        """What is known of frames that were decoded with errors in them."""
        if not self.damaged:
            return None
        return f"{name}: {_count(self.damaged)} after the break at {self.broke_at} may be damaged, as they lean on missing ones"

    def to_json(self) -> dict[str, Any]:
        return {
            "frames": self.decoded,
            "expected": self.expected,
            "broke_at": self.broke_at,
            "missing": self.missing,
            "after_break": self.decoded_after_break,
            "damaged": self.damaged,
            "cut": self.was_cut,
        }


def _count(frames: int) -> str:
    return "1 frame" if frames == 1 else f"{frames} frames"


def read_frames(path: Path, reading: Reading | None = None) -> Iterator[Frame]:
    """Every frame of a video file that can be decoded, RGB, with the number and the time that it has in the file.

    Errors that ffmpeg hides within a frame (a smeared block, a picture repeated) cannot be seen: OpenCV tells of frames, not of blocks.
    Without a `reading` to fill, a break is said as a RuntimeWarning at the end.

    Raises:
        DataError: the file is missing, no regular file, no clip, its frames are too large, or not one of them decodes.
    """
    told = Reading() if reading is None else reading
    with _open_clip(path) as clip:
        yield from clip.frames(told)
    sentence = told.sentence(printable(path.name))
    if reading is None and sentence:
        warnings.warn(sentence, RuntimeWarning, stacklevel=2)


def probe(path: Path) -> tuple[float, int | None]:
    """Frames a second and, where the file says so, how many frames; reads the header only.

    Raises:
        DataError: as `read_frames`, but for frames that do not decode.
    """
    with _open_clip(path) as clip:
        return clip.fps, clip.expected or clip.guessed


@contextmanager
def _open_clip(path: Path) -> Iterator["_Clip"]:
    name = printable(str(path), 200)
    try:
        stream = open_regular(path)
    except FileNotFoundError as error:
        raise DataError(f"{name} is not there", expected="an image or a video file") from error
    except OSError as error:
        raise DataError(f"cannot read {name}", got=error.strerror, expected="an image or a video file") from error
    with stream:
        container = container_of(stream)
        if container is None:
            got, fix = what_else(stream)
            raise DataError(f"no frame of {name} can be decoded", got=got, expected=f"a video ({', '.join(sorted(SUFFIXES))})", fix=fix)
        with ExitStack() as opened:
            capture = opened.enter_context(_opened(stream))
            end = end_of_whole_boxes(stream) if container == "mp4" and not capture.isOpened() else None
            if end is not None:
                # ffmpeg gives up at a fragment whose description is cut; without it, it reads the others.
                capture = opened.enter_context(_opened(stream, end=end))
            if not capture.isOpened():
                got, fix = why_unopened(stream, container)
                raise DataError(f"no frame of {name} can be decoded", got=got, fix=fix)
            clip = _Clip(name, capture, stream, container)
            clip.check_size()
            yield clip


@contextmanager
def _opened(stream: BinaryIO, settings: Sequence[int] = (), *, end: int | None = None) -> Iterator[cv2.VideoCapture]:
    """The decoder gets no name, which might be an address or a pattern, but the file that was looked at, or it up to byte `end`."""
    place = f"/proc/self/fd/{stream.fileno()}"
    if end is not None:
        place = f"subfile,,start,0,end,{end},,:{place}"
    with _settings():
        capture = cv2.VideoCapture(place, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, DECODER_THREADS, *settings])
    try:
        yield capture
    finally:
        capture.release()


@contextmanager
def _settings() -> Iterator[None]:
    """What OpenCV takes from the environment, for the time of an opening.

    It asks how loud ffmpeg may be once a process, so whoever opened a video before us has chosen that.
    """
    with _opening, quiet_opencv():
        held = {name: os.environ.get(name) for name in OPTIONS}
        os.environ.update(OPTIONS)
        try:
            yield
        finally:
            for name, value in held.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def frame_rate(capture: cv2.VideoCapture) -> float:
    """Frames a second as the file says, or the usual where it says nothing sensible."""
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if 0.01 <= fps <= 1000 else USUAL_FPS


class _Clip:
    """An opened clip, and the place that was reached in it."""

    def __init__(self, name: str, capture: cv2.VideoCapture, stream: BinaryIO, container: str) -> None:
        self._name = name
        self._capture = capture
        self._stream = stream
        self._container = container
        self._schedule = schedule_of_mp4(stream) if container == "mp4" else None
        self._last = -1  # the number of the frame read last
        self._last_s = -1.0
        self._held = 0  # numbers that an AVI passes over: the frame before them is shown longer
        self._intact: list[bool | None] = []  # asked once, as it reads through the whole file
        self._even = True  # whether every frame so far lay where the frame rate puts it
        self._origin = 0  # where on the grid the first frame lies, if nothing failed before it
        self._targets: Iterator[int] | None = None  # where to jump to, once reading on does not help
        self.fps = frame_rate(capture)
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        # A frame takes a byte at least. Most containers tell no more than a duration, which may be that of the sound.
        self.guessed = int(count) if 0 < count <= size_of(stream) else None
        if self._schedule is not None:
            self.expected: int | None = len(self._schedule.times_s)
        else:
            self.expected = self.guessed if container == "avi" else None

    def check_size(self) -> None:
        """Before a picture of it is made.

        Raises:
            DataError: its frames are too large, or have no size.
        """
        wide, high = (self._capture.get(side) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if wide * high > MOST_PIXELS:
            raise DataError(
                f"no frame of {self._name} can be decoded", got=f"{wide:.0f}x{high:.0f} pixels a frame", expected=f"at most {MOST_PIXELS}"
            )
        if not wide * high > 0:
            raise self._undecodable()

    def _undecodable(self) -> DataError:
        got, fix = why_unopened(self._stream, self._container)
        return DataError(f"no frame of {self._name} can be decoded", got=got, fix=fix)

    def frames(self, reading: Reading) -> Iterator[Frame]:
        """The frames that decode; `reading` fills.

        Raises:
            DataError: none does.
        """
        reading.expected = self.expected
        leaning = False
        while (failed := self._advance()) is not None:
            sound, pixels = self._capture.retrieve()
            if not sound:
                continue
            index, time_s = self._place(failed)
            skipped = index - self._last - 1
            if skipped and not failed and self._container == "avi":
                self._held += skipped
                skipped = 0
            if skipped and reading.broke_at is None:
                reading.broke_at = self._last + 1
            leaning = (leaning or skipped > 0) and not self._is_key()
            self._last, self._last_s = index, time_s
            reading.decoded += 1
            reading.decoded_after_break += reading.broke_at is not None
            reading.damaged += leaning
            reading.missing = index + 1 - self._held - reading.decoded
            yield Frame(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False), index, time_s)
        self._end(reading)

    def _advance(self) -> int | None:
        """On to the next frame that decodes: how many times it failed before that, None at the end."""
        failed = 0
        most = self._most_tries()
        while not self._capture.grab() or self._is_behind():
            failed += 1
            if failed > most:
                if not self._jump():
                    return None
                most = failed + TRIES_AT_THE_END
        return failed

    def _most_tries(self) -> int:
        """A decoder says no more than that it failed: at a broken frame, and at the end for ever."""
        if self.expected is not None:
            return min(self.expected - self._last - 1, MOST_TRIES)
        return min(max(TRIES_AT_THE_END, (self.guessed or 0) - self._last), MOST_TRIES)

    def _jump(self) -> bool:
        """Over a stretch where reading on does not help: some errors leave the decoder deaf until it is sent elsewhere."""
        if self._targets is None:
            self._targets = self._places()
        target = next(self._targets, None)
        if target is None:
            return False
        self._capture.set(cv2.CAP_PROP_POS_FRAMES, target)
        return True

    def _places(self) -> Iterator[int]:
        """Near ones first, then further and further away."""
        begin, end = self._last + 1, self.expected or self.guessed or 0
        keys = range(begin, end) if self._schedule is None else [key for key in self._schedule.keys if key > self._last]
        for n in range(MOST_JUMPS):
            if (1 << n) <= len(keys):
                # OpenCV goes back as far before it decodes its way to the place; so it begins at the key frame, and not at one before it.
                yield min(keys[(1 << n) - 1] + OPENCV_GOES_BACK, end - 1)

    def _is_behind(self) -> bool:
        """After a jump: a frame that was read before."""
        return self._targets is not None and not self._time_s() > self._last_s

    def _time_s(self) -> float:
        return float(self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)

    def _is_key(self) -> bool:
        return int(self._capture.get(cv2.CAP_PROP_FRAME_TYPE)) == ord("I")

    def _place(self, failed: int) -> tuple[int, float]:
        """The number and the time of the frame that the decoder holds."""
        following = self._last + 1 + failed
        time_s = self._time_s()
        if not self._last_s < time_s < math.inf:
            return self._within(following), max(following / self.fps, self._last_s + 1 / self.fps)
        if self._schedule is not None:
            times = self._schedule.times_s
            index = int(np.searchsorted(times, time_s - SAME_S))
            if self._last < index < len(times) and abs(times[index] - time_s) <= SAME_S:
                return index, time_s
        on_grid = round(time_s * self.fps)
        self._even = self._even and abs(time_s * self.fps - on_grid) < OFF_GRID
        if self._last < 0 and not failed:
            self._origin = on_grid
        on_grid -= self._origin
        if self._even and on_grid > self._last and (failed or on_grid == following or self._is_gap()):
            return self._within(on_grid), time_s
        return self._within(following), time_s

    def _is_gap(self) -> bool:
        """Whether numbers may be missing though no decoding failed; else the frame before them is only shown longer.

        An AVI counts what it holds, and MPEG streams, through which we cannot look, have even frames.
        """
        return self._container == "avi" or not self._is_intact()

    def _within(self, index: int) -> int:
        """No number that the container does not have, as long as it has one left."""
        most = self.expected or self.guessed
        return index if most is None or index < most else self._last + 1

    def _end(self, reading: Reading) -> None:
        """What the last frame leaves open.

        Raises:
            DataError: there was no frame at all.
        """
        if not reading.decoded:
            raise self._undecodable()
        reading.was_cut = is_cut(self._stream, self._container)
        if self.expected is not None:
            reading.expected = max(self.expected, self._last + 1) - self._held
        else:
            self._judge_without_count(reading)
        if reading.expected is not None:
            reading.missing = reading.expected - reading.decoded
        if reading.broke_at is None and reading.missing != 0:
            reading.broke_at = self._last + 1

    def _judge_without_count(self, reading: Reading) -> None:
        """Most containers tell no more than a duration; of even frames that is a count, but it may be that of the sound."""
        # Matroska writes its duration down; of other streams it is only what is left of them.
        told_end = not reading.was_cut or self._container == "matroska"
        reached_the_end = told_end and self._even and self.guessed is not None and self.guessed <= self._last + 1
        if not reached_the_end and self._is_intact() is False:
            reading.expected = self.guessed if self._even and self.guessed and self.guessed > self._last + 1 else None
            reading.missing = None
        elif (held := self._frames_held()) is not None:
            reading.missing = max(held - reading.decoded, reading.missing or 0)
        if reading.broke_at is not None and reached_the_end:
            reading.expected = self._last + 1

    def _is_intact(self) -> bool | None:
        if not self._intact:
            self._intact.append(is_intact(self._stream, self._container))
        return self._intact[0]

    def _frames_held(self) -> int | None:
        """How many frames a file holds whose container counts none, or None: asked only where its duration says that some are missing."""
        if self.guessed is not None and self.guessed <= self._last + 1:
            return None
        if self._container == "matroska":
            return walk_matroska(self._stream).shown
        # Of other streams OpenCV takes the packets apart, and trips over broken ones.
        return _packets(self._stream) if self._container in ("mpegts", "mpeg") else None


def _packets(stream: BinaryIO) -> int:
    """How many packets of pictures the file holds; they are not decoded."""
    with _opened(stream, [cv2.CAP_PROP_FORMAT, -1]) as capture:
        count = 0
        while capture.grab():
            count += 1
    return count


class WebmWriter:
    """Writes RGB frames as VP8 into a WebM file; the first frame fixes the size. A context manager.

    The file appears whole under its name when the context ends well; otherwise what lay there stays.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self._path = path
        self._fps = fps
        # OpenCV chooses the container by the suffix.
        self._unfinished = path.with_name(f"{OURS}{secrets.token_hex(8)}.webm")
        self._writer: cv2.VideoWriter | None = None
        self._frames = 0

    def write(self, image_rgb: ImageRgb) -> None:
        """Append a frame, H x W x 3.

        Raises:
            HostError: the file cannot be written.
        """
        if self._writer is None:
            self._writer = self._open((image_rgb.shape[1], image_rgb.shape[0]))
        if self._frames % LOOK_EVERY == 0:
            self._check_space()
        with quiet_opencv():
            self._writer.write(cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR))
        self._frames += 1

    def _open(self, size_wh: tuple[int, int]) -> cv2.VideoWriter:
        with telling_of_the_disk(self._path):
            os.close(os.open(self._unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666))
        with _settings(), _quiet_stderr():
            path = os.fsencode(self._unfinished)  # of a text that is not UTF-8 OpenCV dies
            writer: cv2.VideoWriter = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"VP80"), self._fps, size_wh)  # type: ignore[call-overload]
        if not writer.isOpened():
            self._check_space()
            raise HostError(
                f"cannot write {printable(str(self._path), 300)}", got="an OpenCV without a VP8 encoder", fix="use --out FOLDER"
            )
        return writer

    def _check_space(self) -> None:
        """OpenCV does not say that a disk is full."""
        if shutil.disk_usage(self._unfinished.parent).free < FULL_BYTES:
            raise disk_error(OSError(errno.ENOSPC, ""), self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if self._writer is not None:
                with quiet_opencv(), _quiet_stderr():
                    self._writer.release()
                if kind is None:
                    self._take_its_name()
        finally:
            self._unfinished.unlink(missing_ok=True)

    def _take_its_name(self) -> None:
        with telling_of_the_disk(self._path):
            with self._unfinished.open("rb") as stream:
                os.fsync(stream.fileno())
                found = walk_matroska(stream)
            if found.shown < self._frames or not found.intact:
                self._check_space()
                raise OSError(errno.EIO, f"{found.shown} of {self._frames} frames arrived")
            os.replace(self._unfinished, self._path)  # noqa: PTH105 - the atomic replace is the point


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
