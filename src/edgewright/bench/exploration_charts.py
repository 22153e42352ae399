"""Pictures of what was looked at before candidates were judged: ways of reading ranges, and layers one by one.

Elements and manners as in `bench.charts`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from edgewright.bench.figures import Figure, Words
from edgewright.bench.svg import Scale, drawing, hover, line, markup, pixels, short, shortened, text

BAR_PX, ROW_PX, ROW_WITH_NAME_PX = 14, 28, 44
LONGEST_NAME = 48  # letters beside the bars
BOLD_PX = 7.7  # mean width of a letter of the chosen one's name, in the widest of the fonts that systems bring
FIGURE_PX = 130  # behind the longest bar
GAIN_PX, CHARGE_PX, GAP_PX = 150, 90, 26
NAMED_LAYERS = 5  # of those that gain most
DIGIT_PX, NUMBERS_APART_PX = 8.5, 4  # of the numbers over the highest bars


@dataclass(frozen=True, slots=True)
class LookBar:
    """A way of reading ranges, the disagreement that it leaves, and whether candidates are made so."""

    name: str
    error: Figure
    chosen: bool


@dataclass(frozen=True, slots=True)
class LayerBar:
    """A layer: its number in the table, what goes away with it in float and what that takes (percent), and whether it stays in float."""

    number: Figure
    name: str
    gain: Figure
    charge: Figure
    kept_float: bool


def look_bars(looks: Sequence[LookBar], *, width: int) -> str:
    """A bar a look, in their order; the chosen one stands out."""
    known = [look for look in looks if look.error.value is not None]
    if not known:
        return ""
    beside = width >= 560
    row_px = ROW_PX if beside else ROW_WITH_NAME_PX
    names = [shortened(look.name, LONGEST_NAME if beside else int(width / BOLD_PX)) for look in known]
    most = max(look.error.value or 0.0 for look in known) or 1.0
    x = Scale(0, most, max(map(len, names)) * BOLD_PX + 10 if beside else 0, width - FIGURE_PX)
    svg = drawing(width, row_px * len(known) + 4, "Disagreement with the float model, by how ranges are read", _look_words(known))
    for at, (look, name) in enumerate(zip(known, names, strict=True)):
        middle = (at + 1) * row_px - BAR_PX
        css = "chosen" if look.chosen else "other"
        if beside:
            text(svg, x.start_px - 10, middle + 4.5, name, f"name {css}", "end")
        else:
            text(svg, 0, middle - 14, name, f"name {css}")
        group = ET.SubElement(svg, "g", {"class": f"look {css}"})
        hover(group, (f"{look.name}: ", look.error))
        length = max(x(look.error.value or 0.0) - x.start_px, 1.0)
        ET.SubElement(group, "rect", pixels(x=x.start_px, y=middle - BAR_PX / 2, width=length, height=BAR_PX, rx=2))
        told: Words = (look.error, " (chosen)") if look.chosen else (look.error,)
        text(svg, x.start_px + length + 8, middle + 4.5, told, f"name {css}")
    return markup(svg)


def _look_words(looks: Sequence[LookBar]) -> Words:
    return tuple(word for look in looks for word in (f"{look.name}{' (chosen)' if look.chosen else ''}: ", look.error, "; "))


def layer_strip(layers: Sequence[LayerBar], *, width: int) -> str:
    """All layers from the input (left) to the output: what each gains in float above, what it takes below; dots where it stays float."""
    known = [layer for layer in layers if layer.gain.value is not None]
    if not known:
        return ""
    x = Scale(0, len(known), 46, width - 8)
    gain, charge = (
        _track([layer.gain for layer in known], 26, GAIN_PX),
        _track([layer.charge for layer in known], 40 + GAIN_PX + GAP_PX, CHARGE_PX),
    )
    ground = charge.start_px + 16
    svg = drawing(width, ground + 24, "Every layer in float: what it gains, and what it takes", _layer_words(known))
    for scale, title in ((gain, "gain: disagreement that goes away, %"), (charge, "charge: time it takes, % (below 0: faster)")):
        for value in scale.ticks(4 if scale is gain else 3):
            line(svg, x.start_px, scale(value), x.end_px, scale(value), "axis" if value == 0 else "grid")
            text(svg, x.start_px - 8, scale(value) + 4, short(value), "tick", "end")
        text(svg, 2, scale.end_px - 9, title, "axis-title")
    for at, layer in enumerate(known):
        _layer(svg, layer, (x(at), x(at + 1)), gain, charge, ground)
    _number_those_that_gain_most(svg, known, x, gain)
    text(svg, x.start_px, ground + 20, "first layer", "axis-title")
    text(svg, x.end_px, ground + 20, "last layer", "axis-title", "end")
    return markup(svg)


def _number_those_that_gain_most(svg: ET.Element, layers: Sequence[LayerBar], x: Scale, gain: Scale) -> None:
    """Numbers over the highest bars, as far as they do not run into each other."""
    taken: list[tuple[float, float]] = []
    for at in sorted(range(len(layers)), key=lambda at: -(layers[at].gain.value or 0.0))[:NAMED_LAYERS]:
        height, middle = layers[at].gain.value or 0.0, (x(at) + x(at + 1)) / 2
        half = (len(layers[at].number.text) * DIGIT_PX + NUMBERS_APART_PX) / 2
        if height > 0 and all(abs(middle - other) >= half + other_half for other, other_half in taken):
            text(svg, middle, gain(height) - 4, (layers[at].number,), "tick number", "middle")
            taken.append((middle, half))


def _track(figures: Sequence[Figure], top: float, height: float) -> Scale:
    """Upwards from the least to the most, zero always within."""
    values = [0.0, *(figure.value or 0.0 for figure in figures)]
    low, high = min(values), max(values)
    room = (high - low or 1.0) * 0.06
    return Scale(low - room if low < 0 else 0.0, high + 2 * room, top + height, top)  # numbers stand above the highest


def _layer(svg: ET.Element, layer: LayerBar, sides: tuple[float, float], gain: Scale, charge: Scale, ground: float) -> None:
    css = "kept-float" if layer.kept_float else "other"
    group = ET.SubElement(svg, "g", {"class": f"layer {css}"})
    cost: Words = ("; nobody asked what it takes",) if layer.charge.value is None else (", charge ", layer.charge, " %")
    told: Words = (layer.number, f". {layer.name}: gain ", layer.gain, " %", *cost)
    hover(group, (*told, "; stays in float") if layer.kept_float else told)
    left, wide = sides[0], sides[1] - sides[0]
    # The whole column answers to the pointer: a bar may be a hair high.
    ET.SubElement(group, "rect", {**pixels(x=left, y=gain.end_px, width=wide, height=ground - gain.end_px), "class": "column"})
    for scale, figure in ((gain, layer.gain), *(((charge, layer.charge),) if layer.charge.value is not None else ())):
        ends = sorted((scale(figure.value or 0.0), scale(0.0)))
        ET.SubElement(group, "rect", pixels(x=left + wide * 0.12, y=ends[0], width=wide * 0.76, height=max(ends[1] - ends[0], 0.6)))
    if layer.kept_float:
        ET.SubElement(group, "circle", pixels(cx=left + wide / 2, cy=ground, r=min(4.0, max(1.8, wide / 2))))


def _layer_words(layers: Sequence[LayerBar]) -> Words:
    most = sorted(layers, key=lambda layer: -(layer.gain.value or 0.0))[:NAMED_LAYERS]
    return ("The layers that gain most: ", *(word for layer in most for word in (f"{layer.name} ", layer.gain, " %; ")))
