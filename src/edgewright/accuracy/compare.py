"""How much accuracy was lost, and how sure we are: paired bootstrap over images.

The same images are drawn for both models in each replicate, so what is hard for both cancels out. mAP is no mean over
images, so each replicate accumulates anew, with every image weighed by how often it was drawn.
"""

from dataclasses import dataclass

from edgewright.accuracy.coco import Evaluation, mean_average_precision
from edgewright.errors import DataError
from edgewright.stats import Interval, interval_of, resample_counts

POINTS = 100.0  # mAP in points


@dataclass(frozen=True, slots=True)
class AccuracyDelta:
    """fitted - baseline in points (0..100), with 95 % paired bootstrap intervals over `images` images."""

    map50: Interval
    map50_95: Interval
    images: int

    def to_json(self) -> dict[str, object]:
        return {"map50": self.map50.to_json(), "map50_95": self.map50_95.to_json(), "images": self.images}


def compare(fitted: Evaluation, baseline: Evaluation, *, seed: int = 0) -> AccuracyDelta:
    """The change in mAP from `baseline` to `fitted`, both evaluated on the same images in the same order.

    Raises:
        DataError: no image holds a labelled box, so there is nothing to lose.
    """
    images = baseline.report.images
    if fitted.report.images != images:
        raise ValueError(f"the two were evaluated on different images: {fitted.report.images} and {images}")
    if not baseline.matches:
        raise DataError(
            f"none of the {images} images to judge on has a labelled box", fix="without truth no loss of accuracy can be measured"
        )
    draws = resample_counts(images, seed=seed)
    fitted50, fitted50_95 = mean_average_precision(fitted.matches, draws)
    base50, base50_95 = mean_average_precision(baseline.matches, draws)
    return AccuracyDelta(
        map50=interval_of(fitted.report.map50 - baseline.report.map50, fitted50 - base50).scaled(POINTS),
        map50_95=interval_of(fitted.report.map50_95 - baseline.report.map50_95, fitted50_95 - base50_95).scaled(POINTS),
        images=images,
    )
