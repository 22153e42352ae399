"""How wrong a detector's answers are: against labels, and against a teacher's answers where there are none.

Against labels: task-aligned assignment (TOOD, arXiv 2108.07755) says which cells answer for which box, complete IoU (arXiv 1911.08287)
and distribution focal loss (arXiv 2006.04388) how far their boxes are off.

Against a teacher: its whole head is the target, cell by cell, not the boxes that survive a threshold. Class probabilities are learned
from soft targets (Hinton, Vinyals, Dean, arXiv 1503.02531), box sides as distributions (localization distillation, arXiv 2102.12252),
where the teacher is sure of them: thousands of cells see nothing, and the box that a teacher draws there means nothing (the reason why
arXiv 2102.12252 and 2106.05209 choose regions). Where sides are no distributions, boxes are compared as boxes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from edgewright.detections import Boxes, ClassIds
from edgewright.learn.cells import Cells
from edgewright.vision.nms import suppress

TOP_K = 10  # cells that may answer for one box
ALPHA = 0.5  # how much the score counts in the alignment
BETA = 6.0  # how much the overlap counts
BOX_GAIN, SCORE_GAIN, SIDE_GAIN = 7.5, 0.5, 1.5
SIDE_MARGIN = 0.01  # in bins, so that there is always a bin to the right
TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Loss:
    """The total to go downhill on, and its parts for those who watch."""

    total: Tensor
    box: float
    score: float
    side: float

    def __add__(self, other: "Loss") -> "Loss":
        return Loss(self.total + other.total, self.box + other.box, self.score + other.score, self.side + other.side)


@dataclass(frozen=True, slots=True)
class BoxesInBatch:
    """What there is to find in a batch, padded to the longest list: boxes_xyxy [N, M, 4], class_ids [N, M], present [N, M]."""

    boxes_xyxy: Tensor
    class_ids: Tensor
    present: Tensor

    def scaled(self, factor: float) -> "BoxesInBatch":
        """The same in pictures `factor` times as large."""
        return BoxesInBatch(self.boxes_xyxy * factor, self.class_ids, self.present)

    def to(self, device: torch.device) -> "BoxesInBatch":
        """The same where the network computes."""
        return BoxesInBatch(self.boxes_xyxy.to(device), self.class_ids.to(device), self.present.to(device))


@dataclass(frozen=True, slots=True)
class Assignment:
    """For every cell: whether it answers [N, A], for which row of truth [N, A], and with what score [N, A, C]."""

    answers: Tensor
    row: Tensor
    score: Tensor


def iou(a: Tensor, b: Tensor, *, complete: bool = False) -> Tensor:
    """Overlap of boxes over the last axis, broadcast; `complete` takes off centre distance and shape difference."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    wh_a, wh_b = a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2]
    overlap = shared / (wh_a.prod(-1) + wh_b.prod(-1) - shared + 1e-7)
    if not complete:
        return overlap
    hull = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    apart = ((a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) ** 2).sum(-1) / 4 / ((hull**2).sum(-1) + 1e-7)
    shape = (4 / math.pi**2) * (torch.atan(wh_b[..., 0] / (wh_b[..., 1] + 1e-7)) - torch.atan(wh_a[..., 0] / (wh_a[..., 1] + 1e-7))) ** 2
    with torch.no_grad():
        weight = shape / (1 - overlap + shape + 1e-7)
    return overlap - apart - weight * shape


def distribution_focal(sides: Tensor, distances: Tensor) -> Tensor:
    """Cross-entropy towards the two bins on either side of each distance, mean over the four sides: [P, 4, B], [P, 4] -> [P]."""
    bins = sides.shape[-1]
    target = distances.clamp(0, bins - 1 - SIDE_MARGIN)
    left = target.floor().long()
    share_right = target - left
    flat = sides.reshape(-1, bins)
    near = functional.cross_entropy(flat, left.reshape(-1), reduction="none").view_as(target)
    far = functional.cross_entropy(flat, (left + 1).reshape(-1), reduction="none").view_as(target)
    return (near * (1 - share_right) + far * share_right).mean(-1)


@torch.no_grad()
def assign(scores: Tensor, boxes_xyxy: Tensor, points_xy: Tensor, truth: BoxesInBatch) -> Assignment:
    """Give each box its best aligned cells; a cell wanted twice goes to the box it overlaps most."""
    batch, rows = truth.boxes_xyxy.shape[:2]
    inside = torch.cat([points_xy - truth.boxes_xyxy[:, :, None, :2], truth.boxes_xyxy[:, :, None, 2:] - points_xy], -1).amin(-1) > TINY
    candidate = inside & truth.present[:, :, None]
    overlap = iou(truth.boxes_xyxy[:, :, None], boxes_xyxy[:, None]).clamp(min=0) * candidate
    chance = scores.gather(2, truth.class_ids[:, None].expand(-1, scores.shape[1], -1)).transpose(1, 2)
    aligned = chance.clamp(min=0) ** ALPHA * overlap**BETA * candidate
    best = torch.zeros_like(candidate)
    top = aligned.topk(min(TOP_K, aligned.shape[-1]), -1)
    best.scatter_(2, top.indices, top.values > TINY)
    contested = best.sum(1, keepdim=True) > 1
    winner = functional.one_hot(overlap.argmax(1), rows).transpose(1, 2).bool()
    best = torch.where(contested, winner & candidate, best)
    row = best.long().argmax(1)
    # Scores are scaled so that the best aligned cell of a box is asked for that box's best overlap.
    aligned = aligned * best
    scale = (overlap * best).amax(-1, keepdim=True) / (aligned.amax(-1, keepdim=True) + TINY)
    wanted = (aligned * scale).amax(1)
    classes = truth.class_ids.gather(1, row)
    score = functional.one_hot(classes, scores.shape[-1]) * wanted[..., None]
    answers = best.any(1)
    return Assignment(answers, row, score * answers.view(batch, -1, 1))


def label_loss(found: Cells, truth: BoxesInBatch) -> Loss:
    """How far the cells are from labelled boxes. An objectness is asked for the score as well, as YOLOX's is for the overlap."""
    given = assign(found.scores(), found.boxes_xyxy.detach(), found.points_xy, truth)
    total_score = given.score.sum().clamp(min=1)
    score_loss = functional.binary_cross_entropy_with_logits(found.class_logits, given.score, reduction="sum") / total_score
    if found.objectness is not None:
        wanted_score = given.score.amax(-1)
        score_loss = score_loss + functional.binary_cross_entropy_with_logits(found.objectness, wanted_score, reduction="sum") / total_score
    box_loss = side_loss = found.class_logits.sum() * 0
    if given.answers.any():
        weight = given.score.sum(-1)[given.answers]
        wanted = truth.boxes_xyxy.gather(1, given.row[..., None].expand(-1, -1, 4))[given.answers]
        box_loss = ((1 - iou(found.boxes_xyxy[given.answers], wanted, complete=True)) * weight).sum() / total_score
        if found.sides is not None:
            count = len(given.answers)
            at = found.points_xy.expand(count, -1, -1)[given.answers]
            stride = found.strides.expand(count, -1, -1)[given.answers]
            distances = torch.cat([at - wanted[:, :2], wanted[:, 2:] - at], -1) / stride
            side_loss = (distribution_focal(found.sides[given.answers], distances) * weight).sum() / total_score
    return _weighed(box_loss, score_loss, side_loss)


def teacher_loss(found: Cells, taught: Cells) -> Loss:
    """How far the cells are from a teacher's, 0 where they say the same.

    Both are read from the same pictures by heads of the same family and classes.
    """
    with torch.no_grad():
        sure = taught.scores().amax(-1)  # [N, A]
        total = sure.sum().clamp(min=1)
    score_loss = _soft_entropy(found.class_logits, taught.class_logits, _objects(taught)).sum() / total
    if found.objectness is not None and taught.objectness is not None:
        score_loss = score_loss + _soft_entropy(found.objectness, taught.objectness).sum() / total
    near = sure > LEAST_SURE
    weight = sure[near]
    box_loss = side_loss = found.class_logits.sum() * 0
    if weight.numel():
        box_loss = ((1 - iou(found.boxes_xyxy[near], taught.boxes_xyxy[near], complete=True)) * weight).sum() / total
        if found.sides is not None and taught.sides is not None and found.sides.shape == taught.sides.shape:
            apart = functional.kl_div(
                found.sides[near].log_softmax(-1), taught.sides[near].log_softmax(-1), reduction="none", log_target=True
            )
            side_loss = (apart.sum(-1).mean(-1) * weight).sum() / total
    return _weighed(box_loss, score_loss, side_loss)


def boxes_said(taught: Cells) -> BoxesInBatch:
    """What a teacher would show of each picture: its boxes above the usual threshold, suppressed as in deployment."""
    scores, class_ids = (each.cpu().numpy() for each in taught.scores().max(-1))
    boxes, found = taught.boxes_xyxy.cpu().numpy(), []
    for at in range(len(boxes)):
        sure = np.flatnonzero(scores[at] > SHOWN_ABOVE)
        kept = sure[suppress(boxes[at, sure], scores[at, sure], class_ids[at, sure], iou=SUPPRESSED_ABOVE, most=MOST_BOXES)]
        found.append((boxes[at, kept], class_ids[at, kept]))
    return padded(found).to(taught.boxes_xyxy.device)


def padded(found: Sequence[tuple[Boxes, ClassIds]]) -> BoxesInBatch:
    """Lists of boxes as one tensor each, filled up to the longest."""
    longest = max(1, *(len(ids) for _, ids in found))
    boxes, ids = np.zeros((len(found), longest, 4), np.float32), np.zeros((len(found), longest), np.int64)
    present = np.zeros((len(found), longest), np.bool_)
    for row, (those, kinds) in enumerate(found):
        boxes[row, : len(kinds)], ids[row, : len(kinds)], present[row, : len(kinds)] = those, kinds, True
    return BoxesInBatch(torch.from_numpy(boxes), torch.from_numpy(ids), torch.from_numpy(present))


SHOWN_ABOVE, SUPPRESSED_ABOVE, MOST_BOXES = 0.25, 0.7, 300  # as `detect` shows boxes
LEAST_SURE = 0.01  # a teacher that believes less in a cell says nothing about its box


def _soft_entropy(logits: Tensor, taught: Tensor, weight: Tensor | None = None) -> Tensor:
    """Binary cross-entropy towards the teacher's probability, less the teacher's own entropy: 0 where both say the same."""
    target = taught.sigmoid()
    apart = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    apart = apart - functional.binary_cross_entropy_with_logits(taught, target, reduction="none")
    return apart if weight is None else apart * weight


def _objects(taught: Cells) -> Tensor | None:
    """How much a class matters at each cell: where the teacher sees no object, its classes mean nothing."""
    return None if taught.objectness is None else taught.objectness.sigmoid()[..., None]


def _weighed(box: Tensor, score: Tensor, side: Tensor) -> Loss:
    total = BOX_GAIN * box + SCORE_GAIN * score + SIDE_GAIN * side
    return Loss(total, float(box.detach()), float(score.detach()), float(side.detach()))
