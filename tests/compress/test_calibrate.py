"""Ranges are read in bounded memory and agree with what a naive look at all values says."""

import math
import weakref
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgewright.compress.calibrate import (
    BINS,
    TensorStatistics,
    entropy,
    kl_divergence,
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
    for rule in (min_max, least_squares, entropy, lambda s: percentile(s, inside=0.999)):
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


def _divergence_by_loops(counts, low, high, levels):
    """Migacz's slides, line by line."""
    reference = [float(count) for count in counts[low:high]]
    reference[0] += counts[:low].sum()
    reference[-1] += counts[high:].sum()
    candidate = []
    bounds = [level * (high - low) // levels for level in range(levels + 1)]
    for begin, end in pairwise(bounds):
        held = counts[low + begin : low + end]
        occupied = sum(count > 0 for count in held)
        candidate += [held.sum() / occupied if count else 0.0 for count in held]
    pairs = [(p, max(q, 1e-4)) for p, q in zip(reference, candidate, strict=True) if p]
    all_p, all_q = sum(p for p, _ in pairs), sum(q for _, q in pairs)
    return sum(p / all_p * math.log((p / all_p) / (q / all_q)) for p, q in pairs)


@given(arrays(np.int64, 96, elements=st.integers(0, 50)), st.integers(0, 30), st.integers(60, 96), st.sampled_from([4, 7, 16]))
def test_divergence_is_what_the_slides_say(counts, low, high, levels):
    counts[[low, high - 1]] = 1
    assert kl_divergence(counts, low, high, levels) == pytest.approx(_divergence_by_loops(counts, low, high, levels), abs=1e-9)


def test_entropy_finds_what_a_search_over_both_ends_finds():
    rng = np.random.default_rng(3)
    found = np.concatenate([rng.exponential(1, 60_000), -rng.exponential(0.2, 8_000), rng.uniform(10, 30, 12)]).astype(np.float32)
    stats = _seen(*np.array_split(found, 4))
    low, high = entropy(stats)
    assert 5 < high < 25
    width, zero = 2 * stats.reach / BINS, BINS // 2
    first, last = np.flatnonzero(stats.counts)[[0, -1]]
    shares = np.linspace(0.1, 1.0, 31)
    pairs = [(round(zero - a * (zero - first)), round(zero + b * (last + 1 - zero))) for a in shares for b in shares]
    best = min(kl_divergence(stats.counts, a, b, 256) for a, b in pairs if b - a >= 256)
    ours = kl_divergence(stats.counts, zero + round(low / width), zero + round(high / width), 256)
    # How bins fall into levels makes the divergence ragged: a fifth is the next grid point.
    assert ours <= best * 1.25
    assert ours < kl_divergence(stats.counts, first, last + 1, 256)


def test_entropy_takes_all_of_what_has_fewer_bins_than_levels():
    assert entropy(_seen([0.5, -1.0, 0.51])) == min_max(_seen([-1.0, 0.51]))
    assert entropy(TensorStatistics()) == (np.inf, -np.inf)


def test_channels_have_extremes_of_their_own_where_a_tensor_is_a_picture():
    rng = np.random.default_rng(0)
    pictures = [rng.normal(0, 1, (1, 5, 4, 3)).astype(np.float32) * [[[[1]], [[9]], [[0]], [[2]], [[1]]]] for _ in range(3)]
    stats = _seen(*pictures)
    everything = np.concatenate(pictures).astype(np.float32)
    assert np.array_equal(stats.channel_low, everything.min(axis=(0, 2, 3)))
    assert np.array_equal(stats.channel_high, everything.max(axis=(0, 2, 3)))
    assert min_max(stats) == (everything.min(), everything.max())
    assert _seen(np.zeros((1, 7, 3))).channel_low is None


def test_what_is_not_finite_is_left_out():
    stats = _seen([1.0, np.inf, -np.inf, np.nan, -3.0], [np.nan])
    assert min_max(stats) == (-3, 1)
    assert stats.counts.sum() == 2


def test_observes_every_tensor_of_a_real_graph_one_picture_at_a_time(tmp_path):
    path = save_tiny_detector(tmp_path / "tiny.onnx")
    rng = np.random.default_rng(0)
    feeds = [{"images": rng.random((1, 3, 64, 64), np.float32)} for _ in range(3)]
    found = observe(path, feeds, lambda p: open_engine("onnxruntime", p, threads=1), tmp_path / "scratch.onnx")
    assert min_max(found["images"]) == (min(f["images"].min() for f in feeds), max(f["images"].max() for f in feeds))
    assert set(found) > {output.name for output in build_tiny_detector().graph.output}
    assert not (tmp_path / "scratch.onnx").exists()


def test_pictures_are_let_go_one_after_the_other(tmp_path):
    path = save_tiny_detector(tmp_path / "tiny.onnx")
    given, alive = [], []

    def feeds():
        for _ in range(12):
            picture = np.zeros((1, 3, 64, 64), np.float32)
            given.append(weakref.ref(picture))
            yield {"images": picture}
            del picture
            alive.append(sum(each() is not None for each in given))

    found = observe(path, feeds(), lambda p: open_engine("onnxruntime", p, threads=1), tmp_path / "scratch.onnx")
    assert len(alive) == 12
    assert max(alive) <= 1
    assert all(stats.counts.size == BINS for stats in found.values())


def test_statistics_survive_the_disk(tmp_path):
    before = {"a": _seen([1.0, -2.0]), "p": _seen(np.ones((1, 2, 3, 3))), "b": _seen([1e6]), "q": _seen(np.zeros((1, 1, 2, 2)))}
    save_statistics(before, tmp_path / "s.npz")
    after = load_statistics(tmp_path / "s.npz")
    assert after.keys() == before.keys()
    for name, stats in before.items():
        assert min_max(after[name]) == min_max(stats)
        assert np.array_equal(after[name].counts, stats.counts)
        assert _or_none(after[name].channel_high) == _or_none(stats.channel_high)
        assert _or_none(after[name].channel_low) == _or_none(stats.channel_low)


def _or_none(extremes):
    return None if extremes is None else extremes.tolist()


@pytest.mark.parametrize("reach", [1e-6, 1.0, 3e4])
def test_growing_keeps_every_count_in_a_bin_that_holds_its_value(reach):
    stats = _seen(np.full(100, reach / 3), [reach])
    at = np.flatnonzero(stats.counts)
    width = 2 * stats.reach / BINS
    assert np.isclose(stats.centres[at[0]], reach / 3, atol=width)
    assert stats.counts[at[0]] == 100
