"""Where two models disagree about a picture, as a number and as two pictures beside each other."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edgewright.data.images import encode_jpeg
from edgewright.detections import Detections, ImageRgb
from edgewright.vision.drawing import draw
from edgewright.vision.matching import iou

SAME_IOU = 0.5
SIDE_PX = 640  # pictures are shown with at most that on their longer side
QUALITY = 80

Mask: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Example:
    """A picture, what both models found in it above the display threshold, and their `difference`."""

    name: str
    image_rgb: ImageRgb
    baseline: Detections
    fitted: Detections
    difference: float


@dataclass(frozen=True, slots=True)
class Pictured:
    """What one model found in an example: the drawn picture as JPEG, its size, and the boxes in words."""

    jpeg: bytes
    size_wh: tuple[int, int]
    boxes: int
    found: str  # all of it
    alone: str  # what the other model did not find


def difference(baseline: Detections, fitted: Detections) -> float:
    """0 where both hold the same boxes, 1 where they have nothing in common: 1 - F1 of the boxes that match."""
    total = len(baseline) + len(fitted)
    if not total:
        return 0.0
    return 1 - 2 * int(match(baseline, fitted)[0].sum()) / total


def match(a: Detections, b: Detections) -> tuple[Mask, Mask]:
    """Which boxes of `a` and of `b` have a partner of the same class in the other, paired best overlap first, at IoU 0.5 and above."""
    in_a, in_b = np.zeros(len(a), bool), np.zeros(len(b), bool)
    overlap = np.where(a.class_ids[:, None] == b.class_ids[None, :], iou(a.boxes_xyxy, b.boxes_xyxy), 0)
    pairs = np.argwhere(overlap >= SAME_IOU).tolist()
    # Equal overlaps are taken in an order that does not depend on which of the two is called `a`.
    for i, j in sorted(pairs, key=lambda pair: (-overlap[tuple(pair)], sum(pair), min(pair))):
        if not in_a[i] and not in_b[j]:
            in_a[i] = in_b[j] = True
    return in_a, in_b


def pictured(example: Example) -> tuple[Pictured, Pictured]:
    """Both sides of an example. Boxes that both found are drawn thin, those that one alone found loud and named.

    Where the two agree on everything, everything is named.
    """
    in_baseline, in_fitted = match(example.baseline, example.fitted)
    agree = bool(in_baseline.all() and in_fitted.all())
    scale = min(1.0, SIDE_PX / max(example.image_rgb.shape[:2]))
    image = _scaled(example.image_rgb, scale)
    return _picture(image, example.baseline, in_baseline, scale, agree), _picture(image, example.fitted, in_fitted, scale, agree)


def _picture(image_rgb: ImageRgb, found: Detections, shared: Mask, scale: float, agree: bool) -> Pictured:  # noqa: FBT001 - drawn so or so
    scaled = replace(found, boxes_xyxy=found.boxes_xyxy * np.float32(scale))
    drawn = draw(image_rgb, scaled, quiet=None if agree else shared)
    high, wide = drawn.shape[:2]
    return Pictured(encode_jpeg(drawn, quality=QUALITY), (wide, high), len(found), in_words(found), in_words(found[~shared]))


def in_words(found: Detections) -> str:
    """'3 person, 1 cat', the most frequent first."""
    return ", ".join(f"{count} {name}" for name, count in Counter(found.names).most_common()) or "nothing"


def _scaled(image_rgb: ImageRgb, scale: float) -> ImageRgb:
    if scale == 1:
        return image_rgb
    high, wide = image_rgb.shape[:2]
    size = max(1, round(wide * scale)), max(1, round(high * scale))
    return cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
