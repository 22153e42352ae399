"""Messages arrive whole or not at all; whatever else is said is an error, and leaves no descriptor behind."""

import json
import os
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.run.channel import MOST_BYTES, MOST_DESCRIPTORS, Channel, ChannelError, TooMuchError, channel_pair, close_all
from live_stage import descriptors


@pytest.fixture
def ends():
    before = descriptors()
    ours, theirs = channel_pair()
    yield ours, theirs
    ours.close()
    theirs.close()
    assert descriptors() == before


def raw(channel: Channel) -> socket.socket:
    return channel._end


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each, max_size=3),
    max_leaves=10,
)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.dictionaries(st.text(max_size=5), json_values, max_size=3), max_size=8))
def test_messages_keep_their_borders_and_their_order(messages):
    ours, theirs = channel_pair()
    try:
        for words in messages:
            theirs.send(words)
        assert [ours.receive().words for _ in messages] == messages
        assert ours.receive() is None
    finally:
        ours.close()
        theirs.close()


def test_descriptors_travel_to_the_child_and_are_not_inherited_further(ends):
    ours, theirs = ends
    reading, writing = os.pipe()
    ours.send({"pipe": True}, (writing,))
    os.close(writing)
    message = theirs.receive()
    assert message.words == {"pipe": True}
    (arrived,) = message.fds
    assert not os.get_inheritable(arrived)
    os.write(arrived, b"through")
    assert os.read(reading, 20) == b"through"
    close_all([*message.fds, reading])


def test_more_descriptors_than_a_message_has_are_refused_and_closed(ends):
    ours, theirs = ends
    before = descriptors()
    ours.send({}, (0,) * (MOST_DESCRIPTORS + 1))
    with pytest.raises(ChannelError, match="more than a message holds"):
        theirs.receive()
    assert descriptors() == before


def test_the_service_takes_no_descriptors_of_a_child(ends):
    ours, theirs = ends
    before = descriptors()
    for _ in range(10):
        theirs.send({"say": "alive"}, (0,))
        with pytest.raises(ChannelError, match="more than a message holds"):
            ours.receive()
    assert descriptors() == before


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"nonsense",
        b"[1, 2]",
        b"7",
        b"null",
        b'"words"',
        b"\xff\xfe",
        b"\x00",
        b'{"a": 1}{"b": 2}',
        b'{"n": ' + b"1" * 5000 + b"}",  # beyond what Python turns into a number
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b"[" * 60_000,
    ],
)
def test_what_is_no_object_is_no_message_and_what_came_with_it_is_closed(ends, data):
    ours, theirs = ends
    before = descriptors()
    socket.send_fds(raw(ours), [data], [0, 0])
    with pytest.raises(ChannelError, match="what is no message"):
        theirs.receive()
    raw(theirs).send(data)
    with pytest.raises(ChannelError, match="what is no message"):
        ours.receive()
    assert descriptors() == before


@pytest.mark.parametrize("size", [MOST_BYTES + 1, MOST_BYTES * 2])
def test_too_large_a_message_is_refused_on_either_side(ends, size):
    ours, theirs = ends
    raw(theirs).send(json.dumps({"a": "x" * (size - 9)}).encode())
    with pytest.raises(ChannelError, match="more than a message holds"):
        ours.receive()
    with pytest.raises(TooMuchError):
        theirs.send({"a": "x" * size})
    theirs.send({"small": 1})  # nothing of the others was left in between
    assert ours.receive().words == {"small": 1}


def test_the_largest_message_arrives(ends):
    ours, theirs = ends
    words = {"a": "x" * (MOST_BYTES - len('{"a":""}'))}
    theirs.send(words)
    assert ours.receive().words == words


def test_a_closed_peer_is_heard_after_its_last_words(ends):
    ours, theirs = ends
    theirs.send({"last": 1})
    theirs.close()
    assert ours.receive().words == {"last": 1}
    for _ in range(2):
        with pytest.raises(ChannelError, match="closed its end"):
            ours.receive()
    with pytest.raises(ChannelError, match="cannot be told anything"):
        ours.send({})


def test_one_who_does_not_read_is_an_error_and_no_wait(ends):
    ours, theirs = ends

    def fill():
        for number in range(100_000):
            ours.send({"number": number})

    with pytest.raises(ChannelError, match="does not read"):
        fill()
    assert theirs.receive().words == {"number": 0}  # what was sent is still there, in order
    assert theirs.receive().words == {"number": 1}


def test_a_descriptor_is_not_lost_to_a_full_buffer(ends):
    ours, theirs = ends
    before = descriptors()

    def fill():
        for _ in range(100_000):
            ours.send({}, (0,))

    with pytest.raises(ChannelError):
        fill()
    assert descriptors() == before
    theirs.close()  # those on the way go with it


def test_last_words_are_heard_of_one_that_went_without_reading(ends):
    """The kernel says first that what we had sent was not read, and then gives what was sent to us."""
    ours, theirs = ends
    ours.send({"never": "read"})
    theirs.send({"say": "refused"})
    theirs.close()
    assert ours.receive().words == {"say": "refused"}
    with pytest.raises(ChannelError, match="closed its end"):
        ours.receive()
