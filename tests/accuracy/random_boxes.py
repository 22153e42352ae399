"""True boxes at random, and what a fair detector would say of them."""

import numpy as np

from edgewright.accuracy.predictions import Boxed, Predictions


def boxed(boxes, class_ids, image_of, images, **more):
    """Rows in any order of images -> a Boxed."""
    image_of = np.asarray(image_of, int)
    order = np.argsort(image_of, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(image_of, minlength=images))]).astype(np.int64)
    columns = {name: np.asarray(column)[order] for name, column in more.items()}
    return Boxed(np.asarray(boxes, np.float32).reshape(-1, 4)[order], np.asarray(class_ids, np.int64)[order], offsets, **columns)


def perturbed(truth: Boxed, rng, classes, *, misses=0.2, ghosts=0.5) -> Boxed:
    """What a fair detector says: most true boxes a little off, some of the wrong class, some out of nothing, scores that half know."""
    stays = np.flatnonzero(rng.random(len(truth.class_ids)) > misses)
    size = np.tile(truth.boxes_xyxy[stays, 2:] - truth.boxes_xyxy[stays, :2], 2)
    boxes = truth.boxes_xyxy[stays] + rng.normal(0, 0.08, size.shape) * size
    wrong = rng.random(len(stays)) < 0.1
    class_ids = np.where(wrong, rng.integers(0, classes, len(stays)), truth.class_ids[stays])
    count = int(ghosts * len(truth.class_ids))
    corner, span = rng.random((count, 2)) * 400, 5 + rng.random((count, 2)) * 150
    boxes = np.concatenate([boxes, np.concatenate([corner, corner + span], axis=1)])
    class_ids = np.concatenate([class_ids, rng.integers(0, classes, count)])
    image_of = np.concatenate([truth.image_of[stays], rng.integers(0, truth.images, count)])
    scores = np.concatenate([0.3 + 0.7 * rng.random(len(stays)), 0.6 * rng.random(count)]).astype(np.float32)
    return boxed(boxes, class_ids, image_of, truth.images, scores=scores)


def random_predictions(seed, *, images=12, classes=4, boxes=60) -> Predictions:
    rng = np.random.default_rng(seed)
    corner, span = rng.random((boxes, 2)) * 400, 4 + rng.random((boxes, 2)) * 160
    truth = boxed(np.concatenate([corner, corner + span], axis=1), rng.integers(0, classes, boxes), rng.integers(0, images, boxes), images)
    return Predictions(perturbed(truth, rng, classes), truth, tuple(f"class {at}" for at in range(classes)))
