"""What each class and each size lost, worst first, and what of it is chance."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accuracy.random_boxes import boxed, perturbed, random_predictions
from edgewright.accuracy.coco import evaluate
from edgewright.accuracy.predictions import Predictions
from edgewright.accuracy.regressions import FEWEST_IMAGES, find_regressions, highest_p


@pytest.fixture(scope="module")
def predictions():
    return random_predictions(0, images=60, boxes=480)


def without(predictions, lost, seed=0):
    """Most of the found boxes named by `lost` [D] are gone."""
    keep = ~lost | (np.random.default_rng(seed).random(len(lost)) < 0.3)
    found = predictions.found
    kept = boxed(found.boxes_xyxy[keep], found.class_ids[keep], found.image_of[keep], found.images, scores=found.scores[keep])
    return replace(predictions, found=kept)


def test_a_class_that_is_lost_comes_first_and_is_told_from_chance(predictions):
    worse = without(predictions, predictions.found.class_ids == 2)
    found = find_regressions(evaluate(worse), evaluate(predictions))
    first, *others = found.per_class
    assert (first.name, first.distinguishable) == ("class 2", True)
    assert first.change.high < -5
    assert {each.name for each in others} == {"class 0", "class 1", "class 3"}
    assert [(each.change.estimate, each.distinguishable) for each in others] == [(0.0, False)] * 3


def test_a_size_that_is_lost_comes_first(predictions):
    area = np.prod(predictions.found.boxes_xyxy[:, 2:] - predictions.found.boxes_xyxy[:, :2], axis=1)
    found = find_regressions(evaluate(without(predictions, area < 32**2)), evaluate(predictions))
    assert (found.per_size[0].name, found.per_size[0].distinguishable) == ("small", True)
    assert {each.name for each in found.per_size} == {"small", "medium", "large"}
    assert not any(each.distinguishable for each in found.per_size[1:])


def test_figures_are_those_of_the_reports(predictions):
    worse = replace(predictions, found=perturbed(predictions.truth, np.random.default_rng(1), 4, misses=0.4))
    after, before = evaluate(worse), evaluate(predictions)
    found = find_regressions(after, before)
    for each in found.per_class:
        figures = before.report.per_class[each.name].ap50_95, after.report.per_class[each.name].ap50_95
        assert (each.before, each.after) == pytest.approx(figures)
        assert each.change.estimate == pytest.approx(100 * (figures[1] - figures[0]))
        assert each.change.low <= each.change.estimate <= each.change.high
    for each in found.per_size:
        assert (each.before, each.after) == pytest.approx((before.report.per_size[each.name], after.report.per_size[each.name]))
    truth = predictions.truth
    for each in found.per_class:
        of_class = truth.class_ids == int(each.name[-1])
        assert (each.true_boxes, each.images) == (of_class.sum(), len(np.unique(truth.image_of[of_class])))
    assert sum(each.true_boxes for each in found.per_size) == len(truth.class_ids)
    for listed in (found.per_class, found.per_size):
        keys = [(not each.distinguishable, each.change.estimate) for each in listed]
        assert keys == sorted(keys)


def test_models_that_differ_by_chance_are_not_told_apart():
    """Forty classes, and a second detector drawn as the first was."""
    calls = 0
    for seed in range(3):
        one = random_predictions(seed, images=60, classes=40, boxes=800)
        two = replace(one, found=perturbed(one.truth, np.random.default_rng(100 + seed), 40))
        calls += sum(each.distinguishable for each in find_regressions(evaluate(two), evaluate(one)).per_class)
    assert calls <= 3, "of 120; the plain 95 % intervals would name six or more"


def test_a_class_in_a_few_images_is_never_called():
    images = FEWEST_IMAGES - 1
    truth = boxed([[0, 0, 50, 50]] * images, [0] * images, range(images), images)
    scores = np.linspace(0.9, 0.8, images).astype(np.float32)
    hit = evaluate(Predictions(boxed([[0, 0, 50, 50]] * images, [0] * images, range(images), images, scores=scores), truth, ("x",)))
    miss = evaluate(Predictions(boxed([], [], [], images), truth, ("x",)))
    found = find_regressions(miss, hit)
    assert found.per_class[0].change.estimate == pytest.approx(-100)
    assert not found.per_class[0].distinguishable


def test_what_has_no_true_box_is_not_listed():
    truth = boxed([[0, 0, 20, 20]], [0], [0], 2)
    found = boxed([[0, 0, 20, 20]], [0], [0], 2, scores=np.ones(1, np.float32))
    evaluation = evaluate(Predictions(found, truth, ("x", "unseen")))
    listed = find_regressions(evaluation, evaluation)
    assert [each.name for each in listed.per_class] == ["x"]
    assert [each.name for each in listed.per_size] == ["small"]


def test_different_images_are_not_compared(predictions):
    with pytest.raises(ValueError, match="different images"):
        find_regressions(evaluate(random_predictions(0, images=10)), evaluate(predictions))


def test_the_document_is_json(predictions):
    document = json.loads(json.dumps(find_regressions(evaluate(predictions), evaluate(predictions)).to_json()))
    assert set(document) == {"per_class", "per_size"}
    keys = {"name", "before", "after", "change", "true_boxes", "images", "distinguishable"}
    assert all(set(each) == keys for each in (*document["per_class"], *document["per_size"]))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_false_discoveries_are_bounded_as_benjamini_and_hochberg_say(p_values):
    limit = highest_p(p_values, 0.1)
    called = [p for p in p_values if p <= limit]
    assert all(p <= 0.1 * len(called) / len(p_values) for p in called)
    more = sorted(p_values)[len(called) :]
    assert all(p > 0.1 * rank / len(p_values) for rank, p in enumerate(more, len(called) + 1))
