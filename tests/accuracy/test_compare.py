"""A difference in accuracy, and how sure we are of it."""

from dataclasses import replace

import numpy as np
import pytest

from accuracy.random_boxes import boxed, perturbed, random_predictions
from edgewright.accuracy.coco import evaluate
from edgewright.accuracy.compare import compare
from edgewright.accuracy.predictions import Predictions
from edgewright.errors import DataError


def pair(seed=0, images=40):
    """A detector, and one that misses more."""
    predictions = random_predictions(seed, images=images, boxes=4 * images)
    worse = perturbed(predictions.truth, np.random.default_rng(seed + 1), 4, misses=0.5)
    return evaluate(predictions), evaluate(replace(predictions, found=worse))


def ends(interval):
    return interval.estimate, interval.low, interval.high


def test_no_difference_is_zero_with_no_width():
    good, _ = pair()
    delta = compare(good, good)
    assert ends(delta.map50) == ends(delta.map50_95) == (0.0, 0.0, 0.0)
    assert delta.images == 40


def test_a_worse_model_loses_points_and_the_interval_holds_the_estimate():
    good, worse = pair()
    delta = compare(worse, good)
    points = 100 * (worse.report.map50_95 - good.report.map50_95)
    assert points < -5
    assert delta.map50_95.estimate == pytest.approx(points)
    assert delta.map50_95.low < points < delta.map50_95.high < 0
    assert delta.map50_95.high - delta.map50_95.low < 40


def test_swapping_the_two_swaps_the_sign():
    good, worse = pair()
    there, back = compare(worse, good), compare(good, worse)
    for name in ("map50", "map50_95"):
        estimate, low, high = ends(getattr(there, name))
        assert ends(getattr(back, name)) == pytest.approx((-estimate, -high, -low))


def test_the_same_seed_gives_the_same_interval():
    good, worse = pair()
    assert compare(worse, good, seed=4) == compare(worse, good, seed=4)
    assert compare(worse, good, seed=4) != compare(worse, good, seed=5)


def test_more_images_narrow_the_interval():
    widths = [np.subtract(*ends(compare(*pair(images=images)[::-1]).map50_95)[:0:-1]) for images in (16, 256)]
    assert widths[1] < widths[0] / 2


def test_pairing_cancels_what_is_hard_for_both():
    """Two models that differ on one box of many: far narrower than either's own interval would be."""
    predictions = random_predictions(0, images=60, boxes=240)
    scores = predictions.found.scores.copy()
    scores[int(scores.argmax())] = 0.001
    delta = compare(evaluate(replace(predictions, found=replace(predictions.found, scores=scores))), evaluate(predictions))
    assert delta.map50.high - delta.map50.low < 2.0


def test_different_images_are_not_compared():
    with pytest.raises(ValueError, match="different images"):
        compare(pair(images=10)[0], pair(images=11)[0])


def test_without_a_labelled_box_there_is_no_verdict():
    nothing = evaluate(Predictions(random_predictions(0).found, boxed([], [], [], 12), ("a", "b", "c", "d")))
    with pytest.raises(DataError, match="none of the 12 images to judge on has a labelled box"):
        compare(nothing, nothing)


def test_a_single_image_has_an_interval_without_width():
    truth = boxed([[0, 0, 9, 9]], [0], [0], 1)
    hit = evaluate(Predictions(boxed([[0, 0, 9, 9]], [0], [0], 1, scores=np.ones(1, np.float32)), truth, ("x",)))
    miss = evaluate(Predictions(boxed([], [], [], 1), truth, ("x",)))
    assert ends(compare(miss, hit).map50) == pytest.approx((-100.0, -100.0, -100.0))


def test_the_document_has_the_contract_s_keys():
    document = compare(*pair()).to_json()
    assert set(document) == {"map50", "map50_95", "images"}
    assert set(document["map50"]) == {"estimate", "low", "high"}
