"""How fast memory is: what is counted, how large arrays are, and that an independent program agrees on what a pass is."""

import shutil
import sys
from pathlib import Path

import pytest

from edgewright.board.bandwidth import (
    CACHES,
    FEWEST_BYTES,
    KINDS,
    LARGEST_BYTES,
    LINE_BYTES,
    MIB,
    SMALLEST_BYTES,
    Arrays,
    Bandwidth,
    last_level_cache_bytes,
    measure_bandwidth,
    suitable_bytes,
)
from edgewright.errors import HostError
from edgewright.testing.boards import FakeBoard

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # last: other tests have modules of the same names


def test_every_kind_is_measured_with_every_count():
    seen = []
    found = measure_bandwidth((1, 2, 2), 1 * MIB, datasheet_gb_per_s=10.0, rounds=3, progress=lambda *at: seen.append(at))
    assert [(each.kind, each.threads) for each in found.figures] == [(kind, count) for count in (1, 2) for kind in KINDS]
    for each in found.figures:
        assert 0 < each.slowest <= each.gb_per_s <= each.quickest
        assert (each.each_ns is not None) == (each.kind == "random read") == (each.share is None)
    assert found.figures[0].share == pytest.approx(found.figures[0].gb_per_s / 10, abs=1e-3)
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_without_a_data_sheet_there_is_no_share():
    assert all(each.share is None for each in measure_bandwidth((1,), MIB, rounds=2).figures)


def test_a_copy_counts_twice_and_a_random_read_as_a_line():
    arrays = Arrays(1 << 20, 2)
    assert [arrays.counted_bytes(kind, 1) for kind in KINDS] == [1 << 20, 1 << 20, 2 << 20, arrays.positions * LINE_BYTES]
    assert arrays.counted_bytes("random read", 2) == 2 * arrays.positions * LINE_BYTES


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_passes_do_what_they_are_called(threads):
    """Between them, threads go over all of it (what does not divide is left out of the count)."""
    arrays = Arrays(3 * 8 * 1024, threads)
    arrays._source[:] = range(arrays.words)
    for kind in KINDS:
        assert arrays.seconds(kind, threads) > 0
    assert (arrays._target == arrays._source).all()
    for positions, gathered in zip(arrays._positions, arrays._gathered, strict=True):
        assert (gathered == positions).all()
    arrays.seconds("write", threads)
    assert (arrays._target == 3).all()


@pytest.mark.parametrize(
    ("cache", "available", "size"),
    [
        (None, None, SMALLEST_BYTES),
        (2 * MIB, 8192 * MIB, SMALLEST_BYTES),
        (480 * MIB, 1 << 40, CACHES * 480 * MIB),
        (480 * MIB, 1024 * MIB, 128 * MIB),
        (1 << 50, None, LARGEST_BYTES),
    ],
)
def test_arrays_are_far_larger_than_the_cache_and_leave_room(cache, available, size):
    assert suitable_bytes(cache, available) == size


def test_too_little_memory_is_refused():
    with pytest.raises(HostError, match="too little memory"):
        suitable_bytes(MIB, 8 * FEWEST_BYTES - 1)


def test_it_says_when_the_cache_took_part():
    assert Bandwidth((), 64 * MIB, 16 * MIB, 1).beyond_cache is True
    assert Bandwidth((), 63 * MIB, 16 * MIB, 1).beyond_cache is False
    assert Bandwidth((), 63 * MIB, None, 1).to_json()["beyond_cache"] is None


@pytest.mark.parametrize(("name", "mib"), [("rpi5", 2), ("rpi4", 1), ("jetson-nano", 2), ("orin-nano", 2)])
def test_the_outermost_cache_is_found(tmp_path, name, mib):
    FakeBoard(tmp_path, name)
    assert last_level_cache_bytes(tmp_path) == mib * MIB


def test_caches_that_are_not_shared_add_up(tmp_path):
    for cpu in range(2):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{cpu}/cache/index2"
        folder.mkdir(parents=True)
        for file, text in (("level", "2"), ("size", "512K"), ("shared_cpu_list", str(cpu))):
            (folder / file).write_text(text)
    assert last_level_cache_bytes(tmp_path) == MIB
    assert last_level_cache_bytes(tmp_path / "nowhere") is None


def test_a_program_in_c_takes_the_same_turns(monkeypatch):
    """That the figures agree is for a quiet machine and benchmarks/bandwidth.py; here only that nothing is off by a factor."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler: apt-get install gcc libc6-dev")
    import bandwidth

    monkeypatch.setattr(bandwidth, "BLOCK_S", 0.002)
    turns = bandwidth.compare(2 * MIB, (1, 2), rounds=3)
    assert len(turns) == 2 * len(KINDS)
    for turn in turns:
        assert len(turn.ours) == len(turn.theirs) == 3
        assert 0.01 < turn.ratio().estimate < 100
        assert turn.row()["ours_gb_per_s"] > 0
