"""What is counted adds up, and the buckets are those that numpy would fill."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.run.figures import RECENT, CameraFigures, Histogram, PairFigures
from edgewright.run.recent import BOUNDS_S

seconds = st.floats(0, 1000) | st.sampled_from(BOUNDS_S) | st.sampled_from([np.nextafter(b, 1e9) for b in BOUNDS_S])


@settings(deadline=None)
@given(st.lists(seconds, max_size=300))
def test_samples_fall_where_numpy_puts_them(samples):
    histogram = Histogram()
    for sample in samples:
        histogram.add(sample)
    at = np.searchsorted(BOUNDS_S, samples, side="left") if samples else []  # a bound belongs to its bucket, as Prometheus has it
    assert histogram.counts == np.bincount(np.asarray(at, int), minlength=len(BOUNDS_S) + 1).tolist()
    assert histogram.count == len(samples)
    assert histogram.total_s == pytest.approx(sum(samples))


@pytest.mark.parametrize("sample", [-1.0, float("inf"), float("nan"), 1e300])
def test_no_number_breaks_it(sample):
    histogram = Histogram()
    histogram.add(sample)
    assert histogram.count == 1


def test_bounds_rise_from_a_millisecond_to_a_hundred_seconds():
    assert (BOUNDS_S[0], BOUNDS_S[-1]) == (0.001, 100.0)
    assert list(BOUNDS_S) == sorted(set(BOUNDS_S))
    assert np.allclose(np.diff(np.log10(BOUNDS_S)), 1 / 6, atol=1e-3)


def test_quantiles_are_of_the_latest_samples():
    histogram = Histogram()
    assert histogram.quantiles_ms() == {"p50": None, "p90": None, "p99": None}
    for _ in range(1000):
        histogram.add(50.0)
    for at in range(RECENT):
        histogram.add(at / 1e3)
    expected = np.percentile(np.arange(RECENT), [50, 90, 99])
    assert list(histogram.quantiles_ms().values()) == pytest.approx(expected.tolist(), abs=1e-3)
    assert histogram.count == RECENT + 1000


def test_what_came_is_answered_dropped_or_on_the_way():
    figures = CameraFigures(models={"a": PairFigures(), "b": PairFigures()})
    figures.captured_more(10, {"fps_cap": 2, "no_slot": 1})
    figures.captured_more(5, {})
    figures.captured_more(0, {"lost": 1})
    figures.models["a"].answered = 7
    figures.models["b"].dropped["superseded"] = 3
    assert (figures.captured, figures.dropped) == (15, {"fps_cap": 2, "no_slot": 1, "lost": 1})
    assert (figures.on_the_way("a"), figures.on_the_way("b")) == (4, 8)
    said = json.loads(json.dumps(figures.to_json()))
    assert said["models"]["b"]["dropped"] == {"superseded": 3}
    assert said["models"]["a"]["on_the_way"] == 4
