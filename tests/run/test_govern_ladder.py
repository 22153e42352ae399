"""Ladders: what is a rung, what it costs, and which is best for the heat there is."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.errors import InputError
from edgewright.run.govern.ladder import UNKNOWN_WORTH, Measured, build_ladder

LARGE = Measured("s", (640, 640), 4, 100.0, 0.40)


def ladder(*more, drawing_ms=0.0):
    return build_ladder([LARGE, *more], drawing_ms=drawing_ms)


def test_the_top_rung_at_work_without_a_pause_is_heat_one():
    for made in (ladder(), ladder(drawing_ms=20.0), build_ladder([Measured("s", (640, 640), 4, 100.0, 0.4, joules=0.9)], drawing_ms=20.0)):
        assert made.rungs[0].frame_heat * made.rungs[0].most_fps == pytest.approx(1)
    assert ladder().heat_a_core * 4 == pytest.approx(1)


def test_rungs_come_in_order_threads_then_size_then_artifact_then_drawing():
    made = ladder(
        Measured("n", (640, 640), 3, 35.0, 0.33),
        Measured("s", (480, 480), 3, 70.0, 0.36),
        Measured("s", (640, 640), 3, 120.0, 0.40),
        drawing_ms=10.0,
    )
    says = [(rung.point.artifact, rung.point.size_wh, rung.point.threads, rung.point.drawing) for rung in made.rungs]
    assert says == [
        ("s", (640, 640), 4, True),
        ("s", (640, 640), 3, True),
        ("s", (480, 480), 3, True),
        ("n", (640, 640), 3, True),
        ("n", (640, 640), 3, False),
    ]
    assert made.first_with_artifact("n") == 3
    with pytest.raises(InputError, match=r"expected one of n, s"):
        made.first_with_artifact("m")


def test_what_is_no_cooler_is_no_rung():
    assert len(ladder(Measured("s", (640, 640), 2, 199.0, 0.40)).rungs) == 1


def test_fewer_threads_are_worth_the_same_and_an_unknown_map_is_worth_half():
    made = ladder(Measured("s", (640, 640), 2, 150.0), Measured("n", (640, 640), 2, 50.0, None))
    assert [rung.worth for rung in made.rungs] == [1.0, 1.0, UNKNOWN_WORTH]


def test_the_best_rung_goes_down_as_heat_does():
    made = ladder(Measured("s", (640, 640), 3, 110.0, 0.40), Measured("s", (320, 320), 3, 30.0, 0.30))
    best = [made.best(heat, 10.0) for heat in (2.0, 1.0, 0.85, 0.7, 0.3, 0.05)]
    assert best[0] == best[1] == 0
    assert best == sorted(best)
    assert best[-1] == 2


def test_joules_go_before_core_seconds():
    hot = Measured("s", (320, 320), 4, 50.0, 0.3, joules=0.95)
    assert len(build_ladder([Measured("s", (640, 640), 4, 100.0, 0.4, joules=0.96), hot]).rungs) == 1
    assert len(ladder(hot).rungs) == 2  # one has no joules: core-seconds it is


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Measured("s", (640, 640), 4, 0.0), "cannot have run"),
        (Measured("s", (640, 640), 0, 10.0), "cannot have run"),
        (Measured("s", (0, 640), 4, 10.0), "cannot have run"),
        (Measured("s", (640, 640), 4, float("nan")), "cannot have run"),
        (Measured("s", (640, 640), 4, 10.0, 43.0), "impossible mAP"),
        (Measured("s", (640, 640), 4, 10.0, 0.4, joules=-1.0), "impossible energy"),
    ],
)
def test_what_cannot_have_been_measured_is_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        build_ladder([wrong])


def test_nothing_measured_is_refused():
    with pytest.raises(InputError, match="at least one"):
        build_ladder([])


MEASURED = st.builds(
    Measured,
    st.sampled_from("smn"),
    st.sampled_from([(640, 640), (512, 512), (320, 320)]),
    st.integers(1, 8),
    st.floats(1, 2000),
    st.none() | st.floats(0, 1),
    st.none() | st.floats(0.01, 50),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(MEASURED, min_size=1, max_size=12), st.floats(0, 100), st.floats(0, 2), st.floats(0.1, 60))
def test_every_ladder_cools_downwards_and_keeps_within_the_heat(measured, drawing_ms, heat, wanted_fps):
    made = build_ladder(measured, drawing_ms=drawing_ms)
    heats = [rung.frame_heat for rung in made.rungs]
    assert all(above > below for above, below in pairwise(heats))
    assert all(rung.worth >= 0 for rung in made.rungs)
    rung = made.rungs[made.best(heat, wanted_fps)]
    assert rung.fps_for(heat, wanted_fps) * rung.frame_heat <= heat * (1 + 1e-9)
