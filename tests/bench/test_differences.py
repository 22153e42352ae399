"""Where two models disagree about a picture."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.bench.differences import difference
from edgewright.detections import Detections

A, A_MOVED, FAR = [0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]


def found(*boxes, class_ids=None):
    count = len(boxes)
    ids = np.zeros(count, np.int64) if class_ids is None else np.array(class_ids, np.int64)
    scores = np.linspace(0.9, 0.5, count, dtype=np.float32)
    return Detections(np.array(boxes, np.float32).reshape(count, 4), scores, ids, ("cat", "dog"))


@pytest.mark.parametrize(
    ("baseline", "fitted", "expected"),
    [
        (found(), found(), 0.0),
        (found(A), found(), 1.0),
        (found(), found(A), 1.0),
        (found(A), found(A), 0.0),
        (found(A), found(A_MOVED), 0.0),
        (found(A), found(FAR), 1.0),
        (found(A, class_ids=[0]), found(A, class_ids=[1]), 1.0),
        (found(A, FAR), found(A), 1 / 3),
        (found(A, A), found(A), 1 / 3),  # a box pairs once
        (found([5, 5, 5, 5]), found([5, 5, 5, 5]), 1.0),  # no area, no overlap
    ],
)
def test_difference(baseline, fitted, expected):
    assert difference(baseline, fitted) == pytest.approx(expected)


corners = st.integers(0, 6)
boxes = st.tuples(corners, corners, st.integers(0, 6), st.integers(0, 6), st.integers(0, 1))
some_found = st.lists(boxes, max_size=6).map(
    lambda rows: found(*[[x, y, x + w, y + h] for x, y, w, h, _ in rows], class_ids=[c for *_, c in rows])
)


@settings(max_examples=150, deadline=None)
@given(a=some_found, b=some_found)
def test_difference_is_symmetric_and_between_none_and_all(a, b):
    assert 0 <= difference(a, b) <= 1
    assert difference(a, b) == difference(b, a)
