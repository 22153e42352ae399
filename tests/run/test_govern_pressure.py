"""Memory runs short: what is given up, in which order, and when it comes back."""

import pytest

from edgewright.run.govern.pressure import CALM, MemoryGovernor, MemoryLimits, MemorySeen, Relief
from edgewright.run.memory import MIB, Alarm

BUDGET = MemoryLimits(budget_bytes=1000 * MIB)


def feed(governor, start_s, seconds, **what):
    """A second at a time; the decisions."""
    return [governor.step(MemorySeen(start_s + second, **what)) for second in range(seconds)]


def steps(decisions):
    return [decision.relief for decision in decisions if decision.changed]


def test_gives_up_one_thing_after_the_other_while_memory_is_short():
    decisions = feed(MemoryGovernor(BUDGET), 0, 60, used_bytes=920 * MIB)
    assert steps(decisions) == [Relief.SHORT_QUEUES, Relief.BEST_EFFORT_PAUSED, Relief.SMALLER_ARTIFACT]
    said = [decision.event.text for decision in decisions if decision.event]
    assert said[0] == "queues are kept short, because 920 of 1000 MiB of the budget are taken"


def test_one_short_second_is_none():
    governor = MemoryGovernor(BUDGET)
    assert steps(feed(governor, 0, 1, used_bytes=920 * MIB) + feed(governor, 1, 30, used_bytes=700 * MIB)) == []


def test_dire_is_answered_at_once():
    decisions = feed(MemoryGovernor(), 0, 10, some_percent=40.0, full_percent=12.0)
    assert decisions[0].relief == Relief.SHORT_QUEUES
    assert decisions[6].relief == Relief.SMALLER_ARTIFACT


def test_says_so_when_there_is_nothing_left_to_give_up():
    decisions = feed(MemoryGovernor(BUDGET), 0, 60, used_bytes=990 * MIB)
    errors = [decision.event for decision in decisions if decision.event and decision.event.severity == "error"]
    assert len(errors) == 1
    assert "nothing left to give up" in errors[0].text


def test_takes_back_one_by_one_after_calm_minutes():
    governor = MemoryGovernor(BUDGET)
    feed(governor, 0, 40, used_bytes=920 * MIB)
    calm = feed(governor, 40, 200, used_bytes=600 * MIB)
    assert steps(calm) == [Relief.BEST_EFFORT_PAUSED, Relief.SHORT_QUEUES, Relief.NONE]
    assert [at for at, decision in enumerate(calm) if decision.changed] == [60, 120, 180]


def test_between_calm_and_short_nothing_changes():
    governor = MemoryGovernor(BUDGET)
    feed(governor, 0, 5, used_bytes=920 * MIB)
    assert steps(feed(governor, 5, 600, used_bytes=870 * MIB)) == []


def test_a_hog_that_comes_and_goes_does_not_make_the_service_dance():
    governor, changes, time_s = MemoryGovernor(BUDGET), 0, 0
    for _ in range(30):  # 75 s of calm, 15 s of a hog: 45 minutes
        changes += len(steps(feed(governor, time_s, 75, used_bytes=700 * MIB)))
        changes += len(steps(feed(governor, time_s + 75, 15, used_bytes=930 * MIB)))
        time_s += 90
    assert changes <= 8


@pytest.mark.parametrize(
    ("what", "relief"),
    [
        ({}, Relief.NONE),  # nothing to be read
        ({"available_bytes": 300 * MIB, "total_bytes": 4000 * MIB}, Relief.SHORT_QUEUES),
        ({"available_bytes": 100 * MIB, "total_bytes": 4000 * MIB}, Relief.BEST_EFFORT_PAUSED),
        ({"some_percent": 15.0}, Relief.SHORT_QUEUES),
        ({"some_percent": 1.0, "available_bytes": 100 * MIB, "total_bytes": 4000 * MIB}, Relief.BEST_EFFORT_PAUSED),  # the worst decides
        ({"some_percent": 5.0, "full_percent": 0.5}, Relief.NONE),
        ({"used_bytes": 5000 * MIB}, Relief.NONE),  # no budget
    ],
)
def test_each_witness_counts_and_none_is_needed(what, relief):
    assert feed(MemoryGovernor(), 0, 6, **what)[-1].relief == relief


def test_without_a_smaller_artifact_the_last_step_is_the_pause():
    decisions = feed(MemoryGovernor(BUDGET, most=Relief.BEST_EFFORT_PAUSED), 0, 120, used_bytes=920 * MIB)
    assert decisions[-1].relief == Relief.BEST_EFFORT_PAUSED


def test_the_first_step_down_and_the_alarm_begin_at_the_same_share():
    for share in range(80, 100):
        governor = MemoryGovernor(BUDGET)
        assert (steps(feed(governor, 0, 8, used_bytes=share * 10 * MIB)) != []) == bool(Alarm().look(share, 100))
        assert governor._judge(MemorySeen(9, used_bytes=share * 10 * MIB)).level == CALM or Alarm(is_on=True).look(share, 100) is None
