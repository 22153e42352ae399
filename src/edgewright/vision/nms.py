"""Greedy non-maximum suppression, class by class, in numpy.

Boxes of different classes never suppress each other. The order is fixed: score first, then position in the input,
so two runs on the same scores keep the same boxes.

Boxes are taken in blocks, best first: a block is compared with the boxes kept before it and with itself, all pairs at once, and only
who goes is decided one by one, on bits. A dozen boxes are one block; of 30,000 no more pairs are looked at than it takes to keep 300.
"""

import numpy as np
from numpy.typing import NDArray

from edgewright.detections import Boxes, ClassIds, Scores

MOST_CANDIDATES = 30_000  # a network gone wrong fires everywhere; the best 30,000 decide, as in the exporters' own NMS
BLOCK = 128  # boxes; half and twice as many took a tenth longer for the 500 that a picture has above 0.001


def suppress(boxes_xyxy: Boxes, scores: Scores, class_ids: ClassIds, *, iou: float, most: int) -> NDArray[np.int64]:
    """Indices of the boxes that stay, best score first, at most `most`.

    A box goes when a better one of its class overlaps it by more than `iou`.
    """
    order = np.argsort(-scores, kind="stable")[:MOST_CANDIDATES]
    crowd = _Crowd(boxes_xyxy[order].astype(np.float32, copy=False), class_ids[order], iou)
    kept: list[int] = []
    for start in range(0, len(order), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(order)))
        if kept:
            block = block[~crowd.overlaps(np.array(kept), block).any(axis=0)]
        kept += block[_stay(crowd.overlaps(block, block))].tolist()
        if len(kept) >= most:
            break
    return order[np.array(kept[:most], np.int64)]


class _Crowd:
    """Boxes, best first, and which of them stand in each other's way."""

    def __init__(self, boxes: Boxes, classes: ClassIds, iou: float) -> None:
        self._sides = np.ascontiguousarray(boxes.T)  # x1, y1, x2, y2
        self._areas = np.clip(boxes[:, 2] - boxes[:, 0], 0, None) * np.clip(boxes[:, 3] - boxes[:, 1], 0, None)
        self._classes = classes
        self._iou = iou

    def overlaps(self, better: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.bool_]:
        """[better, others]: of one class, and with an IoU above the limit."""
        x1, y1, x2, y2 = self._sides[:, better, None]
        left, top, right, bottom = self._sides[:, others]
        wide = np.minimum(x2, right) - np.maximum(x1, left)
        high = np.minimum(y2, bottom) - np.maximum(y1, top)
        shared = np.clip(wide, 0, None) * np.clip(high, 0, None)
        union = self._areas[better, None] + self._areas[others] - shared
        same = self._classes[better, None] == self._classes[others]
        return np.asarray(same & (shared / np.where(union > 0, union, 1) > self._iou))


def _stay(overlaps: NDArray[np.bool_]) -> list[int]:
    """Who stays of boxes, best first, that only overlap each other: [boxes, boxes] symmetric."""
    rows = np.packbits(overlaps, axis=1, bitorder="little")
    wide, bits = rows.shape[1], rows.tobytes()
    gone, kept = 0, []
    for at in range(len(rows)):
        if not gone >> at & 1:
            kept.append(at)
            gone |= int.from_bytes(bits[at * wide : (at + 1) * wide], "little")
    return kept
