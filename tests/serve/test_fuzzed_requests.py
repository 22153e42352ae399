"""Requests with anything wrong in them: each is answered or refused with a code, memory stays flat, and others are served meanwhile.

The short form has its server in this process. The long one (`make soak`) has it in its own, with YOLOv8n for a client that behaves: what
that one waits is held against what it waited while nobody else asked. Part of it is schemathesis, which makes requests from the OpenAPI
page; it is installed into .cache/schemathesis for that (EDGEWRIGHT_SCHEMATHESIS_PYTHON names the Python of an environment that is there).
"""

import gc
import json
import os
import random
import socket
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from edgewright.run.memory import MIB, pss_bytes
from made_environment import python_with
from model_server import ask, served, wait_until
from serving_process import serving_process
from steady_client import steady_client
from tiny_detector import save_tiny_detector

ANSWERS = {200, 303, 400, 403, 404, 405, 408, 413, 429, 431, 503}
SHAPE = (1, 3, 64, 64)
SHORT, LONG = 400, 10_000
FRESH = 100  # requests after which memory is looked at for the first time
# The long form.
FRESH_LONG = 2000
AT_ONCE = 4  # clients that send anything
CALM_S = 40
SLOW = 0.02  # of the requests come in pieces, with pauses
SLOWEST_S = 0.5
MOST_GROWN = 16 * MIB
SCHEMATHESIS = "schemathesis>=4.10,<5"
SCRIPT = Path(__file__).with_name("schemathesis_script.py")
MOST_S = 1500
ODD_HEADERS = [
    *("Host: other\r\n", "Expect: 100-continue\r\n", "Upgrade: h2c\r\nConnection: Upgrade\r\n", "Content-Length: 3\r\n", " folded\r\n"),
    *("Transfer-Encoding: gzip, chunked\r\n", "Accept-Encoding: gzip\r\n", "Origin: null\r\n", ": nameless\r\n", "X: \x00\r\n", "\r\n"),
    *(f"X-{'y' * 100}: {'z' * 20_000}\r\n", "X: y\r\n" * 100, "Content-Length: 1e3\r\n", "Inference-Header-Content-Length: 7\r\n"),
]


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
        if self.random.random() < 0.15:
            tensor = tensor[: self.random.randrange(len(tensor))]
        if self.random.random() < 0.15:
            header = self.torn(header)
        length = self.one_of(*[len(header)] * 15, len(header) + 1, 0, -1, 10**9, "x", "")
        return self.framed(header + tensor, length)

    def pieces(self, data):
        """How it is sent: mostly at once, now and then in pieces with a pause (s) after each."""
        if self.random.random() > SLOW:
            return [(data, 0.0)]
        cuts = sorted(self.random.sample(range(len(data) + 1), min(len(data), self.random.randrange(1, 8))))
        pauses_s = [self.random.random() * self.one_of(0.01, SLOWEST_S, 6 * SLOWEST_S) for _ in cuts]
        return list(zip((data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)), [*pauses_s, 0.0], strict=True))

    def input(self):
        found = {"name": "images", "shape": list(SHAPE), "datatype": "FP32", "parameters": {"binary_data_size": len(self.tensor)}}
        if self.random.random() < 0.4:
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
            *["/v2/models/tiny/infer"] * 12, "/v2/models/nobody/infer", "/v2/models/tiny/versions/9/infer", "/detect?model=tiny", "/v2/%ff"
        )
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nInference-Header-Content-Length: {length}\r\nConnection: close\r\n"
        if self.random.random() < 0.1:
            head += self.one_of(*ODD_HEADERS)
        if self.random.random() < 0.2:
            coding = self.one_of("gzip", "deflate", "br", "identity")
            head += f"Content-Encoding: {coding}\r\n"
        if self.random.random() < 0.3:
            step = self.random.randrange(1, 20_000)
            pieces = b"".join(b"%x\r\n%s\r\n" % (len(body[at : at + step]), body[at : at + step]) for at in range(0, len(body), step))
            return self.torn(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n", 0.2)
        claimed = self.one_of(*[len(body)] * 12, len(body) + 5, max(0, len(body) - 5), "x", 1 << 40)
        return self.torn(f"{head}Content-Length: {claimed}\r\n\r\n".encode() + body, 0.2)

    def torn(self, data, chance=1.0):
        """Something of it is changed, left out or cut."""
        if self.random.random() > chance or not data:
            return data
        at = self.random.randrange(min(len(data), 500))
        return self.one_of(data[:at], data[:at] + bytes([self.random.randrange(256)]) + data[at + 1 :], data[:at] + data[at + 3 :])

    def one_of(self, *values):
        return self.random.choice(values)


def status_of(port, data, pieces=None):
    """The code of the answer; None where the connection was closed without one, as for what is cut."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        try:
            for piece, pause_s in pieces or [(data, 0.0)]:
                connection.sendall(piece)
                time.sleep(pause_s)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it was refused before it was whole
        answer = b""
        try:
            while data := connection.recv(1 << 16):
                answer += data
        except ConnectionResetError:
            pass
    answer = answer.removeprefix(b"HTTP/1.1 100 \r\n\r\n").removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    status = int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else None
    if status in (429, 503):
        assert b"\r\nretry-after: " in answer.partition(b"\r\n\r\n")[0].lower()
    return status


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
        wait_until(lambda: server._server._gate.held_bytes == 0 and server._server._gate.at_once == 0)  # of the last who left
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


# --- the long form ----------------------------------------------------------------------------------------------------------------------


def sent(port, count, seed):
    """So many requests from `AT_ONCE` clients; their codes."""
    local = threading.local()
    seeds = iter(range(seed, seed + AT_ONCE))

    def begin():
        local.mutator = Mutator(next(seeds))

    def send(_):
        data = local.mutator.request()
        return status_of(port, data, local.mutator.pieces(data))

    with ThreadPoolExecutor(AT_ONCE, initializer=begin) as threads:
        return list(threads.map(send, range(count)))


def judged(what, calm, fuzzed, before, after):
    """Prints what was seen, and sees that it is as promised."""
    assert {status for _, _, status in calm + fuzzed} == {200}
    calm_ms, fuzzed_ms = (np.percentile([ms for _, ms, _ in seen], [50, 99]) for seen in (calm, fuzzed))
    grown = {name: (bytes_ - before["memory_bytes"][name]) / MIB for name, bytes_ in after["memory_bytes"].items()}
    print(
        f"{what}: another client's p50 {calm_ms[0]:.1f} -> {fuzzed_ms[0]:.1f} ms, p99 {calm_ms[1]:.1f} -> {fuzzed_ms[1]:.1f} ms "
        f"({fuzzed_ms[1] / calm_ms[1]:.2f}x, {len(calm)} and {len(fuzzed)} requests); "
        + ", ".join(f"{name} {mib:+.1f} MiB" for name, mib in grown.items())
    )
    assert after["said"] == []
    assert set(after["restarts"].values()) == {0}
    assert (after["held_bytes"], after["at_once"]) == (0, 0)
    assert all(mib * MIB < MOST_GROWN for mib in grown.values())
    assert fuzzed_ms[1] < 2 * calm_ms[1]


@pytest.fixture
def serving(tmp_path, test_data):
    models = {"tiny": save_tiny_detector(tmp_path / "tiny.onnx"), "steady": test_data / "models/yolov8n.onnx"}
    with serving_process(models, body_s=2, header_s=2) as serving:
        yield serving


@pytest.fixture
def picture(test_data):
    return next((test_data / "coco/images/val").glob("*.jpg"))


@pytest.mark.soak
@pytest.mark.timeout(MOST_S)
def test_anything_may_be_asked_ten_thousand_times(serving, picture):
    with steady_client(serving.port, "steady", picture) as calm:
        time.sleep(CALM_S)
    sent(serving.port, FRESH_LONG, seed=100)
    before, began_s = serving.ask(), time.monotonic()
    with steady_client(serving.port, "steady", picture) as fuzzed:
        codes = sent(serving.port, LONG, seed=8)
    took_s = time.monotonic() - began_s
    judged(f"{LONG} mutated requests in {took_s:.0f} s, {dict(Counter(map(str, codes)))}", calm, fuzzed, before, serving.ask())
    assert {code for code in codes if code is not None} <= ANSWERS
    assert {200, 400, 404, 408} <= set(codes)
    assert codes.count(None) < LONG / 10


@pytest.mark.soak
@pytest.mark.timeout(MOST_S)
def test_what_the_openapi_page_leads_to_is_answered(serving, picture):
    python = python_with("schemathesis", SCHEMATHESIS, "EDGEWRIGHT_SCHEMATHESIS_PYTHON")
    url = f"http://127.0.0.1:{serving.port}"

    def asked(requests, seed):
        command = [python, SCRIPT, url, str(requests), str(seed)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=MOST_S, check=False)
        assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return json.loads(done.stdout.splitlines()[-1])

    with steady_client(serving.port, "steady", picture) as calm:
        time.sleep(CALM_S)
    asked(FRESH_LONG, 1)
    before = serving.ask()
    with steady_client(serving.port, "steady", picture) as fuzzed:
        found = asked(LONG, 8)
    judged(f"{sum(found['statuses'].values())} requests from the OpenAPI page, {found}", calm, fuzzed, before, serving.ask())
    assert sum(found["statuses"].values()) >= LONG
    assert {int(status) for status in found["statuses"]} <= ANSWERS
