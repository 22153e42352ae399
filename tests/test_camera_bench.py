"""The cameras of the tests do what is said of them, and so do their faults; what OpenCV's reader makes of each is seen on the way."""

import base64
import http.client
import json
import random
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camera_bench import HERE, CameraBench, burn_number, read_number
from fault_proxy import MultipartParts, RtspParts, flip_bits

SMALL, SMALLER = (320, 180), (160, 90)
VIDEO = "car-detection.mp4"


@pytest.fixture
def bench(test_data):
    with CameraBench(test_data) as bench:
        yield bench


# --- rules --------------------------------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(number=st.integers(0, 1023), light=st.integers(0, 255), height=st.sampled_from([90, 180, 360, 720]))
def test_a_number_is_read_from_the_picture_it_was_burnt_into(number, light, height):
    picture = np.full((height, height * 16 // 9, 3), light, np.uint8)
    assert read_number(picture) is None
    burn_number(picture, number)
    assert read_number(picture) == number


RTP = bytes([0x80, 96]) + bytes(10)
REPLY = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 3\r\n\r\n$$$"
packets = st.builds(
    lambda channel, body: bytes([ord("$"), channel]) + (12 + len(body)).to_bytes(2, "big") + RTP + body, st.integers(0, 1), st.binary()
)
pictures = st.binary().map(lambda body: b"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n" % (len(body), body))


@settings(deadline=None, max_examples=50)
@given(data=st.data(), parts=st.sampled_from([RtspParts(), MultipartParts()]))
def test_a_connection_is_cut_into_parts_however_it_arrives_and_put_together_again(data, parts):
    rtsp = isinstance(parts, RtspParts)
    said = data.draw(st.lists(st.one_of(packets, st.just(REPLY)) if rtsp else pictures, max_size=6))
    whole = b"".join(said if rtsp else [b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\n", *said])
    pending, got, at = bytearray(), b"", 0
    while at < len(whole):
        step = data.draw(st.integers(1, 300))
        pending += whole[at : at + step]
        at += step
        for head, body in parts.split(pending):
            got += head if body is None else parts.join(head, body)
    assert got == whole
    assert not pending


def test_bits_flip_at_the_rate_that_was_asked_for():
    flipped = np.frombuffer(flip_bits(bytes(1 << 20), 1e-3, random.Random(1)), np.uint8)
    share = np.unpackbits(flipped).mean()
    assert 0.9e-3 < share < 1.1e-3


# --- the HTTP camera, read byte by byte ---------------------------------------------------------------------------------------------------


class Viewer:
    """One connection to an HTTP camera; its pictures, as they come."""

    def __init__(self, camera, password=""):
        self._connection = http.client.HTTPConnection("127.0.0.1", camera.proxy.port, timeout=5)
        login = {"Authorization": "Basic " + base64.b64encode(password.encode()).decode()} if password else {}
        self._connection.request("GET", "/cam", headers=login)
        self.reply = self._connection.getresponse()

    def picture(self):
        while (line := self.reply.readline()) and not line.startswith(b"Content-Length"):
            pass
        if not line:
            return None
        self.reply.readline()
        encoded = self.reply.read(int(line.split(b":")[1]))
        return cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR) if encoded else None

    def numbers(self, count):
        seen = [self.picture() for _ in range(count)]
        return [None if picture is None else read_number(picture) for picture in seen]

    def until(self, wanted, most=100):
        """Look on until a picture is as wanted: some may be on their way when a fault begins or ends."""
        return any(wanted(self.picture()) for _ in range(most))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.reply.close()
        self._connection.close()


@pytest.fixture
def http_camera(bench):
    return bench.mjpeg(VIDEO, SMALL, fps=20)


def test_an_http_camera_shows_its_clip_at_its_rate(http_camera):
    with Viewer(http_camera) as viewer:
        first, began_s = viewer.numbers(1)[0], time.monotonic()
        numbers = viewer.numbers(10)
        took_s = time.monotonic() - began_s
        late_s = time.monotonic() - http_camera.sent_s(numbers[-1], time.monotonic())
    steps = np.diff([first, *numbers]) % 200
    assert (steps >= 1).all()
    assert abs(steps.sum() / 20 - took_s) < 1  # seconds; a busy machine makes gaps, but loses no time
    assert 0 <= late_s < 5


def is_legible(picture):
    return picture is not None and read_number(picture) is not None


def is_illegible(picture):
    return not is_legible(picture)


@pytest.mark.parametrize(("mode", "rate"), [("truncate", 1.0), ("bitflip", 3e-3)])
def test_spoiled_pictures_are_seen_to_be_and_clean_ones_follow(http_camera, mode, rate):
    with Viewer(http_camera) as viewer:
        assert None not in viewer.numbers(3)
        http_camera.fault(mode, rate)
        assert viewer.until(is_illegible)
        http_camera.fault("pass")
        assert viewer.until(is_legible)
        assert None not in viewer.numbers(3)
    assert 0 < http_camera.proxy.parts_spoiled < http_camera.proxy.parts_sent


def test_lost_pictures_are_missing_from_the_count(http_camera):
    with Viewer(http_camera) as viewer:
        http_camera.fault("drop", 0.5)
        numbers = viewer.numbers(20)
    assert (numbers[-1] - numbers[0]) % 200 > 19
    assert http_camera.proxy.parts_spoiled


def test_a_camera_that_hangs_says_nothing_to_old_and_new_connections_and_then_goes_on(http_camera):
    with Viewer(http_camera) as viewer:
        viewer.numbers(2)
        http_camera.fault("hang")
        with socket.create_connection(("127.0.0.1", http_camera.proxy.port), timeout=0.5) as late:  # accepted all the same
            late.sendall(b"GET /cam HTTP/1.0\r\n\r\n")
            with pytest.raises(TimeoutError):
                late.recv(1)
            http_camera.fault("pass")
            late.settimeout(10)
            assert late.recv(4) == b"HTTP"
        assert None not in viewer.numbers(3)


def test_a_slow_camera_trickles(http_camera):
    with Viewer(http_camera) as viewer:
        viewer.numbers(2)
        http_camera.fault("slow", 15_000)
        began_s = time.monotonic()
        viewer.numbers(8)
        assert time.monotonic() - began_s > 0.8  # 5 kB a picture, a few of which may have been on their way; 0.4 s at its own rate


@pytest.mark.parametrize("way", ["refuse", "close", "kill"])
def test_a_camera_that_goes_takes_its_connections_along_and_comes_back(http_camera, way):
    with Viewer(http_camera) as viewer:
        viewer.numbers(2)
        if way == "kill":
            http_camera.kill()
        else:
            http_camera.fault(way)
        with pytest.raises((AssertionError, ConnectionError, http.client.HTTPException)):
            assert None not in viewer.numbers(200)
    if way != "close":
        with pytest.raises(ConnectionRefusedError):
            Viewer(http_camera)
    url = http_camera.url
    if way == "kill":
        http_camera.restart()
    else:
        http_camera.fault("pass")
    assert http_camera.url == url
    with Viewer(http_camera) as viewer:
        assert None not in viewer.numbers(2)


def test_a_camera_changes_its_size_within_the_stream(http_camera):
    http_camera.prepare(SMALLER)
    with Viewer(http_camera) as viewer:
        assert viewer.picture().shape == (180, 320, 3)
        http_camera.change_size(SMALLER)
        assert viewer.until(lambda picture: picture.shape == (90, 160, 3))


def test_a_camera_with_a_password_shows_nothing_without(bench):
    camera = bench.mjpeg(VIDEO, SMALL, fps=20, login=("eye", "s3cret"))
    with Viewer(camera) as viewer:
        assert viewer.reply.status == 401
    with Viewer(camera, "eye:s3cret") as viewer:
        assert None not in viewer.numbers(2)
    assert b"s3cret" not in Path(f"/proc/{camera.pid}/cmdline").read_bytes()


def test_cameras_end_with_the_process_that_made_them(test_data):
    code = (
        "import os, signal, sys; from pathlib import Path; from camera_bench import CameraBench\n"
        f"camera = CameraBench(Path({str(test_data)!r})).mjpeg({VIDEO!r}, {SMALL}, fps=20)\n"
        "print(camera.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    pid = int(subprocess.run([sys.executable, "-c", code], cwd=HERE, stdout=subprocess.PIPE, timeout=60, check=False).stdout)
    for _ in range(100):
        if not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes():  # gone, or waiting to be buried
            return
        time.sleep(0.05)
    pytest.fail("the camera lives on")


# --- the RTSP camera, read by OpenCV ------------------------------------------------------------------------------------------------------


class Reader:
    """OpenCV in a process of its own; what it says, as it comes."""

    def __init__(self, url, seconds=120):
        command = [sys.executable, HERE / "camera_reader.py", str(seconds)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._process.stdin.write(url + "\n")
        self._process.stdin.close()
        self.said, self.complaints = [], []
        self._threads = [
            threading.Thread(target=lambda: self.said.extend(map(json.loads, self._process.stdout))),
            threading.Thread(target=lambda: self.complaints.extend(self._process.stderr)),
        ]
        for thread in self._threads:
            thread.start()

    def wait_for(self, wanted, seconds=30):
        """The first thing said from now on that is as wanted."""
        at, until_s = len(self.said), time.monotonic() + seconds
        while time.monotonic() < until_s:
            while at < len(self.said):
                if wanted(self.said[at]):
                    return self.said[at]
                at += 1
            time.sleep(0.02)
        return pytest.fail(f"not seen in {seconds} s; last said: {self.said[-3:]}")

    def wait_for_silence(self, silent_s=1, seconds=30):
        at, since_s, until_s = len(self.said), time.monotonic(), time.monotonic() + seconds
        while time.monotonic() < until_s:
            if len(self.said) > at:
                at, since_s = len(self.said), time.monotonic()
            elif time.monotonic() - since_s > silent_s:
                return
            time.sleep(0.02)
        pytest.fail(f"still talking after {seconds} s")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        for thread in self._threads:
            thread.join(timeout=10)
        self._process.stdout.close()
        self._process.stderr.close()


def is_clean(said):
    return said["event"] == "read" and said["number"] is not None


def is_spoiled(said):
    return said["event"] == "read" and said["ok"] and said["number"] is None


def is_failure(said):
    return not said["ok"]


def test_what_opencv_makes_of_an_rtsp_camera_in_trouble(bench):
    camera = bench.rtsp(VIDEO, SMALL)
    camera.prepare(SMALLER)
    with Reader(camera.url) as reader:
        first = reader.wait_for(is_clean)
        assert first["size"] == list(SMALL)
        assert 0 <= first["now_s"] - camera.sent_s(first["number"], first["now_s"]) < 2

        camera.fault("bitflip", 3e-3)
        reader.wait_for(is_spoiled)  # it hands out broken pictures as whole ones, and complains on standard error only
        camera.fault("truncate", 0.7)
        reader.wait_for(is_spoiled)
        camera.fault("drop", 0.5)
        reader.wait_for(is_spoiled)
        camera.fault("pass")
        reader.wait_for(is_clean)
        assert any("error while decoding" in line for line in reader.complaints)

        camera.change_size(SMALLER)
        time.sleep(1)
        assert reader.wait_for(is_clean)["size"] == list(SMALL)  # the same session: OpenCV scales to the first size and says nothing
        camera.fault("close")
        reader.wait_for(is_failure)
        camera.fault("pass")
        reader.wait_for(lambda said: is_clean(said) and said["size"] == list(SMALLER))

        camera.fault("hang")
        reader.wait_for_silence()
        camera.fault("pass")
        reader.wait_for(is_clean)

        camera.kill()
        reader.wait_for(is_failure)
        camera.restart()
        reader.wait_for(is_clean)


def test_an_rtsp_camera_with_a_password(bench):
    camera = bench.rtsp(VIDEO, SMALL, login=("eye", "s3cret"))
    with Reader(camera.url) as stranger, Reader(camera.url_with_password) as friend:
        assert not stranger.wait_for(lambda said: said["event"] == "open")["ok"]
        friend.wait_for(is_clean)
    assert b"s3cret" not in Path(f"/proc/{camera.pid}/cmdline").read_bytes()
