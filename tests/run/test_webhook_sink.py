"""A webhook: what counts as delivered, what waits, what is refused, and that no server can hold us up or learn what it must not."""

import json
import time
from email.utils import formatdate

import pytest

from edgewright.errors import InputError
from edgewright.run.secrets import Address, Secret
from edgewright.run.settings import WebhookOutput
from edgewright.run.sinks import RefusedError, UndeliveredError, open_sink, place_for
from edgewright.testing.sinks import check_sink, some_letters
from turned_clock import TurnedClock
from webhook_server import WebhookServer, babble, drip, hang, hang_up


@pytest.fixture
def server():
    server = WebhookServer()
    yield server
    server.close()


@pytest.fixture
def sink_for(server, tmp_path):
    sinks = []

    def make(url=None, **more):
        output = WebhookOutput("hook", url=Address(url or f"http://127.0.0.1:{server.port}/hook?key=s3cret"), **{"timeout_s": 5.0, **more})
        sinks.append(open_sink(output, place_for(tmp_path, clock=TurnedClock())))
        return sinks[-1]

    yield make
    for sink in sinks:
        sink.close()


@pytest.mark.parametrize("batch", [1, 10])
def test_it_keeps_what_a_sink_promises(server, sink_for, batch):
    def break_it():
        server.answers += [(500, {})] * 5

    report = check_sink(
        lambda: sink_for(batch=batch, token=Secret("t0ken")), lambda: server.ids, secrets=("t0ken", "s3cret"), break_it=break_it
    )
    assert report.broken == ()


def test_a_request_is_the_record_under_its_id(server, sink_for):
    (letter,) = some_letters(1)
    sink_for(token=Secret("t0ken")).deliver([letter])
    ((_, headers, body, path),) = server.requests
    assert body == letter.body
    assert path == "/hook?key=s3cret"
    assert headers["Idempotency-Key"] == letter.id
    assert headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == "Bearer t0ken"
    assert headers["User-Agent"].startswith("edgewright/")


def test_a_batch_is_a_list_and_the_same_batch_has_the_same_key(server, sink_for):
    sink = sink_for(batch=5)
    for letters in (some_letters(3), some_letters(3), some_letters(1)):
        sink.deliver(letters)
    assert [len(json.loads(body)) for _, _, body, _ in server.requests] == [3, 3, 1]
    keys = [headers["Idempotency-Key"] for _, headers, _, _ in server.requests]
    assert keys[0] == keys[1] != keys[2]


def test_user_and_password_of_the_address_are_basic(server, sink_for):
    sink_for(f"http://ann:p%40ss@127.0.0.1:{server.port}/").deliver(some_letters(1))
    assert server.requests[0][1]["Authorization"] == "Basic YW5uOnBAc3M="


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_2xx_is_delivered(server, sink_for, status):
    server.answers = [(status, {"Content-Length": "0"} if status == 204 else {})] * 2
    sink = sink_for()
    sink.deliver(some_letters(2))


@pytest.mark.parametrize("status", [400, 409, 410, 413, 415, 422, 451])
def test_what_is_the_records_fault_is_a_refusal(server, sink_for, status):
    server.answers = [(200, {}), (status, {})]
    with pytest.raises(RefusedError, match=f"answered {status}") as refused:
        sink_for().deliver(some_letters(3))
    assert refused.value.delivered == 1


@pytest.mark.parametrize("status", [301, 302, 307, 401, 403, 404, 405, 408, 425, 429, 500, 502, 503, 504])
def test_what_may_be_put_right_waits(server, sink_for, status):
    server.answers = [(200, {}), (status, {"Location": "http://elsewhere.invalid/"})]
    with pytest.raises(UndeliveredError, match=f"answered {status}") as undelivered:
        sink_for().deliver(some_letters(3))
    assert undelivered.value.delivered == 1
    assert "s3cret" not in str(undelivered.value)
    assert len(server.requests) == 2


def test_a_list_that_is_refused_is_sent_one_by_one(server, sink_for):
    server.answers = [(400, {}), (200, {}), (400, {}), (200, {})]
    sink, letters = sink_for(batch=5), some_letters(4)
    with pytest.raises(RefusedError) as refused:
        sink.deliver(letters)
    assert refused.value.delivered == 1
    sink.deliver(letters[2:])
    assert server.ids == [letters[0].id, letters[2].id, letters[3].id]


@pytest.mark.parametrize(
    ("said", "expected_s"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("999999", 600.0),
        (formatdate(1_700_000_030.0, usegmt=True), 30.0),
        (formatdate(1_600_000_000.0, usegmt=True), 0.0),
        ("soon", None),
        ("-3", None),
        ("9" * 400, 600.0),
        ("Fri, 99 Xxx 9999 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_honoured_within_bounds(server, sink_for, said, expected_s):
    server.answers = [(429, {"Retry-After": said})]
    with pytest.raises(UndeliveredError) as undelivered:
        sink_for().deliver(some_letters(1))
    assert undelivered.value.retry_after_s == expected_s


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (lambda _: hang_up, "the connection ended without an answer"),
        (lambda _: babble, "the connection ended without an answer|no answer of HTTP"),
        (hang, "no answer within 0.3 s"),
        (drip, "no answer within 0.3 s"),
    ],
)
def test_a_server_that_misbehaves_holds_nobody_up(server, sink_for, behaviour, said):
    server.answers = [(200, {}), behaviour(server)]
    sink = sink_for(timeout_s=0.3)
    letters = some_letters(3)
    started_s = time.monotonic()
    with pytest.raises(UndeliveredError, match=said) as undelivered:
        sink.deliver(letters)
    assert undelivered.value.delivered == 1
    assert time.monotonic() - started_s < 10  # not for ever, on a machine that is busy
    sink.deliver(letters[1:])
    assert server.ids == [letter.id for letter in letters]


def test_a_connection_is_used_again_and_replaced_when_the_server_has_closed_it(server, sink_for):
    sink = sink_for()
    sink.deliver(some_letters(2))
    first = sink._connection
    sink.deliver(some_letters(1))
    assert sink._connection is first
    server.answers = [(200, {"Connection": "close"})]
    sink.deliver(some_letters(1))
    sink.deliver(some_letters(1))
    assert len(server.requests) == 5


def test_of_a_large_answer_little_is_read(server, sink_for):
    server.answers = [(200, {"Content-Length": str(1 << 40)})]
    sink = sink_for(timeout_s=0.5)
    sink.deliver(some_letters(2))
    assert len(server.ids) == 2


def test_where_nobody_listens_it_says_so(server, sink_for):
    server.close()
    server.close = lambda: None
    with pytest.raises(UndeliveredError, match="Connection refused"):
        sink_for().deliver(some_letters(1))


def test_https_needs_a_certificate_that_is_trusted(server, sink_for):
    with pytest.raises(UndeliveredError) as undelivered:
        sink_for(f"https://127.0.0.1:{server.port}/", timeout_s=2.0).deliver(some_letters(1))
    assert "127.0.0.1" in str(undelivered.value)


def test_a_token_that_cannot_be_sent_is_said_without_it(server, sink_for):
    with pytest.raises(UndeliveredError, match="cannot be sent") as undelivered:
        sink_for(token=Secret("hunter2\r\nX: y")).deliver(some_letters(1))
    assert "hunter2" not in str(undelivered.value)
    assert server.requests == []


@pytest.mark.parametrize("url", ["", "ftp://x/", "http://", "http://[oops", "/dev/null", "http://x:99999999/"])
def test_what_is_no_address_is_said_before_anything_is_sent(sink_for, tmp_path, url):
    with pytest.raises(InputError, match="is no address"):
        open_sink(WebhookOutput("hook", url=Address(url)), place_for(tmp_path))
