"""A recording output, where it cannot be told of a frame, and where it fails time after time."""

from pathlib import Path

from edgewright.clock import SystemClock
from edgewright.detections import Detections
from edgewright.run.frames import HeldFrame, SharedRing
from edgewright.run.loop import Loop
from edgewright.run.recorder import RecorderProcess
from edgewright.run.records import Answer
from edgewright.run.ring import Ring
from edgewright.run.settings import StretchOutput


class Nobody:
    def output_happened(self, name, text, severity, data):
        raise AssertionError(text)


class Wordy:
    """A child that is there, and whose channel takes no message that large."""

    class channel:  # noqa: N801 - as a child has it
        @staticmethod
        def send(words, fds=()):
            from edgewright.run.channel import TooMuchError

            if "job" in words:
                raise TooMuchError("too much")


def test_an_answer_that_no_message_holds_is_left_out_and_its_frame_let_go():
    loop = Loop()
    recorder = RecorderProcess(StretchOutput("all", folder=Path("all")), loop=loop, clock=SystemClock(), hearer=Nobody())
    recorder._child = Wordy()
    with Ring.make("belt", slots=2, slot_bytes=12, room_bytes=1 << 20) as ring:
        shared = SharedRing(ring, lambda _: None)
        shared.ledger.fill(shared.ledger.take())
        frame = HeldFrame("belt", 0, shared, 0, (2, 2), 1.0, 1.0, 1.0)
        recorder.offer(frame, Answer("belt", "m", 0, 1.0, 1.0, (2, 2), Detections.none()), live=True)
        frame.release()
        assert (recorder.offered, recorder.left_out, shared.ledger.free) == (1, 1, 2)
    loop.close()


class Told:
    def __init__(self):
        self.failures = []

    def output_happened(self, name, text, severity, data):
        self.failures.append(data["failures"])


def test_one_that_fails_time_after_time_is_told_of_ever_less_often():
    loop, told = Loop(), Told()
    recorder = RecorderProcess(StretchOutput("all", folder=Path("all")), loop=loop, clock=SystemClock(), hearer=told)
    for _ in range(100):
        recorder._fail("its folder cannot be written")
    assert told.failures == [1, 2, 4, 8, 16, 32, 64]
    assert recorder.restarts == 100
    loop.close()
