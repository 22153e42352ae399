"""Draw boxes on a picture, so that a person sees what a detector says.

A class has the same colour in every picture. Lines and letters grow with the picture, and labels never leave it.

    >>> import numpy as np
    >>> from edgewright.detections import Detections
    >>> draw(np.zeros((48, 64, 3), np.uint8), Detections.none()).shape
    (48, 64, 3)
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edgewright.detections import Detections, ImageRgb

Colour: TypeAlias = tuple[int, int, int]
Corner: TypeAlias = tuple[int, int]

# Twelve hues that stay apart on photographs and from each other; neighbours in class order are far apart on the wheel.
PALETTE: tuple[Colour, ...] = (
    (255, 92, 66),
    (46, 196, 255),
    (255, 205, 51),
    (158, 122, 255),
    (64, 214, 124),
    (255, 112, 190),
    (0, 178, 169),
    (255, 150, 40),
    (96, 140, 255),
    (184, 222, 64),
    (214, 90, 214),
    (214, 160, 110),
)
DARK: Colour = (22, 24, 29)

FONT = cv2.FONT_HERSHEY_SIMPLEX
SMALLEST_LETTERS = 0.36  # below that they cannot be read, and a label only hides the picture
ELLIPSIS = ".."  # the font knows ASCII only
LONGEST_NAME = 32  # letters of a class in a label: a longer one hides the picture


@dataclass(frozen=True, slots=True)
class Pen:
    """How thick and how large to draw on a picture of some size."""

    line_px: int
    letters: float
    stroke_px: int
    padding_px: int

    @classmethod
    def for_picture(cls, image_rgb: ImageRgb) -> "Pen":
        """2 pixels and small letters on a 640 pixel picture, in proportion elsewhere."""
        size = float(np.sqrt(image_rgb.shape[0] * image_rgb.shape[1]))
        letters = max(SMALLEST_LETTERS, size / 1300)
        return cls(max(1, round(size / 320)), letters, max(1, round(letters * 1.6)), max(2, round(letters * 7)))

    def extent(self, text: str) -> tuple[int, int, int]:
        """Width and height of a text, and how far its letters hang below the line."""
        (wide, high), below = cv2.getTextSize(text, FONT, self.letters, self.stroke_px)
        return int(wide), int(high), int(below)

    def fitting(self, text: str, most_px: int) -> str:
        """The text, shortened until it is at most `most_px` wide; empty when not even two letters have room."""
        if self.extent(text)[0] <= most_px:
            return text
        for letters in range(len(text) - 1, 1, -1):
            short = text[:letters].rstrip() + ELLIPSIS
            if self.extent(short)[0] <= most_px:
                return short
        return ""


def colour_of(class_id: int) -> Colour:
    """The colour of a class, the same everywhere."""
    return PALETTE[class_id % len(PALETTE)]


def draw(
    image_rgb: ImageRgb,
    detections: Detections,
    *,
    quiet: NDArray[np.bool_] | None = None,
    numbers: Sequence[int | None] | None = None,
) -> ImageRgb:
    """A copy of the picture with boxes and labels; those marked in `quiet` [N] get a thin box and no label.

    `numbers` [N]: of the tracks the boxes belong to, for the labels; None where a box has none.
    """
    canvas = np.ascontiguousarray(image_rgb).copy()
    pen = Pen.for_picture(canvas)
    loud = np.ones(len(detections), bool) if quiet is None else ~quiet
    corners = _corners(detections, canvas)
    names = detections.names
    # The most certain last, so that it lies on top; quiet ones below all others.
    for at in sorted(range(len(detections)), key=lambda i: (bool(loud[i]), float(detections.scores[i]))):
        colour = colour_of(int(detections.class_ids[at]))
        _draw_box(canvas, corners[at], colour, pen.line_px if loud[at] else max(1, pen.line_px // 2))
        if loud[at]:
            number = None if numbers is None else numbers[at]
            _draw_label(canvas, corners[at], _label(names[at], float(detections.scores[at]), canvas.shape[1], pen, number), colour, pen)
    return canvas


def in_font(text: str) -> str:
    """The text in letters that the font has: accents dropped, everything else it lacks as a question mark."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return "".join(c if " " <= c <= "~" else "?" for c in plain)


def _corners(detections: Detections, canvas: ImageRgb) -> list[tuple[Corner, Corner]]:
    """Whole-pixel corners inside the picture; what is no number becomes its border."""
    high, wide = canvas.shape[:2]
    inside = np.nan_to_num(detections.boxes_xyxy, nan=0.0)
    inside = np.clip(np.round(inside), 0, [wide - 1, high - 1, wide - 1, high - 1]).astype(int)
    return [((x1, y1), (x2, y2)) for x1, y1, x2, y2 in inside.tolist()]


def _draw_box(canvas: ImageRgb, corners: tuple[Corner, Corner], colour: Colour, line_px: int) -> None:
    cv2.rectangle(canvas, *corners, colour, line_px)


def _label(name: str, score: float, wide: int, pen: Pen, number: int | None = None) -> str:
    """The class, shortened until it, its track's number and the whole score fit into `wide` pixels; empty where not even two letters do."""
    certainty = f" {score:.2f}" if number is None else f" #{number} {score:.2f}"
    # Marks that stand on a letter are dropped, so a few more than are shown are looked at; a megabyte of name never is.
    letters = in_font(name[: 4 * LONGEST_NAME])
    letters = letters if len(letters) <= LONGEST_NAME else letters[: LONGEST_NAME - len(ELLIPSIS)] + ELLIPSIS
    shown = pen.fitting(letters, wide - 2 * pen.padding_px - pen.extent(certainty)[0])
    return "" if letters and not shown else f"{shown}{certainty}".lstrip()


def _draw_label(canvas: ImageRgb, corners: tuple[Corner, Corner], text: str, colour: Colour, pen: Pen) -> None:
    """A plate above the box, or inside its top where there is no room above; left as far as the picture's edge asks."""
    high, wide = canvas.shape[:2]
    text_wide, text_high, below = pen.extent(text)
    plate_wide, plate_high = text_wide + 2 * pen.padding_px, text_high + below + pen.padding_px
    if not text or plate_high > high:
        return
    (x1, y1), _ = corners
    left = max(0, min(x1 - pen.line_px // 2, wide - plate_wide))
    top = max(0, min(y1 - plate_high if y1 >= plate_high else y1, high - plate_high))
    cv2.rectangle(canvas, (left, top), (left + plate_wide - 1, top + plate_high - 1), colour, cv2.FILLED)
    baseline = top + (pen.padding_px + 1) // 2 + text_high
    cv2.putText(canvas, text, (left + pen.padding_px, baseline), FONT, pen.letters, DARK, pen.stroke_px, cv2.LINE_AA)
