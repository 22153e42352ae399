"""The report's charts: inline SVG made of plain elements, styled by the page's classes, so that light, dark and print all work.

Every chart is well-formed XML (built as a tree, never by pasting strings) and carries its content as `<title>` and `<desc>`.
It is drawn for a given width: a phone gets a chart of its own rather than a shrunken one. What colour says, shape or text says too.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from edgewright.bench.figures import MINUS, POINTS, Figure, Words, plain_text
from edgewright.bench.svg import LETTER_PX, Box, Scale, drawing, hover, line, markup, pixels, placed_text, short, shortened, text

Place: TypeAlias = tuple[float, float]
Role: TypeAlias = Literal["baseline", "chosen", "other"]

LINE_PX = 16
OFF_SCALE = 0.12  # a candidate so much below the best would flatten all others: it is drawn at the edge, with its figure
BINS = 96
FLAGS = 3  # a model, one above the other
TALLEST_ROW_PX, FLAG_PX, FLAG_NAME_PX = 58, 15, 84
SHAPES = 4  # one an engine: disc, diamond, triangle, plus; the square is the model as given
REACH = 1.25  # times the slowest judged candidate: what was only timed and is slower still does not stretch the axis
NAMED = 12  # of more candidates only the front, the baseline and the chosen one bear names beside their marks
RUG_PX = 11
MISLEADS = 120.0  # a place nearer to another's mark is as bad as hiding so many square pixels


@dataclass(frozen=True, slots=True)
class Point:
    """A candidate: its number in the table, its name, p50 in milliseconds and accuracy 0..1 (of `two_fronts`: its change in points).

    `float_layers`: how many single layers it keeps in float, where it was made by asking each layer; those are joined by a dotted line.
    `shape`: which of the marks, one an engine. `front`: no other candidate beats it in both.
    """

    number: Figure
    name: str
    latency: Figure
    shown_accuracy: Figure
    role: Role
    float_layers: int | None = None
    engine: str = ""
    shape: int = 0
    front: bool = False

    @property
    def latency_ms(self) -> float:
        return self.latency.value or 0.0

    @property
    def accuracy(self) -> float:
        return self.shown_accuracy.value or 0.0


@dataclass(frozen=True, slots=True)
class Timed:
    """A point whose accuracy nobody asked for, because something faster computes as exactly; `why` says so."""

    number: Figure
    name: str
    latency: Figure
    why: str
    engine: str = ""

    @property
    def latency_ms(self) -> float:
        return self.latency.value or 0.0


# --- accuracy against latency ---------------------------------------------------------------------------------------------------------


def accuracy_against_latency(
    points: Sequence[Point],
    timed: Sequence[Timed] = (),
    *,
    width: int,
    measure: str,
    latency_limit_ms: float | None = None,
    accuracy_floor: float | None = None,
) -> str:
    """Candidates as points: left is faster, up is more accurate. A mark an engine; the baseline is a square, the chosen one ringed.

    What was `timed` and not judged has no accuracy: a short line on the axis each.
    """
    if not points:
        return ""
    wide = width >= 560
    height = 420 if wide else 340
    x = Scale(0, _latency_end(points, timed), 56, width - 14)
    y = Scale(*accuracy_range([p.accuracy for p in points], accuracy_floor), height - 48, 28)
    svg = drawing(width, height, "Accuracy against latency", (*_scatter_words(points, measure), *_timed_words(timed)))
    _grid(svg, x, y, width, "p50 latency, ms (left is faster)", measure)
    taken = [*_limit_lines(svg, x, y, latency_limit_ms, accuracy_floor), *(_mark_box(p, x, y) for p in points)]
    taken += _front(svg, [point for point in points if point.front], x, y)
    _path(svg, points, x, y)
    taken += _rug(svg, timed, x, y.start_px)
    for point in sorted(points, key=lambda p: p.role != "other"):
        _mark(svg, point, x, y)
    centres = [_mark_centre(point, x, y) for point in points]
    for point in sorted(points, key=lambda p: (p.role == "other", not p.front)):
        _label(svg, point, centres, x, y, taken, named=wide and (len(points) <= NAMED or point.front or point.role != "other"))
    return markup(svg)


def two_fronts(before: Sequence[Point], after: Sequence[Point], *, width: int, measure: str) -> str:
    """Two fronts of accuracy over latency: `before` dashed, `after` solid. Accuracies are changes against the given model, in points."""
    points = list(dict.fromkeys((*before, *after)))
    if not points:
        return ""
    wide = width >= 560
    height = 380 if wide else 340
    x = Scale(0, _latency_end(points, ()), 56, width - 14)
    y = Scale(*_change_range([point.accuracy for point in points]), height - 48, 28)
    told = (*_front_words("Front without the changed networks", before), *_front_words("front with them", after))
    svg = drawing(width, height, "Accuracy against latency, without and with the changed networks", told)
    _grid(svg, x, y, width, "p50 latency, ms (left is faster)", f"change in {measure}, points")
    taken = [_mark_box(point, x, y) for point in points]
    taken += [*_front(svg, before, x, y, "front before"), *_front(svg, after, x, y)]
    for point in sorted(points, key=lambda p: p.role != "other"):
        _mark(svg, point, x, y)
    centres = [_mark_centre(point, x, y) for point in points]
    for point in sorted(points, key=lambda p: (p.role == "other", not p.front)):
        _label(svg, point, centres, x, y, taken, named=wide and len(points) <= NAMED)
    return markup(svg)


def _change_range(changes: Sequence[float]) -> tuple[float, float]:
    """As `accuracy_range`, in points of change, which may be below zero."""
    best = max(changes)
    shown = [change for change in changes if change >= best - OFF_SCALE * POINTS]
    room = max((best - min(shown)) * 0.22, 0.4)
    return min(shown) - room, best + room


def _front_words(title: str, front: Sequence[Point]) -> Words:
    return (f"{title}: ", *(word for p in front for word in (f"{p.name} ", p.latency, " ms, ", p.shown_accuracy, " points; ")))


def _latency_end(points: Sequence[Point], timed: Sequence[Timed]) -> float:
    slowest = max(point.latency_ms for point in points)
    return max(slowest, *(each.latency_ms for each in timed if each.latency_ms <= slowest * REACH), 0.0) * 1.1 or 1


def accuracy_range(values: Sequence[float], floor: float | None) -> tuple[float, float]:
    """The ends of the axis; what lies far below the best is below them."""
    best = max(values)
    shown = [v for v in (*values, *([] if floor is None else [floor])) if v >= best - OFF_SCALE]
    low, high = min(shown), max(shown)
    room = max((high - low) * 0.22, 0.004)
    return max(0.0, low - room), high + room


def _scatter_words(points: Sequence[Point], measure: str) -> Words:
    return tuple(word for p in points for word in (f"{p.name}{_said_of(p)}: ", p.latency, f" ms, {measure} ", p.shown_accuracy, "; "))


def _timed_words(timed: Sequence[Timed]) -> Words:
    return tuple(word for each in timed for word in (f"{each.name} (timed, not judged): ", each.latency, " ms; "))


def _said_of(point: Point) -> str:
    words = [word for word, holds in ((str(point.role), point.role != "other"), ("on the front", point.front)) if holds]
    return f" ({', '.join(words)})" if words else ""


def _grid(svg: ET.Element, x: Scale, y: Scale, width: int, x_title: str, y_title: str) -> None:
    bottom = y.start_px
    for value in x.ticks(4 if width < 560 else 8):
        line(svg, x(value), y.end_px, x(value), bottom, "grid")
        text(svg, x(value), bottom + 17, short(value), "tick", "middle")
    y_ticks = y.ticks(6)
    decimals = max(len(short(value).partition(".")[2]) for value in y_ticks)
    for value in y_ticks:
        line(svg, x.start_px, y(value), x.end_px, y(value), "grid")
        text(svg, x.start_px - 8, y(value) + 4, f"{value:.{decimals}f}".replace("-", MINUS), "tick", "end")
    line(svg, x.start_px, bottom, x.end_px, bottom, "axis")
    text(svg, x.end_px, bottom + 37, x_title, "axis-title", "end")
    text(svg, 2, y.end_px - 16, y_title, "axis-title", "start")


def _limit_lines(svg: ET.Element, x: Scale, y: Scale, latency_limit_ms: float | None, accuracy_floor: float | None) -> Iterable[Box]:
    """Dashed lines where the budget ends; yields the room their names take."""
    if accuracy_floor is not None and y.low <= accuracy_floor <= y.high:
        at = y(accuracy_floor)
        line(svg, x.start_px, at, x.end_px, at, "limit")
        yield x.start_px, at - 1, x.end_px, at + 1
        yield placed_text(svg, x.start_px + 6, at + 14, "allowed accuracy", "limit-name")
    if latency_limit_ms is not None and x.low <= latency_limit_ms <= x.high:
        at = x(latency_limit_ms)
        line(svg, at, y.end_px, at, y.start_px, "limit")
        yield at - 1, y.end_px, at + 1, y.start_px
        name = "allowed latency"
        fits = at + 6 + len(name) * LETTER_PX <= x.end_px
        yield placed_text(svg, at + 6 if fits else at - len(name) * LETTER_PX, y.end_px + 12, name, "limit-name")


def _path(svg: ET.Element, points: Sequence[Point], x: Scale, y: Scale) -> None:
    """The way from integers alone through larger and larger sets of layers in float."""
    steps = sorted((point for point in points if point.float_layers is not None), key=lambda point: point.float_layers or 0)
    corners = [f"{px:.1f},{py:.1f}" for px, py in (_centre(point, x, y) for point in steps)]
    if len(corners) > 1:
        ET.SubElement(svg, "polyline", {"points": " ".join(corners), "class": "path"})


def _front(svg: ET.Element, front: Sequence[Point], x: Scale, y: Scale, css: str = "front") -> list[Box]:
    """What can be had by each latency, as steps from the fastest point of the front to the most accurate; the room they take."""
    corners = sorted(_centre(point, x, y) for point in front)
    if not corners:
        return []
    steps = "".join(f"H{px:.1f}V{py:.1f}" for px, py in corners)
    ET.SubElement(svg, "path", {"d": f"M{corners[0][0]:.1f} {y.start_px:.1f}{steps}H{x.end_px:.1f}", "class": css})
    ends = [*(px for px, _ in corners[1:]), x.end_px]
    starts = [y.start_px, *(py for _, py in corners)]
    flat = [(px, py - 1, end, py + 1) for (px, py), end in zip(corners, ends, strict=True)]
    return [*flat, *((px - 1, py, px + 1, below) for (px, py), below in zip(corners, starts, strict=False))]


def _rug(svg: ET.Element, timed: Sequence[Timed], x: Scale, ground: float) -> list[Box]:
    """A short line on the axis a point that was only timed; those beyond the axis share an arrow at its end."""
    within = [each for each in timed if each.latency_ms <= x.high]
    beyond = [each for each in timed if each.latency_ms > x.high]
    for each in within:
        group = ET.SubElement(svg, "g", {"class": "rug"})
        hover(group, _timed_in_words(each))
        # Two pixels are hard to point at.
        ET.SubElement(
            group, "rect", {**pixels(x=x(each.latency_ms) - 4, y=ground - RUG_PX - 3, width=8, height=RUG_PX + 3), "class": "column"}
        )
        line(group, x(each.latency_ms), ground - RUG_PX, x(each.latency_ms), ground, "tick-mark")
    room = [(x(each.latency_ms) - 2, ground - RUG_PX, x(each.latency_ms) + 2, ground) for each in within]
    if not beyond:
        return room
    group = ET.SubElement(svg, "g", {"class": "rug"})
    hover(group, tuple(word for each in beyond for word in (*_timed_in_words(each), "\n")))
    ET.SubElement(group, "path", {"d": f"M{x.end_px - 6:.1f} {ground - RUG_PX:.1f}v10l7 -5z"})
    words: Words = (_how_many(beyond), " slower")
    text(group, x.end_px, ground - RUG_PX - 4, words, "name", "end")
    return [*room, (x.end_px - len(plain_text(words)) * LETTER_PX, ground - RUG_PX - 16, x.end_px, ground)]


def _timed_in_words(each: Timed) -> Words:
    return (f"{each.name}{_in(each.engine)}: ", each.latency, f" ms, not judged: {each.why}")


def _how_many(timed: Sequence[Timed]) -> Figure:
    pointers = tuple(pointer for each in timed for pointer in each.number.pointers)
    return Figure(len(timed), str(len(timed)), pointers, "how many")


def _in(engine: str) -> str:
    return f" in {engine}" if engine else ""


def _centre(point: Point, x: Scale, y: Scale) -> Place:
    return x(point.latency_ms), y(max(point.accuracy, y.low))


def _mark_box(point: Point, x: Scale, y: Scale) -> Box:
    cx, cy = _mark_centre(point, x, y)
    return cx - 8, cy - 8, cx + 8, cy + 8


def _mark_centre(point: Point, x: Scale, y: Scale) -> Place:
    """Above the axis, where the point itself lies below it: an arrow stands between."""
    cx, cy = _centre(point, x, y)
    return cx, cy - 17 if point.accuracy < y.low else cy


def _mark(svg: ET.Element, point: Point, x: Scale, y: Scale) -> None:
    cx, cy = _mark_centre(point, x, y)
    group = ET.SubElement(svg, "g", {"class": f"mark {point.role}"})
    hover(group, (f"{point.name}{_in(point.engine)}: ", point.latency, " ms, ", point.shown_accuracy, _said_of(point)))
    _draw_mark(group, point.role, point.shape, cx, cy)
    if point.accuracy < y.low:
        ET.SubElement(group, "path", {"d": f"M{cx - 4:.1f} {cy + 10:.1f}h8l-4 6z", "class": "below"})


def _draw_mark(group: ET.Element, role: Role, shape: int, cx: float, cy: float) -> None:
    if role == "baseline":
        ET.SubElement(group, "rect", pixels(x=cx - 6, y=cy - 6, width=12, height=12))
        return
    if role == "chosen":
        ET.SubElement(group, "circle", {**pixels(cx=cx, cy=cy, r=11), "class": "ring"})
    if shape == 0:
        ET.SubElement(group, "circle", pixels(cx=cx, cy=cy, r=6 if role == "chosen" else 5))
        return
    outline = {1: "m0 -7l7 7l-7 7l-7 -7z", 2: "m0 -7l7 12h-14z", 3: "m-2.5 -6.5h5v4h4v5h-4v4h-5v-4h-4v-5h4z"}[min(shape, SHAPES - 1)]
    ET.SubElement(group, "path", {"d": f"M{cx:.1f} {cy:.1f}{outline}"})


def mark_key(role: Role, shape: int = 0) -> str:
    """The mark by itself, for the legend, whose words stand beside it."""
    svg = _key(24)
    _draw_mark(ET.SubElement(svg, "g", {"class": f"mark {role}"}), role, shape, 12, 12)
    return markup(svg)


def line_key(kind: Literal["front", "front before", "path", "rug", "below"]) -> str:
    """One of the chart's other signs by itself."""
    svg = _key(24 if kind in {"rug", "below"} else 34)
    if kind == "rug":
        line(ET.SubElement(svg, "g", {"class": "rug"}), 12, 6, 12, 18, "tick-mark")
    elif kind == "below":
        ET.SubElement(ET.SubElement(svg, "g", {"class": "mark other"}), "path", {"d": "M8 9h8l-4 6z", "class": "below"})
    else:
        ET.SubElement(svg, "path", {"d": "M2 17L17 11L32 7" if kind == "path" else "M2 18V12H17V6H32", "class": kind})
    return markup(svg)


def _key(width: int) -> ET.Element:
    return ET.Element("svg", {"viewBox": f"0 0 {width} 24", "width": str(width), "height": "24", "class": "sign", "aria-hidden": "true"})


def _label(svg: ET.Element, point: Point, centres: Sequence[Place], x: Scale, y: Scale, taken: list[Box], *, named: bool) -> None:
    """The candidate's number, and its name where there is width for it, at the nearest place that is free."""
    cx, cy = _mark_centre(point, x, y)
    words: Words = (point.number, f"  {shortened(point.name, 44)}") if named else (point.number,)
    if point.accuracy < y.low:
        words += (" (", point.shown_accuracy, ", off the scale)" if named else ")")
    wide = len(plain_text(words)) * LETTER_PX
    places = _places((cx, cy), 19 if point.role == "chosen" else 14, wide, x, y)
    box = min(places, key=lambda place: round(_hidden(place, taken) + MISLEADS * _misleads(place, (cx, cy), centres)))
    taken.append(box)
    if abs(box[1] + 8 - cy) > 20 or _misleads(box, (cx, cy), centres):
        line(svg, cx, cy, min(max(cx, box[0]), box[2]), box[1] if box[1] > cy else box[3], "leader")
    text(svg, box[0], box[1] + 12, words, f"name {point.role}")


def _places(centre: Place, gap: float, wide: float, x: Scale, y: Scale) -> list[Box]:
    """Right or left of the mark, above or below it, then further off."""
    cx, cy = centre
    places = []
    for away in (0, 18, -18, 34, -34, 50, -50, 66, -66):
        for left in (cx + gap, cx - gap - wide, cx - wide / 2):
            if away == 0 and left == cx - wide / 2:
                continue
            top = cy - 8 + away
            if x.start_px + 2 <= left and left + wide <= x.end_px + 10 and y.end_px - 2 <= top and top + LINE_PX <= y.start_px:
                places.append((left, top, left + wide, top + LINE_PX))
    if not places:
        left = min(max(cx + gap, x.start_px + 2), x.end_px - wide)
        return [(left, cy - 8, left + wide, cy + 8)]
    return places


def _hidden(place: Box, taken: Sequence[Box]) -> float:
    return sum(_overlap(place, other) for other in taken)


def _misleads(place: Box, own: Place, centres: Sequence[Place]) -> bool:
    """Whether a name there would pass for that of another's mark, which is nearer."""
    return any(_away(place, other) < _away(place, own) for other in centres)


def _away(place: Box, centre: Place) -> float:
    return math.hypot(max(place[0] - centre[0], centre[0] - place[2], 0.0), max(place[1] - centre[1], centre[1] - place[3], 0.0))


def _overlap(a: Box, b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


# --- how long single runs take --------------------------------------------------------------------------------------------------------

Flag: TypeAlias = tuple[str, Figure]  # p50, p90, ...: the first flies highest


def latency_distributions(samples_ms: Mapping[str, Sequence[float]], quantiles: Mapping[str, Sequence[Flag]], *, width: int) -> str:
    """A histogram a model on one axis, with a flag at each of its `quantiles`."""
    rows = {name: values for name, given in samples_ms.items() if (values := _finite(given)).size}
    if not rows:
        return ""
    row_px = TALLEST_ROW_PX + FLAGS * FLAG_PX + 34
    height = row_px * len(rows) + 46
    low = min(float(values.min()) for values in rows.values())
    high = max(float(np.percentile(values, 99)) for values in rows.values())
    room = max((high - low) * 0.05, high * 0.01, 1e-3)
    high += (high - low + room) * FLAG_NAME_PX / (width - 28 - FLAG_NAME_PX)  # the last flag's name stays on the chart
    x = Scale(max(0.0, low - room), high, 14, width - 14)
    svg = drawing(width, height, "Latency distributions", _quantile_words(rows, quantiles))
    _time_axis(svg, x, height - 44, width)
    for at, (name, values) in enumerate(rows.items()):
        _distribution(svg, name, values, quantiles.get(name, ()), x, (at + 1) * row_px)
    return markup(svg)


def _finite(values: Sequence[float]) -> NDArray[np.float64]:
    array = np.asarray(values, float)
    kept: NDArray[np.float64] = array[np.isfinite(array)]
    return kept


def _quantile_words(rows: Iterable[str], quantiles: Mapping[str, Sequence[Flag]]) -> Words:
    return tuple(
        word
        for name in rows
        for word in (f"{name}: ", *(part for label, figure in quantiles.get(name, ()) for part in (f"{label} ", figure, " ms ")), "; ")
    )


def _time_axis(svg: ET.Element, x: Scale, bottom: float, width: int) -> None:
    for value in x.ticks(4 if width < 560 else 9):
        line(svg, x(value), 8, x(value), bottom, "grid")
        text(svg, x(value), bottom + 17, short(value), "tick", "middle")
    text(svg, x.end_px, bottom + 37, "one run of the model, ms", "axis-title", "end")


def _distribution(svg: ET.Element, name: str, values: NDArray[np.float64], flags: Sequence[Flag], x: Scale, ground: float) -> None:
    role = name if name in ("baseline", "fitted") else "other"
    top = ground - TALLEST_ROW_PX - FLAGS * FLAG_PX - 10
    text(svg, x.start_px, top, shortened(name, 40), f"row-name {role}")
    if (values > x.high).any():
        text(svg, x.end_px, top, "some runs lie beyond", "tick", "end")
    ET.SubElement(svg, "path", {"d": _outline(values, x, ground), "class": f"density {role}"})
    line(svg, x.start_px, ground, x.end_px, ground, "axis")
    for tier, (label, figure) in enumerate(flags):
        if figure.value is not None and x.low <= figure.value <= x.high:
            _flag(svg, label, figure, x, ground, len(flags) - tier)


def _outline(values: NDArray[np.float64], x: Scale, ground: float) -> str:
    counts, edges = np.histogram(values, bins=BINS, range=(x.low, x.high))
    heights = counts / max(1, counts.max()) * TALLEST_ROW_PX
    steps = "".join(f"V{ground - h:.1f}H{x(e):.1f}" for h, e in zip(heights.tolist(), edges[1:].tolist(), strict=True))
    return f"M{x(x.low):.1f} {ground:.1f}{steps}V{ground:.1f}Z"


def _flag(svg: ET.Element, label: str, figure: Figure, x: Scale, ground: float, tiers: int) -> None:
    """A pole at the quantile. The first flies highest, so that no pole crosses a name to the left of it."""
    at = x(figure.value or 0.0)
    top = ground - TALLEST_ROW_PX - FLAG_PX * tiers + 2
    line(svg, at, top, at, ground, f"flag {label}")
    text(svg, at + 5, top + 10, (f"{label} ", figure), "flag-name")


# --- an interval against its limit ----------------------------------------------------------------------------------------------------


def interval_strip(change: Figure, low: Figure, high: Figure, allowed: Figure, *, width: int = 300) -> str:
    """A point with its interval on a line, zero and the allowed change marked; ends that are not known run off the strip.

    `allowed`: the change that the budget bears, its value None where there is no limit.
    """
    if change.value is None:
        return ""
    known = [0.0, *(figure.value for figure in (change, low, high, allowed) if figure.value is not None)]
    room = max((max(known) - min(known)) * 0.12, 0.05)
    x = Scale(min(known) - room, max(known) + room, 4, width - 4)
    limit: Words = () if allowed.value is None else ("; allowed ", allowed)
    told = (change, " points, 95 % interval ", low, " to ", high, *limit)
    svg = drawing(width, 52, "Change with its 95 % interval", told)
    line(svg, x.start_px, 22, x.end_px, 22, "axis")
    for value, css, words in ((0.0, "zero", ("0",)), (allowed.value, "limit", ("allowed ", allowed))):
        if value is not None:
            line(svg, x(value), 8, x(value), 36, css)
            anchor = "start" if x(value) < 50 else "end" if x(value) > width - 50 else "middle"
            text(svg, x(value), 49, words, "tick", anchor)
    ends = (x.start_px if low.value is None else x(low.value), x.end_px if high.value is None else x(high.value))
    line(svg, ends[0], 22, ends[1], 22, "whisker")
    ET.SubElement(svg, "circle", {**pixels(cx=x(change.value), cy=22, r=5.5), "class": "dot"})
    return markup(svg)
