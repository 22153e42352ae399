"""A spool gives back what it took, in its order: after a kill at any byte, on a full disk, and with everything counted."""

import errno
import io
import os
import resource
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edgewright.errors import DiskError
from edgewright.run import spool as spool_module
from edgewright.run.cursor import Cursor
from edgewright.run.spool import GIVE_UP_S, KEEP_AFTER_S, LEAST_BYTES, SEGMENTS, SYNC_AFTER_S, Spool

MOST = SEGMENTS * LEAST_BYTES


def filled(folder, records, *, most_bytes=MOST, urgent=True):
    spool = Spool(folder, most_bytes)
    for record in records:
        assert spool.append(record, urgent=urgent, now_s=0.0)
        spool.keep(0.0)
    return spool


def everything_in(spool):
    found = []
    while batch := spool.peek(7, now_s=0.0):
        if not batch.records:
            return found
        found += batch.records
        spool.acknowledge(batch.end)
    return found


def segments(folder):
    return sorted(folder.glob("*.spool"))


def numbered(count, size=20):
    return [f"{number:06}".encode().ljust(size, b".") for number in range(count)]


def test_what_was_put_in_comes_out_in_its_order(tmp_path):
    records = numbered(50)
    spool = filled(tmp_path, records)
    assert spool.state().records == 50
    assert everything_in(spool) == records
    assert spool.state().records == spool.state().bytes == 0
    spool.close(0.0)


def test_a_record_stays_until_it_is_acknowledged(tmp_path):
    spool = filled(tmp_path, numbered(3))
    assert spool.peek(now_s=0.0).records == spool.peek(now_s=0.0).records
    assert spool.acknowledge(spool.peek(1, now_s=0.0).end) == 1
    assert spool.acknowledge(1) == 0
    assert spool.peek(now_s=0.0).records == tuple(numbered(3)[1:])
    spool.close(0.0)


def test_what_is_taken_soon_never_touches_the_disk(tmp_path):
    written = []
    spool = Spool(tmp_path / "spool", MOST, wrote=written.append)
    for record in numbered(100):
        assert spool.append(record, urgent=False, now_s=0.0)
        assert spool.keep(0.0) == KEEP_AFTER_S
        assert spool.acknowledge(spool.peek(now_s=0.0).end) == 1
    assert spool.keep(100.0) is None
    spool.close(0.0)
    assert written == []
    assert not (tmp_path / "spool").exists()


def test_what_is_not_taken_soon_goes_to_the_disk(tmp_path):
    spool = Spool(tmp_path, MOST)
    spool.append(b"answer", urgent=False, now_s=0.0)
    spool.keep(KEEP_AFTER_S - 0.1)
    assert segments(tmp_path) == []
    spool.keep(KEEP_AFTER_S)
    assert len(segments(tmp_path)) == 1
    spool.close(9.0)


def test_an_event_goes_to_the_disk_at_once_and_what_came_before_it_too(tmp_path):
    spool = Spool(tmp_path, MOST)
    spool.append(b"answer", urgent=False, now_s=0.0)
    spool.append(b"event", urgent=True, now_s=0.0)
    spool.keep(0.0)
    again = Spool(tmp_path, MOST)  # as if the first one had been killed
    assert everything_in(again) == [b"answer", b"event"]
    again.close(0.0)
    spool.close(0.0)


def test_an_event_is_synced_a_second_later_unless_it_was_taken(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    spool = Spool(tmp_path, MOST)
    for number in range(20):
        spool.append(b"event", urgent=True, now_s=number / 10)
        spool.keep(number / 10)
    assert len(synced) == 1
    spool.keep(99.0)
    assert len(synced) == 2
    spool.append(b"event", urgent=True, now_s=100.0)
    assert spool.keep(100.0) == 100.0 + SYNC_AFTER_S
    everything_in(spool)
    assert spool.keep(200.0) is None
    assert len(synced) == 2
    spool.close(200.0)


def test_a_restart_goes_on_where_it_was(tmp_path):
    records = numbered(30)
    spool = filled(tmp_path, records)
    spool.acknowledge(12)
    again = Spool(tmp_path, MOST)
    assert everything_in(again) == records[12:]
    assert again.append(b"new", urgent=True, now_s=0.0)
    again.keep(0.0)
    third = Spool(tmp_path, MOST)
    assert everything_in(third) == [b"new"]
    for each in (spool, again, third):
        each.close(0.0)


def test_beyond_the_limit_the_oldest_go_and_are_counted(tmp_path):
    records = numbered(2000, size=1000)
    spool = filled(tmp_path, records)
    state = spool.state()
    assert sum(path.stat().st_size for path in segments(tmp_path)) <= MOST
    assert state.overflowed > 0
    left = everything_in(spool)
    assert left == records[state.overflowed :]
    assert len(left) * 1008 > MOST * (SEGMENTS - 2) / SEGMENTS
    spool.close(0.0)
    assert Spool(tmp_path, MOST).state().overflowed == state.overflowed


def test_a_lower_limit_holds_for_what_is_there(tmp_path):
    records = numbered(1500, size=1000)
    filled(tmp_path, records, most_bytes=4 * MOST).close(0.0)
    spool = Spool(tmp_path, MOST)
    assert spool.state().bytes <= MOST
    assert everything_in(spool) == records[spool.state().overflowed :]
    spool.close(0.0)


def test_one_too_large_is_not_taken(tmp_path):
    spool = Spool(tmp_path, MOST)
    assert not spool.append(b"x" * (spool.largest_bytes + 1), urgent=True, now_s=0.0)
    assert spool.append(b"x" * spool.largest_bytes, urgent=True, now_s=0.0)
    spool.keep(0.0)
    assert [len(each) for each in everything_in(spool)] == [spool.largest_bytes]
    spool.close(0.0)


def test_a_bit_that_turned_costs_no_more_than_its_record_and_those_behind_it(tmp_path):
    records = numbered(6)
    filled(tmp_path / "whole", records).close(0.0)
    name = segments(tmp_path / "whole")[0].name
    data = (tmp_path / "whole" / name).read_bytes()
    for at in range(0, len(data), 3):
        shutil.rmtree(tmp_path / "turned", ignore_errors=True)
        shutil.copytree(tmp_path / "whole", tmp_path / "turned")
        (tmp_path / "turned" / name).write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
        spool = Spool(tmp_path / "turned", MOST)
        assert everything_in(spool) == records[: at // 28]
        assert spool.state().damaged == 1
        spool.close(0.0)


def test_a_bit_that_turns_while_we_run_costs_one_record(tmp_path):
    records = numbered(6)
    spool = filled(tmp_path, records)
    path = segments(tmp_path)[0]
    data = bytearray(path.read_bytes())
    data[2 * 28 + 9] ^= 1
    path.write_bytes(data)
    assert everything_in(spool) == records[:2] + records[3:]
    assert spool.state().damaged == 1
    spool.close(0.0)


def test_a_segment_that_is_gone_is_counted_and_passed_over(tmp_path):
    records = numbered(300, size=1000)
    filled(tmp_path, records).close(0.0)
    first, second, third, *_ = segments(tmp_path)
    second.unlink()
    spool = Spool(tmp_path, MOST)
    lost = int(third.stem) - int(second.stem)
    assert spool.state().damaged == lost
    assert everything_in(spool) == records[: int(second.stem)] + records[int(third.stem) :]
    assert first.stem == "0" * 20
    spool.close(0.0)


@pytest.mark.parametrize("cursor", [b"", b"\0" * 200, os.urandom(200), b"x"])
def test_without_its_cursor_a_spool_gives_all_again(tmp_path, cursor):
    records = numbered(10)
    spool = filled(tmp_path, records)
    spool.acknowledge(5)
    spool.close(0.0)
    (tmp_path / "cursor").write_bytes(cursor)
    again = Spool(tmp_path, MOST)
    assert everything_in(again) == records
    again.close(0.0)


def test_a_cursor_torn_in_the_middle_is_the_one_before(tmp_path):
    cursor = Cursor(tmp_path / "cursor")
    for head in range(1, 9):
        cursor.save(head, head + 1, 0)
        whole = (tmp_path / "cursor").read_bytes()
        if head > 1:
            torn = bytearray(whole)
            torn[(head % 2) * 64 + 8] ^= 0xFF
            (tmp_path / "torn").write_bytes(torn)
            assert Cursor(tmp_path / "torn").load() == (head - 1, head, 0)
        assert Cursor(tmp_path / "cursor").load() == (head, head + 1, 0)
    cursor.close()


def test_links_and_strangers_in_the_folder_are_left_alone(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    folder = tmp_path / "spool"
    folder.mkdir()
    (folder / f"{5:020}.spool").symlink_to(victim)
    (folder / "notes.txt").write_text("mine")
    (folder / f"{7:020}.spool").mkdir()
    spool = filled(folder, numbered(3))
    assert everything_in(spool) == numbered(3)
    spool.close(0.0)
    assert victim.read_bytes() == b"precious"
    assert (folder / "notes.txt").exists()


def test_a_cursor_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "cursor").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DiskError):
        Spool(tmp_path, MOST)


def test_a_full_disk_costs_nothing_that_was_kept(tmp_path, monkeypatch):
    """A write that fails half way, many times; then there is space again."""
    spool = filled(tmp_path, numbered(5))
    write, is_full = os.write, True

    def write_half(descriptor, data):
        if is_full and len(data) < 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[: len(data) // 2] if is_full else data)

    monkeypatch.setattr(spool_module.os, "write", write_half)
    taken = [record for record in numbered(3000, size=1000)[5:] if spool.append(record, urgent=True, now_s=1.0)]
    assert 900 < len(taken) < 1100  # a mebibyte of them
    for now_s in range(10):
        spool.keep(float(now_s))
    assert "no space left" in spool.state().disk_error
    killed = Spool(tmp_path, MOST)
    assert killed.peek(now_s=0.0).records == tuple(numbered(5))
    assert killed.state().damaged == 0
    assert spool.peek(now_s=0.0).records == tuple(numbered(5))
    is_full = False
    spool.keep(100.0)
    assert spool.state().disk_error is None
    state = spool.state()
    assert everything_in(spool) == [*numbered(5), *taken][state.overflowed :]
    spool.close(100.0)
    killed.close(0.0)


def test_a_limit_on_the_size_of_files_is_met_in_the_same_way(tmp_path):
    held = resource.getrlimit(resource.RLIMIT_FSIZE)
    spool = filled(tmp_path, numbered(5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, held[1]))
    try:
        for record in numbered(20)[5:]:
            assert spool.append(record, urgent=True, now_s=0.0)
            spool.keep(0.0)
        assert "may not grow that large" in spool.state().disk_error
        assert segments(tmp_path)[0].stat().st_size == 196  # seven whole ones
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, held)
    assert everything_in(spool) == numbered(20)
    spool.close(99.0)


def test_a_folder_that_cannot_be_made_leaves_memory(tmp_path):
    spool = Spool(tmp_path / "later" / "spool", MOST)
    (tmp_path / "later").write_text("a file has taken the name")
    for record in numbered(5):
        assert spool.append(record, urgent=True, now_s=0.0)
    spool.keep(0.0)
    assert "cannot write" in spool.state().disk_error
    assert everything_in(spool) == numbered(5)
    spool.close(0.0)


def test_when_no_more_files_may_be_opened_everything_waits(tmp_path):
    held = resource.getrlimit(resource.RLIMIT_NOFILE)
    records = numbered(2000, size=100)
    spool = filled(tmp_path, records)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, held[1]))
    try:
        found = [spool.peek(now_s=now_s) for now_s in (0.0, 1000.0, 1e6)]
        state = spool.state()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, held)
    assert [(batch.records, batch.end) for batch in found] == [((), 0)] * 3
    assert (state.records, state.damaged) == (2000, 0)
    assert "too many open files" in state.disk_error
    assert everything_in(spool) == records
    assert spool.state().disk_error is None
    spool.close(0.0)


class BadSector(io.BytesIO):
    """A file that cannot be read at one place."""

    def __init__(self, data, bad_at):
        super().__init__(data)
        self.bad_at = bad_at

    def read(self, size):
        if self.tell() <= self.bad_at < self.tell() + size:
            raise OSError(errno.EIO, "Input/output error")
        return super().read(size)


def test_a_bad_sector_costs_the_record_on_it_once_it_has_been_refused_for_a_while(tmp_path, monkeypatch):
    records = numbered(6)
    spool = filled(tmp_path, records)
    bad_at = 2 * 28 + 9
    with monkeypatch.context() as patched:
        patched.setattr(spool_module, "_open_file", lambda path: BadSector(path.read_bytes(), bad_at))
        for record in records[:2]:
            batch = spool.peek(now_s=0.0)
            assert batch.records == (record,)
            spool.acknowledge(batch.end)
        for now_s in (10.0, 11.0, 10.0 + GIVE_UP_S - 1.0):
            assert spool.peek(now_s=now_s).records == ()
        assert spool.state().damaged == 0
        assert "input/output error" in spool.state().disk_error
        assert spool.peek(now_s=10.0 + GIVE_UP_S).records == tuple(records[3:])
    assert spool.state().damaged == 1
    assert everything_in(spool) == records[3:]
    spool.close(0.0)


def test_a_disk_that_is_away_for_a_moment_costs_nothing(tmp_path):
    """Its folder is not there, as where a disk is unplugged."""
    records = numbered(300, size=1000)
    spool = filled(tmp_path / "disk" / "spool", records)
    (tmp_path / "disk").rename(tmp_path / "away")
    for now_s in (0.0, GIVE_UP_S - 1.0):
        assert spool.peek(now_s=now_s).records == ()
    (tmp_path / "away").rename(tmp_path / "disk")
    assert everything_in(spool) == records
    assert spool.state().damaged == 0
    spool.close(0.0)


def test_a_segment_that_goes_while_we_run_is_counted_and_passed_over(tmp_path):
    records = numbered(300, size=1000)
    spool = filled(tmp_path, records)
    first, second, *_ = segments(tmp_path)
    first.unlink()
    lost = int(second.stem)
    assert everything_in(spool) == records[lost:]
    assert spool.state().damaged == lost
    spool.close(0.0)


def test_after_close_nothing_is_taken(tmp_path):
    spool = filled(tmp_path, numbered(2), urgent=False)
    spool.close(0.0)
    spool.close(0.0)
    assert not spool.append(b"late", urgent=True, now_s=0.0)
    assert spool.keep(5.0) is None
    again = Spool(tmp_path, MOST)
    assert everything_in(again) == numbered(2)
    again.close(0.0)


class SpoolAgainstAList(RuleBasedStateMachine):
    """Whatever happens: accepted = taken + waiting + overflowed, in the order in which they came; a kill costs the tail that was torn."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="spool-"))
        self.now_s = 0.0
        self.spool = Spool(self.folder, MOST)
        self.model = []  # what waits, oldest first
        self.accepted = self.taken = self.torn = 0
        self.lost_before = 0

    def teardown(self):
        self.spool.close(self.now_s)
        shutil.rmtree(self.folder)

    @rule(sizes=st.lists(st.sampled_from([0, 1, 90, 5000, 40_000]), max_size=12), urgent=st.booleans())
    def append(self, sizes, urgent):
        for size in sizes:
            record = f"{self.accepted}:".encode().ljust(size, b"x")
            if self.spool.append(record, urgent=urgent, now_s=self.now_s):
                self.model.append(record)
                self.accepted += 1

    @rule(by_s=st.sampled_from([0.0, 0.5, 3.0]))
    def keep(self, by_s):
        self.now_s += by_s
        self.spool.keep(self.now_s)
        self.follow_overflow()

    @rule(most=st.integers(1, 9))
    def take(self, most):
        batch = self.spool.peek(most, now_s=0.0)
        assert list(batch.records) == self.model[: len(batch.records)]
        assert bool(batch.records) == bool(self.model)
        assert self.spool.acknowledge(batch.end) == len(batch.records)
        del self.model[: len(batch.records)]
        self.taken += len(batch.records)

    @rule()
    def stop_and_start(self):
        self.spool.close(self.now_s)
        self.follow_overflow()
        self.spool = Spool(self.folder, MOST)

    @rule()
    def kill(self):
        """What was only in memory is gone, and nothing else."""
        kept = self.kept()
        self.abandon()
        self.spool = Spool(self.folder, MOST)
        self.torn += len(self.model) - kept
        del self.model[kept:]

    @precondition(lambda self: segments(self.folder))
    @rule(share=st.floats(0, 1))
    def kill_in_a_write(self, share):
        """The last segment ends anywhere: the records that were whole are there."""
        kept = self.kept()
        self.abandon()
        path = segments(self.folder)[-1]
        os.truncate(path, round(path.stat().st_size * share))
        self.spool = Spool(self.folder, MOST)
        state = self.spool.state()
        assert state.records <= kept
        self.torn += len(self.model) - state.records
        del self.model[state.records :]

    def kept(self):
        return len(self.model) - len(self.spool._pending)

    def abandon(self):
        """As a kill leaves it: descriptors closed, nothing written."""
        self.spool._pending.clear()
        self.spool._pending_bytes = 0
        if self.spool._active is not None:
            os.close(self.spool._active)
            self.spool._active = None
        self.spool._cursor.close()
        self.spool._closed = True

    def follow_overflow(self):
        overflowed = self.spool.state().overflowed
        del self.model[: overflowed - self.lost_before]
        self.lost_before = overflowed

    @invariant()
    def all_are_counted(self):
        state = self.spool.state()
        assert state.records == len(self.model)
        assert self.accepted == self.taken + state.records + state.overflowed + self.torn
        assert sum(path.stat().st_size for path in segments(self.folder)) <= MOST


SpoolAgainstAList.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestSpoolAgainstAList = SpoolAgainstAList.TestCase
