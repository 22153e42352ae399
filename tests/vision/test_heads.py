"""Decoding a head in numpy says what the network's own tail says, cell by cell."""

import math

import numpy as np
import onnx
import onnxruntime
import pytest

from edgewright.compress.head_cut import cut_head
from edgewright.graph.head import recognise
from edgewright.vision.heads import yolov8_decoded, yolov8_raw
from tiny_detector import build_tiny_detector

EVERY_CELL = -1.0


def random_grids(rng, *, classes, reg_max, sizes=((8, 6, 4), (16, 3, 2))):
    """For each (stride, rows, columns) box and class logits."""
    return [
        (
            rng.normal(0, 2, (4 * reg_max, rows, columns)).astype(np.float32),
            rng.normal(-1, 2, (classes, rows, columns)).astype(np.float32),
            stride,
        )
        for stride, rows, columns in sizes
    ]


def naive(grids, score_above):
    """The same by the book: one cell, one side, one bin at a time."""
    found = []
    for box, cls, stride in grids:
        reg_max = box.shape[0] // 4
        for row in range(cls.shape[1]):
            for column in range(cls.shape[2]):
                scores = [1 / (1 + math.exp(-float(logit))) for logit in cls[:, row, column]]
                best = max(range(len(scores)), key=scores.__getitem__)
                if scores[best] <= score_above:
                    continue
                sides = []
                for side in range(4):
                    powers = [math.exp(float(v)) for v in box[side * reg_max : (side + 1) * reg_max, row, column]]
                    sides.append(sum(k * p for k, p in enumerate(powers)) / sum(powers))
                left, top, right, bottom = sides
                x, y = column + 0.5, row + 0.5
                found.append(([(x - left) * stride, (y - top) * stride, (x + right) * stride, (y + bottom) * stride], scores[best], best))
    return found


@pytest.mark.parametrize(
    ("classes", "reg_max", "score_above"), [(1, 1, 0.3), (3, 4, 0.5), (80, 16, 0.9), (6, 16, EVERY_CELL), (2, 8, 0.001)]
)
def test_raw_decode_is_the_book_s(classes, reg_max, score_above):
    grids = random_grids(np.random.default_rng(classes), classes=classes, reg_max=reg_max)
    boxes, scores, class_ids = yolov8_raw(grids, score_above)
    expected = naive(grids, score_above)
    assert len(expected) > 0
    assert class_ids.tolist() == [cls for _, _, cls in expected]
    assert scores == pytest.approx([score for _, score, _ in expected], abs=1e-6)
    assert boxes == pytest.approx(np.array([box for box, _, _ in expected]), abs=1e-3)
    assert (boxes.dtype, scores.dtype) == (np.float32, np.float32)


@pytest.mark.parametrize(
    "options", [{}, {"activation": "relu", "classes": ("a",), "reg_max": 16}, {"size": 96, "classes": tuple("abcdefg")}]
)
def test_a_cut_graph_decoded_here_equals_the_whole_graph(options):
    model = build_tiny_detector(**options)
    head = recognise(model)
    size = options.get("size", 64)
    feed = {"images": np.random.default_rng(0).random((1, 3, size, size), np.float32)}
    [whole] = outputs_of(model, feed)
    cut = outputs_of(cut_head(model, head), feed)
    boxes, scores, class_ids = yolov8_decoded(whole[0], EVERY_CELL)
    grids = [(cut[2 * at][0], cut[2 * at + 1][0], stride) for at, stride in enumerate(head.strides)]
    cut_boxes, cut_scores, cut_ids = yolov8_raw(grids, EVERY_CELL)
    assert cut_boxes == pytest.approx(boxes, abs=1e-3)
    assert cut_scores == pytest.approx(scores, abs=1e-5)
    probabilities = whole[0][4:]
    assert probabilities[cut_ids, np.arange(len(cut_ids))] == pytest.approx(probabilities[class_ids, np.arange(len(class_ids))], abs=1e-6)
    assert len(boxes) == (size // 8) ** 2 + (size // 16) ** 2 + (size // 32) ** 2


def outputs_of(model: onnx.ModelProto, feed):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feed)


def test_decoded_boxes_are_corners_and_only_the_best_class_counts():
    output = np.array([[10, 20, 8, 4, 0.2, 0.7], [30, 40, 2, 2, 0.6, 0.6]], np.float32).T
    boxes, scores, class_ids = yolov8_decoded(output, 0.5)
    assert boxes.tolist() == [[6, 18, 14, 22], [29, 39, 31, 41]]
    assert scores == pytest.approx([0.7, 0.6])
    assert class_ids.tolist() == [1, 0]  # among equals the first


def one_cell(logit):
    return [(np.zeros((4, 1, 1), np.float32), np.full((1, 1, 1), logit, np.float32), 8)]


@pytest.mark.parametrize(("score_above", "stays"), [(0.5, 0), (0.4999, 1), (0.5001, 0), (0.0, 1), (EVERY_CELL, 1), (1.0, 0), (2.0, 0)])
def test_a_score_must_be_greater_than_the_threshold(score_above, stays):
    assert len(yolov8_raw(one_cell(0.0), score_above)[0]) == stays
    assert len(yolov8_decoded(np.array([[1, 1, 1, 1, 0.5]], np.float32).T, score_above)[0]) == stays


@pytest.mark.parametrize("logit", [-200.0, 200.0])
def test_extreme_logits_stay_finite(logit):
    with np.errstate(over="ignore"):
        boxes, scores, _ = yolov8_raw([(np.full((8, 1, 1), logit, np.float32), np.full((1, 1, 1), logit, np.float32), 8)], EVERY_CELL)
    assert np.isfinite(boxes).all()
    assert scores[0] == pytest.approx(0.0 if logit < 0 else 1.0)


def test_nothing_found_is_empty_and_well_formed():
    boxes, scores, class_ids = yolov8_raw(random_grids(np.random.default_rng(0), classes=2, reg_max=4), 1.0)
    assert (boxes.shape, scores.shape, class_ids.shape) == ((0, 4), (0,), (0,))
    boxes, scores, class_ids = yolov8_decoded(np.zeros((6, 10), np.float32), 0.5)
    assert (boxes.shape, scores.shape, class_ids.shape) == ((0, 4), (0,), (0,))
