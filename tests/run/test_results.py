"""Boxes through a slot: they come out as they went in, and what a broken worker writes is no result."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgewright.detections import Detections
from edgewright.detector import MOST_BOXES
from edgewright.run.results import RESULT_BYTES, read_result, write_result

finite = st.floats(-1e6, 1e6, width=32)


def slot():
    return np.zeros(RESULT_BYTES, np.uint8)


@st.composite
def found(draw):
    count = draw(st.integers(0, 20) | st.just(MOST_BOXES))
    boxes = draw(hnp.arrays(np.float32, (count, 4), elements=finite))
    scores = draw(hnp.arrays(np.float32, count, elements=st.floats(0, 1, width=32)))
    return Detections(boxes, scores, draw(hnp.arrays(np.int64, count, elements=st.integers(0, 1 << 40))), ("a", "b"))


@settings(deadline=None)
@given(found())
def test_boxes_come_back(wanted):
    into = slot()
    into[:] = 0xFF
    assert write_result(into, wanted) == len(wanted)
    back = read_result(into, len(wanted), ("a", "b"))
    assert np.array_equal(back.boxes_xyxy, wanted.boxes_xyxy)
    assert np.array_equal(back.scores, wanted.scores)
    assert np.array_equal(back.class_ids, wanted.class_ids)
    assert (back.boxes_xyxy.dtype, back.scores.dtype, back.class_ids.dtype) == (np.float32, np.float32, np.int64)
    into[:] = 0  # written again at once
    assert np.array_equal(back.boxes_xyxy, wanted.boxes_xyxy)


def test_more_than_fit_are_cut_to_the_best():
    many = MOST_BOXES + 5
    wanted = Detections(np.zeros((many, 4), np.float32), np.linspace(1, 0, many, dtype=np.float32), np.zeros(many, np.int64))
    into = slot()
    assert write_result(into, wanted) == MOST_BOXES
    assert np.array_equal(read_result(into, MOST_BOXES, ()).scores, wanted.scores[:MOST_BOXES])


@pytest.mark.parametrize("count", [-1, MOST_BOXES + 1, 1 << 70, float("nan"), float("inf")])
def test_there_are_never_so_many(count):
    with pytest.raises(ValueError, match="boxes in a slot"):
        read_result(slot(), count, ())


@pytest.mark.parametrize(
    ("boxes", "score", "class_id"),
    [
        ((np.nan, 0, 1, 1), 0.5, 0),
        ((0, 0, np.inf, 1), 0.5, 0),
        ((0, 0, 1, 1), np.nan, 0),
        ((0, 0, 1, 1), -np.inf, 0),
        ((0, 0, 1, 1), 0.5, -1),  # would be the last class's name, or an IndexError far from here
    ],
)
def test_what_are_no_boxes_is_no_result(boxes, score, class_id):
    into = slot()
    write_result(into, Detections(np.array([boxes], np.float32), np.array([score], np.float32), np.array([class_id], np.int64)))
    with pytest.raises(ValueError, match="no boxes"):
        read_result(into, 1, ("a",))


@settings(deadline=None)
@given(st.integers(0, 1 << 32), st.sampled_from([0, 1, 2, 7, MOST_BOXES]), st.integers(0, 255))
def test_any_bytes_are_boxes_that_can_be_said_or_none(seed, count, most):
    content = np.random.default_rng(seed).integers(0, most, RESULT_BYTES, np.uint8, endpoint=True)
    try:
        back = read_result(content, count, ("a", "b"))
    except ValueError:
        return
    assert len(back.names) == len(back.to_json()["scores"]) == count
