"""The log has an event a line, and no credentials, whatever an event holds."""

import io
import json
import os

import numpy as np
import pytest

from edgewright.detections import Detections
from edgewright.run.log import Log
from edgewright.run.records import Answer, Event
from edgewright.run.secrets import Address, Secret

URL = "rtsp://admin:hunter2@cam/stream?pwd=hunter2"
MOMENT_S = 1_700_000_000.25


def logged(log_format, *records):
    stream = io.StringIO()
    log = Log(log_format, stream)
    for record in records:
        log.offer(record)
    return stream.getvalue()


def event(text="is there", **fields):
    return Event("e-1", MOMENT_S, "camera", fields.pop("name", "belt"), text, **fields)


def test_an_event_is_a_line_for_people():
    assert logged("text", event()) == "2023-11-14T22:13:20.250Z   camera belt: is there\n"
    assert logged("text", event(severity="error")).split()[1] == "E"


def test_the_last_words_of_a_child_stand_below():
    lines = logged("text", event(severity="warning", data={"last_words": ["one", f"opening {URL}"]})).splitlines()
    assert [line.strip() for line in lines[1:]] == ["| one", "| opening rtsp://***@cam/stream?pwd=***"]


def test_or_a_line_of_json():
    said = json.loads(logged("json", event(camera="belt", data={"down_s": 1.5, "last_words": ["one"]})))
    assert said["data"] == {"down_s": 1.5, "last_words": ["one"]}
    assert (said["kind"], said["name"], said["text"], said["camera"]) == ("camera", "belt", "is there", "belt")


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize(
    "fields",
    [
        {"text": f"cannot open {URL}"},
        {"text": f"'{URL}', {URL}"},
        {"name": URL},
        {"data": {"last_words": [URL]}},
        {"data": {"a": {"b": [{"c": URL}]}}},
        {"data": {URL: 1}},
        {"data": {"tuple": (URL,)}},
        {"data": {"address": Address(URL), "secret": Secret("hunter2")}},
        {"camera": URL},
    ],
)
def test_no_credential_reaches_it(log_format, fields):
    shown = logged(log_format, event(**fields))
    assert "hunter2" not in shown
    assert shown.count("\n") == 1 + (log_format == "text" and "last_words" in fields.get("data", {}))


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_foreign_text_is_one_line_without_escapes(log_format):
    shown = logged(log_format, event("a\nb\x1b[2Jc\u202e" + "x" * 100_000))
    assert shown.count("\n") == 1
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert len(shown) < 5000


def test_what_json_does_not_have_is_said_in_words():
    said = json.loads(logged("json", event(data={"path": io, "array": np.float32(1)})))
    assert set(said["data"]) == {"path", "array"}


def test_answers_are_not_logged():
    answer = Answer("belt", "m", 0, MOMENT_S, 1.0, (4, 4), Detections.none())
    assert logged("json", answer) == logged("text", answer) == ""


@pytest.mark.parametrize("error", [OSError(28, "no space"), ValueError("I/O operation on closed file"), BlockingIOError()])
def test_a_log_that_cannot_be_written_stops_nothing(error):
    class Full(io.StringIO):
        def write(self, text):
            raise error

    Log("text", Full()).offer(event())


def test_a_log_that_nobody_reads_holds_up_nobody():
    reading, writing = os.pipe()
    with open(reading, "rb") as reader, open(writing, "w") as writer:  # noqa: PTH123 - descriptors
        log = Log("json", writer)
        for _ in range(100):  # far more than a pipe takes
            log.offer(event("x" * 1900, data={"last_words": ["y" * 1900] * 3}))
        assert 0 < log.left_out < 100
        os.set_blocking(reading, False)
        taken = b""
        while part := reader.read():
            taken += part
        log.offer(event("somebody reads again"))
        lines = (taken + reader.read()).splitlines()
        whole = [json.loads(line) for line in lines if line.endswith(b"}")]
        assert whole[-1]["text"] == "somebody reads again"
        assert len(whole) == 101 - log.left_out
