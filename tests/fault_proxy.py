"""What can go wrong between a camera and its viewer, made on purpose: a TCP proxy on loopback that knows where the pictures begin.

It cuts the camera's side of a connection into parts (an interleaved RTP packet, RFC 2326 section 10.12; a picture of a multipart stream),
so that a fault spoils pictures and nothing else. Faults are drawn with a seeded generator. The proxy has one thread and holds its port from
its start to its end, whether it listens there or not.
"""

import asyncio
import contextlib
import random
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Literal, TypeAlias

Mode: TypeAlias = Literal["pass", "hang", "refuse", "truncate", "bitflip", "drop", "close", "slow"]
Part: TypeAlias = tuple[bytes, bytes | None]  # what must stay as it is, and the bytes of a picture; None: no picture in it
CHUNK = 1 << 16
MOST_PENDING = 1 << 24  # bytes of an unfinished part: more is no camera of ours


class RtspParts:
    """Parts of an RTSP connection: replies as they are, and interleaved packets, whose RTP header stays whole."""

    def split(self, pending: bytearray) -> Iterator[Part]:
        while len(pending) >= 4:
            if pending[0] != ord("$"):
                end = pending.find(b"\r\n\r\n") + 4
                if end < 4 or len(pending) < (end := end + _content_length(pending[:end])):
                    return
                yield _take(pending, end), None
                continue
            end = 4 + int.from_bytes(pending[2:4], "big")
            if len(pending) < end:
                return
            packet = _take(pending, end)
            head = 4 + 12 + 4 * (packet[4] & 15) if len(packet) > 16 else end  # RFC 3550 section 5.1: fixed header and sources
            yield (packet[:head], packet[head:]) if packet[1] == 0 and head < end else (packet, None)  # channel 1 is RTCP

    def join(self, head: bytes, body: bytes) -> bytes:
        return head[:2] + (len(head) - 4 + len(body)).to_bytes(2, "big") + head[4:] + body


class MultipartParts:
    """Parts of an HTTP reply with pictures: its head as it is, and every picture, whose length is said anew."""

    def split(self, pending: bytearray) -> Iterator[Part]:
        while (blank := pending.find(b"\r\n\r\n")) >= 0:
            head = blank + 4
            end = head + _content_length(pending[:head])
            if pending.startswith(b"HTTP/"):
                yield _take(pending, end), None
                continue
            if len(pending) < end + 2:
                return
            part = _take(pending, end + 2)
            yield part[:head], part[head:end]

    def join(self, head: bytes, body: bytes) -> bytes:
        start, _, _ = head.partition(b"Content-Length:")
        return start + b"Content-Length: %d\r\n\r\n" % len(body) + body + b"\r\n"


def _content_length(head: bytearray) -> int:
    at = head.lower().find(b"content-length:")
    return int(head[at + 15 : head.index(b"\r\n", at)]) if at >= 0 else 0


def _take(pending: bytearray, size: int) -> bytes:
    taken = bytes(pending[:size])
    del pending[:size]
    return taken


def flip_bits(body: bytes, rate: float, rng: random.Random) -> bytes:
    """Every bit flips with the chance `rate`; the gaps between are drawn (geometric), so that clean bytes cost nothing."""
    spoiled, bit = bytearray(body), int(rng.expovariate(rate))
    while bit < 8 * len(spoiled):
        spoiled[bit >> 3] ^= 1 << (bit & 7)
        bit += 1 + int(rng.expovariate(rate))
    return bytes(spoiled)


class FaultProxy:
    """Between a viewer and the camera on port `upstream` of this machine; None: the camera is not there, and connections are refused."""

    def __init__(self, parts: type[RtspParts | MultipartParts], seed: int = 0) -> None:
        self._parts = parts
        self._rng = random.Random(seed)
        self._mode: Mode = "pass"
        self._rate = 0.0
        self._upstream: int | None = None
        self._held = socket.socket()  # bound and never listening: the port stays ours, and who connects to it is refused
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.bind(("127.0.0.1", 0))
        self._listening: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._moving = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy", daemon=True)
        self._thread.start()
        self.parts_sent = 0  # parts with pictures, as they went out
        self.parts_spoiled = 0

    @property
    def port(self) -> int:
        return int(self._held.getsockname()[1])

    @property
    def connections(self) -> int:
        return len(self._open)

    def set_upstream(self, port: int | None) -> None:
        self._upstream = port
        self._do(self._apply)

    def set_mode(self, mode: Mode, rate: float = 0.0) -> None:
        """From now on, for connections there are and those to come.

        `rate`: the chance that a bit flips (bitflip), that a part loses its end (truncate) or is lost (drop); bytes a second (slow).
        """
        self._mode, self._rate = mode, rate
        self._do(self._apply)

    def close(self) -> None:
        """Connections end and the port is given up; once is enough."""
        if self._loop.is_closed():
            return
        self._mode, self._upstream = "refuse", None
        self._do(self._apply)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()
        self._held.close()

    def _do(self, what: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(what(), self._loop).result(timeout=10)

    async def _apply(self) -> None:
        if self._mode == "hang":
            self._moving.clear()
        else:
            self._moving.set()
        wanted = self._mode != "refuse" and self._upstream is not None
        if wanted and self._listening is None:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(self._held.getsockname())
            self._listening = await asyncio.start_server(self._serve, sock=listener, limit=CHUNK)
        if not wanted:
            if self._listening is not None:
                self._listening.close()
                self._listening = None
            tasks = list(self._open)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._open.add(task)
        ends = [writer]
        try:
            await self._moving.wait()
            camera_reader, camera_writer = await asyncio.open_connection("127.0.0.1", self._upstream, limit=CHUNK)
            ends.append(camera_writer)
            ways = [asyncio.ensure_future(self._up(reader, camera_writer)), asyncio.ensure_future(self._down(camera_reader, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except (OSError, asyncio.CancelledError):  # the camera or the viewer is gone, or we are told to be
            pass
        finally:
            for end in ends:
                end.transport.abort()
            self._open.discard(task)

    async def _up(self, reader: asyncio.StreamReader, camera: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK):
            await self._moving.wait()
            camera.write(chunk)
            await camera.drain()

    async def _down(self, camera: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pending, parts = bytearray(), self._parts()
        while (chunk := await camera.read(CHUNK)) and len(pending) < MOST_PENDING:
            pending += chunk
            await self._moving.wait()
            out = bytearray()
            for head, body in parts.split(pending):
                if body is None:
                    out += head
                    continue
                self.parts_sent += 1
                if self._mode == "close":
                    writer.write(bytes(out) + parts.join(head, body)[: len(head) + len(body) // 2])
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(writer.drain(), 1)
                    return
                out += self._spoil(parts, head, body)
            if self._mode == "slow" and out:
                await self._trickle(writer, bytes(out))
            else:
                writer.write(bytes(out))
                await writer.drain()

    def _spoil(self, parts: RtspParts | MultipartParts, head: bytes, body: bytes) -> bytes:
        spoiled: bytes | None = body
        if self._mode == "bitflip":
            spoiled = flip_bits(body, self._rate, self._rng)
        elif self._mode == "truncate" and self._rng.random() < self._rate:
            spoiled = body[: max(1, int(len(body) * self._rng.random()))]
        elif self._mode == "drop" and self._rng.random() < self._rate:
            spoiled = None
        self.parts_spoiled += spoiled != body
        return b"" if spoiled is None else parts.join(head, spoiled)

    async def _trickle(self, writer: asyncio.StreamWriter, out: bytes) -> None:
        step = max(1, int(self._rate / 10))
        for at in range(0, len(out), step):
            writer.write(out[at : at + step])
            await writer.drain()
            if self._mode == "slow":
                await asyncio.sleep(0.1)
