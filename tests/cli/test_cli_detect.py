"""`edgewright detect`: boxes as a video, as pictures, as lines."""

import json

import cv2
import numpy as np
import pytest

from edgewright.data.video import WebmWriter, read_frames
from tiny_detector import COLOURS


def scene(colour, size_wh=(64, 64)):
    picture = np.full((size_wh[1], size_wh[0], 3), 114, np.uint8)
    picture[12:36, 20:44] = COLOURS[colour]
    return picture


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for colour in ("red", "green"):
        cv2.imwrite(str(folder / f"{colour}.png"), scene(colour)[..., ::-1])
    return folder


@pytest.fixture
def clip(tmp_path):
    with WebmWriter(tmp_path / "clip.webm", 10.0) as writer:
        for colour in ("red", "green", "blue"):
            writer.write(scene(colour))
    return tmp_path / "clip.webm"


def test_a_line_a_frame_in_source_pixels(edgewright, tiny_model, clip, tmp_path):
    ran = edgewright("detect", tiny_model, clip, "--jsonl", tmp_path / "lines.jsonl")
    assert ran.exit_code == 0
    lines = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == [0, 1, 2]
    assert [line["time_s"] for line in lines] == pytest.approx([0, 0.1, 0.2])
    assert all(set(line) == {"frame", "time_s", "boxes_xyxy", "scores", "classes"} for line in lines)
    assert [line["classes"][0] for line in lines] == ["red", "green", "blue"]
    assert lines[0]["boxes_xyxy"][0] == pytest.approx([20, 12, 44, 36], abs=10)


def test_lines_on_standard_output_are_alone_there(edgewright, tiny_model, photos):
    ran = edgewright("detect", tiny_model, photos, "--jsonl", "-")
    assert ran.exit_code == 0
    assert [json.loads(line)["frame"] for line in ran.out.splitlines()] == [0, 1]
    assert "2 frames" in ran.err


def test_json_is_all_there_is_on_standard_output(edgewright, tiny_model, photos):
    ran = edgewright("detect", tiny_model, photos, "--json", "-")
    assert ran.exit_code == 0
    assert (ran.json["frames"], ran.json["skipped"]) == (2, [])
    assert ran.json["boxes"] >= 2


def test_both_on_standard_output_would_mix_and_are_refused(edgewright, tiny_model, photos):
    edgewright("detect", tiny_model, photos, "--jsonl", "-", "--json", "-").assert_refused(2, "standard output")


def test_a_drawn_video_can_be_played(edgewright, tiny_model, clip, tmp_path):
    assert edgewright("detect", tiny_model, clip, "--out", tmp_path / "seen.webm").exit_code == 0
    frames = list(read_frames(tmp_path / "seen.webm"))
    assert len(frames) == 3
    assert frames[0].image_rgb.shape == (64, 64, 3)


def test_drawn_pictures_lie_in_a_folder(edgewright, tiny_model, photos, tmp_path):
    assert edgewright("detect", tiny_model, photos, "--out", tmp_path / "new/seen").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "new/seen").iterdir()) == ["green.jpg", "red.jpg"]
    assert cv2.imread(str(tmp_path / "new/seen/red.jpg")).shape == (64, 64, 3)


def test_pictures_of_the_same_name_do_not_overwrite_each_other(edgewright, tiny_model, photos, tmp_path):
    cv2.imwrite(str(photos / "red.bmp"), scene("blue")[..., ::-1])
    ran = edgewright("detect", tiny_model, photos, "--out", tmp_path / "seen", "--json", "-")
    assert ran.json["frames"] == len(list((tmp_path / "seen").iterdir())) == 3


def test_the_score_decides_what_is_shown(edgewright, tiny_model, photos):
    counts = [edgewright("detect", tiny_model, photos, "--score", score, "--json", "-").json["boxes"] for score in (0, 0.25, 1)]
    assert counts[0] > counts[1] > counts[2] == 0


def test_a_broken_picture_of_a_folder_is_named_and_skipped(edgewright, tiny_model, photos):
    (photos / "broken.png").write_bytes(b"no picture")
    ran = edgewright("detect", tiny_model, photos, "--json", "-")
    assert (ran.exit_code, ran.json["frames"], len(ran.json["skipped"])) == (0, 2, 1)
    assert "broken.png" in ran.err


def test_a_quantized_model_is_accepted(edgewright, quantized_model, photos):
    assert edgewright("detect", quantized_model, photos, "--json", "-").json["frames"] == 2


@pytest.mark.parametrize(
    ("source", "out", "said"),
    [
        ("none.mp4", None, "is not there"),
        ("words.txt", None, "neither picture nor video"),
        ("empty", None, "holds no pictures"),
        ("words.png", None, "not a picture we can decode"),
        ("words.mp4", None, "can be decoded"),
        ("photos", "seen.webm", "is a video, but"),
        ("photos", "seen.mp4", "we write WebM"),
        ("photos", "seen.jpg", "is no folder"),
        ("photos", "words.txt", "is no folder"),
        ("photos", "photos", "holds the pictures themselves"),
        ("photos/red.png", "photos", "holds the pictures themselves"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(edgewright, tiny_model, photos, tmp_path, source, out, said):
    for name in ("words.txt", "words.png", "words.mp4"):
        (tmp_path / name).write_text("words")
    (tmp_path / "empty").mkdir()
    more = () if out is None else ("--out", tmp_path / out)
    edgewright("detect", tiny_model, tmp_path / source, "--quiet", *more).assert_refused(2, said)
    assert not (tmp_path / "seen.webm").exists()


def test_lines_into_a_folder_that_is_not_there_are_refused(edgewright, tiny_model, photos, tmp_path):
    edgewright("detect", tiny_model, photos, "--quiet", "--jsonl", tmp_path / "no/such.jsonl").assert_refused(2, "no/such.jsonl")


def test_a_video_is_not_written_over_itself(edgewright, tiny_model, clip):
    before = clip.read_bytes()
    edgewright("detect", tiny_model, clip, "--quiet", "--out", clip).assert_refused(2, "is the video itself")
    assert clip.read_bytes() == before


def broken_clip(clip):
    """The clip without its second half."""
    whole = clip.read_bytes()
    clip.write_bytes(whole[: len(whole) * 2 // 3])
    return clip


def test_a_broken_video_is_used_as_far_as_it_goes_and_where_it_broke_is_said(edgewright, tiny_model, clip, tmp_path):
    ran = edgewright("detect", tiny_model, broken_clip(clip), "--out", tmp_path / "seen.webm", "--json", "-")
    assert ran.exit_code == 0
    counts = ran.json["clip"]
    assert counts["frames"] == ran.json["frames"] == counts["broke_at"] in (1, 2)
    assert (counts["expected"], counts["missing"], counts["cut"]) == (3, 3 - counts["frames"], True)
    [said] = ran.json["skipped"]
    assert said.startswith(f"clip.webm broke at frame {counts['frames']} of 3, where the file was cut")
    assert said in ran.err
    assert "skipped:" not in ran.err
    assert len(list(read_frames(tmp_path / "seen.webm"))) == counts["frames"], "what was done can be played"


def test_pictures_have_no_counts_of_a_clip(edgewright, tiny_model, photos):
    ran = edgewright("detect", tiny_model, photos, "--json", "-")
    assert (ran.json["clip"], ran.json["damaged"]) == (None, [])


def test_a_video_that_breaks_at_once_leaves_no_video(edgewright, tiny_model, clip, tmp_path):
    (tmp_path / "seen.webm").write_bytes(b"an older one")
    clip.write_bytes(clip.read_bytes()[:300])
    edgewright("detect", tiny_model, clip, "--quiet", "--out", tmp_path / "seen.webm").assert_refused(2, "clip.webm can be decoded")
    assert (tmp_path / "seen.webm").read_bytes() == b"an older one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.webm", "cwd", "seen.webm"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gen_bottle_4000_random_bytes.mp4", "an MP4 with a damaged index (moov)"),
        ("gen_bottle_no_moov.mp4", "an MP4 without an index (moov): the recording was cut before it was finished"),
        ("gen_bottle_truncated_1KiB.mp4", "an MP4 without an index (moov), and 1024 of at least 489953 bytes"),
        ("gen_bottle_truncated_50pct.mp4", "an MP4 without an index (moov), and 252480 of at least 489953 bytes"),
        ("gen_empty.mp4", "an empty file"),
        ("gen_text_named.mp4", "a text file"),
    ],
)
def test_real_clips_without_frames_are_refused(edgewright, tiny_model, test_data, name, said):
    edgewright("detect", tiny_model, test_data / "bad/video" / name, "--quiet").assert_refused(2, "can be decoded", said)


def test_a_real_broken_clip_is_counted(edgewright, tiny_model, test_data):
    ran = edgewright("detect", tiny_model, test_data / "bad/video/gen_car_400KB_zeroed.mp4", "--json", "-")
    assert ran.exit_code == 0
    assert ran.json["frames"] == 345
    assert ran.json["clip"] == {
        "frames": 345,
        "expected": 377,
        "broke_at": 25,
        "missing": 32,
        "after_break": 320,
        "damaged": 3,
        "cut": False,
    }
    assert ran.json["skipped"] == ["gen_car_400KB_zeroed.mp4 broke at frame 25 of 377: 32 frames could not be decoded, 320 could after it"]
    assert ran.json["damaged"] == ["gen_car_400KB_zeroed.mp4: 3 frames after the break at 25 may be damaged, as they lean on missing ones"]
    assert all(line in ran.err for line in ran.json["skipped"] + ran.json["damaged"])
