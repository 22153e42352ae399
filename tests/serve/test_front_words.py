"""Whatever a service says to its front arrives as it was said, in messages that its channel takes."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.run.channel import MOST_BYTES
from edgewright.run.front_settings import FrontSettings
from edgewright.run.secrets import Secret
from edgewright.run.settings import ModelSettings, ServiceSettings
from edgewright.serve.front_words import PIECE, FrontOrder, Gathered, pieces

plain = st.none() | st.integers() | st.text(max_size=20) | st.floats(allow_nan=False)
documents = st.dictionaries(st.text(max_size=5), plain | st.lists(plain, max_size=5), max_size=5)


@settings(deadline=None, max_examples=40)
@given(st.lists(documents, min_size=1, max_size=3), st.integers(0, 3 * PIECE), st.sampled_from(['"', "\\", "x", "ä", "\N{GRINNING FACE}"]))
def test_documents_arrive_whole_and_no_message_is_too_large(said, length, letter):
    gathered, heard = Gathered(), []
    for document in [*said, {"long": letter * length}]:
        for words in pieces(document):
            data = json.dumps(words, separators=(",", ":")).encode()
            assert len(data) <= MOST_BYTES
            if (whole := gathered.take(json.loads(data))) is not None:
                heard.append(whole)
    assert heard == [*said, {"long": letter * length}]


def test_a_document_that_is_broken_off_gives_way_to_the_next():
    gathered = Gathered()
    first, *_ = pieces({"long": "x" * 2 * PIECE})
    assert gathered.take(first) is None
    (whole,) = pieces({"next": 1})
    assert gathered.take(whole) == {"next": 1}


@pytest.mark.parametrize(
    "words", [{}, {"piece": "x"}, {"piece": "{}", "of": [1, 2]}, {"piece": "[]", "of": [0, 1]}, {"piece": "{", "of": [0, 1]}]
)
def test_what_is_no_piece_is_said_to_be_none(words):
    with pytest.raises((LookupError, TypeError, ValueError)):
        Gathered().take(words)


def test_an_order_arrives_with_its_secret_which_prints_as_stars():
    front = FrontSettings("::1", 1234, Secret("0123456789abcdef"), Path("a.pem"), None, ("line-3.local",), load=False, rate_per_s=2.0)
    service = ServiceSettings((ModelSettings("tiny", Path("tiny.onnx"), threads=2),), (), http=front)
    order = FrontOrder.of(service, 5 << 20)
    back = FrontOrder.from_json(json.loads(json.dumps(order.to_json())))
    assert back.settings.token.reveal() == "0123456789abcdef"
    assert back.models == (("tiny", Path("tiny.onnx").absolute(), 2),)
    assert (back.settings.certificate, back.room_bytes) == (Path("a.pem").absolute(), 5 << 20)
    assert "0123456789abcdef" not in repr(order) + repr(back)
