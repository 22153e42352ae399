"""Readings that are believed, and those that are not."""

import math

import pytest

from edgewright.run.govern.sensor_check import SensorCheck


def feed(check, readings, *, start_s=0.0, heat=0.5, near_limit=True, expected_c=60.0):
    return [
        check.see(start_s + at, reading, heat, expected_c=expected_c, alone_c=math.nan, near_limit=near_limit)
        for at, reading in enumerate(readings)
    ]


def lively(count, around=60.0):
    return [around + (0.5 if at % 3 else 0.0) for at in range(count)]


def first_fault(seen):
    return next((at for at, each in enumerate(seen) if each.fault), None)


@pytest.mark.parametrize(
    ("bad", "within", "says"),
    [
        ([None] * 60, 17, "cannot be read"),
        ([-0.062] * 60, 4, "-0.1 °C is not a temperature"),
        ([-256.0] * 60, 4, "is not a temperature"),
        ([240.0] * 60, 4, "is not a temperature"),
        ([20.0] * 60, 7, "at once"),
        ([60.0, 75.0, 50.0, 71.0, 48.0, 69.0] * 10, 10, "jumped 4 times"),
        ([60.5] * 60, 59, "whatever the work was"),
    ],
)
def test_what_is_wrong_is_noticed_and_said(bad, within, says):
    check = SensorCheck()
    assert first_fault(feed(check, lively(200))) is None
    seen = feed(check, bad, start_s=200.0)
    at = first_fault(seen)
    assert at is not None
    assert at <= within
    assert says in seen[at].fault
    assert all(each.temp_c is None for each in seen[at:])


@pytest.mark.parametrize(
    "readings",
    [
        lively(400),
        [float("nan"), None, None, *lively(100)],  # slow to start
        lively(50) + [None] * 10 + lively(50),
        [*lively(50), -1.0, *lively(50), 200.0, *lively(50)],  # single nonsense
        [*lively(50), 95.0, *lively(50)],  # a single leap
        [60 + at / 3 for at in range(120)],  # warming fast
        [*lively(50), 65.0, 69.0, 72.0, 74.0, 75.0, *lively(50, 75.0)],  # a bare die under a step
    ],
)
def test_what_boards_do_is_believed(readings):
    assert first_fault(feed(SensorCheck(), readings)) is None


def test_nonsense_is_never_handed_on():
    seen = feed(SensorCheck(), [*lively(50), 95.0, -1.0, float("inf"), *lively(50)])
    assert {each.temp_c for each in seen} == {60.0, 60.5, None}


def test_jumps_are_no_fault_while_the_work_jumps():
    check = SensorCheck()
    for at in range(120):
        heat = 1.0 if at % 4 < 2 else 0.0
        seen = check.see(float(at), 60.0 + 8 * heat, heat, expected_c=60.0, alone_c=math.nan, near_limit=True)
        assert seen.fault is None


def test_a_steady_coarse_sensor_is_probed_and_believed_when_it_answers():
    check = SensorCheck()
    seen = feed(check, [60.0] * 40)
    assert seen[-1].suspect
    assert seen[-1].fault is None
    assert not feed(check, [59.0] * 30, start_s=40.0)[-1].suspect
    later = feed(check, [59.0] * 30, start_s=70.0)
    assert not any(each.suspect for each in later[:9])  # and not asked again so soon


def test_a_coarse_sensor_far_from_the_limit_is_left_in_peace():
    assert not any(each.suspect for each in feed(SensorCheck(), [45.0] * 290, near_limit=False))


def test_what_the_model_cannot_explain_is_probed_sooner():
    check = SensorCheck()
    seen = [check.see(float(at), 50.0, 1.0, expected_c=50.0, alone_c=50.0 + at / 3, near_limit=False) for at in range(25)]
    assert seen[-1].suspect


def test_a_machine_that_never_had_a_sensor_has_no_fault():
    check = SensorCheck()
    assert first_fault(feed(check, [None] * 100)) is None
    assert check.never_read


@pytest.mark.parametrize("near_limit", [True, False])
@pytest.mark.parametrize("bad", [[None] * 40, [-256.0] * 10, [60.0, 75.0, 50.0, 71.0, 48.0, 69.0] * 3, [None] * 8 + [90.0] * 3])
def test_a_steady_coarse_sensor_is_believed_again_without_a_move(bad, near_limit):
    """While it is not, the work is held: a board in balance, and a sensor of whole degrees, have no reason to."""
    check = SensorCheck()
    feed(check, lively(100) + bad, near_limit=near_limit)
    assert check.fault
    seen = feed(check, [60.0] * 100, start_s=100.0 + len(bad), near_limit=near_limit)
    assert all(each.fault for each in seen[:55])
    assert seen[-1].fault is None
    assert seen[-1].temp_c == 60.0


def test_what_goes_wrong_within_a_probe_is_not_taken_for_standing_still():
    check = SensorCheck()
    assert feed(check, [60.0] * 40)[-1].suspect
    feed(check, [None] * 8 + [90.0] * 40, start_s=40.0)
    assert "at once" in check.fault
    assert feed(check, [60.0] * 100, start_s=88.0)[-1].fault is None


def test_one_that_stood_still_has_to_move():
    check = SensorCheck()
    feed(check, lively(100) + [60.0] * 60)
    assert check.fault
    assert feed(check, [60.0] * 300, start_s=160.0)[-1].fault
    assert feed(check, lively(70), start_s=460.0)[-1].fault is None


def test_believed_again_after_a_good_minute_near_what_the_model_says():
    check = SensorCheck()
    feed(check, lively(100) + [None] * 40)
    assert check.fault
    assert feed(check, lively(55), start_s=140.0)[-1].temp_c is None
    assert feed(check, lively(20), start_s=195.0)[-1].fault is None
    feed(check, [None] * 40, start_s=215.0)
    assert feed(check, lively(200, 20.0), start_s=255.0)[-1].fault  # lively, but not where the board is
