"""Quantiles of what came lately, from two looks at the same buckets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.run.figures import Histogram
from edgewright.run.recent import BOUNDS_S, NOTHING, quantile_s, recent

seconds = st.lists(st.floats(0, 120), max_size=200)


def counted(*samples_s):
    histogram = Histogram()
    for each in samples_s:
        histogram.add(each)
    return histogram.counts


def bucket_of(value_s):
    return int(np.searchsorted(BOUNDS_S, value_s, side="left"))


@settings(deadline=None)
@given(seconds, seconds)
def test_only_what_came_between_two_looks_counts(before, between):
    found = recent(counted(*before, *between), counted(*before))
    assert found == recent(counted(*between))
    assert found.count == len(between)


@settings(deadline=None)
@given(seconds.filter(bool), st.sampled_from([0.0, 0.01, 0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_lies_in_the_bucket_of_the_sample_that_it_is(samples, share):
    found_s = quantile_s(counted(*samples), share)
    true_s = float(np.quantile(samples, share, method="inverted_cdf"))
    assert bucket_of(min(found_s, BOUNDS_S[-1])) in (bucket_of(true_s), bucket_of(true_s) - 1)
    assert 0 <= found_s <= BOUNDS_S[-1]


@settings(deadline=None)
@given(seconds.filter(bool))
def test_quantiles_rise_with_their_share(samples):
    found = [quantile_s(counted(*samples), share) for share in (0, 0.1, 0.5, 0.9, 0.99, 1)]
    assert found == sorted(found)


def test_where_nothing_came_there_is_nothing_to_tell():
    assert recent(counted(), counted()) == recent(counted(0.1, 0.2), counted(0.1, 0.2)) == NOTHING
    assert quantile_s(counted(), 0.5) is None


def test_a_service_that_was_begun_anew_counts_from_its_beginning():
    assert recent(counted(0.1), counted(0.1, 0.1, 5.0)) == recent(counted(0.1))
    assert recent(counted(0.1), None) == recent(counted(0.1), [1, 2]) == recent(counted(0.1))


def test_within_a_bucket_samples_lie_evenly_as_prometheus_has_it():
    assert recent([0, 4, 0], None, (0.1, 0.2)).p50_s == pytest.approx(0.15)
    assert quantile_s([0, 0, 3], 0.5, (0.1, 0.2)) == 0.2, "beyond the last bound no more is known"
