"""What a recording shows: the boxes of every model with their tracks' numbers, and a line below with who saw it and when.

The time is UTC to a tenth of a second, as in the names of the files: a stretch of film can be found in logs and answers without a guess.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import cv2
import numpy as np

from edgewright.detections import ImageRgb
from edgewright.run.records import UNTRACKED, Answer
from edgewright.vision.drawing import FONT, Pen, draw, in_font

WHITE = (244, 245, 247)
SHADE = 0.38  # of the picture's light is left below the letters, so that they can be read on anything
EARLIEST_S, LATEST_S = 0.0, 253402300799.0  # what a calendar of four-digit years can say
GAP_PX = 12  # between the two texts, at least


def annotate(image_rgb: ImageRgb, answers: Sequence[Answer], camera: str, captured_s: float) -> ImageRgb:
    """A copy of the picture (H x W x 3) with all that; `captured_s`: wall clock, seconds since 1970."""
    canvas = np.ascontiguousarray(image_rgb) if answers else np.ascontiguousarray(image_rgb).copy()
    for answer in answers:
        canvas = add_boxes(canvas, answer)
    _write_footer(canvas, camera, time_text(captured_s))
    return canvas


def add_boxes(image_rgb: ImageRgb, answer: Answer) -> ImageRgb:
    """A copy with the boxes of one answer."""
    return draw(image_rgb, answer.detections, numbers=_numbers(answer))


def time_text(captured_s: float) -> str:
    """As in 2026-11-28 23:15:00.4 UTC."""
    at = datetime.fromtimestamp(min(max(captured_s, EARLIEST_S), LATEST_S), UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 100_000} UTC"


def _numbers(answer: Answer) -> list[int | None] | None:
    if answer.track_ids is None:
        return None
    return [None if number == UNTRACKED else number for number in answer.track_ids.tolist()]


def _write_footer(canvas: ImageRgb, camera: str, when: str) -> None:
    """The camera on the left, the time on the right, on a darkened strip; where there is no room the name is shortened, or both go."""
    high, wide = canvas.shape[:2]
    pen = Pen.for_picture(canvas)
    margin = 2 * pen.padding_px
    when_wide, text_high, below = pen.extent(when)
    strip = text_high + below + margin
    if when_wide + 2 * margin > wide or strip * 4 > high:
        return
    part = canvas[high - strip :]
    cv2.convertScaleAbs(part, part, SHADE)
    baseline = high - (strip - text_high) // 2
    name = pen.fitting(in_font(camera[:100]), wide - when_wide - 2 * margin - GAP_PX)
    for text, left in ((name, margin), (when, wide - margin - when_wide)):
        cv2.putText(canvas, text, (left, baseline), FONT, pen.letters, WHITE, pen.stroke_px, cv2.LINE_AA)
