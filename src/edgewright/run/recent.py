"""Quantiles of what came between two moments, from the buckets of a histogram then and now.

    >>> recent([0, 7, 3], [0, 5, 3], bounds_s=(0.1, 0.2)).p50_s
    0.15

Within a bucket samples are taken to lie evenly, as Prometheus's `histogram_quantile` has it: pages, `watch` and Grafana show the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

# Upper bounds in seconds, from 1 ms to 100 s, six a decade: each is half as much again as the one before.
BOUNDS_S: Final = tuple(round(0.001 * 10 ** (i / 6), 6) for i in range(31))


@dataclass(frozen=True, slots=True)
class Recent:
    """How many samples came, and below which time (s) half of them and 99 % lie; None where there are none."""

    count: int
    p50_s: float | None
    p99_s: float | None


NOTHING: Final = Recent(0, None, None)


def recent(now: Sequence[int], before: Sequence[int] | None = None, bounds_s: Sequence[float] = BOUNDS_S) -> Recent:
    """Of the samples that are counted in `now` and not yet in `before`; one that is of another service, or none, counts as nothing.

    `now`, `before`: a count a bucket, not cumulative, the last of them for what lies beyond all `bounds_s`.
    """
    new = list(now)
    if before is not None and len(before) == len(now):
        since = [after - earlier for after, earlier in zip(now, before, strict=True)]
        if min(since, default=0) >= 0:  # otherwise the service was begun anew, and all that it counts is new
            new = since
    count = sum(new)
    return Recent(count, quantile_s(new, 0.5, bounds_s), quantile_s(new, 0.99, bounds_s)) if count else NOTHING


def quantile_s(counts: Sequence[int], share: float, bounds_s: Sequence[float] = BOUNDS_S) -> float | None:
    """Below which time this share (0..1) of the samples lies. Of those beyond the last bound it is known only that: the bound is given."""
    total = sum(counts)
    if not total:
        return None
    wanted, seen = share * total, 0.0
    for (low_s, high_s), count in zip(pairwise((0.0, *bounds_s)), counts[:-1], strict=True):
        if count and seen + count >= wanted:
            return low_s + (high_s - low_s) * max(0.0, wanted - seen) / count
        seen += count
    return bounds_s[-1]
