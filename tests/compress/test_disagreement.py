"""Disagreement: nothing for the same answer, more for a worse one, blind to what no detector would report."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgewright.compress.disagreement import MOST_CELLS, disagreement


def answer(seed: int = 0, cells: int = 500, fire: int = 5):
    """Boxes, scores and classes of which `fire` cells matter."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 500, (cells, 2))
    boxes = np.concatenate([low, low + rng.uniform(20, 100, (cells, 2))], axis=1).astype(np.float32)
    scores = np.full(cells, 1e-5, np.float32)
    scores[:fire] = rng.uniform(0.4, 0.9, fire)
    return boxes, scores, rng.integers(0, 3, cells)


def test_none_with_itself():
    assert disagreement(answer(), answer()) == 0


@given(shift=st.floats(0.01, 0.3), more=st.floats(0.02, 0.2))
def test_grows_with_the_change_of_score(shift, more):
    boxes, scores, classes = answer()
    a, b = (
        disagreement((boxes, scores, classes), (boxes, scores - np.float32(by) * (scores > 0.1), classes)) for by in (shift, shift + more)
    )
    assert 0 < a < b <= 2


@given(shift=st.floats(0.5, 10), more=st.floats(1, 10))
def test_grows_as_boxes_move(shift, more):
    boxes, scores, classes = answer()
    a, b = (disagreement((boxes, scores, classes), (boxes + np.float32(by), scores, classes)) for by in (shift, shift + more))
    assert 0 < a < b <= 2


def test_a_flipped_class_counts_as_a_lost_score():
    boxes, scores, classes = answer()
    flipped = disagreement((boxes, scores, classes), (boxes, scores, classes + 1))
    lost = disagreement((boxes, scores, classes), (boxes, np.zeros_like(scores), classes))
    np.testing.assert_allclose(flipped, lost, rtol=1e-3)


def test_cells_that_see_nothing_hardly_count():
    boxes, scores, classes = answer()
    moved = boxes.copy()
    moved[5:] += 50
    assert disagreement((boxes, scores, classes), (moved, scores, classes)) < 0.01


def test_a_false_alarm_counts():
    boxes, scores, classes = answer()
    alarmed = scores.copy()
    alarmed[10] = 0.9
    assert disagreement((boxes, scores, classes), (boxes, alarmed, classes)) > 0.1


def test_silent_networks_agree_and_few_cells_are_enough():
    boxes, scores, classes = answer(cells=MOST_CELLS // 2)
    assert disagreement((boxes, scores * 0, classes), (boxes, scores * 0, classes)) == 0
    assert disagreement((boxes, scores, classes), (boxes, scores, classes)) == 0
