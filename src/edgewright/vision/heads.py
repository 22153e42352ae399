"""From a network's output tensors to candidate boxes; one detector family a function.

The anchor-free head of YOLOv8 predicts, at each cell of three grids, a distribution over `reg_max` bins for the
distance to each box side (DFL, Generalized Focal Loss, arXiv 2006.04388) and one logit a class.

Decoding happens in one of two places. A *decoded* output has been through the exporter's own tail: centre, size and
class probabilities for every cell. A *raw* head gives the last convolutions themselves; then scores are compared as logits
and only the survivors, a dozen out of 8,400, go through the softmax.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgewright.detections import Boxes, ClassIds, Scores

Candidates: TypeAlias = tuple[Boxes, Scores, ClassIds]  # boxes in input pixels, not yet suppressed, unsorted
Tensor: TypeAlias = NDArray[np.float32]


def yolov8_decoded(output: Tensor, score_above: float) -> Candidates:
    """Candidates from `output` [4 + classes, cells]: cx cy w h in input pixels, then a probability for each class."""
    best = output[4:].max(axis=0)
    keep = np.flatnonzero(best > score_above)
    cx, cy, wide, high = output[:4, keep]
    boxes = np.stack([cx - wide / 2, cy - high / 2, cx + wide / 2, cy + high / 2], axis=1)
    return boxes.astype(np.float32, copy=False), best[keep], output[4:, keep].argmax(axis=0)


def yolov8_raw(grids: Sequence[tuple[Tensor, Tensor, int]], score_above: float) -> Candidates:
    """Candidates from the head convolutions: for each grid the box logits [4 * reg_max, H, W], class logits [classes, H, W], stride."""
    parts = [_decode_grid(box, cls, stride, _logit(score_above)) for box, cls, stride in grids]
    boxes, scores, class_ids = (np.concatenate(column) for column in zip(*parts, strict=True))
    return boxes, scores, class_ids


def _decode_grid(box_logits: Tensor, class_logits: Tensor, stride: int, logit_above: float) -> Candidates:
    columns = class_logits.shape[2]
    class_logits = class_logits.reshape(class_logits.shape[0], -1)
    best = class_logits.max(axis=0)
    keep = np.flatnonzero(best > logit_above)
    sides = _expected_distance(box_logits.reshape(4, -1, best.size)[:, :, keep])  # left, top, right, bottom; in cells
    centre = np.stack([keep % columns, keep // columns]).astype(np.float32) + np.float32(0.5)
    boxes = np.concatenate([centre - sides[:2], centre + sides[2:]]).T * np.float32(stride)
    return boxes, _sigmoid(best[keep]), class_logits[:, keep].argmax(axis=0)


def _expected_distance(logits: Tensor) -> Tensor:
    """The mean of the softmax distribution over bins 0..reg_max-1; `logits` [4, reg_max, cells] -> [4, cells]."""
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    bins = np.arange(logits.shape[1], dtype=np.float32)
    mean: Tensor = np.einsum("sbc,b->sc", weights, bins) / weights.sum(axis=1)
    return mean


def _logit(probability: float) -> float:
    if probability <= 0:
        return -np.inf
    return float(np.log(probability) - np.log1p(-probability)) if probability < 1 else np.inf


def _sigmoid(logits: Tensor) -> Scores:
    return (1 / (1 + np.exp(-logits))).astype(np.float32, copy=False)
