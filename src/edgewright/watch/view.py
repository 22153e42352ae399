"""What there is to show at one moment: the last that was heard, how old it is, and what stands in the way of more."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from edgewright.watch.asker import Answered
from edgewright.watch.lately import Lately, Sample, Trail
from edgewright.watch.said import Happened, Said, happened, said

STALE_S: Final = 3.5  # a service says something every second
MOST_EVENTS: Final = 500


@dataclass(frozen=True, slots=True)
class View:
    """`now_s`: the service's wall clock, as far as is known. `age_s`: of what is shown. `trouble`: why there is nothing newer."""

    place: str
    lately: Lately | None
    samples: Sequence[Sample]
    events: Sequence[Happened]  # the oldest first
    now_s: float
    age_s: float
    trouble: str | None


@dataclass(slots=True)
class Watched:
    """All that was heard of a service. `wall_s`, `monotonic_s`: our clocks."""

    place: str
    wall_s: Callable[[], float]
    monotonic_s: Callable[[], float]
    document: Any = None  # the last status, as it came
    _lately: Lately | None = None
    _trail: Trail = field(default_factory=Trail)
    _events: deque[Happened] = field(default_factory=lambda: deque(maxlen=MOST_EVENTS))
    _known: set[str] = field(default_factory=set)
    _heard_s: float | None = None
    _ahead_s: float = 0.0  # of the service's wall clock before ours
    _failure: str | None = None
    noted: int = 0  # events, since the first

    def hear(self, answer: Answered) -> bool:
        """Whether it was a new status."""
        self._failure = None if answer.failure is None else f"no answer: {answer.failure}"
        for event in happened(answer.events, MOST_EVENTS):
            self._note(event)
        status = None if answer.status is None else said(answer.status)
        if status is None:
            self._failure = self._failure or "what it says of itself is no status"
            return False
        return self._hear(status, answer.status)

    def _hear(self, status: Said, document: Any) -> bool:
        found = self._trail.hear(status, self.wall_s())
        if found is None:
            return False
        self.document, self._lately, self._heard_s = document, found, self.monotonic_s()
        self._ahead_s = 0.0 if status.wall_s is None else status.wall_s - self.wall_s()
        return True

    def _note(self, event: Happened) -> None:
        if event.id in self._known:
            return
        if len(self._events) == MOST_EVENTS:
            self._known.discard(self._events[0].id)
        self._events.append(event)
        self._known.add(event.id)
        self.noted += 1

    def since(self, noted: int) -> list[Happened]:
        """The events that came after so many had been noted, as far as they are kept."""
        new = min(self.noted - noted, len(self._events))
        return list(self._events)[-new:] if new > 0 else []

    def view(self) -> View:
        """As it is now."""
        age_s = 0.0 if self._heard_s is None else self.monotonic_s() - self._heard_s
        trouble = self._failure
        if trouble is None and age_s > STALE_S:
            trouble = "it says nothing new"
        now_s = self.wall_s() + self._ahead_s
        return View(self.place, self._lately, self._trail.samples, self._events, now_s, age_s, trouble)
