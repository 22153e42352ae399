"""Films of a camera: they follow each other, stay below their cap, and survive what befalls disks, encoders and services."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgewright.run.encoders import Choice, moving_pattern
from edgewright.run.encoding import unfinished_of
from edgewright.run.known_encoders import BY_NAME
from edgewright.run.recording import GAP_S, Recording
from edgewright.run.segments import Segments, drop_torn_line, file_name_of, sidecar_of
from edgewright.run.settings import RecordingOutput
from film_recorder import answer_to, taking

RECORDER = Path(__file__).parents[1] / "film_recorder.py"
SIZE = (96, 64)
ENCODERS = ["opencv_vp8", pytest.param("libx264", marks=pytest.mark.skipif(not shutil.which("ffmpeg"), reason="apt install ffmpeg"))]


@pytest.fixture(params=ENCODERS)
def name(request):
    return request.param


@pytest.fixture
def fast():
    """The encoder that starts fastest here."""
    return "libx264" if shutil.which("ffmpeg") else "opencv_vp8"


def recording_in(folder, name, *, most_bytes=1 << 30, choose=None, **settings):
    chosen = RecordingOutput("films", folder=folder, **{"segment_s": 1.0, "fps": 10, **settings})
    return Recording("line 1", chosen, Segments(folder, most_bytes), choose or taking(name), retry_s=5.0, keep_free_bytes=0)


def record(recording, frames, *, size_wh=SIZE, fps=10):
    return [recording.add(moving_pattern(size_wh, frame), answer_to(frame, size_wh), frame / fps) for frame in frames]


def frames_in(film):
    """How many frames a player finds."""
    capture = cv2.VideoCapture(str(film))
    count = 0
    while capture.read()[0]:
        count += 1
    capture.release()
    return count


def lines_of(film):
    return [json.loads(line) for line in sidecar_of(film).read_text().splitlines()]


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


# --- films follow each other --------------------------------------------------------------------------------------------------------------


def test_a_film_ends_and_the_next_begins(name, tmp_path):
    recording = recording_in(tmp_path, name)
    assert all(record(recording, range(25)))
    recording.close()
    suffix = BY_NAME[name].suffix
    stems = ["line_1-20251128T231500Z", "line_1-20251128T231501Z", "line_1-20251128T231502Z"]
    assert names_in(tmp_path) == sorted(f"{stem}{kind}" for stem in stems for kind in (".jsonl", suffix))
    films = [tmp_path / f"{stem}{suffix}" for stem in stems]
    assert [frames_in(film) for film in films] == [10, 10, 5]
    assert [line["frame"] for film in films for line in lines_of(film)] == list(range(25))
    assert [line["video_s"] for line in lines_of(films[1])] == pytest.approx([n / 10 for n in range(10)])
    assert lines_of(films[2])[0]["classes"] == ["short"]
    state = recording.state
    assert (state.frames, state.films, state.dropped, state.late, state.error) == (25, 3, 0, 0, None)
    assert state.bytes_written == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert state.cpu_ms > 0
    assert state.choice.reason == "as the test has it"


def test_a_short_gap_shows_the_last_frame_on_and_a_long_one_ends_the_film(fast, tmp_path):
    recording = recording_in(tmp_path, fast, segment_s=3600)
    record(recording, [0, 1, 20, 21])
    record(recording, [21 + int(GAP_S * 10) + 1])
    recording.close()
    assert [frames_in(film) for film in recording._segments.films] == [22, 1]


def test_a_camera_that_stays_away_ends_its_film(fast, tmp_path):
    recording = recording_in(tmp_path, fast, segment_s=3600)
    record(recording, [0, 1])
    recording.advance(1.0)
    assert recording.state.films == 0
    recording.advance(GAP_S + 1)
    assert [frames_in(film) for film in recording._segments.films] == [2]


def test_a_source_that_begins_again_begins_another_film(fast, tmp_path):
    recording = recording_in(tmp_path, fast, segment_s=3600)
    for frame, at_s in enumerate([10.0, 10.1, 10.2, 0.0, 0.1]):
        recording.add(moving_pattern(SIZE, frame), answer_to(frame, SIZE), at_s, frame / 10)
    recording.close()
    assert [frames_in(film) for film in recording._segments.films] == [3, 2]


@pytest.mark.parametrize("every_s", [0.001, 4.0], ids=["fast", "slow"])
def test_a_film_is_as_long_as_its_source_however_long_the_answers_take(every_s, fast, tmp_path):
    recording = recording_in(tmp_path, fast, segment_s=3600)
    for frame in range(20):
        recording.add(moving_pattern(SIZE, frame), answer_to(frame, SIZE), frame / 10, 1000 + frame * every_s)
        recording.advance(1000 + frame * every_s)
    recording.close()
    assert [frames_in(film) for film in recording._segments.films] == [20]


def test_another_size_is_another_film(fast, tmp_path):
    recording = recording_in(tmp_path, fast, segment_s=3600)
    record(recording, [0, 1])
    record(recording, [2, 3, 4], size_wh=(65, 49))
    recording.close()
    assert [frames_in(film) for film in recording._segments.films] == [2, 3]
    capture = cv2.VideoCapture(str(recording._segments.films[1]))
    assert capture.read()[1].shape == (48, 64, 3)
    capture.release()


def test_several_models_of_a_frame_are_one_picture_and_late_answers_are_lines(fast, tmp_path):
    recording = recording_in(tmp_path, fast)
    picture = moving_pattern(SIZE, 0)
    for frame, model in [(0, "a"), (0, "b"), (1, "a"), (2, "a"), (1, "b")]:
        assert recording.add(picture, answer_to(frame, model=model), frame / 10)
    recording.close()
    (film,) = recording._segments.films
    assert frames_in(film) == 3
    assert sorted((line["frame"], line["model"], line["video_s"]) for line in lines_of(film) if line["video_s"] is not None) == [
        *((0, "a", 0.0), (0, "b", 0.0), (1, "a", 0.1), (2, "a", 0.2))
    ]
    assert [line["frame"] for line in lines_of(film) if line["video_s"] is None] == [1]
    assert (recording.state.frames, recording.state.late) == (3, 1)


def test_the_film_shows_the_boxes_unless_it_is_not_to(fast, tmp_path):
    for annotated in (True, False):
        recording = recording_in(tmp_path / str(annotated), fast, annotated=annotated)
        recording.add(np.full((64, 96, 3), 90, np.uint8), answer_to(0), 0.0)
        recording.close()
        capture = cv2.VideoCapture(str(recording._segments.films[0]))
        assert (np.ptp(capture.read()[1]) > 50) == annotated
        capture.release()


# --- the cap ------------------------------------------------------------------------------------------------------------------------------


def film_of(folder, name, size=1000):
    (folder / name).write_bytes(bytes(size))
    sidecar_of(folder / name).write_bytes(b"{}\n")
    return folder / name


def test_beyond_the_cap_the_oldest_goes_with_its_answers(tmp_path):
    old = [film_of(tmp_path, f"a-2025112{day}T000000Z.mp4") for day in (3, 1, 2)]
    (tmp_path / "holiday.mp4").write_bytes(bytes(5000))
    segments = Segments(tmp_path, 3500)
    assert segments.films == [old[1], old[2], old[0]]
    # This machine believes that it is 1970, and still its film is the youngest.
    film = segments.begin("b", 0.0, ".mp4")
    film_of(tmp_path, film.name)
    segments.finish(film)
    assert segments.removed == 1
    assert segments.films == [old[2], old[0], film]
    assert names_in(tmp_path) == [*sorted(path.name for kept in segments.films for path in (kept, sidecar_of(kept))), "holiday.mp4"]


def test_what_is_being_written_counts(tmp_path):
    film_of(tmp_path, "a-20251121T000000Z.mp4")
    segments = Segments(tmp_path, 2500)
    film = segments.begin("a", 0.0, ".mp4")
    unfinished_of(film).write_bytes(bytes(1400))
    assert segments.grew(film)
    assert segments.removed == 0
    unfinished_of(film).write_bytes(bytes(1500))
    assert segments.grew(film)
    assert segments.removed == 1
    unfinished_of(film).write_bytes(bytes(2501))
    assert not segments.grew(film)
    assert segments.total_bytes == 2501


def test_no_name_is_given_twice(tmp_path):
    film_of(tmp_path, "a-19700101T000000Z.webm")
    segments = Segments(tmp_path, 1 << 20)
    names = [segments.begin("a", 0.5, suffix).name for suffix in (".mp4", ".webm", ".mp4")]
    assert names == ["a-19700101T000000Z-2.mp4", "a-19700101T000000Z-3.webm", "a-19700101T000000Z-4.mp4"]


def test_a_film_that_was_cut_keeps_its_name_to_itself(tmp_path):
    """A board without a clock begins each day at the same second."""
    film_of(tmp_path, "a-19700101T000012Z-cut.mp4")
    assert Segments(tmp_path, 1 << 20).begin("a", 12.5, ".mp4").name == "a-19700101T000012Z-2.mp4"


@pytest.mark.parametrize(
    ("camera", "name"), [("line 1", "line_1"), ("../../etc", "_.._etc"), ("", "camera"), ("ü/\n", "___"), ("x" * 300, "x" * 80)]
)
def test_a_camera_in_a_file_name(camera, name):
    assert file_name_of(camera) == name


def test_a_recording_stays_below_its_cap(fast, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    most = 400_000
    recording = recording_in(tmp_path, fast, most_bytes=most, segment_s=2.0)
    largest = 0
    for frame in range(120):
        assert recording.add(np.roll(noise, 3 * frame, 1), answer_to(frame, (320, 240)), frame / 10)
        largest = max(largest, recording._segments.total_bytes)
    recording.close()
    assert recording._segments.removed > 0
    assert recording._segments.total_bytes <= most
    assert largest <= most
    assert recording.state.error is None


# --- what goes wrong ----------------------------------------------------------------------------------------------------------------------


def test_an_encoder_that_is_killed_costs_little_and_is_started_again(name, tmp_path):
    recording = recording_in(tmp_path, name, segment_s=3600)
    record(recording, range(200))
    encoder = recording._film.encoder
    while encoder.waiting_bytes():
        time.sleep(0.01)
    os.kill(encoder.pid, signal.SIGKILL)
    os.waitid(os.P_PID, encoder.pid, os.WEXITED | os.WNOWAIT)
    recorded = record(recording, range(200, 249))
    lost = recorded.index(False)
    assert lost <= 5
    assert not any(recorded[lost:])  # nothing is tried before five seconds have passed
    assert recording.state.error == f"the video encoder {name} ended; got signal 9"
    assert all(record(recording, range(250 + lost, 270)))
    assert recording.state.error is None
    recording.close()
    cut, after = recording._segments.films
    assert cut.stem.endswith("-cut")
    assert frames_in(cut) >= 140
    assert len(lines_of(cut)) >= 195
    assert frames_in(after) == 20 - lost
    assert recording.state.failures == 1


def test_hardware_that_fails_at_work_is_not_asked_for_again(tmp_path, monkeypatch):
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho 'no more buffers' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    asked = []

    def choose(size_wh, avoid):
        asked.append((size_wh, avoid))
        return Choice(BY_NAME["opencv_vp8" if avoid else "h264_v4l2m2m"], "", 0.1)

    recording = recording_in(tmp_path / "films", "", choose=choose)
    record(recording, range(80))
    recording.close()
    assert asked == [(SIZE, frozenset()), (SIZE, frozenset({"h264_v4l2m2m"}))]
    assert recording.state.error is None
    assert recording.state.failures == 1
    assert [film.suffix for film in recording._segments.films] == [".webm"] * len(recording._segments.films)


@pytest.mark.parametrize("thing", ["choose", "folder", "picture"])
def test_nothing_is_ever_raised(thing, fast, tmp_path):
    def fail(size_wh, avoid):
        raise RuntimeError("what\x1b is this")

    recording = recording_in(tmp_path / "films", fast, choose=fail if thing == "choose" else None)
    if thing == "folder":
        (tmp_path / "films").rmdir()
    picture = np.zeros((1, 1, 3), np.uint8) if thing == "picture" else moving_pattern(SIZE, 0)
    for frame in range(3):
        recording.add(picture, answer_to(frame), frame / 10)
    recording.close()
    assert recording.state.error
    assert recording.state.error.isprintable()
    assert recording.state.failures >= 1


def test_a_disk_that_is_to_keep_something_free_is_left_alone(fast, tmp_path):
    recording = recording_in(tmp_path, fast)
    recording._keep_free_bytes = 1 << 62
    assert record(recording, range(3)) == [False] * 3
    assert "no space left on the disk" in recording.state.error
    assert recording.state.dropped == 3
    assert names_in(tmp_path) == []
    recording._keep_free_bytes = 0
    assert record(recording, [60]) == [True]
    assert recording.state.error is None
    recording.close()


# --- a service that is killed -------------------------------------------------------------------------------------------------------------


def test_after_sigkill_the_film_plays_and_is_taken_in(name, tmp_path):
    order = [sys.executable, str(RECORDER), str(tmp_path), name, "40", "0", "5"]
    with subprocess.Popen(order, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as recorder:
        assert recorder.stdout.readline() == "30 frames\n"
        assert Segments(tmp_path, 1 << 30).recovered == []  # somebody writes it
        recorder.kill()
    kept = []
    deadline = time.monotonic() + 30
    while not kept and time.monotonic() < deadline:
        time.sleep(0.05)  # the encoder meets the end of its input, and closes the film
        kept = Segments(tmp_path, 1 << 30).recovered
    (film,) = kept
    assert film.stem == "line_1-20251128T231500Z-cut"
    assert names_in(tmp_path) == sorted([film.name, sidecar_of(film).name])
    assert frames_in(film) >= 25
    assert [line["frame"] for line in lines_of(film)] == list(range(len(lines_of(film))))
    assert len(lines_of(film)) >= 25
    assert Segments(tmp_path, 1 << 30).films == [film]


def test_what_does_not_play_and_what_is_no_file_is_not_taken_in(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("mine")
    folder = tmp_path / "films"
    folder.mkdir()
    for name in ("a-20251121T000000Z.mp4", "a-20251121T000001Z.webm"):
        unfinished_of(folder / name).write_bytes(b"\0\0\0\x20ftypisom" + bytes(30))
        unfinished_of(sidecar_of(folder / name)).write_text('{"frame": 1}\n')
    unfinished_of(folder / "a-20251121T000002Z.mp4").symlink_to(outside)
    unfinished_of(folder / "a-20251121T000003Z.jsonl").write_text("{}\n")
    os.mkfifo(unfinished_of(folder / "a-20251121T000004Z.mp4"))
    segments = Segments(folder, 1 << 20)
    assert segments.recovered == segments.films == []
    assert names_in(folder) == [f".edgewright-a-2025112{name}.mp4" for name in ("1T000002Z", "1T000004Z")]
    assert outside.read_text() == "mine"


@pytest.mark.parametrize(
    ("content", "kept"), [(b'{"a":1}\n{"b"', b'{"a":1}\n'), (b"", b""), (b"torn", b""), (b"x\n", b"x\n"), (b"a\n" + b"b" * 200_000, b"a\n")]
)
def test_a_torn_line_goes(content, kept, tmp_path):
    (tmp_path / "lines").write_bytes(content)
    drop_torn_line(tmp_path / "lines")
    assert (tmp_path / "lines").read_bytes() == kept


# --- a disk that is too small -------------------------------------------------------------------------------------------------------------

STORY = """
set -e
mount -t tmpfs -o "size=600k" none "$1"
"$2" "$3" "$1" "$4" 400 1 10 > "$5/said"
cp -r "$1" "$5/full"
"""


def test_a_full_disk_is_one_state_and_what_was_recorded_plays(name, tmp_path):
    unshare = shutil.which("unshare")
    if (
        unshare is None
        or subprocess.run([unshare, "-rm", "sh", "-c", "mount -t tmpfs none /mnt"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no private mounts here (unshare -rm)")
    disk = tmp_path / "disk"
    disk.mkdir()
    order = [unshare, "-rm", "sh", "-c", STORY, "sh", str(disk), sys.executable, str(RECORDER), name, str(tmp_path)]
    subprocess.run(order, check=True, timeout=120)
    said = json.loads((tmp_path / "said").read_text().splitlines()[-1])
    assert len(said["errors"]) >= 1
    assert all("no space left on the disk" in error for error in said["errors"])
    assert said["dropped"] > 100
    assert said["failures"] <= 5  # not again for every frame
    kept = Segments(tmp_path / "full", 1 << 30)
    assert kept.films
    assert frames_in(kept.films[0]) >= 5
