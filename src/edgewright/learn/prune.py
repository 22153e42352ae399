"""Which channels to take away: those that matter least to the answers for the time that they cost.

Importance. A channel is worth what the answers would change without it. To first order that change is the derivative of the answers along
the channel's gate, a factor of 1 before it (Molchanov et al., arXiv 1906.10771, there for the loss). At a student that answers as its
teacher does, the loss has no slope, so here the answers themselves are asked: the expected square of their derivative, estimated with
random directions (Hutchinson's estimator), each cell weighted by how sure the network is of it. No labels are needed. A gate before a
convolution's channel has the derivative sum(weight * gradient) over that channel's weights and bias.

Time. A multiply-add saved in a layer that waits for memory saves nothing. So all widths of a grid are halved together and the network is
timed in the engine that it is for, grid by grid; a channel is then worth its multiply-adds times what one of them was seen to cost on its
grid. (One width by itself saves a few parts in a hundred, which is what a clock is wrong by.)

Choice. Greedily, the least importance for the time first (a knapsack, as in HALP, arXiv 2110.10811), in steps of as many channels as
the kernels work on at once, until the target is met.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgewright.artifact import HeadSpec
from edgewright.learn.cells import Cells, read_cells
from edgewright.learn.channels import ChannelMap, without_channels
from edgewright.learn.trainable import Trainable
from edgewright.progress import Progress, unseen

STEP = 8  # channels taken at once: as many as vectors of 128 bits and more work on
WIDE_STEP = 16  # where they have 512 bits, or the unit multiplies matrices
FEWEST = 8  # channels that a width keeps
PROBES = 2  # random directions a batch
LEAST_RATE, MOST_RATE = 0.05, 8.0  # of the network's mean cost of a multiply-add: what a noisy timing may claim
SIDE_SHARE = 0.5  # how much the boxes' derivative counts beside the classes'

Kept = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Pruning:
    """What was decided: channels kept by number, multiply-adds and estimated time before and after, and channels by width."""

    kept: Kept
    macs_before: int
    macs_after: int
    ms_before: float
    ms_after: float

    @property
    def macs_share(self) -> float:
        """The share of multiply-adds that is gone."""
        return 1 - self.macs_after / self.macs_before


def importances(model: Trainable, head: HeadSpec, channels: ChannelMap, batches: Iterable[Tensor], seed: int = 0) -> NDArray[np.float64]:
    """How much the answers change without each channel, by number, [numbers]."""
    random = torch.Generator().manual_seed(seed)
    total = np.zeros(len(channels.pinned))
    for images in batches:
        cells = read_cells(head, model(images))
        for probe in range(PROBES):
            model.zero_grad(set_to_none=True)
            _along_a_direction(cells, random).backward(retain_graph=probe + 1 < PROBES)
            derivative = np.zeros(len(channels.pinned))
            for conv in channels.convs:
                np.add.at(derivative, conv.makes, _gates(model.learned, conv.weight, conv.bias))
            total += derivative**2
    model.zero_grad(set_to_none=True)
    return total


def _along_a_direction(cells: Cells, random: torch.Generator) -> Tensor:
    """The answers' component along a random direction, cells weighted by the square root of their score (it will be squared)."""

    def signs(like: Tensor) -> Tensor:
        return torch.randint(0, 2, like.shape, generator=random).to(like) * 2 - 1

    scores = cells.scores()
    sure = scores.detach().amax(-1)
    # sqrt(p (1 - p)): a change of logit is a change of probability; the weights are those of cross-entropy's curvature.
    spread = (scores.detach() * (1 - scores.detach())).sqrt()
    along = (cells.class_logits * signs(cells.class_logits) * spread).sum()
    if cells.objectness is not None:
        likely = cells.objectness.detach().sigmoid()
        along = along + (cells.objectness * signs(cells.objectness) * (likely * (1 - likely)).sqrt()).sum()
    boxes = cells.boxes_xyxy / cells.strides
    return along + SIDE_SHARE * (boxes * signs(boxes) * sure.sqrt()[..., None]).sum()


def _gates(learned: Mapping[str, Tensor], weight: str, bias: str | None) -> NDArray[np.float64]:
    """The derivative along the gate of each channel that a convolution makes."""
    found = (learned[weight] * _gradient(learned[weight])).flatten(1).sum(1)
    if bias is not None and bias in learned:
        found = found + learned[bias] * _gradient(learned[bias])
    return found.detach().double().cpu().numpy()


def _gradient(weight: Tensor) -> Tensor:
    return torch.zeros_like(weight) if weight.grad is None else weight.grad


class Clock(Protocol):
    """What times variants of a network in the engine that it is for."""

    def open(self, model: onnx.ModelProto) -> Any:
        """A variant, opened."""

    def milliseconds(self, engine: Any) -> float:
        """How long one run takes."""

    def saved_share(self, before: Any, model: onnx.ModelProto) -> float:
        """The share of that time which another variant saves."""


def costs(
    model: onnx.ModelProto, channels: ChannelMap, clock: Clock, step: int = STEP, progress: Progress = unseen
) -> tuple[float, NDArray[np.float64]]:
    """Milliseconds of the whole network, and of one multiply-add of each width, [widths], by the clock."""
    kept = channels.everything()
    macs = channels.macs(kept)
    grids = sorted({width.cells for width in channels.widths}, reverse=True)
    shares = {}
    with closing(clock.open(model)) as whole:
        total_ms = clock.milliseconds(whole)
        for at, cells in enumerate(grids):
            halved = kept.copy()
            for width in channels.widths:
                if width.cells == cells:
                    halved[width.numbers[_half(len(width.numbers), step) :]] = False
            gone = 1 - channels.macs(halved) / macs
            shares[cells] = clock.saved_share(whole, without_channels(model, channels, halved)) / gone if gone else 1.0
            progress(at + 1, len(grids))
    rates = np.clip([shares[width.cells] for width in channels.widths], LEAST_RATE, MOST_RATE)
    return total_ms, rates * total_ms / macs


def _half(channels: int, step: int) -> int:
    """About half of them, in whole steps."""
    return min(channels, max(step, round(channels / 2 / step) * step))


def choose(
    channels: ChannelMap,
    importance: NDArray[np.float64],
    total_ms: float,
    rates_ms: NDArray[np.float64],
    is_enough: Callable[[float, float], bool],
    step: int = STEP,
) -> Pruning:
    """Take channels away until `is_enough(share of multiply-adds gone, estimated share of time gone)`, or nothing more may go."""
    kept = channels.everything()
    macs_before, ms_before = channels.macs(kept), total_ms
    macs, ms = macs_before, total_ms
    order = [width.numbers[np.argsort(importance[width.numbers], kind="stable")] for width in channels.widths]
    gone = [0] * len(order)
    while not is_enough(1 - macs / macs_before, 1 - ms / ms_before):
        best: tuple[float, int, int, Kept] | None = None
        for at, numbers in enumerate(order):
            count = _next_step(len(numbers), gone[at], step)
            if not count:
                continue
            trial = kept.copy()
            trial[numbers[gone[at] : gone[at] + count]] = False
            saved = macs - channels.macs(trial)
            worth = float(importance[numbers[gone[at] : gone[at] + count]].sum()) / max(saved * rates_ms[at], 1e-12)
            if saved and (best is None or worth < best[0]):
                best = (worth, at, count, trial)
        if best is None:
            break
        _, at, count, kept = best
        gone[at] += count
        after = channels.macs(kept)
        ms -= (macs - after) * float(rates_ms[at])
        macs = after
    return Pruning(kept, macs_before, macs, ms_before, max(ms, 0.0))


def _next_step(channels: int, gone: int, step: int) -> int:
    """How many channels go next, so that what is left is a multiple of `step`; 0 where too few would be left."""
    left = channels - gone
    count = left % step or step
    return count if left - count >= FEWEST else 0
