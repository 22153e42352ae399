"""The report's charts: inline SVG made of plain elements, styled by the page's classes, so that light, dark and print all work.

Every chart is well-formed XML (built as a tree, never by pasting strings) and carries its content as `<title>` and `<desc>`.
It is drawn for a given width: a phone gets a chart of its own rather than a shrunken one. What colour says, shape or text says too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from edgewright.bench.figures import Figure, Words, plain_text
from edgewright.bench.svg import LETTER_PX, Box, Scale, drawing, hover, line, markup, pixels, placed_text, short, shortened, text

Role: TypeAlias = Literal["baseline", "chosen", "other"]

LINE_PX = 16
OFF_SCALE = 0.12  # a candidate so much below the best would flatten all others: it is drawn at the edge, with its figure
BINS = 96
FLAGS = 3  # a model, one above the other
TALLEST_ROW_PX, FLAG_PX, FLAG_NAME_PX = 58, 15, 84


@dataclass(frozen=True, slots=True)
class Point:
    """A candidate: its number in the table, its name, p50 in milliseconds and accuracy 0..1.

    `float_layers`: how many single layers it keeps in float, where it was made by asking each layer; those are joined by a line.
    """

    number: Figure
    name: str
    latency: Figure
    shown_accuracy: Figure
    role: Role
    float_layers: int | None = None

    @property
    def latency_ms(self) -> float:
        return self.latency.value or 0.0

    @property
    def accuracy(self) -> float:
        return self.shown_accuracy.value or 0.0


# --- accuracy against latency ---------------------------------------------------------------------------------------------------------


def accuracy_against_latency(
    points: Sequence[Point], *, width: int, measure: str, latency_limit_ms: float | None = None, accuracy_floor: float | None = None
) -> str:
    """Candidates as points: left is faster, up is more accurate. The baseline is a square, the chosen one a ringed disc."""
    if not points:
        return ""
    wide = width >= 560
    height = 400 if wide else 330
    best = max(point.accuracy for point in points)
    x = Scale(0, max(p.latency_ms for p in points) * 1.1 or 1, 56, width - 14)
    low, high = _accuracy_range([p.accuracy for p in points], best, accuracy_floor)
    y = Scale(low, high, height - 48, 28)
    svg = drawing(width, height, "Accuracy against latency", _scatter_words(points, measure))
    _grid(svg, x, y, width, "p50 latency, ms (left is faster)", measure)
    taken = [*_limit_lines(svg, x, y, latency_limit_ms, accuracy_floor), *(_mark_box(p, x, y) for p in points)]
    _path(svg, points, x, y)
    for point in sorted(points, key=lambda p: p.role != "other"):
        _mark(svg, point, x, y)
    for point in sorted(points, key=lambda p: p.role == "other"):
        _label(svg, point, x, y, taken, named=wide)
    return markup(svg)


def _accuracy_range(values: Sequence[float], best: float, floor: float | None) -> tuple[float, float]:
    shown = [v for v in (*values, *([] if floor is None else [floor])) if v >= best - OFF_SCALE]
    low, high = min(shown), max(shown)
    room = max((high - low) * 0.22, 0.004)
    return max(0.0, low - room), high + room


def _scatter_words(points: Sequence[Point], measure: str) -> Words:
    return tuple(
        word for p in points for word in (f"{p.name}{_role_words(p.role)}: ", p.latency, f" ms, {measure} ", p.shown_accuracy, "; ")
    )


def _role_words(role: Role) -> str:
    return {"baseline": " (baseline)", "chosen": " (chosen)", "other": ""}[role]


def _grid(svg: ET.Element, x: Scale, y: Scale, width: int, x_title: str, y_title: str) -> None:
    bottom = y.start_px
    for value in x.ticks(4 if width < 560 else 8):
        line(svg, x(value), y.end_px, x(value), bottom, "grid")
        text(svg, x(value), bottom + 17, short(value), "tick", "middle")
    y_ticks = y.ticks(6)
    decimals = max(len(short(value).partition(".")[2]) for value in y_ticks)
    for value in y_ticks:
        line(svg, x.start_px, y(value), x.end_px, y(value), "grid")
        text(svg, x.start_px - 8, y(value) + 4, f"{value:.{decimals}f}", "tick", "end")
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
        yield placed_text(svg, at + 6, y.end_px + 12, "allowed latency", "limit-name")


def _path(svg: ET.Element, points: Sequence[Point], x: Scale, y: Scale) -> None:
    """The way from integers alone through larger and larger sets of layers in float."""
    steps = sorted((point for point in points if point.float_layers is not None), key=lambda point: point.float_layers or 0)
    corners = [f"{px:.1f},{py:.1f}" for px, py in (_centre(point, x, y) for point in steps)]
    if len(corners) > 1:
        ET.SubElement(svg, "polyline", {"points": " ".join(corners), "class": "path"})


def _centre(point: Point, x: Scale, y: Scale) -> tuple[float, float]:
    return x(point.latency_ms), y(max(point.accuracy, y.low))


def _mark_box(point: Point, x: Scale, y: Scale) -> Box:
    cx, cy = _centre(point, x, y)
    return cx - 8, cy - 8, cx + 8, cy + 8


def _mark(svg: ET.Element, point: Point, x: Scale, y: Scale) -> None:
    cx, cy = _centre(point, x, y)
    group = ET.SubElement(svg, "g", {"class": f"mark {point.role}"})
    hover(group, (f"{point.name}: ", point.latency, " ms, ", point.shown_accuracy))
    if point.accuracy < y.low:
        ET.SubElement(group, "path", {"d": f"M{cx - 6:.1f} {cy - 9:.1f}h12l-6 9z"})
    elif point.role == "baseline":
        ET.SubElement(group, "rect", pixels(x=cx - 6, y=cy - 6, width=12, height=12))
    else:
        if point.role == "chosen":
            ET.SubElement(group, "circle", {**pixels(cx=cx, cy=cy, r=11), "class": "ring"})
        ET.SubElement(group, "circle", pixels(cx=cx, cy=cy, r=6 if point.role == "chosen" else 5))


def _label(svg: ET.Element, point: Point, x: Scale, y: Scale, taken: list[Box], *, named: bool) -> None:
    """The candidate's number, and its name where there is width for it, at the nearest place that is free."""
    cx, cy = _centre(point, x, y)
    words: Words = (point.number, f"  {shortened(point.name, 44)}") if named else (point.number,)
    if point.accuracy < y.low:
        words += (" (", point.shown_accuracy, ", off the scale)" if named else ")")
    wide = len(plain_text(words)) * LETTER_PX
    box = _free_place((cx, cy), 19 if point.role == "chosen" else 14, wide, taken, x, y)
    taken.append(box)
    if abs(box[1] + 8 - cy) > 20:
        line(svg, cx, cy, min(max(cx, box[0]), box[2]), box[1] if box[1] > cy else box[3], "leader")
    text(svg, box[0], box[1] + 12, words, f"name {point.role}")


def _free_place(centre: tuple[float, float], gap: float, wide: float, taken: Sequence[Box], x: Scale, y: Scale) -> Box:
    """Right or left of the mark, above or below it, then further off; where nothing is free, the place that hides least."""
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
        return left, cy - 8, left + wide, cy + 8
    return min(places, key=lambda place: round(sum(_overlap(place, other) for other in taken)))


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
