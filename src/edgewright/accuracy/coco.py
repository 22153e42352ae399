"""Average precision by the COCO protocol.

Matching of found to true boxes, and the point estimate, are pycocotools' own. What it does not offer, an accumulation that
weighs images (for the bootstrap in `compare`), starts from its matches; with all weights 1 the two agree to the last digit, and
a test holds them to it.
"""

import contextlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewright.accuracy.predictions import Boxed, Predictions

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_THRESHOLDS = np.linspace(0, 1, 101)
MOST_PER_CLASS = 100  # detections of a class an image that count: COCO's maxDets
MOST_AT_ONCE = 1 << 18  # weighted boxes in memory at once: 2 MB, which stay in the cache
ALL_SIZES = 0  # index of pycocotools' first area range
SIZES = ("small", "medium", "large")  # below 32 x 32, below 96 x 96, the rest


@dataclass(frozen=True, slots=True)
class ClassAccuracy:
    """Average precision of a class at IoU 0.5, and over 0.5 to 0.95, 0..1."""

    ap50: float
    ap50_95: float


@dataclass(frozen=True, slots=True)
class AccuracyReport:
    """COCO figures, 0..1. Classes without a true box have no figure and do not count; a size without any is None."""

    map50: float
    map50_95: float
    per_class: dict[str, ClassAccuracy]
    per_size: dict[str, float | None]
    images: int
    detections: int

    def to_json(self) -> dict[str, Any]:
        return {
            "map50": self.map50,
            "map50_95": self.map50_95,
            "per_class": {name: {"ap50": c.ap50, "ap50_95": c.ap50_95} for name, c in self.per_class.items()},
            "per_size": self.per_size,
            "images": self.images,
            "detections": self.detections,
        }


@dataclass(frozen=True, slots=True)
class ClassMatches:
    """How the found boxes of one class, best score first, met the truth.

    `image` [D]; `hit` and `ignored` [10, D], one row an IoU threshold; `true_boxes` [images]: how many count in each image.
    """

    name: str
    image: NDArray[np.int64]
    hit: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    true_boxes: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The report, and the matches it came from: an entry a class that has true boxes, of any size and of each of `SIZES` alone."""

    report: AccuracyReport
    matches: tuple[ClassMatches, ...]
    matches_by_size: tuple[tuple[ClassMatches, ...], ...]


def evaluate(predictions: Predictions) -> Evaluation:
    """The COCO figures of predictions."""
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools talks
        cocoeval = _run_pycocotools(predictions)
    precision = cocoeval.eval["precision"]  # thresholds, recalls, classes, sizes, maxDets
    per_class = {}
    for at, name in enumerate(predictions.classes):
        values = precision[:, :, at, ALL_SIZES, -1]
        if (values > -1).any():
            per_class[name] = ClassAccuracy(float(values[0].mean()), float(values.mean()))
    report = AccuracyReport(
        map50=_mean_above_minus_one(precision[0, :, :, ALL_SIZES, -1]) or 0.0,
        map50_95=_mean_above_minus_one(precision[:, :, :, ALL_SIZES, -1]) or 0.0,
        per_class=per_class,
        per_size={name: _mean_above_minus_one(precision[:, :, :, at, -1]) for at, name in enumerate(SIZES, 1)},
        images=predictions.images,
        detections=len(predictions.found.scores),
    )
    by_size = tuple(_matches(cocoeval, predictions, at) for at in range(1, 1 + len(SIZES)))
    return Evaluation(report, _matches(cocoeval, predictions, ALL_SIZES), by_size)


def mean_average_precision(
    matches: tuple[ClassMatches, ...], image_weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """mAP50 and mAP50-95 when image i counts `image_weights[r, i]` times, for each row r of [R, images]; two arrays [R].

    NaN where a row holds no true box at all.
    """
    if not matches:
        return np.full(len(image_weights), np.nan), np.full(len(image_weights), np.nan)
    ap = np.stack([average_precision(each, image_weights) for each in matches])  # classes, R, thresholds
    with np.errstate(invalid="ignore"):
        counted = np.isfinite(ap)
        total = np.where(counted, ap, 0).sum(axis=0)
        mean = total / counted.sum(axis=0)
    return mean[:, 0], mean.mean(axis=1)


def average_precision(matches: ClassMatches, image_weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """101-point interpolated precision of one class, [R, 10]; NaN where the row's weights leave it no true box.

    Precision can only peak at a hit, so everything after the running sums looks at the hits alone. Boxes that count, or are ignored,
    at every IoU threshold alike are nearly all; they are summed once, the few others at each threshold.
    """
    rows = max(1, MOST_AT_ONCE // max(1, len(matches.image)))
    return np.concatenate([_average_precision(matches, image_weights[at : at + rows]) for at in range(0, len(image_weights), rows)])


def _average_precision(matches: ClassMatches, image_weights: NDArray[np.float64]) -> NDArray[np.float64]:
    true_boxes = image_weights @ matches.true_boxes
    ap = np.full((len(image_weights), len(IOU_THRESHOLDS)), np.nan)
    hit = matches.hit & ~matches.ignored
    last = int(np.flatnonzero(hit.any(axis=0)).max(initial=-1)) + 1  # what follows the last hit changes no precision at a hit
    hit, ignored = hit[:, :last], matches.ignored[:, :last]
    always = np.flatnonzero(~ignored.any(axis=0))
    mixed = np.flatnonzero(ignored.any(axis=0) & ~ignored.all(axis=0))
    always_counted, mixed_weights = _running(image_weights[:, matches.image[always]]), image_weights[:, matches.image[mixed]]
    for at in range(len(IOU_THRESHOLDS)):
        hits = np.flatnonzero(hit[at])
        counted = always_counted[:, np.searchsorted(always, hits, side="right")]
        if mixed.size:
            counted += _running(np.where(ignored[at, mixed], 0, mixed_weights))[:, np.searchsorted(mixed, hits, side="right")]
        ap[:, at] = _interpolated(np.cumsum(image_weights[:, matches.image[hits]], axis=1), counted, true_boxes)
    ap[true_boxes == 0] = np.nan
    return ap


def _running(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Running sums along each row, a zero before the first: [R, D] -> [R, 1 + D]."""
    sums = np.zeros((len(weights), weights.shape[1] + 1))
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums


def _interpolated(hits: NDArray[np.float64], counted: NDArray[np.float64], true_boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over 101 recalls of the best precision at that recall or beyond, [R], from running sums [R, hits] at each hit.

    A hit speaks for the recall thresholds that it is the first to reach.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        reached = np.searchsorted(RECALL_THRESHOLDS, hits / true_boxes[:, None], side="right")
    precision = hits / np.maximum(counted, np.spacing(1))
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    thresholds = np.diff(reached, axis=1, prepend=0)
    summed: NDArray[np.float64] = (envelope * thresholds).sum(axis=1)
    return summed / len(RECALL_THRESHOLDS)


def _run_pycocotools(predictions: Predictions) -> Any:
    from pycocotools.coco import COCO  # noqa: PLC0415 - only the fitting host has it
    from pycocotools.cocoeval import COCOeval  # noqa: PLC0415

    truth, found = COCO(), COCO()
    header = {"images": [{"id": i} for i in range(predictions.images)], "categories": [{"id": i} for i in range(len(predictions.classes))]}
    truth.dataset = {**header, "annotations": _annotations(predictions.truth)}
    found.dataset = {**header, "annotations": _annotations(predictions.found)}
    truth.createIndex()
    found.createIndex()
    cocoeval = COCOeval(truth, found, "bbox")
    cocoeval.params.maxDets = [MOST_PER_CLASS]
    cocoeval.params.iouThrs = IOU_THRESHOLDS
    cocoeval.evaluate()
    cocoeval.accumulate()
    return cocoeval


def _annotations(boxed: Boxed) -> list[dict[str, Any]]:
    """COCO rows; numbered from 1, because pycocotools takes a match with number 0 for no match."""
    size = boxed.boxes_xyxy[:, 2:] - boxed.boxes_xyxy[:, :2]
    xywh = np.concatenate([boxed.boxes_xyxy[:, :2], size], axis=1).astype(float).tolist()
    areas = (boxed.areas if boxed.areas.size else size.prod(axis=1)).astype(float).tolist()
    scores = boxed.scores.astype(float).tolist() or [1.0] * len(xywh)
    crowd = boxed.crowd.astype(int).tolist() or [0] * len(xywh)
    columns = zip(boxed.image_of.tolist(), boxed.class_ids.tolist(), xywh, areas, scores, crowd, strict=True)
    return [
        {"id": n, "image_id": image, "category_id": cls, "bbox": box, "area": area, "score": score, "iscrowd": is_crowd}
        for n, (image, cls, box, area, score, is_crowd) in enumerate(columns, 1)
    ]


def _matches(cocoeval: Any, predictions: Predictions, size: int) -> tuple[ClassMatches, ...]:
    """Pycocotools' matches in one of its area ranges, regrouped by class."""
    images, sizes = predictions.images, len(cocoeval.params.areaRng)
    found = []
    for at, name in enumerate(predictions.classes):
        start = (at * sizes + size) * images
        entries = [entry for entry in cocoeval.evalImgs[start : start + images] if entry is not None]
        true_boxes = np.zeros(images, np.int64)
        for entry in entries:
            true_boxes[entry["image_id"]] = np.count_nonzero(~np.asarray(entry["gtIgnore"], bool))
        if true_boxes.any():
            found.append(_by_score(name, entries, true_boxes))
    return tuple(found)


def _by_score(name: str, entries: list[dict[str, Any]], true_boxes: NDArray[np.int64]) -> ClassMatches:
    scores = np.concatenate([entry["dtScores"] for entry in entries])
    order = np.argsort(-scores, kind="mergesort")  # pycocotools' own order among equal scores
    image = np.concatenate([np.full(len(entry["dtScores"]), entry["image_id"], np.int64) for entry in entries])
    hit = np.concatenate([entry["dtMatches"] for entry in entries], axis=1) > 0
    ignored = np.concatenate([entry["dtIgnore"] for entry in entries], axis=1).astype(bool)
    return ClassMatches(name, image[order], hit[:, order], ignored[:, order], true_boxes)


def _mean_above_minus_one(values: NDArray[np.float64]) -> float | None:
    """The mean where there is a figure; pycocotools writes -1 where there is none."""
    known = values[values > -1]
    return float(known.mean()) if known.size else None
