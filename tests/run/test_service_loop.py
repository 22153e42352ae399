"""The loop calls whom a descriptor concerns, and nobody whose descriptor has gone meanwhile."""

import os

import pytest

from edgewright.run.loop import Loop


@pytest.fixture
def loop():
    made = Loop()
    yield made
    made.close()


def test_who_can_be_heard_is_called(loop):
    (one, write_one), (other, write_other) = os.pipe(), os.pipe()
    heard = []
    loop.watch(one, lambda: heard.append(("one", os.read(one, 10))))
    loop.watch(other, lambda: heard.append(("other", os.read(other, 10))))
    loop.turn(0.0)
    assert heard == []
    os.write(write_other, b"x")
    loop.turn(1.0)
    assert heard == [("other", b"x")]
    loop.unwatch(other)
    os.write(write_other, b"y")
    loop.turn(0.0)
    assert heard == [("other", b"x")]
    for descriptor in (one, write_one, other, write_other):
        os.close(descriptor)


def test_one_that_went_while_another_was_called_is_not_called_nor_its_successor(loop):
    ends, called = [], []

    def first_come(mine, theirs):
        """Whoever is called first ends the other, and another begins under the same number."""
        called.append(mine)
        loop.unwatch(theirs)
        os.dup2(fresh, theirs)
        loop.watch(theirs, lambda: called.append("successor"))

    fresh, fresh_write = os.pipe()
    (one, write_one), (other, write_other) = os.pipe(), os.pipe()
    loop.watch(one, lambda: first_come(one, other))
    loop.watch(other, lambda: first_come(other, one))
    os.write(write_one, b"x")
    os.write(write_other, b"x")
    loop.turn(1.0)
    assert len(called) == 1
    assert called[0] in (one, other)
    ends += [fresh, fresh_write, one, other, write_one, write_other]
    for descriptor in ends:
        os.close(descriptor)
