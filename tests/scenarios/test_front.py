"""HTTP beside a live service: what it shows is so, who may not ask is not answered, and whatever becomes of it no frame is lost.

Every story is about the real command.
"""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgewright.serve.doors import SOCKET
from live_service import LiveService, assert_it_adds_up, starved, toml_of, write_blinking_clip
from tiny_detector import COLOURS, save_tiny_detector

ANSWERS = {"answers": {"kind": "jsonl", "records": ["answers", "events"]}}
TOKEN, PASSWORD = "a-token-that-must-not-be-seen", "hunter2-of-a-camera"
ENDS_WITHIN_S = 5.0
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_detector(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_blinking_clip(tmp_path_factory.mktemp("clip") / "blinking.avi")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing: sudo apt-get install openssl")
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = "-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout key.pem -out certificate.pem"
    subprocess.run(shlex.split(f"{command} {names}"), cwd=folder, check=True, capture_output=True)
    return folder


def tiny(model):
    return {"tiny": {"artifact": model, "threads": 1}}


def as_camera(clip):
    return {"source": clip, "live": True, "loop": True}


def picture_jpeg():
    picture = np.full((64, 64, 3), 90, np.uint8)
    picture[20:44, 20:44] = COLOURS["red"]
    return cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def ask_over_tls(url, token, folder):
    """Status and body."""
    context = ssl.create_default_context(cafile=str(folder / "certificate.pem"))
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def figure(metrics, name, **labels):
    """The sum of all samples with this name and these labels."""
    found = re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", metrics, re.MULTILINE)
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    return sum(float(value) for given, value in found if all(each in given for each in wanted))


def test_a_service_with_a_token_and_a_certificate_shows_what_is_so_keeps_its_secrets_and_does_not_miss_its_front(
    model, clip, certificate, tmp_path
):
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    tls = {"certificate": certificate / "certificate.pem", "key": certificate / "key.pem"}
    cameras = {"belt": as_camera(clip), "gate": {"source": "http://viewer:${CAMERA_PASSWORD}@127.0.0.1:9/video"}}
    settings = {"models": tiny(model), "cameras": cameras, "outputs": ANSWERS, "http": {"port": 0, "token_file": "token", **tls}}
    with LiveService(tmp_path, **settings, environment={"CAMERA_PASSWORD": PASSWORD}) as service:
        url = service.wait_for("http", "front", "listens at")["data"]["url"]
        service.wait_for("camera", "belt", "frames come")
        service.wait_for("worker", "tiny", "is loaded")
        only_who_may_is_answered(service, url, certificate)
        what_is_shown_is_so(service)
        a_model_is_loaded_when_it_is_first_asked_for(service)
        no_secret_is_anywhere(service)
        a_front_that_is_killed_is_missed_by_nobody(service)
        last = service.asked("/live")["cameras"]["belt"]
        assert service.stop() < ENDS_WITHIN_S * starved()
        assert (service.exit_code, service.processes()) == (0, [])
        assert_it_adds_up(service.status)
        belt = service.status["cameras"]["belt"]
        assert belt["captured"] >= last["captured"]
        assert belt["models"]["tiny"]["answered"] == len(service.answers()) >= last["models"]["tiny"]["answered"]
        assert not (service.state / SOCKET).exists()


def only_who_may_is_answered(service, url, certificate):
    assert url.startswith("https://127.0.0.1:")
    service.wait_until(lambda: ask_over_tls(f"{url}/readyz", None, certificate) == (200, b'{"ready":true}'))
    assert [ask_over_tls(f"{url}/live", token, certificate)[0] for token in (None, TOKEN[:-1], TOKEN)] == [401, 401, 200]
    with pytest.raises((OSError, urllib.error.URLError)):
        urllib.request.urlopen(url.replace("https", "http"), timeout=10)
    assert service.ask("/live")[0] == 200, "the same user needs no token"


def what_is_shown_is_so(service):
    def answered():
        return service.asked("/live")["cameras"]["belt"]["models"]["tiny"]["answered"]

    service.wait_until(lambda: answered() > 10)
    before, metrics, after = answered(), service.ask("/metrics")[2].decode(), answered()
    shown = figure(metrics, "edgewright_frames_total", camera="belt", model="tiny", result="answered")
    assert before <= shown <= after <= len(service.wait_until(lambda: len(found := service.answers()) >= after and found))
    assert figure(metrics, "edgewright_frame_age_seconds_count", camera="belt") == shown
    assert figure(metrics, "edgewright_camera_up", camera="belt") == 1
    assert figure(metrics, "edgewright_camera_up", camera="gate") == 0
    logged, told = [event["id"] for event in service.events], service.asked("/live/events")["events"]
    assert {event["id"] for event in told} >= set(logged)
    assert [event["id"] for event in service.asked(f"/live/events?after={told[1]['id']}")["events"]][:2] == [
        event["id"] for event in told[2:4]
    ]


def a_model_is_loaded_when_it_is_first_asked_for(service):
    assert service.children()["model"] == []
    assert json.loads(service.ask("/detect", picture_jpeg())[2])["classes"] == ["red"]
    service.wait_until(lambda: service.asked("/live")["memory"]["promised_bytes"].get("http model tiny", 0) > 1 << 20)


def no_secret_is_anywhere(service):
    """Neither on a page, nor in the log, a file, a list of processes, or the environment of the front."""
    paths = [path for path, verbs in service.asked("/openapi.json")["paths"].items() if "get" in verbs and "/preview" not in path]
    pages = {path: service.ask(path.replace("{model}", "tiny").replace("{version}", "1")) for path in paths}
    assert {path for path, (_, _, body) in pages.items() if b"belt" in body} >= {"/live", "/live/events", "/metrics"}
    seen = [body + repr(headers).encode() for _, headers, body in pages.values()] + service.commands()
    seen += [json.dumps(event).encode() for event in service.events] + [line.encode() for line in service.other_lines]
    seen += [path.read_bytes() for path in service.state.rglob("*") if path.is_file()]
    for pid in service.children()["front"]:  # what the service was given for its camera all its processes have
        seen.append(Path(f"/proc/{pid}/environ").read_bytes().replace(f"CAMERA_PASSWORD={PASSWORD}".encode(), b""))
    assert [each for each in seen if TOKEN.encode() in each or PASSWORD.encode() in each] == []


def a_front_that_is_killed_is_missed_by_nobody(service):
    """No frame waits for it, another one comes, and nothing is counted anew."""
    before, captures, (front,) = service.asked("/live")["cameras"]["belt"], service.children()["capture"], service.children()["front"]
    os.kill(front, signal.SIGKILL)
    gone = service.wait_for("http", "front", "is gone (was ended by SIGKILL)")
    after = service.asked("/live")
    assert after["cameras"]["belt"]["captured"] > before["captured"]
    assert (after["cameras"]["belt"]["restarts"], after["front"]["restarts"]) == (before["restarts"], 1)
    assert set(captures) & set(service.children()["capture"])
    texts = [event["text"] for event in service.asked("/live/events")["events"]]
    assert "begins with 2 cameras and 1 model" in texts
    assert gone["text"] in texts
    service.wait_until(lambda: service.children()["model"] == [])


def test_without_an_address_there_is_a_front_when_somebody_looks_and_not_before(model, clip, tmp_path):
    with LiveService(tmp_path, models=tiny(model), cameras={"belt": as_camera(clip)}, service={"memory": "400 MiB"}) as service:
        service.wait_for("camera", "belt", "frames come")
        assert service.children()["front"] == []
        assert service.asked("/live")["memory"]["promised_bytes"]["front"] > 0
        (front,) = service.children()["front"]
        assert Path(f"/proc/{front}/maps").read_text().count("cv2") == 0, "OpenCV is not for those who only look"
        os.kill(service.pid, signal.SIGKILL)
        service.wait()
        service.kill()
        assert (service.state / SOCKET).exists()
    with LiveService(tmp_path, models=tiny(model), cameras={"belt": as_camera(clip)}) as service:
        service.wait_for("camera", "belt", "frames come")
        assert service.asked("/live/events")["events"], "what a killed service left of its socket is in nobody's way"
        assert service.stop() < ENDS_WITHIN_S * starved()


def run_serve(*words, folder, environment=None):
    command = [sys.executable, "-m", "edgewright", "serve", *map(str, words)]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}
    )


def test_a_port_in_use_is_one_sentence_and_exit_3(model, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = toml_of({"state": "state"}, http={"port": port}, model=tiny(model), camera={"belt": {"source": 0}})
        (tmp_path / "service.toml").write_text(text)
        with run_serve("service.toml", folder=tmp_path) as ran:
            out, err = ran.communicate(timeout=120)
    assert (ran.returncode, out) == (3, "")
    assert [line for line in err.splitlines() if "warning" not in line and "stands in" not in line] == [
        f"edgewright: cannot listen at 127.0.0.1:{port}; got address already in use; choose another port or address"
    ]


def test_a_model_without_cameras_is_served_until_it_is_told_to_stop_and_answers_what_was_asked(model, tmp_path):
    shutil.copy(model, tmp_path / "other.onnx")
    words = (model, "--repository", ".", "--http", "127.0.0.1:0", "--log", "json", "--json", "said.json")
    with run_serve(*words, folder=tmp_path, environment={"EDGEWRIGHT_HTTP_TOKEN": TOKEN}) as ran:
        said = []
        while not any("ready" in text for text in said):
            said.append(json.loads(ran.stderr.readline())["text"])
        url = said[0].removeprefix("listens at ")

        def ask(path, body=None):
            request = urllib.request.Request(url + path, body, {"Authorization": f"Bearer {TOKEN}"})
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read())

        names = {each["name"]: each["state"] for each in ask("/v2/repository/index", b"")}
        assert names == {"tiny": "READY", "other": "UNAVAILABLE"}
        assert ask("/detect?model=tiny", picture_jpeg())["classes"] == ["red"]
        ask("/v2/repository/models/other/load", b"")
        assert ask("/v2/models/other")["name"] == "other"
        assert "/live" not in ask("/openapi.json")["paths"]
        began_s = time.monotonic()
        ran.send_signal(signal.SIGTERM)
        _, err = ran.communicate(timeout=60)
        assert time.monotonic() - began_s < ENDS_WITHIN_S * starved()
    assert ran.returncode == 0
    assert "Traceback" not in err
    assert TOKEN not in "".join(said) + err
    found = json.loads((tmp_path / "said.json").read_text())
    assert {each["name"]: each["inference_count"] for each in found["model_stats"]} == {"tiny": 1, "other": 0}
