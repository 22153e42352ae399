"""Statements about samples: what an interval holds, and what does not disturb it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.stats import Interval, Latency, interval_of, mean_step, paired_ratio, resample_counts, units_to_settle

SAMPLES = st.lists(st.floats(0.01, 1e4), min_size=1, max_size=50)


@given(SAMPLES)
def test_quantiles_are_in_order_and_within_the_samples(samples):
    latency = Latency.of(samples)
    assert min(samples) - 1e-3 <= latency.p50 <= latency.p90 <= latency.p99 <= max(samples) + 1e-3


def test_quantiles_are_numpy_s():
    assert Latency.of(range(101)) == Latency(50.0, 90.0, 99.0)
    assert Latency.of([7.0]).to_json() == {"p50": 7.0, "p90": 7.0, "p99": 7.0}


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=200))
def test_an_interval_lies_within_its_replicates(values):
    found = interval_of(0.5, np.array(values))
    assert found.estimate == 0.5
    assert min(values) <= found.low <= found.high <= max(values)


def test_the_interval_holds_ninety_five_of_a_hundred_replicates():
    found = interval_of(0.0, np.arange(10_001, dtype=float))
    assert (found.low, found.high) == pytest.approx((250, 9750))


def test_replicates_that_are_nan_do_not_count():
    assert interval_of(1.0, np.array([1.0, np.nan, 1.0])) == Interval(1.0, 1.0, 1.0)
    assert interval_of(1.0, np.array([np.nan])) == Interval(1.0, float("-inf"), float("inf"))


def test_an_interval_changes_its_unit_and_is_printed():
    found = Interval(0.01234, -0.02, 0.03).scaled(100)
    assert str(found) == "1.23 [-2.00, 3.00]"
    assert found.to_json() == {"estimate": 1.234, "low": -2.0, "high": 3.0}


# --- ratios of what was timed in turn ---------------------------------------------------------------------------------------------------


def rounds(median_ms, count=12, *, seed=0, spread=0.02):
    rng = np.random.default_rng(seed)
    return [(median_ms * (1 + spread * rng.standard_normal(9))).tolist() for _ in range(count)]


def test_the_ratio_says_how_many_times_longer_the_first_takes():
    found = paired_ratio(rounds(20.0), rounds(10.0, seed=1))
    assert found.estimate == pytest.approx(2.0, rel=0.02)
    assert found.low <= found.estimate <= found.high
    assert found.high - found.low < 0.1


def test_a_round_in_which_the_whole_machine_was_slow_changes_nothing():
    a, b = rounds(20.0), rounds(10.0, seed=1)
    slow = [[ms * 7 for ms in block] if at in (3, 8) else block for at, block in enumerate(a)]
    slow_too = [[ms * 7 for ms in block] if at in (3, 8) else block for at, block in enumerate(b)]
    undisturbed, disturbed = paired_ratio(a, b), paired_ratio(slow, slow_too)
    assert (disturbed.estimate, disturbed.low, disturbed.high) == pytest.approx((undisturbed.estimate, undisturbed.low, undisturbed.high))


def test_a_round_in_which_one_model_was_slow_hardly_moves_the_estimate():
    a, b = rounds(20.0), rounds(10.0, seed=1)
    a[4] = [ms * 30 for ms in a[4]]
    found = paired_ratio(a, b)
    assert found.estimate == pytest.approx(2.0, rel=0.02)
    assert found.high < 2.2, "nor the interval"


def test_a_single_slow_run_hardly_moves_the_estimate():
    a, b = rounds(20.0), rounds(10.0, seed=1)
    for block in a:
        block[0] *= 50
    assert paired_ratio(a, b).estimate == pytest.approx(2.0, rel=0.03)


@given(st.lists(st.lists(st.floats(0.1, 100), min_size=1, max_size=5), min_size=1, max_size=12))
def test_a_model_against_itself_is_one_with_no_width(blocks):
    assert paired_ratio(blocks, blocks) == Interval(1.0, 1.0, 1.0)


def test_the_same_seed_gives_the_same_interval_and_rounds_must_pair():
    a, b = rounds(20.0), rounds(10.0, seed=1)
    assert paired_ratio(a, b, seed=5) == paired_ratio(a, b, seed=5)
    with pytest.raises(ValueError, match="shorter"):
        paired_ratio(a, b[1:])


# --- resampling -------------------------------------------------------------------------------------------------------------------------


@given(st.integers(1, 60), st.integers(0, 99))
def test_every_replicate_draws_as_many_as_there_are(units, seed):
    counts = resample_counts(units, seed=seed, resamples=20)
    assert counts.shape == (20, units)
    assert (counts.sum(axis=1) == units).all()
    assert (counts >= 0).all()
    assert np.array_equal(counts, resample_counts(units, seed=seed, resamples=20))


@pytest.mark.parametrize(
    ("interval", "bar", "units", "expected"),
    [
        (Interval(0.0, -1.0, 1.0), -1.0, 100, 100),  # already touches
        (Interval(0.0, -2.0, 2.0), -1.0, 100, 400),  # half the width needs four times the sample
        (Interval(-0.5, -1.5, 0.5), -1.0, 100, 400),
        (Interval(0.0, -0.1, 0.1), -1.0, 100, 100),  # settled: never fewer than there are
        (Interval(-1.0, -2.0, 0.0), -1.0, 100, None),  # on the bar
        (Interval(-2.0, -3.0, -1.0), -1.0, 100, None),  # below it: no sample settles that
        (Interval(0.0, float("-inf"), float("inf")), -1.0, 100, None),
        (Interval(0.0, 0.0, 0.0), -1.0, 7, 7),
    ],
)
def test_how_many_units_would_settle_it(interval, bar, units, expected):
    assert units_to_settle(interval, bar, units) == expected


def test_a_steady_rise_is_a_slope_and_its_interval_is_narrow():
    found = mean_step([100.0 + 4 * at for at in range(30)])
    assert (found.estimate, found.low, found.high) == (4.0, 4.0, 4.0)


def test_one_late_step_is_no_slope():
    assert mean_step([0.0] * 20 + [1000.0] * 10).low <= 0


def test_noise_round_a_level_is_no_slope_and_a_slope_shows_through_noise():
    noise = np.random.default_rng(3).normal(0, 2, 60)
    level = mean_step(list(noise))
    assert level.low < 0 < level.high
    assert mean_step(list(noise + 10 * np.arange(60))).low > 0
