"""Browsers that have shown the token: an <img> cannot send an Authorization header, so they carry a cookie in its place.

What the cookie holds is random, and means something to this process alone, in memory: who sees it has not seen the token, and it is worth
nothing after a restart. It opens pages to read, never anything that changes or computes (see `Gate`), so that a page of another site has
nothing to gain from it.
"""

import hashlib
import re
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from edgewright.clock import Clock

MOST_SESSIONS: Final = 64
IDLE_S: Final = 12 * 3600.0  # a page that is open asks once a second
LONGEST_S: Final = 30 * 86_400.0
LONGEST_COOKIE: Final = 4096  # characters of the header
NAME: Final = "edgewright"


class Sessions:
    """One server's. `is_secure`: it speaks TLS, and its cookie is for nothing else."""

    def __init__(self, clock: Clock, *, is_secure: bool) -> None:
        self._clock, self._is_secure = clock, is_secure
        self._known: OrderedDict[bytes, tuple[float, float]] = OrderedDict()  # digest of the value -> (begun, last used), the latest last

    def begin(self, host: str) -> str:
        """Another session; the value of its `Set-Cookie`. `host`: as the request names the server. The one longest unused makes room."""
        value, now_s = secrets.token_urlsafe(32), self._clock.monotonic_s()
        self._known[_digest(value)] = now_s, now_s
        while len(self._known) > MOST_SESSIONS:
            self._known.popitem(last=False)
        return self._cookie(host, value)

    def knows(self, headers: Mapping[str, str]) -> bool:
        """Whether the request belongs to a session, which goes on with it. Digests are looked up: how long that takes tells nothing."""
        now_s, is_known = self._clock.monotonic_s(), False
        for digest in self._digests(headers):
            begun_s, used_s = self._known.pop(digest, (now_s, float("-inf")))
            if now_s - used_s <= IDLE_S and now_s - begun_s <= LONGEST_S:
                self._known[digest] = begun_s, now_s
                is_known = True
        return is_known

    def end(self, headers: Mapping[str, str]) -> str:
        """The request's session is over; a `Set-Cookie` that has the browser forget it."""
        for digest in self._digests(headers):
            self._known.pop(digest, None)
        return f"{self._cookie(headers.get('host', ''), '')}; Max-Age=0"

    def _digests(self, headers: Mapping[str, str]) -> list[bytes]:
        text, name = headers.get("cookie", ""), self._name(headers.get("host", ""))
        if len(text) > LONGEST_COOKIE:
            return []
        pairs = (part.strip().partition("=") for part in re.split("[;,]", text))
        return [_digest(value) for key, _, value in pairs if key == name]

    def _cookie(self, host: str, value: str) -> str:
        return f"{self._name(host)}={value}; Path=/; HttpOnly; SameSite=Strict{'; Secure' if self._is_secure else ''}"

    def _name(self, host: str) -> str:
        """With the port, which browsers forget: cookies of two services on one machine would take each other's place."""
        try:
            port = urlsplit(f"//{host}").port
        except ValueError:
            port = None
        return f"{'__Host-' if self._is_secure else ''}{NAME}_{port or 0}"


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()
