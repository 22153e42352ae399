"""Inline SVG made of plain elements: built as a tree, never by pasting strings, so it is well-formed whatever a name holds.

Text may hold figures of the document; the element then says where they are from, as the page's other figures do.
"""

import math
from dataclasses import dataclass
from typing import TypeAlias
from xml.etree import ElementTree as ET

from edgewright.bench.figures import MINUS, Figure, Words, plain_text, visible

Box: TypeAlias = tuple[float, float, float, float]

LETTER_PX = 6.9  # mean width of a letter at 13 px in the fonts that systems bring; only to keep labels apart


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


def drawing(width: int, height: float, title: str, words: Words) -> ET.Element:
    """An empty chart that says in words what it shows."""
    size = {"viewBox": f"0 0 {width} {height:.0f}", "width": str(width), "height": f"{height:.0f}"}
    svg = ET.Element("svg", {**size, "role": "img", "aria-label": title})
    ET.SubElement(svg, "title").text = title
    tell(ET.SubElement(svg, "desc"), words)
    return svg


def markup(svg: ET.Element) -> str:
    return ET.tostring(svg, "unicode", short_empty_elements=True)


def line(parent: ET.Element, x1: float, y1: float, x2: float, y2: float, css: str) -> None:
    ET.SubElement(parent, "line", {**pixels(x1=x1, y1=y1, x2=x2, y2=y2), "class": css})


def text(parent: ET.Element, x: float, y: float, words: str | Words, css: str, anchor: str = "start") -> None:
    tell(ET.SubElement(parent, "text", {**pixels(x=x, y=y), "class": css, "text-anchor": anchor}), words)


def placed_text(parent: ET.Element, x: float, y: float, words: str, css: str) -> Box:
    """A text that starts at x; the room it takes."""
    text(parent, x, y, words, css)
    return x, y - 12, x + len(words) * LETTER_PX, y + 4


def hover(parent: ET.Element, words: Words) -> None:
    """What a pointer over the element shows."""
    tell(ET.SubElement(parent, "title"), words)


def tell(element: ET.Element, words: str | Words) -> None:
    """Put the words into the element, and where their figures are from beside them."""
    parts = (words,) if isinstance(words, str) else words
    element.text = visible(plain_text(parts))
    figures = [part for part in parts if isinstance(part, Figure)]
    if figures:
        element.set("data-from", "; ".join(" ".join(figure.pointers) for figure in figures))
        element.set("data-rule", "; ".join(figure.rule for figure in figures))


def pixels(**values: float) -> dict[str, str]:
    return {name: f"{value:.1f}" for name, value in values.items()}


def short(value: float) -> str:
    """A tick of an axis."""
    return f"{value:g}".replace("-", MINUS)


def shortened(words: str, letters: int) -> str:
    return words if len(words) <= letters else words[: letters - 1].rstrip() + "…"


def _round_step(rough: float) -> float:
    magnitude = 10.0 ** math.floor(math.log10(rough))
    return next(step * magnitude for step in (1, 2, 2.5, 5, 10) if step * magnitude >= rough * 0.999)
