"""Motion: what moves is shown to the model, noise is not, and nothing stays unseen for longer than asked."""

import numpy as np
import pytest

from edgewright.run.motion import LEARNED_IN_S, Motion
from edgewright.run.settings import MotionSettings

NEVER = MotionSettings(at_least_every_s=1e9)


def scene(rng=None, *, at=None, level=100, size_wh=(320, 180), noise=4.0):
    wide, high = size_wh
    picture = np.full((high, wide, 3), float(level))
    if at is not None:
        picture[60:90, at : at + 30] = 220
    if rng is not None:
        picture += rng.normal(0, noise, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_the_first_frame_is_shown_and_a_still_scene_is_not(rng):
    motion = Motion(NEVER)
    assert [motion.moves(scene(rng), at / 10) for at in range(20)] == [True] + [False] * 19


def test_a_moving_square_is_shown_all_the_way(rng):
    motion = Motion(NEVER)
    for at in range(10):
        motion.moves(scene(rng), at / 10)
    assert all(motion.moves(scene(rng, at=5 * at), 1 + at / 10) for at in range(50))


def test_what_has_come_to_rest_becomes_background(rng):
    motion = Motion(NEVER)
    motion.moves(scene(rng), 0.0)
    shown = [motion.moves(scene(rng, at=100), 0.5 * at) for at in range(1, 80)]
    assert shown[0]
    assert not shown[-1]
    assert 0.5 * sum(shown) < 6 * LEARNED_IN_S
    assert motion.moves(scene(rng, at=200), 41.0)


def test_strong_noise_of_single_pixels_is_no_motion(rng):
    motion = Motion(NEVER)
    motion.moves(scene(rng, noise=25), 0.0)
    assert not any(motion.moves(scene(rng, noise=25), at / 10) for at in range(1, 30))


def test_slow_daylight_is_learned_and_a_lamp_is_motion(rng):
    motion = Motion(NEVER)
    motion.moves(scene(rng, level=80), 0.0)
    assert not any(motion.moves(scene(rng, level=80 + at / 2), 10.0 * at) for at in range(1, 50))
    assert motion.moves(scene(rng, level=180), 500.0)


def test_at_least_every_so_often_it_is_shown_all_the_same():
    motion = Motion(MotionSettings(at_least_every_s=2.0))
    shown = [at / 10 for at in range(100) if motion.moves(scene(), at / 10)]
    assert shown == pytest.approx([0.0, 2.0, 4.0, 6.0, 8.0])


def test_another_size_begins_anew(rng):
    motion = Motion(NEVER)
    motion.moves(scene(), 0.0)
    assert motion.moves(scene(size_wh=(320, 240)), 0.1)
    assert not motion.moves(scene(size_wh=(320, 240)), 0.2)


@pytest.mark.parametrize("size_wh", [(1, 1), (1, 1000), (1000, 1), (160, 90), (3, 2)])
def test_any_size_can_be_looked_at(size_wh):
    motion = Motion(NEVER)
    wide, high = size_wh
    dark, light = np.zeros((high, wide, 3), np.uint8), np.full((high, wide, 3), 255, np.uint8)
    assert [motion.moves(each, 0.0) for each in (dark, dark, light)] == [True, False, True]


def test_time_that_goes_back_teaches_nothing_and_breaks_nothing():
    motion = Motion(NEVER)
    assert [motion.moves(scene(), at) for at in (10.0, 5.0, 5.0, 11.0)] == [True, False, False, False]
