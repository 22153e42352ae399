"""Moving pictures in and out."""

import itertools

import numpy as np
import pytest

from edgewright.data.source import open_source
from edgewright.data.video import Reading, WebmWriter, probe, read_frames
from edgewright.errors import DataError, HostError


def frames(count=8, size_wh=(64, 48)):
    for at in range(count):
        picture = np.full((size_wh[1], size_wh[0], 3), (200, 40, 40), np.uint8)
        picture[:, : 6 * (at + 1)] = (40, 40, 200)
        yield picture


def written(path, count=8, fps=10.0):
    with WebmWriter(path, fps) as writer:
        for picture in frames(count):
            writer.write(picture)
    return path


def test_what_is_written_is_read_again(tmp_path):
    path = written(tmp_path / "a.webm")
    read = list(read_frames(path))
    assert [frame.index for frame in read] == list(range(8))
    assert [frame.time_s for frame in read] == pytest.approx([at / 10 for at in range(8)])
    for frame, picture in zip(read, frames(), strict=True):
        assert frame.image_rgb.shape == picture.shape
        assert np.abs(frame.image_rgb.astype(int) - picture).mean() < 25, "the colours are RGB on both sides"
    assert probe(path)[0] == pytest.approx(10.0, rel=0.05)


def test_frames_come_one_at_a_time(tmp_path):
    stream = read_frames(written(tmp_path / "a.webm"))
    assert next(stream).index == 0
    stream.close()


def test_a_writer_that_was_given_nothing_leaves_nothing(tmp_path):
    with WebmWriter(tmp_path / "a.webm", 10.0):
        pass
    assert not (tmp_path / "a.webm").exists()


def test_a_folder_that_is_not_there_is_said(tmp_path, capfd):
    with pytest.raises(HostError, match="cannot write"), WebmWriter(tmp_path / "no/such/a.webm", 10.0) as writer:
        writer.write(next(frames()))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file"),
        (b"words, not a video", "a text file"),
        (bytes(5000), "5000 bytes that begin with zeros"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a git-LFS pointer"),
        (b"\n<!DOCTYPE html><title>Sign in</title>", "a web page"),
        (b"PK\x03\x04" + bytes(40), "a zip archive"),
        (b"\xff\xd8\xff\xe0" + bytes(40), "a JPEG picture"),
        (b"RIFF\x30\0\0\0WEBPVP8 ", "a picture"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "a picture"),
        (np.random.default_rng(0).bytes(3000), "3000 bytes of no kind we know"),
        (b"\0\0\0\x10ftypisom\0\0\0\0" + b"\0\0\x10\0mdat" + bytes(500), "without an index (moov)"),
        (b"\0\0\0\x10ftypisom\0\0\0\0" + b"\0\0\x10\0moov" + bytes(500), "cut within its index (moov)"),
        (b"\0\0\0\x10ftypisom\0\0\0\0" + b"\0\0\0\x10moov" + bytes(8), "a damaged index (moov)"),
        (b"RIFF\x40\x42\x0f\0AVI LIST" + bytes(40), "an AVI file that was cut"),
        (b"GIF89a" + bytes(10), "a GIF file that was cut"),
        (b"\x1a\x45\xdf\xa3" + bytes(60), "a damaged Matroska file"),
        (b"\0\0\1\xba" + bytes(60), "a damaged MPEG file"),
        ((b"\x47" + bytes(187)) * 5, "a damaged MPEG-TS file"),
    ],
)
def test_what_is_no_video_is_one_clear_sentence(tmp_path, content, said, capfd):
    (tmp_path / "a.mp4").write_bytes(content)
    for attempt in (lambda path: list(read_frames(path)), probe):
        with pytest.raises(DataError, match=r"no frame of .*a\.mp4 can be decoded") as refusal:
            attempt(tmp_path / "a.mp4")
        assert said in str(refusal.value)
    assert capfd.readouterr() == ("", ""), "the decoder's own words are not shown"


def test_a_missing_video_is_said(tmp_path):
    with pytest.raises(DataError, match="is not there"):
        list(read_frames(tmp_path / "none.mp4"))


BAD_CLIPS = {
    "gen_bottle_4000_random_bytes.mp4": "an MP4 with a damaged index (moov)",
    "gen_bottle_no_moov.mp4": "an MP4 without an index (moov): the recording was cut before it was finished",
    "gen_bottle_truncated_1KiB.mp4": "an MP4 without an index (moov), and 1024 of at least 489953 bytes",
    "gen_bottle_truncated_50pct.mp4": "an MP4 without an index (moov), and 252480 of at least 489953 bytes",
    "gen_empty.mp4": "an empty file",
    "gen_text_named.mp4": "a text file",
}


def test_broken_clips_are_refused_for_their_own_reason_or_read_as_far_as_they_go(test_data, capfd):
    clips = sorted((test_data / "bad/video").iterdir())
    assert {path.name for path in clips} == {*BAD_CLIPS, "gen_car_400KB_zeroed.mp4"}
    for path in clips:
        if path.name in BAD_CLIPS:
            with pytest.raises(DataError) as refusal:
                open_source(path)
            assert f"no frame of {path} can be decoded; got {BAD_CLIPS[path.name]}" in str(refusal.value)
    assert capfd.readouterr() == ("", "")


def test_frames_behind_a_broken_stretch_are_read_and_keep_their_numbers_and_times(test_data):
    reading = Reading()
    read = [(frame.index, frame.time_s) for frame in read_frames(test_data / "bad/video/gen_car_400KB_zeroed.mp4", reading)]
    assert [index for index, _ in read] == [*range(25), *range(57, 377)]
    assert [time_s for _, time_s in read] == pytest.approx([index / 12.5 for index, _ in read])
    assert reading == Reading(expected=377, decoded=345, broke_at=25, missing=32, decoded_after_break=320, damaged=3)
    assert reading.sentence("car.mp4") == "car.mp4 broke at frame 25 of 377: 32 frames could not be decoded, 320 could after it"
    assert reading.damage("car.mp4") == "car.mp4: 3 frames after the break at 25 may be damaged, as they lean on missing ones"


@pytest.mark.parametrize("name", ["bottle-detection.mp4", "bolt-multi-size-detection.gif"])
def test_real_clips_are_read(test_data, name):
    [first, second] = itertools.islice(read_frames(test_data / "video" / name), 2)
    assert (first.index, second.index) == (0, 1)
    assert second.time_s > first.time_s
