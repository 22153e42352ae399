"""Who may ask, how often, and how many at once. Asked before a body is read, so that a refusal costs next to nothing."""

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from edgewright.clock import Clock
from edgewright.run.secrets import Secret
from edgewright.serve.http_settings import HttpSettings
from edgewright.serve.refusals import ForbiddenError, NotNowError, TooManyError, UnauthorizedError
from edgewright.serve.sessions import Sessions

MOST_ADDRESSES: Final = 4096  # whose pace is remembered
BURST_S: Final = 2.0
STREAM_AGAIN_S: Final = 10.0  # a stream ends when its client leaves
BEARER: Final = "bearer "
READS: Final = ("GET", "HEAD")
SIGN_IN_PER_S, SIGN_IN_BURST_S = 0.2, 25.0  # of one address: five at once, then one every five seconds


class Gate:
    """One server's."""

    def __init__(self, settings: HttpSettings, *, clock: Clock) -> None:
        self._settings = settings
        self._paces = None if settings.rate_per_s is None else Paces(settings.rate_per_s, clock)
        self._sign_ins = Paces(SIGN_IN_PER_S, clock, SIGN_IN_BURST_S)
        self.sessions = Sessions(clock, is_secure=settings.tls is not None)
        self.at_once = 0
        self.streams = 0
        self.held_bytes = 0

    def check(self, headers: Mapping[str, str], address: str, *, is_open: bool, method: str = "POST", is_for_people: bool = False) -> None:
        """`is_open`: the page is for everybody who can reach it, such as a health probe. `method`: what a session may do is read.
        `is_for_people`: a link on a page of another site may lead there.

        Raises:
            TooManyError, UnauthorizedError, ForbiddenError: it may not.
        """
        if is_open:
            return
        if self._paces is not None:
            self._paces.take(address)
        if self._settings.token is None:
            self._check_caller(headers, may_be_linked=is_for_people and method in READS)
        elif method not in READS or not self.only_reads(headers):
            check_token(headers.get("authorization", ""), self._settings.token)

    def only_reads(self, headers: Mapping[str, str]) -> bool:
        """Whether the caller shows a session in place of the token."""
        return self.wants_token and "authorization" not in headers and self.has_session(headers)

    def has_session(self, headers: Mapping[str, str]) -> bool:
        """Whether a browser asks that has shown the token, for a page of ours."""
        return is_of_same_origin(headers) and self.sessions.knows(headers)

    @property
    def wants_token(self) -> bool:
        return self._settings.token is not None

    def sign_in(self, token: str, headers: Mapping[str, str], address: str) -> str:
        """The value of a `Set-Cookie` for a browser that shows the token.

        Raises:
            TooManyError, ForbiddenError, UnauthorizedError: it tries too often, from a page of another site, or with another token.
        """
        if not is_of_same_origin(headers):
            raise ForbiddenError("a page of another site may not ask")
        self._sign_ins.take(address)
        if self._settings.token is not None:
            check_token(BEARER + token, self._settings.token)
        return self.sessions.begin(headers.get("host", ""))

    def sign_out(self, headers: Mapping[str, str]) -> str:
        """The value of a `Set-Cookie`.

        Raises:
            ForbiddenError: a page of another site asks.
        """
        if not is_of_same_origin(headers):
            raise ForbiddenError("a page of another site may not ask")
        return self.sessions.end(headers)

    def _check_caller(self, headers: Mapping[str, str], *, may_be_linked: bool) -> None:
        """Without a token, a page in this machine's browser must not be able to ask: neither from its own origin, be it for an <img> whose
        content it never sees, nor by a name that its owner has made to lead here (DNS rebinding).
        """
        host = headers.get("host", "")
        if not (is_of_same_origin(headers) or (may_be_linked and is_followed_link(headers))):
            raise ForbiddenError("a page of another site may not ask")
        if not _is_address(name := _host_name(host)) and name not in {"localhost", *self._settings.names}:
            raise ForbiddenError("the server is not known by this name", expected="its address, or a name in its settings")

    @contextmanager
    def answering(self) -> Iterator[None]:
        """One request more is being answered.

        Raises:
            TooManyError: so many are already.
        """
        if self.at_once >= self._settings.most_at_once:
            raise TooManyError("too many requests at once", got=f"{self.at_once}")
        self.at_once += 1
        try:
            yield
        finally:
            self.at_once -= 1

    @contextmanager
    def streaming(self) -> Iterator[None]:
        """One stream more is being sent.

        Raises:
            TooManyError: so many are already.
        """
        if self.streams >= self._settings.most_streams:
            raise TooManyError("too many streams at once", got=f"{self.streams}", retry_after_s=STREAM_AGAIN_S)
        self.streams += 1
        try:
            yield
        finally:
            self.streams -= 1

    def hold(self, count: int) -> None:
        """So many bytes more of a body have come.

        Raises:
            NotNowError: all bodies together are too much.
        """
        if self.held_bytes + count > self._settings.most_held_bytes:
            raise NotNowError("the server holds as many bytes of requests as it may", retry_after_s=1.0)
        self.held_bytes += count

    def let_go(self, count: int) -> None:
        self.held_bytes -= count


def is_of_same_origin(headers: Mapping[str, str]) -> bool:
    """Whether no page of another site asks, as far as the browser says where from: by Origin, or where it sends none, as for an <img>, by
    Sec-Fetch-Site, about which a page cannot make it lie (W3C, Fetch Metadata).
    """
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    try:
        return origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
    except ValueError:
        return False


def is_followed_link(headers: Mapping[str, str]) -> bool:
    """Whether a browser comes here with a whole window, from whichever site: what it gets, that site does not see."""
    return "origin" not in headers and (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == ("navigate", "document")


def check_token(authorization: str, token: Secret) -> None:
    """Raises UnauthorizedError: it is not there, or another one. How long that takes tells nothing of the token."""
    given = authorization[len(BEARER) :].strip() if authorization[: len(BEARER)].lower() == BEARER else ""
    if not hmac.compare_digest(_digest(given), _digest(token.reveal())):
        raise UnauthorizedError("the token is missing or wrong", expected="Authorization: Bearer TOKEN")


@dataclass(slots=True)
class Paces:
    """A bucket an address: it holds `burst_s` seconds' worth of requests and fills at `per_s`."""

    per_s: float
    clock: Clock
    burst_s: float = BURST_S
    _buckets: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)  # address -> (level, when)

    def take(self, address: str) -> None:
        """Raises TooManyError: it asks too often."""
        now_s, full = self.clock.monotonic_s(), max(1.0, self.per_s * self.burst_s)
        level, when_s = self._buckets.pop(address, (full, now_s))
        level = min(full, level + (now_s - when_s) * self.per_s)
        self._buckets[address] = (level - 1 if level >= 1 else level, now_s)
        while len(self._buckets) > MOST_ADDRESSES:
            self._buckets.popitem(last=False)
        if level < 1:
            raise TooManyError("too many requests", expected=f"at most {self.per_s:g} a second", retry_after_s=(1 - level) / self.per_s)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _host_name(host: str) -> str:
    """Without the port, and without the brackets of IPv6."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
