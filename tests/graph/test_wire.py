"""What a file would unfold into is known from its bytes, before a parser makes objects of them."""

import pytest

from edgewright.graph.wire import MAX_FIELDS, complaint_of
from graph.model_mutations import GRAPH, METADATA, NODE, field, nested_graphs, varint
from graph.small_models import sound_model

SOUND = sound_model().SerializeToString()


def test_a_sound_model_gives_no_cause_for_complaint():
    assert complaint_of(SOUND) is None
    assert complaint_of(b"") is None


@pytest.mark.parametrize(
    ("data", "got"),
    [
        (field(GRAPH, b"\x0a\x00" * 60_000), "more than 50,000 nodes"),
        (field(GRAPH, field(NODE, b"\x2a\x00" * 600_000)), "more than 500,000 attributes"),
        (field(METADATA, b"") * 10_001, "more than 10,000 metadata props"),
        (b"\x42\x00" * 101, "more than 100 opset imports"),
        (b"\x08\x08" * (MAX_FIELDS + 1), "more than 2,000,000 fields"),
        (field(GRAPH, nested_graphs(34)), "content nested more than 100 messages deep"),
    ],
)
def test_what_is_too_much_is_told_from_what_is_damaged(data, got):
    complaint = complaint_of(SOUND + data)

    assert (complaint.got, complaint.excess) == (got, True)


@pytest.mark.parametrize(
    ("data", "got"),
    [
        (SOUND[:-1], f"{len(SOUND) - 1} bytes of at least"),
        (SOUND + b"\x3a" + varint(2**40), f"a field that claims {2**40} bytes in a file of {len(SOUND) + 7}"),
        (SOUND + b"\x00\x00", "the content is corrupt"),  # there is no field 0
        (SOUND + b"\x0b\x0c", "the content is corrupt"),  # groups, which ONNX never had
        (SOUND + b"\x08" + b"\xff" * 11, "the file is cut short"),  # a number without end
        (SOUND + field(GRAPH, b"\x0a\x05\x0a"), "the content is corrupt"),  # a node that is longer than its graph
    ],
)
def test_damage_is_named(data, got):
    complaint = complaint_of(data)

    assert got in complaint.got
    assert not complaint.excess


def test_graphs_in_graphs_that_a_parser_takes_are_taken():
    assert complaint_of(SOUND + field(GRAPH, nested_graphs(30))) is None
