"""A store: every record once, found by time, kind and camera, no older and no larger than allowed, sound after a kill."""

import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from edgewright.errors import DiskError, InputError
from edgewright.run.letter import Letter, letter_of
from edgewright.run.records import Event
from edgewright.run.settings import StoreOutput
from edgewright.run.sinks import RefusedError, UndeliveredError, open_sink, place_for
from edgewright.run.sinks.store import query
from edgewright.testing.sinks import check_sink, some_letters
from tiny_answer import an_answer
from turned_clock import TurnedClock


@pytest.fixture
def clock():
    return TurnedClock()


@pytest.fixture
def opened(tmp_path, clock):
    sinks = []

    def make(wrote=lambda _: None, **more):
        sinks.append(open_sink(StoreOutput("store", records=("events", "answers"), **more), place_for(tmp_path, clock=clock, wrote=wrote)))
        return sinks[-1]

    yield make
    for sink in sinks:
        sink.close()


def path_in(folder):
    return folder / "events.sqlite"


def ids_in(folder, **more):
    return [record["id"] for record in reversed(query(path_in(folder), limit=10_000, **more))]


def is_sound(path):
    with closing(sqlite3.connect(path)) as store:
        return store.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_it_keeps_what_a_sink_promises(opened, tmp_path):
    report = check_sink(opened, lambda: ids_in(tmp_path))
    assert report.broken == ()


def test_a_record_that_comes_twice_is_there_once(opened, tmp_path):
    sink = opened()
    sink.deliver(some_letters(5))
    sink.deliver(some_letters(8))
    assert ids_in(tmp_path) == [letter.id for letter in some_letters(8)]


def test_records_are_found_by_time_kind_and_camera(opened, tmp_path):
    sink = opened(keep_days=1e6)
    events = [
        Event("a", 10.0, "rule", "gate", "t", camera="door"),
        Event("b", 20.0, "camera", "yard", "gone", "error", "yard"),
        Event("c", 30.0, "service", "s", "t"),
    ]
    sink.deliver([*(letter_of(event) for event in events), letter_of(an_answer())])
    path = path_in(tmp_path)
    assert [found["id"] for found in query(path)] == ["door.m.7.1700000000500", "c", "b", "a"]
    assert query(path, kind="camera") == [{"record": "event", **events[1].to_json()}]
    assert ids_in(tmp_path, camera="door", record="event") == ["a"]
    assert ids_in(tmp_path, since_s=10.0, until_s=30.0) == ["a", "b"]
    assert ids_in(tmp_path, kind="' OR 1 --") == []
    assert len(query(path, limit=2)) == 2
    assert query(path, limit=-5) == []


def test_what_is_too_old_goes(opened, tmp_path, clock):
    sink = opened(keep_days=1.0)
    sink.deliver([letter_of(Event(str(n), clock.wall_s() + n, "rule", "r", "t")) for n in range(0, 80_000, 1000)])
    clock.turn(100_000.0)
    sink.deliver([])
    assert ids_in(tmp_path) == [str(n) for n in range(14_000, 80_000, 1000)]


def test_beyond_its_bytes_the_oldest_go_and_the_file_stays_small(opened, tmp_path):
    sink = opened(most_bytes=400_000)
    for begin in range(0, 3000, 100):
        sink.deliver([letter_of(Event(f"{n:05}", 1.7e9, "rule", "r", "x" * 300)) for n in range(begin, begin + 100)])
    sink.close()
    found = ids_in(tmp_path)
    assert found == [f"{n:05}" for n in range(3000 - len(found), 3000)]
    assert len(found) > 300
    assert path_in(tmp_path).stat().st_size < 500_000
    assert is_sound(path_in(tmp_path))


def test_what_is_written_is_counted(opened, tmp_path):
    written = []
    sink = opened(wrote=written.append)
    for begin in range(0, 3000, 100):
        sink.deliver([letter_of(Event(f"{n:05}", 1.7e9, "rule", "r", "x" * 300)) for n in range(begin, begin + 100)])
    size = path_in(tmp_path).stat().st_size
    assert size < sum(written) < 6 * size
    assert path_in(tmp_path).with_name("events.sqlite-wal").stat().st_size <= 2 << 20


def test_others_read_while_it_is_written(opened, tmp_path):
    sink, found, stop = opened(), [], threading.Event()
    sink.deliver(some_letters(1))

    def read():
        while not stop.is_set():
            found.append(len(query(path_in(tmp_path), limit=10_000)))

    reader = threading.Thread(target=read)
    reader.start()
    for begin in range(0, 400, 20):
        sink.deliver(some_letters(20, begin=begin))
    stop.set()
    reader.join()
    assert found == sorted(found)
    assert len(ids_in(tmp_path)) == 400


def test_a_file_that_is_none_of_its_kind_is_put_aside(opened, tmp_path):
    path_in(tmp_path).write_bytes(b"this is not a database at all" * 1000)
    sink = opened()
    with pytest.raises(UndeliveredError, match=r"put aside as events\.sqlite\.damaged"):
        sink.deliver(some_letters(3))
    sink.deliver(some_letters(3))
    assert len(ids_in(tmp_path)) == 3
    assert (tmp_path / "events.sqlite.damaged").exists()


def test_a_store_of_another_schema_is_left_as_it_is(opened, tmp_path):
    with closing(sqlite3.connect(path_in(tmp_path))) as store:
        store.execute("PRAGMA user_version=7")
        store.execute("CREATE TABLE records (other)")
    sink = opened()
    for _ in range(2):
        with pytest.raises(UndeliveredError, match="has schema 7"):
            sink.deliver(some_letters(1))


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_what_is_no_file_is_not_written_to(opened, tmp_path, kind):
    path_in(tmp_path).mkdir() if kind == "folder" else path_in(tmp_path).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UndeliveredError, match="is no file"):
        opened().deliver(some_letters(1))
    assert not (tmp_path / "elsewhere").exists()


def test_what_is_no_record_is_refused_and_the_others_are_in(opened, tmp_path):
    sink = opened()
    good = some_letters(3)
    letters = [good[0], Letter("bad", "event", None, b'{"time_s": []}'), *good[1:]]
    with pytest.raises(RefusedError) as refused:
        sink.deliver(letters)
    assert refused.value.delivered == 1
    sink.deliver(letters[2:])
    assert ids_in(tmp_path) == [letter.id for letter in good]


def test_where_no_store_is_the_reader_says_so(tmp_path):
    with pytest.raises(InputError, match="is no file"):
        query(path_in(tmp_path))
    path_in(tmp_path).write_bytes(b"x" * 5000)
    with pytest.raises(DiskError, match="cannot read"):
        query(path_in(tmp_path))


WRITER = """
import sys
from pathlib import Path
from edgewright.run.settings import StoreOutput
from edgewright.run.sinks import open_sink, place_for
from edgewright.testing.sinks import some_letters
sink = open_sink(StoreOutput("store", keep_days=1e6), place_for(Path(sys.argv[1])))
begin = 0
while True:
    sink.deliver(some_letters(10, begin=begin))
    begin += 10
    print(begin, flush=True)
"""


@pytest.mark.parametrize("deliveries", [1, 40])
def test_a_kill_leaves_a_sound_store_with_all_that_was_delivered(tmp_path, deliveries):
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as writer:
        for _ in range(deliveries):
            delivered = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
        delivered = int(rest[-1]) if rest else delivered
    shutil.copytree(tmp_path, tmp_path / "copy")
    assert is_sound(tmp_path / "copy" / "events.sqlite")
    found = ids_in(tmp_path)
    assert found[:delivered] == [letter.id for letter in some_letters(delivered)]
    assert len(found) <= delivered + 10
