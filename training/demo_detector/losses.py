"""Which cell answers for which defect, and how wrong its answer is.

Task-aligned assignment from TOOD (arXiv 2108.07755), complete IoU (arXiv 1911.08287), distribution focal loss
(arXiv 2006.04388). Boxes are x0, y0, x1, y1 in pixels; truth is padded to the batch's longest list and masked.
"""

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from demo_detector.model import REG_MAX, anchor_points, boxes_around, expected_distances, flatten

TOP_K: Final = 10
ALPHA: Final = 0.5  # how much the score counts in the alignment
BETA: Final = 6.0  # how much the overlap counts
BOX_GAIN, SCORE_GAIN, FOCAL_GAIN = 7.5, 0.5, 1.5
_TINY: Final = 1e-9


def iou(a: Tensor, b: Tensor, *, complete: bool = False) -> Tensor:
    """Overlap of boxes over the last axis, broadcast; `complete` takes off centre distance and shape difference."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    inter = (high - low).clamp(min=0).prod(-1)
    wh_a, wh_b = a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2]
    overlap = inter / (wh_a.prod(-1) + wh_b.prod(-1) - inter + 1e-7)
    if not complete:
        return overlap
    hull = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    apart = ((a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) ** 2).sum(-1) / 4 / ((hull**2).sum(-1) + 1e-7)
    shape = (4 / math.pi**2) * (torch.atan(wh_b[..., 0] / (wh_b[..., 1] + 1e-7)) - torch.atan(wh_a[..., 0] / (wh_a[..., 1] + 1e-7))) ** 2
    with torch.no_grad():
        weight = shape / (1 - overlap + shape + 1e-7)
    return overlap - apart - weight * shape


def distribution_focal(distributions: Tensor, distances: Tensor) -> Tensor:
    """Cross-entropy towards the two bins on either side of each distance; mean over the four sides."""
    target = distances.clamp(0, REG_MAX - 1.01)
    left = target.floor().long()
    weight_right = target - left
    flat = distributions.reshape(-1, REG_MAX)
    near = functional.cross_entropy(flat, left.reshape(-1), reduction="none").view_as(target)
    far = functional.cross_entropy(flat, (left + 1).reshape(-1), reduction="none").view_as(target)
    return (near * (1 - weight_right) + far * weight_right).mean(-1)


@dataclass(frozen=True, slots=True)
class Truth:
    """What there is to find in a batch, padded to the longest list."""

    boxes: Tensor  # (B, M, 4)
    class_ids: Tensor  # (B, M)
    present: Tensor  # (B, M) bool


@dataclass(frozen=True, slots=True)
class Assignment:
    """For every cell: whether it answers, for which row of truth, and with what score."""

    answers: Tensor  # (B, A) bool
    row: Tensor  # (B, A) index
    score: Tensor  # (B, A, classes)


@torch.no_grad()
def assign(scores: Tensor, boxes: Tensor, points_xy: Tensor, truth: Truth) -> Assignment:
    """Give each box its best aligned cells; a cell wanted twice goes to the box it overlaps most."""
    batch, rows = truth.boxes.shape[:2]
    inside = torch.cat([points_xy - truth.boxes[:, :, None, :2], truth.boxes[:, :, None, 2:] - points_xy], -1).amin(-1) > _TINY
    candidate = inside & truth.present[:, :, None]
    overlap = iou(truth.boxes[:, :, None], boxes[:, None]).clamp(min=0) * candidate
    chance = scores.gather(2, truth.class_ids[:, None].expand(-1, scores.shape[1], -1)).transpose(1, 2)
    aligned = chance.clamp(min=0) ** ALPHA * overlap**BETA * candidate
    best = torch.zeros_like(candidate)
    top = aligned.topk(min(TOP_K, aligned.shape[-1]), -1)
    best.scatter_(2, top.indices, top.values > _TINY)
    contested = best.sum(1, keepdim=True) > 1
    winner = functional.one_hot(overlap.argmax(1), rows).transpose(1, 2).bool()
    best = torch.where(contested, winner & candidate, best)
    row = best.long().argmax(1)
    # Scores are scaled so that the best aligned cell of a box is asked for that box's best overlap.
    aligned = aligned * best
    scale = (overlap * best).amax(-1, keepdim=True) / (aligned.amax(-1, keepdim=True) + _TINY)
    wanted = (aligned * scale).amax(1)
    classes = truth.class_ids.gather(1, row)
    score = functional.one_hot(classes, scores.shape[-1]) * wanted[..., None]
    answers = best.any(1)
    return Assignment(answers, row, score * answers.view(batch, -1, 1))


@dataclass(frozen=True, slots=True)
class Loss:
    """The total to go downhill on, and its parts for the log."""

    total: Tensor
    box: float
    score: float
    focal: float


def detection_loss(maps: list[Tensor], truth: Truth) -> Loss:
    distributions, logits = flatten([m.float() for m in maps])
    points, strides = anchor_points([(m.shape[2], m.shape[3]) for m in maps])
    boxes = boxes_around(points, expected_distances(distributions))
    given = assign(logits.sigmoid(), boxes.detach() * strides, points * strides, truth)
    total_score = given.score.sum().clamp(min=1)
    score_loss = functional.binary_cross_entropy_with_logits(logits, given.score, reduction="sum") / total_score
    box_loss = focal_loss = logits.sum() * 0
    if given.answers.any():
        weight = given.score.sum(-1)[given.answers]
        wanted = (truth.boxes.gather(1, given.row[..., None].expand(-1, -1, 4)) / strides)[given.answers]
        at = points.expand(len(boxes), -1, -1)[given.answers]
        box_loss = ((1 - iou(boxes[given.answers], wanted, complete=True)) * weight).sum() / total_score
        sides = torch.cat([at - wanted[:, :2], wanted[:, 2:] - at], -1)
        focal_loss = (distribution_focal(distributions[given.answers], sides) * weight).sum() / total_score
    total = BOX_GAIN * box_loss + SCORE_GAIN * score_loss + FOCAL_GAIN * focal_loss
    return Loss(total, float(box_loss.detach()), float(score_loss.detach()), float(focal_loss.detach()))
