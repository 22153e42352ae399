"""Ids of events: unique, and in the order of time, so that a list of them sorts itself and what was sent twice is seen to be."""

import hashlib
import math
import secrets
import threading
import uuid

LATEST_S = 253_402_300_799.0  # the year 9999: of the 48 bits, enough are left to go on counting
COUNT_BITS, TAG_BITS = 12, 62


class EventIds:
    """Gives each event its id: a UUID of version 7 (RFC 9562), milliseconds since 1970, then a count, then what only this service has.

    `tag`: any text that tells this service from every other, and from itself before it was started again; random by default.
    """

    def __init__(self, tag: str | None = None) -> None:
        digest = hashlib.sha256((tag or secrets.token_hex(16)).encode()).digest()
        self._tag = int.from_bytes(digest) >> (8 * len(digest) - TAG_BITS)
        self._last = -1  # milliseconds and count as one number
        self._lock = threading.Lock()

    def next(self, time_s: float) -> str:
        """The id of an event of that time, in seconds since 1970. A clock that is set back sets no id back: they go on from the latest."""
        ms = int(min(max(0.0, time_s), LATEST_S) * 1000) if math.isfinite(time_s) else 0
        with self._lock:
            self._last = max(self._last + 1, ms << COUNT_BITS)
            ms, count = divmod(self._last, 1 << COUNT_BITS)
        return str(uuid.UUID(int=ms << 80 | 7 << 76 | count << 64 | 0b10 << TAG_BITS | self._tag))
