"""`edgewright eval`: the COCO figures as the contract names them."""

import pytest

from tiny_dataset import write_tiny_dataset

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
    edgewright("eval", tiny_model, "--data", tiny_data, "--split", "test", "--quiet").assert_refused(2, "no split 'test'", "train, val")


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
