"""The data plane over HTTP: connections in, answers out, in one asyncio loop and one thread.

    with serve_http(DataPlane(host, clock=clock), HttpSettings(port=8000)) as server:
        print(server.url)

Errors carry their HTTP status, so there is one place that turns one into an answer. docs/decisions/0027 says why h11, and no framework.
"""

import asyncio
import json
import math
import socket
import ssl
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from edgewright.errors import EdgewrightError, HostError
from edgewright.printable import printable
from edgewright.run.secrets import hide_credentials
from edgewright.serve.connection import Connection, Head, Response, Stream
from edgewright.serve.dashboard_pages import is_browser_at_home, login_page
from edgewright.serve.dataplane import DataPlane
from edgewright.serve.doors import Doors, listen_at
from edgewright.serve.gate import Gate
from edgewright.serve.http_settings import HttpSettings
from edgewright.serve.metrics import HttpFigures
from edgewright.serve.page import Page
from edgewright.serve.refusals import NotAllowedError, NotNowError, TooManyError, UnauthorizedError
from edgewright.serve.routes import Pages
from edgewright.serve.tls import tls_context

UNKNOWN_PAGE: Final = "other"
BUFFER: Final = 1 << 16  # asyncio reads ahead twice that, and 256 KiB, which no limit counts, of clients that wait for no answer
START_S: Final = 30.0
HANDSHAKE_S: Final = 10.0
AGAIN_S: Final = 0.1  # after which a client is let in where there was no descriptor left for it
LONGEST_ERROR: Final = 2000  # characters

Say = Callable[[str], None]


class HttpServer:
    """`start` and `close` inside a running asyncio loop; `serve_http` has one of its own.

    `doors`: what listens already (default: the settings' address is listened at). Whoever comes through `doors.own` is the same user, and
    needs no token and no TLS.
    """

    def __init__(self, dataplane: DataPlane, settings: HttpSettings, say: Say, doors: Doors | None = None) -> None:
        self.dataplane = dataplane
        self.settings = settings
        self.figures = HttpFigures()
        self.port = settings.port
        self._say = say
        self._gate = Gate(settings, clock=dataplane.clock)
        self._pages = Pages(dataplane, self.figures, self._gate, settings.most_body_bytes)
        self._open: dict[asyncio.Task[None], Connection | None] = {}  # as they came; None: it still shakes hands
        self._doors = doors
        self._entrances: dict[asyncio.Task[None], socket.socket] = {}

    async def start(self) -> None:
        """Listen, and begin to load the models.

        Raises:
            InputError, HostError: the certificate, or the address, cannot be used.
        """
        tls = None if self.settings.tls is None else tls_context(self.settings.tls)
        doors = self._doors or Doors(listen_at(self.settings.host, self.settings.port))
        self.port = doors.port or self.port
        for each in doors.all:
            is_own = each is doors.own
            each.setblocking(False)
            self._entrances[asyncio.create_task(self._let_in(each, None if is_own else tls, is_own=is_own))] = each
        await self.dataplane.host.start()

    @property
    def connections(self) -> int:
        """Open ones, and those that shake hands."""
        return len(self._open)

    async def close(self, within_s: float | None = None) -> None:
        """Take nothing new, answer what was asked (for `within_s`, by default `drain_s`), end every process."""
        self.dataplane.drain()
        for entrance in self._entrances:
            entrance.cancel()
        if self._entrances:
            await asyncio.wait(self._entrances)
        for listening in self._entrances.values():
            listening.close()
        for task, connection in list(self._open.items()):
            if connection is None:
                task.cancel()
            else:
                connection.finish()
        if self._open:
            await asyncio.wait(self._open, timeout=self.settings.drain_s if within_s is None else within_s)
        for task in list(self._open):
            task.cancel()
        if self._open:
            await asyncio.wait(self._open)
        await self.dataplane.close()

    # --- one connection -------------------------------------------------------------------------------------------------------------------

    async def _let_in(self, listening: socket.socket, tls: ssl.SSLContext | None, *, is_own: bool) -> None:
        """Clients as they come. asyncio's own server begins TLS with however many there are, half a MiB each, before it tells of any."""
        while True:
            try:
                client, _ = await asyncio.get_running_loop().sock_accept(listening)
            except OSError:
                await asyncio.sleep(AGAIN_S)
                continue
            if len(self._open) < self.settings.most_connections or self._make_room():
                task = asyncio.create_task(self._met(client, tls, is_own=is_own))
                self._open[task] = None
                self.figures.connections = len(self._open)
                task.add_done_callback(self._forget)  # also of one that is ended before it has begun
            else:
                self.figures.refused_connections += 1
                client.close()
            await asyncio.sleep(0)

    async def _met(self, client: socket.socket, tls: ssl.SSLContext | None, *, is_own: bool) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs this as one
        try:
            reader, writer = await _streams(client, tls)
            connection = self._open[task] = Connection(reader, writer, self.settings, self._gate, is_own=is_own)
            try:
                await self._serve(connection)
            finally:
                with suppress(asyncio.CancelledError):
                    await connection.close()
        except (OSError, TimeoutError, EOFError):
            pass  # the client has gone
        except asyncio.CancelledError:
            pass  # the server ends; asyncio would log this as a fault of ours
        except Exception:  # noqa: BLE001 - it costs this connection, and no other
            self._say(f"a fault of edgewright's, with a connection:\n{traceback.format_exc()}")
        finally:
            self._forget(task)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._open.pop(task, None)
        self.figures.connections = len(self._open)

    def _make_room(self) -> bool:
        """The oldest connection that is idle, or has not shaken hands, goes at once."""
        for task, connection in self._open.items():
            if connection is None and not task.cancelling():
                task.cancel()
                return True
            if connection is not None and connection.is_idle:
                connection.is_idle = False
                connection.interrupt()
                return True
        return False

    async def _serve(self, connection: Connection) -> None:
        while True:
            try:
                head = await connection.next_head()
            except EdgewrightError as error:  # no HTTP, or a header too slow
                connection.is_last = True
                self.figures.answered(UNKNOWN_PAGE, error.http_status, 0.0)
                await connection.respond(as_response(error))
                return
            if head is None:
                return
            began_s = self.dataplane.clock.monotonic_s()
            page, response = await self._answer(connection, head)
            if isinstance(response, Stream):
                await self._stream(connection, page, response, began_s)
                return
            try:
                connection.hold(response.total_bytes)
            except NotNowError as error:
                response = as_response(error)
            connection.is_last |= self.dataplane.is_draining
            await connection.respond(response)
            self.figures.answered(page, response.status, self.dataplane.clock.monotonic_s() - began_s)
            await asyncio.sleep(0)  # who sends a thousand requests at once gets one answer at a time, like everybody
            if not connection.goes_on:
                return

    async def _stream(self, connection: Connection, page: str, stream: Stream, began_s: float) -> None:
        """Counted when it begins: how long somebody looks is no time that we took."""
        try:
            with self._gate.streaming():
                self.figures.streams = self._gate.streams
                self.figures.answered(page, stream.status, self.dataplane.clock.monotonic_s() - began_s)
                await connection.stream(stream)
        except TooManyError as error:
            await stream.pieces.aclose()
            connection.is_last = True
            self.figures.answered(page, error.http_status, self.dataplane.clock.monotonic_s() - began_s)
            await connection.respond(as_response(error))
        finally:
            self.figures.streams = self._gate.streams

    async def _answer(self, connection: Connection, head: Head) -> tuple[str, Response | Stream]:
        """The path of the page, as it is counted, and its answer."""
        shown = UNKNOWN_PAGE
        try:
            page, names = self._found(head, connection)
            shown = page.path
            return shown, await self._pages.answer(page, names, head, lambda: self._body(connection, head), connection.hold)
        except UnauthorizedError as error:
            return shown, login_page(error) if is_browser_at_home(head) else as_response(error)
        except EdgewrightError as error:
            return shown, as_response(error)
        except Exception:  # noqa: BLE001 - a fault of ours is this client's, and nobody else's
            self._say(f"a fault of edgewright's, while it answered {shown}:\n{traceback.format_exc()}")
            return shown, as_response(EdgewrightError("a fault of edgewright's; its log says more"))

    def _found(self, head: Head, connection: Connection) -> tuple[Page, Mapping[str, str]]:
        """The page, if this caller may have it; who may not learns nothing of what there is."""
        try:
            page, names = self._pages.find(head)
        except EdgewrightError:
            self._gate.check(head.headers, head.address, is_open=connection.is_own, method=head.method)
            raise
        is_open = page.is_open or connection.is_own
        self._gate.check(head.headers, head.address, is_open=is_open, method=head.method, is_for_people=page.is_for_people)
        return page, names

    async def _body(self, connection: Connection, head: Head) -> bytearray:
        length = head.headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self.settings.most_body_bytes:
            raise connection.too_large()
        return await connection.body()


async def _streams(client: socket.socket, tls: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Raises OSError: it cannot shake hands, or not in time."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(BUFFER)
    protocol = asyncio.StreamReaderProtocol(reader)
    handshake_s = None if tls is None else HANDSHAKE_S
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, client, ssl=tls, ssl_handshake_timeout=handshake_s)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


def as_response(error: EdgewrightError) -> Response:
    """`{"error": "one sentence"}`, as Triton has it."""
    headers: list[tuple[str, str]] = []
    status = error.http_status
    if isinstance(error, NotNowError | TooManyError):
        headers.append(("Retry-After", str(max(1, math.ceil(error.retry_after_s)))))
    elif status == HostError.http_status:
        headers.append(("Retry-After", "30"))
    elif isinstance(error, UnauthorizedError):
        headers.append(("WWW-Authenticate", "Bearer"))
    elif isinstance(error, NotAllowedError):
        headers.append(("Allow", error.allowed))
    words = {"error": printable(hide_credentials(str(error)), LONGEST_ERROR)}
    return Response(status, (json.dumps(words).encode(),), headers=tuple(headers))


class Serving:
    """A server at work in a thread of its own. A context manager; `close` answers what was asked, and ends it."""

    def __init__(self, dataplane: DataPlane, settings: HttpSettings, say: Say) -> None:
        self._server = HttpServer(dataplane, settings, say)
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None
        # The kernel ends the models' processes with the thread that started them: it lives until they are ended.
        self._thread = threading.Thread(target=self._run, name="edgewright-http", daemon=True)

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def url(self) -> str:
        settings = self._server.settings
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        return f"{'http' if settings.tls is None else 'https'}://{host}:{self.port}"

    def start(self) -> Self:
        """Raises InputError, HostError: it cannot be served here."""
        self._thread.start()
        if not self._started.wait(START_S):
            raise HostError("the server does not start", got=f"nothing for {START_S:.0f} s")
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def close(self) -> None:
        """Until all is answered, or `drain_s` has passed, and every process is gone."""
        if self._loop is not None and self._ending is not None:
            with suppress(RuntimeError):  # it has ended already
                self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - whoever started it is told
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        try:
            await self._server.start()
            self._started.set()
            await self._ending.wait()
        finally:
            await self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def serve_http(dataplane: DataPlane, settings: HttpSettings, *, say: Say = lambda text: print(text, file=sys.stderr)) -> Serving:  # noqa: T201 - the default of a log
    """Serve in a thread of its own; `say` takes what only the server's owner should read.

    Raises:
        InputError: the settings are wrong.
        HostError: the address cannot be had.
    """
    return Serving(dataplane, settings, say).start()
