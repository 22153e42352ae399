"""Somebody looks at a camera of a real service, over HTTP: pictures with boxes; and no frame waits for who looks, hangs or dies."""

import os
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg

from edgewright.vision.drawing import PALETTE
from live_service import LiveService, assert_it_adds_up
from tiny_detector import save_tiny_detector

SIZE_WH = (960, 720)


def write_clip(path):
    """A film of a red square, as large in the picture as the tiny detector knows them."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20.0, SIZE_WH)
    picture = np.full((SIZE_WH[1], SIZE_WH[0], 3), 90, np.uint8)
    picture[240:600, 300:660] = (40, 40, 220)
    for _ in range(40):
        writer.write(picture)
    writer.release()
    return path


@pytest.fixture
def service(tmp_path):
    model = save_tiny_detector(tmp_path / "tiny.onnx")
    clip = write_clip(tmp_path / "belt.avi")
    with LiveService(
        tmp_path,
        models={"tiny": {"artifact": model, "threads": 1}},
        cameras={"belt": {"source": clip, "live": True, "loop": True}},
        outputs={"answers": {"kind": "jsonl", "records": ["answers"]}},
        options=("--http", "127.0.0.1:0"),
    ) as service:
        yield service


def url_of(service):
    return service.wait_for("http", "front", "listens at")["data"]["url"] + "/live/cameras/belt/preview"


def front_of(service):
    def pids():
        return [pid for pid in service.processes() if b"front_child" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    (pid,) = service.wait_until(pids)
    return pid


def picture(url):
    """One, as soon as there is one."""
    until_s = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"{url}?one", timeout=20) as answer:
                return simplejpeg.decode_jpeg(answer.read()).astype(int)
        except (urllib.error.URLError, ConnectionError):  # 503, or no front yet
            assert time.monotonic() < until_s
            time.sleep(0.1)


def answers_go_on(service, count=10):
    before = len(service.answers())
    service.wait_until(lambda: len(service.answers()) >= before + count)


def pictures_in(stream, count):
    seen = b""
    while seen.count(b"\xff\xd9\r\n--") < count:
        piece = stream.read1(1 << 16)
        assert piece, f"it ended after {seen.count(b'X-Timestamp')} pictures"
        seen += piece


def test_a_camera_is_looked_at_and_whatever_becomes_of_who_looks_no_frame_waits(service):
    url = url_of(service)
    seen = picture(url)
    assert seen.shape == (480, 640, 3)
    is_of_a_box = np.abs(seen[..., None, :] - np.array(PALETTE)).max(axis=-1).min(axis=-1) < 40
    assert is_of_a_box.sum() > 50
    with urllib.request.urlopen(url, timeout=30) as stream:
        pictures_in(stream, 3)
        os.kill(front_of(service), signal.SIGSTOP)  # a frame may just be lent
        answers_go_on(service, 30)
        os.kill(front_of(service), signal.SIGCONT)
        pictures_in(stream, 3)
        os.kill(front_of(service), signal.SIGKILL)
        answers_go_on(service)
    service.wait_for("http", "front", "another is started")
    assert picture(url).shape == seen.shape
    with urllib.request.urlopen(url, timeout=30) as stream:
        pictures_in(stream, 1)
        assert service.stop() < 8
        stream.read()  # to its end, which is one
    assert service.exit_code == 0
    assert_it_adds_up(service.status)
    assert service.status["cameras"]["belt"]["dropped"].get("no_slot", 0) == 0
