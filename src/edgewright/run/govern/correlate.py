"""Why did answers come late? A rise of latency beside what the board said of itself at that time.

A flag explains a rise only if it came first, by no more than half a minute, and was still up when the rise began. What came after the
rise, or had been there for long without one, explains nothing; better no sentence than a wrong one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from itertools import pairwise
from statistics import median

RISE = 1.3  # times the baseline, and at least RISE_MS more
RISE_MS = 5.0
LASTS = 3  # of LASTS_OF points, from the first one on: one late answer is none
LASTS_OF = 4
BASELINE_S = 600.0
LEAST_BASELINE = 5  # points
LEAD_S = 30.0  # PSI averages ten seconds, sensors are read once a second, and p99 is of a window itself


@dataclass(frozen=True, slots=True)
class Point:
    """A latency (p99, or an age) of the window that ends at `time_s`; wall clock, as flags have it."""

    time_s: float
    ms: float


@dataclass(frozen=True, slots=True)
class Flag:
    """Something that the board said of itself, in words that follow "because of": under-voltage, throttling for heat, memory pressure.

    `end_s`: None while it lasts.
    """

    what: str
    start_s: float
    end_s: float | None = None


@dataclass(frozen=True, slots=True)
class Rise:
    """`before_ms`: the baseline (median); `after_ms`: the median since the rise; `start_s`: of the first window above it."""

    start_s: float
    before_ms: float
    after_ms: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """A rise, and the flags that explain it, the earliest first; none if nothing does."""

    rise: Rise
    causes: tuple[Flag, ...]

    def sentence(self, what: str = "p99", zone: tzinfo | None = None) -> str:
        """In the zone's clock, or the machine's."""
        rose = f"{what} rose from {_ms(self.rise.before_ms)} to {_ms(self.rise.after_ms)} ms"
        if not self.causes:
            return f"{rose} at {_clock(self.rise.start_s, zone)}; nothing that the board says of itself explains it"
        causes = [f"{flag.what} at {_clock(flag.start_s, zone)}" for flag in self.causes]
        return f"{rose} because of {causes[0] if len(causes) == 1 else ', '.join(causes[:-1]) + ' and ' + causes[-1]}"


def explain(points: Sequence[Point], flags: Sequence[Flag], *, lead_s: float = LEAD_S) -> Explanation | None:
    """The last rise of the timeline and what explains it; None if nothing rose. Points in the order of time; others are left out."""
    rise = find_rise(points)
    if rise is None:
        return None
    window_s = _window(points)
    causes = [flag for flag in flags if _explains(flag, rise, lead_s=lead_s, window_s=window_s)]
    causes.sort(key=lambda flag: flag.start_s)
    return Explanation(rise, tuple(_once(causes)))


def find_rise(points: Sequence[Point]) -> Rise | None:
    """The last time that latency rose above what it had been in the ten minutes before, and stayed there for a while."""
    known = _in_order(points)
    found: Rise | None = None
    at, first = LEAST_BASELINE, 0
    while at < len(known):
        while known[at].time_s - known[first].time_s > BASELINE_S:
            first += 1
        before = [point.ms for point in known[first:at]]
        if len(before) >= LEAST_BASELINE and _rises(known, at, base := median(before)):
            end = next((i for i in range(at, len(known)) if not _above_soon(known, i, base)), len(known))
            found = Rise(known[at].time_s, base, median(point.ms for point in known[at:end]))
            at = end + LEAST_BASELINE  # a new rise needs a new baseline
            continue
        at += 1
    return found


def _rises(points: Sequence[Point], at: int, base: float) -> bool:
    if _above(points[at - 1].ms, base):
        return False  # it had risen before: whatever came since is not why
    return _above(points[at].ms, base) and sum(_above(point.ms, base) for point in points[at : at + LASTS_OF]) >= LASTS


def _above_soon(points: Sequence[Point], at: int, base: float) -> bool:
    return any(_above(point.ms, base) for point in points[at : at + 2])


def _above(ms: float, base: float) -> bool:
    return ms > base * RISE and ms > base + RISE_MS


def _explains(flag: Flag, rise: Rise, *, lead_s: float, window_s: float) -> bool:
    """It began before the rise's first window ended, not long before, and was not over before that window began."""
    first_s = rise.start_s - window_s
    return first_s - lead_s <= flag.start_s < rise.start_s and (flag.end_s is None or flag.end_s >= first_s)


def _once(flags: Sequence[Flag]) -> list[Flag]:
    """Of one kind only the first."""
    first: dict[str, Flag] = {}
    for flag in flags:
        first.setdefault(flag.what, flag)
    return list(first.values())


def _in_order(points: Sequence[Point]) -> list[Point]:
    known: list[Point] = []
    for point in points:
        if math.isfinite(point.ms) and math.isfinite(point.time_s) and point.ms >= 0 and (not known or point.time_s > known[-1].time_s):
            known.append(point)
    return known


def _window(points: Sequence[Point]) -> float:
    known = _in_order(points)
    return median(other.time_s - one.time_s for one, other in pairwise(known)) if len(known) > 1 else 1.0


def _ms(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _clock(time_s: float, zone: tzinfo | None) -> str:
    return datetime.fromtimestamp(time_s, zone).astimezone(zone).strftime("%H:%M")
