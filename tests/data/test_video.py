"""Moving pictures in and out."""

import itertools

import numpy as np
import pytest

from edgewright.data.video import USUAL_FPS, WebmWriter, probe, read_frames
from edgewright.errors import DataError, EdgewrightError, HostError


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


@pytest.mark.parametrize("content", [b"", b"words, not a video", bytes(5000)])
def test_what_is_no_video_is_one_clear_sentence(tmp_path, content, capfd):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(DataError, match=r"no frame of .*a\.mp4 can be decoded"):
        list(read_frames(tmp_path / "a.mp4"))
    assert probe(tmp_path / "a.mp4") == (USUAL_FPS, None)


def test_a_missing_video_is_said(tmp_path):
    with pytest.raises(DataError, match="is not there"):
        list(read_frames(tmp_path / "none.mp4"))


def test_broken_clips_are_refused_or_read_as_far_as_they_go(test_data, capfd):
    refused = {}
    for path in sorted((test_data / "bad/video").iterdir()):
        fps, count = probe(path)
        assert 0 < fps <= 1000
        assert count is None or count > 0
        try:
            for frame in itertools.islice(read_frames(path), 30):
                assert frame.image_rgb.shape[2] == 3
        except EdgewrightError as error:
            refused[path.name] = str(error)
    assert {"gen_empty.mp4", "gen_text_named.mp4"} <= set(refused)
    assert all(name in said for name, said in refused.items())


@pytest.mark.parametrize("name", ["bottle-detection.mp4", "bolt-multi-size-detection.gif"])
def test_real_clips_are_read(test_data, name):
    [first, second] = itertools.islice(read_frames(test_data / "video" / name), 2)
    assert (first.index, second.index) == (0, 1)
    assert second.time_s > first.time_s
