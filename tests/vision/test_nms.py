"""Suppression keeps what a slow and obvious implementation keeps."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.vision.nms import suppress


def naive(boxes, scores, class_ids, iou, most):
    """One pair at a time, on exact integers."""
    order = sorted(range(len(scores)), key=lambda at: -scores[at])  # sorted is stable
    kept = []
    for at in order:
        if all(class_ids[at] != class_ids[better] or overlap(boxes[at], boxes[better]) <= iou for better in kept):
            kept.append(at)
    return kept[:most]


def overlap(a, b):
    shared = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union else 0.0


@st.composite
def crowds(draw):
    """Boxes on a coarse lattice with few scores and classes, so that overlaps and ties are frequent."""
    count = draw(st.integers(0, 25))
    corner = st.tuples(st.integers(0, 12), st.integers(0, 12))
    size = st.tuples(st.integers(0, 9), st.integers(0, 9))
    boxes = [(x, y, x + w, y + h) for (x, y), (w, h) in (draw(st.tuples(corner, size)) for _ in range(count))]
    scores = [draw(st.integers(1, 8)) / 8 for _ in range(count)]
    class_ids = [draw(st.integers(0, 2)) for _ in range(count)]
    return boxes, scores, class_ids


def arrays(boxes, scores, class_ids):
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(class_ids, np.int64)


@given(crowds(), st.sampled_from([0.0, 0.31, 0.47, 0.71, 0.97]), st.integers(1, 30))
@settings(deadline=None, max_examples=200)
def test_keeps_what_the_obvious_implementation_keeps(crowd, iou, most):
    assert suppress(*arrays(*crowd), iou=iou, most=most).tolist() == naive(*crowd, iou, most)


@given(crowds())
@settings(deadline=None)
def test_suppressing_again_changes_nothing(crowd):
    boxes, scores, class_ids = arrays(*crowd)
    kept = suppress(boxes, scores, class_ids, iou=0.47, most=99)
    again = suppress(boxes[kept], scores[kept], class_ids[kept], iou=0.47, most=99)
    assert again.tolist() == list(range(len(kept)))


def test_classes_do_not_suppress_each_other():
    boxes = [(0, 0, 10, 10)] * 3
    assert suppress(*arrays(boxes, [0.5, 0.9, 0.7], [0, 1, 1]), iou=0.5, most=9).tolist() == [1, 0]


def test_equal_scores_keep_their_order():
    boxes = [(10 * at, 0, 10 * at + 5, 5) for at in range(50)]
    assert suppress(*arrays(boxes, [0.5] * 50, [0] * 50), iou=0.5, most=99).tolist() == list(range(50))


def test_an_overlap_of_exactly_the_limit_stays():
    boxes = [(0, 0, 10, 10), (0, 0, 10, 5)]  # IoU 0.5
    assert len(suppress(*arrays(boxes, [0.9, 0.8], [0, 0]), iou=0.5, most=9)) == 2
    assert len(suppress(*arrays(boxes, [0.9, 0.8], [0, 0]), iou=0.499, most=9)) == 1


def test_a_network_that_fires_everywhere_ends_in_time_with_its_best():
    rng = np.random.default_rng(0)
    corner = rng.random((60_000, 2)) * 600
    boxes = np.concatenate([corner, corner + 20], axis=1).astype(np.float32)
    scores = rng.random(60_000).astype(np.float32)
    kept = suppress(boxes, scores, rng.integers(0, 80, 60_000), iou=0.7, most=300)
    assert len(kept) == 300
    assert kept[0] == scores.argmax()


def test_no_boxes_are_no_boxes():
    assert suppress(*arrays([], [], []), iou=0.5, most=9).tolist() == []


def one_by_one(boxes, scores, class_ids, iou, most):
    """Each kept box against all that are left, in the same arithmetic."""
    order = np.argsort(-scores, kind="stable")
    alive, kept = np.ones(len(order), bool), []
    areas = np.clip(boxes[:, 2] - boxes[:, 0], 0, None) * np.clip(boxes[:, 3] - boxes[:, 1], 0, None)
    for place, at in enumerate(order):
        if not alive[place] or len(kept) == most:
            continue
        kept.append(int(at))
        wide = np.minimum(boxes[at, 2], boxes[order, 2]) - np.maximum(boxes[at, 0], boxes[order, 0])
        high = np.minimum(boxes[at, 3], boxes[order, 3]) - np.maximum(boxes[at, 1], boxes[order, 1])
        shared = np.clip(wide, 0, None) * np.clip(high, 0, None)
        union = areas[at] + areas[order] - shared
        alive &= ~((class_ids[order] == class_ids[at]) & (shared / np.where(union > 0, union, 1) > iou))
    return kept


@given(
    st.integers(0, 700), st.integers(1, 5), st.floats(1, 300), st.sampled_from([0.1, 0.45, 0.7]), st.integers(1, 400), st.integers(0, 99)
)
@settings(deadline=None, max_examples=60)
def test_crowds_of_several_blocks_keep_what_one_by_one_keeps(count, classes, spread, iou, most, seed):
    rng = np.random.default_rng(seed)
    corner = rng.random((count, 2)) * spread
    boxes = np.concatenate([corner, corner + 5 + 40 * rng.random((count, 2))], axis=1).astype(np.float32)
    scores = np.round(rng.random(count), 2).astype(np.float32)  # ties are frequent
    class_ids = rng.integers(0, classes, count)
    assert suppress(boxes, scores, class_ids, iou=iou, most=most).tolist() == one_by_one(boxes, scores, class_ids, iou, most)
