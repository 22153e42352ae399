"""Requests with anything wrong in them: each is answered or refused with a code, memory stays flat, and others are served meanwhile."""

import gc
import json
import os
import random
import socket
import threading
import time

import numpy as np
import pytest

from edgewright.run.memory import MIB, pss_bytes
from model_server import ask, served
from tiny_detector import save_tiny_detector

ANSWERS = {200, 400, 404, 405, 408, 413, 429, 431, 503}
SHAPE = (1, 3, 64, 64)
SHORT, LONG = 400, 10_000
FRESH = 100  # requests after which memory is looked at for the first time


class Mutator:
    """Seeded. It knows how a binary request is made, and so which parts to get wrong."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.tensor = np.zeros(SHAPE, np.float32).tobytes()

    def request(self):
        """Bytes as they go over the wire."""
        words = {"inputs": [self.input()], "parameters": {"binary_data_output": self.random.random() < 0.8}}
        if self.random.random() < 0.2:
            words["outputs"] = self.one_of([{"name": "output0"}], [{"name": "other"}], [1], {}, [{"name": "output0"}] * 2)
        header = json.dumps(words).encode()
        tensor = self.tensor
        if self.random.random() < 0.3:
            tensor = tensor[: self.random.randrange(len(tensor))]
        if self.random.random() < 0.3:
            header = self.torn(header)
        length = self.one_of(*[len(header)] * 4, len(header) + 1, 0, -1, 10**9, "x", "")
        return self.framed(header + tensor, length)

    def input(self):
        found = {"name": "images", "shape": list(SHAPE), "datatype": "FP32", "parameters": {"binary_data_size": len(self.tensor)}}
        if self.random.random() < 0.6:
            key = self.one_of(*found)
            wrong = {
                "name": [None, "", "other", 7, "x" * 5000],
                "shape": [[], [1, 3, 64, 63], [-1], [1 << 60], [1, 3, 64, "64"], None, [1] * 40, [0, 3, 64, 64]],
                "datatype": ["FP64", "FP16", "BYTES", "BOOL", "FP31", None, []],
                "parameters": [*({"binary_data_size": size} for size in (0, -1, 1 << 70, 1.5, "1", 1 << 20)), None, [], {}],
            }
            found[key] = self.one_of(*wrong[key])
        return found

    def framed(self, body, length):
        path = self.one_of(
            *["/v2/models/tiny/infer"] * 6, "/v2/models/nobody/infer", "/v2/models/tiny/versions/9/infer", "/detect", "/v2/%ff"
        )
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nInference-Header-Content-Length: {length}\r\nConnection: close\r\n"
        if self.random.random() < 0.2:
            coding = self.one_of("gzip", "deflate", "br", "identity")
            head += f"Content-Encoding: {coding}\r\n"
        if self.random.random() < 0.3:
            step = self.random.randrange(1, 20_000)
            pieces = b"".join(b"%x\r\n%s\r\n" % (len(body[at : at + step]), body[at : at + step]) for at in range(0, len(body), step))
            return self.torn(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n", 0.2)
        claimed = self.one_of(*[len(body)] * 4, len(body) + 5, max(0, len(body) - 5), "x", 1 << 40)
        return self.torn(f"{head}Content-Length: {claimed}\r\n\r\n".encode() + body, 0.2)

    def torn(self, data, chance=1.0):
        """Something of it is changed, left out or cut."""
        if self.random.random() > chance or not data:
            return data
        at = self.random.randrange(min(len(data), 500))
        return self.one_of(data[:at], data[:at] + bytes([self.random.randrange(256)]) + data[at + 1 :], data[:at] + data[at + 3 :])

    def one_of(self, *values):
        return self.random.choice(values)


def status_of(port, data):
    """The code of the answer; None where the connection was closed without one, as for what is cut."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it was refused before it was whole
        answer = b""
        try:
            while data := connection.recv(1 << 16):
                answer += data
        except ConnectionResetError:
            pass
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else None


def run(tmp_path, count):
    model = save_tiny_detector(tmp_path / "tiny.onnx")
    said = []
    with served({"tiny": model}, said=said, body_s=5, header_s=5) as server:
        body = json.dumps({"inputs": [{"name": "images", "shape": SHAPE, "datatype": "FP32", "data": [0.5] * (3 * 64 * 64)}]}).encode()
        worker = server._server.dataplane.host.workers["tiny"]
        ended, taken_s, wrong = threading.Event(), [], []

        def another_client():
            while not ended.is_set():
                began_s = time.monotonic()
                if (status := ask(server, "/v2/models/tiny/infer", body)[0]) != 200:
                    wrong.append(status)
                taken_s.append(time.monotonic() - began_s)

        mutator, codes, held = Mutator(8), [], []
        other = threading.Thread(target=another_client)
        other.start()
        try:
            for number in range(count):
                codes.append(status_of(server.port, mutator.request()))
                if number % FRESH == FRESH - 1:
                    gc.collect()
                    held.append(pss_bytes(os.getpid()))
        finally:
            ended.set()
            other.join()
        pid, restarts = worker.pid, worker.restarts
        assert pid is not None
        assert restarts == 0
        assert server._server._gate.held_bytes == 0
        assert server._server._gate.at_once == 0
    assert said == []
    assert wrong == []
    assert {code for code in codes if code is not None} <= ANSWERS
    assert {200, 400, 404} <= set(codes)
    assert sum(code is None for code in codes) < count / 10
    return taken_s, held


def test_anything_may_be_asked(tmp_path):
    taken_s, held = run(tmp_path, SHORT)
    assert np.percentile(taken_s, 99) < 2
    assert held[-1] - held[0] < 16 * MIB


@pytest.mark.soak
def test_anything_may_be_asked_ten_thousand_times(tmp_path):
    taken_s, held = run(tmp_path, LONG)
    p50, p99 = np.percentile(taken_s, [50, 99]) * 1e3
    print(f"{LONG} fuzzed requests: another client's p50 {p50:.1f} ms, p99 {p99:.1f} ms; {(held[-1] - held[0]) / MIB:+.1f} MiB")
    assert held[-1] - held[0] < 16 * MIB
