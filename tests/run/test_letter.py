"""A record on its way out is JSON that every reader takes, under an id that stays."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.run.letter import Letter, letter_of
from edgewright.run.records import Event
from tiny_answer import an_answer


def test_an_answer_begins_with_what_it_is_and_has_an_id_of_its_own():
    letter = letter_of(an_answer())
    document = json.loads(letter.body)
    assert list(document)[:2] == ["record", "id"]
    assert document["record"] == letter.kind == "answer"
    assert document["id"] == letter.id == "door.m.7.1700000000500"
    assert document["scores"] == [0.9, 0.8]
    assert document["track_ids"] == [4, None]
    assert letter.camera == "door"


def test_an_event_keeps_its_id():
    letter = letter_of(Event("0017-3", 5.0, "rule", "gate", "somebody came", camera="door", data={"boxes": 2}))
    assert json.loads(letter.body) == {
        "record": "event",
        "id": "0017-3",
        "time_s": 5.0,
        "kind": "rule",
        "name": "gate",
        "text": "somebody came",
        "severity": "info",
        "camera": "door",
        "data": {"boxes": 2},
    }


def test_ids_are_fit_for_a_header_whatever_cameras_are_called():
    letter = letter_of(an_answer(camera="Tür\r\nX: 1", model="m" * 1000))
    assert letter.id.isascii()
    assert letter.id.isprintable()
    assert " " not in letter.id
    assert letter.id.endswith(".7.1700000000500")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (float("nan"), None),
        (float("-inf"), None),
        (np.float32(0.5), 0.5),
        (np.arange(3), [0, 1, 2]),
        (np.array([np.nan, 1.0]), [None, 1.0]),
        ({"deep": [float("nan")]}, {"deep": [None]}),
        (b"bytes", "b'bytes'"),
        ("lone \ud800", "lone ?"),
    ],
)
def test_figures_become_json_that_every_reader_takes(value, found):
    body = letter_of(Event("1", 0.0, "rule", "r", "t", data={"value": value})).body
    assert json.loads(body, parse_constant=pytest.fail)["data"]["value"] == found


@given(
    number=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=50),
    kind=st.sampled_from(["answer", "event"]),
    camera=st.none() | st.text(),
    body=st.binary(),
)
def test_a_letter_is_read_as_it_was_written(number, kind, camera, body):
    letter = Letter(number, kind, camera, body)
    assert Letter.decode(letter.encode()) == letter


@given(data=st.binary())
def test_anything_else_is_no_letter_and_no_traceback(data):
    letter = Letter.decode(data)
    assert letter is None or isinstance(letter, Letter)


@pytest.mark.parametrize("body", [b"", b"[]", b"[" * 100_000, b"{", b"\xff", b"null"])
def test_a_body_that_is_no_object_is_one_error(body):
    with pytest.raises(ValueError, match=r".*"):
        Letter("1", "event", None, body).to_json()
