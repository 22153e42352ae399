"""Answers that go on, over real sockets: whoever is slow sees the newest and makes no queue; they are few, and they end."""

import asyncio
import socket
import threading
import time
from contextlib import closing, suppress

import pytest

from edgewright.run.secrets import Secret
from edgewright.serve import routes
from edgewright.serve.connection import Stream
from edgewright.serve.routes import Page
from model_server import ask, served, wait_until

PIECE = 32 << 10
EVERY_S = 0.005


class Ticker:
    """Pieces that say which they are, as fast as they are taken but no faster than `EVERY_S`; `most`: after so many it ends."""

    def __init__(self):
        self.made = self.open = 0
        self.most = None
        self.is_silent = False

    async def pieces(self):
        self.open += 1
        began_s = time.monotonic()
        try:
            sent = 0
            while self.most is None or sent < self.most:
                await asyncio.sleep(3600 if self.is_silent else EVERY_S)
                self.made += 1
                sent += 1
                yield b"%08d" % ((time.monotonic() - began_s) * 1e3) + b"." * (PIECE - 8)
        finally:
            self.open -= 1


@pytest.fixture
def ticker(monkeypatch):
    ticker = Ticker()

    async def ticking(_pages, _call):
        return Stream(ticker.pieces(), "application/x-ticks")

    page = Page("GET", "/ticks", "Ticks", ticking)
    monkeypatch.setattr(routes, "PATTERNS", (*routes.PATTERNS, (page, page.pattern)))
    return ticker


def asks(server, *, method="GET", version="1.1", buffer_bytes=None):
    connection = socket.socket()
    if buffer_bytes is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(f"{method} /ticks HTTP/{version}\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return connection


def heard(connection, at_least=None):
    """So many bytes at least, or all until the server closes."""
    found = b""
    with suppress(ConnectionResetError):
        while (at_least is None or len(found) < at_least) and (data := connection.recv(1 << 16)):
            found += data
    return found


def unchunked(body):
    pieces = []
    while body:
        size, _, body = body.partition(b"\r\n")
        pieces.append(body[: int(size, 16)])
        body = body[int(size, 16) + 2 :]
    return pieces


def test_pieces_come_in_chunks_and_the_end_is_one(ticker):
    ticker.most = 3
    with served(wait=False) as server, closing(asks(server)) as connection:
        head, _, body = heard(connection).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        for line in (b"Content-Type: application/x-ticks", b"Transfer-Encoding: chunked", b"Cache-Control: no-store", b"Connection: close"):
            assert line.lower() in head.lower()
        assert b"content-length" not in head.lower()
        assert [len(piece) for piece in unchunked(body)] == [PIECE] * 3 + [0]
        assert ticker.open == 0


@pytest.mark.parametrize(("method", "version", "pieces"), [("HEAD", "1.1", 0), ("GET", "1.0", 2)])
def test_a_head_has_no_pieces_and_an_old_client_gets_them_until_it_is_closed(ticker, method, version, pieces):
    ticker.most = 2
    with served(wait=False) as server, closing(asks(server, method=method, version=version)) as connection:
        head, _, body = heard(connection).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert len(body) == pieces * PIECE
        assert (b"chunked" in head.lower()) == (version == "1.1")


def test_a_slow_client_gets_the_newest_and_makes_no_queue(ticker):
    with served(wait=False) as server, closing(asks(server, buffer_bytes=16 << 10)) as connection:
        heard(connection, 1)
        wait_until(lambda: ticker.made > 1)
        time.sleep(0.3)
        made = ticker.made
        time.sleep(0.7)
        assert ticker.made <= made + 1  # it waits for the client, and makes nothing for nobody
        began_s = time.monotonic()
        text = heard(connection, (made + 3) * PIECE)
        ages = [int(part[:8]) for part in text.split(b"8000\r\n")[1:] if part[:8].isdigit()]
        assert made < 20
        assert ages[-1] >= 1000  # what it sees now was made now
        assert time.monotonic() - began_s < 5


def test_a_client_that_takes_nothing_is_let_go(ticker):
    with served(wait=False, write_s=0.3) as server, closing(asks(server, buffer_bytes=16 << 10)):
        wait_until(lambda: ticker.open == 1)
        wait_until(lambda: ticker.open == 0, 10)


@pytest.mark.parametrize("is_silent", [True, False])
def test_a_client_that_leaves_is_noticed_also_where_nothing_is_sent(ticker, is_silent):
    ticker.is_silent = is_silent
    with served(wait=False) as server:
        connection = asks(server)
        wait_until(lambda: ticker.open == 1)
        connection.close()
        wait_until(lambda: ticker.open == 0, 5)


def test_what_a_client_says_meanwhile_is_not_listened_to(ticker):
    ticker.most = 40
    with served(wait=False) as server, closing(asks(server)) as connection:
        connection.sendall(b"GET /v2 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 100)
        assert heard(connection).count(b"HTTP/1.1") == 1


def test_streams_are_few_and_others_are_answered_meanwhile(ticker):
    with served(wait=False, most_streams=2) as server:
        first, second = asks(server), asks(server)
        with closing(first), closing(second):
            wait_until(lambda: ticker.open == 2)
            status, headers, _ = ask(server, "/ticks")
            assert (status, headers["Retry-After"]) == (429, "10")
            status, _, text = ask(server, "/metrics")
            assert status == 200
            assert b"edgewright_http_streams 2\n" in text
            assert b'edgewright_http_requests_total{page="/ticks",status="429"} 1' in text
        wait_until(lambda: ticker.open == 0, 5)
        ticker.most = 1
        assert ask(server, "/ticks")[0] == 200


def test_without_the_token_there_is_no_stream(ticker):
    with served(wait=False, token=Secret("a-token-that-nobody-knows")) as server:
        assert ask(server, "/ticks")[0] == 401
        assert ticker.made == 0


@pytest.mark.parametrize("is_silent", [True, False])
def test_streams_end_in_order_when_the_server_does(ticker, is_silent):
    ticker.is_silent = is_silent
    with served(wait=False, drain_s=20) as server:
        connection = asks(server)
        with closing(connection):
            wait_until(lambda: ticker.open == 1)
            found = []
            reader = threading.Thread(target=lambda: found.append(heard(connection)))
            reader.start()
            began_s = time.monotonic()
            server.close()
            reader.join(10)
            assert time.monotonic() - began_s < 5
            assert found[0].endswith(b"\r\n0\r\n\r\n")
