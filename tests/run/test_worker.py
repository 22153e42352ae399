"""A model goes on whatever its process does: real workers that are killed, stopped and refused, and one that says anything at all."""

import errno
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgewright.errors import HostError
from edgewright.run import kept
from edgewright.run.child import reap
from edgewright.run.frames import HeldFrame, SharedRing
from edgewright.run.memory import MIB
from edgewright.run.results import RESULT_BYTES
from edgewright.run.ring import Ring
from edgewright.run.settings import ModelSettings
from edgewright.run.worker import Order, Worker
from live_stage import Spoken, Stage, left_over
from tiny_detector import COLOURS, build_tiny_detector, save_tiny_detector


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_detector(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def remembered(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def stage(monkeypatch, remembered):
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(remembered))  # the door's examination once, not at every start
    before = left_over()
    made = Stage()
    yield made
    made.end()
    assert left_over() == before


@pytest.fixture
def pictures(stage):
    """A ring of a camera's with a red square in every slot, and frames out of it."""
    shared = SharedRing(Ring.make("belt", slots=3, slot_bytes=64 * 64 * 3, room_bytes=MIB), stage.ring_closed)
    numbers = iter(range(1000))

    def frame():
        slot = shared.ledger.take()
        shared.ledger.fill(slot)
        picture = shared.ring.picture(slot, (64, 64))
        picture[:] = 114
        picture[24:48, 16:40] = COLOURS["red"]
        return HeldFrame("belt", next(numbers), shared, slot, (64, 64), stage.clock.monotonic_s(), 0.0, 0.0)

    yield frame
    stage.end()
    shared.retire()
    assert shared.ring.fd == -1  # no frame is held by anybody


def worker_of(stage, path, *, room_bytes=4096 * MIB, **fields):
    settings = ModelSettings("m", path, threads=1, **fields)
    stage.parts.append(Worker(settings, loop=stage.loop, clock=stage.clock, room_bytes=lambda: room_bytes, hearer=stage))
    stage.parts[-1]._backoff.first_s = 0.05
    return stage.parts[-1]


def give(worker, frame, order=None):
    worker.give(frame, order or Order())
    frame.release()
    return frame.number


# --- real processes ---------------------------------------------------------------------------------------------------------------------


def test_a_life_of_answers_death_hanging_and_answers_again(stage, pictures, model):
    worker = worker_of(stage, model, answer_within_s=20.0)
    stage.until(lambda: worker.state == "ready")
    loaded = stage.loads[0]
    assert loaded.classes == ("red", "green", "blue")
    assert loaded.engine.startswith("onnxruntime")
    assert 5 * MIB < loaded.footprint.resident_bytes < 1024 * MIB

    # It sees the square, in the whole picture and in a part of it.
    whole = give(worker, pictures())
    stage.until(lambda: worker.is_idle)
    part = give(worker, pictures(), Order(region=(0.0, 0.25, 1.0, 1.0), low=0.2))
    stage.until(lambda: worker.is_idle)
    assert [number for number, *_ in stage.answers] == [whole, part]
    for _, found, stages_ms in stage.answers:
        assert found.names[0] == "red"
        assert np.allclose(found.boxes_xyxy[0], (16, 24, 40, 48), atol=8)
        assert all(ms >= 0 for ms in stages_ms)

    # It is killed over a frame.
    first = worker.pid
    os.kill(first, signal.SIGSTOP)
    lost = give(worker, pictures())
    os.kill(first, signal.SIGKILL)
    stage.until(lambda: worker.restarts)
    assert stage.unanswered == [lost]
    assert stage.said("its worker process is gone (was ended by SIGKILL); its replacement is started in")
    stage.until(lambda: worker.state == "ready")
    assert worker.pid != first

    # It hangs over a frame.
    worker.settings = replace(worker.settings, answer_within_s=0.5)
    os.kill(worker.pid, signal.SIGSTOP)
    hung = give(worker, pictures())
    stage.until(lambda: worker.restarts == 2)
    worker.settings = replace(worker.settings, answer_within_s=20.0)
    assert stage.unanswered == [lost, hung]
    assert stage.said("it gave no answer for 0 s")
    stage.until(lambda: worker.state == "ready")

    # And answers again: the ring is another process's to learn now.
    last = give(worker, pictures())
    stage.until(lambda: worker.is_idle)
    assert [number for number, *_ in stage.answers] == [whole, part, last]


@pytest.mark.parametrize("content", [b"", b"no model", "half"])
def test_a_file_that_is_no_model_is_refused(stage, tmp_path, content):
    path = tmp_path / "x.onnx"
    whole = build_tiny_detector().SerializeToString()
    path.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    worker = worker_of(stage, path)
    stage.until(lambda: worker.state not in ("loading", "waiting"))
    assert (worker.state, worker.exit_code, worker.restarts, worker.pid) == ("refused", 2, 0, None)
    worker.end()
    assert worker.state == "refused"  # which is what a service ends with
    assert [severity for severity, _ in stage.events] == ["error"]


def test_a_file_that_is_not_there_is_refused(stage, tmp_path):
    worker = worker_of(stage, tmp_path / "gone.onnx")
    stage.until(lambda: worker.state == "refused")
    assert worker.exit_code == 2


def test_names_that_no_message_holds_are_refused_in_a_sentence(stage, tmp_path):
    classes = tuple(f"class {at}" for at in range(5000))
    worker = worker_of(stage, save_tiny_detector(tmp_path / "long.onnx", classes=classes))
    stage.until(lambda: worker.state == "refused" or worker.restarts)
    assert (worker.state, worker.exit_code) == ("refused", 2), worker.why
    assert "names of its classes are too long" in worker.why


def test_one_that_takes_more_memory_than_there_is_ends_while_it_loads(stage, model):
    worker = worker_of(stage, model, room_bytes=2 * MIB)
    stage.until(lambda: worker.state == "refused")
    assert worker.exit_code == 3
    assert "the memory budget has 2 MiB left; raise `memory`" in worker.why
    assert stage.loads == []


def test_a_paused_worker_takes_nothing_until_it_goes_on(stage, pictures, model):
    worker = worker_of(stage, model)
    stage.until(lambda: worker.state == "ready")
    assert (worker.loaded.threads, worker.loaded.size_wh) == (1, (64, 64))
    assert worker.loaded.run_ms > 0
    pid = worker.pid
    os.kill(pid, signal.SIGSTOP)
    held = give(worker, pictures())
    worker.pause()
    assert (worker.state, worker.pid, stage.unanswered) == ("paused", None, [held])
    assert reap(10.0)
    assert not Path(f"/proc/{pid}").exists()
    stage.turn()
    assert worker.state == "paused"
    worker.go_on()
    stage.until(lambda: worker.state == "ready")
    answered = give(worker, pictures())
    stage.until(lambda: worker.is_idle)
    assert [number for number, *_ in stage.answers] == [answered]
    worker.end()
    worker.go_on()
    assert worker.state == "ended"


# --- one that says anything -------------------------------------------------------------------------------------------------------------

READY = {
    "say": "ready",
    "name": "n",
    "digest": "d",
    "classes": ["a", "b"],
    "needed": [0.25],
    "engine": "e",
    "load_ms": 1.0,
    "threads": 1,
    "size_wh": [64, 64],
    "run_ms": 1.0,
    "resident_bytes": 1,
    "transient_bytes": 1,
}
HUGE = 10**400


@pytest.fixture
def spoken(stage, monkeypatch, model):
    monkeypatch.setattr(kept, "Child", Spoken)
    worker = worker_of(stage, model)
    stage.turn(0)
    return worker, Spoken.made[-1]


def hear(child):
    heard = []
    while (message := child.theirs.receive()) is not None:
        heard.append((message.words, message.fds))
    return heard


@pytest.fixture
def at_work(stage, spoken, pictures):
    """Ready, and with a frame in hand; the test has the ring for its results."""
    worker, child = spoken
    child.theirs.send(READY)
    stage.turn(0)
    give(worker, pictures())
    heard = hear(child)
    assert [next(iter(words)) for words, _ in heard] == ["load", "results", "ring", "job"]
    (results,) = heard[1][1]
    os.close(heard[2][1][0])
    with Ring.attach(results, 1, RESULT_BYTES) as ring:
        yield worker, child, ring


def test_good_words_are_taken(stage, at_work):
    worker, child, _ = at_work
    child.theirs.send({"say": "done", "job": 1, "boxes": 2, "ms": [1, 2.5, 3]})
    stage.turn(0)
    assert (worker.is_idle, worker.restarts) == (True, 0)
    ((number, found, stages_ms),) = stage.answers
    assert (number, len(found), stages_ms) == (0, 2, (1.0, 2.5, 3.0))


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"say": "hello"},
        {"say": None},
        {"say": ["ready"]},
        {"say": "done", "job": 1, "boxes": 0, "ms": [1, 2, 3]},
        {"say": "refused"},
        {"say": "refused", "why": "x", "exit_code": float("inf")},
        {"say": "refused", "why": "x", "exit_code": HUGE},
        {"say": "refused", "why": {"a": 1}, "exit_code": 2},
        *({key: value for key, value in READY.items() if key != missing} for missing in READY),
        {**READY, "classes": 5},
        {**READY, "classes": None},
        {**READY, "needed": []},
        {**READY, "needed": [float("nan")]},
        {**READY, "needed": [HUGE]},
        {**READY, "needed": "0.5"},
        {**READY, "load_ms": float("inf")},
        {**READY, "resident_bytes": -1},
        {**READY, "resident_bytes": HUGE},
        {**READY, "engine": 7},
    ],
)
def test_nonsense_before_it_is_ready_is_a_reason_to_replace_it_and_no_more(stage, spoken, words):
    worker, child = spoken
    child.theirs.send(words)
    stage.turn(0)
    assert child.ended
    assert (worker.state, worker.restarts) == ("waiting", 1)
    assert stage.said("its worker process speaks nonsense")
    assert stage.loads == []


DONE = {"say": "done", "job": 1, "boxes": 1, "ms": [1, 2, 3]}


@pytest.mark.parametrize(
    "words",
    [
        READY,
        {**DONE, "job": 2},
        {**DONE, "job": "1"},
        {**DONE, "boxes": -1},
        {**DONE, "boxes": 301},
        {**DONE, "boxes": 1.5},
        {**DONE, "boxes": HUGE},
        {**DONE, "boxes": True},
        {**DONE, "ms": []},
        {**DONE, "ms": [1, 2]},
        {**DONE, "ms": [1, 2, float("nan")]},
        {**DONE, "ms": [1, 2, float("inf")]},
        {**DONE, "ms": [1, 2, HUGE]},
        {**DONE, "ms": "123"},
    ],
)
def test_nonsense_over_a_frame_loses_that_frame_and_no_more(stage, at_work, words):
    worker, child, _ = at_work
    child.theirs.send(words)
    stage.turn(0)
    assert child.ended
    assert (worker.state, worker.restarts) == ("waiting", 1)
    assert (stage.answers, stage.unanswered) == ([], [0])


@pytest.mark.parametrize("byte", [0xFF, 0x80])
def test_boxes_that_are_none_are_no_answer(stage, at_work, byte):
    worker, child, ring = at_work
    ring.slot(0)[:] = byte
    child.theirs.send(DONE)
    stage.turn(0)
    assert (worker.restarts, stage.answers, stage.unanswered) == (1, [], [0])


def test_an_answer_that_comes_twice_is_nonsense(stage, at_work):
    worker, child, _ = at_work
    child.theirs.send(DONE)
    child.theirs.send(DONE)
    stage.turn(0)
    assert (worker.restarts, len(stage.answers), stage.unanswered) == (1, 1, [])


def test_an_idle_one_is_asked_whether_it_is_there(stage, spoken):
    worker, child = spoken
    child.theirs.send(READY)
    stage.turn(0)
    for _, fds in hear(child):
        for descriptor in fds:
            os.close(descriptor)
    now_s = stage.clock.monotonic_s()
    worker.advance(now_s + 1.0)
    assert hear(child) == []
    worker.advance(now_s + 3.0)
    worker.advance(now_s + 4.0)
    assert [words for words, _ in hear(child)] == [{"ping": 0}]
    child.theirs.send({"say": "pong", "ping": 0})
    stage.turn(0)
    worker.advance(now_s + 6.0)
    assert [words for words, _ in hear(child)] == [{"ping": 0}]
    worker.advance(now_s + 20.0)
    assert (worker.state, worker.restarts) == ("waiting", 1)


def test_of_one_that_fails_and_fails_it_is_said_ever_less_often(stage, spoken):
    worker, _ = spoken
    for _ in range(16):
        Spoken.made[-1].theirs.send({"say": "refused", "why": "out of sorts", "exit_code": 1})
        stage.turn(0)
        assert worker.state == "waiting"
        worker._due_s = 0.0
        stage.turn(0)
    assert worker.restarts == 16
    assert [data["failures"] for data in stage.data] == [1, 2, 4, 8, 16]


def test_a_worker_that_gets_no_memory_for_its_answers_is_tried_again_later(stage, model, monkeypatch):
    def no_memory(*_args, **_fields):
        raise HostError("no memory for the ring of tiny")

    with monkeypatch.context() as patched:
        patched.setattr(Ring, "make", no_memory)
        worker = worker_of(stage, model)
        stage.turn(0)
        assert (worker.state, worker.restarts) == ("waiting", 1)
        assert stage.said("no memory for the ring")
    stage.until(lambda: worker.state == "ready")


def test_a_worker_that_cannot_be_started_is_tried_again_later(stage, model, monkeypatch):
    def no_more_processes(*_):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(kept, "Child", no_more_processes)
    worker = worker_of(stage, model)
    stage.turn(0)
    assert (worker.state, worker.restarts) == ("waiting", 1)
    assert stage.said("its worker process cannot be started: resource temporarily unavailable")
