"""Pictures that are broken or damaged, among sound ones: counted by every verb that reads many, never the end of its work."""

import json
import shutil

import cv2
import pytest

from tiny_dataset import write_tiny_dataset


def damage(path):
    """Its JPEG, which ends in the middle: libjpeg decodes what there is."""
    content = cv2.imencode(".jpg", cv2.imread(str(path)))[1].tobytes()
    at = len(content) * 2 // 3
    path.write_bytes(content[:at] + b"\xff\xd9" + content[at:])


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-30])


@pytest.fixture
def strange_data(tmp_path):
    """A data set of 16 train and 8 val pictures, of each two cut short, one no picture and one damaged."""
    data = write_tiny_dataset(tmp_path / "data", train=16, val=8)
    for split in ("train", "val"):
        first, second, third, fourth, *_ = sorted((tmp_path / "data/images" / split).iterdir())
        cut_short(first)
        cut_short(second)
        third.write_bytes(b"words")
        damage(fourth)
    return data


def test_eval_counts_them(edgewright, tiny_model, strange_data):
    ran = edgewright("eval", tiny_model, "--data", strange_data, "--json", "-")
    assert (ran.exit_code, ran.json["images"], len(ran.json["skipped"]), len(ran.json["damaged"])) == (0, 5, 3, 1)
    assert [line.split("; ")[0].split("/")[-1] for line in ran.json["skipped"]] == [
        "0000.png is cut short",
        "0001.png is cut short",
        "0002.png is not a picture we can decode",
    ]
    assert "0003.png is damaged, and was decoded as far as that goes; got corrupt JPEG data" in ran.json["damaged"][0]
    lines = " ".join(ran.err.split())
    assert (lines.count("skipped: "), lines.count("damaged: ")) == (3, 1)
    assert "libpng" not in ran.err
    assert "Corrupt JPEG" not in ran.err


def test_eval_through_a_camera_counts_them_too(edgewright, tiny_model, strange_data):
    ran = edgewright("eval", tiny_model, "--data", strange_data, "--camera", "clean", "--json", "-")
    assert (ran.json["images"], len(ran.json["skipped"]), len(ran.json["damaged"])) == (5, 3, 1)


def test_where_all_are_broken_eval_refuses_with_the_first_of_them(edgewright, tiny_model, strange_data):
    for path in (strange_data.parent / "images/val").iterdir():
        path.write_bytes(b"\xff\xd8\xff")
    ran = edgewright("eval", tiny_model, "--data", strange_data, "--quiet")
    ran.assert_refused(2, "no picture of", "can be used", "0000.png is cut short; got 3 bytes without the end of the picture")


def test_calibrate_chooses_none_of_them_and_says_so(edgewright, strange_data, tmp_path):
    ran = edgewright("calibrate", strange_data, "--out", tmp_path / "out", "--json", "-")
    assert ran.exit_code in (0, 1), ran.err
    said = {finding["code"]: finding["what"] for finding in ran.json["audit"]["findings"] if finding["where"] == "train"}
    assert "3 of 16 train pictures cannot be used, and none of them is chosen" in said["broken-pictures"]
    assert "1 of 16 train pictures are damaged, and none of them is chosen" in said["damaged-pictures"]
    assert len(ran.json["pictures"]) == 12


def test_fit_warns_of_them(edgewright, tiny_model, strange_data, tmp_path):
    words = ("--max-drop", 100, "--images", 6, "--threads", 1, "--quiet")
    ran = edgewright("fit", tiny_model, "--engines", "onnxruntime", "--data", strange_data, "--out", tmp_path / "out", *words)
    assert ran.exit_code in (0, 1), ran.err
    evidence = json.loads((tmp_path / "out/evidence.json").read_text())
    assert evidence["calibration"]["images"] == 6
    warnings = [line.replace(str(strange_data.parent), "") for line in evidence["warnings"]]
    assert sum(line.startswith("skipped: /images/val/") for line in warnings) == 3
    assert sum(line.startswith("damaged: /images/val/0003.png is damaged") for line in warnings) == 1
    assert sum(line.startswith("calibration: 3 of 16 train pictures cannot be used") for line in warnings) == 1


def test_the_bad_pictures_among_sound_ones(edgewright, tiny_model, tmp_path, test_data):
    data = write_tiny_dataset(tmp_path / "data", train=1, val=4)
    labels = sorted((tmp_path / "data/labels/val").iterdir())
    for path in (test_data / "bad/images").iterdir():
        shutil.copy(path, tmp_path / "data/images/val")
        shutil.copy(labels[0], (tmp_path / "data/labels/val" / path.name).with_suffix(".txt"))
    ran = edgewright("eval", tiny_model, "--data", data, "--json", "-")
    assert (ran.exit_code, ran.json["images"], len(ran.json["skipped"]), len(ran.json["damaged"])) == (0, 5, 12, 1)
    assert "gen_pcb_60_random_bytes.jpg is damaged" in ran.json["damaged"][0]
    assert "Traceback" not in ran.err


def test_only_bad_pictures(edgewright, tiny_model, tmp_path, test_data):
    (tmp_path / "data/images/val").mkdir(parents=True)
    for path in (test_data / "bad/images").iterdir():
        if "random_bytes" not in path.name:  # that one is only damaged
            (tmp_path / "data/images/val" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "data/data.yaml").write_text("path: .\nval: images/val\nnames: [red, green, blue]\n")
    ran = edgewright("eval", tiny_model, "--data", tmp_path / "data/data.yaml", "--quiet")
    ran.assert_refused(2, "no picture of", "can be used", "gen_empty.jpg is not a picture we can decode; got an empty file")
