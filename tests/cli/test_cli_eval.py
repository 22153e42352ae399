"""`edgewright eval`: the COCO figures as the contract names them."""

import json
import shutil

import pytest

from tiny_dataset import grey_picture, write_tiny_coco_json, write_tiny_dataset, write_tiny_voc

CONTRACT = {"map50", "map50_95", "per_class", "per_size", "images", "detections"}


def test_json_is_all_there_is_on_standard_output(edgewright, tiny_model, tiny_data):
    ran = edgewright("eval", tiny_model, "--data", tiny_data, "--json", "-", "--threads", 1)
    assert ran.exit_code == 0
    assert set(ran.json) >= CONTRACT
    assert 0.3 < ran.json["map50"] <= 1
    assert set(ran.json["per_class"]) <= {"red", "green", "blue"}
    assert set(next(iter(ran.json["per_class"].values()))) == {"ap50", "ap50_95"}
    assert (ran.json["images"], ran.json["skipped"]) == (6, [])


def test_the_table_names_every_class(edgewright, tiny_model, tiny_data):
    ran = edgewright("eval", tiny_model, "--data", tiny_data.parent)
    assert ran.exit_code == 0
    assert all(name in ran.out for name in ("red", "green", "blue", "all", "AP50-95"))


def test_another_split(edgewright, tiny_model, tiny_data):
    assert edgewright("eval", tiny_model, "--data", tiny_data, "--split", "train", "--json", "-").json["images"] == 6
    edgewright("eval", tiny_model, "--data", tiny_data, "--split", "test", "--quiet").assert_refused(
        2, "no split 'test'", "train, val, all"
    )
    assert edgewright("eval", tiny_model, "--data", tiny_data, "--split", "all", "--json", "-").json["images"] == 12


FIGURES = ("map50", "map50_95", "per_class", "per_size", "images", "detections")


@pytest.mark.parametrize(
    ("write", "data"),
    [(write_tiny_coco_json, ""), (write_tiny_coco_json, "annotations/instances_val.json"), (write_tiny_voc, "")],
)
def test_every_format_gives_the_same_figures(edgewright, tiny_model, tiny_data, tmp_path, write, data):
    write(tmp_path / "data", train=6, val=6)
    ran = edgewright("eval", tiny_model, "--data", tmp_path / "data" / data, "--json", "-")
    yolo = edgewright("eval", tiny_model, "--data", tiny_data, "--json", "-")
    assert ran.exit_code == 0
    # Classes come in another order from VOC, so that means are summed in another order.
    found, expected = (json.loads(json.dumps([each.json[key] for key in FIGURES]), parse_float=_rounded) for each in (ran, yolo))
    assert found == expected
    assert ran.json["warnings"] == []


def _rounded(text):
    return round(float(text), 9)


def test_what_was_decided_about_the_data_is_said(edgewright, tiny_model, tmp_path):
    write_tiny_voc(tmp_path / "data", train=12, val=12)
    shutil.rmtree(tmp_path / "data/ImageSets")
    ran = edgewright("eval", tiny_model, "--data", tmp_path / "data", "--json", "-")
    assert 0 < ran.json["images"] < 24
    assert "names no splits" in ran.json["warnings"][0]
    assert "names no splits" in ran.err
    assert edgewright("eval", tiny_model, "--data", tmp_path / "data", "--json", "-", "--split", "all").json["images"] == 24


def test_a_json_of_train_pictures_is_judged_when_asked_for(edgewright, tiny_model, tmp_path):
    data = write_tiny_coco_json(tmp_path / "data", train=6, val=1) / "annotations/instances_train.json"
    edgewright("eval", tiny_model, "--data", data, "--quiet").assert_refused(2, "no split 'val'", "train, all")
    assert edgewright("eval", tiny_model, "--data", data, "--split", "train", "--json", "-").json["images"] == 6


def test_without_labels_there_is_no_map(edgewright, tiny_model, tmp_path):
    grey_picture(tmp_path / "data/a.png")
    ran = edgewright("eval", tiny_model, "--data", tmp_path / "data", "--quiet")
    ran.assert_refused(2, "has no labels", "1 pictures alone", "agreement with the float model")


def test_a_quantized_model_is_accepted_and_close(edgewright, tiny_model, quantized_model, tiny_data):
    figures = [edgewright("eval", model, "--data", tiny_data, "--json", "-").json["map50"] for model in (tiny_model, quantized_model)]
    assert figures[1] == pytest.approx(figures[0], abs=0.2)


def test_broken_pictures_are_counted_out(edgewright, tiny_model, tmp_path):
    data = write_tiny_dataset(tmp_path / "data", train=1, val=3)
    (tmp_path / "data/images/val/0001.png").write_bytes(b"no picture")
    ran = edgewright("eval", tiny_model, "--data", data, "--json", "-")
    assert (ran.exit_code, ran.json["images"], len(ran.json["skipped"])) == (0, 2, 1)
    assert "0001.png" in ran.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("val: images/val\nnames: [a, b]\n", "different classes"),
        ("val: nowhere\nnames: [a, b, c]\n", "nothing at"),
        ("names: [a\n", "is not YAML"),
    ],
)
def test_a_data_set_that_does_not_fit_is_one_sentence(edgewright, tiny_model, tiny_data, text, said):
    path = tiny_data.with_name("other.yaml")
    path.write_text(text)
    edgewright("eval", tiny_model, "--data", path, "--quiet").assert_refused(2, said)


def test_a_split_without_labels_has_no_accuracy(edgewright, tiny_model, tmp_path):
    data = write_tiny_dataset(tmp_path / "data", train=1, val=2)
    for labels in (tmp_path / "data/labels/val").iterdir():
        labels.unlink()
    edgewright("eval", tiny_model, "--data", data, "--quiet").assert_refused(2, "no picture of val", "has a label")


def test_a_wrong_label_is_one_sentence(edgewright, tiny_model, tmp_path):
    data = write_tiny_dataset(tmp_path / "data", train=1, val=2)
    (tmp_path / "data/labels/val/0001.txt").write_text("9 0.5 0.5 0.1 0.1\n")
    edgewright("eval", tiny_model, "--data", data, "--quiet").assert_refused(2, "0001.txt line 1 is no box", "class 0..2")


def test_through_a_camera_the_same_pictures_come_out_the_same_and_worse(edgewright, tiny_model, tiny_data, tmp_path):
    (tmp_path / "night.toml").write_text("[exposure]\nev = -5\n")
    words = ("eval", tiny_model, "--data", tiny_data, "--json", "-", "--camera")
    clean, none, night, dim, again, other = (
        edgewright(*words, *more).json
        for more in (("none",), ("none",), (tmp_path / "night.toml",), ("dim-line",), ("dim-line",), ("dim-line", "--seed", 3))
    )
    assert clean == none
    assert night["map50"] < clean["map50"] - 0.2
    assert (night["camera"]["name"], night["camera"]["seed"]) == ("night", 0)
    assert dim == again
    assert dim != other
    assert edgewright(*words[:-1]).json == {**clean, "camera": None}
    edgewright(*words, "phone").assert_refused(2, "there is no camera 'phone'")


def test_the_table_says_which_camera(edgewright, tiny_model, tiny_data):
    out = edgewright("eval", tiny_model, "--data", tiny_data, "--camera", "cheap-usb").out
    assert "seen through cheap-usb" in " ".join(out.split())  # a title is as wide as its table
