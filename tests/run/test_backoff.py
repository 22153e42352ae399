"""Tried again soon at first, ever later while it does not help, soon again after a calm while."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.run.backoff import Backoff


def test_pauses_double_up_to_the_most():
    backoff = Backoff()
    assert [backoff.failed(0.0) for _ in range(8)] == [1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize(("worked_s", "pause_s"), [(0.0, 4), (59.9, 4), (60.0, 1), (1e6, 1)])
def test_only_a_calm_while_makes_forget(worked_s, pause_s):
    backoff = Backoff()
    backoff.failed(0.0)
    backoff.failed(1.0)
    backoff.works(10.0)
    backoff.works(10.0 + worked_s / 2)  # said again and again: the first time counts
    assert backoff.failed(10.0 + worked_s) == pause_s


def test_a_calm_while_counts_once():
    backoff = Backoff()
    backoff.works(0.0)
    assert [backoff.failed(100.0), backoff.failed(300.0), backoff.failed(500.0)] == [1, 2, 4]  # it did not work in between


@settings(deadline=None)
@given(st.lists(st.sampled_from(["failed", "works"]), max_size=200), st.floats(0.01, 10), st.floats(10, 100))
def test_a_pause_is_never_shorter_than_the_first_nor_longer_than_the_most(steps, first_s, most_s):
    backoff = Backoff(first_s, most_s)
    for at, step in enumerate(steps):
        if step == "works":
            backoff.works(float(at))
        else:
            assert first_s <= backoff.failed(float(at)) <= most_s


def test_ten_thousand_failures_are_no_overflow():
    backoff = Backoff(failures=10_000)
    assert backoff.failed(0.0) == 30
