"""Pictures for those who look: a few frames a second of the cameras that somebody looks at, with what the models said of them.

The service taps its answers here. Whoever draws (the HTTP front) is another process, which says whose cameras are looked at, is lent a
frame, makes a small copy and gives it back. Nobody looks: nothing is done. Nothing waits for a preview, and one that hangs keeps no slot.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Final

from edgewright.clock import Clock
from edgewright.run.frames import HeldFrame, SharedRing
from edgewright.run.lending import Lending, Pace, Tell
from edgewright.run.records import Answer

PREVIEW_FPS: Final = 5.0
IN_HAND: Final = 1  # frames of a camera that are lent at once: for as long as a small copy takes
HELD_S: Final = 1.0  # after that the frame is taken back, and the picture is not shown
MOST_BOXES: Final = 100  # of one model: the best
TOGETHER_S: Final = 1.0  # so far apart may be what several models say in one picture


@dataclass(slots=True)
class _Lent:
    """What is lent of a camera; `is_back`: its slot was taken back, though nobody has said that it is done with it."""

    job: int
    until_s: float
    is_back: bool = False


class PreviewTap:
    """One service's. `joins` says who draws; `look` who is looked at; `done` ends what was lent."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pace = Pace(PREVIEW_FPS)
        self._looked: frozenset[str] = frozenset()
        self._answers: dict[str, dict[str, Answer]] = {}  # of looked-at cameras, each model's last
        self._lent: dict[str, _Lent] = {}
        self._is_paused = False
        self._said_paused: bool | None = None  # to those who look now
        self._tell: Tell = lambda _words, _fds: False
        self._lending = Lending(self._tell)

    @property
    def slots(self) -> int:
        """Of each camera's ring, that previews may hold."""
        return IN_HAND

    @property
    def is_paused(self) -> bool:
        return self._is_paused

    def joins(self, tell: Tell) -> None:
        """Who draws is told things in this way."""
        self._tell = tell
        self._lending = Lending(tell)

    # --- what the service says ------------------------------------------------------------------------------------------------------------

    def pause(self, *, paused: bool) -> None:
        """Lend nothing, or go on: the board is too warm to draw, or no longer is."""
        self._is_paused = paused
        self._say_whether_paused()

    def offer(self, frame: HeldFrame, answer: Answer) -> None:
        """A frame and what a model said of it; lent where somebody looks, one is due, and the one before has come back."""
        camera = answer.camera
        if camera not in self._looked or self._is_paused:
            return
        answers = self._answers.setdefault(camera, {})
        answers[answer.model] = answer
        if camera in self._lent or not self._pace.is_due(camera, frame.number, frame.at_s):
            return
        now_s = self._clock.monotonic_s()
        shown = [_shown(each) for each in answers.values() if abs(each.captured_s - answer.captured_s) <= TOGETHER_S]
        words = {"picture": camera, "wh": frame.size_wh, "time_s": frame.wall_s, "until_s": now_s + HELD_S, "answers": shown}
        if (job := self._lending.lend(frame, words)) is not None:
            self._lent[camera] = _Lent(job, now_s + HELD_S)

    def forget_ring(self, shared: SharedRing) -> None:
        """It is closed."""
        self._lending.forget_ring(shared)

    # --- what is said by, and of, who draws -----------------------------------------------------------------------------------------------

    def look(self, cameras: Collection[str]) -> None:
        """Somebody looks at these from now on, and at no others."""
        self._looked = frozenset(cameras)
        self._answers = {camera: answers for camera, answers in self._answers.items() if camera in self._looked}
        self._said_paused = None
        self._say_whether_paused()

    def has_lent(self, camera: str, job: int) -> bool:
        return (lent := self._lent.get(camera)) is not None and lent.job == job

    def done(self, camera: str, job: int) -> None:
        """The frame that was lent is not needed any more."""
        if self._lent.pop(camera).is_back:
            return
        self._lending.give_back(job)

    def advance(self, now_s: float) -> None:
        """Take back what was lent for too long; its camera is lent no more of until an answer comes. Say what could not be said before."""
        self._say_whether_paused()
        for lent in self._lent.values():
            if not lent.is_back and now_s >= lent.until_s:
                lent.is_back = True
                self._lending.give_back(lent.job)

    def _say_whether_paused(self) -> None:
        """Again and again until it is told: it would wait for pictures that do not come, or not for those that do."""
        if self._looked and self._said_paused != self._is_paused and self._tell({"previews_paused": self._is_paused}, ()):
            self._said_paused = self._is_paused

    def let_go(self) -> None:
        """Who drew is gone: nobody looks, and nothing is lent."""
        self._lending.give_all_back()
        self._lent.clear()
        self._answers.clear()
        self._looked = frozenset()


def _shown(answer: Answer) -> dict[str, Any]:
    """As much as a message holds: the best boxes, with their classes' own numbers, by which they are coloured."""
    best = answer.detections[:MOST_BOXES]
    tracks = None if answer.track_ids is None else answer.track_ids[:MOST_BOXES]
    return {**replace(answer, detections=best, track_ids=tracks).to_json(), "class_ids": best.class_ids.tolist()}
