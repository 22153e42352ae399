"""The governor of heat on boards that are not its own model: simulated hours in seconds."""

from dataclasses import replace

import pytest

from edgewright.run.govern.heat import Observation, ThermalLimits, limit_of_trips
from edgewright.run.govern.ladder import Measured, build_ladder
from edgewright.run.govern.thermal import ThermalGovernor
from edgewright.testing.closed_loop import EXAMPLE, Case, govern, oracle
from edgewright.testing.heat_cases import FAULTS, FEASIBLE, TOO_HOT, drawn, missing, stuck
from edgewright.testing.plants import BARE_PI_5, COOLED_PI_5, stepped

LOWEST = len(EXAMPLE.rungs) - 1


def judged(case, seed=0):
    """(run, share of the oracle's work)."""
    best, run = oracle(case), govern(case, seed=seed)
    assert best is not None
    return run, run.work / (best.fps * case.ladder.rungs[best.rung].worth * case.seconds)


@pytest.mark.parametrize("case", FEASIBLE, ids=lambda case: case.name)
def test_stays_below_the_limit_does_the_oracles_work_and_does_not_oscillate(case):
    run, share = judged(case)
    assert run.hottest_c <= case.limits.limit_c + 1
    assert run.reversals() <= 2
    assert share >= 0.97
    assert len(run.events) <= 12


def hardly_anything(case):
    best = oracle(case)
    return best is None or best.heat < 3 * case.limits.lowest_fps * EXAMPLE.rungs[-1].frame_heat


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(4, 200))])
def test_boards_drawn_at_random(seed):
    case = drawn(seed)
    if hardly_anything(case):
        pytest.skip("this board sheds no more heat than a frame a second makes")
    run, share = judged(case, seed)
    assert run.hottest_c <= case.limits.limit_c + 1
    assert run.reversals() <= 2
    assert share >= 0.9


def test_a_cool_board_is_left_alone():
    run = govern(Case("cool", COOLED_PI_5, 1800.0))
    assert run.events == ()
    assert {second.rung for second in run.seconds} == {0}


@pytest.mark.parametrize("case", TOO_HOT, ids=lambda case: case.name)
def test_a_board_too_hot_at_its_lowest_is_said_loudly_within_two_minutes(case):
    run = govern(case)
    crossed_s = next(second.time_s for second in run.seconds if second.die_c > case.limits.limit_c)
    said_s = run.first("infeasible", "error")
    assert said_s is not None
    assert said_s - crossed_s <= 120
    assert {second.rung for second in run.seconds if second.time_s > said_s} == {LOWEST}
    assert "give the board a fan" in next(event.text for _, event in run.events if event.name == "infeasible")


@pytest.mark.parametrize("at_s", [90.0, 1500.0])
@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_sensor_gone_wrong_is_noticed_within_a_minute_and_the_last_safe_heat_held(fault, at_s):
    case = Case(fault, BARE_PI_5, at_s + 900, fault=FAULTS[fault](at_s))
    run = govern(case)
    noticed_s = run.first("sensor", "error")
    assert noticed_s is not None
    assert 0 <= noticed_s - at_s <= 60
    assert run.hottest_c <= case.limits.limit_c + 1
    last = run.seconds[-1]
    if at_s < 120:
        assert last.rung == LOWEST  # nothing was known to be safe yet
    else:
        best = oracle(Case("whole", BARE_PI_5, 2400.0))
        assert last.work >= 0.75 * best.fps * EXAMPLE.rungs[best.rung].worth


def test_what_was_safe_before_the_board_became_too_hot_is_not_gone_back_to():
    case = TOO_HOT[2]  # its readings end beyond what a sensor can say
    run = govern(Case("hot and blind", case.board, 1200.0, fault=missing(1000.0)))
    assert run.first("sensor", "error") == pytest.approx(1016, abs=2)
    assert {second.rung for second in run.seconds if second.time_s > 900} == {LOWEST}
    assert max(second.fps for second in run.seconds if second.time_s > 900) < 1.2


def test_a_vent_that_closed_before_the_sensor_went_is_remembered():
    vent = replace(COOLED_PI_5, blocked=stepped(1.0, 2.6, 600.0))
    run = govern(Case("vent, then blind", vent, 3000.0, fault=missing(1000.0)))
    assert run.hottest_c <= 79


@pytest.mark.parametrize("fault", [missing, stuck])
def test_a_sensor_that_comes_back_is_believed_again(fault):
    run = govern(Case("back", BARE_PI_5, 2400.0, fault=fault(1000.0, 1200.0)))
    said = [(at_s, event.severity) for at_s, event in run.events if event.name == "sensor"]
    assert [severity for _, severity in said] == ["error", "info"]
    assert 1200 < said[1][0] < 1400
    assert run.hottest_c <= 79


def test_single_glitches_and_reads_that_fail_are_no_fault():
    def glitch(time_s, reading):
        return None if int(time_s) % 31 < 3 else 90.0 if int(time_s) % 97 == 0 else reading

    run, share = judged(
        Case("glitches", BARE_PI_5, 2400.0, fault=lambda time_s, reading: glitch(time_s, reading) if time_s > 10 else reading)
    )
    assert run.first("sensor") is None
    assert share >= 0.95
    assert run.hottest_c <= 79


# One observation after the other, by hand.


def steps(governor, count, *, start_s=0.0, temp_c=50.0, **what):
    def reading(second):
        return None if temp_c is None else temp_c + 0.5 * (second % 3 == 0)  # a living sensor

    return [governor.step(Observation(start_s + second, reading(second), **({"fps": 5.0} | what))) for second in range(count)]


def test_a_machine_without_a_sensor_is_not_slowed_down_and_says_so_once():
    decisions = steps(ThermalGovernor(EXAMPLE), 100, temp_c=None)
    assert [decision.event.text for decision in decisions if decision.event] == [
        "no temperature can be read on this machine: heat is not governed"
    ]
    assert decisions[-1].rung == 0
    assert decisions[-1].point.fps_cap is None
    assert decisions[-1].state.temp_c is None


def test_without_a_sensor_the_firmwares_flag_is_heeded():
    governor = ThermalGovernor(EXAMPLE)
    hot = steps(governor, 60, temp_c=None, throttled=True)
    assert hot[-1].rung > 0 or hot[-1].point.fps_cap is not None
    cool = steps(governor, 4000, start_s=60.0, temp_c=None, throttled=False)
    assert cool[-1].rung == 0
    assert cool[-1].point.fps_cap is None


def test_firmware_that_throttles_below_the_limit_lowers_it():
    governor = ThermalGovernor(EXAMPLE)
    steps(governor, 60, temp_c=70.0)
    decisions = steps(governor, 5, start_s=60.0, temp_c=70.0, throttled=True)
    event = next(decision.event for decision in decisions if decision.event)
    assert (event.name, event.severity) == ("throttled", "warning")
    assert decisions[-1].state.limit_c == pytest.approx(68, abs=0.5)


def test_publishes_time_to_throttle_and_sustainable_frames():
    run, states = [], []

    class Told(ThermalGovernor):
        def step(self, seen, **more):
            decision = super().step(seen, **more)
            run.append(seen)
            states.append(decision.state)
            return decision

    case = Case("told", BARE_PI_5, 3000.0)
    govern(case, governor=Told(case.ladder, case.limits))
    best = oracle(case)
    assert states[60].sustainable_fps is None  # too early to say
    assert states[-1].sustainable_fps == pytest.approx(best.fps, rel=0.08)
    assert states[-1].time_to_throttle_s is None  # it is governed
    assert states[150].time_to_throttle_s == pytest.approx(120, rel=0.8)


def test_a_rung_that_the_model_is_wrong_about_is_tried_where_there_is_room():
    """Boards whose fans come on after they have gone down: a model that saw them warm without would never go up again."""
    for seed, least in ((48, 0.97), (172, 0.9)):
        case = drawn(seed)
        run, share = judged(case, seed)
        assert any("so it is tried" in event.text for _, event in run.events)
        assert share >= least
        assert run.hottest_c <= case.limits.limit_c + 1
        assert run.reversals() <= 2


def test_energy_a_frame_where_power_is_read():
    assert steps(ThermalGovernor(EXAMPLE), 60, power_w=6.0)[-1].state.joules_a_frame == pytest.approx(1.2)
    assert steps(ThermalGovernor(EXAMPLE), 60)[-1].state.joules_a_frame is None


def test_memory_can_forbid_the_upper_rungs():
    governor = ThermalGovernor(EXAMPLE)
    smaller = EXAMPLE.first_with_artifact("yolov8n-int8")
    down = governor.step(Observation(0.0, 50.0, 5.0), no_higher_than=smaller)
    assert down.rung == smaller
    assert down.event.text.startswith("down to yolov8n-int8 at 512x512, 3 threads: memory is short")
    assert steps(governor, 900, start_s=1.0)[-1].rung == 0  # and lets them go again


def test_a_ladder_of_one_rung_is_governed_by_frames_alone():
    case = Case("one rung", BARE_PI_5, 2400.0, build_ladder([Measured("only", (640, 640), 4, 150.0, 0.44)]))
    run, share = judged(case)
    assert run.hottest_c <= 79
    assert share >= 0.97


def test_a_cap_holds_for_the_rung_that_really_runs():
    """While the next worker is loaded, the one before still makes its own heat."""
    governor = ThermalGovernor(EXAMPLE)
    smaller = EXAMPLE.first_with_artifact("yolov8n-int8")
    top = EXAMPLE.rungs[0]
    for second in range(600):
        loading = governor.step(Observation(float(second), 76.5 + second % 2 * 0.5, 3.0, 15.0, rung=0), no_higher_than=smaller)
    assert loading.rung >= smaller
    assert loading.point.fps_cap < top.most_fps * 0.9
    loaded = governor.step(Observation(600.0, 76.5, 3.0, 15.0, rung=smaller), no_higher_than=smaller)
    assert loaded.point.fps_cap == pytest.approx(top.most_fps, abs=0.001)


def test_changed_says_when_there_is_something_to_apply():
    decisions = steps(ThermalGovernor(EXAMPLE), 30)
    assert [decision.changed for decision in decisions] == [True] + [False] * 29


def test_time_that_stands_still_or_leaps_does_no_harm():
    governor = ThermalGovernor(EXAMPLE)
    for time_s in (0.0, 0.0, 1.0, 5000.0, 5001.0, 4000.0, 4001.0):
        decision = governor.step(Observation(time_s, 60.0, 5.0, 6.0))
        assert decision.rung == 0


def test_the_limit_of_a_board_with_trip_points():
    assert limit_of_trips((99.0, 104.5)) == 94.0
    assert limit_of_trips(()) is None
    assert ThermalLimits().target_c(0.5) < 78
