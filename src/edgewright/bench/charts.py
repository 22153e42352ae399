"""The report's charts: inline SVG made of plain elements, styled by the page's classes, so that light, dark and print all work.

Every chart is well-formed XML (built as a tree, never by pasting strings) and carries its content as `<title>` and `<desc>`.
It is drawn for a given width: a phone gets a chart of its own rather than a shrunken one. What colour says, shape or text says too.
"""

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

Role: TypeAlias = Literal["baseline", "chosen", "other"]
Box: TypeAlias = tuple[float, float, float, float]

LETTER_PX = 6.9  # mean width of a letter at 13 px in the fonts that systems bring; only to keep labels apart
LINE_PX = 16
OFF_SCALE = 0.12  # a candidate so much below the best would flatten all others: it is drawn at the edge, with its figure
BINS = 96
QUANTILES = (("p50", 50.0), ("p90", 90.0), ("p99", 99.0))
TALLEST_ROW_PX, FLAG_PX, FLAG_NAME_PX = 58, 15, 84


@dataclass(frozen=True, slots=True)
class Point:
    """A candidate: its number in the table, its name, p50 in milliseconds and accuracy 0..1."""

    number: int
    name: str
    latency_ms: float
    accuracy: float
    role: Role


@dataclass(frozen=True, slots=True)
class Scale:
    """Carries values of an axis to pixels."""

    low: float
    high: float
    start_px: float
    end_px: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start_px + share * (self.end_px - self.start_px)

    def ticks(self, about: int) -> list[float]:
        """Round values along the axis."""
        step = _round_step((self.high - self.low) / about)
        first = math.ceil(self.low / step - 1e-9)
        return [round(at * step, 10) for at in range(first, math.floor(self.high / step + 1e-9) + 1)]


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
    svg = _svg(width, height, "Accuracy against latency", _scatter_words(points, measure))
    _grid(svg, x, y, width, "p50 latency, ms (left is faster)", measure)
    taken = [*_limit_lines(svg, x, y, latency_limit_ms, accuracy_floor), *(_mark_box(p, x, y) for p in points)]
    for point in sorted(points, key=lambda p: p.role != "other"):
        _mark(svg, point, x, y)
    for point in sorted(points, key=lambda p: p.role == "other"):
        _label(svg, point, x, y, taken, named=wide)
    return _written(svg)


def _accuracy_range(values: Sequence[float], best: float, floor: float | None) -> tuple[float, float]:
    shown = [v for v in (*values, *([] if floor is None else [floor])) if v >= best - OFF_SCALE]
    low, high = min(shown), max(shown)
    room = max((high - low) * 0.22, 0.004)
    return max(0.0, low - room), high + room


def _scatter_words(points: Sequence[Point], measure: str) -> str:
    return "; ".join(f"{p.name}{_role_words(p.role)}: {p.latency_ms:.1f} ms, {measure} {p.accuracy:.3f}" for p in points)


def _role_words(role: Role) -> str:
    return {"baseline": " (baseline)", "chosen": " (chosen)", "other": ""}[role]


def _grid(svg: ET.Element, x: Scale, y: Scale, width: int, x_title: str, y_title: str) -> None:
    bottom = y.start_px
    for value in x.ticks(4 if width < 560 else 8):
        _line(svg, x(value), y.end_px, x(value), bottom, "grid")
        _text(svg, x(value), bottom + 17, _short(value), "tick", "middle")
    y_ticks = y.ticks(6)
    decimals = max(len(_short(value).partition(".")[2]) for value in y_ticks)
    for value in y_ticks:
        _line(svg, x.start_px, y(value), x.end_px, y(value), "grid")
        _text(svg, x.start_px - 8, y(value) + 4, f"{value:.{decimals}f}", "tick", "end")
    _line(svg, x.start_px, bottom, x.end_px, bottom, "axis")
    _text(svg, x.end_px, bottom + 37, x_title, "axis-title", "end")
    _text(svg, 2, y.end_px - 16, y_title, "axis-title", "start")


def _limit_lines(svg: ET.Element, x: Scale, y: Scale, latency_limit_ms: float | None, accuracy_floor: float | None) -> Iterable[Box]:
    """Dashed lines where the budget ends; yields the room their names take."""
    if accuracy_floor is not None and y.low <= accuracy_floor <= y.high:
        at = y(accuracy_floor)
        _line(svg, x.start_px, at, x.end_px, at, "limit")
        yield x.start_px, at - 1, x.end_px, at + 1
        yield _placed_text(svg, x.start_px + 6, at + 14, "allowed accuracy", "limit-name")
    if latency_limit_ms is not None and x.low <= latency_limit_ms <= x.high:
        at = x(latency_limit_ms)
        _line(svg, at, y.end_px, at, y.start_px, "limit")
        yield at - 1, y.end_px, at + 1, y.start_px
        yield _placed_text(svg, at + 6, y.end_px + 12, "allowed latency", "limit-name")


def _centre(point: Point, x: Scale, y: Scale) -> tuple[float, float]:
    return x(point.latency_ms), y(max(point.accuracy, y.low))


def _mark_box(point: Point, x: Scale, y: Scale) -> Box:
    cx, cy = _centre(point, x, y)
    return cx - 8, cy - 8, cx + 8, cy + 8


def _mark(svg: ET.Element, point: Point, x: Scale, y: Scale) -> None:
    cx, cy = _centre(point, x, y)
    group = ET.SubElement(svg, "g", {"class": f"mark {point.role}"})
    ET.SubElement(group, "title").text = visible(f"{point.name}: {point.latency_ms:.2f} ms, {point.accuracy:.4f}")
    if point.accuracy < y.low:
        ET.SubElement(group, "path", {"d": f"M{cx - 6:.1f} {cy - 9:.1f}h12l-6 9z"})
    elif point.role == "baseline":
        ET.SubElement(group, "rect", _numbers(x=cx - 6, y=cy - 6, width=12, height=12))
    else:
        if point.role == "chosen":
            ET.SubElement(group, "circle", {**_numbers(cx=cx, cy=cy, r=11), "class": "ring"})
        ET.SubElement(group, "circle", _numbers(cx=cx, cy=cy, r=6 if point.role == "chosen" else 5))


def _label(svg: ET.Element, point: Point, x: Scale, y: Scale, taken: list[Box], *, named: bool) -> None:
    """The candidate's number, and its name where there is width for it, at the nearest place that is free."""
    cx, cy = _centre(point, x, y)
    text = f"{point.number}  {_shortened(point.name, 44)}" if named else str(point.number)
    if point.accuracy < y.low:
        text += f" ({point.accuracy:.3f}, off the scale)" if named else f" ({point.accuracy:.2f})"
    wide = len(text) * LETTER_PX
    box = _free_place(cx, cy, wide, taken, x, y)
    taken.append(box)
    if abs(box[1] + 8 - cy) > 20:
        _line(svg, cx, cy, min(max(cx, box[0]), box[2]), box[1] if box[1] > cy else box[3], "leader")
    _text(svg, box[0], box[1] + 12, text, f"name {point.role}")


def _free_place(cx: float, cy: float, wide: float, taken: Sequence[Box], x: Scale, y: Scale) -> Box:
    """Right or left of the mark, above or below it, then further off; where nothing is free, the place that hides least."""
    places = []
    for away in (0, 18, -18, 34, -34, 50, -50, 66, -66):
        for left in (cx + 14, cx - 14 - wide, cx - wide / 2):
            if away == 0 and left == cx - wide / 2:
                continue
            top = cy - 8 + away
            if x.start_px + 2 <= left and left + wide <= x.end_px + 10 and y.end_px - 2 <= top and top + LINE_PX <= y.start_px:
                places.append((left, top, left + wide, top + LINE_PX))
    if not places:
        left = min(max(cx + 14, x.start_px + 2), x.end_px - wide)
        return left, cy - 8, left + wide, cy + 8
    return min(places, key=lambda place: round(sum(_overlap(place, other) for other in taken)))


def _overlap(a: Box, b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


# --- how long single runs take --------------------------------------------------------------------------------------------------------


def latency_distributions(samples_ms: Mapping[str, Sequence[float]], *, width: int) -> str:
    """A histogram a model on one axis, with flags at p50, p90 and p99."""
    rows = {name: values for name, given in samples_ms.items() if (values := _finite(given)).size}
    if not rows:
        return ""
    row_px = TALLEST_ROW_PX + 3 * FLAG_PX + 34
    height = row_px * len(rows) + 46
    low = min(float(values.min()) for values in rows.values())
    high = max(float(np.percentile(values, 99)) for values in rows.values())
    room = max((high - low) * 0.05, high * 0.01, 1e-3)
    high += (high - low + room) * FLAG_NAME_PX / (width - 28 - FLAG_NAME_PX)  # the last flag's name stays on the chart
    x = Scale(max(0.0, low - room), high, 14, width - 14)
    svg = _svg(width, height, "Latency distributions", "; ".join(f"{name}: {_quantile_words(values)}" for name, values in rows.items()))
    _time_axis(svg, x, height - 44, width)
    for at, (name, values) in enumerate(rows.items()):
        _distribution(svg, name, values, x, (at + 1) * row_px)
    return _written(svg)


def _finite(values: Sequence[float]) -> NDArray[np.float64]:
    array = np.asarray(values, float)
    kept: NDArray[np.float64] = array[np.isfinite(array)]
    return kept


def _quantile_words(values: NDArray[np.float64]) -> str:
    return ", ".join(f"{name} {np.percentile(values, share):.2f} ms" for name, share in QUANTILES) + f" over {len(values)} runs"


def _time_axis(svg: ET.Element, x: Scale, bottom: float, width: int) -> None:
    for value in x.ticks(4 if width < 560 else 9):
        _line(svg, x(value), 8, x(value), bottom, "grid")
        _text(svg, x(value), bottom + 17, _short(value), "tick", "middle")
    _text(svg, x.end_px, bottom + 37, "one run of the model, ms", "axis-title", "end")


def _distribution(svg: ET.Element, name: str, values: NDArray[np.float64], x: Scale, ground: float) -> None:
    role = name if name in ("baseline", "fitted") else "other"
    top = ground - TALLEST_ROW_PX - 3 * FLAG_PX - 10
    _text(svg, x.start_px, top, _shortened(name, 40), f"row-name {role}")
    beyond = int((values > x.high).sum())
    words = f"{len(values)} runs" + (f", {beyond} beyond the axis" if beyond else "")
    _text(svg, x.end_px, top, words, "tick", "end")
    ET.SubElement(svg, "path", {"d": _outline(values, x, ground), "class": f"density {role}"})
    _line(svg, x.start_px, ground, x.end_px, ground, "axis")
    for tier, (label, share) in enumerate(QUANTILES):
        _flag(svg, label, float(np.percentile(values, share)), x, ground, tier)


def _outline(values: NDArray[np.float64], x: Scale, ground: float) -> str:
    counts, edges = np.histogram(values, bins=BINS, range=(x.low, x.high))
    heights = counts / max(1, counts.max()) * TALLEST_ROW_PX
    steps = "".join(f"V{ground - h:.1f}H{x(e):.1f}" for h, e in zip(heights.tolist(), edges[1:].tolist(), strict=True))
    return f"M{x(x.low):.1f} {ground:.1f}{steps}V{ground:.1f}Z"


def _flag(svg: ET.Element, label: str, value: float, x: Scale, ground: float, tier: int) -> None:
    """A pole at the quantile. The first flies highest, so that no pole crosses a name to the left of it."""
    at = x(value)
    top = ground - TALLEST_ROW_PX - FLAG_PX * (len(QUANTILES) - tier) + 2
    _line(svg, at, top, at, ground, f"flag {label}")
    text = f"{label} {value:.1f}" if value < 1000 else f"{label} {value:.0f}"
    _text(svg, at + 5, top + 10, text, "flag-name")


# --- an interval against its limit ----------------------------------------------------------------------------------------------------


def interval_strip(estimate: float, low: float, high: float, *, limit: float | None, width: int = 300) -> str:
    """A point with its interval on a line, zero and the allowed change marked. Ends that are not finite run off the strip."""
    known = [v for v in (estimate, low, high, 0.0, limit) if v is not None and math.isfinite(v)]
    room = max((max(known) - min(known)) * 0.12, 0.05)
    x = Scale(min(known) - room, max(known) + room, 4, width - 4)
    svg = _svg(width, 52, "Change with its 95 % interval", _interval_words(estimate, low, high, limit))
    _line(svg, x.start_px, 22, x.end_px, 22, "axis")
    for value, css, text in ((0.0, "zero", "0"), (limit, "limit", f"allowed {_signed(limit)}" if limit is not None else "")):
        if value is not None:
            _line(svg, x(value), 8, x(value), 36, css)
            anchor = "start" if x(value) < 50 else "end" if x(value) > width - 50 else "middle"
            _text(svg, x(value), 49, text, "tick", anchor)
    ends = (x.start_px if not math.isfinite(low) else x(low), x.end_px if not math.isfinite(high) else x(high))
    _line(svg, ends[0], 22, ends[1], 22, "whisker")
    ET.SubElement(svg, "circle", {**_numbers(cx=x(estimate), cy=22, r=5.5), "class": "dot"})
    return _written(svg)


def _interval_words(estimate: float, low: float, high: float, limit: float | None) -> str:
    allowed = "" if limit is None else f"; allowed {_signed(limit)}"
    return f"{_signed(estimate)} points, 95 % interval {_signed(low)} to {_signed(high)}{allowed}"


# --- elements -------------------------------------------------------------------------------------------------------------------------


def visible(text: str) -> str:
    """The text without what a terminal or a page would obey: controls are shown as their symbols, other commands as a replacement mark."""
    return "".join(_symbol(c) for c in text)


def _symbol(character: str) -> str:
    code = ord(character)
    if character in "\n\t" or not unicodedata.category(character).startswith("C"):
        return character
    if code < 0x20:
        return chr(0x2400 + code)
    # Zero-width joiners make emoji and Indic scripts; the rest (bidirectional overrides, surrogates, private use) only misleads.
    return character if character in "\u200c\u200d" else "\ufffd"


def _svg(width: int, height: int, title: str, words: str) -> ET.Element:
    svg = ET.Element(
        "svg", {"viewBox": f"0 0 {width} {height}", "width": str(width), "height": str(height), "role": "img", "aria-label": title}
    )
    ET.SubElement(svg, "title").text = title
    ET.SubElement(svg, "desc").text = visible(words)
    return svg


def _written(svg: ET.Element) -> str:
    return ET.tostring(svg, "unicode", short_empty_elements=True)


def _line(parent: ET.Element, x1: float, y1: float, x2: float, y2: float, css: str) -> None:
    ET.SubElement(parent, "line", {**_numbers(x1=x1, y1=y1, x2=x2, y2=y2), "class": css})


def _text(parent: ET.Element, x: float, y: float, text: str, css: str, anchor: str = "start") -> None:
    ET.SubElement(parent, "text", {**_numbers(x=x, y=y), "class": css, "text-anchor": anchor}).text = visible(text)


def _placed_text(parent: ET.Element, x: float, y: float, text: str, css: str) -> Box:
    _text(parent, x, y, text, css)
    return x, y - 12, x + len(text) * LETTER_PX, y + 4


def _numbers(**values: float) -> dict[str, str]:
    return {name: f"{value:.1f}" for name, value in values.items()}


def _round_step(rough: float) -> float:
    magnitude = 10.0 ** math.floor(math.log10(rough))
    return next(step * magnitude for step in (1, 2, 2.5, 5, 10) if step * magnitude >= rough * 0.999)


def _short(value: float) -> str:
    return f"{value:g}".replace("-", "\u2212")


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "\u2212") if math.isfinite(value) else "unbounded"


def _shortened(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1].rstrip() + "…"
