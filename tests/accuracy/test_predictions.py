"""From a detector and a split to boxes beside the truth, in the data set's own classes."""

import tracemalloc
from dataclasses import replace

import cv2
import numpy as np
import pytest

from accuracy.random_boxes import boxed, random_predictions
from edgewright.accuracy.coco import evaluate
from edgewright.accuracy.predictions import SCORE_ABOVE, Boxed, Predictions, class_translation, predict, pseudo_truth
from edgewright.data.dataset import open_dataset
from edgewright.detector import open_detector
from edgewright.errors import DataError
from tiny_dataset import write_tiny_dataset
from tiny_detector import save_tiny_detector


@pytest.fixture
def dataset(tmp_path):
    return open_dataset(write_tiny_dataset(tmp_path / "data", train=1, val=8))


@pytest.fixture
def detector(tmp_path):
    with open_detector(save_tiny_detector(tmp_path / "tiny.onnx", activation="relu"), threads=1) as opened:
        yield opened


def test_a_detector_that_works_is_told_so(detector, dataset):
    seen = []
    predictions = predict(detector, dataset, dataset.split("val"), progress=lambda done, total: seen.append((done, total)))
    assert predictions.images == 8
    assert predictions.classes == dataset.classes
    assert predictions.pictures == tuple(str(sample.image) for sample in dataset.split("val"))
    assert (predictions.found.scores > SCORE_ABOVE).all()
    assert seen == [(done, 8) for done in range(1, 9)]
    assert evaluate(predictions).report.map50 > 0.4


def test_a_broken_picture_is_named_and_the_rest_is_evaluated(detector, dataset):
    samples = dataset.split("val")
    samples[2].image.write_bytes(b"no picture")
    predictions = predict(detector, dataset, samples)
    assert predictions.images == 7
    assert [name for name in predictions.broken if "0002.png" in name] == list(predictions.broken)
    assert len(predictions.pictures) == 7
    for sample in samples:
        sample.image.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"no picture of .* can be used"):
        predict(detector, dataset, samples)


def test_what_is_written_down_is_read_back(detector, dataset, tmp_path):
    predictions = replace(predict(detector, dataset, dataset.split("val")), broken=("a: broken",), damaged=("b: damaged", "c: damaged"))
    predictions.save(tmp_path / "found.npz")
    read = Predictions.load(tmp_path / "found.npz")
    assert (read.classes, read.pictures) == (predictions.classes, predictions.pictures)
    assert (read.broken, read.damaged) == (("a: broken",), ("b: damaged", "c: damaged"))
    for side in ("found", "truth"):
        for name in Boxed.__dataclass_fields__:
            assert np.array_equal(getattr(getattr(read, side), name), getattr(getattr(predictions, side), name)), (side, name)
    assert evaluate(read).report == evaluate(predictions).report


def test_an_image_s_boxes_are_its_own(detector, dataset):
    predictions = predict(detector, dataset, dataset.split("val"))
    for at, sample in enumerate(dataset.split("val")):
        alone = detector(sample.image)
        shown = predictions.shown(at, detector.artifact.threshold.score)
        assert shown.scores == pytest.approx(alone.scores)
        assert shown.boxes_xyxy == pytest.approx(alone.boxes_xyxy)


@pytest.mark.parametrize(
    ("model", "data", "expected"),
    [
        (("a", "b"), ("a", "b"), [0, 1]),
        (("b", "a"), ("a", "b"), [1, 0]),  # names decide
        (("a", "b", "c"), ("c", "a"), [1, -1, 0]),  # a part of what the model knows
        (("x", "y"), ("a", "b"), [0, 1]),  # other names, as many: the order decides
        (("a", "a"), ("a", "b"), [0, 1]),  # names that name nothing
        (("rolled-in_scale", "Crazing"), ("crazing", "rolled in scale"), [1, 0]),  # names, whatever their spelling
        (("a b", "a-b", "c"), ("c", "a-b"), [-1, 1, 0]),  # spelled exactly comes first
        (("b", "a"), ("c", "a"), [0, 1]),  # one name differs, at its own place
        (("a", "b"), (), [0, 1]),  # pictures without labels
    ],
)
def test_classes_are_matched_by_name_then_by_order(model, data, expected):
    assert class_translation(model, data).tolist() == expected


@pytest.mark.parametrize(("model", "data"), [(("a",), ("a", "b")), (("a", "b", "c"), ("x", "y"))])
def test_classes_that_do_not_fit_are_refused(model, data):
    with pytest.raises(DataError, match=f"{len(model)} in the model .*, {len(data)} in the data set"):
        class_translation(model, data)


def test_names_at_other_places_are_not_matched_by_order():
    with pytest.raises(DataError, match=r"2 in the model \(open, crack\), 2 in the data set \(crack, hole\)"):
        class_translation(("open", "crack"), ("crack", "hole"))


def test_boxes_of_classes_the_data_set_does_not_label_do_not_count(tmp_path, dataset):
    with open_detector(
        save_tiny_detector(tmp_path / "more.onnx", classes=("blue", "red", "green", "yellow"), activation="relu")
    ) as detector:
        predictions = predict(detector, dataset, dataset.split("val"))
    assert predictions.found.class_ids.max() < 3


def test_found_boxes_above_a_score_become_truth():
    predictions = random_predictions(0)
    truth = pseudo_truth(predictions, 0.5)
    keep = predictions.found.scores > 0.5
    assert np.array_equal(truth.boxes_xyxy, predictions.found.boxes_xyxy[keep])
    assert np.array_equal(truth.image_of, predictions.found.image_of[keep])
    assert truth.images == predictions.images
    assert evaluate(replace(predictions, truth=truth)).report.map50_95 == pytest.approx(1.0)


def test_rows_and_images_of_a_flat_table():
    held = boxed([[0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3]], [0, 1, 2], [2, 0, 2], 4)
    assert held.images == 4
    assert held.image_of.tolist() == [0, 2, 2]
    assert [held.boxes_xyxy[held.rows(at), 2].tolist() for at in range(4)] == [[2], [], [1, 3], []]


def test_memory_does_not_grow_with_the_number_of_pictures(detector, tmp_path):
    """Pictures of 3 MB each: four or sixteen of them cost the same at the peak."""
    peaks = {}
    for count in (4, 16):
        data = open_dataset(write_tiny_dataset(tmp_path / str(count), train=1, val=count, size_wh=(1000, 1000)))
        tracemalloc.start()
        predict(detector, data, data.split("val"))
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks[16] < peaks[4] + 3_000_000


def test_a_damaged_picture_is_named_and_judged_all_the_same(detector, dataset):
    samples = dataset.split("val")
    content = cv2.imencode(".jpg", cv2.imread(str(samples[2].image)))[1].tobytes()
    samples[2].image.write_bytes(content[:-900] + b"\xff\xd9" + content[-900:])  # it ends before it ends
    predictions = predict(detector, dataset, samples)
    assert (predictions.images, predictions.broken) == (8, ())
    assert ["0002.png is damaged" in line for line in predictions.damaged] == [True]
    samples[2].image.write_bytes(content[:-900])
    with pytest.raises(DataError, match=r"0002\.png is cut short"):
        list(dataset.stream(samples))
