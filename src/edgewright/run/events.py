"""Ids of events: unique, and in the order of time, so that a list of them sorts itself and what was sent twice is seen to be."""

import math
import secrets
import threading
import uuid

MOST_MS = (1 << 48) - 1
MOST_COUNT = (1 << 12) - 1


class EventIds:
    """Gives each event its id: a UUID of version 7 (RFC 9562), milliseconds since 1970, then a count, then what only this service has.

    Call it with the event's time, in seconds since 1970. A clock that is set back does not set the ids back: they go on from the latest.
    """

    def __init__(self, tag: int | None = None) -> None:
        """`tag`: 62 bits that tell this service from every other, and from itself before it was started again; random by default."""
        self._tag = secrets.randbits(62) if tag is None else tag & ((1 << 62) - 1)
        self._last = -1  # milliseconds and count as one number
        self._lock = threading.Lock()

    def __call__(self, time_s: float) -> str:
        ms = min(max(0, int(time_s * 1000)), MOST_MS) if math.isfinite(time_s) else 0
        with self._lock:
            self._last = max(self._last + 1, ms << 12)
            ms, count = divmod(self._last, MOST_COUNT + 1)
        return str(uuid.UUID(int=ms << 80 | 7 << 76 | count << 64 | 0b10 << 62 | self._tag))
