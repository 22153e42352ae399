"""The critical point is where brute force finds it, with few trials, and never claims what was not tried."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.doctor.critical import gallop, halve
from edgewright.errors import InputError


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(0, 320))
def test_both_searches_find_what_brute_force_finds(most, truth):
    asked = []

    def fits(step):
        asked.append(step)
        return step <= truth

    expected = max((step for step in range(1, most + 1) if step <= truth), default=0)
    for found, cost in ((gallop(most, fits), 2 * math.log2(most) + 3), (halve(most, fits), math.log2(most) + 2)):
        assert found.fits == expected
        assert found.fails == (None if truth >= most else expected + 1)
        assert found.trials <= cost
    assert all(1 <= step <= most for step in asked)


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(0, 320))
def test_galloping_never_asks_for_more_than_twice_what_fits(most, truth):
    asked = []
    gallop(most, lambda step: asked.append(step) or step <= truth)
    assert max(asked) <= max(1, 2 * truth)


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(0, 2**201 - 1))
def test_where_trials_contradict_each_other_the_answer_was_still_seen(most, chance):
    for search in (gallop, halve):
        seen = {}

        def fits(step, seen=seen):
            seen[step] = bool(chance >> step & 1)
            return seen[step]

        found = search(most, fits)
        assert found.fits == 0 or seen[found.fits]
        assert found.fails is None or not seen[found.fails]
        assert found.fails in (None, found.fits + 1)
        assert found.trials == len(seen)


@settings(deadline=None)
@given(st.integers(2, 200), st.integers(0, 199))
def test_what_is_known_to_fail_is_not_tried_again(most, truth):
    asked = []
    found = halve(most, lambda step: asked.append(step) or step <= truth, fails=most)
    assert most not in asked
    assert found.fits == min(truth, most - 1)
    assert found.fails == found.fits + 1


def test_nothing_to_try():
    with pytest.raises(InputError, match="0 steps"):
        gallop(0, lambda _step: True)
