"""A stretch of frames comes back as it was recorded; one that somebody changed is refused in a sentence."""

import json
import os
import random
import signal
import subprocess
import sys
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.errors import DataError, InputError
from edgewright.run.encoders import moving_pattern
from edgewright.run.stretch import FrameFacts, StretchFrame, StretchWriter, paced, picture_name, read_stretch

SIZE = (48, 32)
DECISIONS = {"answers": [{"model": "m", "boxes_xyxy": [[1, 2, 3, 4]]}], "workers": {"m": "running"}}
KINDS = ["jpeg", "png"]


def facts(frame, **changes):
    return FrameFacts(
        **{"camera": "line 1", "frame": frame, "captured_s": 1764371700.0 + frame / 10, "monotonic_s": 50 + frame / 10} | changes
    )


def write(folder, frames=5, kind="jpeg", most_bytes=1 << 30):
    with StretchWriter(folder, most_bytes, pictures=kind) as stretch:
        for frame in range(frames):
            stretch.add(moving_pattern(SIZE, frame), facts(frame, decisions=DECISIONS))
        stretch.add(None, facts(frames, decisions={"dropped": "busy"}))
    return stretch


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_recorded_comes_back(kind, tmp_path):
    stretch = write(tmp_path / "s", kind=kind)
    *seen, dropped = read_stretch(tmp_path / "s")
    assert [frame.facts for frame in seen] == [facts(frame, decisions=DECISIONS) for frame in range(5)]
    for number, frame in enumerate(seen):
        was = moving_pattern(SIZE, number)
        assert cv2.PSNR(frame.image_rgb, was) > 30
        assert kind == "jpeg" or (frame.image_rgb == was).all()
    assert dropped == StretchFrame(facts(5, decisions={"dropped": "busy"}), None)
    assert stretch.frames == 6
    assert not stretch.full


def test_a_view_that_is_not_contiguous_is_recorded_as_it_looks(tmp_path):
    picture = moving_pattern((96, 64), 0)[::2, ::-2]
    for kind in KINDS:
        with StretchWriter(tmp_path / kind, 1 << 20, pictures=kind) as stretch:
            assert stretch.add(picture, facts(0))
        (frame,) = read_stretch(tmp_path / kind)
        assert cv2.PSNR(frame.image_rgb, np.ascontiguousarray(picture)) > 30


def test_a_full_stretch_has_no_gaps(tmp_path):
    stretch = write(tmp_path / "s", frames=40, kind="png", most_bytes=20_000)
    assert stretch.full
    seen = list(read_stretch(tmp_path / "s"))
    assert [frame.facts.frame for frame in seen] == list(range(len(seen)))
    assert 0 < len(seen) < 40
    assert sum(path.stat().st_size for path in (tmp_path / "s").rglob("*") if path.is_file() and path.name != "stretch.json") <= 20_000
    assert not stretch.add(None, facts(99))


def test_a_line_that_is_too_long_ends_the_stretch(tmp_path):
    with StretchWriter(tmp_path / "s", 1 << 30) as stretch:
        assert not stretch.add(None, facts(0, decisions={"text": "x" * (1 << 20)}))
    assert list(read_stretch(tmp_path / "s")) == []


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    (tmp_path / "mine").touch()
    with pytest.raises(InputError, match=r"got a folder with something in it; expected a new or an empty one"):
        StretchWriter(tmp_path, 1 << 20)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_after_sigkill_all_but_the_last_line_are_good(tmp_path):
    code = f"""
from pathlib import Path
from edgewright.run.stretch import *
from edgewright.run.encoders import moving_pattern
stretch = StretchWriter(Path({str(tmp_path / "s")!r}), 1 << 30)
for frame in range(10**6):
    stretch.add(moving_pattern((48, 32), frame), FrameFacts("a", frame, 1.0, 2.0))
    if frame == 20: print("go", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
    with (tmp_path / "s" / "frames.jsonl").open("ab") as stream:
        stream.write(b'{"camera": "a", "fra')
    seen = list(read_stretch(tmp_path / "s"))
    assert len(seen) > 20
    assert all(frame.image_rgb is not None for frame in seen)


# --- as it was, or as fast as it goes -----------------------------------------------------------------------------------------------------


class Bench:
    """A clock that sleeping moves, and so does work."""

    def __init__(self):
        self.now_s = 1000.0

    def monotonic_s(self):
        return self.now_s

    def wall_s(self):
        raise AssertionError

    def sleep(self, seconds):
        assert seconds > 0
        self.now_s += seconds


def replay_at(times_s, work_s=0.0, speed=1.0):
    bench = Bench()
    seen_s = []
    for _ in paced([StretchFrame(facts(0, monotonic_s=at_s), None) for at_s in times_s], bench, bench.sleep, speed=speed):
        seen_s.append(bench.now_s - 1000)
        bench.now_s += work_s
    return seen_s


def test_a_replay_has_the_pace_of_the_stretch():
    assert replay_at([50.0, 50.1, 50.4]) == pytest.approx([0, 0.1, 0.4])
    assert replay_at([50.0, 50.1, 50.4], speed=2) == pytest.approx([0, 0.05, 0.2])
    assert replay_at([50.0, 50.1, 51.0, 51.1], work_s=0.3) == pytest.approx([0, 0.3, 1.0, 1.3])


@given(st.lists(st.floats(0, 1e12), min_size=2, max_size=20))
def test_no_stretch_makes_anyone_wait_for_long(times_s):
    assert all(0 <= after - before <= 60.001 for before, after in pairwise(replay_at(times_s)))


# --- strangers' stretches -----------------------------------------------------------------------------------------------------------------


def edit_line(folder, **changes):
    path = folder / "frames.jsonl"
    first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps(json.loads(first) | changes), *rest]) + "\n")


@pytest.mark.parametrize(
    ("changes", "got"),
    [
        ({"picture": "../../../etc/passwd"}, "picture '../../../etc/passwd'"),
        ({"picture": -1}, "picture -1"),
        ({"picture": True}, "picture True"),
        ({"picture": 10**400}, "a number of 1329 bits"),
        ({"picture": 77}, "no file pictures/000000077.jpg"),
        ({"picture": 1}, "is not the one recorded"),
        ({"frame": 1.5}, "frame 1.5"),
        ({"captured_s": float("nan")}, "no JSON"),
        ({"captured_s": -1}, "captured_s -1"),
        ({"monotonic_s": 1e300}, "monotonic_s 1e+300"),
        ({"monotonic_s": "soon"}, "monotonic_s 'soon'"),
        ({"camera": "x" * 201}, "camera "),
        ({"decisions": []}, "decisions a list of 0"),
        ({"size_wh": [48, 33]}, "a pictures/000000000.jpg of JPEG, 48x32 pixels"),
        ({"size_wh": [48, True]}, "size_wh a list of 2"),
        ({"sha256": "0" * 64}, "is not the one recorded"),
        ({"sha256": None}, "sha256 None"),
    ],
)
def test_a_changed_line_is_refused(changes, got, tmp_path):
    write(tmp_path / "s")
    edit_line(tmp_path / "s", **changes)
    with pytest.raises(DataError) as refused:
        list(read_stretch(tmp_path / "s"))
    assert str(refused.value).startswith("line 1 of frames.jsonl is not as it was written; got ")
    assert got in str(refused.value)


@pytest.mark.parametrize("name", ["stretch.json", "frames.jsonl", "pictures", "pictures/000000000.jpg"])
@pytest.mark.parametrize("instead", ["link", "pipe", "nothing"])
def test_what_is_no_file_of_the_folder_is_not_opened(name, instead, tmp_path):
    write(tmp_path / "s")
    path = tmp_path / "s" / name
    path.rename(tmp_path / "outside")
    if instead == "link":
        path.symlink_to(tmp_path / "outside")
    elif instead == "pipe":
        os.mkfifo(path)
    with pytest.raises(DataError, match="got no f"):
        list(read_stretch(tmp_path / "s"))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("stretch.json", b"{", "that is no JSON"),
        ("stretch.json", b"[" * 60_000, "that is no JSON"),
        ("stretch.json", b"[]", "of something else"),
        ("stretch.json", b" " * 70_000, "more than 65536 bytes"),
        ("stretch.json", b'{"what": "edgewright stretch", "schema": 2}', "schema 2; expected schema 1"),
        ("stretch.json", b'{"what": "edgewright stretch", "schema": 1, "pictures": "exe"}', "pictures of kind 'exe'"),
        ("frames.jsonl", b"x" * ((1 << 20) + 2), "more than 1048576 bytes"),
        ("frames.jsonl", b"\xff\n", "no JSON"),
        ("frames.jsonl", b"[" * 5000 + b"\n", "no JSON"),
        ("frames.jsonl", b"3\n", "got 3"),
    ],
)
def test_what_is_no_stretch_is_said(name, content, said, tmp_path):
    write(tmp_path / "s")
    (tmp_path / "s" / name).write_bytes(content)
    with pytest.raises(DataError) as refused:
        list(read_stretch(tmp_path / "s"))
    assert said in str(refused.value)


def mutated(content, chance):
    content = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(content))
        how = chance.randrange(4)
        if how == 0:
            content[at] ^= 1 << chance.randrange(8)
        elif how == 1:
            del content[at : at + chance.randint(1, 40)]
        elif how == 2:
            content[at:at] = chance.randbytes(chance.randint(1, 8))
        else:
            content[at : at + 4] = chance.choice([b"9999", b"null", b"-1e9", b'"../'])
        if not content:
            break
    return bytes(content)


def test_mutations_are_frames_or_a_sentence(tmp_path):
    write(tmp_path / "s", frames=3)
    files = [tmp_path / "s" / name for name in ("stretch.json", "frames.jsonl", picture_name(1, "jpeg"))]
    whole = {path: path.read_bytes() for path in files}
    chance = random.Random(11)
    refused = []
    for round_ in range(300):
        path = files[round_ % 3]
        path.write_bytes(mutated(whole[path], chance))
        try:
            assert len(list(read_stretch(tmp_path / "s"))) <= 4
        except DataError as error:
            refused.append(str(error))
        path.write_bytes(whole[path])
    assert len(refused) > 200
    assert all(sentence.isprintable() for sentence in refused)
