"""Clients that say nothing, and clients that take their time: others are answered as if they were not there."""

import json
import socket
import threading
import time
from contextlib import ExitStack, suppress

import numpy as np
import pytest

from bare_models import save_table
from model_server import request
from serving_process import serving_process
from steady_client import steady_client

IDLE, SLOW = 200, 50
CALM_S, LONG_S = 40, 100  # longer than a header (10 s), a body (60 s) and silence (75 s) may take
LOOK_S = 20  # while all of them are there
BYTE_EVERY_S = 0.2
PATIENT = 1600  # numbers whose table is 10 MB


class Slow(threading.Thread):
    """A client that sends, or reads, a byte or so every `BYTE_EVERY_S`; where it is told to go, it comes again."""

    def __init__(self, port, how, ended):
        super().__init__(daemon=True)
        self.port, self.how, self.ended = port, how, ended
        self.told, self.came = [], 0

    def run(self):
        while not self.ended.is_set():
            with suppress(OSError), self.connected() as connection:
                self.came += 1
                self.told.append(getattr(self, self.how)(connection))

    def connected(self):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(120)
        connection.connect(("127.0.0.1", self.port))
        return connection

    def header(self, connection):
        """Slowloris: a header that never ends."""
        connection.sendall(b"POST /detect HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        return self.drip(connection, b"X-Padding: 1\r\n")

    def body(self, connection):
        connection.sendall(b"POST /detect HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n")
        return self.drip(connection, b"x")

    def drip(self, connection, bytes_):
        connection.setblocking(False)
        at = 0
        while not self.ended.wait(BYTE_EVERY_S):
            with suppress(BlockingIOError):
                if answer := connection.recv(1000):
                    return answer.split(b" ", 2)[1].decode()
                return "closed"
            connection.send(bytes_[at % len(bytes_) : at % len(bytes_) + 1])
            at += 1
        return "ended"

    def reader(self, connection):
        """It asks for 10 MB, and takes a few bytes of them at a time."""
        body, headers = request(x=np.zeros(PATIENT, np.float32))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST /v2/models/table/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
        connection.sendall(head.encode() + body)
        while not self.ended.wait(BYTE_EVERY_S):
            if not connection.recv(100):
                return "closed"
        return "ended"


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_idle_and_slow_clients_for_long(tmp_path, test_data):
    picture = next((test_data / "coco/images/val").glob("*.jpg"))
    models = {"table": save_table(tmp_path / "table.onnx"), "steady": test_data / "models/yolov8n.onnx"}
    with serving_process(models) as serving, ExitStack() as stack:
        with steady_client(serving.port, "steady", picture) as calm:
            time.sleep(CALM_S)
        for _ in range(IDLE):
            stack.enter_context(socket.create_connection(("127.0.0.1", serving.port), timeout=10))
        ended = threading.Event()
        slow = [Slow(serving.port, ("header", "body", "reader")[at % 3], ended) for at in range(SLOW)]
        with steady_client(serving.port, "steady", picture) as among:
            for each in slow:
                each.start()
            time.sleep(LOOK_S)
            seen = serving.ask()
            time.sleep(LONG_S - LOOK_S)
        ended.set()
        for each in slow:
            each.join()
    told = {how: sorted({what for each in slow if each.how == how for what in each.told}) for how in ("header", "body", "reader")}
    (p50, p99), (p50_among, p99_among) = (np.percentile([ms for _, ms, _ in side], [50, 99]) for side in (calm, among))
    print(
        f"{IDLE} idle and {SLOW} slow clients for {LONG_S} s: another one's p50 {p50:.1f} -> {p50_among:.1f} ms, "
        f"p99 {p99:.1f} -> {p99_among:.1f} ms, longest {max(ms for _, ms, _ in among):.0f} ms; "
        f"{sum(each.came for each in slow)} came, told {json.dumps(told)}"
    )
    assert {status for _, _, status in calm + among} == {200}
    assert seen["connections"] > IDLE + 0.9 * SLOW  # one that was told 408 comes again
    assert seen["said"] == []
    assert "408" in told["header"]
    assert "408" in told["body"]
    assert p99_among < max(2 * p99, 1000)
