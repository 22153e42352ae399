"""Latency over time, and what happened, on one axis: a cause stands under its effect.

Each column is a span of the service's wall clock that does not move: the chart scrolls, and no bar is ever counted anew.
"""

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from edgewright.watch import amounts
from edgewright.watch.lately import Sample
from edgewright.watch.said import Happened
from edgewright.watch.spans import Line, Span, Style

SCALES_S: Final = (1, 5, 15, 60)  # a column
GUTTER: Final = 9  # columns for what the rows are
TICK: Final = 20  # columns from one time of day to the next
ROUND: Final = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)
SEVERITIES: Final[dict[str, tuple[int, Style]]] = {"error": (2, "bad"), "warning": (1, "warning"), "info": (0, "accent")}


@dataclass(frozen=True, slots=True)
class Glyphs:
    """What bars are drawn with: `levels` from nothing to a full cell."""

    levels: str
    full: str
    empty: str
    dot: str


BLOCKS: Final = Glyphs(" ▁▂▃▄▅▆▇█", "█", "░", "·")
ASCII: Final = Glyphs(" .:-=+*#", "#", ".", "-")


@dataclass(frozen=True, slots=True)
class Axis:
    """`columns` of `scale_s` seconds each; the last one holds `now_s`."""

    now_s: float
    columns: int
    scale_s: float

    def column(self, time_s: float) -> int | None:
        """Where a time is; None if it is not shown."""
        at = self.columns - 1 - (self._of(self.now_s) - self._of(time_s))
        return at if 0 <= at < self.columns else None

    def begins_s(self, column: int) -> float:
        return (self._of(self.now_s) - (self.columns - 1 - column)) * self.scale_s

    def _of(self, time_s: float) -> int:
        return math.floor(time_s / self.scale_s)


def peaks(samples: Iterable[Sample], axis: Axis) -> list[float | None]:
    """The highest p99 in each column."""
    found: list[float | None] = [None] * axis.columns
    for sample in samples:
        value = sample.age.p99
        at = axis.column(sample.time_s)
        if value is not None and at is not None:
            found[at] = max(value, found[at] or 0.0)
    return found


def round_top(value: float) -> float:
    """A round number, at least as much."""
    if value <= 0:
        return 1.0
    power = 10 ** math.floor(math.log10(value))
    return next(float(step * power) for step in ROUND if step * power >= value * (1 - 1e-9))


def bars(values: Sequence[float | None], top: float, rows: int, glyphs: Glyphs) -> list[str]:
    """Bars of `rows` rows, from the upper one down; whatever was measured has at least the smallest mark."""
    steps = len(glyphs.levels) - 1
    heights = [0 if value is None else max(1, min(round(value / top * rows * steps), rows * steps)) for value in values]
    return ["".join(glyphs.levels[max(0, min(height - row * steps, steps))] for height in heights) for row in reversed(range(rows))]


def letter(kind: str) -> str:
    """Of an event's kind, on the axis and in the list: Camera, Worker, Output, Memory, Governor, Service, Rule."""
    first = kind[:1].upper()
    return first if first.isascii() and first.isalpha() else "?"


def style_of(event: Happened) -> Style:
    return SEVERITIES.get(event.severity, SEVERITIES["info"])[1]


def markers(events: Iterable[Happened], axis: Axis, glyphs: Glyphs) -> Line:
    """The letter of what happened in each column; of several the gravest, of equals the first."""
    found: dict[int, Happened] = {}
    for event in events:
        at = axis.column(event.time_s)
        if at is not None and (at not in found or _gravity(event) > _gravity(found[at])):
            found[at] = event
    spans = []
    for at in range(axis.columns):
        event_there = found.get(at)
        spans.append(Span(glyphs.dot, "faint") if event_there is None else Span(letter(event_there.kind), style_of(event_there)))
    return _merged(spans)


def _gravity(event: Happened) -> int:
    return SEVERITIES.get(event.severity, SEVERITIES["info"])[0]


def _merged(spans: Iterable[Span]) -> Line:
    """Neighbours of one style as one piece."""
    found: list[Span] = []
    for span in spans:
        if found and found[-1].style == span.style:
            found[-1] = Span(found[-1].text + span.text, span.style)
        else:
            found.append(span)
    return tuple(found)


def ticks(axis: Axis) -> str:
    """Times of day under the columns that they are of."""
    text = [" "] * axis.columns
    for at in range(axis.columns):
        number = round(axis.begins_s(at) / axis.scale_s)
        label = "|" + time_of_day(axis.begins_s(at), seconds=axis.scale_s < 60)
        if number % TICK == 0 and at + len(label) <= axis.columns:
            text[at : at + len(label)] = label
    return "".join(text)


def time_of_day(time_s: float, *, seconds: bool = True) -> str:
    """Here, where the screen is."""
    try:
        return time.strftime("%H:%M:%S" if seconds else "%H:%M", time.localtime(time_s))
    except (OverflowError, ValueError, OSError):
        return "--:--:--" if seconds else "--:--"


def chart(samples: Iterable[Sample], events: Iterable[Happened], axis: Axis, rows: int, glyphs: Glyphs) -> list[Line]:
    """Bars, what happened, and when: `rows` + 2 lines."""
    values = peaks(samples, axis)
    top = round_top(max((value for value in values if value is not None), default=0.0))
    drawn = bars(values, top, rows, glyphs)
    labels = [f"p99 {amounts.ms(top):>4}"[:GUTTER], *[""] * (rows - 2), *(["ms     0"] if rows > 1 else [])]
    lines: list[Line] = [(Span(f"{label:<{GUTTER}}", "faint"), Span(row, "accent")) for label, row in zip(labels, drawn, strict=True)]
    lines.append((Span(f"{'events':<{GUTTER}}", "faint"), *markers(events, axis, glyphs)))
    lines.append((Span(f"{f'{axis.scale_s:.0f} s each':<{GUTTER}}", "faint"), Span(ticks(axis), "faint")))
    return lines
