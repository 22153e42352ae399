"""Frames lent to a process: told where they lie, held until they come back, and never held for one that was not told."""

import pytest

from edgewright.run.frames import HeldFrame, SharedRing
from edgewright.run.lending import Lending, Pace
from edgewright.run.ring import Ring


class Told(list):
    """Takes what is said, as long as it listens."""

    listens = True

    def __call__(self, words, fds):
        if self.listens:
            self.append((words, fds))
        return self.listens


@pytest.fixture
def shared():
    with Ring.make("belt", slots=3, slot_bytes=12, room_bytes=1 << 20) as ring:
        yield SharedRing(ring, lambda _: None)


def captured(shared, number=0):
    slot = shared.ledger.take()
    shared.ledger.fill(slot)
    return HeldFrame("belt", number, shared, slot, (2, 2), 1.0, 1.0, 1.0)


def test_a_frame_is_told_of_with_its_ring_and_held_until_it_comes_back(shared):
    told = Told()
    lending = Lending(told)
    first, second = captured(shared), captured(shared)
    jobs = [lending.lend(first, {"a": 1}), lending.lend(second, {"a": 2})]
    first.release()
    second.release()
    assert [words for words, _ in told] == [
        {"ring": shared.id, "slots": 3, "slot_bytes": 12},
        {"job": 1, "ring": shared.id, "slot": first.slot, "a": 1},
        {"job": 2, "ring": shared.id, "slot": second.slot, "a": 2},
    ]
    assert told[0][1] == (shared.ring.fd,)
    assert (jobs, len(lending), shared.ledger.free) == ([1, 2], 2, 1)
    lending.give_back(2)
    assert (len(lending), shared.ledger.free) == (1, 2)
    with pytest.raises(KeyError):
        lending.give_back(2)
    lending.give_all_back()
    assert (len(lending), shared.ledger.free) == (0, 3)


def test_whoever_is_not_told_of_a_frame_does_not_hold_it(shared):
    told = Told()
    lending = Lending(told)
    frame = captured(shared)
    told.listens = False
    assert lending.lend(frame, {}) is None
    told.listens = True
    assert lending.lend(frame, {}) == 1
    assert "slots" in told[0][0]  # the ring comes first, also when it could not be told of before
    lending.give_back(1)
    frame.release()
    assert shared.ledger.free == 3


def test_another_process_is_told_of_rings_anew_and_a_closed_one_is_forgotten_once(shared):
    told = Told()
    lending = Lending(told)
    frame = captured(shared)
    lending.lend(frame, {})
    lending.give_all_back()
    lending.lend(frame, {})
    assert sum("slots" in words for words, _ in told) == 2
    lending.forget_ring(shared)
    lending.forget_ring(shared)
    assert [words for words, _ in told if "unring" in words] == [{"unring": shared.id}]


def test_whoever_could_not_be_told_that_a_ring_is_closed_is_told_before_the_next_frame(shared):
    told = Told()
    lending = Lending(told)
    frame = captured(shared)
    lending.lend(frame, {})
    told.listens = False
    lending.forget_ring(shared)
    assert lending.lend(frame, {}) is None
    told.listens = True
    told.clear()
    lending.lend(frame, {})
    lending.lend(frame, {})
    assert [next(iter(words)) for words, _ in told] == ["unring", "ring", "job", "job"]
    lending.give_all_back()
    frame.release()


@pytest.mark.parametrize(
    ("fps", "every_s", "frames", "taken"),
    [(5, 0.04, 100, 20), (5, 0.1, 50, 25), (5, 0.3, 20, 20), (10, 0.1, 30, 30), (5, 0.21, 20, 20)],
)
def test_a_pace_takes_as_many_as_it_says_of_each_camera(fps, every_s, frames, taken):
    pace = Pace(fps)
    counted = {"belt": 0, "door": 0}
    for number in range(frames):
        for camera in counted:
            counted[camera] += pace.is_due(camera, number, 7.0 + number * every_s)
    assert all(abs(count - taken) <= 1 for count in counted.values())


def test_a_pace_goes_on_where_a_source_begins_again():
    pace = Pace(5)
    before = [pace.is_due("belt", number, number * 0.04) for number in range(500)]
    after = [pace.is_due("belt", 500 + number, number * 0.04) for number in range(500)]
    assert after == before
    assert sum(after) == pytest.approx(100, abs=1)


def test_a_model_that_answers_late_does_not_hurry_a_pace():
    """Two models see 30 frames a second, one answers every sixth frame, seven frames later."""
    pace, taken, again = Pace(10), 0, 0
    for number in range(300):
        taken += pace.is_due("belt", number, number / 30)
        late = number - 7
        if late >= 0 and late % 6 == 5:
            assert not pace.is_due("belt", late, late / 30)
            again += pace.has_taken("belt", late)
    assert taken == pytest.approx(100, abs=1)
    assert again == pytest.approx(49, abs=1), "every third frame is in the film, and so what a slower model says of it"
