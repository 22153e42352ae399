"""Temporary."""

from collections.abc import Sequence
from typing import NamedTuple


class Quantiles(NamedTuple):
    p50: float | None
    p99: float | None


def quantiles_ms(bounds_s: Sequence[float], now: Sequence[int], before: Sequence[int]) -> Quantiles:
    if not before:
        before = (0,) * len(now)
    if not bounds_s or len(now) != len(bounds_s) + 1 or len(before) != len(now):
        return Quantiles(None, None)
    counts = [a - b for a, b in zip(now, before, strict=True)]
    total = sum(counts)
    if min(counts) < 0 or not total:
        return Quantiles(None, None)

    def of(share: float) -> float:
        rank, seen = share * total, 0
        for i, count in enumerate(counts):
            if seen + count >= rank and count:
                low = bounds_s[i - 1] if i else 0.0
                high = bounds_s[i] if i < len(bounds_s) else bounds_s[-1]
                return 1e3 * (low + (high - low) * (rank - seen) / count)
            seen += count
        return 1e3 * bounds_s[-1]

    return Quantiles(of(0.5), of(0.99))
