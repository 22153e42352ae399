"""A data.yaml as people write it, and labels as tools leave them."""

import os
import shutil
import sys

import numpy as np
import pytest

from edgewright.artifact import sha256_of
from edgewright.data.dataset import Sample, YoloText, open_dataset, part_train_from_val
from edgewright.errors import DataError
from tiny_dataset import grey_picture, write_tiny_coco_json, write_tiny_dataset, write_tiny_voc

CLASSES = 3
SIZE_WH = (200, 100)


def yaml(folder, text, *, at="data.yaml"):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / at
    path.write_text(text)
    return path


def truth_of(tmp_path, text):
    (tmp_path / "a.txt").write_text(text)
    return Sample(tmp_path / "a.jpg", YoloText(tmp_path / "a.txt")).truth(SIZE_WH, CLASSES)


# --- the yaml ---------------------------------------------------------------------------------------------------------------------------


def test_path_is_relative_to_the_yaml_s_own_folder(tmp_path, monkeypatch):
    grey_picture(tmp_path / "set/pictures/images/a.png")
    path = yaml(tmp_path / "set", "path: pictures\nval: images\nnames: [x]\n")
    monkeypatch.chdir("/")
    assert [sample.image.name for sample in open_dataset(path).split("val")] == ["a.png"]


def test_without_path_splits_lie_beside_the_yaml(tmp_path):
    grey_picture(tmp_path / "images/val/a.png")
    assert len(open_dataset(yaml(tmp_path, "val: images/val\nnames: [x]\n")).split("val")) == 1


def test_a_folder_stands_for_its_data_yaml(tmp_path):
    write_tiny_dataset(tmp_path, train=1, val=2)
    assert len(open_dataset(tmp_path).split("val")) == 2


@pytest.mark.parametrize("names", ["[cat, dog]", "{0: cat, 1: dog}", "{1: dog, 0: cat}"])
def test_names_are_a_list_or_a_mapping(tmp_path, names):
    grey_picture(tmp_path / "images/a.png")
    assert open_dataset(yaml(tmp_path, f"val: images\nnames: {names}\n")).classes == ("cat", "dog")


@pytest.mark.parametrize("names", ["", "cat", "[]", "{1: cat}", "{0: cat, 2: dog}", "{a: cat}", "{0: cat, b: dog}", "[[cat]]"])
def test_names_that_number_nothing_are_refused(tmp_path, names):
    grey_picture(tmp_path / "images/a.png")
    with pytest.raises(DataError, match="no usable names"):
        open_dataset(yaml(tmp_path, f"val: images\nnames: {names}\n"))


def test_splits_may_be_folders_lists_of_them_and_text_files(tmp_path):
    for name in ("one/images/a.png", "two/images/b.jpg", "three/images/c.png"):
        grey_picture(tmp_path / name)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/val.txt").write_text("../three/images/c.png\n\n" + str(tmp_path / "one/images/a.png") + "\n")
    dataset = open_dataset(yaml(tmp_path, "train: [one/images, two/images]\nval: lists/val.txt\nnames: [x]\n"))
    assert [sample.image.name for sample in dataset.split("train")] == ["a.png", "b.jpg"]
    assert [sample.image.name for sample in dataset.split("val")] == ["c.png", "a.png"]
    assert dataset.split("val")[0].labels.path == tmp_path / "three/labels/c.txt"


def test_labels_lie_beside_the_last_folder_called_images(tmp_path):
    grey_picture(tmp_path / "images/images/val/a.b.png")
    [sample] = open_dataset(yaml(tmp_path, "val: images/images\nnames: [x]\n")).split("val")
    assert sample.labels.path == tmp_path / "images/labels/val/a.b.txt"


def test_other_files_among_the_pictures_are_passed_over_and_the_order_is_fixed(tmp_path):
    for name in ("b.png", "a.PNG", "sub/c.jpeg"):
        grey_picture(tmp_path / "images" / name)
    for name in ("Thumbs.db", "a.txt", ".DS_Store"):
        (tmp_path / "images" / name).write_bytes(b"no picture")
    samples = open_dataset(yaml(tmp_path, "val: images\nnames: [x]\n")).split("val")
    assert [sample.image.name for sample in samples] == ["a.PNG", "b.png", "c.jpeg"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("val: nowhere\nnames: [x]\n", "nothing at"),
        ("val: empty\nnames: [x]\n", "holds no pictures"),
        ("train: images\nnames: [x]\n", "names no validation images"),
        ("- a\n- b\n", "is not a data set"),
        ("just words", "is not a data set"),
        ("", "is not a data set"),
        ("val: [unclosed\n", "is not YAML"),
        ("val: !!python/object/apply:os.system ['true']\n", "is not YAML"),
        ("val: images\nnames: [x]\ntrain: gone\n", "nothing at"),
        ("val: 7\nnames: [x]\n", "nothing at"),
        ('path: "a\\0b"\nval: images\nnames: [x]\n', "nothing at"),
        ("val: binary.txt\nnames: [x]\n", "bytes that are no text"),
    ],
)
def test_a_wrong_yaml_is_one_clear_sentence(tmp_path, text, said):
    grey_picture(tmp_path / "images/a.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError) as caught:
        open_dataset(yaml(tmp_path, text))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["absent.yaml", "folder", "words.txt", "words"])
def test_what_is_no_yaml_file_is_refused(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "words.txt").write_text("val: images")
    (tmp_path / "words").write_text("val: images")
    with pytest.raises(DataError, match="is not a data set"):
        open_dataset(tmp_path / name)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "data.yaml").write_bytes(b"\xff\xfe\x00val")
    with pytest.raises(DataError, match="is not YAML"):
        open_dataset(tmp_path / "data.yaml")


def test_an_unknown_split_lists_the_known_ones(tmp_path):
    dataset = open_dataset(write_tiny_dataset(tmp_path, train=1, val=1))
    with pytest.raises(DataError, match="no split 'test'; expected one of train, val, all"):
        dataset.split("test")


# --- labels -----------------------------------------------------------------------------------------------------------------------------


def test_boxes_come_out_in_pixels(tmp_path):
    truth = truth_of(tmp_path, "2 0.5 0.5 0.5 0.2\n0 0.1 0.1 0.2 0.2\n")
    assert truth.class_ids.tolist() == [2, 0]
    assert truth.boxes_xyxy == pytest.approx(np.array([[50, 40, 150, 60], [0, 0, 40, 20]]), abs=1e-4)


def test_a_polygon_is_its_outline(tmp_path):
    truth = truth_of(tmp_path, "1 0.1 0.2 0.5 0.2 0.3 0.8\n")
    assert truth.boxes_xyxy == pytest.approx(np.array([[20, 20, 100, 80]]), abs=1e-4)


@pytest.mark.parametrize("text", ["", "\n\n  \n"])
def test_an_empty_label_file_is_a_negative(tmp_path, text):
    assert truth_of(tmp_path, text).boxes_xyxy.shape == (0, 4)


def test_a_missing_label_file_is_a_negative(tmp_path):
    truth = Sample(tmp_path / "a.jpg", YoloText(tmp_path / "none.txt")).truth(SIZE_WH, CLASSES)
    assert (truth.boxes_xyxy.shape, truth.class_ids.shape) == ((0, 4), (0,))


def test_a_box_written_twice_counts_once(tmp_path):
    row = "1 0.5 0.5 0.1 0.1"
    assert truth_of(tmp_path, f"{row}\n{row}\n  {row}  \n0 0.5 0.5 0.1 0.1\n").class_ids.tolist() == [1, 0]


@pytest.mark.parametrize(
    "line",
    [
        "3 0.5 0.5 0.1 0.1",  # no such class
        "-1 0.5 0.5 0.1 0.1",
        "1.5 0.5 0.5 0.1 0.1",
        "1 0.5 0.5 0.1",  # too few
        "1 0.5 0.5 -0.1 0.1",
        "1 0.5 0.5 nan 0.1",
        "1 0.5 0.5 inf 0.1",
        "1 320 240 64 64",  # pixels, not shares
        "cat 0.5 0.5 0.1 0.1",
        "1,0.5,0.5,0.1,0.1",
    ],
)
def test_a_line_that_is_no_box_is_named(tmp_path, line):
    with pytest.raises(DataError) as caught:
        truth_of(tmp_path, f"1 0.5 0.5 0.1 0.1\n\n{line}\n")
    assert "a.txt line 3 is no box" in caught.value.what
    assert line in caught.value.got
    assert "class 0..2" in caught.value.expected


def test_labels_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe1 0.5")
    with pytest.raises(DataError, match="bytes that are no text"):
        Sample(tmp_path / "a.jpg", YoloText(tmp_path / "a.txt")).class_ids(CLASSES)


# --- the stream -------------------------------------------------------------------------------------------------------------------------


def test_the_stream_gives_pictures_with_their_truth(tmp_path):
    dataset = open_dataset(write_tiny_dataset(tmp_path, train=2, val=8))
    pictures = list(dataset.stream(dataset.split("val")))
    assert len(pictures) == 8
    for each in pictures[:7]:
        left, top, right, bottom = each.truth.boxes_xyxy[0].round().astype(int)
        inside = each.image_rgb[top:bottom, left:right].reshape(-1, 3).mean(axis=0)
        assert inside.argmax() == each.truth.class_ids[0]  # red, green, blue
    assert len(pictures[7].truth.class_ids) == 0


def test_a_broken_picture_is_named_and_passed_over_where_that_is_asked_for(tmp_path):
    dataset = open_dataset(write_tiny_dataset(tmp_path, train=1, val=3))
    samples = dataset.split("val")
    samples[1].image.write_bytes(b"no picture")
    broken: list[str] = []
    assert [each.sample for each in dataset.stream(samples, broken=broken)] == [samples[0], samples[2]]
    assert len(broken) == 1
    assert "0001.png" in broken[0]
    with pytest.raises(DataError, match="not a picture"):
        list(dataset.stream(samples))


def test_an_opened_data_set_holds_names_and_no_pictures(tmp_path):
    dataset = open_dataset(write_tiny_dataset(tmp_path, train=20, val=1))
    for sample in dataset.split("train"):
        sample.image.unlink()
        sample.labels.path.unlink(missing_ok=True)
    assert len(dataset.split("train")) == 20, "opening reads folders, not files"
    assert set(Sample.__dataclass_fields__) == {"image", "labels"}
    assert sys.getsizeof(dataset.split("train")[0]) < 100


def test_real_data_sets_open(test_data):
    for name, classes, val in (("coco", 80, 128), ("deeppcb", 6, 500)):
        dataset = open_dataset(test_data / name / "data.yaml")
        assert (len(dataset.classes), len(dataset.split("val"))) == (classes, val)
        assert any(len(sample.class_ids(classes)) for sample in dataset.split("val")[:20])


def test_a_picture_in_train_and_val_is_left_in_one_of_them(tmp_path):
    path = write_tiny_dataset(tmp_path, train=24, val=4)
    path.write_text(path.read_text().replace("val: images/val", "val: images/train"))
    whole = open_dataset(path)
    parted, shared = part_train_from_val(whole)
    train, val = ({sample.image for sample in parted.split(name)} for name in ("train", "val"))
    assert shared == 24
    assert not train & val
    assert train | val == {sample.image for sample in whole.split("train")}
    assert train
    assert val
    assert part_train_from_val(parted) == (parted, 0)


# --- one view -----------------------------------------------------------------------------------------------------------------------------


def truths(dataset, split):
    """Class names and boxes of every picture of a split, by the picture's bytes."""
    return {
        sha256_of(each.sample.image): sorted(
            (dataset.classes[cls], *box) for cls, box in zip(each.truth.class_ids, each.truth.boxes_xyxy.round(3).tolist(), strict=True)
        )
        for each in dataset.stream(dataset.split(split))
    }


@pytest.mark.parametrize("write", [write_tiny_coco_json, write_tiny_voc])
def test_every_format_tells_the_same_truth(tmp_path, write):
    yolo, other = (
        open_dataset(write_tiny_dataset(tmp_path / "yolo", train=9, val=8)),
        open_dataset(write(tmp_path / "other", train=9, val=8)),
    )
    assert set(other.classes) == set(yolo.classes)
    assert other.labelled
    for split in ("train", "val", "all"):
        assert truths(other, split) == truths(yolo, split)
        assert len(other.split(split)) == len(yolo.split(split))


@pytest.mark.parametrize("write", [write_tiny_coco_json, write_tiny_voc, write_tiny_dataset])
def test_a_broken_picture_is_named_and_counted_in_every_format(tmp_path, write):
    write(tmp_path, train=2, val=4)
    dataset = open_dataset(tmp_path)
    samples = dataset.split("val")
    samples[2].image.write_bytes(b"no picture")
    broken: list[str] = []
    assert len(list(dataset.stream(samples, broken=broken))) == 3
    assert len(broken) == 1
    assert samples[2].image.name in broken[0]


@pytest.mark.parametrize("write", [write_tiny_coco_json, write_tiny_voc, write_tiny_dataset])
def test_a_sample_names_every_file_its_truth_depends_on(tmp_path, write):
    write(tmp_path, train=2, val=1)
    [sample] = open_dataset(tmp_path).split("val")
    image, labels = sample.files
    before = sample.class_ids(CLASSES).tolist()
    assert image == sample.image
    assert labels.is_file()
    assert labels.suffix in (".txt", ".json", ".xml")
    assert sample.truth((64, 64), CLASSES).class_ids.tolist() == before


def test_classes_are_read_without_opening_the_picture(tmp_path):
    for write in (write_tiny_coco_json, write_tiny_voc, write_tiny_dataset):
        folder = tmp_path / write.__name__
        write(folder, train=3, val=3)
        dataset = open_dataset(folder)
        seen = {dataset.classes[cls] for sample in dataset.split("train") for cls in _ids_without(sample)}
        assert seen == {"red", "green", "blue"}


def _ids_without(sample):
    sample.image.unlink()
    return sample.class_ids(CLASSES).tolist()


def test_all_holds_every_picture_once(tmp_path):
    path = write_tiny_dataset(tmp_path, train=3, val=2)
    path.write_text(path.read_text() + "test: images/val\n")
    assert len(open_dataset(path).split("all")) == 5


# --- splitting --------------------------------------------------------------------------------------------------------------------------


def greys(folder, count):
    return [grey_picture(folder / f"{number:03}.png", level=number, size_wh=(8 + number // 256, 8)) for number in range(count)]


def test_what_names_no_splits_is_split_by_digest_whatever_the_names_and_the_place(tmp_path):
    greys(tmp_path / "here", 60)
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    for path in sorted((tmp_path / "there").iterdir()):
        path.rename(path.with_name(f"x{path.stem[::-1]}.png"))
    here, there = open_dataset(tmp_path / "here"), open_dataset(tmp_path / "there")
    for split in ("train", "val"):
        digests = [{sha256_of(sample.image) for sample in each.split(split)} for each in (here, there)]
        assert digests[0] == digests[1]
        assert len(digests[0]) > 15
    assert "names no splits" in here.warnings[0]
    assert {sample.image for sample in here.split("train")}.isdisjoint(sample.image for sample in here.split("val"))
    assert len(here.split("all")) == 60


def test_a_picture_more_moves_no_other(tmp_path):
    greys(tmp_path / "a", 30)
    before = {sample.image for sample in open_dataset(tmp_path / "a").split("train")}
    greys(tmp_path / "a", 31)
    assert before <= {sample.image for sample in open_dataset(tmp_path / "a").split("train")}


def test_copies_of_a_picture_are_on_the_same_side(tmp_path):
    for path in greys(tmp_path / "a", 20):
        shutil.copy(path, path.with_name(f"copy-{path.name}"))
    dataset = open_dataset(tmp_path / "a")
    train, val = ({sha256_of(sample.image) for sample in dataset.split(name)} for name in ("train", "val"))
    assert train.isdisjoint(val)


def test_a_yaml_with_val_alone_is_judged_whole_and_divided_for_fitting(tmp_path):
    path = write_tiny_dataset(tmp_path, train=1, val=24)
    path.write_text(path.read_text().replace("train: images/train\n", ""))
    whole = open_dataset(path)
    assert (list(whole.splits), len(whole.split("val")), whole.warnings) == (["val"], 24, ())
    parted, shared = part_train_from_val(whole)
    train, val = ({sample.image for sample in parted.split(name)} for name in ("train", "val"))
    assert (shared, len(train) + len(val), train & val) == (0, 24, set())
    assert min(len(train), len(val)) > 4
    assert "only a split 'val'" in parted.warnings[0]


def test_path_may_be_relative_to_the_current_folder(tmp_path, monkeypatch):
    grey_picture(tmp_path / "sets/x/images/a.png")
    path = yaml(tmp_path / "configs", "path: sets/x\nval: images\nnames: [x]\n")
    with pytest.raises(DataError, match="nothing at"):
        open_dataset(path)
    monkeypatch.chdir(tmp_path)
    assert open_dataset(path).split("val")[0].image == tmp_path / "sets/x/images/a.png"


def test_roboflow_s_dots_are_forgiven(tmp_path):
    grey_picture(tmp_path / "set/valid/images/a.png")
    [sample] = open_dataset(yaml(tmp_path / "set", "val: ../valid/images\nnames: [x]\n")).split("val")
    assert sample.labels.path == tmp_path / "set/valid/labels/a.txt"


def test_the_only_yaml_of_a_folder_will_do(tmp_path):
    write_tiny_dataset(tmp_path, train=1, val=2).rename(tmp_path / "coco128.yml")
    (tmp_path / "training.yaml").write_text("epochs: 3\n")
    assert open_dataset(tmp_path).source.name == "coco128.yml"


@pytest.mark.parametrize("write", [write_tiny_coco_json, write_tiny_voc, write_tiny_dataset])
def test_a_set_in_a_folder_in_a_folder_is_found(tmp_path, write):
    (tmp_path / "outer/inner").mkdir(parents=True)
    (tmp_path / "outer/__MACOSX").mkdir()
    write(tmp_path / "outer/inner/set", train=2, val=3)
    assert len(open_dataset(tmp_path / "outer").split("val")) == 3


# --- a yaml from a stranger -------------------------------------------------------------------------------------------------------------

SOUND = "val: images\nnames: [x]\n"
LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 40))  # 9^39 words
BOMBS = {
    "a billion laughs as names": (LAUGHS + "val: images\nnames: *a39\n", "has no usable names:; got a list of 9"),
    "a billion laughs as val": (LAUGHS + "val: *a39\nnames: [x]\n", "has no usable val:; got a list of 9 among them"),
    "a billion laughs as path": (LAUGHS + "path: *a39\n" + SOUND, "has no usable path:; got a list of 9"),
    "names that hold themselves": ("val: images\nnames: &n [*n]\n", "no usable names:; got a list of 1"),
    "lists without end": (SOUND + "z: " + "[" * 100_000, "nested more than 16 deep"),
    "mappings without end": (SOUND + "z: " + "{a: " * 100_000, "nested more than 16 deep"),
    "dashes without end": ("- " * 100_000, "nested more than 16 deep"),
    "a number of a million bits": ("val: images\nnames: [0x" + "f" * 900_000 + "]\n", "name is too long; got 900002 characters"),
    "a path that is such a number": ("path: 0x" + "f" * 900_000 + "\n" + SOUND, "nothing at"),
    "sixty to the power of a million": ("val: images\nnames: [1" + ":59" * 300_000 + "]\n", "name is too long"),
    "an empty integer": ("val: images\nnames: [!!int '']\n", "the tag 'tag:yaml.org,2002:int'"),
    "a truth that is none": ("val: images\nnames: [!!bool perhaps]\n", "the tag 'tag:yaml.org,2002:bool'"),
    "a time that is none": ("val: images\nnames: [!!timestamp never]\n", "the tag 'tag:yaml.org,2002:timestamp'"),
    "bytes": ("val: images\nnames: [!!binary aGk=]\n", "the tag 'tag:yaml.org,2002:binary'"),
    "Python": ("val: images\nnames: !!python/object/apply:os.abort []\n", "the tag 'tag:yaml.org,2002:python/object/apply:os.abort'"),
    "a merge": ("b: &b {names: [x]}\n<<: *b\nval: images\n", "a merge key, <<"),
    "a key twice": (SOUND + SOUND, "the key 'val' twice"),
    "a class number twice": ("val: images\nnames: {0: a, 0: b}\n", "the key '0' twice"),
    "a key that is a list": ("? [a]\n: b\n" + SOUND, "a key that is no text"),
    "two documents": (SOUND + "---\n" + SOUND, "more than one document"),
    "sixty thousand directives": ("".join(f"%TAG !a{n}! b\n" for n in range(60_000)) + "---\n" + SOUND, "more than 8 directives"),
    "an alias to nothing": ("val: images\nnames: *gone\n", "an alias to 'gone', which is nowhere"),
    "a hundred thousand classes": ("val: images\nnames:\n" + "- a\n" * 100_000, "too many classes; got 100000; expected at most 10000"),
    "a hundred thousand folders": ("names: [x]\nval:\n" + "- images\n" * 100_000, "has no usable val:; got 100000 of them"),
    "a null character": (SOUND + "\0", "is not YAML"),
    "a terminal sequence": (SOUND + "z: \x1b[2J", "is not YAML"),
    "a key that is one": (r'"\e[2J": x' + "\nnames: [x]\n", r"keys \x1b[2J, names"),
    "a path that is one": (r'val: "\e]0;owned\a"' + "\nnames: [x]\n", r"nothing at"),
    "a name longer than any": ("names: [x]\nval: " + "a" * 5000 + "\n", "nothing at"),
    "a loop of links": ("names: [x]\nval: loop\n", "nothing at"),
    "below a file": ("names: [x]\nval: images/a.png/b\n", "nothing at"),
    "a pipe": ("names: [x]\nval: pipe.txt\n", "nothing at"),
    "a list that names the root": ("names: [x]\nval: root.txt\n", "line 1 is no file name"),
    "a list with a null character": ("names: [x]\nval: null.txt\n", r"line 2 is no file name; got 'a\x00.png'"),
}


@pytest.mark.parametrize("loader", ["in C", "in Python"])
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_yaml_bomb_is_one_sentence(tmp_path, monkeypatch, bomb, loader):
    if loader == "in Python":
        if len(BOMBS[bomb][0]) > 400_000:
            pytest.skip("the loader in Python reads some hundred kilobytes a second")
        monkeypatch.delattr("yaml.CSafeLoader", raising=False)
    grey_picture(tmp_path / "images/a.png")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "root.txt").write_text("/\n")
    (tmp_path / "null.txt").write_text("images/a.png\na\0.png\n")
    text, said = BOMBS[bomb]
    with pytest.raises(DataError) as caught:
        open_dataset(yaml(tmp_path, text))
    assert said in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 2000


def test_words_of_a_yaml_are_what_is_written(tmp_path):
    grey_picture(tmp_path / "images/a.png")
    names = "[no, 'null', 007, 2.50, 2020-01-01, 1:30, \"a\\tb\", 0x10, *a]"
    text = f"train: &a images\nval: *a\ntest: ~\nnames: {names}\n"
    dataset = open_dataset(yaml(tmp_path, "\ufeff%YAML 1.1\n---\n" + text))
    assert dataset.classes == ("no", "null", "007", "2.50", "2020-01-01", "1:30", "a\tb", "0x10", "images")
    assert set(dataset.splits) == {"train", "val"}
    assert open_dataset(yaml(tmp_path, 'val: images\nnames: {"0": a, 1: b}\n')).classes == ("a", "b")
    for null in ("[null]", "[~]", "[a, ]  \n- b"):
        with pytest.raises(DataError):
            open_dataset(yaml(tmp_path, f"val: images\nnames: {null}\n"))


def test_a_list_names_pictures_by_links_whose_labels_lie_beside_the_link(tmp_path):
    kept = grey_picture(tmp_path / "store/photo.png")
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.png").symlink_to(kept)
    (tmp_path / "val.txt").write_text("./images/../images/a.png\n")
    sample = open_dataset(yaml(tmp_path, "val: val.txt\nnames: [x]\n")).split("val")[0]
    assert (sample.image, sample.labels.path) == (tmp_path / "images/a.png", tmp_path / "labels/a.txt")


@pytest.mark.parametrize("label", ["pipe", "folder"])
def test_labels_that_are_no_file_are_said_and_not_waited_for(tmp_path, label):
    grey_picture(tmp_path / "images/a.png")
    (tmp_path / "labels").mkdir()
    os.mkfifo(tmp_path / "labels/a.txt") if label == "pipe" else (tmp_path / "labels/a.txt").mkdir()
    with pytest.raises(DataError, match=r"a\.txt cannot be read; got not a regular file"):
        open_dataset(yaml(tmp_path, SOUND)).split("val")[0].class_ids(1)


def test_a_hundred_thousand_boxes_are_too_many_and_ten_thousand_classes_no_matter(tmp_path):
    grey_picture(tmp_path / "images/a.png")
    labels = tmp_path / "labels/a.txt"
    labels.parent.mkdir()
    labels.write_text("9999 .5 .5 .1 .1\n" * 20_000)
    sample = open_dataset(yaml(tmp_path, SOUND)).split("val")[0]
    assert sample.class_ids(10_000).tolist() == [9999]
    labels.write_text("0 .5 .5 .1 .1\n" * 100_001)
    with pytest.raises(DataError, match="too many boxes for a picture; got 100001 lines"):
        sample.class_ids(1)


@pytest.mark.parametrize("row", ["0.5 .5 .5 .1 .1", "1 .5 .5 .1 .1", "-1 .5 .5 .1 .1", "1e300 .5 .5 .1 .1", "0 .5 .5 .1 1e999"])
def test_a_class_is_a_whole_number_below_their_count(tmp_path, row):
    grey_picture(tmp_path / "images/a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text(row)
    with pytest.raises(DataError, match="line 1 is no box"):
        open_dataset(yaml(tmp_path, SOUND)).split("val")[0].class_ids(1)


def test_folders_in_folders_without_end_are_walked_so_far_and_no_further(tmp_path):
    here = tmp_path / "set"
    here.joinpath(*["d"] * 140).mkdir(parents=True)  # a few hundred more, and Python's own walk dies of them
    with pytest.raises(DataError, match="folders more than 64 deep"):
        open_dataset(here)
    with pytest.raises(DataError, match="folders more than 64 deep"):
        open_dataset(yaml(tmp_path, "val: set\nnames: [x]\n"))
    (tmp_path / "round").mkdir()
    (tmp_path / "round/a").symlink_to(tmp_path / "round")
    with pytest.raises(DataError, match="is not a data set"):
        open_dataset(tmp_path / "round")


def test_names_on_the_disk_are_shown_escaped(tmp_path):
    folder = tmp_path / "a\x1b[2Jb"
    grey_picture(folder / "images/a.png")
    (folder / "data.yaml").write_text("val: nowhere\nnames: [x]\n")
    for path in (folder, folder / "data.yaml", folder / "gone\n.yaml"):
        with pytest.raises(DataError) as caught:
            open_dataset(path)
        assert str(caught.value).isprintable()
