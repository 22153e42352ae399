"""Pascal VOC folders as they are seen in the wild, and xml from strangers."""

import encodings.aliases
import os
import shutil
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from data.turned_jpeg import with_orientation
from edgewright.data import voc
from edgewright.data.dataset import open_dataset
from edgewright.data.images import encode_jpeg
from edgewright.data.voc import read_xml
from edgewright.errors import DataError
from tiny_dataset import grey_picture, voc_xml, write_tiny_voc


def write_xml(path, objects=(("crack", (1, 1, 4, 4)),), *, file_name=None, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(voc_xml(f"{path.stem}.png" if file_name is None else file_name, list(objects), (8, 8), **more))
    return path


def write_pair(root, picture_at, xml_at, *, level=0, objects=(("crack", (1, 1, 4, 4)),)):
    write_xml(root / xml_at, objects)
    return grey_picture(root / picture_at, level)


def truth_of(tmp_path, objects, **more):
    grey_picture(tmp_path / "val/a.png")
    write_xml(tmp_path / "val/a.xml", objects, **more)
    dataset = open_dataset(tmp_path)
    return dataset, dataset.split("val")[0].truth((8, 8), 2)


# --- boxes ------------------------------------------------------------------------------------------------------------------------------


def test_corners_counted_from_one_become_edges(tmp_path):
    dataset, truth = truth_of(tmp_path, [("dent", (1, 1, 8, 8)), ("crack", (3, 4, 3, 5)), ("crack", (0, 0, 4, 4))])
    assert dataset.classes == ("crack", "dent")
    assert truth.boxes_xyxy.tolist() == [[0, 0, 8, 8], [2, 3, 3, 5], [0, 0, 4, 4]]
    assert truth.boxes_xyxy.dtype == np.float32
    assert truth.class_ids.tolist() == [1, 0, 0]
    assert truth.areas.tolist() == [64, 2, 16]
    assert truth.drawn_on_wh == (8, 8)


def test_a_difficult_object_is_neither_to_be_found_nor_a_mistake(tmp_path):
    dataset, truth = truth_of(tmp_path, [("crack", (1, 1, 4, 4)), ("crack", (5, 5, 8, 8))], difficult=(1,))
    assert truth.crowd.tolist() == [False, True]
    assert dataset.split("val")[0].class_ids(1).tolist() == [0]


def test_a_box_without_width_is_left_out_and_counted_and_one_written_twice_counts_once(tmp_path):
    dataset, truth = truth_of(tmp_path, [("a", (3, 1, 2, 4)), ("a", (1, 1, 4, 4)), ("a", (1, 1, 4, 4))])
    assert truth.boxes_xyxy.tolist() == [[0, 0, 4, 4]]
    assert dataset.split("val")[0].class_ids(1).tolist() == [0]
    assert "1 boxes" in dataset.warnings[0]


@pytest.mark.parametrize("corners", [(5, 1, 2, 4), (1, 5, 4, 2), (float("nan"), 1, 2, 2), (1, 1, float("inf"), 2)])
def test_a_box_that_is_none_is_named(tmp_path, corners):
    with pytest.raises(DataError, match=r"object 2 of .*a\.xml is no box"):
        truth_of(tmp_path, [("crack", (1, 1, 4, 4)), ("crack", corners)])


@pytest.mark.parametrize(
    "inside",
    [
        "<name></name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>",
        "<name>a</name>",
        "<name>a</name><polygon><x1>1</x1></polygon>",
        "<name>a</name><bndbox><xmin>one</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>",
    ],
)
def test_an_object_without_name_or_box_is_named(tmp_path, inside):
    (tmp_path / "a.xml").write_text(f"<annotation><object>{inside}</object></annotation>")
    with pytest.raises(DataError, match=r"object 1 of .*a\.xml is no box") as caught:
        read_xml(tmp_path / "a.xml")
    assert "\n" not in str(caught.value)


def test_parts_of_an_object_are_not_objects(tmp_path):
    (tmp_path / "a.xml").write_text(
        "<annotation><object><name>person</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>8</xmax><ymax>8</ymax></bndbox>"
        "<part><name>head</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>3</xmax><ymax>3</ymax></bndbox></part></object></annotation>"
    )
    [person] = read_xml(tmp_path / "a.xml").objects
    assert (person.name, person.corners) == ("person", (1, 1, 8, 8))


@pytest.mark.parametrize(
    ("orientation", "corners", "used"),
    [(1, (1, 1, 30, 12), True), (1, (1, 1, 12, 30), False), (6, (1, 1, 12, 12), False), (3, (1, 1, 12, 12), True)],
)
def test_width_and_height_swapped_are_forgiven_where_the_picture_was_not_turned(tmp_path, orientation, corners, used):
    """The picture is 32 x 16 upright, except where its EXIF turns it; the xml says what the other way round would be."""
    (tmp_path / "val").mkdir()
    (tmp_path / "val/a.jpg").write_bytes(with_orientation(encode_jpeg(np.zeros((16, 32, 3), np.uint8)), orientation))
    stated = (32, 16) if orientation == 6 else (16, 32)
    (tmp_path / "val/a.xml").write_text(voc_xml("a.jpg", [("crack", corners)], stated))
    dataset, broken = open_dataset(tmp_path), list[str]()
    assert len(list(dataset.stream(dataset.split("val"), broken=broken))) == used
    assert len(broken) == (not used)


# --- the file ---------------------------------------------------------------------------------------------------------------------------

LAUGHS = '<!DOCTYPE a [<!ENTITY l "lol"><!ENTITY m "&l;&l;&l;&l;">]><annotation><filename>&m;</filename></annotation>'
OUTSIDE = '<!DOCTYPE annotation SYSTEM "file:///etc/passwd"><annotation/>'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAUGHS, "declares a document type"),
        (OUTSIDE, "declares a document type"),
        ("<annotation><object>", "is not XML"),
        ("<annotation></object>", "is not XML"),
        ("<annotation>&undeclared;</annotation>", "is not XML"),
        ('<?xml version="1.0" encoding="no-such"?><annotation/>', "is not XML"),
        ("", "is not XML"),
        ("words", "is not XML"),
        ("<annotation>" + "<x>" * 40 + "</x>" * 40 + "</annotation>", "nested too deeply"),
    ],
)
def test_wrong_xml_is_one_clear_sentence(tmp_path, text, said):
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(DataError) as caught:
        read_xml(tmp_path / "a.xml")
    assert said in str(caught.value)
    assert "a.xml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_hostile_or_broken_xml_among_good_is_not_passed_over(tmp_path):
    for text in (OUTSIDE, "<annotation><object>", "", "<opencv_storage/>"):
        write_pair(tmp_path, "images/a.png", "annotations/a.xml")
        grey_picture(tmp_path / "images/b.png")
        (tmp_path / "annotations/b.xml").write_text(text)
        with pytest.raises(DataError, match=r"b\.xml"):
            open_dataset(tmp_path)


def test_xml_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(voc, "MOST_XML_BYTES", 10)
    with pytest.raises(DataError, match="cannot be read; got more than 10 bytes"):
        read_xml(write_xml(tmp_path / "a.xml"))


@given(st.binary(max_size=80).map(lambda middle: b"<annotation><object>" + middle + b"</object></annotation>"))
@example(b"<annotation><size><width>1e999</width><height>nan</height></size></annotation>")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_any_bytes_are_an_annotation_or_a_data_error(tmp_path, content):
    (tmp_path / "a.xml").write_bytes(content)
    with suppress(DataError):
        assert all(np.isfinite(each.corners).all() for each in read_xml(tmp_path / "a.xml").objects)


# --- folders ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("picture_at", "xml_at"),
    [
        ("JPEGImages/a.jpg", "Annotations/a.xml"),
        ("IMAGES/a.jpg", "ANNOTATIONS/a.xml"),
        ("NEU-DET/IMAGES/a.jpg", "NEU-DET/ANNOTATIONS/a.xml"),
        ("images/crazing/a.jpg", "annotations/a.xml"),
        ("images/crazing/a.jpg", "label/crazing/a.xml"),
        ("a.jpg", "a.xml"),
        ("imgs/a.JPG", "labels/a.XML"),
        ("a.v1.jpg", "a.v1.xml"),
    ],
)
def test_pictures_and_xml_find_each_other(tmp_path, picture_at, xml_at):
    path = write_pair(tmp_path, picture_at, xml_at)
    [sample] = open_dataset(tmp_path).split("all")
    assert sample.files == (path, tmp_path / xml_at)


NEU = {
    "kaggle": ("{split}/images/{name}/{name}_1.jpg", "{split}/annotations/{name}_1.xml", ("train", "validation")),
    "by class": ("{split}/{name}/{name}_1.jpg", "{split}/{name}/{name}_1.xml", ("train", "valid")),
    "swapped": ("images/{split}/{name}_1.jpg", "annotations/{split}/{name}_1.xml", ("train", "val")),
    "side by side": ("{split}/{name}_1.jpg", "{split}/{name}_1.xml", ("Train", "Test")),
    "nested": ("NEU-DET/NEU-DET/{split}/IMAGES/{name}_1.jpg", "NEU-DET/NEU-DET/{split}/ANNOTATIONS/{name}_1.xml", ("TRAIN", "VALIDATION")),
    "only xml split": ("images/{name}{split}_1.jpg", "annotations/{split}/{name}{split}_1.xml", ("train", "val")),
}


@pytest.mark.parametrize("layout", NEU)
def test_steel_as_strangers_lay_it_out(tmp_path, layout):
    """The same file name in both splits, as some copies of NEU-DET have it: the xml of its own split is taken."""
    picture_at, xml_at, splits = NEU[layout]
    classes = ("crazing", "rolled-in_scale")
    for split, corner in zip(splits, (4, 6), strict=True):
        for name in classes:
            words = {"split": split, "name": name}
            write_pair(tmp_path, picture_at.format(**words), xml_at.format(**words), level=corner, objects=[(name, (1, 1, corner, corner))])
    dataset = open_dataset(tmp_path)
    assert dataset.classes == classes
    for split, corner in (("train", 4), ("val", 6)):
        assert len(dataset.split(split)) == 2
        for sample in dataset.split(split):
            assert sample.truth((8, 8), 2).boxes_xyxy.tolist() == [[0, 0, corner, corner]]


def test_image_sets_decide_and_two_years_lie_side_by_side(tmp_path):
    for year, names in (("VOC2007", "abcd"), ("VOC2012", "abef")):
        root = tmp_path / "VOCdevkit" / year
        for name in names:
            write_pair(root, f"JPEGImages/{name}.jpg", f"Annotations/{name}.xml", objects=[(year, (1, 1, 4, 4))])
            grey_picture(root / f"SegmentationClass/{name}.png")
        (root / "ImageSets/Main").mkdir(parents=True)
        (root / "ImageSets/Main/train.txt").write_text(f"{names[0]}\n{names[1]}\n")
        (root / "ImageSets/Main/val.txt").write_text(f"{names[2]}  1\r\n\r\n")
        (root / "ImageSets/Main/trainval.txt").write_text("\n".join(names[:3]))
        (root / "ImageSets/Main/crack_train.txt").write_text(f"{names[3]} -1\n")
    dataset = open_dataset(tmp_path)
    told = {split: ["/".join(s.image.parts[-3::2]) for s in samples] for split, samples in dataset.splits.items()}
    assert told == {
        "train": ["VOC2007/a.jpg", "VOC2007/b.jpg", "VOC2012/a.jpg", "VOC2012/b.jpg"],
        "val": ["VOC2007/c.jpg", "VOC2012/e.jpg"],
    }
    assert [dataset.classes[s.class_ids(2)[0]] for s in dataset.split("val")] == ["VOC2007", "VOC2012"]


@pytest.mark.parametrize(
    ("lists", "splits"),
    [
        ({"trainval": "abc", "val": "c"}, {"train": "ab", "val": "c"}),
        ({"trainval": "abc", "train": "ab"}, {"train": "ab", "val": "c"}),
        ({"trainval": "abc", "test": "d"}, {"train": "abc", "test": "d", "val": "d"}),
        ({"val": "ab"}, {"val": "ab"}),
        ({"train": "ab", "val": "cx"}, {"train": "ab", "val": "c"}),
    ],
)
def test_lists_that_are_not_there_follow_from_those_that_are(tmp_path, lists, splits):
    for name in "abcd":
        write_pair(tmp_path, f"JPEGImages/{name}.jpg", f"Annotations/{name}.xml")
    (tmp_path / "ImageSets/Main").mkdir(parents=True)
    for name, held in lists.items():
        (tmp_path / f"ImageSets/Main/{name}.txt").write_text("\n".join(held))
    dataset = open_dataset(tmp_path)
    assert {split: "".join(sample.image.stem for sample in samples) for split, samples in dataset.splits.items()} == splits
    assert any("are not there" in line for line in dataset.warnings) == ("x" in str(lists))


def test_pictures_without_xml_are_negatives_and_xml_without_pictures_is_counted(tmp_path):
    write_pair(tmp_path, "train/a.png", "train/a.xml")
    grey_picture(tmp_path / "train/b.png")
    write_xml(tmp_path / "train/gone.xml", [("dent", (1, 1, 2, 2))])
    dataset = open_dataset(tmp_path)
    assert [sample.class_ids(2).tolist() for sample in dataset.split("train")] == [[0], []]
    assert "1 xml files" in dataset.warnings[0]


def test_the_file_name_inside_will_do_where_the_names_differ(tmp_path):
    grey_picture(tmp_path / "images/photo.png")
    write_xml(tmp_path / "xml/0001.xml", file_name="D:\\photos\\photo.png")
    [sample] = open_dataset(tmp_path).split("all")
    assert sample.class_ids(1).tolist() == [0]


def test_pictures_of_no_split_are_left_out_and_said(tmp_path):
    for folder in ("train", "val", "."):
        write_pair(tmp_path, f"{folder}/{folder[0]}.png", f"{folder}/{folder[0]}.xml".replace("./.", "./x"))
    dataset = open_dataset(tmp_path)
    assert {split: len(samples) for split, samples in dataset.splits.items()} == {"train": 1, "val": 1}


def test_without_splits_the_digest_decides(tmp_path):
    write_tiny_voc(tmp_path, train=12, val=12)
    shutil.rmtree(tmp_path / "ImageSets")
    dataset = open_dataset(tmp_path)
    assert set(dataset.splits) == {"train", "val"}
    assert min(map(len, dataset.splits.values())) > 4


def test_xml_whose_pictures_are_elsewhere_is_said(tmp_path):
    write_xml(tmp_path / "a.xml")
    with pytest.raises(DataError, match="1 xml annotations, but no picture that belongs to one; got 0 pictures"):
        open_dataset(tmp_path)


def test_hidden_files_and_other_xml_are_passed_over(tmp_path):
    write_pair(tmp_path, "val/a.png", "val/a.xml")
    for name in ("val/._a.xml", "val/._a.png", ".idea/misc.xml", "__MACOSX/val/a.xml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("<annotation>")
    (tmp_path / "notes.xml").write_text("<project/>")
    assert len(open_dataset(tmp_path).split("val")) == 1


# --- xml from a stranger ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["Annotations/train_0000.xml", "ImageSets/Main/train.txt"])
def test_a_pipe_among_the_labels_is_not_waited_for(tmp_path, place):
    root = write_tiny_voc(tmp_path, 2, 2)
    (root / place).unlink()
    os.mkfifo(root / place)
    with pytest.raises(DataError, match="cannot be read; got not a regular file"):
        open_dataset(root)


ENCODINGS = sorted({*encodings.aliases.aliases.values(), "undefined", "idna", "punycode", "unicode_escape", "x" * 500, "ISO-8859-1"})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of unicode_escape, which is no encoding for texts
def test_every_encoding_python_knows_is_read_or_one_sentence(tmp_path):
    refused = []
    for encoding in ENCODINGS:
        (tmp_path / "a.xml").write_text(f'<?xml version="1.0" encoding="{encoding}"?>{voc_xml("a.png", [("cat", (1, 1, 2, 2))])}', "ascii")
        try:
            assert read_xml(tmp_path / "a.xml").objects[0].corners == (1, 1, 2, 2)
        except DataError as error:
            refused.append(str(error))
    assert 20 < len(refused) < len(ENCODINGS)
    assert all(map(str.isprintable, refused))


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        (voc_xml("a.png", [("cat", (1, 1, 1e300, 2))]), "object 1 of"),
        (voc_xml("a.png", [("cat", (-1e10, 1, 2, 2))]), "object 1 of"),
        (voc_xml("a.png", [("", (1, 1, 2, 2))]), "object 1 of"),
        (f"<{'a' * 1_000_000}/>", "is no VOC annotation; got <aaa"),
        ("<annotation>" + "<object>" * 20_000, "nested too deeply"),
        ("<annotation>" + "<object><name>a</name></object>" * 3, "object 1 of"),
    ],
)
def test_xml_that_no_picture_can_have_is_one_sentence(tmp_path, xml, said):
    (tmp_path / "a.xml").write_text(xml)
    with pytest.raises(DataError) as caught:
        read_xml(tmp_path / "a.xml")
    assert said in str(caught.value)
    assert len(str(caught.value)) < 2000


def test_a_size_that_no_picture_can_have_is_as_good_as_none(tmp_path):
    (tmp_path / "a.xml").write_text(voc_xml("a.png", []).replace("<width>64<", "<width>1e300<"))
    assert read_xml(tmp_path / "a.xml").size_wh is None


def test_too_many_objects_and_too_many_classes_are_refused(tmp_path, monkeypatch):
    root = write_tiny_voc(tmp_path, 2, 2)
    monkeypatch.setattr(voc, "MOST_BOXES", 1)
    (root / "Annotations/train_0000.xml").write_text(voc_xml("train_0000.png", [("cat", (1, 1, 2, 2))] * 2))
    with pytest.raises(DataError, match="too many objects for a picture; expected at most 1"):
        open_dataset(root)
    monkeypatch.undo()
    (root / "Annotations/train_0000.xml").write_text(voc_xml("train_0000.png", [(f"c{at}", (1, 1, 2, 2)) for at in range(10_001)]))
    with pytest.raises(DataError, match="names too many classes"):
        open_dataset(root)
