"""A camera goes on whatever its process does: real processes that are killed and stopped, and one that says anything at all."""

import errno
import os
import signal

import cv2
import numpy as np
import pytest

from edgewright.clock import SystemClock
from edgewright.run import kept
from edgewright.run.readers.base import MOST_PIXELS
from edgewright.run.secrets import Address
from edgewright.run.settings import CameraSettings, MotionSettings
from live_stage import Spoken, Stage, left_over

FRAMES = 12


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "line.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20.0, (64, 48))
    for at in range(FRAMES):
        writer.write(np.full((48, 64, 3), 20 * at, np.uint8))
    writer.release()
    return path


@pytest.fixture
def stage():
    before = left_over()
    made = Stage()
    yield made
    made.end()
    assert left_over() == before
    assert made.promised[-1:] in ([], [0])
    assert all(shared.ring.fd == -1 for shared in made.closed)


def settings(source, **fields):
    return CameraSettings("belt", Address(str(source)), **fields)


def add_up(stage):
    on_the_way = sum(camera._open for camera in stage.parts)
    assert stage.came == len(stage.frames) + stage.dropped.total() + on_the_way


# --- real processes ---------------------------------------------------------------------------------------------------------------------


def test_every_frame_of_a_file_arrives_and_then_it_is_over(stage, clip):
    camera = stage.camera(settings(clip))
    stage.until(lambda: camera.is_over)
    assert [(number, size_wh) for number, size_wh, _, _ in stage.frames] == [(at, (64, 48)) for at in range(FRAMES)]
    assert [level for *_, level in stage.frames] == pytest.approx([20 * at for at in range(FRAMES)], abs=3)
    assert [time_s for *_, time_s, _ in stage.frames] == pytest.approx([at / 20 for at in range(FRAMES)], abs=1e-3)
    assert (camera.state, camera.restarts, camera.pid) == ("ended", 0, None)
    assert [text for _, text in stage.events] == ["frames come, through OpenCV FFmpeg, from a file", "its last frame was read"]
    add_up(stage)


def test_a_file_waits_for_whoever_is_slow(stage, clip):
    stage.keeps = True
    camera = stage.camera(settings(clip, stall_s=0.3), slots=4)
    stage.until(lambda: len(stage.kept) == 4)
    for _ in range(30):  # far longer than it may be silent
        stage.turn()
    assert (camera.state, camera.restarts) == ("up", 0)
    while not camera.is_over:
        stage.release_all()
        stage.turn()
    assert len(stage.frames) == FRAMES
    assert not stage.dropped


def test_no_more_frames_than_asked_for(stage, clip):
    camera = stage.camera(settings(clip, loop=True), most_frames=30)
    stage.until(lambda: camera.is_over)
    assert (stage.came, len(stage.frames)) == (30, 30)


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV])
def test_a_process_that_is_killed_or_stopped_is_replaced(stage, clip, by):
    camera = stage.camera(settings(clip, live=True, loop=True, stall_s=1.0 if by == signal.SIGSTOP else 60.0))
    stage.until(lambda: len(stage.frames) >= 3)
    first, restarts = camera.pid, camera.restarts
    os.kill(first, by)
    stage.until(lambda: camera.restarts > restarts)
    assert camera.pid != first
    seen = len(stage.frames)
    stage.until(lambda: len(stage.frames) >= seen + 3)
    assert stage.said("no frame for 1 s" if by == signal.SIGSTOP else f"capture process is gone (was ended by {by.name}); trying again in")
    assert stage.said("frames come again after")
    numbers = [number for number, *_ in stage.frames]
    assert numbers == sorted(set(numbers))
    add_up(stage)


def test_the_slots_of_a_process_that_is_gone_come_back_when_they_are_let_go(stage, clip):
    stage.keeps = True
    camera = stage.camera(settings(clip, live=True, loop=True), slots=4)
    stage.until(lambda: len(stage.kept) == 2)
    os.kill(camera.pid, signal.SIGKILL)
    stage.until(lambda: camera.restarts)
    assert stage.closed == []  # what is held is still there to be looked at
    assert stage.kept[0].picture().shape == (48, 64, 3)
    stage.release_all()
    assert len(stage.closed) == 1


def test_live_frames_without_a_slot_are_dropped_and_counted(stage, clip):
    stage.keeps = True
    stage.camera(settings(clip, live=True, loop=True), slots=3)
    stage.until(lambda: stage.dropped["no_slot"] >= 2)
    assert len(stage.frames) <= 3
    stage.release_all()
    stage.keeps = False
    seen = len(stage.frames)
    stage.until(lambda: len(stage.frames) > seen)
    add_up(stage)


def test_a_frame_rate_is_kept_and_can_be_changed(stage, clip):
    began_s = stage.clock.monotonic_s()
    camera = stage.camera(settings(clip, live=True, loop=True, fps=4))
    stage.until(lambda: stage.dropped["fps_cap"] >= 10)
    assert 1 <= len(stage.frames) <= 4 * (stage.clock.monotonic_s() - began_s) + 3
    camera.cap(None)
    stage.until(lambda: camera.most_fps is None and len(stage.frames) >= 10)
    add_up(stage)


def test_a_cap_that_allows_more_does_so_at_once(stage, clip):
    """However long the one before would have had it wait."""
    camera = stage.camera(settings(clip, live=True, loop=True, fps=0.001))
    stage.until(lambda: stage.dropped["fps_cap"] >= 5)
    before = len(stage.frames)
    camera.cap(10.0)
    stage.until(lambda: len(stage.frames) > before + 5)


def test_what_does_not_move_is_dropped_and_counted(stage, tmp_path):
    for at in range(8):
        cv2.imwrite(str(tmp_path / f"{at}.png"), np.full((48, 64, 3), 250 if at >= 6 else 10, np.uint8))
    camera = stage.camera(settings(tmp_path, motion=MotionSettings(at_least_every_s=1e6)))
    stage.until(lambda: camera.is_over)
    assert [number for number, *_ in stage.frames] == [0, 6, 7]
    assert stage.dropped == {"still": 5}
    add_up(stage)


def test_pictures_that_grow_get_larger_slots(stage, tmp_path):
    sizes = [(40, 30), (80, 60), (20, 10), (200, 100)]
    for at, (wide, high) in enumerate(sizes):
        cv2.imwrite(str(tmp_path / f"{at}.png"), np.full((high, wide, 3), 10 * at, np.uint8))
    camera = stage.camera(settings(tmp_path))
    stage.until(lambda: camera.is_over)
    assert [(size_wh, level) for _, size_wh, _, level in stage.frames] == [(size_wh, 10 * at) for at, size_wh in enumerate(sizes)]
    assert stage.said("the picture is 80 x 60 pixels now")
    assert len(stage.closed) == 3


def test_a_still_picture_of_another_size_is_no_nonsense(stage, tmp_path):
    """The word of its coming is said with the wish for larger slots; that it was dropped, later."""
    for at, wide in enumerate((160, 320, 640)):
        cv2.imwrite(str(tmp_path / f"{at}.png"), np.full((wide // 2, wide, 3), 50, np.uint8))
    camera = stage.camera(settings(tmp_path, motion=MotionSettings(at_least_every_s=1e6)))
    stage.until(lambda: camera.is_over)
    assert (camera.restarts, len(stage.frames), stage.dropped) == (0, 1, {"still": 2})


def test_what_is_no_source_is_refused(stage, tmp_path):
    (tmp_path / "x.mp4").write_bytes(b"no clip" * 100)
    camera = stage.camera(settings(tmp_path / "x.mp4"))
    stage.until(lambda: camera.is_over)
    assert (camera.state, camera.exit_code, camera.restarts) == ("refused", 2, 0)
    assert stage.events == [("error", camera.why)]


def test_what_is_not_there_now_is_waited_for(stage, tmp_path):
    folder = tmp_path / "later"
    folder.mkdir()
    camera = stage.camera(settings(folder, watch=True))
    folder.rmdir()
    stage.until(lambda: camera.restarts >= 2 or camera.state == "refused")
    assert camera.state != "refused", camera.why
    assert "the folder cannot be read" in camera.why
    assert len(stage.events) == 1  # said once
    folder.mkdir()
    stage.until(lambda: camera.state == "up")


def test_frames_that_do_not_fit_into_memory_are_said_with_the_figures(stage, clip):
    stage.room_bytes = 4096
    camera = stage.camera(settings(clip, live=True))
    stage.until(lambda: camera.restarts)
    assert stage.said("the frames of belt do not fit into memory")
    assert stage.said("0 MiB for 5 frames")
    assert (stage.came, stage.dropped) == (1, {"lost": 1})


def test_a_file_whose_frames_do_not_fit_is_not_tried_again(stage, clip):
    stage.room_bytes = 4096
    camera = stage.camera(settings(clip))
    stage.until(lambda: camera.is_over)
    assert (camera.state, camera.exit_code, camera.restarts) == ("refused", 3, 0)
    assert stage.said("the frames of belt do not fit into memory")
    assert (stage.came, stage.dropped) == (1, {"lost": 1})


def test_an_end_leaves_nothing_however_busy_it_was(stage, clip):
    stage.camera(settings(clip, live=True, loop=True))
    stage.until(lambda: stage.frames)  # the fixture looks for what is left


# --- one that says anything -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def spoken(stage, monkeypatch, clip):
    """A camera whose process the test speaks for: it has opened, and may fill slots for pictures of 64 x 48."""
    monkeypatch.setattr(kept, "Child", Spoken)
    camera = stage.camera(settings(clip, live=True, stall_s=1e6))
    stage.turn(0)
    child = Spoken.made[-1]
    say(child, "opened", reader="x", fps=None, frames=None, patient=False)
    say(child, "needs", received=1, slot_bytes=64 * 48 * 3)
    stage.turn(0)
    heard = []
    while (message := child.theirs.receive()) is not None:
        for descriptor in message.fds:
            os.close(descriptor)
        heard.append(message.words)
    assert [list(words) for words in heard] == [["open", "live", "most_fps", "motion", "most_frames", "skip"], ["ring"], ["fill"], ["fill"]]
    return camera, child


def say(child, what, received=0, dropped=None, **words):
    child.theirs.send({"say": what, "received": received, "dropped": dropped or {}, **words})


GOOD = {"say": "filled", "received": 0, "dropped": {}, "slot": 0, "wh": [64, 48], "at_s": 0.0, "wall_s": 1.0, "source_s": 1.0}
HUGE = 10**400


def test_a_good_word_is_taken(stage, spoken):
    camera, child = spoken
    child.theirs.send(GOOD)
    stage.turn(0)
    assert (camera.state, len(stage.frames), camera.restarts) == ("up", 1, 0)


class Ahead(SystemClock):
    """Of the real one, as far as a test says."""

    ahead_s = 0.0

    def monotonic_s(self):
        return super().monotonic_s() + self.ahead_s


@pytest.mark.parametrize("steady_s", [1.0, 10.0])
def test_a_picture_that_changes_is_no_failure_unless_it_does_so_all_the_time(stage, monkeypatch, clip, steady_s):
    monkeypatch.setattr(kept, "Child", Spoken)
    stage.clock = Ahead()
    camera = stage.camera(settings(clip, live=True, stall_s=1e6))
    for number in range(5):
        stage.turn(0)
        child = Spoken.made[-1]
        say(child, "opened", reader="x", fps=None, frames=None, patient=False)
        say(child, "needs", received=1, slot_bytes=64 * 48 * 3)
        child.theirs.send(GOOD)
        stage.turn(0)
        stage.clock.ahead_s += steady_s
        say(child, "lost", why="its picture has another size now", exit_code=3, changed=True)
        stage.turn(0)
        assert camera.state == ("waiting" if steady_s < 5 else "starting")
        assert camera.restarts == number + 1
        stage.clock.ahead_s += 50.0  # which is longer than any pause, and too short to forget failures
    assert camera._backoff.failures == (5 if steady_s < 5 else 0)


@pytest.mark.parametrize(("source", "restarts"), [("a clip", 0), ("rtsp://127.0.0.1:9/belt", 1)])
def test_what_plays_a_file_may_wait_for_its_next_frame_a_camera_may_not(stage, monkeypatch, clip, source, restarts):
    monkeypatch.setattr(kept, "Child", Spoken)
    stage.clock = Ahead()
    camera = stage.camera(settings(clip if source == "a clip" else source, live=True, stall_s=1.0))
    stage.turn(0)
    child = Spoken.made[-1]
    say(child, "opened", reader="x", fps=None, frames=None, patient=False)
    say(child, "needs", received=1, slot_bytes=64 * 48 * 3)
    child.theirs.send(GOOD)
    stage.turn(0)
    assert camera.state == "up"
    for _ in range(6):
        stage.clock.ahead_s += 0.5
        if not child.ended:
            say(child, "alive")
        stage.turn(0)
    assert child.ended == (restarts == 1)
    assert camera.restarts == restarts


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"say": "filled"},
        {"say": None, "received": 0, "dropped": {}},
        {"say": ["alive"], "received": 0, "dropped": {}},
        {"say": "hello", "received": 0, "dropped": {}},
        {**GOOD, "received": -1},
        {**GOOD, "received": True},
        {**GOOD, "received": 1e9},
        {**GOOD, "received": "1"},
        {**GOOD, "received": HUGE},
        {**GOOD, "received": 1 << 40},
        {**GOOD, "dropped": None},
        {**GOOD, "dropped": []},
        {**GOOD, "dropped": "x"},
        {**GOOD, "dropped": {"whim": 1}},
        {**GOOD, "dropped": {"still": -1}},
        {**GOOD, "dropped": {"still": 1}},
        {**GOOD, "dropped": {"still": 2}, "received": 1},
        {**GOOD, "slot": 2},
        {**GOOD, "slot": -1},
        {**GOOD, "slot": 99},
        {**GOOD, "slot": "0"},
        {**GOOD, "slot": HUGE},
        {**GOOD, "wh": [64, 49]},
        {**GOOD, "wh": [0, 48]},
        {**GOOD, "wh": [64]},
        {**GOOD, "wh": [64, 48, 3]},
        {**GOOD, "wh": 64},
        {**GOOD, "wh": [1 << 30, 1 << 30]},
        {**GOOD, "at_s": float("nan")},
        {**GOOD, "at_s": float("-inf")},
        {**GOOD, "at_s": HUGE},
        {**GOOD, "wall_s": float("inf")},
        {**GOOD, "wall_s": None},
        {**GOOD, "source_s": "soon"},
        {**GOOD, "source_s": float("nan")},
        {"say": "needs", "received": 0, "dropped": {}, "slot_bytes": 0},
        {"say": "needs", "received": 0, "dropped": {}, "slot_bytes": MOST_PIXELS * 3 + 1},
        {"say": "needs", "received": 0, "dropped": {}, "slot_bytes": HUGE},
        {"say": "opened", "received": 0, "dropped": {}, "reader": ["x"], "fps": None, "patient": False},
        {"say": "opened", "received": 0, "dropped": {}, "reader": "x", "fps": float("inf"), "patient": False},
        {"say": "lost", "received": 0, "dropped": {}, "why": 5, "exit_code": 3, "changed": False},
        {"say": "lost", "received": 0, "dropped": {}, "why": "x", "exit_code": 3},
        {"say": "lost", "received": 0, "dropped": {}, "why": "x", "exit_code": float("inf"), "changed": False},
        {"say": "lost", "received": 0, "dropped": {}, "why": "x", "exit_code": HUGE, "changed": False},
    ],
)
def test_nonsense_is_a_reason_to_replace_it_and_no_more(stage, spoken, words):
    camera, child = spoken
    child.theirs.send(words)
    stage.turn(0)
    assert child.ended
    assert (camera.state, camera.restarts) == ("waiting", 1)
    assert stage.said("its capture process speaks nonsense")
    assert stage.frames == []
    add_up(stage)
    assert len(stage.closed) == 1


@pytest.mark.parametrize("data", [b"nonsense", b"[]", b"\xff", b"{" * 1000])
def test_what_is_no_message_is_one_as_well(stage, spoken, data):
    camera, child = spoken
    child.theirs._end.send(data)
    stage.turn(0)
    assert (child.ended, camera.state) == (True, "waiting")


def test_descriptors_of_a_child_are_not_taken(stage, spoken):
    camera, child = spoken
    child.theirs.send({**GOOD}, (0, 0))
    stage.turn(0)
    assert (child.ended, camera.state) == (True, "waiting")


def test_a_slot_is_filled_once(stage, spoken):
    _, child = spoken
    stage.keeps = True
    child.theirs.send(GOOD)
    child.theirs.send({**GOOD, "received": 1})
    stage.turn(0)
    assert (child.ended, len(stage.frames), stage.came) == (True, 1, 1)  # nothing of what it says in such words is believed
    add_up(stage)


def test_times_that_cannot_be_are_made_ones_that_can(stage, spoken):
    _, child = spoken
    began_s = stage.clock.monotonic_s()
    for slot, at_s in enumerate((-1e15, 1e15)):
        child.theirs.send({**GOOD, "received": slot, "slot": slot, "at_s": at_s})
    stage.turn(0)
    assert all(began_s - 60 < time_s <= stage.clock.monotonic_s() for _, _, time_s, _ in stage.frames)
    assert len(stage.frames) == 2


def test_a_frame_that_came_and_could_not_be_decoded_is_counted_as_lost(stage, spoken):
    _, child = spoken
    say(child, "lost", received=2, dropped={"fps_cap": 1}, why="it sends what is no picture", exit_code=3, changed=False)
    stage.turn(0)
    assert (stage.came, stage.dropped) == (3, {"fps_cap": 1, "lost": 2})


def test_what_it_says_of_itself_is_one_line_without_credentials(stage, spoken):
    camera, child = spoken
    say(child, "lost", why="cannot open rtsp://u:hunter2@cam/\n\x1b[2J" + "x" * 5000, exit_code=3, changed=False)
    stage.turn(0)
    assert camera.why.startswith("cannot open rtsp://***@cam/\\n\\x1b")
    assert len(camera.why) <= 1000


def test_one_that_talks_without_end_does_not_keep_the_others_waiting(stage, spoken):
    camera, child = spoken
    heard = []

    def talks_on(*words):
        heard.append(words)
        if not child.ended:
            say(child, "alive", received=1, dropped={"still": 1})

    stage.captured = talks_on
    say(child, "alive", received=1, dropped={"still": 1})
    stage.turn(0)  # comes back
    assert 1 < len(heard) <= kept.MOST_HEARD
    assert camera.restarts == 0


def test_a_child_that_cannot_be_started_is_tried_again_later(stage, clip, monkeypatch):
    def no_more_processes(*_):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    with monkeypatch.context() as patched:
        patched.setattr(kept, "Child", no_more_processes)
        camera = stage.camera(settings(clip))
        stage.turn(0)
    assert (camera.state, camera.restarts) == ("waiting", 1)
    assert stage.said("its capture process cannot be started: resource temporarily unavailable")
    stage.until(lambda: camera.is_over)
    assert len(stage.frames) == FRAMES
