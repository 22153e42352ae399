"""What range does each tensor take? Watched picture by picture, in memory that does not grow with their number.

ONNX Runtime's own calibrators keep every tensor of every image (microsoft/onnxruntime#10503, #21979). Here each tensor has its extremes
and one histogram of fixed size, whose bins double in width whenever a value falls outside.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray

BINS = 4096  # even; a value's bin is then at most 1/1024 of the largest magnitude wide
MOST_SAMPLED = 65_536  # values of a tensor an image that enter the histogram; extremes look at all

Range: TypeAlias = tuple[float, float]  # low, high
Ranges: TypeAlias = dict[str, Range]
RangeRule: TypeAlias = "Callable[[TensorStatistics], Range]"


@dataclass(slots=True)
class TensorStatistics:
    """Extremes and a histogram over [-reach, reach) of one tensor."""

    low: float = np.inf
    high: float = -np.inf
    reach: float = 2.0**-10
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, values: NDArray[np.float32]) -> None:
        """Take in one image's values."""
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))
        while max(-self.low, self.high) >= self.reach:
            self._double_reach()
        flat = values.reshape(-1)
        step = max(1, flat.size // MOST_SAMPLED)
        # An odd step walks through all columns of an even-sized grid instead of always the same few.
        # The reach is a power of two, so in double precision (where no float32 underflows) this is exact, and a value falls into
        # the same bin whenever it is seen.
        at = np.floor(flat[:: step | 1].astype(np.float64) * (BINS / (2 * self.reach))).astype(np.int64) + BINS // 2
        self.counts += np.bincount(np.clip(at, 0, BINS - 1), minlength=BINS)

    @property
    def centres(self) -> NDArray[np.float64]:
        """The middle of each bin."""
        return (np.arange(BINS, dtype=np.float64) + 0.5) * (2 * self.reach / BINS) - self.reach

    def _double_reach(self) -> None:
        quarter = BINS // 4
        merged = self.counts.reshape(-1, 2).sum(axis=1)
        self.counts = np.concatenate([np.zeros(quarter, np.int64), merged, np.zeros(quarter, np.int64)])
        self.reach *= 2


def min_max(stats: TensorStatistics) -> Range:
    """Everything that was seen."""
    return stats.low, stats.high


def least_squares(stats: TensorStatistics, *, levels: int = 255) -> Range:
    """The range with the least expected squared error: rounding inside it (step^2 / 12 a value) against clipping outside.

    The two ends are shrunk independently over a grid; sums over the histogram make each trial O(1).
    """
    x, n = stats.centres, stats.counts.astype(float)
    c0, c1, c2 = (np.concatenate([[0.0], np.cumsum(n * x**k)]) for k in range(3))
    lows = min(stats.low, 0.0) * SHRINK
    highs = max(stats.high, 0.0) * SHRINK
    below = np.searchsorted(x, lows)
    above = np.searchsorted(x, highs)
    clipped_low = c2[below] - 2 * lows * c1[below] + lows**2 * c0[below]
    clipped_high = (c2[-1] - c2[above]) - 2 * highs * (c1[-1] - c1[above]) + highs**2 * (c0[-1] - c0[above])
    step = (highs[None, :] - lows[:, None]) / levels
    inside = np.maximum(c0[above][None, :] - c0[below][:, None], 0)
    cost = clipped_low[:, None] + clipped_high[None, :] + inside * step**2 / 12
    at_low, at_high = np.unravel_index(int(np.argmin(cost)), cost.shape)
    return float(lows[at_low]), float(highs[at_high])


SHRINK = np.linspace(1.0, 0.1, 91)


def percentile(stats: TensorStatistics, *, inside: float) -> Range:
    """The range that holds the share `inside` of all values, the same share cut off at either end."""
    cumulated = np.cumsum(stats.counts) / max(1, int(stats.counts.sum()))
    tail = (1 - inside) / 2
    width = 2 * stats.reach / BINS
    low = stats.centres[int(np.searchsorted(cumulated, tail))] - width / 2
    high = stats.centres[min(BINS - 1, int(np.searchsorted(cumulated, 1 - tail)))] + width / 2
    return max(stats.low, float(low)), min(stats.high, float(high))


def observe(
    model_path: Path, feeds: Iterable[Mapping[str, NDArray[Any]]], open_model: Callable[[Path], Any], scratch: Path
) -> dict[str, TensorStatistics]:
    """Statistics of every float tensor of the model over all feeds; one image's tensors are held at a time."""
    model = onnx.load(model_path)
    names = [*(value.name for value in model.graph.input), *_expose_all(model)]
    onnx.save(model, scratch)
    engine = open_model(scratch)
    found = {name: TensorStatistics() for name in names}
    try:
        for feed in feeds:
            for name, values in {**feed, **dict(zip(names[len(model.graph.input) :], engine.run(feed), strict=True))}.items():
                if values.dtype == np.float32 and values.size:
                    found[name].add(values)
    finally:
        engine.close()
        scratch.unlink(missing_ok=True)
    return {name: stats for name, stats in found.items() if np.isfinite(stats.low)}


def save_statistics(statistics: Mapping[str, TensorStatistics], path: Path) -> None:
    """Write as `.npz`."""
    columns = {name: np.array([getattr(stats, name) for stats in statistics.values()]) for name in ("low", "high", "reach", "counts")}
    with path.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, names=list(statistics), **columns)


def load_statistics(path: Path) -> dict[str, TensorStatistics]:
    """Read what `save_statistics` wrote."""
    with np.load(path, allow_pickle=False) as held:
        columns = (held["names"].tolist(), held["low"].tolist(), held["high"].tolist(), held["reach"].tolist(), held["counts"])
        return {name: TensorStatistics(low, high, reach, counts) for name, low, high, reach, counts in zip(*columns, strict=True)}


def _expose_all(model: onnx.ModelProto) -> list[str]:
    """Make every tensor an output; returns their names in output order."""
    held = {value.name for value in model.graph.output}
    for node in model.graph.node:
        for name in node.output:
            if name and name not in held:
                held.add(name)
                model.graph.output.append(onnx.ValueInfoProto(name=name))
    return [value.name for value in model.graph.output]
