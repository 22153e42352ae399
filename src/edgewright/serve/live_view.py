"""What the front has heard of a live service: the one truth behind its pages, metrics and history."""

from collections import deque
from typing import Any, Final, Protocol

from edgewright.clock import Clock

MOST_EVENTS: Final = 500
STALE_S: Final = 5.0  # a service says how it is once a second; one that has not for so long is not ready

Status = dict[str, Any]
Told = dict[str, Any]  # an event, as `Event.to_json` gives it


class Listener(Protocol):
    """Who wants to hear of it at once: a history, a stream of events."""

    def heard_status(self, status: Status) -> None: ...
    def heard_event(self, event: Told) -> None: ...


class LiveView:
    """`status`: the last one, None before the first; `heard_s`: when it came, by `clock`. `events`: the latest, oldest first."""

    def __init__(self, clock: Clock) -> None:
        self.status: Status | None = None
        self.heard_s: float | None = None
        self.events: deque[Told] = deque(maxlen=MOST_EVENTS)
        self.listeners: list[Listener] = []
        self._clock = clock

    def hear_status(self, status: Status) -> None:
        self.status, self.heard_s = status, self._clock.monotonic_s()
        for listener in self.listeners:
            listener.heard_status(status)

    def hear_event(self, event: Told) -> None:
        self.events.append(event)
        for listener in self.listeners:
            listener.heard_event(event)

    @property
    def is_fresh(self) -> bool:
        """Whether it is of now."""
        return self.heard_s is not None and self._clock.monotonic_s() - self.heard_s <= STALE_S

    @property
    def is_ready(self) -> bool:
        """Whether the service has just said that it is."""
        return self.is_fresh and self.status is not None and self.status.get("ready") is True

    def events_after(self, last_id: str | None) -> list[Told]:
        """Those that came after the event of this id; all that are kept where it is None. Ids are in the order of time."""
        return [event for event in self.events if last_id is None or event["id"] > last_id]
