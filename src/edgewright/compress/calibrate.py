"""What range does each tensor take? Watched picture by picture, in memory that does not grow with their number.

ONNX Runtime's own calibrators keep every tensor of every image (microsoft/onnxruntime#10503, #21979). Here each tensor has its extremes
and one histogram of fixed size, whose bins double in width whenever a value falls outside. From these, four rules choose a range: what
was seen (`min_max`), what nearly all values lie in (`percentile`), what rounds and clips with the least squared error (`least_squares`),
what leaves the distribution most alike (`entropy`).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray

from edgewright.data.array_file import read_arrays, write_arrays
from edgewright.errors import DataError
from edgewright.whole_file import write_whole

BINS = 4096  # a multiple of 4; a value's bin is then at most 1/1024 of the largest magnitude wide
ZERO = BINS // 2  # where the bins of what is not negative begin
MOST_SAMPLED = 65_536  # values of a tensor an image that enter the histogram; extremes look at all

Range: TypeAlias = tuple[float, float]  # low, high
Ranges: TypeAlias = dict[str, Range]
RangeRule: TypeAlias = "Callable[[TensorStatistics], Range]"


@dataclass(slots=True)
class TensorStatistics:
    """Extremes and a histogram over (-reach, reach) of one tensor; of a picture-shaped one (rank 4) also the extremes of each channel.

    A bin holds its inner edge, the one nearer to zero: halving a magnitude, which is what doubling the reach does, then never moves a value
    out of the merged bin.
    """

    low: float = np.inf
    high: float = -np.inf
    reach: float = 2.0**-10
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    channel_low: NDArray[np.float32] | None = None
    channel_high: NDArray[np.float32] | None = None

    def add(self, values: NDArray[np.float32]) -> None:
        """Take in one image's values; what is not finite is left out."""
        low, high = self._extremes(values)
        if not np.isfinite([low, high]).all():
            values = values[np.isfinite(values)]
            if not values.size:
                return
            low, high = float(values.min()), float(values.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        while max(-self.low, self.high) >= self.reach:
            self._double_reach()
        flat = values.reshape(-1)
        step = max(1, flat.size // MOST_SAMPLED)
        # An odd step walks through all columns of an even-sized grid instead of always the same few.
        sampled = flat[:: step | 1].copy()  # what follows is several times faster on values that lie side by side
        # The reach is a power of two, so the product is exact, or so near to zero that it underflows: it stays in the inmost bin of its
        # sign, and a value falls into the same bin whenever it is seen.
        at = (sampled * np.float32(BINS / (2 * self.reach))).astype(np.int32)
        at += ZERO
        at -= sampled < 0
        self.counts += np.bincount(at, minlength=BINS)

    def _extremes(self, values: NDArray[np.float32]) -> Range:
        if values.ndim != 4:
            return float(values.min()), float(values.max())
        by_channel = values.reshape(*values.shape[:2], -1)
        low, high = by_channel.min(axis=2).min(axis=0), by_channel.max(axis=2).max(axis=0)
        self.channel_low = low if self.channel_low is None else np.minimum(self.channel_low, low)
        self.channel_high = high if self.channel_high is None else np.maximum(self.channel_high, high)
        return float(low.min()), float(high.max())

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


def entropy(stats: TensorStatistics, *, levels: int = 256) -> Range:
    """The range, zero included, whose encoding is closest to what was seen by Kullback-Leibler divergence.

    After Migacz, "8-bit Inference with TensorRT" (GTC 2017), which clips magnitudes at one threshold and gives 128 levels to one side of
    zero. Here the range has two ends and all 256 levels, so both ends are searched, one after the other, each over a grid, twice; the
    divergence (`kl_divergence`) is otherwise his. A range that covers fewer bins than levels says nothing about rounding and is not
    considered.
    """
    occupied = np.flatnonzero(stats.counts)
    low, high = (min(int(occupied[0]), ZERO), max(int(occupied[-1]) + 1, ZERO)) if occupied.size else (ZERO, ZERO)
    if high - low <= levels:
        return min_max(stats)
    lows, highs = _grid(low), _grid(high)
    for _ in range(2):
        high = min((end for end in highs if end - low >= levels), key=lambda end: kl_divergence(stats.counts, low, end, levels))
        low = min((end for end in lows if high - end >= levels), key=lambda end: kl_divergence(stats.counts, end, high, levels))
    width = 2 * stats.reach / BINS
    return max(min(stats.low, 0.0), (low - ZERO) * width), min(max(stats.high, 0.0), (high - ZERO) * width)


def _grid(end: int) -> list[int]:
    """Ends of a range nearer and nearer to zero, in bins: of equally good ones the widest comes first."""
    return [round(ZERO + share * (end - ZERO)) for share in SHRINK[::2]]


def kl_divergence(counts: NDArray[np.int64], low: int, high: int, levels: int) -> float:
    """How much is lost when counts[low:high] are told apart by no more than `levels` levels, and the rest is clipped to the ends.

    The reference has what was clipped in its outermost bins; the candidate spreads what is inside evenly over the occupied bins of each
    level, and knows nothing of what was clipped.
    """
    inside = counts[low:high].astype(np.float64)
    edges = np.arange(levels) * inside.size // levels
    widths = np.diff(edges, append=inside.size)
    occupied = np.add.reduceat((inside > 0).astype(np.float64), edges)
    mean = np.add.reduceat(inside, edges) / np.maximum(occupied, 1)
    candidate = np.repeat(mean, widths) * (inside > 0)
    reference = inside
    reference[0] += counts[:low].sum()
    reference[-1] += counts[high:].sum()
    seen = reference > 0
    p = reference[seen] / reference[seen].sum()
    q = np.maximum(candidate[seen], BARELY)
    return float((p * np.log(p / (q / q.sum()))).sum())


BARELY = 1e-4  # of a count: where the reference has something and the candidate nothing, the logarithm stays finite


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
    write_whole(scratch, model.SerializeToString(), sync=False)
    try:
        engine = open_model(scratch)
    finally:
        scratch.unlink(missing_ok=True)
    found = {name: TensorStatistics() for name in names}
    try:
        for feed in feeds:
            for name, values in {**feed, **dict(zip(names[len(model.graph.input) :], engine.run(feed), strict=True))}.items():
                if values.dtype == np.float32 and values.size:
                    found[name].add(values)
    finally:
        engine.close()
    return {name: stats for name, stats in found.items() if np.isfinite(stats.low)}


def save_statistics(statistics: Mapping[str, TensorStatistics], path: Path) -> None:
    """Write as `.npz`; the channels of all tensors lie one behind the other, `channels` of them each."""
    held = list(statistics.values())
    columns = {name: np.array([getattr(stats, name) for stats in held]) for name in ("low", "high", "reach", "counts")}
    columns["channels"] = np.array([0 if stats.channel_low is None else stats.channel_low.size for stats in held], np.int64)
    for name in CHANNEL_COLUMNS:
        extremes = [getattr(stats, name) for stats in held]
        columns[name] = np.concatenate([np.zeros(0, np.float32), *(each for each in extremes if each is not None)])
    write_arrays(path, {"names": np.array(list(statistics), str), **columns})


def load_statistics(path: Path) -> dict[str, TensorStatistics]:
    """Read what `save_statistics` wrote.

    Raises:
        DataError: it is not that.
    """
    held = read_arrays(path, COLUMNS)
    _check_columns(held, path)
    ends = np.cumsum(held["channels"])
    lows, highs = (np.split(held[name], ends[:-1]) for name in CHANNEL_COLUMNS)
    columns = (held["names"].tolist(), held["low"].tolist(), held["high"].tolist(), held["reach"].tolist(), held["counts"])
    return {
        name: TensorStatistics(low, high, reach, counts, *((a, b) if a.size else (None, None)))
        for name, low, high, reach, counts, a, b in zip(*columns, lows, highs, strict=True)
    }


def _check_columns(held: Mapping[str, NDArray[Any]], path: Path) -> None:
    """Refuse histograms that no picture could have left."""
    count, channels = len(held["names"]), held["channels"]
    reach, low, high = held["reach"], held["low"], held["high"]
    sound = (
        all(len(held[name]) == count for name in ("low", "high", "reach", "counts", "channels"))
        and len(set(held["names"].tolist())) == count > 0
        and held["counts"].shape[1] == BINS
        and bool((held["counts"] >= 0).all() and (channels >= 0).all() and (low <= high).all() and (reach > 0).all())
        and bool(np.isfinite(low).all() and np.isfinite(high).all() and np.isfinite(reach).all())
        and all(len(held[name]) == channels.sum() for name in CHANNEL_COLUMNS)
    )
    if not sound:
        raise DataError(f"{path.name} holds no histograms of ours")


CHANNEL_COLUMNS = ("channel_low", "channel_high")
COLUMNS = {
    "names": ("U", 1),
    **dict.fromkeys(("low", "high", "reach"), ("f", 1)),
    "counts": ("i", 2),
    "channels": ("i", 1),
    **dict.fromkeys(CHANNEL_COLUMNS, ("f", 1)),
}


def _expose_all(model: onnx.ModelProto) -> list[str]:
    """Make every tensor an output; returns their names in output order."""
    held = {value.name for value in model.graph.output}
    for node in model.graph.node:
        for name in node.output:
            if name and name not in held:
                held.add(name)
                model.graph.output.append(onnx.ValueInfoProto(name=name))
    return [value.name for value in model.graph.output]
