"""Boxes are where constant velocity puts them, and what is believed does not depend on how time is cut up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.vision.kalman import PAPER_FPS, POSITION, VELOCITY, Motion


def boxes(*rows):
    return np.array(rows, np.float32).reshape(-1, 4)


def believed(motion):
    return np.stack([motion.value, motion.rate, motion.value_variance, motion.covariance, motion.rate_variance])


def test_a_box_is_first_believed_where_it_was_seen_and_at_rest():
    motion = Motion.of(boxes((10, 20, 50, 100)))
    assert motion.boxes_xyxy.tolist() == [[10, 20, 50, 100]]
    assert motion.after(0.5).boxes_xyxy.tolist() == [[10, 20, 50, 100]]


def test_a_box_that_moves_is_expected_further_on():
    motion = Motion.of(boxes((0, 0, 40, 80)))
    for step in range(1, 31):
        motion = motion.after(0.1).seen(boxes((10 * step, 5 * step, 40 + 10 * step, 80 + 5 * step)))
    assert motion.after(0.5).boxes_xyxy == pytest.approx(np.array([[350, 175, 390, 255]]), abs=1)
    assert motion.rate[0] == pytest.approx([100, 50, 0, 0], abs=1)


@given(st.lists(st.floats(0.01, 0.4), min_size=1, max_size=6), st.integers(0, 99))
@settings(deadline=None)
def test_many_short_waits_are_one_long_one(waits, seed):
    rng = np.random.default_rng(seed)
    corner = rng.random((5, 2)) * 500
    motion = Motion.of(np.concatenate([corner, corner + 20 + 100 * rng.random((5, 2))], axis=1))
    motion = motion.after(0.1).seen(motion.boxes_xyxy + np.array([7, -3, 7, -3])).of_one_size()
    step_by_step = motion
    for seconds in waits:
        step_by_step = step_by_step.after(seconds)
    assert believed(step_by_step) == pytest.approx(believed(motion.after(sum(waits))), rel=1e-9)


def textbook(boxes_xyxy):
    """The same filter with matrices of 8 x 8, frame by frame, as one reads it everywhere; noise of the box's own size."""
    x1, y1, x2, y2 = boxes_xyxy[0]
    size = np.array([x2 - x1, y2 - y1] * 2)
    mean = np.concatenate([[(x1 + x2) / 2, (y1 + y2) / 2], size[:2], np.zeros(4)])
    covariance = np.diag(np.concatenate([2 * POSITION * size, 10 * VELOCITY * size]) ** 2)
    step = np.eye(8) + np.eye(8, k=4)
    look = np.eye(4, 8)
    for x1, y1, x2, y2 in boxes_xyxy[1:]:
        size = np.tile(mean[2:4], 2)
        mean = step @ mean
        covariance = step @ covariance @ step.T + np.diag(np.concatenate([POSITION * size, VELOCITY * size]) ** 2)
        noise = np.diag((POSITION * np.tile(mean[2:4], 2)) ** 2)
        gain = covariance @ look.T @ np.linalg.inv(look @ covariance @ look.T + noise)
        mean = mean + gain @ (np.array([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]) - look @ mean)
        covariance = covariance - gain @ look @ covariance
    return mean


def test_at_the_papers_frame_rate_it_is_the_textbooks_filter():
    rng = np.random.default_rng(1)
    seen = np.array([[5 * at, 2 * at, 60 + 5 * at, 90 + 2 * at] for at in range(40)], float) + rng.normal(0, 2, (40, 4))
    motion = Motion.of(seen[:1])
    for at in range(1, 40):
        motion = motion.after(1 / PAPER_FPS).seen(seen[at : at + 1])
    mean = textbook(seen)
    # Seconds between frames let a push act on the way as well, which adds half a per cent to a position's variance.
    assert motion.value[0] == pytest.approx(mean[:4], abs=0.05)
    assert motion.rate[0] / PAPER_FPS == pytest.approx(mean[4:], abs=0.02)


def test_a_hidden_box_moves_on_but_keeps_its_size():
    motion = Motion.of(boxes((0, 0, 40, 80)))
    for step in range(1, 11):
        motion = motion.after(0.1).seen(boxes((10 * step, 0, 40 + 8 * step, 80)))  # closing from the left
    x1, _, x2, _ = motion.boxes_xyxy[0]
    later = motion.of_one_size().after(1).boxes_xyxy[0]
    assert later[2] - later[0] == pytest.approx(x2 - x1)
    assert later[0] > x1 + 50


def test_a_box_that_shrinks_away_still_has_an_area():
    motion = Motion.of(boxes((0, 0, 40, 40)))
    for step in range(1, 5):
        motion = motion.after(0.1).seen(boxes((0, 0, 40 - 9 * step, 40 - 9 * step)))
    x1, y1, x2, y2 = motion.after(5).boxes_xyxy[0]
    assert x2 > x1
    assert y2 > y1


def test_of_no_boxes_nothing_is_believed():
    nothing = Motion.of(boxes())
    assert len((nothing.after(1).seen(boxes()) + nothing).value) == 0
