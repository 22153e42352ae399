"""Our mAP is pycocotools' mAP, and the weighted one is what it stands for."""

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from accuracy.random_boxes import boxed, perturbed, random_predictions
from edgewright.accuracy.coco import average_precision, evaluate, mean_average_precision
from edgewright.accuracy.predictions import Boxed, Predictions

NO_BOXES = np.zeros((0, 4), np.float32)


def standard_stats(dataset: dict, found: Boxed, image_ids, category_ids):
    """The usual way: the json as it is, loadRes, COCOeval with its own parameters, stats."""
    rows = []
    for box, cls, image, score in zip(
        found.boxes_xyxy.astype(float).tolist(),
        found.class_ids.tolist(),
        found.image_of.tolist(),
        found.scores.astype(float).tolist(),
        strict=True,
    ):
        x1, y1, x2, y2 = box
        rows.append({"image_id": image_ids[image], "category_id": category_ids[cls], "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = dataset
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(rows), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge.stats


def as_coco_json(predictions: Predictions) -> dict:
    truth = predictions.truth
    size = truth.boxes_xyxy[:, 2:] - truth.boxes_xyxy[:, :2]
    rows = zip(truth.image_of.tolist(), truth.class_ids.tolist(), truth.boxes_xyxy.tolist(), size.tolist(), strict=True)
    return {
        "info": {},
        "images": [{"id": 100 + image} for image in range(truth.images)],
        "categories": [{"id": 7 + cls} for cls in range(len(predictions.classes))],
        "annotations": [
            {"id": n, "image_id": 100 + image, "category_id": 7 + cls, "bbox": [*box[:2], *wh], "area": wh[0] * wh[1], "iscrowd": 0}
            for n, (image, cls, box, wh) in enumerate(rows, 1)
        ],
    }


def assert_same(report, stats):
    """COCO's own order: mAP, mAP50, mAP75, small, medium, large, ..."""
    assert report.map50_95 == pytest.approx(stats[0], abs=1e-6)
    assert report.map50 == pytest.approx(stats[1], abs=1e-6)
    for ours, theirs in zip(report.per_size.values(), stats[3:6], strict=True):
        assert (-1 if ours is None else ours) == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_random_predictions_score_what_pycocotools_says(seed):
    predictions = random_predictions(seed)
    image_ids, category_ids = [100 + at for at in range(12)], [7 + at for at in range(4)]
    report = evaluate(predictions).report
    assert 0.1 < report.map50_95 < report.map50 < 0.9
    assert_same(report, standard_stats(as_coco_json(predictions), predictions.found, image_ids, category_ids))


@pytest.mark.parametrize("seed", range(2))
def test_a_real_coco_json_scores_what_pycocotools_says_with_its_crowds_and_areas(test_data, seed):
    document = json.loads((test_data / "coco/json/instances_coco128_train.json").read_text())
    document.setdefault("info", {})
    image_ids = sorted(image["id"] for image in document["images"])
    category_ids = sorted(category["id"] for category in document["categories"])
    rows = document["annotations"]
    xywh = np.array([row["bbox"] for row in rows])
    truth = boxed(
        np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1),
        [category_ids.index(row["category_id"]) for row in rows],
        [image_ids.index(row["image_id"]) for row in rows],
        len(image_ids),
        crowd=[bool(row["iscrowd"]) for row in rows],
        areas=np.array([row["area"] for row in rows], np.float32),
    )
    assert truth.crowd.any(), "the crowds are what makes this json worth testing"
    predictions = Predictions(
        perturbed(truth, np.random.default_rng(seed), len(category_ids)), truth, tuple(str(number) for number in category_ids)
    )
    evaluation = evaluate(predictions)
    assert_same(evaluation.report, standard_stats(document, predictions.found, image_ids, category_ids))
    assert_weights_of_one_agree(evaluation)


def assert_weights_of_one_agree(evaluation):
    images = evaluation.report.images
    map50, map50_95 = mean_average_precision(evaluation.matches, np.array([np.ones(images), np.full(images, 2.0)]))
    assert map50 == pytest.approx([evaluation.report.map50] * 2, abs=1e-12)
    assert map50_95 == pytest.approx([evaluation.report.map50_95] * 2, abs=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_weights_of_one_or_two_on_every_image_change_nothing(seed):
    evaluation = evaluate(random_predictions(seed, images=3 + seed, boxes=10 + 20 * seed))
    assert_weights_of_one_agree(evaluation)
    for each, accuracy in zip(evaluation.matches, evaluation.report.per_class.values(), strict=True):
        [ap] = average_precision(each, np.ones((1, 3 + seed)))
        assert (ap[0], ap.mean()) == pytest.approx((accuracy.ap50, accuracy.ap50_95), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_matches_of_a_size_accumulate_to_its_figure(seed):
    evaluation = evaluate(random_predictions(seed))
    for figure, matches in zip(evaluation.report.per_size.values(), evaluation.matches_by_size, strict=True):
        assert mean_average_precision(matches, np.ones((1, 12)))[1] == pytest.approx([figure], abs=1e-12)


def test_rows_taken_apart_to_save_memory_are_the_same(monkeypatch):
    matches = evaluate(random_predictions(0)).matches_by_size[1][0]
    weights = np.random.default_rng(0).integers(0, 3, (20, 12)).astype(float)
    whole = average_precision(matches, weights)
    monkeypatch.setattr("edgewright.accuracy.coco.MOST_AT_ONCE", 3 * len(matches.image))
    assert np.array_equal(average_precision(matches, weights), whole, equal_nan=True)


def repeated(predictions: Predictions, counts) -> Predictions:
    """A data set in which image i occurs counts[i] times."""
    images = np.repeat(np.arange(len(counts)), counts)

    def of(held: Boxed) -> Boxed:
        rows = np.concatenate([np.arange(held.offsets[at], held.offsets[at + 1]) for at in images])
        offsets = np.cumsum([0, *np.diff(held.offsets)[images]])
        return Boxed(held.boxes_xyxy[rows], held.class_ids[rows], offsets, held.scores[rows] if held.scores.size else held.scores)

    return Predictions(of(predictions.found), of(predictions.truth), predictions.classes)


@pytest.mark.parametrize("seed", range(5))
def test_an_image_of_weight_k_counts_like_k_copies_of_it(seed):
    predictions = random_predictions(seed)
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(12, np.full(12, 1 / 12), size=4)
    weighted = mean_average_precision(evaluate(predictions).matches, counts.astype(float))
    for at, row in enumerate(counts):
        report = evaluate(repeated(predictions, row)).report
        assert (weighted[0][at], weighted[1][at]) == pytest.approx((report.map50, report.map50_95), abs=1e-12)


def test_perfect_boxes_score_one_and_none_score_zero():
    truth = random_predictions(0).truth
    perfect = Boxed(truth.boxes_xyxy, truth.class_ids, truth.offsets, np.ones(len(truth.class_ids), np.float32))
    nothing = Boxed(NO_BOXES, np.zeros(0, np.int64), np.zeros(13, np.int64))
    names = ("a", "b", "c", "d")
    report = evaluate(Predictions(perfect, truth, names)).report
    assert (report.map50, report.map50_95) == pytest.approx((1.0, 1.0))
    empty = evaluate(Predictions(nothing, truth, names))
    assert (empty.report.map50, empty.report.map50_95, empty.report.detections) == (0.0, 0.0, 0)
    assert set(empty.report.per_class) == set(names), "classes that are labelled and never found score 0, and count"
    assert mean_average_precision(empty.matches, np.ones((2, 12)))[1] == pytest.approx([0.0, 0.0])


def test_without_truth_there_is_no_figure():
    found = random_predictions(0).found
    report = evaluate(Predictions(found, Boxed(NO_BOXES, np.zeros(0, np.int64), np.zeros(13, np.int64)), ("a", "b", "c", "d"))).report
    assert (report.map50, report.map50_95, report.per_class) == (0.0, 0.0, {})
    assert report.per_size == {"small": None, "medium": None, "large": None}
    assert np.isnan(mean_average_precision((), np.ones((3, 12)))).all()


def test_classes_without_a_true_box_do_not_count():
    predictions = random_predictions(1)
    more = Predictions(predictions.found, predictions.truth, (*predictions.classes, "unseen"))
    assert evaluate(more).report.map50_95 == pytest.approx(evaluate(predictions).report.map50_95)
    assert "unseen" not in evaluate(more).report.per_class


def test_sizes_are_told_apart():
    boxes = [[0, 0, 20, 20], [0, 0, 60, 60], [0, 0, 200, 200]]
    truth = boxed(boxes, [0, 0, 0], [0, 1, 2], 3)
    found = boxed(boxes[:2], [0, 0], [0, 1], 3, scores=np.array([0.9, 0.8], np.float32))
    assert evaluate(Predictions(found, truth, ("x",))).report.per_size == pytest.approx({"small": 1.0, "medium": 1.0, "large": 0.0})


def test_at_most_a_hundred_boxes_of_a_class_an_image_count():
    truth = boxed([[0, 0, 50, 50]], [0], [0], 1)
    far = [[300, 300, 310, 310]] * 100
    scores = np.linspace(0.9, 0.5, 101).astype(np.float32)
    found = boxed([*far, [0, 0, 50, 50]], [0] * 101, [0] * 101, 1, scores=scores)
    assert evaluate(Predictions(found, truth, ("x",))).report.map50 == 0.0


def test_a_row_that_draws_no_true_box_is_no_figure():
    evaluation = evaluate(Predictions(boxed([], [], [], 2), boxed([[0, 0, 9, 9]], [0], [0], 2), ("x",)))
    map50, _ = mean_average_precision(evaluation.matches, np.array([[0.0, 2.0], [2.0, 0.0]]))
    assert np.isnan(map50[0])
    assert map50[1] == 0.0


def test_the_report_has_the_contract_s_keys():
    document = json.loads(json.dumps(evaluate(random_predictions(0)).report.to_json()))
    assert set(document) == {"map50", "map50_95", "per_class", "per_size", "images", "detections"}
    assert set(document["per_size"]) == {"small", "medium", "large"}
    assert all(set(each) == {"ap50", "ap50_95"} for each in document["per_class"].values())
