"""Files of lines: whole lines, each record there, no more bytes than allowed, nobody else's file touched."""

import csv
import errno
import json
import os

import pytest

from edgewright.run.letter import Letter, letter_of
from edgewright.run.records import Event
from edgewright.run.settings import FileOutput
from edgewright.run.sinks import RefusedError, UndeliveredError, open_sink, place_for
from edgewright.run.sinks.file import ANSWER_COLUMNS, EVENT_COLUMNS
from edgewright.testing.sinks import check_sink, some_letters
from tiny_answer import an_answer
from turned_clock import TurnedClock


def sink_in(folder, clock=None, wrote=lambda _: None, **more):
    output = FileOutput("out", **{"records": ("events", "answers"), **more})
    return open_sink(output, place_for(folder, clock=clock or TurnedClock(), wrote=wrote))


def files_in(folder):
    return sorted((folder / "outputs" / "out").iterdir())


def ids_in(folder):
    return [json.loads(line)["id"] for path in files_in(folder) for line in path.read_bytes().splitlines()]


def rows_in(path):
    with path.open(newline="") as stream:
        return list(csv.reader(stream))


def test_it_keeps_what_a_sink_promises(tmp_path):
    report = check_sink(lambda: sink_in(tmp_path), lambda: ids_in(tmp_path))
    assert report.broken == ()


def test_a_csv_keeps_what_a_sink_promises(tmp_path):
    report = check_sink(
        lambda: sink_in(tmp_path, format="csv"), lambda: [row[0] for path in files_in(tmp_path) for row in rows_in(path)[1:]]
    )
    assert report.broken == ()


def test_lines_are_the_records(tmp_path):
    sink = sink_in(tmp_path)
    letters = [letter_of(an_answer()), *some_letters(2)]
    sink.deliver(letters)
    sink.close()
    (path,) = files_in(tmp_path)
    assert path.name == "out-20231114T221320.000Z.jsonl"
    assert path.read_bytes() == b"".join(letter.body + b"\n" for letter in letters)


def test_a_file_is_begun_anew_when_it_is_full_and_the_oldest_go(tmp_path):
    written = []
    sink = sink_in(tmp_path, wrote=written.append, rotate_bytes=2000, most_bytes=10_000)
    letters = some_letters(300)
    for letter in letters:
        sink.deliver([letter])
        assert sum(path.stat().st_size for path in files_in(tmp_path)) <= 10_000
    sink.close()
    assert all(1000 < path.stat().st_size <= 2000 for path in files_in(tmp_path)[:-1])
    assert len(files_in(tmp_path)) >= 4
    found = ids_in(tmp_path)
    assert found == [letter.id for letter in letters][-len(found) :]
    assert sum(written) == sum(len(letter.body) + 1 for letter in letters)


def test_names_rise_even_if_the_clock_is_set_back(tmp_path):
    clock = TurnedClock()
    sink = sink_in(tmp_path, clock, rotate_bytes=300)
    letters = some_letters(20)
    for letter in letters:
        clock.turn(-1000.0)
        sink.deliver([letter])
    sink.close()
    assert ids_in(tmp_path) == [letter.id for letter in letters]


def test_a_restart_goes_on_in_the_last_file_and_cuts_off_a_torn_line(tmp_path):
    letters = some_letters(4)
    sink = sink_in(tmp_path)
    sink.deliver(letters[:2])
    sink.close()
    (path,) = files_in(tmp_path)
    with path.open("ab") as stream:
        stream.write(letters[2].body[:20])
    sink = sink_in(tmp_path)
    sink.deliver(letters[2:])
    sink.close()
    assert files_in(tmp_path) == [path]
    assert ids_in(tmp_path) == [letter.id for letter in letters]


def test_a_table_has_a_line_a_box_or_an_event(tmp_path):
    sink = sink_in(tmp_path, format="csv")
    event = Event("e1", 5.0, "rule", "=cmd", "two\nlines, \x1b[31m", camera=None, data={"n": 1})
    sink.deliver([letter_of(an_answer()), letter_of(event), letter_of(an_answer(boxes=0)), letter_of(an_answer(frame=8, track_ids=None))])
    sink.close()
    answers, events = files_in(tmp_path)
    assert rows_in(events) == [
        list(EVENT_COLUMNS),
        ["e1", "5.0", "rule", "'=cmd", "info", "", "two\\nlines, \\x1b[31m", '{"n": 1}'],
    ]
    head, first, second, *rest = rows_in(answers)
    assert head == list(ANSWER_COLUMNS)
    assert first == ["door.m.7.1700000000500", "1700000000.5", "door", "m", "7", "12.5", "1.0", "2.0", "3.0", "4.0", "0.9", "cat", "4"]
    assert second[-2:] == ["'=dog", ""]
    assert [row[-1] for row in rest] == ["", ""]


def test_every_table_has_its_head(tmp_path):
    sink = sink_in(tmp_path, format="csv", rotate_bytes=500, records=("events",))
    sink.deliver(some_letters(3))
    sink.deliver(some_letters(20))
    sink.close()
    again = sink_in(tmp_path, format="csv", rotate_bytes=500, records=("events",))
    again.deliver(some_letters(1))
    again.close()
    assert all(rows_in(path)[0] == list(EVENT_COLUMNS) for path in files_in(tmp_path))
    assert sum(len(rows_in(path)) - 1 for path in files_in(tmp_path)) == 24


def test_what_is_no_record_is_refused_and_what_stood_before_it_is_there(tmp_path):
    sink = sink_in(tmp_path, format="csv")
    good = some_letters(3)
    with pytest.raises(RefusedError) as refused:
        sink.deliver([*good[:2], Letter("bad", "event", None, b"{}"), good[2]])
    assert refused.value.delivered == 2
    sink.deliver(good[2:])
    sink.close()
    assert [row[0] for row in rows_in(files_in(tmp_path)[0])[1:]] == [letter.id for letter in good]


def test_a_full_disk_leaves_whole_lines(tmp_path, monkeypatch):
    sink = sink_in(tmp_path)
    letters = some_letters(4)
    sink.deliver(letters[:1])
    write, is_full = os.write, [True]

    def write_half(descriptor, data):
        if is_full[0] and len(data) < 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[: len(data) // 2] if is_full[0] else data)

    monkeypatch.setattr(os, "write", write_half)
    for _ in range(3):
        with pytest.raises(UndeliveredError, match="no space left"):
            sink.deliver(letters[1:])
    assert ids_in(tmp_path) == [letters[0].id]
    is_full[0] = False
    sink.deliver(letters[1:])
    sink.close()
    assert ids_in(tmp_path) == [letter.id for letter in letters]


def test_a_table_has_its_head_though_the_disk_was_full_when_it_was_begun(tmp_path, monkeypatch):
    sink = sink_in(tmp_path, format="csv", records=("events",))
    letters = some_letters(3)
    write, is_full = os.write, [True]

    def write_little(descriptor, data):
        if is_full[0]:
            if len(data) < 20:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(descriptor, data[:10])
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", write_little)
    with pytest.raises(UndeliveredError, match="no space left"):
        sink.deliver(letters)
    is_full[0] = False
    sink.deliver(letters)
    sink.close()
    (table,) = files_in(tmp_path)
    head, *rows = rows_in(table)
    assert head == list(EVENT_COLUMNS)
    assert len(rows) == len(letters)


def test_strangers_files_and_links_are_left_alone(tmp_path):
    folder = tmp_path / "outputs" / "out"
    folder.mkdir(parents=True)
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (folder / "out-99991231T235959.000Z.jsonl").symlink_to(precious)
    (folder / "out-notes.jsonl").write_text("mine")
    sink = sink_in(tmp_path, rotate_bytes=300, most_bytes=300)
    for letter in some_letters(20):
        sink.deliver([letter])
    sink.close()
    assert precious.read_text() == (folder / "out-notes.jsonl").read_text() == "mine"


def test_two_outputs_whose_names_begin_alike_do_not_take_each_others_files(tmp_path):
    shared = tmp_path / "shared"
    for name in ("out", "out-events"):
        sink = open_sink(FileOutput(name, folder=shared, rotate_bytes=300, most_bytes=600), place_for(tmp_path, clock=TurnedClock()))
        for letter in some_letters(10):
            sink.deliver([letter])
        sink.close()
    assert {path.name.rsplit("-", 1)[0] for path in shared.iterdir()} == {"out", "out-events"}
