"""From a picture to boxes in its own pixels, through the one path everything uses."""

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import onnx
import pytest

import edgewright as ew
from edgewright.artifact import FILE_NAME, describe_file
from edgewright.compress.candidates import prepare_float_forms
from edgewright.data.dataset import open_dataset
from edgewright.data.video import WebmWriter
from edgewright.detector import Detector, open_detector, to_tensor
from edgewright.errors import ArtifactError, DataError, InputError, ModelError
from edgewright.graph.describe import describe_detector
from tiny_dataset import write_tiny_dataset
from tiny_detector import COLOURS, save_tiny_detector


@pytest.fixture
def path(tmp_path):
    return save_tiny_detector(tmp_path / "tiny.onnx", activation="relu")


@pytest.fixture
def detector(path):
    with open_detector(path, threads=1) as opened:
        yield opened


def scene(colour="green", box=(20, 12, 44, 36), size_wh=(64, 64)):
    picture = np.full((size_wh[1], size_wh[0], 3), 114, np.uint8)
    left, top, right, bottom = box
    picture[top:bottom, left:right] = COLOURS[colour]
    return picture


@pytest.mark.parametrize(
    ("box", "size_wh"), [((20, 12, 44, 36), (64, 64)), ((80, 48, 176, 144), (256, 256)), ((99, 20, 171, 92), (192, 96))]
)
def test_finds_a_rectangle_where_it_is_in_the_source(detector, box, size_wh):
    best = detector(scene(box=box, size_wh=size_wh))[:1]
    assert best.names == ["green"]
    assert best.boxes_xyxy[0] == pytest.approx(box, abs=10 * max(size_wh) / 64)


def test_a_path_an_array_and_a_list_say_the_same(detector, tmp_path):
    picture = scene()
    cv2.imwrite(str(tmp_path / "a.png"), picture[..., ::-1])
    expected = detector(picture)
    assert len(expected) > 0
    for found in (detector(tmp_path / "a.png"), detector(str(tmp_path / "a.png")), *detector([picture, tmp_path / "a.png"])):
        assert np.array_equal(found.boxes_xyxy, expected.boxes_xyxy)
        assert np.array_equal(found.scores, expected.scores)
    assert detector([]) == []


def test_best_scores_come_first_and_above_the_threshold(detector):
    everything = detector.detect(scene(), score_above=0.0)
    assert (np.diff(everything.scores) <= 0).all()
    assert len(everything) > len(detector(scene()))
    assert (detector(scene()).scores > 0.25).all()
    assert len(detector.detect(scene(), score_above=1.0)) == 0


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((64, 64), np.uint8),
        np.zeros((64, 64, 4), np.uint8),
        np.zeros((3, 64, 64), np.uint8),
        np.zeros((64, 64, 3), np.float32),
        np.zeros((0, 64, 3), np.uint8),
        np.zeros((1, 64, 64, 3), np.uint8),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_an_array_that_is_no_picture_is_refused(detector, array):
    with pytest.raises(DataError, match="this array is no picture") as caught:
        detector(array)
    assert str(array.shape) in caught.value.got
    assert "uint8 H x W x 3" in caught.value.expected


def test_a_slice_of_a_picture_is_a_picture(detector):
    wide = np.concatenate([scene(), scene("red")], axis=1)
    assert detector(wide[:, 64:])[:1].names == ["red"]
    assert detector(wide[::-1, 64:])[:1].names == ["red"]


def test_a_video_is_streamed(detector, tmp_path):
    with WebmWriter(tmp_path / "clip.webm", 10.0) as writer:
        for colour in ("red", "green", "blue"):
            writer.write(scene(colour))
    seen = [(frame.index, found[:1].names) for frame, found in detector.stream(tmp_path / "clip.webm")]
    assert seen == [(0, ["red"]), (1, ["green"]), (2, ["blue"])]
    with pytest.raises(DataError, match="is not there"):
        next(detector.stream(str(tmp_path / "none.webm")))


def test_a_data_set_is_found_again(detector, tmp_path):
    dataset = open_dataset(write_tiny_dataset(tmp_path / "data", train=1, val=8))
    hits = sum(
        each.truth.class_ids[0] in detector.detect(each.image_rgb, score_above=0.05).class_ids
        for each in dataset.stream(dataset.split("val"))
        if len(each.truth.class_ids)
    )
    assert hits >= 5


def test_a_folder_is_an_artifact_and_its_threshold_counts(path, tmp_path):
    artifact = describe_detector(path)
    strict = replace(artifact, threshold=replace(artifact.threshold, score=0.9999))
    (tmp_path / FILE_NAME).write_text(json.dumps(strict.to_json()))
    with ew.open(tmp_path, threads=1) as detector:
        assert detector.artifact == strict
        assert len(detector(scene())) == 0


def test_a_cut_head_finds_what_the_whole_network_finds(path, tmp_path):
    forms = prepare_float_forms(describe_detector(path), tmp_path)
    cut = replace(forms.baseline, head=forms.raw, files=(describe_file(forms.cut, tmp_path),))
    (tmp_path / FILE_NAME).write_text(json.dumps(cut.to_json()))
    with ew.open(tmp_path) as raw, ew.open(path) as whole:
        found, expected = raw(scene()), whole(scene())
    assert found.boxes_xyxy == pytest.approx(expected.boxes_xyxy, abs=1e-2)
    assert found.scores == pytest.approx(expected.scores, abs=1e-4)
    assert found.names == expected.names


def test_colour_order_mean_and_scale_are_the_artifact_s(path):
    artifact = describe_detector(path)
    picture = scene("red", size_wh=(32, 16), box=(0, 0, 8, 8))
    usual = to_tensor(picture, artifact)
    assert (usual.shape, usual.dtype) == ((1, 3, 64, 64), np.float32)
    assert usual[0, :, 0, 0] == pytest.approx([114 / 255] * 3)
    odd = replace(artifact, input=replace(artifact.input, colour="BGR", mean=(1.0, 2.0, 3.0), scale=0.5, letterbox_value=0))
    assert to_tensor(picture, odd)[0, :, 0, 0] == pytest.approx([-0.5, -1.0, -1.5])
    inside = to_tensor(picture, odd)[0, :, 20, 4]
    red, green, blue = COLOURS["red"]
    assert inside == pytest.approx([(blue - 1) / 2, (green - 2) / 2, (red - 3) / 2])


FAMILIES = ("yolov8", "yolov5", "yolox", "yolox decoded", "end2end", "nms")


@pytest.mark.parametrize("size", [64, (128, 96)], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_finds_a_rectangle_where_it_is_whole_and_cut(tmp_path, family, size):
    path = save_tiny_detector(tmp_path / "tiny.onnx", family=family, size=size, activation="relu")
    forms = prepare_float_forms(describe_detector(path), tmp_path)
    cut = replace(forms.baseline, head=forms.raw, files=(describe_file(forms.cut, tmp_path),))
    (tmp_path / FILE_NAME).write_text(json.dumps(cut.to_json()))
    wide, high = (size, size) if isinstance(size, int) else size
    for place in (path, tmp_path):
        with ew.open(place, threads=1) as detector:
            best = detector(scene(size_wh=(wide, high)))[:1]
        assert best.names == ["green"]
        assert best.boxes_xyxy[0] == pytest.approx((20, 12, 44, 36), abs=10)


class Says:
    """An engine that gives the same outputs whatever it is fed."""

    def __init__(self, *outputs):
        self.outputs = [np.asarray(output, np.float32)[None] for output in outputs]

    def run(self, feeds):
        return self.outputs


def saying(path, rows, *, family, **changed):
    artifact = describe_detector(path)
    threshold = replace(artifact.threshold, **changed)
    head = replace(artifact.head, family=family)
    return Detector(replace(artifact, head=head, threshold=threshold), Says(rows))


ROWS = [[10, 10, 30, 30, 0.6, 0], [10, 10, 30, 31, 0.9, 0], [40, 40, 60, 60, 0.3, 1], [10, 10, 30, 30, 0.5, 2]]


def test_an_end_to_end_head_is_not_suppressed_but_sorted(path):
    found = saying(path, ROWS, family="end2end").detect(scene())
    assert found.scores.tolist() == pytest.approx([0.9, 0.6, 0.5, 0.3])
    assert found.names == ["red", "red", "blue", "green"]


def as_yolov8(rows):
    """The same boxes as [4 + classes, cells]; 84 cells, most of them empty."""
    output = np.zeros((7, 84), np.float32)
    for at, (x1, y1, x2, y2, score, cls) in enumerate(rows):
        output[:4, at] = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
        output[4 + cls, at] = score
    return output


@pytest.mark.parametrize(
    ("per_class", "score_above", "left"),
    [
        (None, None, [0.9, 0.5, 0.3]),
        ({"green": 0.35}, None, [0.9, 0.5]),
        ({"green": 0.1, "blue": 0.6}, None, [0.9, 0.3]),
        ({"red": 0.95}, None, [0.5, 0.3]),
        ({"red": 0.2, "nobody": 0.0}, None, [0.9, 0.5, 0.3]),
        ({"green": 0.35, "red": 0.95}, 0.25, [0.9, 0.5, 0.3]),  # asked for explicitly: the same for all
        ({"green": 0.35}, 0.6, [0.9]),
    ],
)
def test_each_class_has_its_own_threshold_unless_one_is_asked_for(path, per_class, score_above, left):
    detector = saying(path, as_yolov8(ROWS), family="yolov8", per_class=per_class)
    assert detector.detect(scene(), score_above=score_above).scores.tolist() == pytest.approx(left)


def test_the_low_threshold_of_one_class_lets_no_other_through(path):
    rows = [[10, 10, 30, 30, 0.1, 1], [40, 40, 60, 60, 0.1, 0]]
    detector = saying(path, as_yolov8(rows), family="yolov8", per_class={"green": 0.05})
    assert detector.detect(scene()).names == ["green"]


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".PT"])
def test_a_checkpoint_is_refused_with_the_export_command_and_never_opened(tmp_path, suffix):
    checkpoint = tmp_path / f"best{suffix}"
    os.mkfifo(checkpoint)  # opening it would wait for a writer that never comes
    for path in (checkpoint, tmp_path / f"absent{suffix}"):  # what is never opened need not exist
        with pytest.raises(ModelError, match="a PyTorch checkpoint and is never opened") as caught:
            open_detector(path)
        assert f"yolo export model={path} format=onnx" in caught.value.fix


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("none.onnx", InputError, "there is no file"),
        ("words.onnx", ModelError, "not an ONNX model"),
        ("folder", ArtifactError, "is no artifact"),
    ],
)
def test_what_cannot_be_opened_is_one_clear_sentence(tmp_path, name, error, said):
    (tmp_path / "words.onnx").write_text("words")
    (tmp_path / "folder").mkdir()
    with pytest.raises(error) as caught:
        open_detector(tmp_path / name)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_without_names_numbers_its_classes(tmp_path):
    model = onnx.load(save_tiny_detector(tmp_path / "tiny.onnx"))
    del model.metadata_props[:]
    for value in model.graph.input:  # imgsz is gone too, so the shape must stand in the graph
        assert value.type.tensor_type.shape.dim[2].dim_value == 64
    onnx.save(model, tmp_path / "bare.onnx")
    assert describe_detector(tmp_path / "bare.onnx").classes == ("class 0", "class 1", "class 2")


def test_a_stream_that_is_left_early_leaves_no_thread(detector, tmp_path):
    with WebmWriter(tmp_path / "clip.webm", 10.0) as writer:
        for _ in range(20):
            writer.write(scene())
    before = set(threading.enumerate())
    stream = detector.stream(tmp_path / "clip.webm")
    next(stream)
    stream.close()
    assert set(threading.enumerate()) <= before


def test_what_was_found_stays_what_it_was(detector):
    """The detector's buffers are written again; results are not."""
    first = detector.detect(scene("green"), score_above=0.0)
    kept = (first.boxes_xyxy.copy(), first.scores.copy(), first.class_ids.copy())
    detector.detect(scene("red", box=(4, 4, 60, 60)), score_above=0.0)
    for now, then in zip((first.boxes_xyxy, first.scores, first.class_ids), kept, strict=True):
        assert np.array_equal(now, then)


def test_several_threads_may_ask_one_detector(detector):
    pictures = [scene(colour) for colour in ("red", "green", "blue")] * 8
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(detector.detect, pictures))
    assert [each[:1].names for each in found] == [["red"], ["green"], ["blue"]] * 8
