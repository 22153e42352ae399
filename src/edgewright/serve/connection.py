"""One client's connection: requests in, answers out, each within its time and size. h11 knows HTTP/1.1; the bytes go through asyncio."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import h11

from edgewright.errors import InputError
from edgewright.serve.binary import Raw
from edgewright.serve.gate import Gate
from edgewright.serve.http_settings import HttpSettings
from edgewright.serve.refusals import TooLargeError, TooSlowError

PIECE: Final = 1 << 18
SLOWEST_BYTES_PER_S: Final = 1 << 20  # of a large answer
MOST_HEADER_BYTES: Final = 16 << 10
MOST_HEADERS: Final = 64
# Of a chunked body: a byte a chunk would take a hundred times as long to read as it takes to send.
FEW_PIECES, LEAST_PIECE = 4096, 64
OTHERS_TURN: Final = 64  # pieces, after which whoever else can go on does
VERSIONS: Final = (b"1.0", b"1.1")
LINGER_S, LINGER_BYTES = 1.0, 8 << 20  # for a client that still sends a body nobody wants, so that it reads why
STREAM_BYTES: Final = 64 << 10  # that the system may have of a stream and the client has not: with more, what it sees would be old

Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body. `headers` by their names in small letters; of one that came twice, all values with commas."""

    method: str
    target: str
    headers: Headers
    address: str


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; its body in pieces."""

    status: int
    pieces: tuple[Raw, ...] = ()
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = field(default=())

    @property
    def total_bytes(self) -> int:
        return sum(map(len, self.pieces))


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer that goes on: each piece is asked for when the client has taken the one before, so that a slow one makes no queue."""

    pieces: AsyncGenerator[Raw, None]
    content_type: str
    status: int = 200


class BadRequestError(InputError):
    """What came is no HTTP that we answer otherwise than with this."""

    def __init__(self, what: str, status: int) -> None:
        super().__init__(what)
        self.http_status = status


class Connection:
    """From its first byte to its last. `next_head`, perhaps `body`, `respond` or `stream`; and again while `goes_on`."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, settings: HttpSettings, gate: Gate, *, is_own: bool = False
    ) -> None:
        self._reader, self._writer, self._settings, self._gate = reader, writer, settings, gate
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEADER_BYTES)
        self._held_bytes = 0
        self._method = "GET"
        peer = writer.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        self.is_own = is_own  # of a process of our own user, through a socket that nobody else may open
        self.is_idle = True
        self.is_last = False  # after this answer it is over
        self._ending = asyncio.Event()  # what goes on is to end

    @property
    def goes_on(self) -> bool:
        return not self.is_last and self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    async def next_head(self) -> Head | None:
        """The next request; None where the client has gone, or was silent for too long.

        Raises:
            BadRequestError, TooSlowError: it began one, which is none, or not whole in time.
        """
        if self._http.our_state is h11.DONE:
            self._http.start_next_cycle()
        self.is_idle = True
        self._method = "GET"  # what is none yet is refused in words
        if not self._http.trailing_data[0]:
            try:
                async with asyncio.timeout(self._settings.idle_s):
                    first = await self._reader.read(PIECE)
            except TimeoutError:
                return None
            if not first:
                return None
            self._receive(first)
        try:
            async with asyncio.timeout(self._settings.header_s):
                event = await self._event()
        except TimeoutError:
            raise TooSlowError("the request's header did not come in time", expected=f"within {self._settings.header_s:g} s") from None
        if not isinstance(event, h11.Request):
            return None
        self.is_idle = False  # not before: a byte a connection would take the room of everybody who asks for something
        self._method = event.method.decode("ascii")
        if event.http_version not in VERSIONS:
            raise BadRequestError("another version of HTTP than 1.1", 400)
        return Head(self._method, event.target.decode("ascii", "replace"), _headers(event), self.address)

    async def body(self) -> bytearray:
        """All of it.

        Raises:
            TooLargeError, TooSlowError, BadRequestError, NotNowError: it is too large, too slow, no body, or one too many.
        """
        found, pieces = bytearray(), 0
        try:
            async with asyncio.timeout(self._settings.body_s):
                if self._http.they_are_waiting_for_100_continue:
                    await self._send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
                while isinstance(event := await self._event(), h11.Data):
                    self.hold(len(event.data))
                    found += event.data
                    pieces += 1
                    if pieces % OTHERS_TURN == 0:
                        await asyncio.sleep(0)
                    if pieces > FEW_PIECES and len(found) < pieces * LEAST_PIECE:
                        raise BadRequestError("the request's body comes in too many pieces", 400)
                    if len(found) > self._settings.most_body_bytes:
                        raise self.too_large()
        except TimeoutError:
            raise TooSlowError("the request's body did not come in time", expected=f"within {self._settings.body_s:g} s") from None
        except OSError:  # the client has gone
            event = None
        if not isinstance(event, h11.EndOfMessage):
            raise BadRequestError("the request's body is not whole", 400)
        return found

    def hold(self, count: int) -> None:
        """So many bytes more are held for this client, until it has its answer.

        Raises:
            NotNowError: all that is held for all clients would be too much.
        """
        self._gate.hold(count)
        self._held_bytes += count

    def too_large(self) -> TooLargeError:
        return TooLargeError("the request is too large", expected=f"at most {self._settings.most_body_bytes} bytes")

    async def respond(self, response: Response) -> None:
        """Send the answer; the body, if nobody wanted it, is skipped.

        Raises:
            TimeoutError, OSError: the client does not take it.
        """
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        unread = self._http.their_state is h11.SEND_BODY and not await self._skip()
        if unread or self._http.their_state is h11.ERROR:
            self.is_last = True
        more = (("Content-Length", str(response.total_bytes)), *response.headers)
        pieces = [self._header(response.status, response.content_type, more)]
        if self._method != "HEAD":
            for piece in response.pieces:
                pieces += self._http.send_with_data_passthrough(h11.Data(data=piece)) or []  # type: ignore[arg-type]
        pieces += self._http.send_with_data_passthrough(h11.EndOfMessage()) or []
        self._writer.writelines(pieces)
        async with asyncio.timeout(self._settings.write_s + response.total_bytes / SLOWEST_BYTES_PER_S):
            await self._writer.drain()
        self._gate.let_go(self._held_bytes)
        self._held_bytes = 0
        if unread:
            await self._linger()

    async def stream(self, stream: Stream) -> None:
        """Send its pieces until there are no more, the client has gone, or `finish` is called. It is the last answer here.

        Raises:
            TimeoutError, OSError: the client does not take a piece in time.
        """
        self.is_last = True
        async with aclosing(stream.pieces) as pieces:
            if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
                return
            _keep_little(self._writer)
            self._writer.write(self._header(stream.status, stream.content_type))
            if self._method == "HEAD" or await self._send_pieces(pieces):
                self._writer.write(self._http.send(h11.EndOfMessage()) or b"")
                async with asyncio.timeout(self._settings.write_s):
                    await self._writer.drain()

    async def _send_pieces(self, pieces: AsyncGenerator[Raw, None]) -> bool:
        """Whether the client is still there afterwards."""
        sending = asyncio.create_task(self._send_each(pieces))
        leaving = asyncio.create_task(self._until_it_leaves())
        ending = asyncio.create_task(self._ending.wait())
        tasks = (sending, leaving, ending)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            has_left, has_ended = leaving.done(), sending.done()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if has_left:
            return False
        if has_ended:
            sending.result()
        return True

    async def _send_each(self, pieces: AsyncGenerator[Raw, None]) -> None:
        async for piece in pieces:
            self._writer.writelines(self._http.send_with_data_passthrough(h11.Data(data=piece)) or [])  # type: ignore[arg-type]
            async with asyncio.timeout(self._settings.write_s):
                await self._writer.drain()

    async def _until_it_leaves(self) -> None:
        """A stream's client has nothing more to say: what it sends is read only to notice its end."""
        seen = 0
        with suppress(OSError):
            while seen < LINGER_BYTES and (data := await self._reader.read(PIECE)):
                seen += len(data)

    def finish(self) -> None:
        """Over after the present answer; a stream ends now, and so does who has asked for nothing."""
        self.is_last = True
        self._ending.set()
        if self.is_idle:
            self.interrupt()

    async def close(self) -> None:
        """For good, whatever the client does."""
        self._gate.let_go(self._held_bytes)
        self._held_bytes = 0
        with suppress(OSError, TimeoutError):
            self._writer.close()
            async with asyncio.timeout(LINGER_S):
                await self._writer.wait_closed()
        self._writer.transport.abort()

    def interrupt(self) -> None:
        """Close it from without, at once: it is idle, and others need the room. A client of TLS is told so, its answer not waited for."""
        self._writer.close()
        self._writer.transport.abort()

    def _header(self, status: int, content_type: str, more: tuple[tuple[str, str], ...] = ()) -> bytes:
        """Status and headers; without a length among them h11 sends in chunks, or until it closes where the client is of HTTP/1.0."""
        headers = [
            ("Content-Type", content_type),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Cross-Origin-Resource-Policy", "same-origin"),  # no page of another site shows a camera's picture
            *more,
            *([("Connection", "close")] if self.is_last else []),
        ]
        return self._http.send(h11.Response(status_code=status, headers=headers, reason=_reason(status))) or b""

    async def _skip(self) -> bool:
        """Whether the body was as good as there, and is gone now."""
        with suppress(h11.RemoteProtocolError):
            while (event := self._http.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.EndOfMessage):
                    return True
                if not isinstance(event, h11.Data):
                    return False
        return False

    async def _linger(self) -> None:
        with suppress(OSError, TimeoutError):
            if self._writer.can_write_eof():
                self._writer.write_eof()
            async with asyncio.timeout(LINGER_S):
                seen = 0
                while seen < LINGER_BYTES and (data := await self._reader.read(PIECE)):
                    seen += len(data)

    async def _event(self) -> object:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise _bad_request(error) from error
            if event is not h11.NEED_DATA:
                return event
            self._receive(await self._reader.read(PIECE))

    def _receive(self, data: bytes) -> None:
        try:
            self._http.receive_data(data)
        except h11.RemoteProtocolError as error:
            raise _bad_request(error) from error

    async def _send(self, event: h11.InformationalResponse) -> None:
        self._writer.write(self._http.send(event) or b"")
        await self._writer.drain()


def _keep_little(writer: asyncio.StreamWriter) -> None:
    """From now on `drain` waits until the system has everything, and the system takes little."""
    writer.transport.set_write_buffer_limits(0)
    if (end := writer.get_extra_info("socket")) is not None:
        with suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, STREAM_BYTES)


def _reason(status: int) -> bytes:
    return HTTPStatus(status).phrase.encode("ascii")


def _size(header: tuple[bytes, bytes]) -> int:
    name, value = header
    return len(name) + len(value)


def _bad_request(error: h11.RemoteProtocolError) -> BadRequestError:
    """What h11 cannot read is the client's fault, also where it would call it not implemented (501)."""
    status = error.error_status_hint
    return BadRequestError("this is no HTTP request", status if status < 500 else 400)


def _headers(request: h11.Request) -> dict[str, str]:
    if len(request.headers) > MOST_HEADERS or len(request.target) + sum(map(_size, request.headers)) > MOST_HEADER_BYTES:
        raise BadRequestError("the request's header is too large", 431)
    found: dict[str, str] = {}
    for name, value in request.headers:
        key, text = name.decode("ascii"), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found
