"""What the governors are told, how a cap is shared, and a board's thread that never stalls the service."""

import math
import threading
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.board.control_group import ControlGroup
from edgewright.board.memory import Memory
from edgewright.board.pressure import Pressure, Stall, Stalls
from edgewright.board.sensors import Reading
from edgewright.board.thermal import Temperature
from edgewright.board.throttle import Throttle
from edgewright.run.acting import FEWEST_FPS, shared
from edgewright.run.governing import Rates, governs_heat, limits_of, memory_seen, observation
from edgewright.run.lateness import WINDOW_S, Lateness
from edgewright.run.sensing import STALE_S, Sensed, Sensing
from edgewright.run.settings import GovernSettings, ModelSettings, ServiceSettings
from edgewright.run.ways import Ran, RememberedWays, artifact_names, governed_model, map50_95_of
from edgewright.testing.boards import FakeBoard

# --- a cap, shared ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cap", "rates", "parts"),
    [
        (None, {"a": 20.0}, {}),
        (5.0, {}, {}),
        (5.0, {"a": 20.0}, {"a": 5.0}),
        (10.0, {"a": 20.0, "b": 20.0}, {"a": 5.0, "b": 5.0}),
        (10.0, {"a": 2.0, "b": 20.0}, {"a": 2.0, "b": 8.0}),
        (10.0, {"a": 2.0, "b": 4.0}, {"a": 4.0, "b": 6.0}),  # what is left over is shared as well
        (0.0, {"a": 2.0}, {"a": FEWEST_FPS}),
    ],
)
def test_a_cap_is_shared(cap, rates, parts):
    assert shared(cap, rates) == pytest.approx(parts)


@settings(deadline=None)  # what a busy machine takes is no fault
@given(st.floats(0.1, 1000), st.dictionaries(st.text("abcdef", min_size=1), st.floats(0, 200), min_size=1, max_size=6))
def test_a_shared_cap_is_used_up_and_no_more_and_is_fair(cap, rates):
    parts = shared(cap, rates)
    assert sum(parts.values()) == pytest.approx(cap, abs=len(rates) * FEWEST_FPS)
    for one, rate in rates.items():
        assert all(parts[one] >= min(rate, parts[other]) - 1e-6 for other in rates)  # none goes short of what another has


# --- what governors are told ------------------------------------------------------------------------------------------------------------

MIB = 1 << 20


def test_rates_are_of_what_was_counted_since():
    rates = Rates()
    assert rates.look({"a": 100}, 1.0) == {"a": 0.0}
    assert rates.look({"a": 120, "b": 5}, 2.0) == {"a": 10.0, "b": 0.0}
    assert rates.of == {"a": 10.0, "b": 0.0}
    assert rates.look({"a": 120, "b": 5}, 1.0) == {"a": 0.0, "b": 0.0}
    assert rates.of["a"] == pytest.approx(7.0)
    assert rates.look({"a": 110, "b": 5}, 1.0) == {"a": 0.0, "b": 0.0}  # a counter that begins anew is none that runs back


def test_the_tighter_of_machine_and_control_group_counts():
    machine, group = Memory(total_bytes=8000 * MIB, available_bytes=2000 * MIB), ControlGroup(1, 400 * MIB, None, 380 * MIB, 10 * MIB)
    stalls = Pressure(Stalls(Stall(12.5, 3.0, 10), Stall(4.0, 1.0, 5)), None, None)
    seen = memory_seen(1.0, 300, Sensed(Reading(1.0, 1.0, memory=machine, control_group=group, pressure=stalls), None))
    assert (seen.available_bytes, seen.total_bytes) == (30 * MIB, 400 * MIB)
    assert (seen.used_bytes, seen.some_percent, seen.full_percent) == (300, 12.5, 4.0)
    alone = memory_seen(1.0, None, Sensed(Reading(1.0, 1.0, memory=machine), None))
    assert (alone.available_bytes, alone.total_bytes, alone.some_percent) == (2000 * MIB, 8000 * MIB, None)
    assert memory_seen(1.0, 5, None).available_bytes is None


def test_what_is_not_read_is_told_as_missing():
    assert observation(1.0, None, 5.0, None, throttled=None, rung=None).temp_c is None
    hot = Reading(1.0, 1.0, zones=(Temperature("cpu-thermal", 70.0),), throttle=Throttle(()))
    seen = observation(1.0, Sensed(hot, 1.5), 5.0, 20.0, throttled=False, rung=2)
    assert (seen.temp_c, seen.throttled, seen.busy_cores, seen.offered_fps, seen.rung) == (70.0, False, 1.5, 20.0, 2)
    assert governs_heat(hot)
    assert not governs_heat(Reading(1.0, 1.0))
    assert not governs_heat(None)


@pytest.mark.parametrize(
    ("asked_c", "passive_c", "limit_c", "slows_c"),
    [(None, None, 78.0, 80.0), (None, 99.0, 94.0, 99.0), (60.0, 99.0, 60.0, 99.0), (70.0, None, 70.0, 72.0)],
)
def test_the_limit_is_the_boards_or_what_was_asked_for(asked_c, passive_c, limit_c, slows_c):
    reading = Reading(1.0, 1.0, zones=(Temperature("cpu", 50.0, passive_c),))
    limits = limits_of(GovernSettings(limit_c=asked_c, lowest_fps=2.0), reading)
    assert (limits.limit_c, limits.slows_c, limits.lowest_fps) == (limit_c, slows_c, 2.0)


# --- why answers came late --------------------------------------------------------------------------------------------------------------


def told(flag_from_s, *, slow_from_s=300.0, seconds=400):
    """What is said, of answers that take 40 ms and 120 from `slow_from_s` on, second by second."""
    lateness, found = Lateness(), []
    for second in range(seconds):
        ages = [120.0 if second >= slow_from_s else 40.0] * 5
        flags = {"under-voltage"} if second >= flag_from_s else set()
        if (said := lateness.look(1e9 + second, ages, flags)) is not None:
            found.append(said)
    return found


def test_a_flag_that_came_before_is_why_answers_came_late():
    (said,) = told(290.0)
    assert [flag.what for flag in said.causes] == ["under-voltage"]
    assert "p99 rose from 40 to 120 ms because of under-voltage at " in said.sentence()


def test_a_flag_that_came_later_is_not_and_a_rise_is_told_once():
    (said,) = told(350.0)
    assert said.causes == ()
    assert told(100.0, slow_from_s=math.inf) == []


def test_a_clock_that_is_set_back_is_no_rise():
    lateness = Lateness()
    for second in (*range(100), *range(-500, -300)):
        assert lateness.look(1e9 + second * WINDOW_S / 5, [40.0] * 5, set()) is None


# --- the thread that reads the board ----------------------------------------------------------------------------------------------------


def test_the_board_is_read_again_and_again_and_costs_little(tmp_path):
    board = FakeBoard(tmp_path, "rpi5")
    board.set_temperature(61.0)
    with Sensing(tmp_path, open_sensors=board.sensors, every_s=0.01) as sensing:
        assert sensing.first(30.0).reading.temp_c == 61.0
        board.set_temperature(72.0)
        until_s = time.monotonic() + 30
        while sensing.last(time.monotonic()).reading.temp_c != 72.0:
            assert time.monotonic() < until_s
            time.sleep(0.01)
        assert sensing.fault(time.monotonic()) is None
    assert sensing.readings > 1
    assert sensing.cost_s / sensing.readings < 0.01  # 1 % of a core, once a second


def test_a_sensor_that_hangs_stalls_nobody(tmp_path):
    """A vcgencmd that never answers: what was read last is soon too old to be believed, and that is said."""
    board, hangs = FakeBoard(tmp_path, "rpi5"), threading.Event()
    with Sensing(tmp_path, open_sensors=board.sensors, every_s=0.01) as sensing:
        read_s = sensing.first(30.0).reading.time_s
        reads = board.vcgencmd
        board.vcgencmd = lambda words: (hangs.wait(30), reads(words))[1]
        later_s = time.monotonic() + STALE_S + 1
        assert read_s < later_s
        assert sensing.last(later_s) is None
        assert sensing.fault(later_s) == "the board's sensors have not answered for a while"
        hangs.set()


def test_sensors_that_cannot_be_opened_are_a_fault(tmp_path):
    def broken():
        raise RuntimeError("secret")

    with Sensing(tmp_path, open_sensors=broken) as sensing:
        assert sensing.first(30.0) is None
        assert sensing.fault(time.monotonic()) == "the board cannot be read: RuntimeError"


# --- ways to run ------------------------------------------------------------------------------------------------------------------------


def test_ways_are_remembered_until_the_model_is_another(tmp_path):
    path = tmp_path / "tiny.onnx"
    path.write_bytes(b"one")
    model = ModelSettings("m", path, threads=2)
    RememberedWays(tmp_path).remember(model, Ran(2, 640, 480, 12.5))
    assert RememberedWays(tmp_path).recall(model) == Ran(2, 640, 480, 12.5)
    assert RememberedWays(tmp_path).recall(replace(model, threads=1)) is None
    path.write_bytes(b"another")
    assert RememberedWays(tmp_path).recall(model) is None


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1}', '{"a": {"threads": 0, "wide": 1, "high": 1, "ms": 1}}', "[" * 100_000])
def test_a_damaged_memory_is_none(tmp_path, content):
    (tmp_path / "ways.json").write_text(content)
    assert RememberedWays(tmp_path)._known == {}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('{"fitted": {"map50_95": 0.41}}', 0.41),
        ('{"fitted": {"map50_95": null}}', None),
        ('{"fitted": {"map50_95": 41}}', None),
        ("[]", None),
    ],
)
def test_accuracy_is_taken_from_the_evidence_beside_an_artifact(tmp_path, content, found):
    (tmp_path / "evidence.json").write_text(content)
    assert map50_95_of(tmp_path) == found
    assert map50_95_of(tmp_path / "nowhere") is None


def test_artifacts_are_called_by_their_folders_where_these_differ(tmp_path):
    assert tuple(artifact_names(ModelSettings("m", tmp_path / "a", lighter=(tmp_path / "b",)))) == ("a", "b")
    twins = ModelSettings("m", tmp_path / "x/a", lighter=(tmp_path / "y/a",))
    assert tuple(artifact_names(twins)) == (f"{tmp_path}/x/a", f"{tmp_path}/y/a")


def test_the_first_model_that_is_not_best_effort_is_governed(tmp_path):
    extra, main = ModelSettings("extra", tmp_path, best_effort=True), ModelSettings("main", tmp_path)
    assert governed_model(ServiceSettings((extra, main), ())) is main
    assert governed_model(ServiceSettings((extra,), ())) is extra
