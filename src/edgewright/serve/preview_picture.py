"""A frame and what models said of it, as a small JPEG with boxes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import cv2
import numpy as np
import simplejpeg

from edgewright.detections import ImageRgb
from edgewright.run.annotate import annotate
from edgewright.run.records import Answer

MOST_WIDE, MOST_HIGH = 640, 1280  # pixels
QUALITY: Final = 80
MOST_ANSWERS: Final = 64


def small_copy(image_rgb: ImageRgb) -> ImageRgb:
    """The picture (H x W x 3, uint8) as a preview shows it; a copy in any case, for the frame is only lent."""
    high, wide = image_rgb.shape[:2]
    share = min(1.0, MOST_WIDE / wide, MOST_HIGH / high)
    if share == 1.0:
        return image_rgb.copy()
    size = max(1, round(wide * share)), max(1, round(high * share))
    return np.asarray(cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def jpeg_of(small_rgb: ImageRgb, answers: Sequence[Mapping[str, Any]], camera: str, captured_s: float) -> bytes:
    """Boxes, labels, camera and time on it, as a JPEG. `answers`: as the service says them (`preview_tap`).

    Raises:
        KeyError, TypeError, ValueError: they are no answers.
    """
    drawn = annotate(small_rgb, [_as_small(each, small_rgb) for each in answers[:MOST_ANSWERS]], camera, captured_s)
    encoded: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(drawn), QUALITY, "RGB", "420", fastdct=True)
    return encoded


def _as_small(fields: Mapping[str, Any], small_rgb: ImageRgb) -> Answer:
    """The answer with its boxes in the small picture's pixels."""
    answer = Answer.from_json(fields, fields["class_ids"])
    wide, high = answer.source_wh
    if min(wide, high) < 1:
        raise ValueError(f"a picture of {wide} x {high}")
    share = np.array([small_rgb.shape[1] / wide, small_rgb.shape[0] / high] * 2, np.float32)
    found = answer.detections
    return replace(answer, detections=replace(found, boxes_xyxy=found.boxes_xyxy * share))
