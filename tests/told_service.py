"""A live service that is only told of: its pages over a real socket, its figures as a real one has them, and faults on request.

with ToldService(folder) as service:                 # or ToldService(None): at an address, `service.url`
    service.turn(1.0, age_ms=40)                      # a second goes by
    service.happen("worker", "defects", "was replaced", "warning")
"""

import json
import socket
import ssl
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from edgewright.run.events import EventIds
from edgewright.run.figures import CameraFigures, Histogram, PairFigures
from edgewright.run.recent import BOUNDS_S

MIB = 1 << 20


def histogram_json(histogram: Histogram) -> dict[str, Any]:
    return {"counts": list(histogram.counts), "sum_s": histogram.total_s}


def camera_json(figures: CameraFigures, **said: Any) -> dict[str, Any]:
    return {
        "captured": figures.captured,
        "dropped": dict(figures.dropped),
        "models": {
            name: {
                "answered": pair.answered,
                "dropped": dict(pair.dropped),
                "on_the_way": 0,
                "age": histogram_json(pair.age),
                "stages": {stage: histogram_json(histogram) for stage, histogram in pair.stages.items()},
            }
            for name, pair in figures.models.items()
        },
        "state": "up",
        "reader": "opencv",
        "size_wh": [1280, 720],
        "fps_cap": None,
        "restarts": 0,
        "why": None,
        **said,
    }


class Figures:
    """The figures of a service with these cameras, one model for all of them."""

    def __init__(self, cameras: tuple[str, ...] = ("belt",), *, wall_s: float | None = None) -> None:
        self.cameras = {name: CameraFigures(models={"defects": PairFigures()}) for name in cameras}
        self.said: dict[str, dict[str, Any]] = {name: {} for name in cameras}
        self.uptime_s, self.began_s = 100.0, time.time() if wall_s is None else wall_s
        self.more: dict[str, Any] = {}
        self.events: list[dict[str, Any]] = []
        self._ids = EventIds("told")

    def turn(self, seconds: float = 1.0, *, fps: float = 10, age_ms: float = 40.0, dropped: int = 1) -> None:
        """So long, every camera gives frames, and all but `dropped` a second are answered at this age."""
        self.uptime_s += seconds
        for figures in self.cameras.values():
            count = round(fps * seconds)
            pair = figures.models["defects"]
            figures.captured_more(count, {})
            gone = min(count, round(dropped * seconds))
            pair.dropped["superseded"] += gone
            for number in range(count - gone):
                age_s = age_ms / 1e3 * (1 + 0.02 * number)
                pair.answer(age_s, 0.001, (2.0, age_ms * 0.8, 1.0))

    @property
    def wall_s(self) -> float:
        return self.began_s + self.uptime_s

    def happen(self, kind: str, name: str, text: str, severity: str = "info") -> None:
        event = {"id": self._ids.next(self.wall_s), "time_s": self.wall_s, "kind": kind, "name": name, "text": text}
        self.events.append({**event, "severity": severity, "camera": None, "data": {}})

    def status(self) -> dict[str, Any]:
        return {
            "name": "line-3",
            "ready": True,
            "uptime_s": self.uptime_s,
            "wall_s": self.wall_s,
            "bounds_s": list(BOUNDS_S),
            "cameras": {name: camera_json(figures, **self.said[name]) for name, figures in self.cameras.items()},
            "models": {"defects": {"state": "ready", "engine": "onnxruntime", "waiting": 1, "restarts": 0, "why": None}},
            "governor": {
                "rung": "yolo-480, 2 threads",
                "rungs": ["yolo-640, 4 threads", "yolo-480, 2 threads", "yolo-320, 1 thread"],
                "fps_cap": 12.0,
                "temp_c": 74.6,
                "limit_c": 78.0,
                "time_to_throttle_s": 480.0,
                "sustainable_fps": 11.2,
                "infeasible": False,
                "relief": "none",
                "faults": [],
            },
            "recorders": {"film": {"paused": False, "offered": 900, "recorded": 898, "left_out": 2, "restarts": 0, "cameras": {}}},
            "disk": {"day_bytes": 1200 * MIB, "bytes_a_day": 4096 * MIB},
            "memory": {
                "budget_bytes": 600 * MIB,
                "promised_bytes": {"service": 80 * MIB, "model defects": 300 * MIB, "camera belt": 64 * MIB},
                "used_bytes": {"service": 60 * MIB, "model defects": 290 * MIB, "camera belt": 62 * MIB},
                "alarm": False,
            },
            "outputs": [output_json("store", delivered=1204), output_json("broker", delivered=880, waiting_records=12, waiting_bytes=3100)],
            "board": {
                "zones_c": {"cpu-thermal": 74.6},
                "throttled": {"under-voltage": False, "throttled": False},
                "power_w": 6.2,
                "busy_cores": 1.4,
            },
            **self.more,
        }


def output_json(name: str, **counts: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(
        ("delivered", "refused", "overflowed", "turned_away", "spared", "damaged", "waiting_records", "waiting_bytes"), 0
    )
    return {"name": name, **nothing, "failing_since_s": None, "last_error": None, **counts}


class ToldService:
    """`folder`: where its socket is; None: on a free port of this machine. `token`: what it wants to be shown. `answer`: in place of pages,
    what to send, as (status, body), or as bytes alone, which are sent as they are; `slowly`: of those, one byte each so many seconds.
    """

    def __init__(
        self, folder: Path | None, *, cameras: tuple[str, ...] = ("belt",), token: str | None = None, certificate: Path | None = None
    ) -> None:
        self.figures = Figures(cameras)
        self.token, self.asked, self.connections = token, list[str](), 0
        self.open: list[socket.socket] = []
        self.answer: tuple[int, bytes] | bytes | None = None
        self.slowly: float | None = None
        self.hangs_up = False  # after each answer, without saying so
        self._folder = folder
        self._server = _server(folder, self)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        secure = "s" if isinstance(self._server.socket, ssl.SSLSocket) else ""
        return f"http{secure}://127.0.0.1:{self._server.server_address[1]}"

    def turn(self, seconds: float = 1.0, **how: Any) -> None:
        self.figures.turn(seconds, **how)

    def happen(self, kind: str, name: str, text: str, severity: str = "info") -> None:
        self.figures.happen(kind, name, text, severity)

    def page(self, path: str, headers: Any) -> tuple[int, bytes] | bytes:
        self.asked.append(path)
        if self.answer is not None:
            return self.answer
        if self.token is not None and headers["Authorization"] != f"Bearer {self.token}":
            return 401, b'{"error": "no"}'
        parts = urlsplit(path)
        if parts.path == "/live":
            return 200, json.dumps({**self.figures.status(), "time_s": time.time()}).encode()
        if parts.path == "/live/events":
            after = parse_qs(parts.query).get("after", [""])[0]
            return 200, json.dumps({"events": [event for event in self.figures.events if event["id"] > after]}).encode()
        return 404, b'{"error": "no such page"}'

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        for connection in self.open:  # kept ones as well
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        if self._folder is not None:
            (self._folder / "http.sock").unlink(missing_ok=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Pages(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def setup(self):
        super().setup()
        self.server.told.connections += 1
        self.server.told.open.append(self.connection)

    def do_GET(self):
        told = self.server.told
        found = told.page(self.path, self.headers)
        if isinstance(found, bytes):
            self.close_connection = True
            self._send(found)
            return
        status, body = found
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self._send(body)
        self.close_connection = self.close_connection or told.hangs_up

    def _send(self, data):
        pause_s = self.server.told.slowly
        try:
            for piece in [data] if pause_s is None else [data[at : at + 1] for at in range(len(data))]:
                self.wfile.write(piece)
                time.sleep(pause_s or 0)
        except OSError:
            self.close_connection = True

    def address_string(self):
        return "-"

    def log_message(self, *_):
        """Nothing."""


class NetServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    told: ToldService

    def handle_error(self, *_):
        """A client that leaves is no news."""


class SocketServer(NetServer):
    address_family = socket.AF_UNIX

    def server_bind(self):
        self.socket.bind(self.server_address)


def _server(folder: Path | None, told: ToldService) -> NetServer:
    server = NetServer(("127.0.0.1", 0), Pages) if folder is None else SocketServer(str(folder / "http.sock"), Pages)
    server.told = told
    return server
