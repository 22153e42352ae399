"""Is B different from A, and how sure are we? The one place where samples become statements."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Interval:
    """A point estimate with the ends of its 95 % interval."""

    estimate: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        return {key: round(value, 6) for key, value in asdict(self).items()}

    def scaled(self, factor: float) -> "Interval":
        """The same statement in another unit; `factor` is positive."""
        return Interval(self.estimate * factor, self.low * factor, self.high * factor)

    def __str__(self) -> str:
        return f"{self.estimate:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True, slots=True)
class Latency:
    """The quantiles people plan with, in milliseconds."""

    p50: float
    p90: float
    p99: float

    @classmethod
    def of(cls, samples_ms: Sequence[float] | NDArray[np.float64]) -> "Latency":
        """Quantiles of at least one sample, by linear interpolation."""
        p50, p90, p99 = np.percentile(np.asarray(samples_ms, float), [50, 90, 99]).tolist()
        return cls(round(p50, 3), round(p90, 3), round(p99, 3))

    def to_json(self) -> dict[str, float]:
        return asdict(self)


def interval_of(estimate: float, resampled: NDArray[np.float64]) -> Interval:
    """The percentile interval of bootstrap replicates round a point estimate (Efron 1979); replicates that are NaN do not count."""
    sound = resampled[np.isfinite(resampled)]
    if not sound.size:
        return Interval(estimate, float("-inf"), float("inf"))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(sound, [tail, 1 - tail]).tolist()
    return Interval(estimate, low, high)


def paired_ratio(a_rounds_ms: Sequence[Sequence[float]], b_rounds_ms: Sequence[Sequence[float]], *, seed: int = 0) -> Interval:
    """How many times longer A takes than B: the median over rounds of median(A) / median(B), with its bootstrap interval.

    A and B were timed in turn, round by round, so what slows the machine for a while slows both: the ratio within a round is steady
    where the times are not. Rounds are resampled, not single runs, because runs of one round are not independent.
    """
    ratios = np.array([np.median(a) / np.median(b) for a, b in zip(a_rounds_ms, b_rounds_ms, strict=True)])
    draws = np.random.default_rng(seed).integers(0, len(ratios), (RESAMPLES, len(ratios)))
    return interval_of(float(np.median(ratios)), np.median(ratios[draws], axis=1))


def resample_counts(units: int, *, seed: int, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """How often each of `units` is drawn in each bootstrap replicate, [resamples, units]."""
    return np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), size=resamples).astype(np.float64)


def units_to_settle(interval: Interval, bar: float, units: int) -> int | None:
    """About how many units would bring the interval's lower end above `bar`; None when the estimate itself is not above it.

    The half-width of an interval shrinks with the square root of the sample.
    """
    margin = interval.estimate - bar
    half_width = interval.estimate - interval.low
    if margin <= 0 or not np.isfinite(half_width):
        return None
    return max(units, int(np.ceil(units * (half_width / margin) ** 2)))


def mean_step(values: Sequence[float] | NDArray[np.float64], *, seed: int = 0) -> Interval:
    """How much a series of at least two values rises from one to the next: the mean step, and its interval by resampling the steps.

    For memory, which grows in steps: a line fitted by least squares takes one late step for a slope that is certain, while among resampled
    steps a single one is as often missing as not.
    """
    steps = np.diff(np.asarray(values, float))
    draws = np.random.default_rng(seed).integers(0, len(steps), (RESAMPLES, len(steps)))
    return interval_of(float(np.mean(steps)), np.mean(steps[draws], axis=1))
