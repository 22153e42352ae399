"""A child process does what the service says, lets go what it did not ask for, and says why where it cannot go on."""

import os

import numpy as np
import pytest

from edgewright.errors import HostError, InputError
from edgewright.run import obey as obeying
from edgewright.run.channel import Channel, channel_pair
from edgewright.run.memory import MIB
from edgewright.run.obey import Rings, obey, serve
from edgewright.run.ring import Ring, RingError
from live_stage import descriptors


@pytest.fixture
def ends(monkeypatch):
    """The service's end, and the child's, which `serve` finds."""
    ours, theirs = channel_pair()
    monkeypatch.setattr(Channel, "of_child", lambda: theirs)
    yield ours, theirs
    ours.close()
    theirs.close()


def heard(end):
    message = end.receive()
    return None if message is None else message.words


def test_the_first_words_are_the_order(ends):
    ours, theirs = ends
    ours.send({"load": 3})
    done = []
    assert serve(lambda *given: done.append(given)) == 0
    assert done == [(theirs, {"load": 3})]
    assert heard(ours) is None


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (InputError("no model", got="x\ny"), {"say": "refused", "why": "no model; got x\\ny", "exit_code": 2}),
        (HostError("no engine"), {"say": "refused", "why": "no engine", "exit_code": 3}),
        (RingError("no ring"), {"say": "refused", "why": "no ring", "exit_code": 3}),
        (InputError("x" * 5000), {"say": "refused", "why": "x" * 999 + "…", "exit_code": 2}),
    ],
)
def test_why_it_cannot_is_said(ends, error, words):
    def refuse(*_):
        raise error

    ours, _ = ends
    ours.send({})
    assert serve(refuse) == 0
    said = heard(ours)
    assert said | {"why": words["why"]} == words
    assert said["why"][:900] == words["why"][:900]
    assert len(said["why"]) <= obeying.LONGEST_WHY


def test_a_service_that_is_gone_is_the_end(ends):
    ours, _ = ends
    ours.send({})
    ours.send({"last": 1})
    ours.close()
    assert serve(lambda channel, _: [channel.receive() for _ in range(3)]) == 0


def test_each_word_has_its_deed_and_what_nobody_asked_for_is_let_go(ends):
    ours, theirs = ends
    before, done = descriptors(), []
    deeds = {"job": lambda message: done.append(message.words["job"]), "ping": lambda _: done.append("ping")}
    reading, writing = os.pipe()
    for words in ({"job": 1}, {"ping": 0}, {"other": 5}, {}):
        ours.send(words, (reading, writing) if "other" in words else ())
        obey(theirs.receive(), deeds)
    os.close(reading)
    os.close(writing)
    assert done == [1, "ping"]
    assert descriptors() == before


def test_rings_are_known_by_their_numbers_until_they_are_let_go(ends):
    ours, theirs = ends
    before, rings = descriptors(), Rings()
    with Ring.make("belt", slots=2, slot_bytes=12, room_bytes=MIB) as ring:
        ring.slot(1)[:] = range(12)
        for words, fds in (({"ring": 7, "slots": 2, "slot_bytes": 12}, (ring.fd,)), ({"unring": 9}, ())):
            ours.send(words, fds)
            obey(theirs.receive(), rings.deeds)
        picture = rings.picture({"ring": 7, "slot": 1}, (2, 2))
        assert np.array_equal(picture.reshape(-1), range(12))
        del picture  # a view keeps the memory
        ours.send({"unring": 7})
        obey(theirs.receive(), rings.deeds)
        with pytest.raises(KeyError):
            rings.picture({"ring": 7, "slot": 1}, (2, 2))
    assert descriptors() == before
