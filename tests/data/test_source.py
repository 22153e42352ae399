"""One stream of frames from whatever a user points at."""

import os

import cv2
import numpy as np
import pytest

from edgewright.data.source import open_source
from edgewright.data.video import WebmWriter
from edgewright.errors import DataError


def picture(path, colour):
    cv2.imwrite(str(path), np.full((8, 12, 3), colour, np.uint8))
    return path


def test_an_image_is_a_stream_of_one(tmp_path):
    source = open_source(picture(tmp_path / "a.png", 9))
    [(name, frame)] = source
    assert (source.is_video, source.frames, source.fps) == (False, 1, None)
    assert (name, frame.index, frame.image_rgb.shape, frame.image_rgb.max()) == ("a", 0, (8, 12, 3), 9)


def test_a_folder_is_its_pictures_by_name(tmp_path):
    for name, colour in (("b.png", 2), ("a.jpg", 1), ("c.bmp", 3)):
        picture(tmp_path / name, colour)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "d.png").mkdir()
    source = open_source(tmp_path)
    assert source.frames == 3
    assert [(name, frame.index) for name, frame in source] == [("a", 0), ("b", 1), ("c", 2)]


def test_pictures_that_differ_in_their_suffix_alone_have_names_of_their_own(tmp_path):
    for name in ("a.png", "a.bmp", "b.png"):
        picture(tmp_path / name, 1)
    assert [name for name, _ in open_source(tmp_path)] == ["a.bmp", "a.png", "b"]


def test_a_broken_picture_of_a_folder_is_passed_over_and_named(tmp_path):
    picture(tmp_path / "a.png", 1)
    (tmp_path / "b.png").write_bytes(b"no picture")
    picture(tmp_path / "c.png", 1)
    source = open_source(tmp_path)
    assert [(name, frame.index) for name, frame in source] == [("a", 0), ("c", 1)]
    assert len(source.broken) == 1
    assert "b.png" in source.broken[0]


def test_a_folder_of_nothing_but_broken_pictures_is_refused(tmp_path):
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="no picture in"):
        list(open_source(tmp_path))


def test_a_broken_picture_asked_for_by_name_is_refused(tmp_path):
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="not a picture we can decode"):
        list(open_source(tmp_path / "b.png"))


def test_a_video_is_its_frames(tmp_path):
    with WebmWriter(tmp_path / "clip.webm", 10.0) as writer:
        for _ in range(3):
            writer.write(np.zeros((32, 32, 3), np.uint8))
    source = open_source(tmp_path / "clip.webm")
    assert source.is_video
    assert source.fps == pytest.approx(10.0, rel=0.05)
    assert [name for name, _ in source] == ["clip-000000", "clip-000001", "clip-000002"]


@pytest.mark.parametrize(
    ("name", "said"), [("none.jpg", "is not there"), ("words.txt", "neither picture nor video"), ("bare", "nameless file")]
)
def test_what_is_neither_is_one_clear_sentence(tmp_path, name, said):
    (tmp_path / "words.txt").write_text("words")
    (tmp_path / "bare").write_text("words")
    with pytest.raises(DataError) as caught:
        open_source(tmp_path / name)
    assert said in str(caught.value)
    assert "jpg" in str(caught.value) or "image" in str(caught.value)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no pictures"):
        open_source(tmp_path)


def test_a_broken_video_says_what_was_lost(tmp_path):
    with WebmWriter(tmp_path / "clip.webm", 10.0) as writer:
        for at in range(30):
            writer.write(np.random.default_rng(at).integers(0, 255, (32, 32, 3), np.uint8))
    whole = (tmp_path / "clip.webm").read_bytes()
    (tmp_path / "clip.webm").write_bytes(whole[: len(whole) // 2])
    source = open_source(tmp_path / "clip.webm")
    read = len(list(source))
    assert source.broken == [
        f"clip.webm broke at frame {read} of 30, where the file was cut: {30 - read} frames could not be decoded, 0 could after it"
    ]
    assert source.damaged == []
    assert source.reading.to_json() == {
        "frames": read,
        "expected": 30,
        "broke_at": read,
        "missing": 30 - read,
        "after_break": 0,
        "damaged": 0,
        "cut": True,
    }


def test_a_damaged_picture_of_a_folder_is_used_and_named(tmp_path):
    encoded = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8))[1].tobytes()
    (tmp_path / "a.jpg").write_bytes(encoded[:2000] + bytes(60) + encoded[2060:])
    picture(tmp_path / "b.png", 1)
    source = open_source(tmp_path)
    assert [name for name, _ in source] == ["a", "b"]
    assert source.broken == []
    assert len(source.damaged) == 1
    assert "a.jpg" in source.damaged[0]


def test_what_is_no_file_is_said_to_be_none(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "clip.mp4").symlink_to(os.devnull)
    for name in ("pipe.png", "clip.mp4"):
        with pytest.raises(DataError, match=r"cannot be read; got a pipe, a device or a link to nowhere"):
            open_source(tmp_path / name)
