"""Judging without labels: the float model's boxes above 0.25 stand in for the truth, and what is measured is agreement with them.

Agreement says how far the fitted model has moved, not how good either is: a mistake that both make counts as right.
"""

from dataclasses import replace

from edgewright.accuracy.coco import Evaluation, evaluate
from edgewright.accuracy.compare import AccuracyDelta, compare
from edgewright.accuracy.predictions import Predictions, pseudo_truth
from edgewright.errors import DataError

AGREE_ABOVE = 0.25  # the score above which a box of the float model counts as true


def evaluate_agreement(predictions: Predictions, baseline: Predictions) -> Evaluation:
    """The COCO figures of `predictions` where truth is what `baseline` shows on the same images; the baseline's own are 1."""
    if predictions.images != baseline.images:
        raise ValueError(f"the two saw different images: {predictions.images} and {baseline.images}")
    return evaluate(replace(predictions, truth=pseudo_truth(baseline, AGREE_ABOVE)))


def compare_by_agreement(fitted: Predictions, baseline: Predictions, *, seed: int = 0) -> AccuracyDelta:
    """How far `fitted` falls short of full agreement with `baseline`, in points: 0 where both show the same, -100 where nothing matches.

    The baseline is held against itself rather than against 1: it agrees with itself except where it shows more boxes of a class in an
    image than COCO counts, and that is not the fitted model's fault.

    Raises:
        DataError: the baseline finds nothing, so there is nothing to agree with.
    """
    itself = evaluate_agreement(baseline, baseline)
    if not itself.matches:
        raise DataError(
            f"the float model finds nothing in any of the {baseline.images} images",
            expected=f"boxes with a score above {AGREE_ABOVE}, which stand in for labels",
            fix="give images of what the model was trained on, or label them",
        )
    return compare(evaluate_agreement(fitted, baseline), itself, seed=seed)
