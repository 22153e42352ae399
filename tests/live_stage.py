"""A stage for cameras and workers: the loop and a hearer of the service, without the service. And a child that a test speaks for."""

import os
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from edgewright.clock import SystemClock
from edgewright.run.camera import Camera, Room
from edgewright.run.channel import channel_pair
from edgewright.run.child import STOPPED, LogTail, reap
from edgewright.run.loop import Loop
from edgewright.run.memory import MIB

WITHIN_S = 60.0  # nothing takes so long but on a machine that has no time


class Stage:
    """Records all that it hears. Frames are let go at once, unless `keeps`; then they are in `kept`."""

    def __init__(self, room_bytes=64 * MIB):
        self.loop, self.clock = Loop(), SystemClock()
        self.room_bytes = room_bytes
        self.promised = []
        self.came, self.dropped = 0, Counter()
        self.frames, self.kept, self.keeps = [], [], False
        self.events, self.data = [], []
        self.closed = []
        self.answers, self.unanswered, self.loads = [], [], []
        self.parts = []

    # --- what a camera says ---

    def captured(self, camera, count, dropped):
        self.came += count
        self.dropped.update(dropped)

    def frame(self, frame):
        self.frames.append((frame.number, frame.size_wh, frame.time_s, round(float(frame.picture().mean()))))
        if self.keeps:
            self.kept.append(frame.hold())

    def camera_happened(self, name, text, severity, data):
        self.events.append((severity, text))
        self.data.append(dict(data))

    def ring_closed(self, shared):
        self.closed.append(shared)
        for part in self.parts:
            if hasattr(part, "forget_ring"):
                part.forget_ring(shared)

    # --- what a worker says ---

    def answered(self, worker, result):
        self.answers.append((result.frame.number, result.detections, result.stages_ms))

    def not_answered(self, worker, frame):
        self.unanswered.append(frame.number)

    def idle(self, worker):
        assert worker.is_idle

    def loaded(self, worker, loaded):
        self.loads.append(loaded)

    worker_happened = camera_happened

    # --- how a test goes on ---

    def camera(self, settings, slots=5, **options):
        room = Room(lambda: self.room_bytes, self.promised.append)
        self.parts.append(Camera(settings, slots, loop=self.loop, clock=self.clock, room=room, hearer=self, **options))
        self.parts[-1]._backoff.first_s = 0.05
        return self.parts[-1]

    def turn(self, wait_s=0.02):
        self.loop.turn(wait_s)
        now_s = self.clock.monotonic_s()
        for part in self.parts:
            part.advance(now_s)

    def until(self, true):
        deadline_s = time.monotonic() + WITHIN_S
        while not true():
            assert time.monotonic() < deadline_s, f"it does not come to pass; {self.events} {[vars(part) for part in self.parts]}"
            self.turn()

    def said(self, words):
        return any(words in text for _, text in self.events)

    def release_all(self):
        while self.kept:
            self.kept.pop().release()

    def end(self):
        self.release_all()
        for part in self.parts:
            part.end()
        self.loop.close()


class Spoken:
    """In a child's place: no process, but a real channel, whose other end (`theirs`) the test has."""

    made: ClassVar[list] = []

    def __init__(self, module, name, environment=None):
        self.channel, self.theirs = channel_pair()
        self.theirs.set_blocking(False)
        self.log_fd, self._writing = os.pipe()
        self.log, self.pid = LogTail(), os.getpid()
        self.ended = False
        Spoken.made.append(self)

    def hear(self):
        self.log.take(os.read(self.log_fd, 1000))

    def end(self):
        assert not self.ended
        self.ended = True
        self.channel.close()
        self.theirs.close()
        os.close(self.log_fd)
        os.close(self._writing)
        return STOPPED


def descriptors():
    """Those that we have open, and what they lead to; the listing's own is gone when that is asked."""
    found = []
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(f"{path.name} {path.readlink()}")
    return sorted(found)


def left_over():
    """Descriptors of ours, and processes that we started; on a busy machine those that were killed may need a moment to go."""
    reap(10.0)
    return descriptors(), Path(f"/proc/self/task/{os.getpid()}/children").read_text()
