"""Asks a service once a second, in a thread of its own: however long it takes to answer, the screen goes on and a key is heard."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from edgewright.watch.link import Link, LinkError

EVERY_S: Final = 1.0
MOST_EVENTS: Final = 500
LONGEST_ID: Final = 64


@dataclass(frozen=True, slots=True)
class Answered:
    """`status`, `events`: JSON as it came; None where none did. `failure`: why not; `refused`: nor will it the next time."""

    status: Any = None
    events: Any = None
    failure: str | None = None
    refused: bool = False


def ask(link: Link, after: str | None) -> Answered:
    """The status, and the events since the one with that id."""
    status = None
    try:
        status = link.get("/live")
        events = link.get("/live/events" if after is None else f"/live/events?after={quote(after, safe='')}")
    except LinkError as error:
        return Answered(status, None, error.why, error.refused)
    return Answered(status, events)


def last_id(events: Any) -> str | None:
    """Of the last event on a page of them."""
    found = events.get("events") if isinstance(events, dict) else None
    last = found[-1] if isinstance(found, list) and found else None
    identity = last.get("id") if isinstance(last, dict) else None
    return identity if isinstance(identity, str) and 0 < len(identity) <= LONGEST_ID else None


class Asker:
    """`tell` is given each answer, in the thread that asks."""

    def __init__(self, link: Link, tell: Callable[[Answered], None], *, every_s: float = EVERY_S) -> None:
        self._link, self._tell, self._every_s = link, tell, every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="asker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask no more. A question that hangs is left behind: its thread ends with the process."""
        self._stopped.set()

    def _run(self) -> None:
        after: str | None = None
        due_s = time.monotonic()
        while not self._stopped.is_set():
            answer = ask(self._link, after)
            after = last_id(answer.events) or after
            self._tell(answer)
            # Not twice in a row for a second that was missed.
            due_s = max(due_s + self._every_s, time.monotonic())
            self._stopped.wait(due_s - time.monotonic())
        self._link.close()
