"""What fails in our own hands is counted and told of, costs no more than the frame it happens over, and no process its life."""

import os
from itertools import count
from types import MappingProxyType

import pytest

from edgewright.clock import SystemClock
from edgewright.detections import Detections
from edgewright.run import kept
from edgewright.run.faults import Faults
from edgewright.run.frames import HeldFrame, SharedRing
from edgewright.run.loop import Loop
from edgewright.run.memory import MIB
from edgewright.run.records import Answer
from edgewright.run.ring import Ring
from edgewright.run.secrets import Address
from edgewright.run.service import Footprints, Service
from edgewright.run.settings import CameraSettings, ModelSettings, RuleSettings, ServiceSettings
from edgewright.run.worker import Result
from edgewright.vision.tracking import Tracker
from live_service import assert_it_adds_up, write_blinking_clip
from live_stage import Spoken, Stage, left_over
from tiny_detector import save_tiny_detector


def unheard_of(*_, **__):
    raise ZeroDivisionError("nobody thought of rtsp://eye:s3cret@10.0.0.9/")


# --- how they are told of -----------------------------------------------------------------------------------------------------------------


def test_what_fails_again_and_again_is_told_of_ever_less_often():
    told = []
    faults = Faults(lambda text, data: told.append((text, data)))
    for _ in range(20):
        with faults.met("rule gate"):
            unheard_of()
    with faults.met("rule yard"):
        unheard_of()
    assert faults.counts == {"rule gate": 20, "rule yard": 1}
    assert [(data["where"], data["count"]) for _, data in told] == [*(("rule gate", count) for count in (1, 2, 4, 8, 16)), ("rule yard", 1)]
    text, data = told[0]
    assert text == "a fault of edgewright's own, with rule gate: ZeroDivisionError: nobody thought of rtsp://***@10.0.0.9/; it goes on"
    calls = ["test_what_fails_again_and_again_is_told_of_ever_less_often", "unheard_of"]
    assert [call.partition(" in ")[2] for call in data["last_words"]] == calls
    assert all("/" not in call for call in data["last_words"])


def test_who_cannot_even_tell_of_it_is_counted_and_asked_no_further():
    def tell(*_):
        with faults.met("what takes records"):
            unheard_of()

    faults = Faults(tell)
    with faults.met("rule gate"):
        unheard_of()
    assert faults.counts == {"rule gate": 1, "what takes records": 1}


def test_who_is_stopped_is_stopped():
    with pytest.raises(KeyboardInterrupt), Faults(print).met("anything"):
        raise KeyboardInterrupt


# --- cameras and workers ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def stage(monkeypatch):
    """Children are spoken for; `stage.errors` are what the loop was told of."""
    monkeypatch.setattr(kept, "Child", Spoken)
    before = left_over()
    made = Stage()
    made.loop.close()
    made.errors = []
    made.loop = Loop(made.errors.append)
    yield made
    made.end()
    assert left_over() == before


def say(child, what, received=0, **words):
    child.theirs.send({"say": what, "received": received, "dropped": {}, **words})


def hear(child):
    """What it was told; its descriptors are not wanted."""
    while (message := child.theirs.receive()) is not None:
        for descriptor in message.fds:
            os.close(descriptor)


def test_a_camera_is_not_blamed_for_what_others_do_with_its_frames(stage, tmp_path):
    write_blinking_clip(tmp_path / "clip.avi", frames=2)
    camera = stage.camera(CameraSettings("belt", Address(str(tmp_path / "clip.avi")), live=True), slots=3)
    stage.turn(0)
    child = Spoken.made[-1]
    say(child, "opened", reader="x", fps=None, frames=None, patient=False)
    say(child, "needs", received=1, slot_bytes=64 * 48 * 3)
    stage.turn(0)
    stage.frame, frame = unheard_of, stage.frame
    filled = {"wh": [64, 48], "at_s": 0.0, "wall_s": 1.0, "source_s": 1.0}
    say(child, "filled", slot=0, **filled)
    say(child, "filled", received=1, slot=1, **filled)
    stage.until(lambda: len(stage.errors) == 2)  # each in a turn of its own
    stage.frame = frame
    say(child, "filled", received=1, slot=2, **filled)
    stage.turn(0)
    hear(child)
    assert (camera.restarts, camera.state, child.ended) == (0, "up", False)
    assert [number for number, *_ in stage.frames] == [2]
    assert camera._shared.ledger.free + camera._shared.ledger.writing == 3  # nobody holds a frame


# --- the whole service --------------------------------------------------------------------------------------------------------------------

FRAMES = 40


class Takes:
    """Records, but the first answer it fails over."""

    def __init__(self):
        self.records = []

    def offer(self, record):
        if isinstance(record, Answer) and record.frame == 7:
            unheard_of()
        self.records.append(record)


@pytest.fixture
def service(tmp_path, monkeypatch):
    """Real processes, over a film whose every frame is answered."""
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "cache"))
    clip = write_blinking_clip(tmp_path / "clip.avi", frames=FRAMES)
    settings = ServiceSettings(
        (ModelSettings("tiny", save_tiny_detector(tmp_path / "tiny.onnx"), threads=1),),
        (CameraSettings("belt", Address(str(clip))),),
        rules=(RuleSettings("first", "seen"), RuleSettings("second", "seen")),
    )
    footprints = Footprints(lambda _: None, lambda *_: None)
    service = Service(settings, clock=SystemClock(), takers=[Takes(), Takes()], footprints=footprints)
    service.start()
    yield service
    service.end()


def test_tracks_rules_and_takers_may_fail_and_the_worker_works_on(service, monkeypatch):
    update, first, calls = Tracker.update, service._rules[0], []
    look = first.look

    def update_but_for_some(tracker, detections, time_s):
        calls.append(time_s)
        return unheard_of() if len(calls) in (3, 12, 13) else update(tracker, detections, time_s)

    monkeypatch.setattr(Tracker, "update", update_but_for_some)
    monkeypatch.setattr(first, "look", lambda answer: unheard_of() if answer.frame == 8 else look(answer))
    service.run(lambda: False)

    (pair,) = service.totals()["belt"]["models"].values()
    assert (pair["answered"], pair["dropped"]) == (FRAMES - 3, {"fault": 3})
    assert service.workers["tiny"].restarts == service.cameras["belt"].restarts == 0
    assert service.status()["faults"] == {"the tracks of belt": 3, "rule first": 1, "what takes records (Takes)": 2}
    for taker in service._takers:
        answers = [record.frame for record in taker.records if isinstance(record, Answer)]
        assert answers == [number for number in range(FRAMES) if number not in (2, 7, 11, 12)]
        told = [event for event in taker.records if not isinstance(event, Answer) and "fault of edgewright" in event.text]
        assert {(event.kind, event.severity) for event in told} == {("service", "error")}
        assert len(told) == 5  # the third of the tracks' is not told of
        # Both rules speak of every appearance, the first of that which comes on frame 8 as soon as it is asked again.
        assert [sum(event.name == name for event in taker.records if hasattr(event, "kind")) for name in ("first", "second")] == [5, 5]
    assert_it_adds_up(service.status())


class Joins:
    """A companion that fails whenever it is to do what is due."""

    name, pid, used_bytes, has_finished = "front", None, MappingProxyType({}), True

    def start(self):
        pass

    def offer(self, record):
        pass

    def advance(self, now_s):
        unheard_of()

    def finish(self, within_s):
        pass

    end = start


def test_what_is_due_may_fail_and_all_else_is_done(service, monkeypatch):
    service.companions.join(Joins())
    worker, camera = service.workers["tiny"], service.cameras["belt"]
    for part in (worker, camera):
        monkeypatch.setattr(part, "advance", but_every_third(part.advance))
    monkeypatch.setattr(service, "_measure", unheard_of)
    service._measured_s = float("-inf")  # it is due at once
    service.run(lambda: False)
    (pair,) = service.totals()["belt"]["models"].values()
    assert (pair["answered"], pair["dropped"]) == (FRAMES, {})
    assert worker.restarts == camera.restarts == 0
    assert service.status()["faults"].keys() >= {"model tiny", "camera belt", "front", "what memory is taken"}


def but_every_third(advance):
    calls = count(1)
    return lambda now_s: unheard_of() if next(calls) % 3 == 0 else advance(now_s)


def test_an_answer_that_is_dropped_leaves_no_slot_behind(tmp_path):
    """Not even where the tracker is not there any more to forget."""
    settings = ServiceSettings((ModelSettings("tiny", tmp_path),), (CameraSettings("belt", Address("0")),))
    service = Service(settings, clock=SystemClock(), takers=[], footprints=Footprints(lambda _: None, lambda *_: None))
    with Ring.make("belt", slots=1, slot_bytes=12, room_bytes=MIB) as ring:
        shared = SharedRing(ring, lambda _: None)
        shared.ledger.fill(shared.ledger.take())
        frame = HeldFrame("belt", 0, shared, 0, (2, 2), 1.0, 1.0, 1.0)
        service.answered(service.workers["tiny"], Result(frame, Detections.none(), 0.0, (1.0, 1.0, 1.0)))  # which was never loaded
        frame.release()
        assert service.figures["belt"].models["tiny"].dropped == {"fault": 1}
        assert shared.ledger.free == 1
    service.loop.close()
