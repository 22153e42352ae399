"""The confidence threshold after quantization: a known shift of the scores is undone, and no noise is taken for one."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accuracy.random_boxes import boxed, random_predictions
from edgewright.accuracy.predictions import Predictions, pseudo_truth
from edgewright.accuracy.threshold import FEWEST_BOXES, f1_at, mark, refit

SCORE = 0.25
CLASSES = 3


def shifted(predictions, scale, offset, *, classes=range(CLASSES)):
    """The same boxes with log-odds * scale + offset, in the classes named."""
    scores = predictions.found.scores.astype(np.float64)
    log_odds = np.log(scores / (1 - scores)) * scale + offset
    moved = np.isin(predictions.found.class_ids, list(classes))
    scores = np.where(moved, 1 / (1 + np.exp(-log_odds)), scores)
    return replace(predictions, found=replace(predictions.found, scores=scores.astype(np.float32)))


def detector_says(seed, *, images=100, boxes=600):
    """Scores from 0.01 to 0.99, all different, good boxes above bad ones on the whole."""
    predictions = random_predictions(seed, images=images, classes=CLASSES, boxes=boxes)
    rng = np.random.default_rng(seed)
    order = np.argsort(np.argsort(predictions.found.scores + rng.random(len(predictions.found.scores)) * 0.3))
    scores = 0.01 + 0.98 * (order + 1) / (len(order) + 1)
    return replace(predictions, found=replace(predictions.found, scores=scores.astype(np.float32)))


def shown(predictions, score, per_class=None):
    own = np.array([(per_class or {}).get(name, score) for name in predictions.classes], np.float32)
    return predictions.found.scores > own[predictions.found.class_ids]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.6, 1.7), offset=st.floats(-1.2, 1.2))
def test_a_monotone_shift_is_undone_to_the_box(seed, scale, offset):
    exact = detector_says(seed, images=30, boxes=150)
    fitted = shifted(exact, scale, offset)
    found = refit(exact, fitted, SCORE)
    assert np.array_equal(shown(fitted, found.score), shown(exact, SCORE))
    assert found.per_class is None, "one shift for all classes needs one threshold"
    assert found.f1_after == found.f1_float
    assert found.images == 30


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), offset=st.floats(0.5, 1.5), sign=st.sampled_from([-1, 1]), cls=st.integers(0, CLASSES - 1))
def test_a_shift_of_one_class_is_undone_in_that_class(seed, offset, sign, cls):
    exact = detector_says(seed)
    fitted = shifted(exact, 1.0, sign * offset, classes=[cls])
    found = refit(exact, fitted, SCORE)
    assert found.per_class is not None
    wrong_before = shown(fitted, found.score) != shown(exact, SCORE)
    wrong_after = shown(fitted, found.score, found.per_class) != shown(exact, SCORE)
    assert wrong_after.sum() <= 0.35 * wrong_before.sum(), "shrinkage leaves a little"
    assert abs(found.f1_after - found.f1_float) < 0.01
    log_odds = {name: np.log(t / (1 - t)) for name, t in found.per_class.items()}
    others = [value for name, value in log_odds.items() if name != f"class {cls}"]
    assert all(0.7 * offset < sign * (log_odds[f"class {cls}"] - other) < 1.1 * offset for other in others)


def test_noise_is_not_taken_for_a_shift_of_classes():
    """Scores jitter, as rounding makes them: of forty such models at most one gets thresholds per class."""
    jittery = [(detector_says(seed), jitter(seed)) for seed in range(40)]
    found = [refit(first_half(exact), first_half(fitted), SCORE) for exact, fitted in jittery]
    assert sum(each.per_class is not None for each in found) <= 1
    for (exact, fitted), each in zip(jittery, found, strict=True):
        assert abs(np.log(each.score / (1 - each.score)) - (np.log(SCORE / (1 - SCORE)) + 0.3)) < 0.12
        unseen, wanted = second_half(fitted), shown(second_half(exact), SCORE).sum()
        assert abs(shown(unseen, each.score).sum() - wanted) < abs(shown(unseen, SCORE).sum() - wanted)


def jitter(seed):
    exact = detector_says(seed)
    return shifted(exact, 1.0, np.random.default_rng(seed).normal(0.3, 0.2, len(exact.found.scores)))


def first_half(predictions):
    return part(predictions, range(predictions.images // 2))


def second_half(predictions):
    return part(predictions, range(predictions.images // 2, predictions.images))


def part(predictions, images):
    def of(held):
        rows = np.concatenate([np.arange(held.offsets[at], held.offsets[at + 1]) for at in images])
        offsets = np.cumsum([0, *np.diff(held.offsets)[list(images)]])
        scores = held.scores[rows] if held.scores.size else held.scores
        return replace(held, boxes_xyxy=held.boxes_xyxy[rows], class_ids=held.class_ids[rows], offsets=offsets, scores=scores)

    return replace(predictions, found=of(predictions.found), truth=of(predictions.truth))


def test_the_same_model_keeps_its_threshold():
    exact = detector_says(0)
    found = refit(exact, exact, SCORE)
    assert (found.score, found.per_class) == (SCORE, None)
    assert found.f1_float == found.f1_before == found.f1_after


def test_scores_on_a_few_levels_take_the_nearer_count():
    """An integer model puts many boxes on one score; a threshold falls between two levels, never on one."""
    exact = detector_says(1)
    levels = np.round(exact.found.scores * 10) / 10
    fitted = replace(exact, found=replace(exact.found, scores=levels.astype(np.float32)))
    found = refit(exact, fitted, SCORE)
    counts = [(levels > t).sum() for t in np.arange(0.05, 1, 0.1)]
    wanted = shown(exact, SCORE).sum()
    assert abs(shown(fitted, found.score).sum() - wanted) == min(abs(count - wanted) for count in counts)
    assert not np.isclose(levels, found.score, atol=0.01).any()


def test_too_few_boxes_say_nothing():
    exact = random_predictions(0, images=3, boxes=6)
    assert shown(exact, SCORE).sum() < FEWEST_BOXES
    assert refit(exact, shifted(exact, 1.0, -1.0), SCORE).score == SCORE


def test_a_model_that_finds_nothing_gets_a_threshold_all_the_same():
    exact = detector_says(0)
    nothing = replace(exact, found=boxed([], [], [], exact.images, scores=np.zeros(0, np.float32)))
    found = refit(exact, nothing, SCORE)
    assert 0 < found.score < 1
    assert found.f1_after == 0.0


def test_without_labels_the_float_model_s_boxes_are_the_truth():
    exact = detector_says(2)
    bare = replace(exact, truth=boxed([], [], [], exact.images))
    fitted = shifted(bare, 1.0, -0.8)
    found = refit(bare, fitted, SCORE)
    assert found.f1_float == found.f1_after == 1.0
    assert found.f1_before < 0.95
    assert found == refit(replace(exact, truth=pseudo_truth(exact, SCORE)), fitted_with_pseudo(exact, fitted), SCORE)


def fitted_with_pseudo(exact, fitted):
    return replace(fitted, truth=pseudo_truth(exact, SCORE))


def test_classes_of_one_name_share_the_threshold():
    exact = replace(detector_says(3), classes=("x", "x", "y"))
    assert refit(exact, shifted(exact, 1.0, 1.5, classes=[0]), SCORE).per_class is None


def test_different_images_are_refused():
    with pytest.raises(ValueError, match="different images: 100 and 50"):
        refit(detector_says(0), first_half(detector_says(0)), SCORE)


def test_the_document_is_json():
    document = json.loads(json.dumps(refit(detector_says(0), shifted(detector_says(0), 1.0, 1.0, classes=[1]), SCORE).to_json()))
    assert set(document) == {"score", "per_class", "f1", "images"}
    assert set(document["f1"]) == {"float", "before", "after"}


def test_hits_and_f1_on_a_picture_one_can_count():
    truth = boxed([[0, 0, 10, 10], [20, 0, 30, 10]], [0, 0], [0, 0], 1)
    boxes = [[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [50, 50, 60, 60]]
    found = boxed(boxes, [0, 0, 1, 0], [0] * 4, 1, scores=np.array([0.9, 0.8, 0.7, 0.6], np.float32))
    predictions = Predictions(found, truth, ("a", "b"))
    assert mark(predictions).hit.tolist() == [True, False, False, False]  # the second box is a duplicate, the third of the wrong class
    assert [f1_at(predictions, score) for score in (0, 0.6, 0.7, 0.8, 0.9)] == pytest.approx([2 / 6, 2 / 5, 2 / 4, 2 / 3, 0])


def test_what_lies_in_a_crowd_counts_neither_way():
    truth = boxed([[0, 0, 100, 100], [200, 0, 210, 10]], [0, 0], [0, 0], 1, crowd=[True, False])
    found = boxed([[10, 10, 20, 20], [200, 0, 210, 10]], [0, 0], [0, 0], 1, scores=np.array([0.9, 0.8], np.float32))
    marked = mark(Predictions(found, truth, ("a",)))
    assert marked.hit.tolist() == [True]
    assert marked.true_boxes.tolist() == [1]


@pytest.mark.parametrize("seed", range(5))
def test_hits_are_those_of_pycocotools(seed):
    from edgewright.accuracy.coco import evaluate

    predictions = random_predictions(seed)
    theirs = sum(int(each.hit[0].sum()) for each in evaluate(predictions).matches)
    assert mark(predictions).hit.sum() == theirs
