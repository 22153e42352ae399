"""What is written a day is counted, survives restarts, and is told apart by hour; whatever clocks and files do."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edgewright.run.wear import HOUR_S, SAVE_EVERY_S, Wear
from turned_clock import TurnedClock


@pytest.fixture
def clock():
    return TurnedClock()


@pytest.fixture
def wear_for(tmp_path, clock):
    def make(limit=1000, counters=tmp_path / "none"):
        return Wear(tmp_path / "wear.json", limit, clock, counters=counters)

    return make


def kernel(folder, written, cancelled=0, thread=7):
    """What the kernel says of a thread; the folder of all threads."""
    (folder / "task" / str(thread)).mkdir(parents=True, exist_ok=True)
    text = f"rchar: 5\nwrite_bytes: {written}\ncancelled_write_bytes: {cancelled}\n"
    (folder / "task" / str(thread) / "io").write_text(text)
    return folder / "task"


def test_at_the_limit_answers_are_spared_and_a_tenth_beyond_it_events(wear_for):
    wear = wear_for()
    for written, spared in [(999, (False, False)), (1, (True, False)), (99, (True, False)), (1, (True, True))]:
        wear.wrote(written)
        assert (wear.spares_answers, wear.spares_events) == spared
    assert wear.day_bytes == 1100


def test_what_was_written_a_day_ago_is_forgotten(wear_for, clock, tmp_path):
    (tmp_path / "wear.json").mkdir()  # its own file is not written, and so not counted
    wear = wear_for()
    for _ in range(30):
        wear.wrote(10)
        clock.turn(HOUR_S)
        wear.look()
    assert 230 <= wear.day_bytes <= 250
    clock.turn(25 * HOUR_S)
    assert wear.day_bytes == 0


def test_the_kernels_count_is_taken_where_it_is_larger(wear_for, clock, tmp_path):
    wear = wear_for(counters=kernel(tmp_path, 1_000_000))
    assert wear.day_bytes == 0
    wear.wrote(10)
    kernel(tmp_path, 1_004_096)
    clock.turn(20.0)
    wear.look()
    assert wear.day_bytes == 4096
    wear.wrote(500)
    kernel(tmp_path, 1_010_000, cancelled=9000)  # deleted before they were written
    clock.turn(20.0)
    wear.look()
    assert wear.day_bytes == 4096 + 500


def test_threads_that_come_and_go_count_nothing_twice(wear_for, clock, tmp_path):
    wear = wear_for(counters=kernel(tmp_path, 1_000_000))

    def day_bytes():
        clock.turn(20.0)
        wear.look()
        return wear.day_bytes

    kernel(tmp_path, 8192, thread=8)
    assert day_bytes() == 8192
    shutil.rmtree(tmp_path / "task" / "8")
    assert day_bytes() == 8192
    kernel(tmp_path, 0, cancelled=4096, thread=9)  # has deleted what another one wrote
    kernel(tmp_path, 1_004_096)
    assert day_bytes() == 8192
    (tmp_path / "task").rename(tmp_path / "away")  # as when no file can be opened
    assert day_bytes() == 8192
    (tmp_path / "away").rename(tmp_path / "task")
    (tmp_path / "task" / "7" / "io").unlink()
    assert day_bytes() == 8192
    kernel(tmp_path, 1_008_192)
    assert day_bytes() == 8192 + 4096


def written_by_this_process():
    """As /proc/self/io has it: with what children wrote that have ended."""
    try:
        return int(re.search(r"(?m)^write_bytes: (\d+)", Path("/proc/self/io").read_text())[1])
    except OSError:
        return None


def test_what_a_child_wrote_is_not_counted_when_it_ends(clock, tmp_path):
    """It was when it was told of, day by day."""
    before = written_by_this_process()
    wear = Wear(tmp_path / "wear.json", 1 << 40, clock)
    subprocess.run(["dd", "if=/dev/zero", f"of={tmp_path / 'film'}", "bs=1M", "count=8"], check=True, capture_output=True)
    after = written_by_this_process()
    if before is None or after < before + (8 << 20):
        pytest.skip("this kernel or this file system does not count what is written")
    clock.turn(20.0)
    wear.look()
    assert wear.day_bytes < 1 << 20
    (tmp_path / "ours").write_bytes(bytes(8 << 20))
    clock.turn(20.0)
    wear.look()
    assert 8 << 20 <= wear.day_bytes < 9 << 20


def test_a_restart_goes_on_counting(wear_for, clock):
    wear = wear_for()
    wear.wrote(700)
    wear.save()
    clock.turn(5 * HOUR_S)
    assert wear_for().day_bytes == 700
    clock.turn(20 * HOUR_S)
    assert wear_for().day_bytes == 0


def test_the_file_is_written_rarely(wear_for, clock, tmp_path):
    wear = wear_for()
    times = []
    for _ in range(1000):
        clock.turn(10.0)
        wear.wrote(1)
        wear.look()
        if (tmp_path / "wear.json").exists():
            times.append(clock.monotonic_s())
            (tmp_path / "wear.json").unlink()
    assert len(times) == int(10_000 / SAVE_EVERY_S)


def test_a_clock_that_is_set_back_loses_nothing(wear_for, clock):
    wear = wear_for()
    wear.wrote(700)
    clock.turn(20.0)
    wear.look()
    clock.date_s -= 1000 * HOUR_S
    clock.now_s += 20
    wear.look()
    assert wear.day_bytes == 700


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"hours": 5}',
        b'{"hours": {"x": 1}}',
        b'{"hours": {"472222": -5}}',
        b'{"hours": {"472222": "7"}}',
        b"[" * 9000,
        b" " * 20_000,
    ],
)
def test_a_file_that_is_not_ours_counts_for_nothing(wear_for, tmp_path, content):
    (tmp_path / "wear.json").write_bytes(content)
    assert wear_for().day_bytes == 0


def test_a_disk_that_does_not_take_the_file_is_no_trouble(wear_for, tmp_path):
    (tmp_path / "wear.json").mkdir()
    wear = wear_for()
    wear.wrote(5)
    wear.save()
    assert wear.day_bytes == 5


def test_the_file_is_plain(wear_for, tmp_path, clock):
    wear = wear_for()
    wear.wrote(5)
    wear.save()
    assert json.loads((tmp_path / "wear.json").read_bytes()) == {"schema": 1, "hours": {str(int(clock.date_s // HOUR_S)): 5}}
