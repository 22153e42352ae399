"""A service whose board warms, loses its sensor or runs out of memory: fewer frames, threads and pixels, really."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from edgewright.clock import SystemClock
from edgewright.run.footprints import key_of
from edgewright.run.govern.ladder import Measured, OperatingPoint, build_ladder
from edgewright.run.live import live
from edgewright.run.secrets import Address
from edgewright.run.sensing import Sensing
from edgewright.run.settings import CameraSettings, FileOutput, GovernSettings, ModelSettings, RecordingOutput, ServiceSettings
from edgewright.run.ways import RememberedWays, measured_ways
from edgewright.testing.boards import FakeBoard
from edgewright.testing.plants import BARE_PI_5, Plant, constant
from governed_service import GovernedService, write_film
from tiny_detector import save_tiny_detector

LARGE, SMALL = (320, 320), (160, 160)
# Of the right order for a ladder: what they really take on this machine plays no part in these stories.
WAYS = [
    Measured("large.onnx", LARGE, 2, 40.0, 0.4),
    Measured("large.onnx", LARGE, 1, 60.0, 0.4),
    Measured("small.onnx", SMALL, 1, 15.0, 0.3),
]
FILM_FPS = 20


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return save_tiny_detector(folder / "large.onnx", size=LARGE), save_tiny_detector(folder / "small.onnx", size=SMALL)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write_film(tmp_path_factory.mktemp("film") / "film.avi")


@pytest.fixture(autouse=True)
def _one_examination(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def detector(models, **more):
    large, small = models
    return ModelSettings("parts", large, threads=2, lighter=(small,), **more)


def test_a_hot_board_gets_fewer_frames_fewer_threads_and_smaller_pictures(models, film, tmp_path):
    govern = GovernSettings(lowest_fps=4.0)
    with GovernedService(tmp_path, [detector(models)], film, ways=WAYS, govern=govern, cameras=("belt", "gate")) as governed:
        governed.until(lambda: len(governed.answers) > 30)
        assert {answer[3:5] for answer in governed.answers} == {(2, LARGE)}
        governed.board.set_temperature(83.0)
        governed.until(lambda: any(answer[3:5] == (1, SMALL) for answer in governed.answers))
        governed.turn_for(3.5)
        assert governed.fps(3.0) <= 6.5  # capped at 4, both cameras together, which had 40
        assert governed.fps(3.0) > 1.5
        assert {answer[1] for answer in governed.answers[-12:]} == {"belt", "gate"}
        assert any(answer[5] for answer in governed.answers[-12:])  # and it still sees what there is
        status = governed.service.status()["governor"]
        assert status["rung"] == "small.onnx at 160x160, 1 thread"
        assert 4.0 <= status["fps_cap"] < 5.0
        (down,) = governed.said("governor", "rung")
        assert "fewer than 4 frames a second would be left (mAP50-95 0.400 to 0.300)" in down.text
        assert down.data["from"] == "large.onnx at 320x320, 2 threads"
        assert set(governed.dropped("parts")) <= {"superseded", "no_worker"}
    governed.assert_it_adds_up()


def test_a_sensor_that_goes_is_noticed_and_the_service_goes_on(models, film, tmp_path):
    with GovernedService(tmp_path, [detector(models)], film, ways=WAYS) as governed:
        governed.until(lambda: len(governed.answers) > 5)
        for file in governed.board.files:
            if file.set == "temperature":
                governed.board.take_away(file.path)
        gone_s = time.monotonic()
        governed.until(lambda: governed.said("governor", "sensor", "not to be believed"), within_s=60)
        assert time.monotonic() - gone_s < 60
        assert governed.service.status()["governor"]["faults"]
        before = len(governed.answers)
        governed.until(lambda: len(governed.answers) > before + 3)
    governed.assert_it_adds_up()


def test_a_supply_that_sags_is_told_of_and_is_no_heat(models, film, tmp_path):
    with GovernedService(tmp_path, [detector(models)], film, ways=WAYS, board="rpi4", every_s=0.1) as governed:
        governed.until(lambda: len(governed.answers) > 5)
        governed.board.set_throttled("under-voltage", "throttled")
        governed.until(lambda: governed.said("governor", "board", "the board says: under-voltage"))
        governed.turn_for(1.5)
        status = governed.service.status()["governor"]
        assert (status["flags"], status["limit_c"]) == (["under-voltage"], 78.0)
        assert status["core_share"] < 0.05
        assert not governed.said("governor", "throttled")
    governed.assert_it_adds_up()


def test_memory_that_runs_short_is_given_back_and_taken_again(models, film, tmp_path):
    """The machine's own figures are made up; queues, pauses and artifacts are real."""
    settings = [detector(models), ModelSettings("extra", models[1], threads=1, best_effort=True)]
    with GovernedService(tmp_path, settings, film) as governed:
        governed.until(lambda: {answer[2] for answer in governed.answers} == {"parts", "extra"})
        governed.board.set_available_memory(100 << 20)  # of 8 GiB: dire
        governed.until(lambda: governed.service.workers["extra"].state == "paused")
        assert governed.service.workers["extra"].pid is None
        governed.until(lambda: governed.last("parts")[4] == SMALL)
        governed.until(lambda: governed.dropped("extra")["paused"] > 3)
        assert [each.data["relief"] for each in governed.said("memory", "relief") if "relief" in each.data][:3] == [1, 2, 3]
        assert all("MiB are left in the machine" in each.text for each in governed.said("memory", "relief"))
        assert governed.service.status()["governor"]["relief"] == "smaller_artifact"
        assert governed.service.is_ready
        ring = governed.service.cameras["belt"]._shared
        assert ring.ledger.in_use < ring.ledger.slots
    governed.assert_it_adds_up()


# --- one worker after another -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beside", [True, False])
def test_a_worker_is_followed_by_another_and_every_frame_is_accounted_for(beside, models, film, tmp_path):
    settings, outcomes = detector(models), []
    with GovernedService(tmp_path, [settings], film) as governed:
        governed.service.governor = None
        governed.until(lambda: len(governed.answers) > 5)
        before = governed.service.workers["parts"].pid
        smaller = replace(settings, artifact=models[1], threads=1)
        governed.kept.remember(key_of(smaller), governed.service.workers["parts"].loaded.footprint)  # or there is no knowing that both fit
        assert governed.service.replace(smaller, outcomes.append, beside=beside)
        assert not governed.service.replace(settings, outcomes.append, beside=beside)  # one change at a time
        changed = len(governed.answers)
        governed.until(lambda: outcomes)
        assert (governed.service.workers["parts"].pid, outcomes[0].why) != (before, None)
        assert outcomes[0].why is None
        between = len(governed.answers) - changed
        governed.until(lambda: governed.last("parts")[3:5] == (1, SMALL))
        assert not Path(f"/proc/{before}").exists()
        dropped = governed.dropped("parts")
        assert dropped["worker_lost"] == 0
        if beside:
            assert between > 0  # the one before went on answering
        else:
            assert dropped["no_worker"] > 0
        assert set(governed.service.budget.promises) == {"service", "camera belt", "ring belt", "model parts"}
    governed.assert_it_adds_up()


@pytest.mark.parametrize("beside", [True, False])
def test_a_next_worker_that_is_none_leaves_the_one_before(beside, models, film, tmp_path):
    settings, outcomes = detector(models), []
    wrong = save_tiny_detector(tmp_path / "wrong.onnx", classes=("cat", "dog"), size=SMALL)
    with GovernedService(tmp_path, [settings], film) as governed:
        governed.service.governor = None
        governed.until(lambda: len(governed.answers) > 5)
        other = replace(settings, artifact=wrong)
        governed.kept.remember(key_of(other), governed.service.workers["parts"].loaded.footprint)
        assert governed.service.replace(other, outcomes.append, beside=beside)
        governed.until(lambda: outcomes)
        assert outcomes[0].why == "it knows cat, dog, and the model before it red, green, blue"
        before = len(governed.answers)
        governed.until(lambda: len(governed.answers) > before + 3)
        assert governed.last("parts")[4] == LARGE
        assert set(governed.service.budget.promises) == {"service", "camera belt", "ring belt", "model parts"}
    governed.assert_it_adds_up()


def test_ways_to_run_are_measured_once(models, tmp_path):
    settings = ServiceSettings((detector(models),), (), state=tmp_path)

    def measured():
        return measured_ways(settings, 1 << 30, clock=SystemClock(), every_turn=lambda: None, is_stopped=lambda: False)

    ways = measured()
    assert [(way.artifact, way.size_wh, way.threads) for way in ways] == [
        ("large.onnx", LARGE, 2),
        ("large.onnx", LARGE, 1),
        ("small.onnx", SMALL, 2),
        ("small.onnx", SMALL, 1),
    ]
    assert all(0 < way.ms < 5000 for way in ways)
    assert RememberedWays(tmp_path).recall(settings.models[0]) is not None
    began_s = time.monotonic()
    assert measured() == ways
    assert time.monotonic() - began_s < 0.5  # no process was started
    assert measured_ways(settings, 1 << 30, clock=SystemClock(), every_turn=lambda: None, is_stopped=lambda: True) == ()


def test_a_service_measures_its_ways_and_is_governed_from_its_start_on(models, film, tmp_path):
    board = FakeBoard(tmp_path / "board", "rpi4")
    camera, output = CameraSettings("belt", Address(str(film)), live=True, loop=True), FileOutput("events", folder=tmp_path / "events")
    settings = ServiceSettings((detector(models),), (camera,), outputs=(output,), state=tmp_path / "state", frames=60)
    status = live(settings, is_stopped=lambda: False, quiet=True, sensing=Sensing(board.root, open_sensors=board.sensors))
    governor = status["governor"]
    assert governor["heat_governed"]
    assert governor["rungs"][0] == "large.onnx at 320x320, 2 threads"
    assert governor["faults"] == []
    events = [json.loads(line) for path in (tmp_path / "events").rglob("*.jsonl") for line in path.read_text().splitlines()]
    (said,) = [event for event in events if event["kind"] == "governor" and event["name"] == "ladder"]
    assert [rung["name"] for rung in said["data"]["rungs"]] == governor["rungs"]
    assert not [thread for thread in threading.enumerate() if thread.name == "sensing"]


def test_films_wait_while_nothing_is_to_be_drawn(models, film, tmp_path):
    undrawn = OperatingPoint(drawing=False)
    recording = RecordingOutput("film", folder=tmp_path / "films", fps=20.0)
    with GovernedService(tmp_path, [detector(models)], film, outputs=(recording,)) as governed:
        recorder = governed.service.recorders[0]
        governed.service.governor = None
        governed.until(lambda: recorder.recorded > 3)
        governed.governor._actuator.apply(undrawn)
        governed.turn_for(0.5)
        before = recorder.recorded
        governed.until(lambda: recorder.left_out > 10)
        assert recorder.recorded <= before + 2
        assert recorder.to_json()["paused"]
        governed.governor._actuator.apply(replace(undrawn, drawing=True))
        governed.until(lambda: recorder.recorded > before + 5)


# --- a real control group, a real hog ---------------------------------------------------------------------------------------------------

HOG = """
import pathlib, sys
group, taken = pathlib.Path(sys.argv[1]), []
pathlib.Path("/proc/self/oom_score_adj").write_text("1000")  # should it come to that: this process, and not the tests

def left_share():
    stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    limit = int((group / "memory.limit_in_bytes").read_text())
    return 1 - (int((group / "memory.usage_in_bytes").read_text()) - int(stat["total_inactive_file"])) / limit

for line in sys.stdin:
    while left_share() > float(line):
        taken.append(bytearray(b"x") * (1 << 20))
    print("full", flush=True)
"""
GROUPS = Path("/sys/fs/cgroup/memory")
MIB = 1 << 20


@pytest.fixture
def small_group():
    """A memory cgroup (version 1) that holds this process until the test ends, and what it starts meanwhile."""
    group = GROUPS / f"edgewright-test-{os.getpid()}"
    own = next((line.split(":", 2)[2] for line in Path("/proc/self/cgroup").read_text().splitlines() if ":memory:" in line), None)
    if own is None:
        pytest.skip("no memory cgroup of version 1")
    home = GROUPS / own.strip("/") if (GROUPS / own.strip("/")).is_dir() else GROUPS
    try:
        group.mkdir()
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError as error:
        with suppress(OSError):
            group.rmdir()
        pytest.skip(f"control groups are not ours to make: {error}")
    yield group
    (home / "cgroup.procs").write_text(str(os.getpid()))
    for pid in (group / "cgroup.procs").read_text().split():
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    until_s = time.monotonic() + 20
    while time.monotonic() < until_s:
        with suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.1)


def test_a_hog_beside_the_service_makes_it_step_down_and_it_survives(models, film, tmp_path, small_group, monkeypatch):
    for name, seconds in (("CALM_FOR_S", 3.0), ("NEXT_STEP_AFTER_S", 3.0)):  # a minute is long for a test
        monkeypatch.setattr(f"edgewright.run.govern.pressure.{name}", seconds)
    settings = [detector(models), ModelSettings("extra", models[1], threads=1, best_effort=True)]
    with GovernedService(tmp_path, settings, film, root=Path("/")) as governed:
        governed.until(lambda: {answer[2] for answer in governed.answers} == {"parts", "extra"})
        governed.turn_for(2)
        used = int((small_group / "memory.usage_in_bytes").read_text())
        (small_group / "memory.limit_in_bytes").write_text(str(used + 150 * MIB))
        hog = subprocess.Popen([sys.executable, "-c", HOG, str(small_group)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

        def eat():
            """Down to 6 % of the group's memory."""
            hog.stdin.write("0.06\n")
            hog.stdin.flush()
            assert hog.stdout.readline() == "full\n"

        try:
            eat()
            governed.until(lambda: governed.service.workers["extra"].state == "paused")
            eat()
            governed.until(lambda: governed.last("parts")[4] == SMALL)
            eat()
            before = len(governed.answers)
            governed.until(lambda: len(governed.answers) > before + 20)
            assert hog.poll() is None  # nobody had to be killed
            assert governed.service.workers["parts"].restarts == 0
        finally:
            hog.kill()
            hog.communicate()
        governed.until(lambda: governed.service.workers["extra"].state == "ready" and governed.last("parts")[4] == LARGE)
        governed.until(lambda: governed.service.status()["governor"]["relief"] == "none")
        began_s = governed.said("memory", "relief")[0].time_s
        for event in governed.said("memory", "relief"):
            print(f"{event.time_s - began_s:5.1f} s  {event.text}")
        print(len(governed.answers), "answers, dropped", dict(governed.dropped("parts")), "of best effort", dict(governed.dropped("extra")))
    governed.assert_it_adds_up()


@pytest.mark.soak
def test_a_plant_that_warms_by_what_is_really_answered_stays_below_its_limit(models, film, tmp_path):
    """The governor's plants, warmed in real time by the frames that real workers answer: a board that warms in a minute."""
    board = replace(BARE_PI_5, name="a small board in the sun", board_j_k=8.0, air=constant(38.0))
    ladder = {(rung.point.threads, rung.point.size_wh): rung.frame_heat for rung in build_ladder(WAYS).rungs}
    plant, hottest_c, ways = Plant(board), 0.0, []
    with GovernedService(
        tmp_path, [detector(models)], film, ways=WAYS, govern=GovernSettings(lowest_fps=2.0), cameras=("belt", "gate")
    ) as governed:
        governed.board.set_temperature(plant.reading_c())
        governed.until(lambda: len(governed.answers) > 30)
        for second in range(240):
            before, began_s = len(governed.answers), time.monotonic()
            governed.turn_for(1.0)
            seconds = time.monotonic() - began_s
            plant.run(seconds, sum(ladder[answer[3:5]] for answer in governed.answers[before:]) / seconds)
            governed.board.set_temperature(plant.reading_c())
            hottest_c = max(hottest_c, plant.die_c)
            ways.append((plant.die_c, len(governed.answers) - before, governed.answers[-1][3:5]))
            if second % 20 == 0:
                print(
                    f"{second} s: {plant.die_c:.1f} C, {ways[-1][1]} answers, {ways[-1][2]}, {governed.governor.status()['fps_cap']}",
                    flush=True,
                )
    print(f"hottest {hottest_c:.2f} C; rungs {[each.text for each in governed.said('governor')]}")
    assert hottest_c < 79.0
    assert sum(count for _, count, _ in ways[-30:]) > 60
    assert len(governed.said("governor", "rung")) <= 4
    governed.assert_it_adds_up()
