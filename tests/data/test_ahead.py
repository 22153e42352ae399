"""Running ahead changes when things are made, and nothing else."""

import os
import threading
import time
from contextlib import closing
from itertools import count, islice

import pytest

from edgewright.data.ahead import DEPTH, ahead


@pytest.fixture(autouse=True)
def nobody_is_left_behind():
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "edgewright-ahead"]


@pytest.fixture(params=[1, 2], ids=["one core", "two cores"], autouse=True)
def cores(request, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(request.param)))
    return request.param


class BrokenError(Exception):
    """What a maker meets."""


def made(how_many, log=None, *, breaks=False):
    for at in range(how_many):
        if log is not None:
            log.append(at)
        yield at
    if breaks:
        raise BrokenError(f"after {how_many}")


@pytest.mark.parametrize("how_many", [0, 1, 2, 3, 100])
@pytest.mark.parametrize("depth", [1, 2, 7])
def test_all_come_in_order(how_many, depth):
    assert list(ahead(made(how_many), depth)) == list(range(how_many))


@pytest.mark.parametrize("how_many", [0, 1, 50])
def test_an_error_comes_when_its_turn_comes(how_many):
    seen = []
    with pytest.raises(BrokenError, match=f"after {how_many}"):
        seen.extend(ahead(made(how_many, breaks=True)))  # extend keeps what came before the error
    assert seen == list(range(how_many))


def test_no_more_are_made_than_there_is_room_for(cores):
    log = []
    with closing(ahead(made(100, log))) as things:
        for taken in range(1, 20):
            next(things)
            assert len(log) <= taken + DEPTH
    assert len(log) <= 19 + DEPTH


def test_the_next_is_made_while_the_last_is_used(cores):
    next_is_made = threading.Event()

    def maker():
        yield 0
        next_is_made.set()
        yield 1

    with closing(ahead(maker())) as things:
        assert next(things) == 0
        assert next_is_made.wait(60 if cores > 1 else 0) == (cores > 1)


def test_whoever_leaves_early_leaves_no_thread_and_no_open_maker():
    closed = []

    def maker():
        try:
            yield from count()
        finally:
            closed.append(threading.current_thread().name)

    things = ahead(maker())
    assert list(islice(things, 3)) == [0, 1, 2]
    things.close()
    assert len(closed) == 1


def test_an_iteration_that_is_forgotten_is_left():
    things = ahead(made(1000))
    next(things)
    del things
    assert "edgewright-ahead" not in [thread.name for thread in threading.enumerate()]


def test_an_error_of_whoever_uses_them_is_theirs():
    def use():
        with closing(ahead(made(10))) as things:
            for _ in things:
                raise BrokenError("using it")

    with pytest.raises(BrokenError, match="using it"):
        use()


def test_what_is_taken_is_not_held_on_to(cores):
    """Or a frame of 25 MB more would stay in memory."""

    class Heavy:
        alive = 0

        def __init__(self):
            Heavy.alive += 1

        def __del__(self):
            Heavy.alive -= 1

    with closing(ahead(Heavy() for _ in range(50))) as things:
        for thing in things:
            del thing
            deadline = time.monotonic() + 60
            while Heavy.alive > DEPTH + 1 and time.monotonic() < deadline:
                pass
            assert Heavy.alive <= DEPTH + 1


def test_plain_iterators_will_do():
    assert list(ahead(iter([3, 1, 2]))) == [3, 1, 2]
