"""A service whose board warms, loses its sensor or runs out of memory: it really answers fewer frames, with fewer threads, smaller pictures."""

import time

import pytest

from edgewright.run.govern.ladder import Measured
from edgewright.run.settings import GovernSettings, ModelSettings
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
    with GovernedService(tmp_path, [detector(models)], film, ways=WAYS, govern=govern, cameras=("belt", "gate")) as live:
        live.until(lambda: len(live.answers) > 30)
        assert {answer[3:5] for answer in live.answers} == {(2, LARGE)}
        live.board.set_temperature(84.0)
        live.until(lambda: any(answer[3:5] == (1, SMALL) for answer in live.answers))
        live.turn_for(4)
        assert live.fps(3.0) <= 6.5  # capped at 4, both cameras together, which had 40
        assert live.fps(3.0) > 1.5
        assert {answer[1] for answer in live.answers[-12:]} == {"belt", "gate"}
        assert any(answer[5] for answer in live.answers[-12:])  # and it still sees what there is
        status = live.service.status()["governor"]
        assert status["rung"] == "small.onnx at 160x160, 1 thread"
        assert status["fps_cap"] == 4.0
        (down,) = live.said("governor", "rung")
        assert "fewer than 4 frames a second would be left (mAP50-95 0.400 to 0.300)" in down.text
        assert down.data["from"] == "large.onnx at 320x320, 2 threads"
        assert set(live.dropped("parts")) <= {"superseded", "no_worker"}
        live.board.set_temperature(45.0)
        live.until(lambda: live.service.status()["governor"]["fps_cap"] != 4.0)
    live.assert_it_adds_up()


def test_a_sensor_that_goes_is_noticed_and_the_service_goes_on(models, film, tmp_path):
    with GovernedService(tmp_path, [detector(models)], film, ways=WAYS) as live:
        live.until(lambda: len(live.answers) > 5)
        for file in live.board.files:
            if file.set == "temperature":
                live.board.take_away(file.path)
        gone_s = time.monotonic()
        live.until(lambda: live.said("governor", "sensor", "not to be believed"), within_s=60)
        assert time.monotonic() - gone_s < 60
        assert live.service.status()["governor"]["faults"]
        before = len(live.answers)
        live.until(lambda: len(live.answers) > before + 3)
    live.assert_it_adds_up()


def test_memory_that_runs_short_is_given_back_and_taken_again(models, film, tmp_path):
    """The machine's own figures are made up; queues, pauses and artifacts are real."""
    settings = [detector(models), ModelSettings("extra", models[1], threads=1, best_effort=True)]
    with GovernedService(tmp_path, settings, film) as live:
        live.until(lambda: {answer[2] for answer in live.answers} == {"parts", "extra"})
        live.board.set_available_memory(100 << 20)  # of 8 GiB: dire
        live.until(lambda: live.service.workers["extra"].state == "paused")
        assert live.service.workers["extra"].pid is None
        live.until(lambda: live.answers[-1][4] == SMALL)
        live.until(lambda: live.dropped("extra")["paused"] > 3)
        assert [each.data["relief"] for each in live.said("memory", "relief") if "relief" in each.data][:3] == [1, 2, 3]
        assert all("MiB are left in the machine" in each.text for each in live.said("memory", "relief"))
        assert live.service.status()["governor"]["relief"] == "smaller_artifact"
        assert live.service.is_ready
        ring = live.service.cameras["belt"]._shared
        assert ring.ledger.in_use < ring.ledger.slots
    live.assert_it_adds_up()
