"""Live services and what breaks around them: cameras, workers, disks, brokers, clocks, memory, and they themselves.

Every story is about the real command. What decides is what a factory would see: it goes on, it says what happened and why, it counts what
was lost, and it leaves nothing behind.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from broker import Listener, broker_in
from camera_bench import CameraBench
from fault_proxy import FaultProxy
from live_service import WITHIN_S, LiveService, assert_it_adds_up, starved, toml_of, write_blinking_clip
from scenarios.moved_clock import MovedClock
from tiny_detector import save_tiny_detector
from webhook_server import WebhookServer, hang

VIDEO = "car-detection.mp4"
SMALL, SMALLER = (320, 180), (160, 92)
ANSWERS = {"answers": {"kind": "jsonl", "records": ["answers", "events"]}}
pytestmark = pytest.mark.timeout(900)  # on a machine that has time each takes seconds
ENDS_WITHIN_S = 5.0  # on a machine that has time for it


def end(service):
    """It is told to stop, ends in time, and every frame is accounted for."""
    took_s = service.stop()
    assert took_s < ENDS_WITHIN_S * starved()
    assert service.exit_code == 0
    assert service.processes() == []
    assert_it_adds_up(service.status)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_detector(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def blinking(tmp_path_factory):
    """A film that plays a camera: a red square that comes and goes, five times in two seconds."""
    return write_blinking_clip(tmp_path_factory.mktemp("clip") / "blinking.avi")


@pytest.fixture
def bench(test_data):
    with CameraBench(test_data) as cameras:
        yield cameras


def as_camera(clip):
    return {"source": clip, "live": True, "loop": True}


def tiny(model, **more):
    return {"tiny": {"artifact": model, "threads": 1, **more}}


def frames_are_answered(service, camera, count=3):
    """Waits until so many more frames of a camera are answered, by what its output holds."""
    before = sum(answer["camera"] == camera for answer in service.answers())
    service.wait_until(lambda: sum(answer["camera"] == camera for answer in service.answers()) >= before + count)


def only_child(service, kind):
    (pid,) = service.wait_until(lambda: service.children()[kind])
    return pid


# --- cameras ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["mjpeg", "rtsp"])
def test_cameras_are_killed_hang_and_garble_and_come_back_while_another_goes_on(scheme, bench, model, tmp_path):
    cameras = {name: getattr(bench, scheme)(VIDEO, SMALL) for name in ("steady", "killed", "hung", "garbled")}
    tables = {name: {"source": camera.url, "stall": "1 s"} for name, camera in cameras.items()}
    with LiveService(tmp_path, models=tiny(model), cameras=tables, outputs=ANSWERS) as service:
        for name in cameras:
            service.wait_for("camera", name, "frames come")
        cameras["killed"].kill()
        cameras["hung"].fault("hang")
        cameras["garbled"].fault("bitflip", 3e-3)
        lost = {name: service.wait_for("camera", name, "trying again in") for name in ("killed", "hung")}
        assert {event["severity"] for event in lost.values()} == {"warning"}
        cameras["garbled"].fault("truncate", 0.7)
        frames_are_answered(service, "steady", 5)
        cameras["killed"].restart()
        for name in ("hung", "garbled"):
            cameras[name].fault("pass")
        for name, event in lost.items():
            back = service.wait_for("camera", name, "frames come again after", since=event["number"])
            assert back["data"]["down_s"] > 0
        for name in cameras:
            frames_are_answered(service, name)
        end(service)
        assert service.status["cameras"]["steady"]["restarts"] == 0
        assert service.status["cameras"]["killed"]["restarts"] >= 1


@pytest.mark.parametrize("scheme", ["mjpeg", "rtsp"])
def test_a_camera_that_changes_the_size_of_its_picture_goes_on(scheme, bench, model, tmp_path):
    camera = getattr(bench, scheme)(VIDEO, SMALL)
    camera.prepare(SMALLER)
    with LiveService(tmp_path, models=tiny(model), cameras={"belt": {"source": camera.url, "stall": "1 s"}}, outputs=ANSWERS) as service:
        service.wait_for("camera", "belt", "frames come")
        frames_are_answered(service, "belt")
        camera.change_size(SMALLER)
        lost = service.wait_for("camera", "belt", "its picture has another size now")
        service.wait_for("camera", "belt", "the picture is 160 x 92 pixels now")
        service.wait_for("camera", "belt", "frames come again", since=lost["number"])
        frames_are_answered(service, "belt")
        assert service.answers()[-1]["source_wh"] == list(SMALLER)
        end(service)
        assert service.status["cameras"]["belt"]["restarts"] == 1


def test_a_film_is_answered_frame_by_frame(blinking, model, tmp_path):
    with LiveService(tmp_path, models=tiny(model), cameras={"film": {"source": blinking}}, outputs=ANSWERS) as service:
        assert service.wait() == 0
        assert service.status["cameras"]["film"]["captured"] == 80
        assert_it_adds_up(service.status)
        assert [answer["frame"] for answer in service.answers()] == list(range(80))
        assert [answer["classes"] for answer in service.answers()] == [["red"] if number // 4 % 2 == 0 else [] for number in range(80)]


def test_the_film_of_a_film_is_as_long_as_it_is(blinking, model, tmp_path):
    outputs = {"films": {"kind": "recording", "fps": 20}}
    with LiveService(tmp_path, models=tiny(model), cameras={"film": {"source": blinking}}, outputs=outputs) as service:
        assert service.wait() == 0
        (film,) = (path for path in (service.state / "recordings").rglob("*") if path.suffix in (".mp4", ".mkv", ".webm"))
        assert pictures_in(film) == 80


def test_a_film_waits_for_a_model_that_takes_long(blinking, model, tmp_path):
    film = {"source": blinking, "stall": "1 s"}
    with LiveService(tmp_path, models=tiny(model), cameras={"film": film}, outputs=ANSWERS) as service:
        worker = only_child(service, "worker")
        os.kill(worker, signal.SIGSTOP)
        service.wait_for("camera", "film", "frames come")
        time.sleep(2.5)
        os.kill(worker, signal.SIGCONT)
        assert service.wait() == 0
        assert service.status["cameras"]["film"]["restarts"] == 0
        assert [answer["frame"] for answer in service.answers()] == list(range(80))


def test_a_film_goes_on_where_its_reader_was_killed(blinking, model, tmp_path):
    with LiveService(tmp_path, models=tiny(model), cameras={"film": {"source": blinking}}, outputs=ANSWERS) as service:
        worker = only_child(service, "worker")
        os.kill(worker, signal.SIGSTOP)  # so that the film is in the middle
        service.wait_for("camera", "film", "frames come")
        os.kill(only_child(service, "capture"), signal.SIGKILL)
        service.wait_for("camera", "film", "its capture process is gone")
        os.kill(worker, signal.SIGCONT)
        assert service.wait() == 0
        film = service.status["cameras"]["film"]
        assert film["restarts"] == 1
        assert film["captured"] == 80
        assert_it_adds_up(service.status)
        seen = [answer["frame"] for answer in service.answers()]
        assert seen == sorted(set(seen))
        assert len(seen) == 80 - film["dropped"].get("lost", 0)


def test_two_cameras_and_two_models_are_four_accounts(blinking, model, tmp_path):
    models = {"one": {"artifact": model, "threads": 1}, "two": {"artifact": model, "threads": 1}}
    cameras = {"film": {"source": blinking}, "live": as_camera(blinking)}
    with LiveService(tmp_path, models=models, cameras=cameras, outputs=ANSWERS) as service:
        service.wait_for("camera", "film", "its last frame was read")
        frames_are_answered(service, "live")
        end(service)
        film = service.status["cameras"]["film"]
        assert [film["models"][name]["answered"] for name in models] == [80, 80]
        written = [(answer["camera"], answer["model"]) for answer in service.answers()]
        for camera, figures in service.status["cameras"].items():
            for name, pair in figures["models"].items():
                assert written.count((camera, name)) == pair["answered"] > 0


def test_pictures_that_arrive_in_a_folder_are_answered(model, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    with LiveService(tmp_path, models=tiny(model), cameras={"drop": {"source": pictures, "watch": True}}, outputs=ANSWERS) as service:
        service.wait_for("camera", "drop", "frames come")
        for number in range(3):
            picture = np.full((64, 64, 3), 90, np.uint8)
            picture[20:44, 20:44] = (40, 40, 220)
            cv2.imwrite(str(pictures / f"{number}.png"), picture)
        (pictures / "no picture.png").write_bytes(b"not at all")
        service.wait_until(lambda: len(service.answers()) == 3)
        assert [answer["classes"] for answer in service.answers()] == [["red"]] * 3
        end(service)


# --- workers and capture processes --------------------------------------------------------------------------------------------------------


def test_a_worker_that_dies_or_hangs_is_replaced_and_the_other_goes_on(blinking, model, tmp_path):
    models = {"one": {"artifact": model, "threads": 1, "answer_within": "1 s"}, "two": {"artifact": model, "threads": 1}}
    with LiveService(tmp_path, models=models, cameras={"live": as_camera(blinking)}, outputs=ANSWERS) as service:
        for name in models:
            service.wait_for("worker", name, "is loaded")
        frames_are_answered(service, "live")
        first, _ = sorted(service.children()["worker"])  # started in the order of the file
        os.kill(first, signal.SIGKILL)
        gone = service.wait_for("worker", "one", "its worker process is gone (was ended by SIGKILL)")
        assert gone["severity"] == "error"
        service.wait_for("worker", "one", "is loaded", since=gone["number"])
        frames_are_answered(service, "live")
        new = max(service.children()["worker"])
        os.kill(new, signal.SIGSTOP)
        hung = service.wait_for("worker", "one", "it gave no answer for 1 s")
        service.wait_for("worker", "one", "is loaded", since=hung["number"])
        end(service)
        figures = service.status["cameras"]["live"]["models"]
        assert figures["one"]["dropped"]["no_worker"] > 0
        assert service.status["models"]["one"]["restarts"] == 2
        assert service.status["models"]["two"]["restarts"] == 0
    assert service.processes() == []


def test_a_worker_that_dies_time_after_time_is_waited_for_longer_and_longer(blinking, model, tmp_path):
    with LiveService(tmp_path, models=tiny(model), cameras={"live": as_camera(blinking)}) as service:
        since, pauses = 0, []
        for _ in range(2):
            since = service.wait_for("worker", "tiny", "is loaded", since=since)["number"]
            os.kill(only_child(service, "worker"), signal.SIGKILL)
            event = service.wait_for("worker", "tiny", "its replacement is started in", since=since)
            since = event["number"]
            pauses.append(event["data"]["next_try_s"])
        assert pauses == [1.0, 2.0]
        service.wait_for("worker", "tiny", "is loaded", since=since)
        end(service)


def test_children_killed_as_soon_as_they_begin_are_begun_again(blinking, model, tmp_path):
    with LiveService(tmp_path, models=tiny(model), cameras={"live": as_camera(blinking)}, outputs=ANSWERS) as service:
        for kind in ("capture", "worker"):
            os.kill(only_child(service, kind), signal.SIGKILL)
        service.wait_for("camera", "live", "its capture process is gone (was ended by SIGKILL)")
        service.wait_for("worker", "tiny", "its worker process is gone (was ended by SIGKILL)")
        frames_are_answered(service, "live")
        end(service)


def test_a_model_that_is_none_is_one_sentence(blinking, tmp_path):
    (tmp_path / "rubbish.onnx").write_bytes(b"rubbish" * 1000)
    with LiveService(tmp_path, models=tiny(tmp_path / "rubbish.onnx"), cameras={"live": as_camera(blinking)}) as service:
        assert service.wait() == 2
        (sentence,) = service.other_lines
        assert sentence.startswith("edgewright: tiny: ")
        assert "rubbish.onnx" in sentence
    assert service.processes() == []


def test_a_model_file_spoiled_under_a_running_service_is_tried_again_until_it_is_whole(blinking, model, tmp_path):
    artifact = tmp_path / "model.onnx"
    artifact.write_bytes(model.read_bytes())
    with LiveService(tmp_path, models=tiny(artifact), cameras={"live": as_camera(blinking)}, outputs=ANSWERS) as service:
        service.wait_for("worker", "tiny", "is loaded")
        frames_are_answered(service, "live")
        artifact.write_bytes(b"rubbish" * 1000)
        os.kill(only_child(service, "worker"), signal.SIGKILL)
        spoiled = service.wait_for("worker", "tiny", "model.onnx")
        artifact.write_bytes(model.read_bytes())
        service.wait_for("worker", "tiny", "is loaded", since=spoiled["number"])
        frames_are_answered(service, "live")
        end(service)


# --- disks, brokers, clocks ---------------------------------------------------------------------------------------------------------------


def test_a_full_disk_is_counted_and_space_is_used_when_it_is_there_again(blinking, model, tmp_path):
    (tmp_path / "state").mkdir()
    mounts = "mount -t tmpfs -o size=1m none state\nhead -c 1000000 /dev/zero > state/filler"
    outputs = {"answers": {**ANSWERS["answers"], "spool": "64 KiB"}, "events": {"kind": "sqlite"}}
    with LiveService(tmp_path, models=tiny(model), cameras={"live": as_camera(blinking)}, outputs=outputs, mounts=mounts) as service:
        service.wait_for("worker", "tiny", "is loaded")
        service.state = service.inside(service.state)
        full = service.wait_for("output", "answers", "no space left on the disk")
        assert full["severity"] in ("warning", "error")
        (service.state / "filler").unlink()
        service.wait_for("output", "answers", "takes records again", since=full["number"])
        frames_are_answered(service, "live")
        end(service)
        answered = service.status["cameras"]["live"]["models"]["tiny"]["answered"]
        accounts = {each["name"]: each for each in service.status["outputs"]}
        for name, offered in (("answers", answered + len(service.events)), ("events", len(service.events))):
            counts = ("delivered", "refused", "overflowed", "turned_away", "spared", "damaged", "waiting_records")
            assert sum(accounts[name][count] for count in counts) == offered, accounts[name]


class AsItComes:
    """No camera's parts: bytes on their way to a broker."""

    def split(self, pending):
        if pending:
            whole = bytes(pending)
            pending.clear()
            yield whole, None


def test_every_event_arrives_though_the_broker_is_killed_and_begun_again(blinking, model, tmp_path):
    broker = broker_in(tmp_path).start()
    way, listener = FaultProxy(AsItComes), None
    try:
        way.set_upstream(broker.port)
        listener = Listener(broker.port, "edgewright/#")
        output = {"broker": {"kind": "mqtt", "host": "127.0.0.1", "port": way.port, "discovery_prefix": False}}
        rules = {"red": {"kind": "seen", "classes": ["red"]}}
        cameras = {"live": as_camera(blinking)}
        with LiveService(tmp_path, models=tiny(model), cameras=cameras, rules=rules, outputs=output) as service:
            service.wait_until(lambda: b"".join(payload for _, payload, _ in listener.messages).count(b'"rule"') > 2)
            way.set_upstream(None)  # until whoever listens is back as well: what it misses meanwhile no broker would keep for it
            broker.kill()
            service.wait_for("output", "broker", "no records are taken")
            begun = len(service.events)
            service.wait_until(lambda: len(service.events) > begun + 3)
            listener._ready.clear()
            broker.start()
            assert listener._ready.wait(20)
            way.set_upstream(broker.port)
            service.wait_for("output", "broker", "takes records again")
            end(service)
            assert service.status["outputs"][0]["waiting_records"] == 0
            listener.wait_for(lambda messages: ids_in(messages) >= {event["id"] for event in service.events})
    finally:
        if listener is not None:
            listener.close()
        way.close()
        broker.kill()


def ids_in(messages):
    found = set()
    for _, payload, _ in messages:
        if payload.startswith(b"{"):
            found.add(json.loads(payload).get("id"))
    return found


def test_a_clock_that_is_set_is_told_of_and_timers_go_on(bench, blinking, model, tmp_path):
    camera = bench.mjpeg(VIDEO, SMALL)
    clock = MovedClock.build(tmp_path)
    cameras = {"belt": {"source": camera.url, "stall": "1 s"}}
    with LiveService(tmp_path, models=tiny(model), cameras=cameras, outputs=ANSWERS, environment=clock.environment) as service:
        frames_are_answered(service, "belt")
        seen = 0
        for set_to, jump_s in ((7200, 7200), (-7200, -14400)):
            clock.set_ahead(set_to)
            event = service.wait_for("service", "edgewright", "the clock was set by", since=seen)
            seen = event["number"] + 1
            assert event["data"]["jump_s"] == pytest.approx(jump_s, abs=5)
            frames_are_answered(service, "belt")
        camera.kill()
        lost = service.wait_for("camera", "belt", "trying again in")
        camera.restart()
        back = service.wait_for("camera", "belt", "frames come again after", since=lost["number"])
        assert 0 < back["data"]["down_s"] < 60
        end(service)
        assert all(0 <= answer["age_ms"] < 60_000 for answer in service.answers())


# --- memory -------------------------------------------------------------------------------------------------------------------------------


def test_dev_shm_may_be_tiny(blinking, model, tmp_path):
    mounts = "mount -t tmpfs -o size=4k none /dev/shm"
    with LiveService(tmp_path, models=tiny(model), cameras={"film": {"source": blinking}}, mounts=mounts) as service:
        assert service.wait() == 0
        assert service.status["cameras"]["film"]["models"]["tiny"]["answered"] == 80


def test_a_memory_budget_that_cannot_suffice_is_refused_with_the_numbers(blinking, model, tmp_path):
    service = {"memory": "64 MiB"}
    with LiveService(tmp_path, models=tiny(model), cameras={"film": {"source": blinking}}, service=service) as refused:
        assert refused.wait() == 3
        (sentence,) = refused.other_lines
        assert "does not fit into the memory budget" in sentence
        assert "64 MiB for it" in sentence
        assert "at most 64 MiB together" in sentence
    assert refused.processes() == []


def test_frames_that_do_not_fit_into_the_budget_are_a_sentence(model, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    cv2.imwrite(str(pictures / "large.jpg"), np.zeros((5000, 5000, 3), np.uint8))
    service = {"memory": "250 MiB"}
    with LiveService(tmp_path, models=tiny(model), cameras={"large": {"source": pictures}}, service=service) as refused:
        assert refused.wait() == 3
        (sentence,) = refused.other_lines
        assert "the frames of large do not fit into memory" in sentence
        assert "for 5 frames of 71.5 MiB" in sentence
    assert refused.processes() == []


# --- the service itself -------------------------------------------------------------------------------------------------------------------


def test_terminated_or_killed_it_leaves_nothing_behind_but_what_the_next_start_delivers(blinking, model, tmp_path):
    broker = broker_in(tmp_path)  # not begun yet: everything waits
    deaf = WebhookServer()  # takes a record, and never answers
    deaf.answers += [hang(deaf)] * 100
    settings = {
        "models": tiny(model),
        "cameras": {"one": as_camera(blinking), "two": as_camera(blinking)},
        "rules": {"red": {"kind": "seen", "classes": ["red"]}},
        "outputs": {
            "broker": {"kind": "mqtt", "host": "127.0.0.1", "port": broker.port, "discovery_prefix": False},
            "hook": {"kind": "webhook", "url": f"http://127.0.0.1:{deaf.port}/"},
            "film": {"kind": "recording"},
            **ANSWERS,
        },
    }
    before = set(Path("/dev/shm").iterdir())
    accepted, listener = set(), None
    try:
        with LiveService(tmp_path, **settings) as service:
            for camera in ("one", "two"):
                service.wait_for("output", "film", f"records {camera} with")
            service.wait_until(lambda: len(service.said("rule")) > 5)
            end(service)
            accepted |= {event["id"] for event in service.events}
            waiting = {each["name"]: each["waiting_records"] for each in service.status["outputs"]}
            assert waiting == {"broker": len(service.events), "hook": len(service.events), "answers": 0}
            films = [path for path in (service.state / "recordings" / "film").rglob("*") if path.suffix in (".mp4", ".mkv", ".webm")]
            assert len(films) == 2
            assert all(pictures_in(film) > 0 for film in films)
        with LiveService(tmp_path, **settings) as service:
            service.wait_until(lambda: service.children()["recorder"] and len(service.said("rule")) > 5)
            accepted |= {event["id"] for event in list(service.events)}
            time.sleep(0.5)  # what was said is kept, long since
            assert service.kill() < ENDS_WITHIN_S * starved()
        assert not [path for path in set(Path("/dev/shm").iterdir()) - before if "edgewright" in path.name]
        broker.start()
        listener = Listener(broker.port, "edgewright/#")
        with LiveService(tmp_path, **settings) as service:
            listener.wait_for(lambda messages: ids_in(messages) >= accepted, within_s=WITHIN_S)
            end(service)
    finally:
        if listener is not None:
            listener.close()
        broker.kill()
        deaf.close()


def pictures_in(film):
    capture = cv2.VideoCapture(str(film))
    count = 0
    while capture.grab():
        count += 1
    capture.release()
    return count


def test_a_state_folder_has_one_service(blinking, model, tmp_path):
    with LiveService(tmp_path, models=tiny(model), cameras={"live": as_camera(blinking)}) as service:
        service.wait_for("service", "edgewright", "begins")
        other = tmp_path / "other.toml"
        other.write_text(toml_of({"state": "state"}, model=tiny(model), camera={"live": as_camera(blinking)}))
        second = subprocess.run(
            [sys.executable, "-m", "edgewright", "serve", other], capture_output=True, text=True, check=False, timeout=60
        )
        assert second.returncode == 2
        assert "another service is at work in" in second.stderr
        assert second.stderr.count("\n") == 1
        assert service.is_running()
        end(service)


def all_five(service):
    """The command lines of the service, its worker, its recorder and both its capture processes, of which one comes and goes."""
    commands = service.commands()
    return commands if len(commands) >= 5 else None


def test_secrets_are_told_to_nobody(bench, blinking, model, tmp_path):
    camera = bench.mjpeg(VIDEO, SMALL, login=("eye", "s3cret/c@mera"))
    server = WebhookServer()
    secrets = {"CAMERA": "s3cret/c@mera", "MQTT": "s3cret-mqtt", "HOOK": "s3cret-hook", "WRONG": "wr0ng-s3cret"}
    address = camera.url.removeprefix("http://")
    cameras = {
        "belt": {"source": f"http://eye:${{CAMERA}}@{address}"},
        "wrong": {"source": f"http://eye:${{WRONG}}@{address}", "stall": "1 s"},
    }
    outputs = {
        "broker": {"kind": "mqtt", "host": "127.0.0.1", "port": 1, "user": "edge", "password": "${MQTT}"},
        "hook": {"kind": "webhook", "url": f"http://127.0.0.1:{server.port}/", "token": "${HOOK}"},
        "film": {"kind": "recording"},
        **ANSWERS,
    }
    try:
        with LiveService(tmp_path, models=tiny(model), cameras=cameras, outputs=outputs, environment=secrets) as service:
            server.answers.append((500, {}))
            service.wait_for("camera", "belt", "frames come")
            service.wait_for("camera", "wrong", "trying again in")
            service.wait_for("output", "broker", "no records are taken")
            service.wait_for("output", "film", "records belt with")
            service.wait_until(lambda: server.records)
            commands = service.wait_until(lambda: all_five(service))
            end(service)
            said = [repr(service.events).encode(), "\n".join(service.other_lines).encode(), repr(service.status).encode()]
            written = [path.read_bytes() for path in service.state.rglob("*") if path.is_file()]
    finally:
        server.close()
    assert any(headers.get("Authorization") == "Bearer s3cret-hook" for _, headers, _, _ in server.requests)
    for secret in ("s3cret", "s3cret%2Fc%40mera", "c@mera", "c%40mera"):
        assert not [part for part in (*commands, *said, *written) if secret.encode() in part], secret
