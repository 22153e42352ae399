"""Which video encoder a recording gets: hardware where it really works, else software, whose cost is known before the model starts.

    choice = choose_encoder("auto", (640, 360), fps=10, cores=4)
    choice.reason     # "libx264 in software, 0.6 % of 4 cores; h264_v4l2m2m: there is no /dev/video11"

A list of encoders proves nothing (a Raspberry Pi 5 lists one that it does not have), so each that is permitted here encodes ten frames of a
moving pattern in a child process, and what it wrote is decoded again. `known_encoders` says who is permitted.
"""

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from edgewright.data.video import read_frames
from edgewright.detections import ImageRgb
from edgewright.errors import DataError, HostError, InputError
from edgewright.printable import printable
from edgewright.run.encoding import Encoder
from edgewright.run.known_encoders import ALWAYS_THERE, BY_NAME, KNOWN, KnownEncoder, why_never

AUTO = "auto"
FRAMES = 10
SETTLED = 2  # frames after which a child has started, and what it takes is for encoding
IDLE_S = 0.03  # without a nanosecond of processor time: it waits
PROBE_S = 10.0  # for a frame, or for the end; starting a Python and OpenCV on a slow board is in it
CLOCK_OF_PROCESS = 2  # CPUCLOCK_SCHED in <linux/posix-timers.h>: what clock_getcpuclockid(3) makes of a process id


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of ten frames: processor time and time of a frame, or why they did not come back."""

    cpu_ms: float = 0.0
    wall_ms: float = 0.0
    why_not: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The encoder, a sentence that says why, and what it takes: `cpu_share` of all cores together, 0..1; `tried`: who else, and why not."""

    encoder: KnownEncoder
    reason: str
    cpu_share: float
    tried: tuple[tuple[str, str], ...] = ()


Probe: TypeAlias = Callable[[KnownEncoder, tuple[int, int], float], Probed]


def choose_encoder(
    wanted: str,
    size_wh: tuple[int, int],
    fps: float,
    cores: int,
    *,
    root: Path = Path("/"),
    avoid: frozenset[str] = frozenset(),
    probe: Probe | None = None,
) -> Choice:
    """The first known encoder, hardware first, that works here and keeps up; `wanted` before all others, unless it is "auto".

    `root`: the tree the device files are in. `avoid`: who failed while it recorded. OpenCV's VP8 is taken without a test when nothing else
    is left, and says so: a service records as well as it can, rather than not at all.

    Raises:
        InputError: nobody knows an encoder called `wanted`.
    """
    if wanted != AUTO and wanted not in BY_NAME:
        raise InputError(f"no video encoder is called {printable(wanted)}", expected=", ".join([AUTO, *BY_NAME]))
    asked = probe or probe_encoder
    tried: list[tuple[str, str]] = []
    slow: list[tuple[Probed, KnownEncoder]] = []
    for encoder in sorted(KNOWN, key=lambda known: known.name != wanted):
        never = why_never(encoder, root) or ("it failed while it recorded" if encoder.name in avoid else None)
        found = Probed(why_not=never) if never else asked(encoder, size_wh, fps)
        if found.why_not is None and found.wall_ms * fps <= 1000:
            return _choice(encoder, found, fps, cores, tried)
        if found.why_not is None:
            slow.append((found, encoder))
        tried.append(
            (encoder.name, found.why_not or f"a frame takes it {found.wall_ms:.0f} ms, and there is one every {1000 / fps:.0f} ms")
        )
    if not slow:
        return Choice(ALWAYS_THERE, f"{ALWAYS_THERE.name}, though no encoder passed a test: {_listed(tried)}", 1.0 / cores, tuple(tried))
    found, encoder = min(slow, key=lambda pair: pair[0].wall_ms)
    return _choice(encoder, found, fps, cores, [pair for pair in tried if pair[0] != encoder.name], "too slow, but the fastest there is: ")


def _choice(encoder: KnownEncoder, found: Probed, fps: float, cores: int, tried: list[tuple[str, str]], but: str = "") -> Choice:
    share = found.cpu_ms * fps / 1000 / cores
    kind = "hardware" if encoder.hardware else "software"
    of_cores = "one core" if cores == 1 else f"{cores} cores"
    what = f"{but}{encoder.name} in {kind}, {share:.1%} of {of_cores}".replace("%", " %")
    others = f"; {_listed(tried)}" if tried else ""
    return Choice(encoder, f"{what} at {fps:g} frames a second{others}", share, tuple(tried))


def _listed(tried: list[tuple[str, str]]) -> str:
    return "; ".join(f"{name}: {why}" for name, why in tried)


def probe_encoder(encoder: KnownEncoder, size_wh: tuple[int, int], fps: float) -> Probed:
    """Encode ten frames of a moving pattern in a folder of our own, decode them, and say what a frame took.

    The processor time is the child's, as the kernel counts it; on a machine that is busy with other things the time may be longer.
    """
    even_wh = (size_wh[0] & ~1, size_wh[1] & ~1)
    pictures = [moving_pattern(even_wh, number) for number in range(FRAMES)]
    with tempfile.TemporaryDirectory(prefix="edgewright-probe-") as folder:
        try:
            film = Encoder(encoder, Path(folder) / f"probe{encoder.suffix}", even_wh, fps, frame_s=PROBE_S)
            try:
                found = _timed(film, pictures)
            except BaseException:
                film.abandon()
                raise
            why_not = _why_wrong(film.path, even_wh)
        except HostError as error:
            return Probed(why_not=str(error.got or error))
    return Probed(why_not=why_not) if why_not else found


def moving_pattern(size_wh: tuple[int, int], number: int) -> ImageRgb:
    """A picture of a film that is neither easy nor hard: slopes and stripes that wander, and grain."""
    wide, high = size_wh
    x, y = np.arange(wide, dtype=np.int32)[None, :], np.arange(high, dtype=np.int32)[:, None]
    grain = np.random.default_rng(number).integers(0, 6, (high, wide), np.int32)
    red = (x + 5 * number) * 255 // max(wide, 1) + grain
    green = (y * 2 + 3 * number) // 2 + grain
    blue = (((x - 7 * number) // 24 + y // 24) % 2) * 120 + 60 + grain
    return np.stack(np.broadcast_arrays(red % 256, green % 256, blue), axis=2).astype(np.uint8)


def _timed(film: Encoder, pictures: list[ImageRgb]) -> Probed:
    """Between two moments at which the child had nothing to do, so that neither its start nor its end counts."""
    before = after = _Idle(0.0, 0.0)
    for number, picture in enumerate(pictures):
        film.write(picture, number / film.fps)  # shows the one before
        if number == SETTLED:
            before = _idle(film)
            fed_s = time.monotonic()
        elif number == len(pictures) - 1:
            after = _idle(film)
    film.close(within_s=PROBE_S)
    count = len(pictures) - 1 - SETTLED
    return Probed(1000 * (after.cpu_s - before.cpu_s) / count, 1000 * (after.since_s - fed_s) / count)


@dataclass(frozen=True, slots=True)
class _Idle:
    cpu_s: float
    since_s: float


def _idle(film: Encoder) -> _Idle:
    """When the child has taken all that it was given and does nothing more: the processor time it had by then, and since when."""
    deadline = time.monotonic() + PROBE_S
    last_s, since_s = -1.0, 0.0
    while (now_s := time.monotonic()) < deadline and not film.has_ended():
        cpu_s = cpu_of_process_s(film.pid)
        if cpu_s != last_s:
            last_s, since_s = cpu_s, now_s
        elif now_s - since_s > IDLE_S and not film.waiting_bytes():
            break
        time.sleep(0.001)
    return _Idle(last_s, since_s)


def cpu_of_process_s(pid: int) -> float:
    """Processor seconds of a living process and all its threads, those that have ended included."""
    return time.clock_gettime((~pid << 3) | CLOCK_OF_PROCESS)


def _why_wrong(path: Path, size_wh: tuple[int, int]) -> str | None:
    """What is wrong with a film of ten frames, if anything."""
    try:
        with closing(read_frames(path)) as frames:  # type: ignore[type-var]
            sizes = [(frame.image_rgb.shape[1], frame.image_rgb.shape[0]) for frame in frames]
    except DataError as error:
        return f"what it wrote cannot be decoded: {error.got or error}"
    if len(sizes) != FRAMES:
        return f"of {FRAMES} frames {len(sizes)} came back"
    if set(sizes) != {size_wh}:
        return "frames of {}x{} came back as {}x{}".format(*size_wh, *sizes[0])
    return None


def cores_here() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))
