"""What each change bought and cost, and the front without and with the changes: pure rules over figures."""

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.fit.choose import BASELINE, Figures
from edgewright.fit.recovered import RecoveredStage, front, recovery_story

FLOAT = Figures(BASELINE, "float32", 0.43, 0.0, 1.0, 50.0, 130.0, 12.8)
INT8 = replace(FLOAT, name="int8", precision="int8", delta_points=-0.4, p50_ms=20.0)
SLOW = replace(INT8, name="int8, float stem", delta_points=-0.2, p50_ms=24.0)


def of(source, precision, points, p50_ms, name=None):
    return replace(FLOAT, name=name or f"{source}: {precision}", precision=precision, delta_points=points, p50_ms=p50_ms)


SWAPPED, SWAPPED_INT8 = of("swap", "float32", -0.5, 45.0), of("swap", "int8", -0.9, 14.0)
SLOWER_INT8 = of("swap", "int8", -0.7, 15.0, name="swap: int8, zero points")
PRUNED, PRUNED_INT8 = of("swap+prune=0.4", "float32", -1.2, 30.0), of("swap+prune=0.4", "int8", -1.61234, 9.12345)
SOURCES = {each.name: each.name.partition(": ")[0] for each in (SWAPPED, SWAPPED_INT8, SLOWER_INT8, PRUNED, PRUNED_INT8)} | {"int8": ""}
STAGES = [RecoveredStage("swap", {"change": "swap", "steps": 100}), RecoveredStage("swap+prune=0.4", {"change": "prune=0.4", "steps": 90})]
RANKING = [FLOAT, SLOW, INT8, SWAPPED, SLOWER_INT8, SWAPPED_INT8, PRUNED, PRUNED_INT8]


def test_nothing_taught_is_no_story():
    assert recovery_story([], [FLOAT, INT8], {}) is None


def test_a_change_tells_what_it_bought_and_cost():
    rows = recovery_story(STAGES, RANKING, SOURCES)["stages"]

    assert rows == [
        {
            "source": "swap",
            "change": "swap",
            "steps": 100,
            "float_delta_points": -0.5,
            "fastest": "swap: int8",
            "p50_ms": 14.0,
            "speedup": 3.571,
            "delta_points": -0.9,
            "bought_ms": 6.0,
        },
        {
            "source": "swap+prune=0.4",
            "change": "prune=0.4",
            "steps": 90,
            "float_delta_points": -1.2,
            "fastest": "swap+prune=0.4: int8",
            "p50_ms": 9.12345,
            "speedup": 5.48,
            "delta_points": -1.612,
            "bought_ms": 4.877,
        },
    ]


def test_the_fronts_are_named_fastest_first():
    story = recovery_story(STAGES, RANKING, SOURCES)

    assert story["front"] == {
        "without": ["int8", "int8, float stem", "baseline"],
        "with": ["swap+prune=0.4: int8", "swap: int8", "swap: int8, zero points", "int8", "int8, float stem", "baseline"],
    }


def test_a_change_without_candidates_says_so_and_the_next_is_held_against_the_one_before():
    rows = recovery_story(STAGES, [FLOAT, INT8, PRUNED_INT8], SOURCES)["stages"]

    asked = ("float_delta_points", "fastest", "p50_ms", "speedup", "delta_points", "bought_ms")
    assert [rows[0][key] for key in asked] == [None] * 6
    assert rows[1]["float_delta_points"] is None
    assert rows[1]["bought_ms"] == pytest.approx(20.0 - 9.12345, abs=1e-3), "against the given network's, which was the last there was"


def test_without_integers_of_the_given_network_nothing_was_bought_from_it():
    rows = recovery_story(STAGES, [FLOAT, SWAPPED_INT8, PRUNED_INT8], SOURCES)["stages"]

    assert [row["bought_ms"] for row in rows] == [None, 4.877]


def test_a_change_that_made_it_slower_bought_less_than_nothing():
    slow = of("swap", "int8", -0.9, 23.5)

    assert recovery_story(STAGES[:1], [FLOAT, INT8, slow], SOURCES)["stages"][0]["bought_ms"] == -3.5


@pytest.mark.parametrize(
    ("figures", "best"),
    [
        ([], []),
        ([FLOAT], ["baseline"]),
        ([FLOAT, INT8], ["int8", "baseline"]),
        ([FLOAT, replace(INT8, delta_points=0.1)], ["int8"]),
        ([INT8, replace(INT8, name="as fast and better", delta_points=-0.1)], ["as fast and better"]),
        ([INT8, replace(INT8, name="as good and slower", p50_ms=21.0)], ["int8"]),
    ],
    ids=["none", "one", "two", "beaten in both", "as fast", "as good"],
)
def test_the_front_has_those_that_no_other_beats(figures, best):
    for order in permutations(figures):
        assert [each.name for each in front(order)] == best


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(-9, 0)), max_size=12))
def test_whoever_is_not_on_the_front_is_beaten_by_one_that_is(places):
    figures = [replace(INT8, name=str(at), p50_ms=float(p50), delta_points=float(points)) for at, (p50, points) in enumerate(places)]
    best = front(figures)

    assert [each.p50_ms for each in best] == sorted({each.p50_ms for each in best})
    assert [each.delta_points for each in best] == sorted({each.delta_points for each in best})
    for each in figures:
        assert any(other.p50_ms <= each.p50_ms and other.delta_points >= each.delta_points for other in best)
