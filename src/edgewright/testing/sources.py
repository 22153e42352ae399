"""Does a reader do what the capture process asks of it? For the readers here, and for one that somebody adds.

    report = check_source(lambda: open_reader(SourceOrder("clip", "line.mp4")))
    assert not report.findings, report.findings

What a reader has to be is said in `run.readers.base`; this opens one, reads it to its end (or `most_frames`) and says what was otherwise.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.run.readers.base import MOST_PIXELS, Reader

SKIPS_EVERY = 3  # of three frames one is not looked at, as where a frame rate is capped
MOST_FRAMES = 300
LONGEST_S = 60.0


@dataclass(frozen=True, slots=True)
class SourceReport:
    """How many frames there were, whether the source came to its end, and each thing that was not as it has to be, a sentence each."""

    frames: int
    ended: bool
    findings: tuple[str, ...]


def check_source(open_source: Callable[[], Reader], *, most_frames: int = MOST_FRAMES, within_s: float = LONGEST_S) -> SourceReport:
    """Open a source and read it. What `open_source` raises, and any other exception of the reader, goes through."""
    descriptors = _descriptors()
    reader = open_source()
    findings = [*_of_itself(reader)]
    frames, ended, time_s, until_s = 0, False, -1.0, time.monotonic() + within_s
    while frames < most_frames and not ended:
        if time.monotonic() > until_s:
            findings.append(f"only {frames} frames came in {within_s:.0f} s")
            break
        found = reader.next()
        if found not in (True, False, None):
            findings.append(f"next() gives {found!r} after {frames} frames, which is not True, False or None")
            break
        ended = found is False
        if not found:
            continue
        frames += 1
        findings.extend(f"frame {frames - 1}: {wrong}" for wrong in (_of_frame(reader) if frames % SKIPS_EVERY else ()))
        if reader.time_s < 0 or reader.time_s < time_s:
            findings.append(f"frame {frames - 1}: its time is {reader.time_s} s, that of the one before {time_s} s")
        time_s = reader.time_s
    findings.extend(_at_the_end(reader, frames) if ended else ())
    reader.close()
    del reader
    if (left := _descriptors() - descriptors) > 0:
        findings.append(f"{left} descriptors are open after close()")
    return SourceReport(frames, ended, tuple(findings[:20]))


def _of_itself(reader: Reader) -> list[str]:
    findings = []
    name: Any = reader.name
    if not isinstance(name, str) or not name or not name.isprintable():
        findings.append(f"its name is {name!r}, which nobody can be told")
    is_patient: Any = reader.is_patient
    if not isinstance(is_patient, bool):
        findings.append(f"is_patient is {is_patient!r}")
    if reader.fps is not None and not 0 < reader.fps < float("inf"):
        findings.append(f"its fps are {reader.fps!r}; where they are not known that is None")
    if reader.frames is not None and (not isinstance(reader.frames, int) or reader.frames < 0):
        findings.append(f"its frames are {reader.frames!r}; where they are not known that is None")
    return findings


def _of_frame(reader: Reader) -> list[str]:
    """Of the frame that `next` has found: a size that is the same when asked again, and pixels that fill a picture of it."""
    wide, high = reader.size_wh()
    if not (wide > 0 and high > 0 and wide * high <= MOST_PIXELS):
        return [f"its size is {wide} x {high}"]
    findings = []
    if reader.size_wh() != (wide, high):
        findings.append("its size is another when asked again")
    # As in a slot of a ring: a view that begins somewhere, holds something, and must be filled to its last pixel.
    slots = np.full((2, wide * high * 3 + 1), 255, np.uint8)
    slots[0] = 0
    pictures = [slot[: wide * high * 3].reshape(high, wide, 3) for slot in slots]
    for picture in pictures:
        reader.draw(picture)
    if not np.array_equal(pictures[0], pictures[1]):
        findings.append("draw() does not fill the picture, or not with the same pixels twice")
    if (slots[0, -1], slots[1, -1]) != (0, 255):
        findings.append("draw() writes beyond the picture")
    return findings


def _at_the_end(reader: Reader, frames: int) -> list[str]:
    findings = []
    if reader.next() is not False:
        findings.append("next() finds more after it had said that this was the end")
    if reader.frames is not None and reader.frames != frames:
        findings.append(f"it said that there are {reader.frames} frames, and gave {frames}")
    return findings


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
