"""Who stands in line with whom: only neighbours of the same shapes, nobody is overtaken, and what memory allows."""

import asyncio

import numpy as np
import pytest

from edgewright.serve.jobs import Job, Run
from edgewright.serve.slot_layout import lay_out_together, read
from edgewright.serve.waiting import MOST_KINDS, Waiting

MUCH = 1 << 40


@pytest.fixture(autouse=True)
def loop():
    """Jobs hold a future, and that a loop."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


def job(*shapes, fill=0.0, **more):
    future = asyncio.get_event_loop_policy().get_event_loop().create_future()
    tensors = [(index, np.full(shape, fill, np.float32)) for index, shape in enumerate(shapes)]
    return Job(tensors, more.pop("wanted", None), 1e9, 0, answer=future, **more)


def line(*jobs, most=8):
    found = Waiting(most)
    for each in jobs:
        found.add(each, len(found) + 1)
    return found


def next_of(found, *, is_busy=False, room_bytes=MUCH):
    return found.next(0.0, is_busy=is_busy, room_bytes=room_bytes, model_bytes=100)


def taught(found):
    """Two together are twice as fast, four four times."""
    policy = found.kind_of(next(iter(found))).policy
    for _ in range(10):
        policy.ran(1, 0.001)
    for size in (2, 4, 8):
        for _ in range(4):
            policy.tried(size, 0.001, 0.001)
    return found


@pytest.mark.parametrize(
    ("one", "goes"),
    [
        (((1, 3),), True),
        (((2, 3), (2, 5)), True),
        (((2, 3), (1, 5)), False),  # which rows belong together?
        (((0, 3),), False),
        (((),), False),
        ((), False),
    ],
)
def test_what_has_rows_of_one_number_may_go_with_its_like(one, goes):
    assert (job(*one).shapes is not None) == goes
    assert job(*one, is_alone=True).shapes is None


def test_neighbours_of_the_same_shapes_are_computed_together():
    jobs = [job((1, 3)) for _ in range(5)] + [job((1, 4)), job((1, 3))]
    found = taught(line(*jobs))
    run = next_of(found)
    assert run.jobs == tuple(jobs[:4])
    found.take(run)
    assert next_of(found).jobs == (jobs[4],), "the one of another shape is not overtaken"
    assert len(found) == 3


def test_a_busy_process_leaves_time_for_more_to_come():
    found = taught(line(*[job((1, 3)) for _ in range(8)]))
    for _ in range(5):
        found.take(Run((next(iter(found)),)))
    assert next_of(found, is_busy=True) is None
    assert next_of(found, is_busy=False).size == 2
    found.add(job((1, 3)), 8)
    assert next_of(found, is_busy=True).size == 4
    found.take(next_of(found))
    found.add(job((1, 3)), 8)
    found.add(job((1, 4)), 8)
    assert next_of(found, is_busy=True).size == 1, "nobody can join it behind the one of another shape"


def test_not_more_than_memory_allows():
    found = taught(line(*[job((1, 3)) for _ in range(8)]))
    kind = found.kind_of(next(iter(found)))
    assert next_of(found, room_bytes=50).size == 1
    assert next_of(found, room_bytes=100).size == 2
    kind.grew(2, 10)
    assert next_of(found, room_bytes=20).size == 4
    assert next_of(found, room_bytes=0).size == 2
    kind.most = 3
    assert next_of(found).size == 2
    found.forget_sizes()
    assert next_of(found, room_bytes=50).size == 1


def test_what_comes_apart_goes_first_and_alone():
    jobs = [job((1, 3)) for _ in range(6)]
    found = taught(line(*jobs))
    run = next_of(found)
    found.take(run)
    found.bring_back(run)
    for each in jobs[:4]:
        assert next_of(found).jobs == (each,)
        found.take(next_of(found))
    assert next_of(found).jobs == tuple(jobs[4:])
    found.keep_apart("a reason")
    assert next_of(found).jobs == (jobs[4],)


def test_where_it_is_switched_off_each_has_its_own_run():
    found = line(*[job((1, 3)) for _ in range(3)], most=1)
    assert found.kind_of(next(iter(found))) is None
    assert next_of(found).size == 1


def test_only_so_many_shapes_are_remembered():
    found = line(*[job((1, wide)) for wide in range(1, 4 * MOST_KINDS)])
    assert len(list(found.policies())) == MOST_KINDS


def test_rows_are_laid_one_after_the_other_and_given_back():
    jobs = [job((2, 3), (2,), fill=float(at), wanted=wanted) for at, wanted in enumerate([(0,), (1, 0), None])]
    layout = lay_out_together([each.tensors for each in jobs])
    slot = np.zeros(layout.total_bytes, np.uint8)
    layout.write(slot)
    joined = [(placed.index, read(slot, placed)) for placed in layout.placed]
    assert [array.shape for _, array in joined] == [(6, 3), (6,)]
    run = Run(tuple(jobs))
    assert run.wanted is None
    for at, (each, answer) in enumerate(zip(jobs, run.answers(joined), strict=True)):
        assert [index for index, _ in answer] == list(each.wanted or (0, 1))
        assert all(array.shape[0] == 2 and (array == at).all() for _, array in answer)
    assert Run(tuple(jobs[:2])).wanted == [0, 1]
    with pytest.raises(ValueError, match="rows"):
        run.answers([(0, np.zeros((5, 3)))])
