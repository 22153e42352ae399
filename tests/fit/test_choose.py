"""Who wins and what ships: a table of cases for pure rules."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.fit.budget import Budget
from edgewright.fit.choose import ABOUT_AS_FAST, BASELINE, Figures, best_threads, choose, decide, fallback, violated
from edgewright.stats import Interval

FLOAT = Figures(BASELINE, "float32", 0.43, 0.0, 1.0, 50.0, 130.0, 12.8)
CUT = replace(FLOAT, name="float32, head cut", p50_ms=44.0)
INT8 = Figures("int8", "int8", 0.427, -0.3, 0.95, 23.0, 95.0, 3.5)
SAME = Interval(1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("figures", "budget", "expected"),
    [
        (INT8, Budget(max_drop=0.5), ()),
        (INT8, Budget(max_drop=0.3), ()),  # a point estimate that meets the limit exactly keeps it
        (INT8, Budget(max_drop=0.2), ("accuracy",)),
        (INT8, Budget(max_latency_ms=20), ("latency",)),
        (INT8, Budget(max_memory_mib=94), ("memory",)),
        (INT8, Budget(max_size_mb=3), ("size",)),
        (INT8, Budget(max_drop=0, max_latency_ms=1, max_memory_mib=1, max_size_mb=1), ("accuracy", "latency", "memory", "size")),
    ],
)
def test_names_the_constraints_a_candidate_breaks(figures, budget, expected):
    assert violated(figures, budget) == expected


@pytest.mark.parametrize(
    ("candidates", "budget", "winner"),
    [
        pytest.param([FLOAT, CUT, INT8], Budget(), "int8", id="the fastest within the budget"),
        pytest.param([FLOAT, CUT, INT8], Budget(max_drop=0.1), "float32, head cut", id="float when INT8 loses too much"),
        pytest.param([FLOAT, CUT, replace(INT8, p50_ms=60.0)], Budget(), "float32, head cut", id="float when INT8 is slower"),
        pytest.param(
            [FLOAT, INT8, replace(INT8, name="better", p50_ms=23.0 * ABOUT_AS_FAST, agreement=0.97)],
            Budget(),
            "better",
            id="agreement among equals",
        ),
        pytest.param(
            [FLOAT, INT8, replace(INT8, name="better", p50_ms=23.1 * ABOUT_AS_FAST, agreement=0.97)],
            Budget(),
            "int8",
            id="not if it is slower",
        ),
        pytest.param(
            [FLOAT, replace(INT8, disagreement=0.06), replace(INT8, name="closer", p50_ms=23.5, agreement=0.9, disagreement=0.04)],
            Budget(),
            "closer",
            id="disagreement among equals, whatever agreement says",
        ),
        pytest.param(
            [FLOAT, INT8, replace(INT8, name="closer", p50_ms=23.5, agreement=0.9, disagreement=0.04)],
            Budget(),
            "int8",
            id="agreement where disagreement is not known of all",
        ),
        pytest.param([FLOAT, CUT, INT8], Budget(max_latency_ms=10), "int8", id="the nearest when none is within"),
        pytest.param([FLOAT, CUT, INT8], Budget(max_size_mb=5, max_drop=0.1), "int8", id="the nearest breaks least"),
    ],
)
def test_chooses(candidates, budget, winner):
    assert choose(candidates, budget).name == winner


def test_falls_back_to_the_fastest_float_within_the_budget():
    assert fallback([FLOAT, CUT, INT8], Budget()) == CUT
    assert fallback([FLOAT, CUT, INT8], Budget(max_latency_ms=30)) is None


figures = st.builds(
    Figures,
    name=st.text(min_size=1, max_size=8),
    precision=st.sampled_from(["float32", "int8"]),
    map50_95=st.floats(0, 1),
    delta_points=st.floats(-50, 5),
    agreement=st.floats(0, 1),
    p50_ms=st.floats(0.1, 500),
    peak_mib=st.floats(10, 2000),
    size_mb=st.floats(0.1, 300),
)
budgets = st.builds(Budget, st.floats(0, 10), st.none() | st.floats(1, 300), st.none() | st.floats(20, 1000), st.none() | st.floats(1, 100))


@given(st.lists(figures, min_size=1, max_size=8), budgets)
def test_a_winner_breaks_the_budget_only_if_every_candidate_does(candidates, budget):
    winner = choose(candidates, budget)
    assert winner in candidates
    assert not violated(winner, budget) or all(violated(each, budget) for each in candidates)


@given(st.lists(figures, min_size=1, max_size=8), budgets)
def test_the_choice_does_not_depend_on_who_asks(candidates, budget):
    assert choose(candidates, budget) == choose(list(candidates), budget)


@pytest.mark.parametrize(
    ("winner", "delta", "budget", "verdict", "binding", "proven"),
    [
        (INT8, Interval(-0.3, -0.9, 0.2), Budget(1.0), "ship", (), True),
        (INT8, Interval(-0.3, -1.5, 0.2), Budget(1.0), "ship", (), False),  # the estimate decides, the interval is told
        (INT8, Interval(-0.3, -1.0, 0.2), Budget(1.0), "ship", (), False),  # at the limit is not above it
        (replace(INT8, delta_points=-43.0), Interval(-43.0, -49.0, -40.0), Budget(1.5), "refuse", ("accuracy",), False),
        (INT8, Interval(-0.3, -0.9, 0.2), Budget(1.0, max_latency_ms=20), "refuse", ("latency",), True),
    ],
)
def test_decides(winner, delta, budget, verdict, binding, proven):
    decision = decide(winner, delta, Interval(2.1, 2.0, 2.2), budget)
    assert (decision.verdict, decision.binding, decision.accuracy_proven) == (verdict, binding, proven)
    assert f"{delta.estimate:+.2f} points" in decision.reason


def test_says_so_when_the_model_as_given_is_best():
    decision = decide(FLOAT, Interval(0.0, 0.0, 0.0), SAME, Budget(1.0))
    assert decision.verdict == "ship"
    assert "as given" in decision.reason


def test_a_refusal_names_the_figure_and_the_limit():
    decision = decide(INT8, Interval(-0.3, -0.9, 0.2), SAME, Budget(1.0, max_latency_ms=20))
    assert "23.0 ms of 20 ms" in decision.reason


def test_what_was_not_measured_makes_a_verdict_provisional_and_proves_nothing():
    delta = Interval(-0.1, -0.2, 0.0)
    measured = decide(INT8, delta, SAME, Budget(max_drop=1.0))
    assumed = decide(INT8, delta, SAME, Budget(max_drop=1.0), assumed=("nothing was measured on rpi5",))
    assert (measured.verdict, measured.accuracy_proven) == ("ship", True)
    assert (assumed.verdict, assumed.accuracy_proven) == ("provisional", False)
    assert assumed.reason.endswith("provisional, because nothing was measured on rpi5")
    lossy = replace(INT8, delta_points=-3.0)
    assert decide(lossy, Interval(-3, -4, -2), SAME, Budget(max_drop=1.0), assumed=("x",)).verdict == "refuse"


@pytest.mark.parametrize(
    ("p50_ms", "threads"),
    [
        ({1: 40.0, 2: 22.0}, 2),
        ({1: 40.0, 2: 22.0, 4: 21.5}, 2),
        ({1: 20.0, 2: 21.0}, 1),
        ({3: 10.0}, 3),
    ],
)
def test_the_fewest_threads_that_are_about_as_fast_are_asked_for(p50_ms, threads):
    assert best_threads(p50_ms) == threads
