"""Pictures of networks that learn: how near each came to its teacher, look after look. Elements and manners as in `bench.charts`."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from edgewright.bench.figures import Figure, Words
from edgewright.bench.svg import LETTER_PX, Scale, drawing, hover, line, markup, pixels, short, shortened, text

COLUMNS = 3  # of curves beside each other, on a desk
GAP_PX, AXIS_PX, TITLE_PX, CURVE_PX, GROUND_PX = 28, 40, 26, 96, 42
MOST_STEPS = 1e9  # more are no training's
LEAST_RANGE = 0.02  # of agreement: a flat curve is drawn flat


@dataclass(frozen=True, slots=True)
class Check:
    """A look at held-back pictures: after which step, agreement with the teacher, and mAP50-95 where there are labels; both 0..1."""

    step: Figure
    agreement: Figure
    map50_95: Figure

    @property
    def at(self) -> float:
        return self.step.value or 0.0

    @property
    def height(self) -> float:
        return self.agreement.value or 0.0

    @property
    def is_known(self) -> bool:
        """Whether it can be drawn."""
        step, agreement = self.step.value, self.agreement.value
        return step is not None and agreement is not None and 0 <= step <= MOST_STEPS and 0 <= agreement <= 1

    def words(self) -> Words:
        labelled: Words = () if self.map50_95.value is None else (", mAP50-95 ", self.map50_95)
        return ("step ", self.step, ": agreement ", self.agreement, *labelled)


@dataclass(frozen=True, slots=True)
class Curve:
    """A change, and the looks at the network that learned after it."""

    change: str
    checks: tuple[Check, ...]


def learning_curves(curves: Sequence[Curve], *, width: int) -> str:
    """A small curve of agreement over steps for each change, all to one scale of agreement."""
    known = [Curve(curve.change, checks) for curve in curves if (checks := _in_order(curve))]
    if not known:
        return ""
    columns = COLUMNS if width >= 560 else 1
    wide = (width - GAP_PX * (columns - 1)) / columns
    high = TITLE_PX + CURVE_PX + GROUND_PX
    low, top = _range([check.height for curve in known for check in curve.checks])
    svg = drawing(width, high * -(-len(known) // columns), "Agreement with the teacher, while each network learned", _words(known))
    for at, curve in enumerate(known):
        left, upper = at % columns * (wide + GAP_PX), at // columns * high
        x = Scale(0, max(curve.checks[-1].at, 1), left + AXIS_PX, left + wide - 8)
        y = Scale(low, top, upper + TITLE_PX + CURVE_PX, upper + TITLE_PX)
        text(svg, left, upper + 14, shortened(curve.change, int(wide / LETTER_PX)), "row-name")
        _axes(svg, x, y)
        _curve(svg, curve, x, y)
    return markup(svg)


def _in_order(curve: Curve) -> tuple[Check, ...]:
    return tuple(sorted((check for check in curve.checks if check.is_known), key=lambda check: check.at))


def _range(heights: Sequence[float]) -> tuple[float, float]:
    """From the least to the most, with room for a figure above."""
    low, high = min(heights), max(heights)
    room = max((high - low) * 0.15, LEAST_RANGE)
    return max(0.0, low - room), high + room


def _axes(svg: ET.Element, x: Scale, y: Scale) -> None:
    ticks = y.ticks(3)
    decimals = max(len(short(value).partition(".")[2]) for value in ticks) if ticks else 0
    for value in ticks:
        line(svg, x.start_px, y(value), x.end_px, y(value), "grid")
        text(svg, x.start_px - 8, y(value) + 4, f"{value:.{decimals}f}", "tick", "end")
    line(svg, x.start_px, y.start_px, x.end_px, y.start_px, "axis")
    for value in (0.0, x.high):
        text(svg, x(value), y.start_px + 17, f"{value:,.0f}", "tick", "start" if value == 0 else "end")
    text(svg, (x.start_px + x.end_px) / 2, y.start_px + 17, "steps", "axis-title", "middle")


def _curve(svg: ET.Element, curve: Curve, x: Scale, y: Scale) -> None:
    """The looks joined, a dot each; the best one bears its figure."""
    corners = " ".join(f"{x(check.at):.1f},{y(check.height):.1f}" for check in curve.checks)
    ET.SubElement(svg, "polyline", {"points": corners, "class": "curve"})
    best = max(curve.checks, key=lambda check: check.height)
    for check in curve.checks:
        group = ET.SubElement(svg, "g", {"class": "look chosen" if check is best else "look"})
        hover(group, (f"{curve.change}, ", *check.words()))
        ET.SubElement(group, "circle", pixels(cx=x(check.at), cy=y(check.height), r=4.5 if check is best else 3))
    anchor = "end" if x(best.at) > (x.start_px + x.end_px) / 2 else "start"
    text(svg, x(best.at), y(best.height) - 8, (best.agreement,), "name chosen", anchor)


def _words(curves: Sequence[Curve]) -> Words:
    return tuple(word for curve in curves for check in curve.checks for word in (f"{curve.change}, ", *check.words(), "; "))
