"""The confidence threshold, fitted anew after quantization, which shifts scores (YOLOv8 on Hailo: by about 0.05).

What users want back is the trade between misses and false alarms that they chose on the float model. Precision is hits / shown and recall
hits / true, so recall / precision = shown / true: on the same pictures the same trade is the same number of boxes shown. The new threshold
is the one at which the fitted model shows as many boxes as the float model does at its own. That recovers any monotone shift of the
scores, reads one number from the pictures and so has little to overfit, and needs no labels; they only tell what F1 came of it. The
threshold of the best F1 does worse: fitted on 128 COCO pictures for an integer yolov8n it loses 0.4 points of F1 on 128 others, this one
nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgewright.accuracy.predictions import Predictions, pseudo_truth
from edgewright.detections import Boxes, ClassIds, Scores

SAME_OBJECT_IOU = 0.5
LOWEST, HIGHEST = 0.01, 0.95  # a threshold outside serves nobody, whatever was counted
FEWEST_BOXES = 20  # shown by the float model; below, its own threshold stays: a count of 20 is good to about a fifth
FEWEST_OF_CLASS = 15  # true boxes of a class, and boxes of it that the float model shows; below, the overall threshold holds
PRIOR_BOXES = 15  # the overall shift weighs as much as this many boxes of the class
FOLDS = 5
MUST_GAIN = 0.4  # thresholds per class must bring the counts a class of unseen pictures nearer by this share,
MUST_GAIN_OF_SHOWN = 0.01  # and by this share of all boxes shown: less nobody would notice

Values: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FittedThreshold:
    """Show the fitted model's boxes above `score`, or above `per_class[name]` where a class has its own.

    F1 (0..1) at IoU 0.5 on the `images` it was fitted on: the float model at its threshold, the fitted model there, and at the new one.
    """

    score: float
    per_class: dict[str, float] | None
    f1_float: float
    f1_before: float
    f1_after: float
    images: int

    def to_json(self) -> dict[str, Any]:
        return {
            "score": self.score,
            "per_class": self.per_class,
            "f1": {"float": round(self.f1_float, 6), "before": round(self.f1_before, 6), "after": round(self.f1_after, 6)},
            "images": self.images,
        }


@dataclass(frozen=True, slots=True)
class Marked:
    """Found boxes, best score first, and whether each hit a true one; those that only met a crowd are left out. `true_boxes` [classes]."""

    scores: Scores
    class_ids: ClassIds
    image: NDArray[np.int64]
    hit: NDArray[np.bool_]
    true_boxes: NDArray[np.int64]

    def of(self, keep: NDArray[np.bool_]) -> "Marked":
        """Only the rows of `keep`; what is true stays."""
        return Marked(self.scores[keep], self.class_ids[keep], self.image[keep], self.hit[keep], self.true_boxes)


def refit(float_predictions: Predictions, fitted_predictions: Predictions, float_score: float) -> FittedThreshold:
    """The threshold at which the fitted model's operating point is that of the float model at `float_score` (0..1).

    Both have seen the same pictures in the same order. Where these have no labels, the float model's boxes above `float_score` are the
    truth. Per class only where a class has enough boxes, shrunk towards the overall shift (both as log-odds), and only if five-fold
    cross-validation over the pictures says that it brings the counts of each class nearer on pictures it was not fitted on.
    """
    if float_predictions.images != fitted_predictions.images:
        raise ValueError(f"the two saw different images: {float_predictions.images} and {fitted_predictions.images}")
    if not len(float_predictions.truth.class_ids):
        truth = pseudo_truth(float_predictions, float_score)
        float_predictions, fitted_predictions = (replace(each, truth=truth) for each in (float_predictions, fitted_predictions))
    exact, fitted = mark(float_predictions), mark(fitted_predictions)
    names = float_predictions.classes
    score = _matching(exact, fitted, float_score)
    own = _own_thresholds(exact, fitted, float_score, score)
    if len(set(names)) < len(names) or not _worthwhile(exact, fitted, float_score, sorted(own)):
        own = {}
    return FittedThreshold(
        score=score,
        per_class={names[at]: value for at, value in own.items()} or None,
        f1_float=_f1(exact, _spread(float_score, {}, len(names))),
        f1_before=_f1(fitted, _spread(float_score, {}, len(names))),
        f1_after=_f1(fitted, _spread(score, own, len(names))),
        images=fitted_predictions.images,
    )


def _matching(exact: Marked, fitted: Marked, float_score: float) -> float:
    """Where `fitted` shows as many boxes as `exact` does above `float_score`; in the middle of the gap between two scores."""
    wanted = int((exact.scores > np.float32(float_score)).sum())
    if wanted < FEWEST_BOXES:
        return float_score
    return _threshold_for(fitted.scores, wanted, float_score)


def _threshold_for(scores: Scores, wanted: int, otherwise: float) -> float:
    """The threshold above which about `wanted` of `scores` (best first) lie; `otherwise` where it does as well.

    Integer models put many boxes on one score: no threshold parts them, so the nearer count is taken.
    """
    levels, counts = np.unique(-scores, return_counts=True)
    shown = np.concatenate([[0], np.cumsum(counts)])  # above a threshold just under level 0, 1, ...
    edges = np.concatenate([[1.0], -levels.astype(np.float64), [0.0]])
    at = int(np.abs(shown - wanted).argmin())
    if shown[at] == (scores > np.float32(otherwise)).sum():
        return otherwise
    return float(np.clip((edges[at] + edges[at + 1]) / 2, LOWEST, HIGHEST))


def _own_thresholds(exact: Marked, fitted: Marked, float_score: float, score: float) -> dict[int, float]:
    """Class number -> its threshold: the shift that matches its own count and the overall shift, weighed by boxes."""
    own = {}
    shown = np.bincount(exact.class_ids[exact.scores > np.float32(float_score)], minlength=len(exact.true_boxes))
    for cls in np.flatnonzero(np.minimum(shown, exact.true_boxes) >= FEWEST_OF_CLASS).tolist():
        matching = _threshold_for(fitted.scores[fitted.class_ids == cls], int(shown[cls]), score)
        weight = shown[cls] / (shown[cls] + PRIOR_BOXES)
        own[cls] = _probability(_log_odds(score) + weight * (_log_odds(matching) - _log_odds(score)))
    return own


def _worthwhile(exact: Marked, fitted: Marked, float_score: float, own_classes: list[int]) -> bool:
    """Whether own thresholds of these classes, fitted on four fifths of the pictures, bring the counts of the other fifth nearer."""
    if not own_classes:
        return False
    classes = len(exact.true_boxes)
    off_shared = off_own = shown = 0.0
    for fold in range(FOLDS):
        seen_exact, seen = (each.of(each.image % FOLDS != fold) for each in (exact, fitted))
        unseen_exact, unseen = (each.of(each.image % FOLDS == fold) for each in (exact, fitted))
        score = _matching(seen_exact, seen, float_score)
        own = {cls: t for cls, t in _own_thresholds(seen_exact, seen, float_score, score).items() if cls in own_classes}
        wanted = _shown_by_class(unseen_exact, _spread(float_score, {}, classes))
        shared, parted = (np.abs(_shown_by_class(unseen, _spread(score, each, classes)) - wanted)[own_classes].sum() for each in ({}, own))
        off_shared, off_own, shown = off_shared + shared, off_own + parted, shown + wanted.sum()
    return bool(off_shared - off_own > max(MUST_GAIN * off_shared, MUST_GAIN_OF_SHOWN * shown))


def _spread(score: float, own: dict[int, float], classes: int) -> Values:
    """The threshold of each class."""
    return np.array([own.get(cls, score) for cls in range(classes)])


def _shown_by_class(marked: Marked, by_class: Values) -> Values:
    shown = marked.scores > by_class.astype(np.float32)[marked.class_ids]
    return np.bincount(marked.class_ids[shown], minlength=len(by_class)).astype(np.float64)


def _f1(marked: Marked, by_class: Values) -> float:
    shown = marked.scores > by_class.astype(np.float32)[marked.class_ids]
    return float(2 * (marked.hit & shown).sum() / max(shown.sum() + marked.true_boxes.sum(), 1))


def f1_at(predictions: Predictions, score: float, per_class: Mapping[str, float] | None = None) -> float:
    """F1 (0..1) at IoU 0.5 over all images and classes when boxes above `score` are shown, or above a class's own in `per_class`."""
    own = {at: per_class[name] for at, name in enumerate(predictions.classes) if per_class and name in per_class}
    return _f1(mark(predictions), _spread(score, own, len(predictions.classes)))


def _log_odds(probability: float) -> float:
    return math.log(probability / (1 - probability))


def _probability(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


def mark(predictions: Predictions, iou: float = SAME_OBJECT_IOU) -> Marked:
    """Match found to true boxes, image by image and class by class: best score first, each takes the free true box it overlaps most.

    What a box takes never depends on boxes of a lower score, so one matching serves every threshold.
    """
    found, truth = predictions.found, predictions.truth
    hit, counts = np.zeros(len(found.scores), bool), np.ones(len(found.scores), bool)
    crowd = truth.crowd if truth.crowd.size else np.zeros(len(truth.class_ids), bool)
    for image in range(predictions.images):
        rows, true_rows = found.rows(image), truth.rows(image)
        overlaps = _overlaps(found.boxes_xyxy[rows], truth.boxes_xyxy[true_rows], crowd[true_rows])
        overlaps[found.class_ids[rows][:, None] != truth.class_ids[true_rows][None]] = 0
        hit[rows] = _take(overlaps[:, ~crowd[true_rows]], found.scores[rows], iou)
        counts[rows] = hit[rows] | ~(overlaps[:, crowd[true_rows]] >= iou).any(axis=1)
    order = np.flatnonzero(counts)
    order = order[np.argsort(-found.scores[order], kind="stable")]
    true_boxes = np.bincount(truth.class_ids[~crowd], minlength=len(predictions.classes))
    return Marked(found.scores[order], found.class_ids[order], found.image_of[order], hit[order], true_boxes)


def _overlaps(found: Boxes, truth: Boxes, crowd: NDArray[np.bool_]) -> Values:
    """IoU [found, true]; for a crowd, the share of the found box that lies in it, as in COCO."""
    low = np.maximum(found[:, None, :2], truth[None, :, :2])
    high = np.minimum(found[:, None, 2:], truth[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2, dtype=np.float64)
    area, true_area = (np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1, dtype=np.float64) for boxes in (found, truth))
    union = area[:, None] + np.where(crowd, 0, true_area - shared)
    overlaps: Values = shared / np.where(union > 0, union, 1)
    return overlaps


def _take(overlaps: Values, scores: Scores, iou: float) -> NDArray[np.bool_]:
    hit = np.zeros(len(scores), bool)
    free = overlaps.copy()
    for at in np.argsort(-scores, kind="stable"):
        best = int(free[at].argmax()) if free.shape[1] else -1
        if best >= 0 and free[at, best] >= iou:
            hit[at] = True
            free[:, best] = 0
    return hit
