"""Where accuracy went: the change of every class and of every size of box, and which changes are more than chance.

A class of a few boxes swings by tens of points for nothing, and of eighty classes four leave their 95 % interval by chance. So each change
comes with its paired bootstrap interval, and only what stands out among all the changes looked at is called distinguishable.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewright.accuracy.coco import SIZES, ClassMatches, Evaluation, average_precision, mean_average_precision
from edgewright.accuracy.compare import POINTS
from edgewright.stats import Interval, interval_of, resample_counts

FALSE_DISCOVERIES = 0.05  # of the changes called distinguishable, about so many are chance (Benjamini and Hochberg 1995)
FEWEST_IMAGES = 5  # that hold the class or size; drawing anew from fewer says nothing about others


@dataclass(frozen=True, slots=True)
class Regression:
    """AP50-95 (0..1) of one class or size before and after, and the change in points with its 95 % paired bootstrap interval.

    `true_boxes` of it are in `images` images.
    """

    name: str
    before: float
    after: float
    change: Interval
    true_boxes: int
    images: int
    distinguishable: bool

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "change": self.change.to_json()}


@dataclass(frozen=True, slots=True)
class Regressions:
    """Classes and sizes that have true boxes: first the distinguishable losses, then the others; each worst first."""

    per_class: tuple[Regression, ...]
    per_size: tuple[Regression, ...]

    def to_json(self) -> dict[str, Any]:
        return {"per_class": [each.to_json() for each in self.per_class], "per_size": [each.to_json() for each in self.per_size]}


def find_regressions(fitted: Evaluation, baseline: Evaluation, *, seed: int = 0) -> Regressions:
    """What each class and each size lost or gained from `baseline` to `fitted`, both evaluated on the same images in the same order."""
    images = baseline.report.images
    if fitted.report.images != images:
        raise ValueError(f"the two were evaluated on different images: {fitted.report.images} and {images}")
    # Every image once, then the draws: the point estimate and its replicates in one go.
    weights = np.concatenate([np.ones((1, images)), resample_counts(images, seed=seed)])
    classes = [_Change.of_class(*pair, weights) for pair in zip(fitted.matches, baseline.matches, strict=True)]
    by_size = zip(SIZES, fitted.matches_by_size, baseline.matches_by_size, strict=True)
    sizes = [_Change.of_size(name, after, before, weights) for name, after, before in by_size if before]
    return Regressions(_judged(classes), _judged(sizes))


@dataclass(frozen=True, slots=True)
class _Change:
    """Figures before the verdict; `resampled` [R] are replicates of after - before, NaN where no true box was drawn."""

    name: str
    before: float
    after: float
    resampled: NDArray[np.float64]
    true_boxes: int
    images: int

    @classmethod
    def of_class(cls, fitted: ClassMatches, baseline: ClassMatches, weights: NDArray[np.float64]) -> "_Change":
        (after, *afters), (before, *befores) = (average_precision(each, weights).mean(axis=1) for each in (fitted, baseline))
        held = baseline.true_boxes
        return cls(baseline.name, before, after, np.subtract(afters, befores), int(held.sum()), int(np.count_nonzero(held)))

    @classmethod
    def of_size(
        cls, name: str, fitted: tuple[ClassMatches, ...], baseline: tuple[ClassMatches, ...], weights: NDArray[np.float64]
    ) -> "_Change":
        (after, *afters), (before, *befores) = (mean_average_precision(each, weights)[1] for each in (fitted, baseline))
        held = np.sum([each.true_boxes for each in baseline], axis=0)
        return cls(name, before, after, np.subtract(afters, befores), int(held.sum()), int(np.count_nonzero(held)))

    @property
    def chance(self) -> float:
        """The two-sided p-value of no change, by the spread of the replicates."""
        sound = self.resampled[np.isfinite(self.resampled)]
        apart = abs(self.after - self.before)
        if self.images < FEWEST_IMAGES or apart == 0 or not sound.size:
            return 1.0
        spread = float(sound.std())
        return math.erfc(apart / spread / math.sqrt(2)) if spread > 0 else 0.0

    def judged(self, most_chance: float) -> Regression:
        change = interval_of(self.after - self.before, self.resampled).scaled(POINTS)
        distinguishable = self.chance <= most_chance
        return Regression(self.name, float(self.before), float(self.after), change, self.true_boxes, self.images, distinguishable)


def _judged(changes: list[_Change]) -> tuple[Regression, ...]:
    most_chance = highest_p([each.chance for each in changes])
    judged = [each.judged(most_chance) for each in changes]
    return tuple(sorted(judged, key=lambda each: (not (each.distinguishable and each.change.estimate < 0), each.change.estimate)))


def highest_p(p_values: list[float], rate: float = FALSE_DISCOVERIES) -> float:
    """The largest p-value still called a discovery at a false discovery rate (Benjamini and Hochberg 1995); -1 where there is none."""
    ordered = sorted(p_values)
    return max((p for rank, p in enumerate(ordered, 1) if p <= rate * rank / len(ordered)), default=-1.0)
