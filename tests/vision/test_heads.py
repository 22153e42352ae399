"""Decoding a head in numpy is what the book says, cell by cell, and what the network's own tail says."""

import math

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.artifact import HeadOutput, HeadSpec
from edgewright.graph.head import recognise
from edgewright.vision.heads import (
    MOST_END2END,
    can_decode,
    decode,
    end2end_decoded,
    end2end_raw,
    objectness_decoded,
    yolov5_raw,
    yolov8_decoded,
    yolov8_raw,
    yolox_raw,
    yolox_undecoded,
)
from tiny_detector import build_tiny_detector

EVERY_CELL = -1.0
SIZES = ((8, 6, 4), (16, 3, 2))  # stride, rows, columns
ANCHORS = (((10.0, 13.0), (33.5, 23.0)), ((116.0, 90.0), (62.0, 45.0)))


def draw(rng, channels, rows, columns, mean=0.0):
    return rng.normal(mean, 2, (channels, rows, columns)).astype(np.float32)


def sigmoid(logit):
    return 1 / (1 + math.exp(-float(logit)))


def best_of(logits):
    return max(range(len(logits)), key=lambda at: logits[at])


# --- by the book: one cell, one side, one bin at a time -----------------------------------------------------------------------------------


def cells(grids, score_above, read):
    """Every cell's (box, score, class) in order, where the score is above."""
    found = []
    for grid in grids:
        rows, columns = grid[0].shape[1:]
        found += [read(grid, row, column) for row in range(rows) for column in range(columns)]
    return [each for each in found if each[1] > score_above]


def yolov8_cell(grid, row, column):
    box, cls, stride = grid
    reg_max = box.shape[0] // 4
    sides = []
    for side in range(4):
        values = [float(v) for v in box[side * reg_max : (side + 1) * reg_max, row, column]]
        powers = [math.exp(v) for v in values]
        sides.append(values[0] if reg_max == 1 else sum(k * p for k, p in enumerate(powers)) / sum(powers))
    left, top, right, bottom = sides
    x, y, logits = column + 0.5, row + 0.5, cls[:, row, column]
    return [(x - left) * stride, (y - top) * stride, (x + right) * stride, (y + bottom) * stride], sigmoid(logits.max()), best_of(logits)


def yolov5_cells(grids, score_above):
    found = []
    for combined, stride, anchors in grids:
        values = combined.reshape(len(anchors), -1, *combined.shape[1:])
        for at, (wide, high) in enumerate(anchors):
            for row in range(combined.shape[1]):
                for column in range(combined.shape[2]):
                    x, y, w, h, sure, *logits = values[at, :, row, column]
                    cx, cy = (2 * sigmoid(x) - 0.5 + column) * stride, (2 * sigmoid(y) - 0.5 + row) * stride
                    w, h = (2 * sigmoid(w)) ** 2 * wide, (2 * sigmoid(h)) ** 2 * high
                    score = sigmoid(sure) * sigmoid(max(logits))
                    found.append(([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], score, best_of(logits)))
    return [each for each in found if each[1] > score_above]


def yolox_cell(grid, row, column):
    box, sure, cls, stride = grid
    x, y, w, h = (float(v) for v in box[:, row, column])
    cx, cy, w, h = (x + column) * stride, (y + row) * stride, math.exp(w) * stride, math.exp(h) * stride
    logits = cls[:, row, column]
    return [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], sigmoid(sure[0, row, column]) * sigmoid(logits.max()), best_of(logits)


def assert_found(found, expected):
    boxes, scores, class_ids = found
    assert len(expected) > 0
    assert class_ids.tolist() == [cls for _, _, cls in expected]
    assert scores == pytest.approx([score for _, score, _ in expected], abs=1e-6)
    assert boxes == pytest.approx(np.array([box for box, _, _ in expected]), abs=1e-3, rel=1e-5)
    assert (boxes.dtype, scores.dtype) == (np.float32, np.float32)


@pytest.mark.parametrize(
    ("classes", "reg_max", "score_above"), [(1, 1, 0.3), (3, 4, 0.5), (80, 16, 0.9), (6, 16, EVERY_CELL), (4, 1, EVERY_CELL), (2, 8, 0.001)]
)
def test_yolov8_s_raw_decode_is_the_book_s(classes, reg_max, score_above):
    rng = np.random.default_rng(classes)
    grids = [(draw(rng, 4 * reg_max, rows, columns), draw(rng, classes, rows, columns, -1), stride) for stride, rows, columns in SIZES]
    assert_found(yolov8_raw(grids, score_above), cells(grids, score_above, yolov8_cell))


@pytest.mark.parametrize(("classes", "score_above"), [(1, 0.3), (3, 0.5), (80, 0.7), (6, EVERY_CELL), (2, 0.001)])
def test_yolov5_s_raw_decode_is_the_book_s(classes, score_above):
    rng = np.random.default_rng(classes)
    grids = [(draw(rng, 2 * (5 + classes), rows, columns), stride, a) for (stride, rows, columns), a in zip(SIZES, ANCHORS, strict=True)]
    assert_found(yolov5_raw(grids, score_above), yolov5_cells(grids, score_above))


@pytest.mark.parametrize(("classes", "score_above"), [(1, 0.3), (3, 0.5), (80, 0.7), (6, EVERY_CELL), (2, 0.001)])
def test_yolox_s_raw_decode_is_the_book_s(classes, score_above):
    rng = np.random.default_rng(classes)
    grids = [(draw(rng, 4, r, c), draw(rng, 1, r, c), draw(rng, classes, r, c), stride) for stride, r, c in SIZES]
    expected = cells(grids, score_above, yolox_cell)
    assert_found(yolox_raw(grids, score_above), expected)
    joined = np.concatenate(
        [np.concatenate([b, *(1 / (1 + np.exp(-each)) for each in (o, c))]).reshape(5 + classes, -1) for b, o, c, _ in grids], axis=1
    )
    head = HeadSpec("yolox", (8, 16), None, (HeadOutput("rows", "undecoded"),))
    assert_found(decode(head, [joined.T[None]], score_above, size_wh=(32, 48)), expected)


def test_the_best_pairs_of_an_end_to_end_head_are_taken_from_the_best_cells():
    rng = np.random.default_rng(0)
    grids = [(draw(rng, 4, 20, 30), draw(rng, 5, 20, 30), 8), (draw(rng, 4, 10, 15), draw(rng, 5, 10, 15), 16)]
    boxes, scores, class_ids = end2end_raw(grids, EVERY_CELL)
    logits = np.concatenate([cls.reshape(5, -1) for _, cls, _ in grids], axis=1).T
    cell = np.argsort(-logits.max(axis=1), kind="stable")[:MOST_END2END]
    pairs = np.sort(logits[cell].reshape(-1))[::-1][:MOST_END2END]
    assert scores == pytest.approx([sigmoid(logit) for logit in pairs], abs=1e-6)
    assert len({tuple(box) for box in boxes.tolist()}) < MOST_END2END  # some cells speak for two classes
    every = yolov8_raw(grids, EVERY_CELL)
    top = every[1].argmax()
    assert (boxes[0].tolist(), class_ids[0]) == (every[0][top].tolist(), every[2][top])
    assert (end2end_raw(grids, 0.9)[1] > 0.9).all()
    assert len(end2end_raw(grids, 0.9)[1]) == (pairs > math.log(9)).sum()


# --- what exporters decoded ---------------------------------------------------------------------------------------------------------------


def outputs_of(model: onnx.ModelProto, feed):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feed)


@pytest.mark.parametrize("size", [64, (96, 64), (32, 32)], ids=str)
@pytest.mark.parametrize("family", ["yolov8", "yolov5", "yolox", "yolox decoded"])
def test_the_axes_of_an_output_may_be_swapped(family, size):
    """Also where both have the same length: 80 classes and 84 cells."""
    wide, high = size if isinstance(size, tuple) else (size, size)
    options = {"family": family, "size": size, "classes": tuple(map(str, range(80 if size == 64 else 3)))}
    feed = {"images": np.random.default_rng(0).random((1, 3, high, wide), np.float32)}
    as_usual, swapped = (build_tiny_detector(**options, transposed=way) for way in (False, True))
    whole, turned = (outputs_of(model, feed)[0] for model in (as_usual, swapped))
    head = recognise(as_usual).decoded
    boxes, scores, _ = decode(head, [whole], EVERY_CELL, size_wh=(wide, high))
    assert len(boxes) == (2 if family == "yolov5" else 1) * sum((wide // s) * (high // s) for s in (8, 16, 32))
    if whole.shape[1] != whole.shape[2]:
        other, other_scores, _ = decode(head, [turned], EVERY_CELL, size_wh=(wide, high))
        assert np.array_equal(other, boxes)
        assert np.array_equal(other_scores, scores)


def test_decoded_boxes_are_corners_and_only_the_best_class_counts():
    output = np.array([[10, 20, 8, 4, 0.2, 0.7], [30, 40, 2, 2, 0.6, 0.6]], np.float32).T
    boxes, scores, class_ids = yolov8_decoded(output, 0.5)
    assert boxes.tolist() == [[6, 18, 14, 22], [29, 39, 31, 41]]
    assert scores == pytest.approx([0.7, 0.6])
    assert class_ids.tolist() == [1, 0]  # among equals the first


def test_a_score_is_the_product_of_objectness_and_class():
    output = np.array([[10, 20, 8, 4, 0.5, 0.2, 0.8], [10, 20, 8, 4, 0.3, 1.0, 0.9], [10, 20, 8, 4, 0.9, 0.1, 0.0]], np.float32)
    boxes, scores, class_ids = objectness_decoded(output, 0.25)
    assert boxes.tolist() == [[6, 18, 14, 22]] * 2
    assert scores == pytest.approx([0.4, 0.3])
    assert class_ids.tolist() == [1, 0]


def test_rows_of_an_end_to_end_head_are_taken_as_they_stand():
    rows = np.array([[1, 2, 3, 4, 0.9, 5], [1, 2, 3, 4, 0.6, 2], [0, 0, 9, 9, 0.2, 0], [0, 0, 0, 0, 0, np.nan]], np.float32)
    boxes, scores, class_ids = end2end_decoded(rows, 0.5)
    assert boxes.tolist() == [[1, 2, 3, 4]] * 2
    assert scores == pytest.approx([0.9, 0.6])
    assert class_ids.tolist() == [5, 2]
    assert end2end_decoded(rows, EVERY_CELL)[2].tolist() == [5, 2, 0, 0]


# --- edges --------------------------------------------------------------------------------------------------------------------------------


def of_one_cell(logit):
    """Every decode of a single cell in which everything has this logit, as functions of the score that must be beaten."""
    one, four = (np.full((n, 1, 1), logit, np.float32) for n in (1, 4))
    share = np.float32(1 / (1 + math.exp(-logit)))
    rows = np.array([[1, 1, 1, 1, 1, share]], np.float32)
    return {
        "yolov8 raw": lambda above: yolov8_raw([(four, one, 8)], above),
        "yolov8 decoded": lambda above: yolov8_decoded(np.array([[1, 1, 1, 1, share]], np.float32).T, above),
        "end2end raw": lambda above: end2end_raw([(four, one, 8)], above),
        "end2end decoded": lambda above: end2end_decoded(np.array([[1, 1, 1, 1, share, 0]], np.float32), above),
        "objectness decoded": lambda above: objectness_decoded(rows, above),
        "yolox undecoded": lambda above: yolox_undecoded(rows, (np.zeros((1, 2), np.float32), np.ones((1, 1), np.float32)), above),
        "yolov5 raw": lambda above: yolov5_raw([(np.concatenate([four, one + 100, one]), 8, ((10.0, 10.0),))], above),
        "yolox raw": lambda above: yolox_raw([(four, one + 100, one, 8)], above),
    }


@pytest.mark.parametrize("name", of_one_cell(0.0))
@pytest.mark.parametrize(("score_above", "stays"), [(0.5, 0), (0.4999, 1), (0.5001, 0), (0.0, 1), (EVERY_CELL, 1), (1.0, 0), (2.0, 0)])
def test_a_score_must_be_greater_than_the_threshold(name, score_above, stays):
    boxes, scores, class_ids = of_one_cell(0.0)[name](score_above)
    assert (boxes.shape, scores.shape, class_ids.shape) == ((stays, 4), (stays,), (stays,))


@pytest.mark.parametrize("name", [name for name in of_one_cell(0.0) if name.endswith("raw")])
@pytest.mark.parametrize("logit", [-1e4, -200.0, 200.0, 1e4])
def test_extreme_logits_stay_finite(name, logit):
    grids = np.full((8, 1, 1), logit, np.float32)
    found = {
        "yolov8 raw": lambda: yolov8_raw([(grids, grids[:1], 8)], EVERY_CELL),
        "end2end raw": lambda: end2end_raw([(grids, grids[:1], 8)], EVERY_CELL),
        "yolov5 raw": lambda: yolov5_raw([(grids, 8, ((10.0, 10.0),))], EVERY_CELL),
        "yolox raw": lambda: yolox_raw([(grids[:4], grids[:1], grids[:3], 8)], EVERY_CELL),
    }[name]()
    assert np.isfinite(found[0]).all()
    assert found[1][0] == pytest.approx(0.0 if logit < 0 else 1.0)


@given(st.integers(1, 6), st.floats(0.001, 0.999), st.integers(0, 2**32 - 1))
def test_a_threshold_only_takes_away(classes, score_above, seed):
    """What is found above a score is what is found at all, less what is not above it: the short cuts change nothing."""
    rng = np.random.default_rng(seed)
    pairs = [(draw(rng, 8, 3, 4), draw(rng, classes, 3, 4), 8)]
    combined = [(draw(rng, 2 * (5 + classes), 3, 4), 8, ANCHORS[0])]
    triples = [(draw(rng, 4, 3, 4), draw(rng, 1, 3, 4), draw(rng, classes, 3, 4), 8)]
    for raw, grids in ((yolov8_raw, pairs), (end2end_raw, pairs), (yolov5_raw, combined), (yolox_raw, triples)):
        every, some = raw(grids, EVERY_CELL), raw(grids, score_above)
        # A logit at the very threshold may fall on either side of it.
        keep = every[1] > score_above
        if (np.abs(every[1] - score_above) < 1e-6).any():
            continue
        assert np.array_equal(some[0], every[0][keep])
        assert np.array_equal(some[2], every[2][keep])


# --- what can be decoded at all -----------------------------------------------------------------------------------------------------------


def raw_head(family, roles, anchors=None):
    outputs = tuple(HeadOutput(f"{role}{stride}", role, stride) for stride, _, _ in SIZES for role in roles)
    return HeadSpec(family, tuple(stride for stride, _, _ in SIZES), 4, outputs, anchors)


@pytest.mark.parametrize(
    ("head", "channels"),
    [
        (raw_head("yolov8", ("box", "class")), (16, 3)),
        (raw_head("end2end", ("box", "class")), (16, 3)),
        (raw_head("yolov5", ("combined",), ANCHORS), (16,)),
        (HeadSpec("yolox", (8, 16), None, raw_head("yolox", ("box", "objectness", "class")).outputs), (4, 1, 3)),
    ],
    ids=lambda value: value.family if isinstance(value, HeadSpec) else "",
)
def test_raw_tensors_are_told_by_their_channels(head, channels):
    outputs = [np.zeros((1, each, rows, columns), np.float32) for _, rows, columns in SIZES for each in channels]
    assert can_decode(head, outputs, 3)
    assert not can_decode(head, outputs, 4)
    assert not can_decode(head, outputs[:-1], 3)
    assert not can_decode(head, [output[:, :, 0] for output in outputs], 3)


@pytest.mark.parametrize(
    ("family", "role", "shape", "other"),
    [
        ("yolov8", "decoded", (1, 7, 60), (1, 8, 60)),
        ("yolov8", "decoded", (1, 60, 7), (1, 7)),
        ("yolov5", "decoded", (1, 120, 8), (1, 120, 7)),
        ("yolox", "undecoded", (1, 60, 8), (1, 60, 8, 1)),
        ("end2end", "decoded", (1, 300, 6), (1, 300, 7)),
    ],
)
def test_a_whole_output_is_told_by_the_values_of_a_box(family, role, shape, other):
    head = HeadSpec(family, (8, 16), None, (HeadOutput("output0", role),))
    assert can_decode(head, [np.zeros(shape, np.float32)], 3)
    assert not can_decode(head, [np.zeros(other, np.float32)], 3)
    assert not can_decode(head, [], 3)
