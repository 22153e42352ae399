"""The line to a service: GET, and JSON comes back, within a time and a size whatever is at the other end.

One connection is kept and asked again and again. For one thread.
"""

import io
import json
import socket
import ssl
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, Final, cast

from edgewright.printable import printable
from edgewright.version import __version__
from edgewright.watch.where import Place, Where

WITHIN_S: Final = 5.0  # for a whole answer, however it trickles
FIRST_S: Final = 30.0  # for one after none: a service may begin its HTTP process when somebody comes, on the slowest board
MOST_BYTES: Final = 8 << 20
MOST_REASON: Final = 200  # characters
NOBODY: Final = "nobody is there"
REFUSALS: Final = {
    401: "the token is missing or wrong",
    403: "it does not let us in",
    404: "it has no live service",
    405: "it has no live service",
}


class LinkError(Exception):
    """No answer, or one that is none. `refused`: asking again will not help."""

    def __init__(self, why: str, *, refused: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.refused = refused


class Link:
    """To the service at a place."""

    def __init__(
        self, where: Where, *, within_s: float = WITHIN_S, first_s: float = FIRST_S, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._place, self._within_s, self._first_s, self._now_s = where.place, within_s, first_s, now_s
        self._has_answered = False
        self._headers: dict[str, str | bytes] = {"Accept": "application/json", "User-Agent": f"edgewright-watch/{__version__}"}
        if where.token is not None:
            self._headers["Authorization"] = b"Bearer " + where.token.reveal().encode()
        self._connection: _Connection | None = None

    def get(self, path: str) -> Any:
        """What the page says.

        Raises:
            LinkError: with the reason, in words that may be shown.
        """
        until_s = self._now_s() + (self._within_s if self._has_answered else self._first_s)
        self._has_answered = False
        try:
            is_kept = self._connection is not None
            try:
                response, body = self._ask(path, until_s)
            except (ConnectionError, HTTPException):
                # The other end may close a kept connection at any time (RFC 9112, section 9.5): not a failure before a new one fails.
                if not is_kept:
                    raise
                self.close()
                response, body = self._ask(path, until_s)
            self._has_answered = True
            return _document(response, body)
        except (OSError, HTTPException, ValueError) as error:
            raise LinkError(why(error)) from None
        finally:
            # What was left half read would be taken for the next answer.
            if self._connection is not None and not self._connection.is_at_rest:
                self.close()

    def close(self) -> None:
        """Let go of the connection; the next question makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _ask(self, path: str, until_s: float) -> tuple[HTTPResponse, bytes]:
        if self._connection is None:
            self._connection = _Connection(self._place, self._now_s)
        connection = self._connection
        connection.until_s = until_s
        connection.is_at_rest = False
        connection.request("GET", self._place.prefix + path, headers=self._headers)
        response = connection.getresponse()
        body = response.read(MOST_BYTES + 1)
        if len(body) > MOST_BYTES:
            raise LinkError(f"it says more than {MOST_BYTES >> 20} MiB at once")
        if response.length:
            raise LinkError("what it answers is cut off")
        connection.is_at_rest = not response.will_close
        return response, body


def _document(response: HTTPResponse, body: bytes) -> Any:
    """JSON that was answered with 200."""
    status = response.status
    if status in REFUSALS:
        raise LinkError(REFUSALS[status], refused=True)
    if status != 200:
        raise LinkError(f"it answers with status {status}" + (f": {said}" if (said := _said(body)) else ""))
    return loads(body)


def loads(body: bytes) -> Any:
    """JSON, and nothing that only Python takes for it.

    Raises:
        LinkError: it is none.
    """
    try:
        return json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise LinkError("what it answers is no JSON") from None


def _no_number(name: str) -> Any:
    raise ValueError(name)


def _said(body: bytes) -> str:
    """What the error's body says for people."""
    try:
        found = loads(body)
    except LinkError:
        return ""
    said = found.get("error") if isinstance(found, dict) else None
    return printable(said, MOST_REASON) if isinstance(said, str) else ""


def why(error: Exception) -> str:
    """In a few words, which are safe to show."""
    return printable(_why(error), MOST_REASON)


def _why(error: Exception) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            said = f"its certificate is not trusted: {error.verify_message}"
        case TimeoutError():
            said = "it does not answer in time"
        case ConnectionRefusedError() | FileNotFoundError():
            said = NOBODY
        case ConnectionError():
            said = "it hangs up"
        case OSError():
            said = error.strerror or str(error) or type(error).__name__
        case HTTPException():
            said = f"what it answers is no HTTP ({type(error).__name__})"
        case _:
            said = str(error)
    return said


class _Connection(HTTPConnection):
    """http.client's, to any place; everything until `until_s` together."""

    def __init__(self, place: Place, now_s: Callable[[], float]) -> None:
        super().__init__(place.host)
        self.until_s = 0.0
        self.is_at_rest = False  # whether an answer was read to its end, and another question may follow
        self._place, self._now = place, now_s

    def connect(self) -> None:
        self.sock = cast("socket.socket", _Timed(self._place.connect(self.left_s()), self.left_s))

    def left_s(self) -> float:
        """How much time is left.

        Raises:
            TimeoutError: none.
        """
        left = self.until_s - self._now()
        if left <= 0:
            raise TimeoutError
        return left


class _Timed:
    """As much of a socket as http.client uses. Each step may take what is left of the whole: a byte a second makes no eternity."""

    def __init__(self, inner: socket.socket, left_s: Callable[[], float]) -> None:
        self._inner, self._left_s = inner, left_s

    def sendall(self, data: bytes) -> None:
        self._inner.settimeout(self._left_s())
        self._inner.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        assert mode == "rb"  # noqa: S101 - http.client only reads by it
        return io.BufferedReader(_Incoming(self._inner, self._left_s))

    def close(self) -> None:
        self._inner.close()


class _Incoming(io.RawIOBase):
    """What comes in. Closing it leaves the socket open, for the next answer."""

    def __init__(self, inner: socket.socket, left_s: Callable[[], float]) -> None:
        self._inner, self._left_s = inner, left_s

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        self._inner.settimeout(self._left_s())
        return self._inner.recv_into(into)
