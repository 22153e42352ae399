"""Things keep their ids: crossing, half hidden, away for a while, called by other names, and in time that behaves badly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.detections import Detections
from edgewright.vision.tracking import UNTRACKED, Tracker, TrackSettings

FPS = 10


def box_at(x, y, *, wide=40, high=80):
    return x - wide / 2, y - high / 2, x + wide / 2, y + high / 2


def found(*boxes, scores=None, classes=None):
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array([0.9] * count if scores is None else scores, np.float32),
        np.array([0] * count if classes is None else classes, np.int64),
    )


class Watched:
    """A tracker and its stream, a frame every 0.1 s."""

    def __init__(self, tracker_settings=None):
        self.tracker = Tracker(tracker_settings)
        self.time_s = 1000.0

    def see(self, *boxes, after_s=1 / FPS, **how):
        self.time_s += after_s
        return self.tracker.update(found(*boxes, **how), self.time_s).tolist()

    def see_nothing(self, seconds):
        for _ in range(round(seconds * FPS)):
            assert self.see() == []


def test_a_thing_has_an_id_once_it_is_seen_again_and_keeps_it():
    watched = Watched()
    assert watched.see(box_at(100, 100)) == [UNTRACKED]
    assert [watched.see(box_at(100 + 5 * at, 100)) for at in range(1, 20)] == [[1]] * 19


def test_what_is_seen_once_has_none():
    watched = Watched()
    watched.see(box_at(100, 100))
    watched.see()
    assert watched.see(box_at(100, 100)) == [UNTRACKED]
    assert len(watched.tracker) == 1


def test_ids_are_whole_numbers_of_64_bits_also_of_nothing():
    tracker = Tracker()
    assert tracker.update(found(), 0.0).dtype == np.int64
    assert tracker.update(found(box_at(50, 50)), 0.1).dtype == np.int64


def test_two_that_cross_keep_their_ids():
    watched = Watched()
    ids = [watched.see(box_at(100 + 10 * at, 100), box_at(500 - 10 * at, 130)) for at in range(41)]
    assert ids[1:] == [[1, 2]] * 40


def test_one_that_goes_behind_another_and_comes_out_keeps_its_id():
    watched = Watched()
    for at in range(41):
        standing, walking = box_at(300, 100), box_at(100 + 10 * at, 110)
        hidden = 270 <= 100 + 10 * at <= 330
        ids = watched.see(standing) if hidden else watched.see(standing, walking)
        assert at == 0 or ids == ([1] if hidden else [1, 2])


@pytest.mark.parametrize("score", [0.11, 0.2, 0.25])
def test_a_thing_half_hidden_is_followed_by_its_low_scores(score):
    watched = Watched()
    for at in range(10):
        watched.see(box_at(100 + 10 * at, 100))
    assert [watched.see(box_at(200 + 10 * at, 100), scores=[score]) for at in range(30)] == [[1]] * 30
    assert watched.see(box_at(500, 100)) == [1]


def test_a_low_score_begins_nothing_and_a_lower_one_keeps_nothing():
    watched = Watched()
    assert [watched.see(box_at(100, 100), scores=[0.2]) for _ in range(10)] == [[UNTRACKED]] * 10
    for _ in range(3):
        watched.see(box_at(100, 100))
    assert watched.see(box_at(100, 100), scores=[0.09]) == [UNTRACKED]


def test_a_low_score_elsewhere_is_nobody():
    watched = Watched()
    for _ in range(3):
        watched.see(box_at(100, 100))
    assert watched.see(box_at(130, 100), scores=[0.2]) == [UNTRACKED]  # an overlap of 1/7: enough for no high box either
    assert watched.see(box_at(115, 100), scores=[0.2]) == [UNTRACKED]  # 0.45: too little of a low box
    assert watched.see(box_at(115, 100)) == [1]


@pytest.mark.parametrize(("away_s", "again"), [(0.3, 1), (0.9, 1), (1.2, UNTRACKED), (5, UNTRACKED)])
def test_a_thing_that_is_away_is_waited_for_by_the_clock(away_s, again):
    watched = Watched()
    for at in range(10):
        watched.see(box_at(100 + 5 * at, 100))
    watched.see_nothing(away_s)
    x = 145 + 5 * (round(away_s * FPS) + 1)
    assert watched.see(box_at(x, 100)) == [again]
    assert watched.see(box_at(x + 5, 100)) == [1 if again == 1 else 2]  # and never an id that was another's


@pytest.mark.parametrize(("gap_s", "again"), [(0.5, 1), (10, 1), (29, 1), (31, UNTRACKED)])
def test_what_stands_still_is_known_again_after_a_gap_in_which_nobody_looked(gap_s, again):
    watched = Watched()
    for _ in range(10):
        watched.see(box_at(100, 100))
    assert watched.see(box_at(100, 100), after_s=gap_s) == [again]


def test_a_frame_every_few_seconds_is_enough_for_what_stands_still():
    watched = Watched()
    assert [watched.see(box_at(100, 100), after_s=4) for _ in range(5)] == [[UNTRACKED], [1], [1], [1], [1]]


def test_frames_may_come_irregularly():
    watched = Watched()
    x, ids = 100.0, []
    for after_s in [0.05, 0.05, 0.1, 0.1, 0.3, 0.05, 0.4, 0.1, 0.05, 0.4]:
        x += 150 * after_s
        ids.append(watched.see(box_at(x, 100), after_s=after_s))
    assert ids[1:] == [[1]] * 9


@pytest.mark.parametrize("jump_s", [-3600, -0.05, 0, -1e9, float("nan"), float("inf"), float("-inf")])
def test_time_that_does_not_go_on_breaks_nothing(jump_s):
    watched = Watched()
    for at in range(10):
        watched.see(box_at(100 + 5 * at, 100))
    before = watched.time_s
    assert watched.see(box_at(150, 100), after_s=jump_s) == [1]
    watched.time_s = watched.time_s if np.isfinite(watched.time_s) else before
    assert watched.see(box_at(155, 100)) == [1]
    watched.see_nothing(1.2)  # and what is away is forgotten as ever
    assert watched.see(box_at(160, 100)) == [UNTRACKED]
    assert len(watched.tracker) == 1


def test_a_clock_set_far_ahead_makes_everything_new_and_no_more():
    watched = Watched()
    watched.see(box_at(100, 100))
    watched.see(box_at(100, 100))
    assert watched.see(box_at(100, 100), after_s=1e300) == [UNTRACKED]
    watched.time_s = 0
    assert watched.see(box_at(100, 100)) == [2]
    watched.see_nothing(1.2)
    assert len(watched.tracker) == 0


def test_a_car_that_is_called_a_truck_is_the_same_car():
    watched = Watched()
    ids = [watched.see(box_at(100 + 3 * at, 100), classes=[kind]) for at, kind in enumerate([0, 0, 0, 1, 0, 1, 1, 0])]
    assert ids[1:] == [[1]] * 7


def test_a_rider_does_not_become_his_bicycle():
    watched = Watched()
    rider, bicycle = (100, 50, 140, 150), (95, 100, 150, 180)
    for _ in range(3):
        ids = watched.see(rider, bicycle, classes=[0, 1])
    assert ids == [1, 2]
    assert watched.see(bicycle, classes=[1]) == [2]
    assert watched.see(rider, classes=[0]) == [1]


def test_one_thing_under_two_names_is_followed_once():
    watched = Watched()
    for _ in range(5):
        ids = watched.see(box_at(100, 100), box_at(102, 101), scores=[0.9, 0.5], classes=[0, 1])
        assert ids in ([UNTRACKED] * 2, [1, UNTRACKED])
    assert watched.see(box_at(101, 100), classes=[1]) == [1]


def test_what_is_sure_is_what_the_detector_shows_class_by_class():
    watched = Watched(TrackSettings(high=(0.8, 0.1)))
    assert watched.tracker.wants_above == pytest.approx(0.04)
    for _ in range(2):
        ids = watched.see(box_at(100, 100), box_at(300, 100), scores=[0.5, 0.2], classes=[0, 1])
    assert ids == [UNTRACKED, 1]
    assert Tracker().wants_above == pytest.approx(0.1)


def test_a_beginning_may_be_asked_for_more():
    watched = Watched(TrackSettings(new=2))
    assert [watched.see(box_at(100, 100), scores=[0.4]) for _ in range(3)] == [[UNTRACKED]] * 3
    assert [watched.see(box_at(100, 100), scores=[0.6]) for _ in range(3)] == [[UNTRACKED], [1], [1]]


def test_there_are_never_more_tracks_than_allowed_and_the_best_come_first():
    watched = Watched(TrackSettings(most=3))
    crowd = [box_at(100 * at, 100) for at in range(10)]
    for _ in range(3):
        ids = watched.see(*crowd, scores=np.linspace(0.9, 0.5, 10))
        assert len(watched.tracker) <= 3
    assert ids == [1, 2, 3] + [UNTRACKED] * 7


def test_a_detector_gone_wrong_does_not_fill_memory():
    rng = np.random.default_rng(0)
    tracker = Tracker()
    for at in range(12):
        corner = rng.random((300, 2)) * 600
        everywhere = np.concatenate([corner, corner + 5 + 60 * rng.random((300, 2))], axis=1)
        ids = tracker.update(found(*everywhere, scores=rng.random(300), classes=rng.integers(0, 80, 300)), at / 30)
        given_ids = ids[ids != UNTRACKED]
        assert len(set(given_ids.tolist())) == len(given_ids)
        assert len(tracker) <= tracker.settings.most


NUMBERS = st.floats(-1e3, 1e3, width=32) | st.sampled_from([float("nan"), float("inf"), float("-inf"), 3e38, -3e38, 0.0])


@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.tuples(*[NUMBERS] * 4), NUMBERS | st.floats(0, 1, width=32), st.integers(-2, 3)), max_size=5),
            st.floats(allow_nan=True, allow_infinity=True),
        ),
        max_size=6,
    )
)
@settings(deadline=None, max_examples=80)
def test_whatever_comes_every_box_gets_an_id_or_none_and_no_id_twice(frames):
    tracker = Tracker()
    for boxes, time_s in frames:
        rows = [box for box, _, _ in boxes]
        seen = found(*rows, scores=[score for _, score, _ in boxes], classes=[kind for _, _, kind in boxes])
        ids = [each for each in tracker.update(seen, time_s).tolist() if each != UNTRACKED]
        assert len(set(ids)) == len(ids)
        assert all(each >= 1 for each in ids)


@given(
    st.tuples(st.floats(-150, 150), st.floats(-80, 80)),
    st.floats(20, 200),
    st.floats(0, 0.03),
    st.lists(st.floats(0.03, 0.1), min_size=5, max_size=40),
    st.integers(0, 999),
)
@settings(deadline=None, max_examples=60)
def test_a_thing_that_moves_steadily_has_one_id_whatever_its_speed_size_and_noise(speed, size, noise, waits, seed):
    """Up to what an overlap can bridge: a seventh of its size from frame to frame before its speed is known."""
    rng, tracker, time_s, ids = np.random.default_rng(seed), Tracker(), 0.0, []
    slowed = min(1.0, size / 0.1 / 4 / max(abs(speed[0]), abs(speed[1]), 1))
    for wait_s in waits:
        time_s += wait_s
        box = np.array(box_at(500 + speed[0] * slowed * time_s, 500 + speed[1] * slowed * time_s, wide=size, high=1.5 * size))
        box += rng.normal(0, noise * size, 4)
        ids += tracker.update(found(box), time_s).tolist()
    assert ids == [UNTRACKED] + [1] * (len(ids) - 1)


@given(st.integers(1, 6), st.integers(0, 999))
@settings(deadline=None, max_examples=25)
def test_a_row_of_things_keeps_its_ids_in_whatever_order_they_are_listed(count, seed):
    rng, tracker, owners = np.random.default_rng(seed), Tracker(), {}
    for at in range(15):
        order = rng.permutation(count)
        boxes = [box_at(60 * which + 4 * at, 100 + 3 * which) for which in order]
        for which, track in zip(order.tolist(), tracker.update(found(*boxes), at / FPS).tolist(), strict=True):
            if at:
                assert owners.setdefault(track, which) == which
    assert len(owners) == count
