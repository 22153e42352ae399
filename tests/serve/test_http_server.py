"""The server over real sockets: who may ask, what is too much, what is too slow; and nobody starves another."""

import asyncio
import gzip
import json
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
import zlib
from contextlib import ExitStack

import cv2
import numpy as np
import pytest

from edgewright.errors import InputError
from edgewright.run.secrets import Secret
from edgewright.serve.dataplane import DataPlane
from edgewright.serve.http import HttpServer
from edgewright.serve.http_settings import HttpSettings, Tls
from model_server import ask, asked, served, wait_until
from tiny_detector import COLOURS, save_tiny_detector

TOKEN = "a-token-that-must-not-be-seen"
INPUT = {"name": "images", "shape": [1, 3, 64, 64], "datatype": "FP32"}


def request_body(**words):
    return json.dumps({"inputs": [{**INPUT, "data": [0.5] * (3 * 64 * 64)}], **words}).encode()


def picture_jpeg():
    picture = np.full((64, 64, 3), 90, np.uint8)
    picture[20:44, 20:44] = COLOURS["red"]
    return cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_detector(tmp_path_factory.mktemp("models") / "tiny.onnx")


@pytest.fixture(scope="module")
def server(model):
    with served({"tiny": model}, header_s=0.5, body_s=0.7, most_body_bytes=1 << 20, most_held_bytes=3 << 20, idle_s=20) as server:
        yield server


def connect(server):
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def heard(connection):
    """All until the server closes."""
    found = b""
    with connection:
        while True:
            try:
                data = connection.recv(1 << 16)
            except ConnectionResetError:
                return found
            if not data:
                return found
            found += data


def raw(server, text, *, close=True):
    """The whole answer to bytes written by hand."""
    connection = connect(server)
    connection.sendall(text.replace("\n", "\r\n").encode("latin-1") if isinstance(text, str) else text)
    if close:
        connection.shutdown(socket.SHUT_WR)
    return heard(connection)


# --- pages ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/v2/", 200),
        ("GET", "/v2/models/tiny?x=1", 200),
        ("HEAD", "/v2/models/tiny", 200),
        ("GET", "/v2/models/tiny/versions/1/ready", 200),
        ("GET", "/v2/models/tiny/versions/2/ready", 404),
        ("GET", "/v2/models/nobody", 404),
        ("GET", "/v2/models/..%2f..%2fetc%2fpasswd", 404),
        ("GET", "/v2/models/%00/ready", 404),
        ("GET", "/v2/models/../../etc/passwd", 404),
        ("GET", "/nowhere", 404),
        ("GET", "/detect", 405),
        ("DELETE", "/v2/models/tiny", 405),
        ("OPTIONS", "/detect", 405),
        ("POST", "/v2/repository/models/..%2ftiny/load", 404),
        ("POST", "/v2/repository/models/nobody/unload", 404),
    ],
)
def test_each_page_has_its_status(server, method, path, status):
    got, headers, body = ask(server, path, b"" if method == "POST" else None, method=method)
    assert got == status
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in headers
    if status >= 400:
        assert set(json.loads(body)) == {"error"}
    if method == "HEAD":
        assert body == b""


def test_a_picture_is_answered_with_boxes(server):
    status, found = asked(server, "/detect", picture_jpeg())
    assert status == 200
    assert found["source_wh"] == [64, 64]
    assert "red" in found["classes"]
    status, all_of_them = asked(server, "/detect?model=tiny&score=0.001", picture_jpeg())
    assert len(all_of_them["scores"]) >= len(found["scores"])


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/detect", b"", "no picture"),
        ("/detect", b"GIF89a, or something", "not a picture"),
        ("/detect", picture_jpeg()[:-200], "cut short"),
        ("/detect?score=2", b"x", "score"),
        ("/detect?score=nan", b"x", "score"),
        ("/v2/models/tiny/infer", b"{", "no JSON"),
        ("/v2/models/tiny/infer", request_body(outputs=[{"name": "other"}]), "no output other"),
    ],
)
def test_what_is_no_picture_and_no_request_is_refused(server, path, body, words):
    status, found = asked(server, path, body)
    assert status == 400
    assert words in found["error"]


def test_a_picture_that_claims_to_be_huge_is_refused_before_it_is_decoded(server):
    huge = cv2.imencode(".png", np.zeros((10, 10), np.uint8))[1].tobytes()
    header = huge[12:16] + (30_000).to_bytes(4, "big") * 2 + huge[24:29]
    bomb = huge[:12] + header + zlib.crc32(header).to_bytes(4, "big") + huge[33:]
    status, found = asked(server, "/detect", bomb)
    assert status == 400
    assert "too large" in found["error"]


def test_the_openapi_page_names_every_page(server):
    status, document = asked(server, "/openapi.json")
    assert status == 200
    assert "/v2/models/{model}/infer" in document["paths"]
    assert all(operation["responses"] for path in document["paths"].values() for operation in path.values())


def test_metrics_are_what_was_counted(server):
    for _ in range(3):
        assert ask(server, "/v2/models/tiny/infer", request_body())[0] == 200
    _, headers, body = ask(server, "/metrics")
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = dict(line.rsplit(" ", 1) for line in body.decode().splitlines() if not line.startswith("#"))
    assert all(float(value) >= 0 for value in lines.values())
    counted = int(lines['nv_inference_request_success{model="tiny",version="1"}'])
    assert counted >= 3
    assert int(lines['edgewright_inference_duration_seconds_count{model="tiny",stage="infer"}']) == counted
    assert int(lines['edgewright_inference_duration_seconds_bucket{model="tiny",stage="infer",le="+Inf"}']) == counted
    assert int(lines['edgewright_http_requests_total{page="/v2/models/{model}/infer",status="200"}']) >= 3
    assert int(lines['edgewright_model_resident_bytes{model="tiny"}']) > 1 << 20
    statistics = asked(server, "/v2/models/tiny/stats")[1]["model_stats"][0]
    assert statistics["inference_stats"]["success"]["count"] == counted


# --- sizes and forms --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("POST /detect HTTP/1.1\nHost: 127.0.0.1\nContent-Length: 99999999999\n\nabc", 413),
        (f"POST /detect HTTP/1.1\nHost: 127.0.0.1\nContent-Length: {'9' * 30}\n\nabc", 400),  # h11 knows no number of more than 20 digits
        ("POST /detect HTTP/1.1\nHost: 127.0.0.1\nContent-Length: -1\n\nabc", 400),
        ("POST /detect HTTP/1.1\nHost: 127.0.0.1\nTransfer-Encoding: chunked\n\nzz\n", 400),
        ("POST /detect HTTP/1.1\nHost: 127.0.0.1\nTransfer-Encoding: rot13\n\nabc", 400),
        ("POST /detect HTTP/1.1\nHost: 127.0.0.1\nContent-Length: 10\nContent-Length: 11\n\nabc", 400),
        ("GET / HTTP/1.1\nHost: a\nHost: b\n\n", 400),
        ("GET / HTTP/1.1\n\n", 400),
        ("\x16\x03\x01\x02\n\n", 400),
        ("CONNECT 127.0.0.1:80 HTTP/1.1\nHost: 127.0.0.1\n\n", 404),
        ("GET /v2 HTTP/1.1\nHost: 127.0.0.1\nConnection: Upgrade\nUpgrade: websocket\n\n", 200),
        ("POST /detect HTTP/1.1\nHost: 127.0.0.1\nUpgrade: h2c\nConnection: Upgrade\nContent-Length: 1\n\nx", 400),
        ("GET http://127.0.0.1/v2 HTTP/1.1\nHost: 127.0.0.1\n\n", 200),
        ("GET http://[::/v2 HTTP/1.1\nHost: 127.0.0.1\n\n", 404),
        ("OPTIONS * HTTP/1.1\nHost: 127.0.0.1\n\n", 404),
        ("POST /nowhere HTTP/1.1\nHost: 127.0.0.1\nTransfer-Encoding: chunked\n\nzz\n", 404),
        ("GET / HTTP/3.0\nHost: 127.0.0.1\n\n", 400),
        (f"GET / HTTP/1.1\nHost: 127.0.0.1\nX: {'x' * 20_000}\n\n", 431),
        ("GET / HTTP/1.1\nHost: 127.0.0.1\n" + "X: 1\n" * 100 + "\n", 431),
        (f"GET /?{'x' * 5000} HTTP/1.1\nHost: 127.0.0.1\nConnection: close\n\n", 400),
        ("POST /v2/models/tiny/infer HTTP/1.1\nHost: 127.0.0.1\nInference-Header-Content-Length: -4\nContent-Length: 2\n\n{}", 400),
    ],
)
def test_what_is_no_request_is_told_so_and_the_connection_closed(server, text, status):
    answer = raw(server, text)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer[:200]


def test_a_refusal_of_what_is_no_request_has_its_words_after_a_head_request_too():
    said = []
    with served(wait=False, said=said, header_s=0.3) as server:
        head = "HEAD /v2 HTTP/1.1\nHost: 127.0.0.1\n\n"
        for rest, status in (("no request\n\n", 400), ("GET /v2 HT", 408)):
            first, second = raw(server, head + rest, close=False).split(b"HTTP/1.1 ")[1:]
            assert first.startswith(b"200 ")
            assert second.startswith(b"%d " % status)
            assert set(json.loads(second.partition(b"\r\n\r\n")[2])) == {"error"}
        answer = raw(server, "HEAD / HTTP/1.2\nHost: 127.0.0.1\n\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.endswith(b"\r\n\r\n")
    assert said == []


def test_a_body_in_pieces_is_taken_until_it_is_too_large(server):
    head = b"POST /v2/models/tiny/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = request_body()
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[at : at + 1000] for at in range(0, len(body), 1000)))
    assert raw(server, head + pieces + b"0\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert raw(server, head + b"1\r\nx\r\n" * 8192 + b"0\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert raw(server, head + b"%x\r\n%s\r\n" % (2 << 20, b"x" * (2 << 20))).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("expects", ["", "Expect: 100-continue\r\n"])
def test_a_client_that_breaks_off_in_its_body_is_no_fault_of_ours(expects):
    said = []
    with served(wait=False, said=said) as server:
        for _ in range(3):
            connection = connect(server)
            connection.sendall(f"POST /detect HTTP/1.1\r\nHost: 127.0.0.1\r\n{expects}Content-Length: 9000\r\n\r\n".encode())
            wait_until(lambda: any(each and not each.is_idle for each in list(server._server._open.values())))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closed, it sends a reset
            connection.close()
            wait_until(lambda: server._server.connections == 0)
    assert said == []


def test_a_client_that_asks_first_is_told_to_go_on(server):
    with connect(server) as connection:
        body = request_body()
        head = "POST /v2/models/tiny/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nConnection: close\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert heard(connection).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_asks_first_and_may_not_is_spared_the_body(server):
    text = "POST /nowhere HTTP/1.1\nHost: 127.0.0.1\nExpect: 100-continue\nContent-Length: 100000\n\n"
    assert raw(server, text, close=False).startswith(b"HTTP/1.1 404 ")


def test_requests_may_come_all_at_once(server):
    answer = raw(server, "GET /v2 HTTP/1.1\nHost: 127.0.0.1\n\n" * 5 + "GET /v2 HTTP/1.1\nHost: 127.0.0.1\nConnection: close\n\n")
    assert answer.count(b"HTTP/1.1 200 ") == 6


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [
        ("gzip", gzip.compress(request_body()), 200),
        ("deflate", zlib.compress(request_body()), 200),
        ("gzip", gzip.compress(b" " * (100 << 20), 1), 413),
        ("gzip", gzip.compress(request_body())[:-3], 400),
        ("gzip", gzip.compress(request_body()) + b"more", 400),
        ("gzip", b"no gzip", 400),
        ("br", b"x", 400),
    ],
)
def test_a_packed_body_is_unpacked_as_far_as_it_may_grow(server, coding, body, status):
    assert ask(server, "/v2/models/tiny/infer", body, {"Content-Encoding": coding})[0] == status


# --- time -------------------------------------------------------------------------------------------------------------------------------


def test_who_sends_slowly_is_not_waited_for(server):
    with connect(server) as header, connect(server) as body:
        header.sendall(b"GET /v2 HTTP/1.1\r\nHo")
        body.sendall(b"POST /detect HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nabc")
        assert heard(header).startswith(b"HTTP/1.1 408 ")
        assert heard(body).startswith(b"HTTP/1.1 408 ")


def test_little_is_read_ahead_of_who_does_not_wait_for_an_answer(monkeypatch):
    async def never(*_):
        await asyncio.Event().wait()

    monkeypatch.setattr(HttpServer, "_answer", never)
    with served(wait=False, drain_s=0.1) as server, connect(server) as greedy:
        greedy.settimeout(0.5)
        with pytest.raises(TimeoutError):
            greedy.sendall(b"GET /v2 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * (1 << 20))  # 40 MB, more than the system takes
        (one,) = server._server._open.values()
        assert len(one._reader._buffer) + len(one._http.trailing_data[0]) <= 640 << 10


def test_idle_and_slow_connections_starve_nobody(model):
    with served({"tiny": model}, body_s=30, header_s=30) as server, ExitStack() as stack:
        slow = []
        for _ in range(200):
            stack.enter_context(connect(server))
        for _ in range(50):
            connection = stack.enter_context(connect(server))
            connection.sendall(b"POST /detect HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n")
            slow.append(connection)
        ended = threading.Event()

        def dribble():
            while not ended.wait(0.05):
                for connection in slow:
                    connection.sendall(b"x")

        thread = threading.Thread(target=dribble)
        thread.start()
        try:
            taken_s = []
            for _ in range(20):
                began_s = time.monotonic()
                assert ask(server, "/v2/models/tiny/infer", request_body())[0] == 200
                taken_s.append(time.monotonic() - began_s)
        finally:
            ended.set()
            thread.join()
        assert max(taken_s) < 2


def test_who_sends_thousands_at_once_gets_no_more_than_his_turn(server):
    with connect(server) as greedy:
        greedy.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 4000)
        began_s = time.monotonic()
        assert ask(server, "/v2/health/live")[0] == 200
        mine_s = time.monotonic() - began_s
        answers, heard_last = 0, b""
        while answers < 4000:
            *whole, heard_last = (heard_last + greedy.recv(1 << 16)).split(b"HTTP/1.1 200 ")  # one may be cut between two reads
            answers += len(whole)
            if time.monotonic() - began_s > 60:
                break
        all_s = time.monotonic() - began_s
    assert answers == 4000
    assert mine_s < all_s / 4


def test_an_idle_connection_makes_room_for_a_new_one(model):
    with served({"tiny": model}, most_connections=4) as server, ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(connect(server))
            assert ask(server, "/v2")[0] == 200


def test_who_has_begun_a_header_makes_room_for_who_asks():
    def begun():
        return sum(each is not None and each._http.trailing_data[0] == b"G" for each in list(server._server._open.values()))

    with served(wait=False, most_connections=4, header_s=30) as server, ExitStack() as stack:
        for count in (1, 2, 3, 4, 4, 4, 4, 4):
            stack.enter_context(connect(server)).sendall(b"G")
            wait_until(lambda count=count: begun() == count, 20)
            assert ask(server, "/v2")[0] == 200
            wait_until(lambda: server._server.connections == begun(), 20)  # who asked has gone


def test_who_makes_room_is_not_asked_for_his_leave(certificate):
    with served(tls=Tls(*certificate), wait=False, most_connections=4) as server, ExitStack() as stack:
        context = ssl.create_default_context(cafile=str(certificate[0]))
        for _ in range(8):  # they read nothing, and so do not see that they are to say goodbye
            stack.enter_context(context.wrap_socket(connect(server), server_hostname="localhost"))
            wait_until(lambda: server._server.connections <= 4, 5)


def test_who_shakes_no_hands_makes_room_for_who_does(certificate):
    with served(tls=Tls(*certificate), wait=False, most_connections=4) as server, ExitStack() as stack:
        silent = [stack.enter_context(connect(server)) for _ in range(8)]
        for connection in silent:
            connection.settimeout(5)  # less than a handshake may take
        assert asked(server, "/v2", context=ssl.create_default_context(cafile=str(certificate[0])))[0] == 200
        assert [connection.recv(1) for connection in silent[:4]] == [b""] * 4
        wait_until(lambda: server._server.connections <= 4, 5)


# --- who, and how often -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "board.local"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:8000", "Origin": "http://evil.example:8000"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, 200),
    ],
)
def test_a_page_of_another_site_may_not_ask(model, headers, status, named_server):
    assert ask(named_server, "/v2", headers=headers)[0] == status


@pytest.fixture(scope="module")
def named_server():
    with served(names=("board.local",), wait=False) as server:
        yield server


def test_without_the_token_there_is_nothing_but_health(model):
    said = []
    with served({"tiny": model}, token=Secret(TOKEN), said=said) as server:
        for path in ("/", "/v2", "/metrics", "/nowhere", "/openapi.json", "/v2/models/tiny"):
            for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": f"Basic {TOKEN}"}, {"Authorization": TOKEN[:-1]}):
                status, got, _ = ask(server, path, headers=headers)
                assert (status, got.get("WWW-Authenticate")) == (401, "Bearer")
        assert ask(server, "/detect", b"x" * 100)[0] == 401
        for path in ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"):
            assert ask(server, path)[0] == 200
        seen = ""
        for scheme in ("Bearer", "bearer"):
            for path in ("/", "/v2", "/metrics", "/openapi.json", "/v2/models/tiny", "/v2/models/tiny/config", f"/v2/models/{TOKEN}x"):
                status, got, body = ask(server, path, headers={"Authorization": f"{scheme} {TOKEN}", "Origin": "http://elsewhere.example"})
                assert status in (200, 404)
                seen += f"{got}{body.decode()}" if TOKEN not in path else ""
    assert TOKEN not in seen + repr(server._server.settings) + "".join(said)


def test_nobody_else_is_let_in_without_a_token():
    with pytest.raises(InputError, match="a token"):
        HttpSettings(host="0.0.0.0")
    with pytest.raises(InputError, match="too short"):
        HttpSettings(token=Secret("short"))
    assert HttpSettings(host="0.0.0.0", token=Secret(TOKEN)).token is not None
    assert HttpSettings(host="::1").host == "::1"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A chain and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing: sudo apt-get install openssl")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    more = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", folder / "key.pem", "-out", folder / "chain.pem"]
    subprocess.run([*command.split(), *more], check=True, capture_output=True)
    return folder / "chain.pem", folder / "key.pem"


def test_with_tls_plain_http_is_not_understood(certificate):
    chain, _ = certificate
    with served(tls=Tls(*certificate), wait=False) as server:
        assert server.url.startswith("https://")
        assert asked(server, "/v2", context=ssl.create_default_context(cafile=str(chain)))[0] == 200
        assert b"HTTP" not in raw(server, "GET /v2 HTTP/1.1\nHost: 127.0.0.1\n\n")
        old = ssl.create_default_context(cafile=str(chain))
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        assert asked(server, "/v2", context=old)[0] == 200


def test_a_certificate_that_is_none_is_a_sentence(tmp_path):
    (tmp_path / "chain.pem").write_text("nothing")
    for path in (tmp_path / "chain.pem", tmp_path / "missing.pem"):
        with pytest.raises(InputError, match="certificate"), served(tls=Tls(path), wait=False):
            pass


def test_who_asks_too_often_is_told_when_to_come_again():
    with served(rate_per_s=2, wait=False) as server:
        answers = [ask(server, "/v2") for _ in range(8)]
        assert [status for status, _, _ in answers[:4]] == [200] * 4
        refused = [headers for status, headers, _ in answers if status == 429]
        assert len(refused) >= 3
        assert all(int(headers["Retry-After"]) >= 1 for headers in refused)
        assert ask(server, "/healthz")[0] == 200


def test_more_bytes_than_may_be_held_are_refused(model):
    with served({"tiny": model}, most_held_bytes=200_000, body_s=30) as server, ExitStack() as stack:
        for _ in range(2):
            waiting = stack.enter_context(connect(server))
            waiting.sendall(b"POST /detect HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 90000\r\n\r\n" + b"x" * 85_000)
        time.sleep(0.2)
        status, headers, _ = ask(server, "/v2/models/tiny/infer", request_body())
        assert (status, "Retry-After" in headers) == (503, True)
        stack.close()
        wait_until(lambda: ask(server, "/v2/models/tiny/infer", request_body())[0] == 200)


# --- its end ----------------------------------------------------------------------------------------------------------------------------


def test_what_was_asked_is_answered_before_it_ends(model):
    with served({"tiny": model}) as server, ExitStack() as stack:
        body = request_body()
        asking = [stack.enter_context(connect(server)) for _ in range(4)]
        idle = stack.enter_context(connect(server))
        for connection in asking:
            connection.sendall(f"POST /v2/models/tiny/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n".encode())
            connection.sendall(body)
        time.sleep(0.1)
        server.close()
        assert all(heard(connection).startswith(b"HTTP/1.1 200 ") for connection in asking)
        assert heard(idle) == b""
        with pytest.raises(OSError, match="refused"):
            connect(server)


def test_a_fault_of_ours_is_one_answer_and_a_line_in_the_log(monkeypatch):
    said = []
    monkeypatch.setattr(DataPlane, "server_metadata", lambda _: 1 / 0)
    with served(wait=False, said=said) as server:
        status, found = asked(server, "/v2")
        assert status == 500
        assert "ZeroDivisionError" not in found["error"]
        assert "ZeroDivisionError" in said[0]
        assert ask(server, "/healthz")[0] == 200


def test_an_address_that_is_taken_is_a_sentence(server):
    with pytest.raises(Exception, match="cannot listen at"), served(port=server.port, wait=False):
        pass
