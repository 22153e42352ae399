"""The line to a service, over real sockets: kept, cut, slow, too long, no HTTP, no JSON, not for us."""

import re
import shutil
import socket
import subprocess
import time

import pytest

from edgewright.errors import InputError
from edgewright.watch.asker import ask
from edgewright.watch.link import MOST_BYTES, Link, LinkError
from edgewright.watch.where import NetPlace, SocketPlace, where
from told_service import ToldService

TOKEN = "a-token-that-must-not-be-seen"


@pytest.fixture
def service(tmp_path):
    with ToldService(tmp_path) as service:
        yield service


@pytest.fixture
def link(tmp_path, service):
    link = Link(where(str(tmp_path)), within_s=0.6, first_s=0.6)
    yield link
    link.close()


def refusal(link):
    with pytest.raises(LinkError) as caught:
        link.get("/live")
    link.close()
    assert caught.value.why.isprintable()
    return caught.value


def test_one_connection_is_asked_again_and_again(service, link):
    service.happen("camera", "belt", "frames come")
    first = ask(link, None)
    assert first.status["name"] == "line-3"
    last = first.events["events"][-1]["id"]
    service.happen("camera", "belt", "is gone")
    assert [event["text"] for event in ask(link, last).events["events"]] == ["is gone"]
    assert (service.connections, service.asked[-1]) == (1, f"/live/events?after={last}")


def test_a_connection_that_was_closed_meanwhile_is_no_failure(service, link):
    service.hangs_up = True
    for _ in range(3):
        assert link.get("/live")["ready"]
    assert service.connections == 3


def test_a_folder_whose_name_is_longer_than_an_address(tmp_path):
    far = tmp_path / ("a" * 90) / ("b" * 90)
    far.mkdir(parents=True)
    (tmp_path / "near").mkdir()
    with ToldService(tmp_path / "near"):
        (tmp_path / "near" / "http.sock").rename(far / "http.sock")
        link = Link(where(str(far)))
        assert link.get("/live")["ready"]
        link.close()


def test_nobody_there(tmp_path):
    assert refusal(Link(where(str(tmp_path)))).why == "nobody is there"


def test_a_byte_now_and_then_is_no_answer(service, link):
    service.answer, service.slowly = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b" " * 100, 0.05
    began_s = time.monotonic()
    assert refusal(link).why == "it does not answer in time"
    assert time.monotonic() - began_s < 5
    service.answer = service.slowly = None
    assert link.get("/live")["ready"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, b"{"), "no JSON"),
        ((200, b"[NaN]"), "no JSON"),
        ((200, b"[" * 100_000), "no JSON"),
        ((200, b'{"a": ' + b"9" * 5000 + b"}"), "no JSON"),
        ((200, b"\xff\xfe"), "no JSON"),
        ((200, b"9" * (MOST_BYTES + 1)), "more than 8 MiB"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{}", "is cut off"),  # and then it hangs up
        ((503, b'{"error": "the service \\u001b[2J has not said yet"}'), r"status 503: the service \\x1b\[2J has not said yet"),
        ((500, b"<html>"), "status 500$"),
        (b"", "it hangs up"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000, "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000, "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "no HTTP"),
    ],
    ids=["cut", "nan", "deep", "digits", "bytes", "large", "short", "503", "500", "nothing", "ssh", "headers", "header", "chunks"],
)
def test_answers_that_are_none(service, link, answer, words):
    service.answer = answer
    error = refusal(link)
    assert not error.refused
    assert re.search(words, error.why)
    service.answer = None
    assert link.get("/live")["ready"]


def test_a_token_is_shown_and_a_wrong_one_is_refused(tmp_path):
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    with ToldService(None, token=TOKEN) as service:
        right = where(service.url, token_file=path)
        assert TOKEN not in repr(right)
        for place in (right, where(service.url, environment={"EDGEWRIGHT_HTTP_TOKEN": TOKEN})):
            link = Link(place)
            assert link.get("/live")["ready"]
            link.close()
        error = refusal(Link(where(service.url)))
        assert (error.why, error.refused) == ("the token is missing or wrong", True)


def test_a_server_without_cameras(service, link):
    service.answer = 404, b'{"error": "there is no live service here"}'
    error = refusal(link)
    assert (error.why, error.refused) == ("it has no live service", True)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing: sudo apt-get install openssl")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    command += " -subj /CN=line-3 -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*command.split(), "-keyout", path, "-out", path.with_suffix(".crt")], check=True, capture_output=True, timeout=60)
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


def test_a_self_signed_certificate_is_trusted_where_it_is_named(certificate):
    with ToldService(None, certificate=certificate) as service:
        link = Link(where(service.url, ca_file=certificate.with_suffix(".crt")))
        assert link.get("/live")["ready"]
        link.close()
        assert refusal(Link(where(service.url))).why == "its certificate is not trusted: self-signed certificate"
        assert (
            "ertificate" in refusal(Link(where(service.url.replace("127.0.0.1", "localhost"), ca_file=certificate.with_suffix(".crt")))).why
        )


def test_plain_http_to_a_tls_port_is_a_sentence(certificate):
    with ToldService(None, certificate=certificate) as service:
        assert refusal(Link(where(service.url.replace("https", "http")), first_s=2.0)).why


def test_a_port_where_nobody_listens():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert refusal(Link(where(f"http://127.0.0.1:{taken.getsockname()[1]}"))).why == "nobody is there"


@pytest.mark.parametrize(
    ("url", "host", "port", "shown"),
    [
        ("http://10.0.0.7:8000", "10.0.0.7:8000", 8000, "http://10.0.0.7:8000"),
        ("http://line-3/", "line-3", 80, "http://line-3"),
        ("https://line-3", "line-3", 443, "https://line-3"),
        ("https://line-3:8443/edge/", "line-3:8443", 8443, "https://line-3:8443/edge"),
        ("http://[::1]:8000", "[::1]:8000", 8000, "http://[::1]:8000"),
    ],
)
def test_addresses(url, host, port, shown):
    place = where(url).place
    assert isinstance(place, NetPlace)
    assert (place.host, place.port, str(place)) == (host, port, shown)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a",
        "http://",
        "http://a:99999",
        "http://a:port",
        "http://a/?token=x",
        "http://a/#x",
        "http://[::1",
        "http://a b",
        "http://a\x1b",
    ],
)
def test_what_is_no_address(url):
    with pytest.raises(InputError, match="is no address") as caught:
        where(url)
    assert str(caught.value).isprintable()


def test_no_secret_on_the_command_line():
    with pytest.raises(InputError, match="EDGEWRIGHT_HTTP_TOKEN") as caught:
        where(f"http://me:{TOKEN}@10.0.0.7:8000")
    assert TOKEN not in str(caught.value)


def test_a_state_folder(tmp_path):
    assert where(str(tmp_path)).place == SocketPlace(tmp_path)
    assert where(str(tmp_path / "http.sock")).place == SocketPlace(tmp_path)
    with pytest.raises(InputError, match="there is no state folder"):
        where(str(tmp_path / "none"))


def test_files_that_cannot_be_used(tmp_path):
    path = tmp_path / "file"
    path.write_text(TOKEN)
    path.chmod(0o644)
    with pytest.raises(InputError, match="chmod 600") as caught:
        where("http://a", token_file=path)
    assert TOKEN not in str(caught.value)
    with pytest.raises(InputError, match="cannot be read"):
        where("http://a", token_file=tmp_path / "none")
    with pytest.raises(InputError, match="cannot be read as certificates"):
        where("https://a", ca_file=path)
    with pytest.raises(InputError, match="cannot be read as certificates"):
        where("https://a", ca_file=tmp_path / "none")
    with pytest.raises(InputError, match="--ca-file"):
        where("http://a", ca_file=path)
    with pytest.raises(InputError, match="--ca-file"):
        where(str(tmp_path), ca_file=path)


@pytest.mark.parametrize(("url", "is_warned"), [("http://10.0.0.7", True), ("http://127.0.0.1", False), ("https://10.0.0.7", False)])
def test_a_token_in_the_clear_is_warned_of(url, is_warned):
    found = where(url, environment={"EDGEWRIGHT_HTTP_TOKEN": TOKEN})
    assert (found.warning is not None) == is_warned
