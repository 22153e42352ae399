"""Memory that two processes share: all there before it is used, never smaller, gone without a trace; a slot is in one state at a time."""

import errno
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edgewright.errors import HostError
from edgewright.run.ring import MIB, MOST_SLOTS, PAGE, Ring, RingError, SlotLedger
from live_stage import descriptors


@pytest.fixture
def ring():
    with Ring.make("belt", slots=3, slot_bytes=6000, room_bytes=MIB) as made:
        yield made


def test_a_ring_beyond_its_room_is_refused_with_the_figures():
    before = descriptors()
    with pytest.raises(HostError) as refused:
        Ring.make("belt", slots=6, slot_bytes=10 * MIB, room_bytes=50 * MIB)
    said = str(refused.value)
    assert refused.value.exit_code == 3
    assert all(words in said for words in ("belt", "50 MiB", "60 MiB for 6 frames of 10.0 MiB", "raise the memory budget"))
    assert descriptors() == before


def test_what_the_machine_has_not_is_refused_as_well(monkeypatch):
    def none_left(descriptor, offset, length):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", none_left)
    before = descriptors()
    with pytest.raises(HostError, match="no space left"):
        Ring.make("belt", slots=2, slot_bytes=PAGE, room_bytes=MIB)
    assert descriptors() == before


def test_all_of_its_memory_is_there_from_the_start(ring):
    assert os.fstat(ring.fd).st_blocks * 512 >= ring.total_bytes == 3 * 2 * PAGE


@pytest.mark.parametrize("size", [0, PAGE, 10 * MIB])
def test_nobody_changes_its_size(ring, size):
    with Ring.attach(os.dup(ring.fd), 3, 6000) as attached, pytest.raises(PermissionError):
        os.ftruncate(attached.fd, size)
    assert os.fstat(ring.fd).st_size == ring.total_bytes


def memory_of(size, *, seals=True):
    made = Ring.make("x", slots=1, slot_bytes=size, room_bytes=MIB) if seals else None
    descriptor = os.dup(made.fd) if made else os.memfd_create("x")
    if made:
        made.close()
    else:
        os.ftruncate(descriptor, size)
    return descriptor


@pytest.mark.parametrize(
    ("descriptor", "slots", "slot_bytes"),
    [
        (lambda: memory_of(PAGE), 2, PAGE),
        (lambda: memory_of(PAGE), 1, PAGE + 1),
        (lambda: memory_of(PAGE, seals=False), 1, PAGE),
        (lambda: memory_of(PAGE), 0, PAGE),
        (lambda: memory_of(PAGE), -1, PAGE),
        (lambda: memory_of(PAGE), 1, 0),
        (lambda: memory_of(PAGE), MOST_SLOTS + 1, 1),
        (lambda: memory_of(PAGE), 1, 1 << 60),
        (lambda: os.open("/dev/null", os.O_RDWR), 1, PAGE),
        (lambda: os.open(__file__, os.O_RDONLY), 1, 100),
    ],
)
def test_what_is_no_such_ring_is_not_attached(descriptor, slots, slot_bytes):
    opened = descriptor()
    try:
        with pytest.raises(RingError):
            Ring.attach(opened, slots, slot_bytes)
    finally:
        os.close(opened)


def test_a_picture_is_a_view_of_its_slot_alone(ring):
    for index in range(3):
        ring.slot(index)[:] = index
    picture = ring.picture(1, (50, 40))
    assert picture.shape == (40, 50, 3)
    assert picture.dtype == np.uint8
    picture[:] = 200
    assert [int(ring.slot(index).max()) for index in range(3)] == [0, 200, 2]
    assert ring.slot(1).size == 6000


@pytest.mark.parametrize("size_wh", [(51, 40), (0, 10), (10, 0), (-10, -10), (-1, 1), (2001, 1), (1 << 40, 1 << 40)])
def test_a_picture_that_does_not_fit_is_none(ring, size_wh):
    with pytest.raises(RingError, match="in a slot of 6000 bytes"):
        ring.picture(0, size_wh)


@pytest.mark.parametrize("index", [-1, 3, 1 << 40])
def test_there_is_no_other_slot(ring, index):
    with pytest.raises(RingError, match="no slot"):
        ring.picture(index, (1, 1))


WRITER = """
import sys
from edgewright.run.ring import Ring
with Ring.attach(int(sys.argv[1]), 3, 6000) as ring:
    picture = ring.picture(2, (50, 40))
    assert (picture == 7).all()
    picture[:] = 9
"""


def test_two_processes_see_the_same_bytes(ring):
    ring.slot(2)[:] = 7
    subprocess.run([sys.executable, "-c", WRITER, str(ring.fd)], pass_fds=(ring.fd,), check=True, timeout=60)
    assert (ring.picture(2, (50, 40)) == 9).all()


def test_nothing_is_left_of_a_closed_ring():
    before, named = descriptors(), sorted(Path("/dev/shm").iterdir())
    made = Ring.make("belt", slots=4, slot_bytes=MIB, room_bytes=5 * MIB)
    with Ring.attach(os.dup(made.fd), 4, MIB) as attached:
        attached.slot(0)[:] = 1
        assert sorted(Path("/dev/shm").iterdir()) == named  # it never had a name
    view = made.picture(0, (10, 10))
    made.close()
    made.close()
    assert (view == 1).all()  # who still looks is not pulled away from under
    del view
    assert descriptors() == before


IN_A_TINY_ONE = """
mount -t tmpfs -o size=64k tmpfs /dev/shm || exit 77
exec "$0" -c "
from edgewright.run.ring import Ring, MIB
with Ring.make('belt', slots=4, slot_bytes=8 * MIB, room_bytes=64 * MIB) as ring:
    for slot in range(4):
        ring.slot(slot)[:] = 1
print('written')
"
"""


def test_the_size_of_dev_shm_does_not_matter():
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", IN_A_TINY_ONE, sys.executable]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError:
        pytest.skip("needs unshare: sudo apt-get install util-linux")
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"no private mounts here: {done.stderr.strip()}")
    assert (done.returncode, done.stdout) == (0, "written\n")


class Ledger(RuleBasedStateMachine):
    """Against the plainest model: a state for each slot."""

    SLOTS = 4

    def __init__(self):
        super().__init__()
        self.ledger = SlotLedger(self.SLOTS)
        self.writing = set()
        self.held = Counter()

    @rule()
    def take(self):
        slot = self.ledger.take()
        if slot is None:
            assert len(self.writing) + len(self.held) == self.SLOTS
        else:
            assert slot not in self.writing
            assert slot not in self.held
            assert 0 <= slot < self.SLOTS
            self.writing.add(slot)

    @rule(slot=st.integers(-1, SLOTS))
    def fill(self, slot):
        if slot in self.writing:
            self.ledger.fill(slot)
            self.writing.remove(slot)
            self.held[slot] = 1
        else:
            with pytest.raises(RingError, match="was not to be written"):
                self.ledger.fill(slot)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def hold(self, data):
        slot = data.draw(st.sampled_from(sorted(self.held)))
        self.ledger.hold(slot)
        self.held[slot] += 1

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data):
        slot = data.draw(st.sampled_from(sorted(self.held)))
        self.ledger.release(slot)
        self.held[slot] -= 1
        if not self.held[slot]:
            del self.held[slot]

    @rule(slot=st.integers(-1, SLOTS))
    def let_go_of_what_is_not_held(self, slot):
        if slot not in self.held:
            for refused in (self.ledger.hold, self.ledger.release):
                with pytest.raises(KeyError):
                    refused(slot)

    @rule()
    def writer_dies(self):
        self.ledger.writer_is_gone()
        self.writing.clear()

    @invariant()
    def every_slot_is_in_one_state(self):
        assert self.ledger.writing == len(self.writing)
        assert self.ledger.free + len(self.writing) + len(self.held) == self.SLOTS
        assert set(self.ledger._free) | self.writing | set(self.held) == set(range(self.SLOTS))


TestLedger = Ledger.TestCase
TestLedger.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_slots_that_are_given_back_take_no_memory_until_they_are_allocated_again():
    with Ring.make("belt", slots=4, slot_bytes=MIB, room_bytes=64 * MIB) as ring:
        ledger = SlotLedger(4)

        def taken_bytes():
            return os.fstat(ring.fd).st_blocks * 512

        assert taken_bytes() == ring.total_bytes
        written = ledger.take()
        ring.slot(written)[:] = 7
        ledger.fill(written)
        while (slot := ledger.set_aside()) is not None:
            ring.give_back(slot)
        assert (ledger.in_use, ledger.free, taken_bytes()) == (1, 0, ring.total_bytes // 4)
        assert (ring.slot(written) == 7).all()
        assert ledger.take() is None
        assert ring.allocate(ledger.aside)
        ledger.bring_back()
        assert (ledger.in_use, ledger.free, taken_bytes()) == (2, 1, ring.total_bytes // 2)
        assert (ring.slot(ledger.take()) == 0).all()
        ledger.release(written)
