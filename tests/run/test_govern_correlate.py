"""Why did answers come late? The sentence, and above all: when there is none."""

from datetime import UTC

import pytest

from edgewright.run.govern.correlate import Flag, Point, explain, find_rise

START = 1_800_000_000.0 - 1_800_000_000.0 % 86400 + 13 * 3600 + 50 * 60  # 13:50
CAUSE = START + 13 * 60 + 5  # 14:03:05


def timeline(*levels, every_s=10.0):
    """Points ten seconds apart: (how many, ms), one level after the other."""
    points, time_s = [], START
    for count, ms in levels:
        for at in range(count):
            time_s += every_s
            points.append(Point(time_s, ms + (at % 3 - 1) * 0.5))
    return points


LATE = timeline((78, 41.0), (30, 97.0))  # the first late window ends at 14:03:10
UNDER_VOLTAGE = Flag("under-voltage", CAUSE)


def test_says_what_happened_and_when():
    found = explain(LATE, [UNDER_VOLTAGE])
    assert found is not None
    assert found.sentence(zone=UTC) == "p99 rose from 41 to 97 ms because of under-voltage at 14:03"


def test_several_causes_are_named_in_order_and_each_kind_once():
    flags = [Flag("memory pressure", CAUSE + 2), UNDER_VOLTAGE, Flag("under-voltage", CAUSE + 1)]
    found = explain(LATE, flags)
    assert found.sentence("the age of answers", UTC) == (
        "the age of answers rose from 41 to 97 ms because of under-voltage at 14:03 and memory pressure at 14:03"
    )


@pytest.mark.parametrize(
    "flag",
    [
        Flag("after the rise", CAUSE + 5),
        Flag("long after", CAUSE + 60),
        Flag("long before, without effect", CAUSE - 120),
        Flag("over before the window began", CAUSE - 25, CAUSE - 10),
    ],
)
def test_what_did_not_cause_it_is_not_blamed(flag):
    found = explain(LATE, [flag])
    assert found.causes == ()
    assert found.sentence(zone=UTC) == "p99 rose from 41 to 97 ms at 14:03; nothing that the board says of itself explains it"


@pytest.mark.parametrize(
    ("levels", "rises"),
    [
        ([(100, 41.0)], False),  # nothing
        ([(50, 41.0), (1, 200.0), (50, 41.0)], False),  # one late answer
        ([(50, 41.0), (50, 45.0)], False),  # within what is usual
        ([(50, 3.0), (50, 6.0)], False),  # twice as much, of nothing
        ([(50, 97.0), (50, 41.0)], False),  # it fell
        ([(3, 41.0), (50, 97.0)], False),  # too short a time before to know
        ([(50, 41.0), (50, 97.0)], True),
        ([(50, 41.0), (20, 97.0), (50, 41.0)], True),  # and fell again
    ],
)
def test_what_is_a_rise(levels, rises):
    assert (find_rise(timeline(*levels)) is not None) == rises


def test_the_last_of_two_rises_is_explained():
    points = timeline((50, 41.0), (20, 90.0), (100, 41.0), (30, 120.0))
    found = explain(points, [Flag("throttling", points[50].time_s - 3), Flag("memory pressure", points[170].time_s - 3)])
    assert [flag.what for flag in found.causes] == ["memory pressure"]
    assert found.rise.after_ms == pytest.approx(120, abs=1)


def test_a_cause_that_came_and_went_within_the_first_late_window_counts():
    assert explain(LATE, [Flag("under-voltage", CAUSE, CAUSE + 2)]).causes != ()


def test_points_out_of_order_and_impossible_ones_are_left_out():
    bad = [Point(START, 41.0), Point(START - 50, 900.0), Point(START + 1, float("nan")), Point(float("inf"), 5.0), Point(START + 2, -3.0)]
    assert explain(bad, []) is None
    assert explain([*bad[:3], *LATE], [UNDER_VOLTAGE]).causes == (UNDER_VOLTAGE,)
