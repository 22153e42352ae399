"""A POST of JSON to a web server; 2xx counts as delivered.

`batch` = 1: the body is the record. Otherwise it is a list of up to `batch` records. `Idempotency-Key` names the body: the record's id,
or a digest of those of the list, whose records have theirs; a receiver that has seen it may drop it. Nothing is followed elsewhere (no
redirect, no proxy), no cookie is kept, and of an answer nothing is read but its status, `Retry-After`, and 64 KiB to keep the connection
in use.

What is the record's fault (most 4xx) is a refusal, and the record is counted and dropped. What may be put right outside (a token, an
address, a server that is busy or broken) is no refusal: the record waits. A server that refuses a list is sent its records singly.
"""

import hashlib
import http.client
import select
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import unquote, urlsplit

from edgewright.errors import InputError
from edgewright.printable import printable
from edgewright.run.letter import Letter
from edgewright.run.settings import WebhookOutput
from edgewright.run.sinks.base import Place, RefusedError, UndeliveredError
from edgewright.version import __version__

LONGEST_RETRY_S = 600.0
READ_BYTES = 64 << 10
# 401, 403, 407: who we are; 404, 405: where we knock; 408, 421, 423, 425, 426, 429: when and how. The rest is about what we say.
# RFC 9110 15.5, RFC 6585 4.
NOT_THE_RECORDS_FAULT: Final = frozenset({401, 403, 404, 405, 407, 408, 421, 423, 425, 426, 429})


class WebhookSink:
    """A web server that takes POSTs; see the module.

    Raises:
        InputError: the address is none of http or https.
    """

    on_disk = False
    gather_s = 0.0

    def __init__(self, output: WebhookOutput, place: Place) -> None:
        self.most_records = max(output.batch, 1)
        self._timeout_s = output.timeout_s
        self._clock = place.clock
        self._shown = printable(str(output.url), 200)
        try:
            parts = urlsplit(output.url.reveal())
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError:
            parts, self._host, self._port = urlsplit(""), "", None
        if parts.scheme not in ("http", "https") or not self._host:
            raise InputError(f"webhook {printable(output.name)}: {self._shown} is no address", expected="http://... or https://...")
        self._is_https = parts.scheme == "https"
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": f"edgewright/{__version__}",
            **_authorization(output, parts.username, parts.password),
        }
        self._connection: http.client.HTTPConnection | None = None

    def deliver(self, letters: Sequence[Letter]) -> None:
        if not letters:
            return
        if self.most_records == 1:
            for at, letter in enumerate(letters):
                self._post(letter.body, letter.id, at)
            return
        try:
            self._post(b"[" + b",".join(letter.body for letter in letters) + b"]", _key_of(letters), 0)
        except RefusedError:
            if len(letters) == 1:
                raise
            for at, letter in enumerate(letters):
                self._post(b"[" + letter.body + b"]", _key_of([letter]), at)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, body: bytes, key: str, delivered: int) -> None:
        """One request, answered with 2xx in time."""
        try:
            status, retry_after = self._exchange(body, key)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise UndeliveredError(f"{self._shown}: {_reason(error, self._timeout_s)}", delivered=delivered) from None
        except ValueError:  # a header that cannot be sent; which one, the message would tell with all that is in it
            self.close()
            raise UndeliveredError(f"{self._shown}: the token or the address holds what cannot be sent", delivered=delivered) from None
        if 200 <= status < 300:
            return
        said = f"{self._shown} answered {status} {http.client.responses.get(status, '')}".rstrip()
        if 400 <= status < 500 and status not in NOT_THE_RECORDS_FAULT:
            raise RefusedError(said, delivered=delivered)
        raise UndeliveredError(said, delivered=delivered, retry_after_s=self._retry_s(retry_after))

    def _exchange(self, body: bytes, key: str) -> tuple[int, str | None]:
        """Status and Retry-After. A server that sends a byte now and then is hung up on when the time is over."""
        connection = self._connected()
        is_late = threading.Event()
        hang_up = threading.Timer(self._timeout_s, _hang_up, (connection.sock, is_late))
        hang_up.daemon = True
        hang_up.start()
        try:
            connection.request("POST", self._target, body, self._headers | {"Idempotency-Key": key})
            with connection.getresponse() as response:
                if is_late.is_set():  # cut off in the middle of its headers, which http.client does not tell from their end
                    raise TimeoutError
                with suppress(OSError, http.client.HTTPException):  # the status is what counts
                    response.read(READ_BYTES)
                if is_late.is_set() or not response.isclosed():  # longer than we want to read
                    self.close()
                return response.status, response.headers.get("Retry-After")
        except (OSError, http.client.HTTPException):
            if is_late.is_set():
                raise TimeoutError from None
            raise
        finally:
            hang_up.cancel()

    def _connected(self) -> http.client.HTTPConnection:
        """A connection: the last one, if the server has not closed it."""
        if self._connection is not None and (self._connection.sock is None or _is_over(self._connection.sock)):
            self.close()
        if self._connection is None:
            if self._is_https:
                self._connection = http.client.HTTPSConnection(
                    self._host, self._port, timeout=self._timeout_s, context=ssl.create_default_context()
                )
            else:
                self._connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
            self._connection.connect()
        return self._connection

    def _retry_s(self, said: str | None) -> float | None:
        """Retry-After, seconds or a date (RFC 9110 10.2.3), within bounds."""
        if said is None:
            return None
        try:
            seconds = float(said) if said.strip().isdecimal() else self._until(said)
        except (ValueError, TypeError, OverflowError):
            return None
        return min(max(seconds, 0.0), LONGEST_RETRY_S)

    def _until(self, date: str) -> float:
        moment = parsedate_to_datetime(date)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - self._clock.wall_s()


def _authorization(output: WebhookOutput, user: str | None, password: str | None) -> dict[str, str]:
    if output.token is not None:
        return {"Authorization": f"Bearer {output.token.reveal()}"}
    if user is None:
        return {}
    return {"Authorization": "Basic " + b64encode(f"{unquote(user)}:{unquote(password or '')}".encode()).decode()}


def _key_of(letters: Sequence[Letter]) -> str:
    return hashlib.sha256("\n".join(letter.id for letter in letters).encode()).hexdigest()[:32]


def _reason(error: Exception, timeout_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    if isinstance(error, http.client.RemoteDisconnected | http.client.IncompleteRead | http.client.BadStatusLine):
        return "the connection ended without an answer"
    if isinstance(error, OSError):
        return printable(error.strerror or str(error), 150)
    return f"no answer of HTTP ({type(error).__name__})"


def _is_over(sock: socket.socket) -> bool:
    """Whether the other side has hung up, or said something that nobody asked for."""
    watched = select.poll()
    watched.register(sock, select.POLLIN)
    return bool(watched.poll(0))


def _hang_up(sock: socket.socket, is_late: threading.Event) -> None:
    is_late.set()
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
