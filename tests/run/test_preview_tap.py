"""What is lent to whoever shows pictures: nothing while nobody looks, few frames of each camera, and none for long."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgewright.clock import SystemClock
from edgewright.detections import Detections
from edgewright.run.acting import ServiceActuator
from edgewright.run.channel import MOST_BYTES
from edgewright.run.frames import HeldFrame, SharedRing
from edgewright.run.front_settings import FrontSettings
from edgewright.run.govern.ladder import OperatingPoint
from edgewright.run.preview_tap import HELD_S, MOST_BOXES, PREVIEW_FPS, PreviewTap
from edgewright.run.records import Answer
from edgewright.run.ring import Ring
from edgewright.run.secrets import Address
from edgewright.run.service import Footprints, Service
from edgewright.run.settings import CameraSettings, ModelSettings, ServiceSettings

EVERY_S = 1 / 30


class Stage:
    """A service's frames, thirty a second of each camera, a tap, and what it says."""

    def __init__(self, ring):
        self.now_s = 100.0
        self.said = []
        self.is_heard = True
        self.shared = SharedRing(ring, lambda _: None)
        self.tap = PreviewTap(self)
        self.tap.joins(self.hear)
        self.number = 0

    def monotonic_s(self):
        return self.now_s

    def hear(self, words, _fds):
        if self.is_heard:
            self.said.append(words)
        return self.is_heard

    @property
    def lent(self):
        return [words for words in self.said if "picture" in words]

    def frame(self, *cameras, models=("m",), boxes=1):
        """A frame of each, which every model answers."""
        self.now_s += EVERY_S
        self.number += 1
        for camera in cameras:
            slot = self.shared.ledger.take()
            self.shared.ledger.fill(slot)
            frame = HeldFrame(camera, self.number, self.shared, slot, (1920, 1080), self.now_s, self.now_s, self.now_s)
            for model in models:
                self.tap.offer(frame, answer(camera, model, self.number, self.now_s, boxes))
            frame.release()
        self.tap.advance(self.now_s)

    def done(self):
        for words in self.lent:
            if not words.get("came back"):
                words["came back"] = True
                self.tap.done(words["picture"], words["job"])


def answer(camera, model, number, captured_s, boxes):
    found = Detections(
        np.full((boxes, 4), 1234.56, np.float32),
        np.linspace(0.98765, 0.1, boxes, dtype=np.float32),
        np.arange(boxes) % 80,
        [f"a class with quite a long name {n}" for n in range(80)],
    )
    return Answer(camera, model, number, captured_s, 12.34, (1920, 1080), found, np.arange(boxes) + 10_000)


@pytest.fixture
def stage():
    with Ring.make("all", slots=4, slot_bytes=12, room_bytes=1 << 20) as ring:
        stage = Stage(ring)
        yield stage
        stage.tap.let_go()
        assert stage.shared.ledger.free == 4


def test_nobody_looks_and_nothing_is_done(stage):
    for _ in range(30):
        stage.frame("belt", "door")
    assert stage.said == []


def test_a_few_frames_a_second_are_lent_of_the_cameras_that_somebody_looks_at(stage):
    stage.tap.look(["belt"])
    for _ in range(90):
        stage.frame("belt", "door")
        stage.done()
    assert {words["picture"] for words in stage.lent} == {"belt"}
    assert abs(len(stage.lent) - 3 * PREVIEW_FPS) <= 1
    stage.tap.look([])
    before = len(stage.lent)
    for _ in range(30):
        stage.frame("belt")
    assert len(stage.lent) == before


def test_one_frame_of_each_camera_is_in_hand(stage):
    stage.tap.look(["belt", "door"])
    for _ in range(20):
        stage.frame("belt", "door")
    assert sorted(words["picture"] for words in stage.lent) == ["belt", "door"]
    assert stage.shared.ledger.free == 2
    stage.done()
    assert stage.shared.ledger.free == 4


def test_what_hangs_keeps_no_slot_and_gets_no_more(stage):
    stage.tap.look(["belt"])
    for _ in range(round(2 * HELD_S / EVERY_S)):
        stage.frame("belt")
    assert (len(stage.lent), stage.shared.ledger.free) == (1, 4)
    stage.done()  # it goes on after all
    for _ in range(10):
        stage.frame("belt")
    assert len(stage.lent) == 2


def test_what_dies_gives_all_back_at_once_and_nobody_looks(stage):
    stage.tap.look(["belt", "door"])
    stage.frame("belt", "door")
    stage.tap.let_go()
    assert stage.shared.ledger.free == 4
    for _ in range(30):
        stage.frame("belt", "door")
    assert len(stage.lent) == 2


def test_a_picture_has_what_every_model_says_and_not_what_one_said_long_ago(stage):
    stage.tap.look(["belt"])
    stage.frame("belt", models=("old",))
    stage.done()
    stage.now_s += 2
    for _ in range(7):
        stage.frame("belt", models=("one", "other"))
        stage.done()
    assert {each["model"] for each in stage.lent[-1]["answers"]} == {"one", "other"}


def test_any_answer_fits_into_a_message(stage):
    stage.tap.look(["belt"])
    stage.frame("belt", models=("one", "other"), boxes=3000)
    (words,) = stage.lent
    assert [len(each["scores"]) for each in words["answers"]] == [MOST_BOXES]
    assert len(json.dumps({**words, "answers": words["answers"] * 2})) < MOST_BYTES


def test_while_the_board_is_too_warm_nothing_is_lent_and_whoever_looks_is_told(stage):
    stage.tap.pause(paused=True)
    assert stage.said == []
    stage.tap.look(["belt"])
    stage.frame("belt")
    stage.tap.pause(paused=False)
    stage.frame("belt")
    assert [words.get("previews_paused", "a picture") for words in stage.said if "slots" not in words] == [True, False, "a picture"]


def test_whoever_could_not_be_told_of_a_pause_or_its_end_is_told_when_it_hears_again(stage):
    stage.tap.look(["belt"])
    for paused in (True, False):
        stage.said.clear()
        stage.is_heard = False
        stage.tap.pause(paused=paused)
        stage.tap.advance(stage.now_s)
        stage.is_heard = True
        for _ in range(3):
            stage.tap.advance(stage.now_s)
        assert stage.said == [{"previews_paused": paused}]


def test_the_governor_pauses_previews_as_it_does_films(stage):
    model = ModelSettings("m", Path("m"))
    worker = SimpleNamespace(settings=model, state="ready")
    service = SimpleNamespace(workers={"m": worker}, cameras={}, recorders=[], previews=stage.tap)
    actuator = ServiceActuator(service, model, (), {"m": Path("m")}, {}, lambda *_: None)
    for drawing in (False, True):
        actuator.apply(OperatingPoint(artifact="m", drawing=drawing))
        assert stage.tap.is_paused != drawing
    service.previews = None
    actuator.apply(OperatingPoint(artifact="m", drawing=False))


def test_a_service_says_whether_its_previews_pause(tmp_path):
    models, cameras = (ModelSettings("m", Path("m")),), (CameraSettings("belt", Address("0")),)
    settings = ServiceSettings(models, cameras, state=tmp_path, memory_bytes=1 << 30, http=FrontSettings())
    service = Service(settings, clock=SystemClock(), takers=(), footprints=Footprints(lambda _: None, lambda *_: None))
    service.loop.close()
    for paused in (False, True):
        service.previews.pause(paused=paused)
        assert service.status()["previews"] == {"paused": paused}


@pytest.mark.parametrize("given", [("belt", 99), ("door", 1)])
def test_what_was_not_lent_is_not_taken_for_it(stage, given):
    stage.tap.look(["belt"])
    stage.frame("belt")
    assert not stage.tap.has_lent(*given)
