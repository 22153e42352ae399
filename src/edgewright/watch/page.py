"""The page: what there is to show, as lines that fit a screen of any size.

Each part says how few lines it can do with and how many it would like. From the top down each is given its few, then more, and events take
what is left. 80 x 24 holds four cameras, their model, the board, outputs, the chart and the latest events.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from edgewright.watch import amounts
from edgewright.watch.chart import ASCII, BLOCKS, GUTTER, SCALES_S, Axis, Glyphs, chart, letter, style_of, time_of_day
from edgewright.watch.lately import Lately
from edgewright.watch.parts import board, cameras, memory, models, outputs, shares
from edgewright.watch.spans import Line, Span, clipped, ends, greyed, line
from edgewright.watch.view import View

AIRY: Final = 34  # lines from which on parts are set apart
KEYS: Final = "q ends it   t: more seconds a column"


@dataclass(frozen=True, slots=True)
class Look:
    """How it is drawn. `scale_s`: seconds in a column of the chart. `has_chart`: not of a single look."""

    columns: int
    rows: int
    glyphs: Glyphs = BLOCKS
    scale_s: float = SCALES_S[0]
    has_chart: bool = True

    @property
    def is_airy(self) -> bool:
        """Whether there is room for lines between the parts."""
        return self.rows >= AIRY


@dataclass(frozen=True, slots=True)
class Part:
    """`draw` makes as many lines as it is given, or fewer. `most`: more than that it has no use for."""

    least: int
    most: int
    draw: Callable[[int], list[Line]]


def page(view: View, look: Look) -> list[Line]:
    """Lines for the whole screen, from its top; no longer than it is wide, no more than it has."""
    lines = [_header(view, look), *_trouble(view)]
    if view.lately is not None:
        parts = _parts(view, view.lately, look)
        gaps = sum(part.most > 0 for part in parts) if look.is_airy else 0
        shown = allotted([(part.least, part.most) for part in parts], look.rows - len(lines) - gaps)
        below: list[Line] = []
        for part, rows in zip(parts, shown, strict=True):
            drawn = part.draw(rows) if rows else []
            below += [*([()] if look.is_airy and drawn else []), *drawn]
        lines += below if view.trouble is None else [greyed(each) for each in below]
    return [clipped(each, look.columns) for each in lines[: look.rows]]


def allotted(wishes: Sequence[tuple[int, int]], rows: int) -> list[int]:
    """How many rows each part gets of them, by its (least, most); the first ones go first."""
    given = []
    for least, _ in wishes:
        given.append(least if least <= rows else 0)
        rows -= given[-1]
    for at, (least, most) in enumerate(wishes):
        if given[at] >= least:
            more = min(rows, most - given[at])
            given[at] += more
            rows -= more
    return given


def _parts(view: View, lately: Lately, look: Look) -> list[Part]:
    """From the top of the page to its end."""
    said, width = lately.said, look.columns
    bars = (6 if look.is_airy else 2) + 2 if look.has_chart else 0
    more = shares(said, width) if look.is_airy else []
    keys = [line(Span(KEYS, "faint"))] if look.is_airy and look.has_chart else []
    return [
        _rows(cameras(lately, width), least=3),
        _rows(models(lately.models, width), least=2),
        _rows([*memory(said, width, look.glyphs), *more]),
        _rows(board(said, width)),
        _rows(outputs(said, width), least=2),
        Part(min(bars, 4), bars, lambda given: _chart(view, look, given - 2)),
        Part(1, max(1, len(view.events)), lambda given: _events(view, given)),
        _rows(keys),
    ]


def _rows(lines: list[Line], least: int = 1) -> Part:
    return Part(min(least, len(lines)), len(lines), lambda given: shortened(lines, given))


def shortened(lines: list[Line], rows: int) -> list[Line]:
    """As many of the lines as there is room for; the last one says how many more there are."""
    if len(lines) <= rows:
        return lines
    return [*lines[: rows - 1], line(Span(f"  and {len(lines) - rows + 1} more", "faint"))] if rows > 1 else lines[:rows]


def _header(view: View, look: Look) -> Line:
    if view.lately is None:
        return ends(line(Span("edgewright watch", "strong"), f"  {view.place}"), line(time_of_day(view.now_s)), look.columns)
    said = view.lately.said
    ready = Span("ready", "good") if said.is_ready else Span("not ready", "warning")
    right = line(f"up {amounts.span(said.uptime_s)}   {time_of_day(view.now_s)}")
    if view.trouble is not None:
        ready, right = Span("gone", "bad"), line(time_of_day(view.now_s))
    return ends(line(Span(said.name, "strong"), "  ", ready, Span(f"  {view.place}", "faint")), right, look.columns)


def _trouble(view: View) -> list[Line]:
    if view.lately is None:
        return [line(Span(f"waiting for the service; {view.trouble}", "warning") if view.trouble else "asking the service ...")]
    if view.trouble is None:
        return []
    return [line(Span(f"{view.trouble}; what is shown is {amounts.span(view.age_s)} old", "bad"))]


def _chart(view: View, look: Look, rows: int) -> list[Line]:
    axis = Axis(view.now_s, max(1, look.columns - GUTTER), look.scale_s)
    return chart(view.samples, view.events, axis, rows, look.glyphs)


def _events(view: View, rows: int) -> list[Line]:
    """The latest first."""
    latest = list(view.events)[: -rows - 1 : -1] if rows else []
    if not latest:
        return [line(Span("no events yet", "faint"))]
    found: list[Line] = []
    for event in latest:
        name = "" if event.name == view.place else f"{event.name} "
        style = style_of(event)
        mark = Span(letter(event.kind), style)
        words = Span(f"{name}{event.text}", "plain" if event.severity == "info" else style)
        found.append(line(Span(time_of_day(event.time_s), "faint"), " ", mark, " ", Span(f"{event.kind} ", "faint"), words))
    return found


def glyphs_for(encoding: str | None) -> Glyphs:
    """What a terminal of this encoding can show."""
    return BLOCKS if (encoding or "").lower().replace("-", "") == "utf8" else ASCII
