"""Pictures alone: what the names of folders say, and what is said where something is odd."""

import pytest

from edgewright.data import folder
from edgewright.data.dataset import open_dataset
from edgewright.data.folder import split_named
from edgewright.errors import DataError
from tiny_dataset import grey_picture


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("TRAIN", "train"),
        ("train2017", "train"),
        ("instances_train2017", "train"),
        ("valid", "val"),
        ("validation", "val"),
        ("my-val.set", "val"),
        ("test", "test"),
        ("trainval", None),
        ("train_val", None),
        ("portrait", None),
        ("valve", None),
        ("testimony", None),
        ("", None),
    ],
)
def test_a_name_says_its_split_or_nothing(name, split):
    assert split_named(name) == split


def test_a_folder_without_labels_has_no_classes_and_nothing_to_be_found(tmp_path):
    for name in ("train/a.png", "train/deep/b.jpg", "validation/c.bmp"):
        grey_picture(tmp_path / name)
    dataset = open_dataset(tmp_path)
    assert (dataset.labelled, dataset.classes, dataset.warnings) == (False, (), ())
    assert [sample.image.name for sample in dataset.split("train")] == ["a.png", "b.jpg"]
    [sample] = dataset.split("val")
    assert sample.files == (sample.image,)
    [picture] = dataset.stream([sample])
    assert picture.truth.boxes_xyxy.shape == (0, 4)
    assert len(picture.truth.crowd) == len(picture.truth.areas) == len(sample.class_ids(0)) == 0


def test_only_test_pictures_are_judged_on(tmp_path):
    grey_picture(tmp_path / "test/a.png")
    dataset = open_dataset(tmp_path)
    assert dataset.split("val") == dataset.split("test")
    assert "its test split is taken for it" in dataset.warnings[0]


def test_masks_beside_photographs_are_left_out(tmp_path):
    for name in ("MT_Blowhole/Imgs/a.jpg", "MT_Blowhole/Imgs/a.png", "MT_Free/Imgs/b.jpg", "MT_Free/Imgs/b.png", "masks/c.png"):
        grey_picture(tmp_path / name)
    dataset = open_dataset(tmp_path)
    assert sorted(sample.image.name for sample in dataset.split("all")) == ["a.jpg", "b.jpg"]
    assert "2 PNG files" in dataset.warnings[0]


def test_one_photograph_saved_twice_is_no_mask(tmp_path):
    for name in ("a.jpg", "a.png", "b.jpg"):
        grey_picture(tmp_path / name)
    assert len(open_dataset(tmp_path).split("all")) == 3


@pytest.mark.parametrize("labels_at", ["labels/train/a.txt", "images/train/a.txt"])
def test_text_labels_without_a_yaml_are_not_taken_for_no_labels(tmp_path, labels_at):
    grey_picture(tmp_path / "images/train/a.png")
    (tmp_path / labels_at).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / labels_at).write_text("0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(DataError, match=r"nothing says what the classes are called; got 1 \.txt files"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(("name", "text"), [("train_annos.json", "[]"), ("a.json", '{"shapes": []}'), ("labels.csv", "a,b")])
def test_labels_nobody_knows_are_named(tmp_path, name, text):
    grey_picture(tmp_path / "a.png")
    (tmp_path / name).write_text(text)
    dataset = open_dataset(tmp_path)
    assert not dataset.labelled
    assert name in dataset.warnings[0]


def test_a_folder_of_something_else_says_what_it_holds(tmp_path):
    (tmp_path / "words.txt").write_text("words")
    with pytest.raises(DataError, match=r"is not a data set; got 1 files, such as words\.txt; expected a data\.yaml, a COCO json"):
        open_dataset(tmp_path)


def test_a_whole_disk_is_no_data_set(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "MOST_FILES", 3)
    for number in range(4):
        grey_picture(tmp_path / f"{number}.png")
    with pytest.raises(DataError, match="holds more than 3 files"):
        open_dataset(tmp_path)
