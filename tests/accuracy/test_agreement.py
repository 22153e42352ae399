"""Without labels, the float model's boxes are the truth."""

from dataclasses import replace

import numpy as np
import pytest

from accuracy.random_boxes import boxed, perturbed, random_predictions
from edgewright.accuracy.agreement import AGREE_ABOVE, compare_by_agreement, evaluate_agreement
from edgewright.accuracy.predictions import predict
from edgewright.data.dataset import Dataset, Sample, Unlabelled
from edgewright.detector import open_detector
from edgewright.errors import DataError
from tiny_dataset import write_tiny_dataset
from tiny_detector import save_tiny_detector


@pytest.fixture(scope="module")
def baseline():
    """Predictions without labels."""
    predictions = random_predictions(0, images=40, boxes=200)
    return replace(predictions, truth=boxed([], [], [], 40))


def found_anew(predictions, **options):
    """A detector that finds what the baseline shows, more or less."""
    shown = predictions.found.scores > AGREE_ABOVE
    found = predictions.found
    truth = boxed(found.boxes_xyxy[shown], found.class_ids[shown], found.image_of[shown], found.images)
    return replace(predictions, found=perturbed(truth, np.random.default_rng(1), 4, **options))


def test_a_model_agrees_with_itself_entirely(baseline):
    assert evaluate_agreement(baseline, baseline).report.map50_95 == pytest.approx(1.0)
    delta = compare_by_agreement(baseline, baseline)
    assert (delta.map50_95.estimate, delta.map50_95.low, delta.map50_95.high) == (0.0, 0.0, 0.0)
    assert delta.images == 40


def test_the_delta_is_agreement_less_a_hundred_percent(baseline):
    fitted = found_anew(baseline)
    agreement = evaluate_agreement(fitted, baseline).report
    delta = compare_by_agreement(fitted, baseline, seed=3)
    assert 0.1 < agreement.map50_95 < 0.9
    assert delta.map50_95.estimate == pytest.approx(100 * agreement.map50_95 - 100)
    assert delta.map50.estimate == pytest.approx(100 * agreement.map50 - 100)
    assert delta.map50_95.low < delta.map50_95.estimate < delta.map50_95.high < 0
    assert delta == compare_by_agreement(fitted, baseline, seed=3)


def test_who_misses_more_agrees_less(baseline):
    points = [compare_by_agreement(found_anew(baseline, misses=misses), baseline).map50_95.estimate for misses in (0.0, 0.3, 0.6)]
    assert points == sorted(points, reverse=True)
    nothing = replace(baseline, found=boxed([], [], [], 40, scores=np.zeros(0, np.float32)))
    assert compare_by_agreement(nothing, baseline).map50_95.estimate == pytest.approx(-100)


def test_labels_do_not_count(baseline):
    labelled = replace(baseline, truth=random_predictions(5, images=40).truth)
    fitted = found_anew(baseline)
    assert compare_by_agreement(fitted, labelled) == compare_by_agreement(fitted, baseline)


def test_more_boxes_than_coco_counts_are_no_disagreement():
    corner = np.arange(130, dtype=np.float32)[:, None] * 20
    boxes = np.concatenate([corner, np.zeros((130, 1)), corner + 10, np.full((130, 1), 10)], axis=1)
    crowded = boxed(boxes, [0] * 130, [0] * 130, 1, scores=np.linspace(0.9, 0.5, 130).astype(np.float32))
    crowded = replace(random_predictions(0, images=1), found=crowded)
    assert evaluate_agreement(crowded, crowded).report.map50_95 < 0.9
    assert compare_by_agreement(crowded, crowded).map50_95.estimate == 0.0


def test_a_float_model_that_finds_nothing_is_no_judge(baseline):
    faint = replace(baseline, found=replace(baseline.found, scores=baseline.found.scores * 0.2))
    with pytest.raises(DataError, match="the float model finds nothing in any of the 40 images"):
        compare_by_agreement(baseline, faint)


def test_different_images_are_refused(baseline):
    with pytest.raises(ValueError, match="different images"):
        compare_by_agreement(random_predictions(0, images=3), baseline)


def test_pictures_without_labels_take_the_model_s_classes(tmp_path):
    write_tiny_dataset(tmp_path, train=1, val=6)
    samples = tuple(Sample(path, Unlabelled()) for path in sorted((tmp_path / "images/val").iterdir()))
    data = Dataset(tmp_path, (), {"val": samples})
    with open_detector(save_tiny_detector(tmp_path / "tiny.onnx", activation="relu"), threads=1) as detector:
        predictions = predict(detector, data, data.split("val"))
    assert predictions.classes == ("red", "green", "blue")
    assert len(set(predictions.found.class_ids.tolist())) == 3
    assert not len(predictions.truth.class_ids)
    assert compare_by_agreement(predictions, predictions).map50.estimate == 0.0
