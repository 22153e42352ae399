"""Comparing integers decides as comparing the numbers they stand for, and only survivors become numbers."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.artifact import RAW_ROLES, HeadOutput, HeadSpec
from edgewright.vision.encoded import encoded
from edgewright.vision.heads import can_decode, decode

KINDS = st.sampled_from([np.int8, np.uint8])
SCALES = st.floats(1e-4, 2.0)
CLASSES = 3


def every_code(kind):
    return np.arange(np.iinfo(kind).min, np.iinfo(kind).max + 1).astype(kind)


def numbers(codes, scale, zero_point):
    return (codes.astype(np.int64) - zero_point).astype(np.float32) * np.float32(scale)


@given(KINDS, SCALES, st.integers(-128, 255), st.floats(-400, 400), st.integers(0, 255))
def test_integers_and_numbers_agree_about_every_threshold(kind, scale, zero_point, above, at):
    codes = every_code(kind)
    held, expected = encoded(codes, scale=scale, zero_point=zero_point), numbers(codes, scale, zero_point)
    assert np.array_equal(held.real, expected)
    for number in (above, float(expected[at]), np.inf, -np.inf):
        assert np.array_equal(held > number, expected > number)


def heads():
    strides = (8, 16)
    anchors = (((10.0, 13.0), (16.0, 30.0)), ((30.0, 61.0), (62.0, 45.0)))
    for family, roles in RAW_ROLES.items():
        outputs = tuple(HeadOutput(f"{role}{stride}", role, stride) for stride in strides for role in roles)
        yield HeadSpec(family, strides, {"yolov8": 4, "end2end": 1}.get(family), outputs, anchors if family == "yolov5" else None)
    for family in RAW_ROLES:
        yield HeadSpec(family, strides, None, (HeadOutput("output0", "decoded"),))
    yield HeadSpec("yolox", strides, None, (HeadOutput("output0", "undecoded"),))


def shape_of(head, output, size_wh=(64, 32)):
    cells = [(size_wh[1] // stride, size_wh[0] // stride) for stride in head.strides]
    if output.stride is None:
        rows = 40 if head.family == "end2end" else sum(high * wide for high, wide in cells)
        values = {"yolov8": 4 + CLASSES, "end2end": 6}.get(head.family, 5 + CLASSES)
        return (1, values, rows) if head.family == "yolov8" else (1, rows, values)
    channels = {"box": 4 * (head.reg_max or 1), "class": CLASSES, "objectness": 1, "combined": 2 * (5 + CLASSES)}
    return (1, channels[output.role], *cells[head.strides.index(output.stride)])


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
@pytest.mark.parametrize("head", list(heads()), ids=lambda head: f"{head.family} {head.outputs[0].role}")
@pytest.mark.parametrize("score_above", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_every_family_decodes_integers_as_it_decodes_what_they_are_worth(head, kind, score_above):
    rng = np.random.default_rng(3)
    low, zero_point = (-100, 3) if kind is np.int8 else (20, 131)
    scale = 0.05 if head.is_raw and head.outputs[0].role != "undecoded" else 0.01
    codes = [rng.integers(low, low + 200, shape_of(head, output)).astype(kind) for output in head.outputs]
    held = replace(head, outputs=tuple(replace(output, scale=scale, zero_point=zero_point) for output in head.outputs))
    found = decode(held, codes, score_above, size_wh=(64, 32))
    expected = decode(head, [numbers(each, scale, zero_point) for each in codes], score_above, size_wh=(64, 32))
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine, theirs)
    assert len(found[1]) or score_above >= 0.9


@pytest.mark.parametrize("head", list(heads()), ids=lambda head: f"{head.family} {head.outputs[0].role}")
def test_integers_are_taken_where_they_are_promised_and_nowhere_else(head):
    shapes = [shape_of(head, output) for output in head.outputs]
    held = replace(head, outputs=tuple(replace(output, scale=0.1) for output in head.outputs))
    for kind, plain, encoding in ((np.float32, True, False), (np.int8, False, True), (np.uint8, False, True), (np.int64, False, False)):
        outputs = [np.zeros(shape, kind) for shape in shapes]
        assert can_decode(head, outputs, CLASSES) == plain
        assert can_decode(held, outputs, CLASSES) == encoding
