"""Frames lent to a child process: it is told in which slot of which ring each one lies, and until it gives it back nobody writes there.

lending = Lending(tell)
job = lending.lend(frame, {"answer": answer.to_json()})   # {"job": 1, "ring": 7, "slot": 2, "answer": ...}
lending.give_back(job)
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from edgewright.run.frames import HeldFrame, SharedRing

Tell: TypeAlias = Callable[[dict[str, Any], tuple[int, ...]], bool]
"""Say it to the process, with descriptors; whether it was told."""

EARLY = 0.5  # of a frame's time
REMEMBERED = 64  # frames of a camera that a slower model may still answer
SET_BACK = 1.0 + EARLY  # as early as that only one comes whose source has begun again


class Lending:
    """What one process has in hand."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._known: set[int] = set()  # rings
        self._closed: set[int] = set()  # which it has not been told yet
        self._in_hand: dict[int, HeldFrame] = {}
        self._job = 0

    def __len__(self) -> int:
        return len(self._in_hand)

    def __contains__(self, job: object) -> bool:
        return job in self._in_hand

    def lend(self, frame: HeldFrame, words: Mapping[str, Any]) -> int | None:
        """The number by which it comes back; None where the process could not be told of it."""
        self._tell_closed()
        shared = frame.shared
        if shared.id not in self._known:
            if not self._tell({"ring": shared.id, "slots": shared.ring.slots, "slot_bytes": shared.ring.slot_bytes}, (shared.ring.fd,)):
                return None
            self._known.add(shared.id)
        job = self._job + 1
        if not self._tell({"job": job, "ring": shared.id, "slot": frame.slot, **words}, ()):
            return None
        self._job = job
        self._in_hand[job] = frame.hold()
        return job

    def give_back(self, job: int) -> None:
        """Raises KeyError: it has none of this number."""
        self._in_hand.pop(job).release()

    def give_all_back(self) -> None:
        """The process is gone; another one knows nothing yet."""
        while self._in_hand:
            _, frame = self._in_hand.popitem()
            frame.release()
        self._known.clear()
        self._closed.clear()

    def forget_ring(self, shared: SharedRing) -> None:
        """It is closed; the process lets its view go, and with it the memory. One that cannot be told now is told before the next frame."""
        if shared.id in self._known:
            self._known.discard(shared.id)
            self._closed.add(shared.id)
            self._tell_closed()

    def _tell_closed(self) -> None:
        self._closed = {ring for ring in self._closed if not self._tell({"unring": ring}, ())}


@dataclass(slots=True)
class Pace:
    """So many frames a second of each camera, taken from those that come. Models answer a frame at different times, and out of order."""

    fps: float
    _due: dict[str, float] = field(default_factory=dict)  # of each camera's next one
    _last: dict[str, int] = field(default_factory=dict)  # the number of the latest frame that was asked about
    _taken: dict[str, deque[int]] = field(default_factory=dict)

    def has_taken(self, camera: str, number: int) -> bool:
        """Whether this frame was one of those, lately."""
        return number in self._taken.get(camera, ())

    def is_due(self, camera: str, number: int, at_s: float) -> bool:
        """Whether this frame is to be taken, which is counted as done; only of one that is later than all that were asked about.

        A later frame with an earlier time: its source has begun again.
        """
        if number <= self._last.get(camera, -1):
            return False
        self._last[camera] = number
        period_s = 1 / self.fps
        due_s = self._due.get(camera, at_s)
        if at_s < due_s - SET_BACK * period_s:
            due_s = at_s
        if at_s < due_s - EARLY * period_s:
            return False
        self._due[camera] = max(due_s + period_s, at_s)
        self._taken.setdefault(camera, deque(maxlen=REMEMBERED)).append(number)
        return True
