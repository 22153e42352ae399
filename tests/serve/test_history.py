"""An hour of a live service: what it draws, that it survives, and that no disk can harm the service."""

import json
import os
import sqlite3
import threading
from contextlib import closing
from itertools import pairwise

import pytest

from edgewright.serve import history_file
from edgewright.serve.history import MOST_POINTS, MOST_STEPS, STEP_S, TIMES, History, Step, step_between
from edgewright.serve.history_file import MOST_BODY, HistoryFile
from edgewright.serve.live_view import LiveView
from live_story import MODEL, Story
from turned_clock import TurnedClock

CAMERAS = {"belt": 2.0, "dock": 1.0}


def hour_of(story, clock, history, seconds, *, every_s=1.0):
    for _ in range(round(seconds / every_s)):
        clock.turn(every_s)
        story.turn(every_s)
        history.heard_status(story.status())


@pytest.fixture
def clock():
    return TurnedClock(wall_s=1_790_000_000.0)


@pytest.fixture
def story(clock):
    return Story(CAMERAS, wall_s=clock.wall_s())


def test_what_it_draws_adds_up_to_what_was_counted(story, clock):
    history = History(clock)
    hour_of(story, clock, history, 61)
    found = history.to_json(300)
    assert found["bin_s"] == STEP_S
    assert len(found["times_s"]) == 12
    drawn = sum(value * STEP_S for value in found["answered_fps"])
    assert drawn == pytest.approx(sum(camera.models[MODEL].answered for camera in story.figures.values()), abs=12)
    belt, dock = (history.to_json(300, camera=name)["captured_fps"] for name in CAMERAS)
    assert [one + other for one, other in zip(belt, dock, strict=True)] == pytest.approx(found["captured_fps"])
    assert history.to_json(300, model="another")["answered_fps"] == [0.0] * 12
    assert all(low <= high for low, high in zip(found["age_ms"]["p50"], found["age_ms"]["p99"], strict=True))
    assert set(found["stages_ms"]) | {"age"} == set(TIMES)
    json.dumps(found, allow_nan=False)


@pytest.fixture(scope="module")
def hour():
    clock = TurnedClock(wall_s=1_790_000_000.0)
    history = History(clock)
    hour_of(Story({"belt": 3.0}, wall_s=clock.wall_s()), clock, history, 4000, every_s=5.0)
    return history


@pytest.mark.parametrize(("seconds", "bin_s"), [(60, 5), (900, 5), (1800, 5), (3600, 10)])
def test_there_are_never_more_points_than_a_page_can_show(hour, seconds, bin_s):
    history = hour
    found = history.to_json(seconds)
    assert found["bin_s"] == bin_s
    assert seconds / bin_s - 1 <= len(found["times_s"]) <= MOST_POINTS
    assert len(history.steps) == MOST_STEPS


def test_who_asks_again_gets_what_is_new(story, clock):
    history = History(clock)
    hour_of(story, clock, history, 600)
    before = history.to_json(3600)
    hour_of(story, clock, history, 30)
    after_s = before["times_s"][-1]
    more, whole = history.to_json(3600, after_s=after_s), history.to_json(3600)
    keep = len(before["times_s"]) - 1
    assert before["times_s"][:keep] + more["times_s"] == whole["times_s"]
    assert before["age_ms"]["p99"][:keep] + more["age_ms"]["p99"] == whole["age_ms"]["p99"]
    assert len(more["times_s"]) <= 5


def test_who_asks_again_after_the_clock_was_set_back_gets_all_and_then_what_is_new(story, clock):
    history = History(clock)
    hour_of(story, clock, history, 600)
    before_s = history.to_json(3600)["times_s"][-1]
    clock.date_s -= 3600
    story.began_s -= 3600
    hour_of(story, clock, history, 60)
    found = history.to_json(3600, after_s=before_s)
    assert found["times_s"] == history.to_json(3600)["times_s"]
    assert len(found["times_s"]) >= 5
    assert len(history.to_json(3600, after_s=found["times_s"][-1])["times_s"]) == 1


def test_a_stretch_without_a_service_is_a_gap(story, clock):
    history = History(clock)
    hour_of(story, clock, history, 60)
    clock.turn(120)
    story.turn(120)
    again = Story(CAMERAS, wall_s=clock.wall_s())  # it was begun anew, and counts from nothing
    hour_of(again, clock, history, 60)
    times_s = history.to_json(600)["times_s"]
    gaps = [after - before for before, after in pairwise(times_s)]
    assert max(gaps) > 100
    assert min(history.to_json(600)["answered_fps"]) >= 0


def test_a_model_that_is_loaded_anew_counts_from_nothing(story):
    story.turn(10)
    before = story.status()
    story.turn(10)
    after = story.status()
    after["cameras"]["belt"]["models"][MODEL]["answered"] = 3
    after["cameras"]["dock"]["models"]["another"] = after["cameras"]["dock"]["models"][MODEL]
    step = step_between(before, after, 10.0)
    assert step.cameras["belt"].models == {}
    assert set(step.cameras["dock"].models) == {MODEL, "another"}


def test_events_of_the_hour_are_told_and_older_ones_are_not(story, clock):
    view = LiveView(clock)
    history = History(clock)
    view.listeners.append(history)
    view.hear_event(story.event("worker", MODEL, "was begun anew", "warning"))
    clock.turn(3700)
    story.uptime_s += 3700
    view.hear_event(story.event("camera", "belt", "frames come"))
    assert [event["text"] for event in history.to_json(3600)["events"]] == ["frames come"]


# --- what outlives a process ------------------------------------------------------------------------------------------------------------


def kept_in(folder, clock, said):
    return HistoryFile(folder, clock=clock, say=said.append)


def told(story, clock, folder, said, seconds=130):
    """A history of some time that has ended."""
    file = kept_in(folder, clock, said)
    kept = file.load()
    history = History(clock, file.save, kept=kept.steps, told=kept.events)
    history.heard_event(story.event("camera", "belt", "frames come", camera="belt"))
    hour_of(story, clock, history, seconds)
    history.save()
    file.close()
    return history


def test_it_survives_a_restart(tmp_path, story, clock):
    said = []
    first = told(story, clock, tmp_path, said)
    file = kept_in(tmp_path, clock, said)
    kept = file.load()
    file.close()
    assert [step.to_json() for step in kept.steps] == [step.to_json() for step in first.steps]
    assert [event["text"] for event in kept.events] == ["frames come"]
    assert History(clock, kept=kept.steps).to_json(600)["age_ms"] == first.to_json(600)["age_ms"]
    assert (tmp_path / "history.sqlite").stat().st_mode & 0o777 == 0o600
    assert said == []


def test_an_hour_is_kept_and_no_more(tmp_path, story, clock):
    said = []
    told(story, clock, tmp_path, said, 200)
    clock.turn(3500)
    file = kept_in(tmp_path, clock, said)
    assert 0 < len(file.load().steps) < 25
    file.close()
    clock.turn(-3000 - 3700)  # the clock is set back: what is of tomorrow does not come back to life
    story.turn(-3000 - 3700)
    told(Story(CAMERAS, wall_s=clock.wall_s()), clock, tmp_path, said, 130)
    with closing(sqlite3.connect(tmp_path / "history.sqlite")) as store:
        assert store.execute("SELECT count(*), max(time_s) < ? FROM steps", (clock.wall_s() + 10,)).fetchone() == (25, 1)


@pytest.mark.parametrize("damage", ["nothing but noise", "in the middle", "another schema"])
def test_a_damaged_file_is_put_aside_and_begun_anew(tmp_path, story, clock, damage):
    said = []
    told(story, clock, tmp_path, said, 400)
    path = tmp_path / "history.sqlite"
    if damage == "another schema":
        with closing(sqlite3.connect(path)) as store:
            store.execute("PRAGMA user_version=77")
    else:
        data = path.read_bytes()
        path.write_bytes(b"noise" * 1000 if damage == "nothing but noise" else data[:4096] + os.urandom(len(data) - 4096))
    first = told(story, clock, tmp_path, said)
    assert len(first.steps) == 25
    assert (tmp_path / "history.sqlite.damaged").exists()
    assert len(said) == 1
    assert "put aside" in said[0]
    file = kept_in(tmp_path, clock, said)
    assert len(file.load().steps) == 25
    file.close()


def test_rows_that_are_no_steps_are_passed_over(tmp_path, story, clock):
    said = []
    first = told(story, clock, tmp_path, said)
    sound = first.steps[-1].to_json()
    now_s = clock.wall_s()
    worse = [
        "null",
        "{",
        "[" * 100_000,
        "7" * 5000,
        json.dumps({**sound, "seconds": -1}),
        json.dumps({**sound, "time_s": "NaN"}),
        json.dumps({**sound, "used_bytes": 1e300}),
        json.dumps({**sound, "cameras": {"belt": {"captured": -3, "dropped": 0, "models": {}}}}),
        json.dumps(
            {
                **sound,
                "cameras": {
                    "belt": {"captured": 3, "dropped": 0, "models": {"m": {"answered": 1, "dropped": 0, "times": [[31, 1, 1]] * 6}}}
                },
            }
        ),
        "x" * (MOST_BODY + 1),
    ]
    with closing(sqlite3.connect(tmp_path / "history.sqlite")) as store, store:
        store.executemany("INSERT INTO steps VALUES (NULL, ?, ?)", [(now_s, body) for body in worse])
        store.execute("INSERT INTO events VALUES (NULL, 'x', ?, '{\"id\": 3}')", (now_s,))
    file = kept_in(tmp_path, clock, said)
    kept = file.load()
    file.close()
    assert len(kept.steps) == len(first.steps)
    assert len(kept.events) == 1


def test_what_is_no_file_is_left_alone(tmp_path, story, clock):
    said = []
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("somebody's")
    (tmp_path / "history.sqlite").symlink_to(elsewhere)
    first = told(story, clock, tmp_path, said)
    assert len(first.steps) == 25  # in memory
    assert elsewhere.read_text() == "somebody's"
    assert len(said) == 1  # once, not every minute
    assert "goes on in memory" in said[0]


def test_a_full_disk_costs_nothing_but_the_file(tmp_path, story, clock, monkeypatch):
    said = []
    # SQLite says the same of a disk that is full and of a file that may not grow.
    monkeypatch.setattr(history_file, "MOST_PAGES", 1)
    file = kept_in(tmp_path, clock, said)
    file.load()
    history = History(clock, file.save)
    hour_of(story, clock, history, 245, every_s=5.0)
    file._thread.submit(lambda: None).result()
    assert len(said) == 1  # and not every minute
    assert "goes on in memory" in said[0]
    monkeypatch.undo()  # there is room again
    history.save()
    file.close()
    assert said[1:] == [f"{tmp_path / 'history.sqlite'} is written again"]
    again = kept_in(tmp_path, clock, said)
    assert len(again.load().steps) == len(history.steps) > 40
    again.close()


def test_a_disk_that_hangs_is_given_no_more_than_an_hour(tmp_path, story, clock, monkeypatch):
    said, written = [], []
    write = HistoryFile._write
    monkeypatch.setattr(HistoryFile, "_write", lambda self, store: [written.append(len(self._steps)), write(self, store)])
    file = kept_in(tmp_path, clock, said)
    file.load()
    answers = threading.Event()
    file._thread.submit(answers.wait)
    history = History(clock, file.save)
    hour_of(story, clock, history, 2 * 3600, every_s=5.0)
    history.save()
    answers.set()
    file.close()
    assert written == [MOST_STEPS]
    again = kept_in(tmp_path, clock, said)
    assert [step.time_s for step in again.load().steps] == [round(step.time_s, 3) for step in history.steps]
    again.close()
    assert said == []


def test_a_step_is_what_it_was_written_as(story):
    story.turn(1)
    before = story.status()
    story.turn(5)
    step = step_between(before, story.status(), 5.0)
    again = Step.from_json(json.loads(json.dumps(step.to_json())))
    assert again.to_json() == step.to_json()
    assert (again.cameras["belt"].models[MODEL].times == step.cameras["belt"].models[MODEL].times).all()
