"""Ranges are read in bounded memory and agree with what a naive look at all values says."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgewright.compress.calibrate import (
    BINS,
    TensorStatistics,
    least_squares,
    load_statistics,
    min_max,
    observe,
    percentile,
    save_statistics,
)
from edgewright.engines import open_engine
from tiny_detector import build_tiny_detector, save_tiny_detector

values = arrays(np.float32, st.integers(1, 400), elements=st.floats(-1e4, 1e4, width=32))


def _seen(*batches):
    stats = TensorStatistics()
    for batch in batches:
        stats.add(np.asarray(batch, np.float32))
    return stats


@given(st.lists(values, min_size=1, max_size=4))
def test_extremes_and_counts_are_those_of_all_values(batches):
    stats = _seen(*batches)
    everything = np.concatenate(batches)
    assert min_max(stats) == (everything.min(), everything.max())
    assert stats.counts.sum() == everything.size
    assert stats.counts.size == BINS
    assert stats.reach > max(abs(everything.min()), abs(everything.max()))


# The smallest float32 there is, beside a large one: scaled in single precision it would underflow into the next bin.
@example([np.array([-1e-45], np.float32), np.array([9e3], np.float32)])
@given(st.lists(values, min_size=2, max_size=4))
def test_the_order_of_pictures_changes_nothing(batches):
    forwards, backwards = _seen(*batches), _seen(*batches[::-1])
    assert min_max(forwards) == min_max(backwards)
    assert np.array_equal(forwards.counts, backwards.counts)


@given(values)
def test_every_rule_stays_inside_what_was_seen_and_zero(found):
    stats = _seen(found)
    low, high = min(float(found.min()), 0.0), max(float(found.max()), 0.0)
    for rule in (min_max, least_squares, lambda s: percentile(s, inside=0.999)):
        a, b = rule(stats)
        assert low - 1e-6 <= a <= b + 1e-6
        assert b <= high + 1e-6


def test_percentile_leaves_out_what_is_rare():
    found = np.concatenate([np.linspace(-1, 1, 200_001, dtype=np.float32), [500.0]])
    assert min_max(_seen(found))[1] == 500
    assert percentile(_seen(*np.array_split(found, 8)), inside=0.999)[1] < 2


def test_least_squares_finds_what_a_naive_search_finds():
    rng = np.random.default_rng(0)
    found = np.concatenate([rng.normal(0, 1, 50_000), rng.normal(0, 12, 40)]).astype(np.float32)
    stats = _seen(*np.array_split(found, 5))

    def error(low, high):
        step = (high - low) / 255
        encoded = np.round((np.clip(found, low, high) - low) / step) * step + low
        return float(((found - encoded) ** 2).mean())

    shares = np.linspace(0.1, 1.0, 46)
    best = min(error(found.min() * a, found.max() * b) for a in shares for b in shares)
    assert error(*least_squares(stats)) < best * 1.05
    assert error(*least_squares(stats)) < error(*min_max(stats))


def test_observes_every_tensor_of_a_real_graph_one_picture_at_a_time(tmp_path):
    path = save_tiny_detector(tmp_path / "tiny.onnx")
    rng = np.random.default_rng(0)
    feeds = [{"images": rng.random((1, 3, 64, 64), np.float32)} for _ in range(3)]
    found = observe(path, feeds, lambda p: open_engine("onnxruntime", p, threads=1), tmp_path / "scratch.onnx")
    assert min_max(found["images"]) == (min(f["images"].min() for f in feeds), max(f["images"].max() for f in feeds))
    assert set(found) > {output.name for output in build_tiny_detector().graph.output}
    assert not (tmp_path / "scratch.onnx").exists()


def test_statistics_survive_the_disk(tmp_path):
    before = {"a": _seen([1.0, -2.0]), "b": _seen([1e6])}
    save_statistics(before, tmp_path / "s.npz")
    after = load_statistics(tmp_path / "s.npz")
    assert after.keys() == before.keys()
    for name, stats in before.items():
        assert min_max(after[name]) == min_max(stats)
        assert np.array_equal(after[name].counts, stats.counts)


@pytest.mark.parametrize("reach", [1e-6, 1.0, 3e4])
def test_growing_keeps_every_count_in_a_bin_that_holds_its_value(reach):
    stats = _seen(np.full(100, reach / 3), [reach])
    at = np.flatnonzero(stats.counts)
    width = 2 * stats.reach / BINS
    assert np.isclose(stats.centres[at[0]], reach / 3, atol=width)
    assert stats.counts[at[0]] == 100
