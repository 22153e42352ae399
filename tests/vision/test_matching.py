"""The cheapest matching is the one that trying everything finds."""

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from edgewright.vision.matching import assign, iou, least_sum


def boxes(*rows):
    return np.array(rows, np.float32).reshape(-1, 4)


@pytest.mark.parametrize(
    ("a", "b", "overlap"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1),
        ((0, 0, 10, 10), (0, 0, 10, 5), 1 / 2),
        ((0, 0, 10, 10), (5, 0, 15, 10), 1 / 3),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0),
        ((0, 0, 10, 10), (30, 30, 40, 40), 0),
        ((5, 5, 5, 5), (5, 5, 5, 5), 0),  # no area
        ((9, 9, 1, 1), (0, 0, 10, 10), 0),  # corners the wrong way round
    ],
)
def test_overlaps(a, b, overlap):
    assert iou(boxes(a), boxes(b)) == pytest.approx(overlap)
    assert iou(boxes(b), boxes(a)) == pytest.approx(overlap)


def test_every_box_with_every_other():
    assert iou(boxes((0, 0, 4, 4), (0, 0, 4, 2)), boxes((0, 0, 4, 4), (9, 9, 10, 10), (0, 0, 2, 4))).tolist() == [
        [1, 0, 0.5],
        [0.5, 0, 1 / 3],
    ]
    assert iou(boxes(), boxes((0, 0, 1, 1))).shape == (0, 1)
    assert iou(boxes((0, 0, 1, 1)), boxes()).shape == (1, 0)


def most_saved(costs, below):
    """What the best of all one-to-one matchings, whole or in part, saves."""
    high, wide = costs.shape
    return max(
        sum(below - costs[row, column] if -np.inf < costs[row, column] < below else 0 for row, column in zip(rows, columns, strict=True))
        for count in range(min(high, wide) + 1)
        for rows in combinations(range(high), count)
        for columns in permutations(range(wide), count)
    )


SHAPES = array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=5)
FEW = st.integers(-3, 6).map(float)  # ties are frequent
COSTS = FEW | st.sampled_from([np.inf, -np.inf, np.nan])


@given(arrays(np.float64, SHAPES, elements=COSTS), st.integers(-4, 8))
@settings(deadline=None, max_examples=300)
def test_saves_what_trying_everything_saves(costs, below):
    rows, columns = assign(costs, below=below)
    assert len(set(rows.tolist())) == len(set(columns.tolist())) == len(rows)
    assert rows.tolist() == sorted(rows.tolist())
    assert (costs[rows, columns] < below).all()
    assert (below - costs[rows, columns]).sum() == most_saved(costs, below)


@given(arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.floats(-1e6, 1e6) | FEW))
@settings(deadline=None, max_examples=200)
def test_every_row_of_a_wide_matrix_has_the_column_that_makes_the_sum_least(costs):
    costs = costs if costs.shape[0] <= costs.shape[1] else costs.T
    columns = least_sum(costs)
    assert len(set(columns.tolist())) == len(costs)
    least = min(costs[range(len(costs)), list(chosen)].sum() for chosen in permutations(range(costs.shape[1]), len(costs)))
    assert costs[range(len(costs)), columns].sum() == pytest.approx(least, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_of_nobody_nobody_is_paired(shape):
    rows, columns = assign(np.zeros(shape), below=1)
    assert rows.tolist() == columns.tolist() == []


def test_a_pair_at_the_limit_is_not_made():
    costs = np.array([[0.8]])
    assert assign(costs, below=0.8)[0].tolist() == []
    assert assign(costs, below=0.81)[0].tolist() == [0]


def test_a_dear_pair_gives_way_to_two_cheap_ones_and_one_cheap_pair_to_none():
    assert [at.tolist() for at in assign(np.array([[0.1, 0.2], [0.2, 0.9]]), below=0.5)] == [[0, 1], [1, 0]]
    # 0.0 alone saves more than twice 0.45 would.
    assert [at.tolist() for at in assign(np.array([[0.0, 0.45], [0.45, 0.9]]), below=0.5)] == [[0], [0]]


@pytest.mark.parametrize(("high", "wide"), [(60, 60), (40, 90), (90, 40)])
def test_large_matrices_are_matched_whole_and_no_swap_of_two_would_be_cheaper(high, wide):
    costs = np.random.default_rng(0).random((high, wide))
    rows, columns = assign(costs, below=10)
    assert len(rows) == min(high, wide)
    now, swapped = costs[rows, columns], costs[np.ix_(rows, columns)]
    assert (swapped + swapped.T >= now[:, None] + now[None, :] - 1e-9).all()
