"""COCO json as tools leave it: sparse ids, crowds, dummies, doubles, and pictures in every other folder."""

import json
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgewright.data import coco_json
from edgewright.data.dataset import open_dataset
from edgewright.errors import DataError
from tiny_dataset import grey_picture, write_tiny_coco_json

CATS = [{"id": 7, "name": "cat"}, {"id": 90, "name": "dog"}]
IMAGE = {"id": 5, "file_name": "a.png", "width": 8, "height": 8}


def box(xywh, *, category=7, image=5, **more):
    return {"id": 1, "image_id": image, "category_id": category, "bbox": xywh, **more}


def write_json(folder, annotations=(), *, at="val.json", images=(IMAGE,), categories=CATS):
    path = folder / at
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": list(images), "annotations": list(annotations), "categories": list(categories)}))
    return path


def one(tmp_path, annotations, **parts):
    """The data set of one picture and its truth."""
    grey_picture(tmp_path / "a.png")
    dataset = open_dataset(write_json(tmp_path, annotations, **parts))
    return dataset, dataset.split("val")[0].truth((8, 8), 2)


# --- boxes ------------------------------------------------------------------------------------------------------------------------------


def test_boxes_crowds_and_areas_come_through(tmp_path):
    rows = [box([1, 2, 3, 4], category=90, area=5.5), box([0, 0, 2, 2], iscrowd=1), box([0.5, 0, 2, 2], area=0)]
    dataset, truth = one(tmp_path, rows)
    assert dataset.classes == ("cat", "dog")
    assert truth.boxes_xyxy.tolist() == [[1, 2, 4, 6], [0, 0, 2, 2], [0.5, 0, 2.5, 2]]
    assert truth.boxes_xyxy.dtype == truth.areas.dtype == np.float32
    assert truth.class_ids.tolist() == [1, 0, 0]
    assert truth.crowd.tolist() == [False, True, False]
    assert truth.areas.tolist() == [5.5, 4, 4]
    assert dataset.split("val")[0].class_ids(2).tolist() == [1, 0], "a crowd is nothing to be found"
    assert dataset.warnings == ()


def test_classes_come_in_the_order_of_their_ids(tmp_path):
    categories = [{"id": 30, "name": "c"}, {"id": 2, "name": "a"}, {"id": 11, "name": "b"}]
    dataset, truth = one(tmp_path, [box([0, 0, 1, 1], category=30)], categories=categories)
    assert dataset.classes == ("a", "b", "c")
    assert truth.class_ids.tolist() == [2]


ROBOFLOW = [
    {"id": 0, "name": "tiles", "supercategory": "none"},
    {"id": 1, "name": "crack", "supercategory": "tiles"},
    {"id": 2, "name": "hole", "supercategory": "tiles"},
]


def test_roboflow_s_dummy_category_shifts_no_class(tmp_path):
    dataset, truth = one(tmp_path, [box([0, 0, 1, 1], category=1)], categories=ROBOFLOW)
    assert dataset.classes == ("crack", "hole")
    assert truth.class_ids.tolist() == [0]


def test_a_dummy_that_bears_the_name_of_its_only_class_goes_too(tmp_path):
    categories = [{"id": 0, "name": "crack", "supercategory": "none"}, {"id": 1, "name": "crack", "supercategory": "crack"}]
    dataset, truth = one(tmp_path, [box([0, 0, 1, 1], category=1)], categories=categories)
    assert (dataset.classes, truth.class_ids.tolist()) == (("crack",), [0])


def test_a_heading_that_is_used_is_a_class(tmp_path):
    assert one(tmp_path, [box([0, 0, 1, 1], category=0)], categories=ROBOFLOW)[0].classes == ("tiles", "crack", "hole")


def test_an_unused_class_that_heads_only_some_stays(tmp_path):
    categories = [*ROBOFLOW, {"id": 3, "name": "dog", "supercategory": "animal"}]
    assert len(one(tmp_path, [], categories=categories)[0].classes) == 4


@pytest.mark.parametrize(
    ("rows", "left", "said"),
    [
        ([box([0, 0, 0, 3]), box([0, 0, 3, 0]), box([0, 0, 1, 1])], 1, "2 boxes"),
        ([box([0, 0, 1, 1]), box([0, 0, 1, 1]), box([0, 0, 1, 1], category=90)], 2, "1 boxes"),
        ([box([0, 0, 1, 1], image=404), box([0, 0, 1, 1])], 1, "belong to no picture"),
        ([box([0, 0, 1, 1], image=None), box([0, 0, 1, 1])], 1, "belong to no picture"),
    ],
)
def test_what_cannot_be_used_is_left_out_and_counted(tmp_path, rows, left, said):
    dataset, truth = one(tmp_path, rows)
    assert len(truth.class_ids) == left
    assert len(dataset.warnings) == 1
    assert said in dataset.warnings[0]


@pytest.mark.parametrize(
    "bbox",
    [[0, 0, float("nan"), 1], [0, float("inf"), 1, 1], [0, 0, -1, 1], [0, 0, 1], [0, 0, 1, "1"], [], None, "0 0 1 1", [0, 0, 10**400, 1]],
)
def test_a_box_that_is_none_is_refused(tmp_path, bbox):
    with pytest.raises(DataError, match="has no usable bbox") as caught:
        one(tmp_path, [box(bbox)])
    assert "\n" not in str(caught.value)


def test_a_box_of_a_category_that_is_not_listed_is_refused(tmp_path):
    with pytest.raises(DataError, match="a category it does not list; got category_id 8"):
        one(tmp_path, [box([0, 0, 1, 1], category=8)])


# --- the file ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "not a COCO detection json"),
        ("7", "not a COCO detection json"),
        ('{"images": [], "annotations": []}', "got no list of categories"),
        ('{"images": {}, "annotations": [], "categories": []}', "got no list of images"),
        ('{"images": [1], "annotations": [], "categories": []}', "not a COCO detection json"),
        ('{"images": [], "annotations": [], "categories": []}', "names no categories"),
        ('{"images": [], "annotations": [], "categories": [{"id": "x", "name": "a"}]}', "without a number or name"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}', "two categories"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}]}', "lists no pictures"),
        ('{"images": [{"id": 1}], "annotations": [], "categories": [{"id": 1, "name": "a"}]}', "without an id or file_name"),
        ('{"images": [{"id": 1, "file_name": "b.png"}], "annotations": [], "categories": [{"id": 1, "name": "a"}]}', "got no b.png"),
        ('{"images": [{"id": 1, "file_name": "\\u0000"}], "annotations": [], "categories": [{"id": 1, "name": "a"}]}', "got no \\x00"),
    ],
)
def test_a_wrong_json_is_one_clear_sentence(tmp_path, text, said):
    (tmp_path / "val.json").write_text(text)
    with pytest.raises(DataError) as caught:
        open_dataset(tmp_path / "val.json")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_json_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(coco_json, "MOST_JSON_BYTES", 10)
    (tmp_path / "val.json").write_text(" " * 11)
    with pytest.raises(DataError, match="cannot be read; got more than 10 bytes"):
        open_dataset(tmp_path / "val.json")


def test_an_image_id_of_two_pictures_is_refused_and_a_picture_listed_twice_is_counted(tmp_path):
    grey_picture(tmp_path / "b.png")
    with pytest.raises(DataError, match="image id 5 to two pictures"):
        one(tmp_path, [], images=[IMAGE, {**IMAGE, "file_name": "b.png"}])
    dataset, truth = one(tmp_path, [box([0, 0, 1, 1]), box([0, 0, 2, 2], image=6)], images=[IMAGE, IMAGE, {**IMAGE, "id": 6}])
    assert len(dataset.split("val")) == 1
    assert len(truth.class_ids) == 2
    assert "2 pictures are listed twice" in dataset.warnings[0]


def test_pictures_that_are_not_there_are_counted(tmp_path):
    dataset, _ = one(tmp_path, [], images=[IMAGE, {"id": 6, "file_name": "gone\x1b.png"}])
    assert len(dataset.split("val")) == 1
    assert dataset.warnings[0].endswith(r"lists are not there, such as gone\x1b.png")


def test_labels_drawn_on_a_picture_of_another_size_are_passed_over_and_named(tmp_path):
    dataset, _ = one(tmp_path, [box([0, 0, 1, 1])], images=[{**IMAGE, "width": 9}])
    broken: list[str] = []
    assert list(dataset.stream(dataset.split("val"), broken=broken)) == []
    assert "a.png were drawn on a picture of another size; got 8 x 8 pixels, upright; expected 9 x 8" in broken[0]


@pytest.mark.parametrize("size", [{}, {"width": 0, "height": 0}, {"width": None, "height": "8"}])
def test_a_json_need_not_say_how_large_its_pictures_are(tmp_path, size):
    dataset, _ = one(tmp_path, [box([0, 0, 1, 1])], images=[{"id": 5, "file_name": "a.png", **size}])
    assert len(list(dataset.stream(dataset.split("val")))) == 1


# --- where the pictures are --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("json_at", "picture_at", "file_name"),
    [
        ("val.json", "a.png", "a.png"),
        ("annotations/val.json", "a.png", "a.png"),
        ("annotations/val.json", "images/a.png", "a.png"),
        ("val.json", "images/a.png", "a.png"),
        ("val.json", "images/val/a.png", "a.png"),
        ("json/instances_val.json", "images/valid/a.png", "a.png"),
        ("annotations/instances_val2017.json", "val2017/a.png", "a.png"),
        ("annotations/instances_val2017.json", "images/val2017/a.png", "a.png"),
        ("annotations/instances_val2017.json", "val2017/a.png", "val2017/a.png"),
        ("annotations/val.json", "val/images/a.png", "a.png"),
        ("val.json", "pictures/a.png", "a.png"),
        ("val.json", "a.png", "C:\\label\\a.png"),
        ("val.json", "images/a.png", "/home/someone/a.png"),
        ("val.json", "images/a.png", "../../elsewhere/a.png"),
        ("annotations/val.json", "images/deep/er/a.png", "deep/er/a.png"),
    ],
)
def test_pictures_are_found(tmp_path, json_at, picture_at, file_name):
    root = tmp_path / "set"
    path = grey_picture(root / picture_at)
    dataset = open_dataset(write_json(root, at=json_at, images=[{"id": 5, "file_name": file_name}]))
    assert [sample.image for sample in dataset.split("val")] == [path]


def test_the_folder_of_another_split_is_not_looked_into(tmp_path):
    grey_picture(tmp_path / "train/a.png", level=1)
    with pytest.raises(DataError, match=r"none of the 1 pictures"):
        open_dataset(write_json(tmp_path, at="val.json"))
    path = grey_picture(tmp_path / "val/a.png", level=2)
    assert open_dataset(tmp_path / "val.json").split("val")[0].image == path


def test_a_name_in_two_folders_is_not_guessed(tmp_path):
    for folder in ("one", "two"):
        grey_picture(tmp_path / folder / "a.png")
    with pytest.raises(DataError, match=r"a\.png of .* is in several folders"):
        open_dataset(write_json(tmp_path))


# --- splits -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "splits"),
    [
        ("instances_val2017.json", {"val": 24}),
        ("instances_train.json", {"train": 24}),
        ("test.json", {"test": 24, "val": 24}),
        ("annotations.json", None),
        ("trainval.json", None),
    ],
)
def test_a_single_json_is_the_split_its_name_says_or_is_halved(tmp_path, name, splits):
    pictures = [grey_picture(tmp_path / f"{number}.png", number).name for number in range(24)]
    images = [{"id": number, "file_name": picture} for number, picture in enumerate(pictures)]
    dataset = open_dataset(write_json(tmp_path, at=name, images=images))
    sizes = {split: len(samples) for split, samples in dataset.splits.items()}
    if splits:
        assert sizes == splits
    else:
        assert set(sizes) == {"train", "val"}
        assert min(sizes.values()) > 4
        assert "names no splits" in dataset.warnings[-1]
    assert len(dataset.split("all")) == 24


def test_roboflow_s_folders(tmp_path):
    for split, count in (("train", 3), ("valid", 2), ("test", 1)):
        names = [grey_picture(tmp_path / split / f"{number}.png", number).name for number in range(count)]
        images = [{"id": number, "file_name": name, "width": 8, "height": 8} for number, name in enumerate(names)]
        write_json(
            tmp_path / split, [box([0, 0, 4, 4], category=1, image=0)], at="_annotations.coco.json", images=images, categories=ROBOFLOW
        )
    dataset = open_dataset(tmp_path)
    assert {split: len(samples) for split, samples in dataset.splits.items()} == {"train": 3, "val": 2, "test": 1}
    assert dataset.classes == ("crack", "hole")
    assert all(sample.image.parent.name == "valid" for sample in dataset.split("val"))


def test_coco_s_own_folders_pass_captions_and_keypoints_over(tmp_path):
    write_tiny_coco_json(tmp_path, train=3, val=2)
    for other in ("captions_val.json", "person_keypoints_val.json"):
        (tmp_path / "annotations" / other).write_text("[]")
    assert {split: len(samples) for split, samples in open_dataset(tmp_path).splits.items()} == {"train": 3, "val": 2}


@pytest.mark.parametrize("layout", ["annotations/{}.json", "{}.json", "{}/labels.json", "annotations/tiles_{}_coco.json"])
def test_other_places_for_the_jsons_of_a_folder(tmp_path, layout):
    for split in ("train", "val"):
        grey_picture(tmp_path / split / "a.png", level=len(split))
        write_json(tmp_path, at=layout.format(split), images=[{"id": 5, "file_name": "a.png"}])
    dataset = open_dataset(tmp_path)
    assert {name: samples[0].image for name, samples in dataset.splits.items()} == {
        name: tmp_path / name / "a.png" for name in ("train", "val")
    }


def test_two_jsons_for_one_split_are_refused(tmp_path):
    for name in ("instances_train2014.json", "instances_train2017.json"):
        write_json(tmp_path, at=f"annotations/{name}")
    with pytest.raises(DataError, match="two COCO jsons for the same split"):
        open_dataset(tmp_path)


def test_jsons_with_different_classes_share_one_list(tmp_path):
    for split, cats, used in (("train", CATS, 7), ("val", [{"id": 1, "name": "dog"}, {"id": 2, "name": "eel"}], 1)):
        grey_picture(tmp_path / split / "a.png", level=len(split))
        rows = [box([0, 0, 1, 1], category=used)]
        write_json(tmp_path, rows, at=f"{split}.json", images=[{"id": 5, "file_name": "a.png"}], categories=cats)
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("cat", "dog", "eel")
    assert dataset.split("val")[0].class_ids(3).tolist() == [1]


def test_the_real_json_says_what_the_real_text_files_say(test_data):
    yolo, coco = (open_dataset(test_data / "coco" / name) for name in ("data.yaml", "json/instances_coco128_train.json"))
    assert coco.classes == yolo.classes
    for one, other in zip(coco.split("train"), yolo.split("train"), strict=True):
        size_wh = one.truth((1, 1), 80).drawn_on_wh
        found, expected = one.truth(size_wh, 80), other.truth(size_wh, 80)
        assert one.image.samefile(other.image)
        assert found.class_ids[~found.crowd].tolist() == expected.class_ids.tolist()
        assert found.boxes_xyxy[~found.crowd] == pytest.approx(expected.boxes_xyxy, abs=1e-2)


def test_a_panoptic_json_is_refused_in_a_sentence(test_data):
    with pytest.raises(DataError, match="no usable bbox; got only segments_info"):
        open_dataset(test_data / "coco/json/panoptic_val2017.json")


FOREIGN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.just("a.png"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
ROW = st.dictionaries(
    st.sampled_from(["id", "file_name", "image_id", "category_id", "bbox", "area", "iscrowd", "name", "supercategory", "width"]), FOREIGN
)


@given(*[st.lists(ROW | st.sampled_from([IMAGE, CATS[0], box([0, 0, 1, 1])]), max_size=3) for _part in range(3)])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_any_json_is_a_data_set_or_a_data_error(tmp_path, images, annotations, categories):
    grey_picture(tmp_path / "a.png")
    try:
        dataset = open_dataset(write_json(tmp_path, annotations, images=[*images, IMAGE], categories=[*categories, *CATS]))
    except DataError:
        return
    truth = dataset.split("val")[0].truth((8, 8), len(dataset.classes))
    assert np.isfinite(truth.boxes_xyxy).all()
    assert (truth.areas > 0).all()
    assert len(truth.class_ids) == len(truth.crowd)


# --- a json from a stranger -------------------------------------------------------------------------------------------------------------


def refusal_of(path):
    with pytest.raises(DataError) as caught:
        open_dataset(path)
    said = str(caught.value)
    assert said.isprintable()
    assert len(said) < 2000
    return said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"images": ' + "[" * 100_000, "is not JSON that we read; got maximum recursion depth"),
        ('{"a": ' * 100_000, "is not JSON that we read; got maximum recursion depth"),
        ('{"images": ' + "1" * 1_000_000 + "}", "is not JSON that we read; got Exceeds the limit (4300 digits)"),
        ('{"images": [], "images": []}', "a key stands twice in an object"),
        ("[\x1b[2J", "is not JSON that we read"),
        (b"\xff\xfe\xfd", "is not JSON that we read"),
        ("[" * 3 + "{}," * 10 + "]", "is not JSON that we read; got more than 9 of {"),
    ],
)
def test_a_json_bomb_is_one_sentence(tmp_path, monkeypatch, text, said):
    if "more than" in said:
        monkeypatch.setitem(coco_json.MOST_OF, b"{", 9)
    (tmp_path / "val.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert said in refusal_of(tmp_path / "val.json")


@pytest.mark.parametrize(
    "name",
    [
        "../secret/a.png",
        "../../a.png",
        "/etc/passwd",
        "{outside}",
        "..",
        ".",
        "/",
        "a/..",
        "sub/../../secret/a.png",
        "nul\0l.png",
        "\ud800",
        "x" * 5000,
        "a/" * 3000 + "b.png",
        "~/a.png",
        "\\\\host\\a.png",
        "C:\\a.png",
        "file:///etc/passwd",
        "\x1b]0;owned\x07",
    ],
    ids=ascii,
)
def test_no_name_reaches_out_of_the_folders_round_the_json(tmp_path, name):
    outside = grey_picture(tmp_path / "secret/a.png")
    # Two folders up, for the json's own parent is looked into.
    path = write_json(tmp_path / "sets/one/two", at="val.json", images=[{"id": 5, "file_name": name.format(outside=outside)}])
    assert "none of the 1 pictures" in refusal_of(path)


def test_a_link_in_the_folder_is_followed_and_a_pipe_is_no_picture(tmp_path):
    kept = grey_picture(tmp_path / "store/kept.png")
    folder = tmp_path / "sets/one/two"
    path = write_json(
        folder, images=[{"id": 5, "file_name": "a.png"}, {"id": 6, "file_name": "pipe.png"}, {"id": 7, "file_name": "loop.png"}]
    )
    (folder / "a.png").symlink_to(kept)
    (folder / "loop.png").symlink_to("loop.png")
    os.mkfifo(folder / "pipe.png")
    dataset = open_dataset(path)
    assert [sample.image.name for sample in dataset.split("val")] == ["a.png"]
    assert any("2 of 3 pictures" in line for line in dataset.warnings)


def test_a_pipe_in_place_of_the_json_is_not_waited_for(tmp_path):
    grey_picture(tmp_path / "images/a.png")
    (tmp_path / "annotations").mkdir()
    os.mkfifo(tmp_path / "annotations/instances_val.json")
    assert not open_dataset(tmp_path).labelled
    assert "got a .json file" in refusal_of(tmp_path / "annotations/instances_val.json")


def test_a_hundred_thousand_names_that_are_nowhere_are_looked_for_in_listings(tmp_path, monkeypatch):
    grey_picture(tmp_path / "sets/one/a.png")
    images = [IMAGE, *({"id": 10 + at, "file_name": f"f{at}/{at}.png"} for at in range(100_000))]
    path = write_json(tmp_path / "sets/one", images=images)
    listed = []
    monkeypatch.setattr(coco_json, "_list", lambda folder, real=coco_json._list: listed.append(folder) or real(folder))
    assert len(open_dataset(path).split("val")) == 1
    assert len(listed) < 10


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"categories": [{"id": at, "name": f"c{at}"} for at in range(10_001)]},
            "names too many classes; got 10001",
        ),
        ({"categories": [{"id": 7, "name": "c" * 1001}]}, "name is too long; got 1001 characters"),
        ({"categories": [{"id": 7, "name": "\ud800"}]}, r"name is no text; got \ud800"),
        (
            {"categories": [{"id": 7, "name": ["\x1b[2J"] * 10_000}]},
            "without a number or name; got id: 7, name: a list of 10000",
        ),
        ({"images": [{"id": 10**400, "file_name": 3}]}, "an image without an id or file_name; got id: a number of 1329 bits, file_name: 3"),
        ({"annotations": [box([0, 0, 10**400, 1])]}, "no usable bbox; got [0, 0, a number of 1329 bits, 1]"),
        ({"annotations": [box([0, 0, 1, 1], category="\x1b[2J")]}, r"got category_id '\x1b[2J' in annotation 1"),
        ({"annotations": [box([at / 1e6, 0, 1, 1]) for at in range(100_001)]}, "too many boxes for a picture; expected at most 100000"),
    ],
)
def test_what_is_too_much_or_no_text_is_one_sentence(tmp_path, change, said):
    grey_picture(tmp_path / "a.png")
    assert said in refusal_of(write_json(tmp_path, **change))


def test_a_class_that_heads_all_others_is_found_among_ten_thousand(tmp_path):
    heads = [{"id": 0, "name": "all", "supercategory": "none"}]
    below = [{"id": 1 + at, "name": f"c{at}", "supercategory": "all"} for at in range(9_999)]
    assert len(one(tmp_path, [box([0, 0, 1, 1])], categories=heads + below)[0].classes) == 9_999
