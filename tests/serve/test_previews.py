"""What somebody who looks at a camera sees: the newest frame with its boxes, small, over HTTP; and what that asks of the service.

The tap and the front's previews speak over a real channel, about real rings; only the pipeline between cameras and answers is not there.
"""

import re
import threading
import time
import urllib.request
from contextlib import contextmanager, suppress

import numpy as np
import pytest
import simplejpeg

from edgewright.clock import SystemClock
from edgewright.detections import Detections
from edgewright.run.channel import ChannelError, channel_pair
from edgewright.run.frames import HeldFrame, SharedRing
from edgewright.run.preview_tap import PreviewTap
from edgewright.run.records import Answer
from edgewright.run.ring import Ring
from edgewright.run.secrets import Secret
from edgewright.serve import previews as module
from edgewright.serve.live_view import LiveView
from edgewright.serve.previews import Previews
from edgewright.vision.drawing import PALETTE
from model_server import ask, served, wait_until

SIZE_WH = (1280, 720)
BOX = (200, 100, 800, 600)
CLASS = 2
SLOTS = 4


class Service:
    """Frames at 50 a second into a ring, with an answer each, while `is_running`; what is said of previews, both ways."""

    def __init__(self, ring):
        self.ours, self.theirs = channel_pair()
        self.theirs.set_blocking(False)
        self.shared = SharedRing(ring, lambda _: None)
        self.tap = PreviewTap(SystemClock())
        self.tap.joins(self._tell)
        self.looks = []
        self.lent = self.came_back = 0
        self.brings = True  # frames
        self.number = 0
        self._ended = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _tell(self, words, fds):
        self.lent += "picture" in words
        self.ours.send(words, fds)
        return True

    def _run(self):
        while not self._ended.wait(0.02):
            while (message := self.ours.receive()) is not None:
                if message.words["say"] == "look":
                    self.looks.append(message.words["cameras"])
                    self.tap.look(message.words["cameras"])
                else:
                    self.came_back += 1
                    self.tap.done(message.words["camera"], message.words["job"])
            if self.brings:
                self._frame()

    def _frame(self):
        slot = self.shared.ledger.take()
        self.shared.ledger.fill(slot)
        self.number += 1
        now_s = time.monotonic()
        frame = HeldFrame("belt", self.number, self.shared, slot, SIZE_WH, now_s, time.time(), now_s)
        frame.picture()[:] = 40
        found = Detections(np.array([BOX], np.float32), np.array([0.9], np.float32), np.array([CLASS]), ("cat", "dog", "scratch"))
        self.tap.offer(frame, Answer("belt", "defects", self.number, frame.wall_s, 20.0, SIZE_WH, found))
        frame.release()

    def close(self):
        self._ended.set()
        self.thread.join()
        self.tap.let_go()
        assert self.shared.ledger.free == SLOTS
        self.ours.close()


@contextmanager
def shown(**http):
    """A service, and a server whose previews hear it."""
    faults = []
    with Ring.make("belt", slots=SLOTS, slot_bytes=SIZE_WH[0] * SIZE_WH[1] * 3, room_bytes=1 << 26) as ring:
        service = Service(ring)

        def say(words):
            with suppress(ChannelError):
                service.theirs.send(words)
                return True
            return False

        previews = Previews(("belt", "door"), clock=SystemClock(), say=say, fault=faults.append)
        with served(wait=False, **http) as server:
            loop, plane = server._loop, server._server.dataplane
            plane.previews, plane.live = previews, LiveView(SystemClock())

            def hear():
                while (message := service.theirs.receive()) is not None:
                    assert previews.obey(message)

            loop.call_soon_threadsafe(loop.add_reader, service.theirs.fileno(), hear)
            service.thread.start()
            try:
                yield server, service
            finally:
                server.close()
                service.close()
                service.theirs.close()
    assert faults == []


def parts_of(answer, count):
    """The first so many pictures of a stream, with their headers."""
    boundary = re.search(r"boundary=(\S+)", answer.headers["Content-Type"])[1].encode()
    assert answer.readline() == b"--" + boundary + b"\r\n"
    found = []
    for _ in range(count):
        headers = {}
        while (line := answer.readline().strip()) != b"":
            name, _, value = line.decode().partition(": ")
            headers[name] = value
        found.append((headers, answer.read(int(headers["Content-Length"]))))
        assert answer.readline() == b"\r\n"
        assert answer.readline() == b"--" + boundary + b"\r\n"  # which has come with the picture: it is not waited for
    return found


def is_box_drawn(jpeg):
    picture = simplejpeg.decode_jpeg(jpeg).astype(int)
    assert picture.shape == (360, 640, 3)
    high, wide = (BOX[1] + BOX[3]) // 4, BOX[2] // 2
    edge = picture[high, wide - 2 : wide + 3]  # the right side of the box, halved with the picture
    is_inside_plain = np.abs(picture[high, wide - 40] - 40).max() < 12
    return bool(np.abs(edge - PALETTE[CLASS]).max(axis=1).min() < 60) and is_inside_plain


def test_one_picture_has_the_boxes_and_nobody_looks_afterwards():
    with shown() as (server, service):
        status, headers, jpeg = ask(server, "/live/cameras/belt/preview?one=1")
        assert (status, headers["Content-Type"], headers["Cache-Control"]) == (200, "image/jpeg", "no-store")
        assert abs(float(headers["X-Timestamp"]) - time.time()) < 2
        assert is_box_drawn(jpeg)
        wait_until(lambda: service.looks == [["belt"], []], 5)
        wait_until(lambda: service.lent == service.came_back, 5)
        assert service.lent <= 3
        assert ask(server, "/live/cameras/belt/preview?one")[1]["Content-Type"] == "image/jpeg"


def test_pictures_come_as_long_as_somebody_looks_and_everybody_sees_the_same():
    with shown() as (server, service):
        url = f"{server.url}/live/cameras/belt/preview"
        with urllib.request.urlopen(url, timeout=20) as one, urllib.request.urlopen(url, timeout=20) as other:
            assert one.headers["Content-Type"].startswith("multipart/x-mixed-replace; boundary=")
            pictures, others = parts_of(one, 4), parts_of(other, 4)
            assert all(is_box_drawn(jpeg) for _, jpeg in pictures)
            times = [float(headers["X-Timestamp"]) for headers, _ in pictures]
            assert times == sorted(set(times))
            assert {jpeg for _, jpeg in pictures} & {jpeg for _, jpeg in others}
        wait_until(lambda: service.looks[-1] == [], 5)
        assert service.looks == [["belt"], []]
        wait_until(lambda: service.lent == service.came_back, 5)
        lent = service.lent
        time.sleep(0.3)
        assert service.lent == lent


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/live/cameras/nobody/preview", 404),
        ("/live/cameras/..%2f/preview", 404),
        ("/live/cameras/door/preview", 503),
        ("/live/cameras/door/preview?one", 503),
    ],
)
def test_no_such_camera_and_none_that_says_anything(monkeypatch, path, status):
    monkeypatch.setattr(module, "FIRST_S", 0.3)
    with shown() as (server, _):
        got, headers, body = ask(server, path)
        assert got == status
        assert b'"error"' in body
        assert ("Retry-After" in headers) == (status == 503)


def test_where_there_is_no_live_service_there_are_no_previews():
    with served(wait=False) as server:
        assert ask(server, "/live/cameras/belt/preview")[0] == 404


def test_a_stream_whose_camera_falls_silent_ends(monkeypatch):
    monkeypatch.setattr(module, "SILENT_S", 0.4)
    with shown() as (server, service), urllib.request.urlopen(f"{server.url}/live/cameras/belt/preview", timeout=20) as answer:
        parts_of(answer, 2)
        service.brings = False
        answer.read()
        wait_until(lambda: service.looks[-1] == [], 5)


def test_a_board_that_is_too_warm_ends_streams_and_says_so():
    with shown() as (server, service):
        with urllib.request.urlopen(f"{server.url}/live/cameras/belt/preview", timeout=20) as answer:
            parts_of(answer, 1)
            service.tap.pause(paused=True)
            answer.read()
        began_s = time.monotonic()
        status, headers, body = ask(server, "/live/cameras/belt/preview")
        assert (status, headers["Retry-After"]) == (503, "10")
        assert b"too warm" in body
        assert time.monotonic() - began_s < 3
        service.tap.pause(paused=False)
        assert ask(server, "/live/cameras/belt/preview?one")[0] == 200


def test_without_the_token_nobody_looks():
    with shown(token=Secret("a-token-that-nobody-knows")) as (server, service):
        assert ask(server, "/live/cameras/belt/preview")[0] == 401
        assert ask(server, "/live/cameras/belt/preview?one", headers={"Authorization": "Bearer a-token-that-nobody-knows"})[0] == 200
        assert service.looks[0] == ["belt"]


def test_streams_end_when_the_server_does():
    with shown() as (server, _):
        answer = urllib.request.urlopen(f"{server.url}/live/cameras/belt/preview", timeout=20)
        with answer:
            parts_of(answer, 1)
            began_s = time.monotonic()
            server.close()
            assert time.monotonic() - began_s < 4
            answer.read()
