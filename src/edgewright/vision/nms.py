"""Greedy non-maximum suppression, class by class, in numpy.

Boxes of different classes never suppress each other. The order is fixed: score first, then position in the input,
so two runs on the same scores keep the same boxes.
"""

import numpy as np
from numpy.typing import NDArray

from edgewright.detections import Boxes, ClassIds, Scores

MOST_CANDIDATES = 30_000  # a network gone wrong fires everywhere; the best 30,000 decide, as in the exporters' own NMS


def suppress(boxes_xyxy: Boxes, scores: Scores, class_ids: ClassIds, *, iou: float, most: int) -> NDArray[np.int64]:
    """Indices of the boxes that stay, best score first, at most `most`.

    A box goes when a better one of its class overlaps it by more than `iou`.
    """
    order = np.argsort(-scores, kind="stable")[:MOST_CANDIDATES]
    boxes = boxes_xyxy[order].astype(np.float32, copy=False)
    classes = class_ids[order]
    areas = np.clip(boxes[:, 2] - boxes[:, 0], 0, None) * np.clip(boxes[:, 3] - boxes[:, 1], 0, None)
    alive = np.ones(len(order), bool)
    kept: list[int] = []
    for at in range(len(order)):
        if not alive[at]:
            continue
        kept.append(at)
        if len(kept) == most:
            break
        rivals = at + 1 + np.flatnonzero(alive[at + 1 :] & (classes[at + 1 :] == classes[at]))
        alive[rivals[_iou(boxes[at], areas[at], boxes[rivals], areas[rivals]) > iou]] = False
    return order[np.array(kept, np.int64)]


def _iou(box: NDArray[np.float32], area: np.float32, others: Boxes, other_areas: NDArray[np.float32]) -> NDArray[np.float32]:
    wide = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    high = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    shared = np.clip(wide, 0, None) * np.clip(high, 0, None)
    union = area + other_areas - shared
    return shared / np.where(union > 0, union, 1)  # type: ignore[no-any-return]
