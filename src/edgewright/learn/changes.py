"""The changes that a recovery may make, each an object that composes with the others.

A change turns a student into another network and says how that is taught: `begin` gives an `Exercise`, whose model learns from the
teacher for `epochs` passes over the frames; `finish` turns the averaged weights into the next student.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgewright.artifact import InputSpec
from edgewright.errors import InputError
from edgewright.learn.channels import ChannelMap, map_channels, without_channels
from edgewright.learn.prune import choose, costs, importances
from edgewright.learn.rounding import Rounding, encodings_of
from edgewright.learn.student import Student
from edgewright.learn.studio import Studio
from edgewright.learn.swap import Activation, swap_activations
from edgewright.learn.trainable import Trainable
from edgewright.progress import Progress, unseen

FADE = 0.4  # of an exercise: by then the old activation is gone


@dataclass(frozen=True, slots=True)
class Exercise:
    """A network that is to learn, how it changes on the way (`at`: of 0..1 of the exercise), and what it is when it has learned.

    `input`: the pictures that it is to be meant for, where those are others; `said`: what was decided, for whoever reads the evidence.
    """

    model: Trainable
    finish: Callable[[Trainable], Student]
    at: Callable[[Trainable, float], None] = lambda _model, _share: None
    input: InputSpec | None = None
    said: Mapping[str, Any] = field(default_factory=dict)


class Change(Protocol):
    """One change of a network."""

    @property
    def name(self) -> str:
        """As it is written in a recipe."""

    @property
    def epochs(self) -> float:
        """Passes over the frames that it takes to learn."""

    @property
    def learning_rate(self) -> float:
        """The highest, of AdamW."""

    def needless(self, student: Student) -> str | None:
        """Why there is nothing to change in it, if that is so."""

    def begin(self, student: Student, studio: Studio, progress: Progress = unseen) -> Exercise:
        """The student, changed and ready to learn."""


class AlwaysChanges:
    """A change that every network has something for."""

    __slots__ = ()

    def needless(self, student: Student) -> str | None:
        _ = student
        return None


@dataclass(frozen=True, slots=True)
class SwapActivation:
    """SiLU becomes `activation`, faded in while the student learns."""

    activation: Activation = "relu"
    epochs: float = 6.0
    learning_rate: float = 1e-3

    @property
    def name(self) -> str:
        return "swap" if self.activation == "relu" else f"swap={self.activation}"

    def needless(self, student: Student) -> str | None:
        return None if swap_activations(student.model, self.activation).tensors else "the network has no SiLU"

    def begin(self, student: Student, studio: Studio, progress: Progress = unseen) -> Exercise:
        _ = progress
        swapped = swap_activations(student.model, self.activation)
        changed = replace(student, model=swapped.model, ranges={})
        model = changed.trainable(studio.size_of_cuts(changed.input))
        model.softened = swapped.tensors

        def fade(model: Trainable, share: float) -> None:
            model.softness = max(0.0, 1 - share / FADE)

        said = {"activations": len(swapped.tensors)}
        return Exercise(model, changed.learned, fade, said=said)


@dataclass(frozen=True, slots=True)
class PruneChannels(AlwaysChanges):
    """Channels go until `share` of the multiply-adds, or of the time in the student's engine (`by_time`), is saved."""

    share: float = 0.4
    by_time: bool = False
    epochs: float = 8.0
    learning_rate: float = 1e-3

    @property
    def name(self) -> str:
        return f"prune={self.share:g}{'t' if self.by_time else ''}"

    def begin(self, student: Student, studio: Studio, progress: Progress = unseen) -> Exercise:
        channels = map_channels(student.model, student.outputs)
        weighed = importances(student.trainable(studio.frames.size_wh).to(studio.device), student.head, channels, studio.few_batches())
        total_ms, rates_ms = self._costs(student, channels, studio, progress)

        def is_enough(macs_gone: float, time_gone: float) -> bool:
            return (time_gone if self.by_time else macs_gone) >= self.share

        pruning = choose(channels, weighed, total_ms, rates_ms, is_enough, studio.channel_step)
        changed = replace(student, model=without_channels(student.model, channels, pruning.kept), ranges={})
        said = {
            "macs_before": pruning.macs_before,
            "macs_after": pruning.macs_after,
            "estimated_ms": [round(pruning.ms_before, 3), round(pruning.ms_after, 3)],
            "widths": [[len(width.numbers), int(pruning.kept[width.numbers].sum())] for width in channels.widths],
        }
        return Exercise(changed.trainable(studio.size_of_cuts(changed.input)), changed.learned, said=said)

    @staticmethod
    def _costs(student: Student, channels: ChannelMap, studio: Studio, progress: Progress) -> tuple[float, NDArray[np.float64]]:
        """What the network costs, and a multiply-add of each width; remembered by the network's shape."""

        def measure() -> list[float]:
            total_ms, rates_ms = costs(student.model, channels, studio.stopwatch(student), studio.channel_step, progress)
            return [total_ms, *rates_ms.tolist()]

        shape = [[conv.name, len(conv.reads), len(conv.makes), conv.macs_a_pair] for conv in channels.convs]
        total_ms, *rates_ms = studio.measured_once("grid-costs", shape, 1 + len(channels.widths), measure)
        return total_ms, np.array(rates_ms)


@dataclass(frozen=True, slots=True)
class Shrink(AlwaysChanges):
    """The network is trained for smaller pictures, of that width and the same shape; it learns from the boxes that its teacher finds in the
    large ones.
    """

    width: int
    epochs: float = 6.0
    learning_rate: float = 5e-4

    @property
    def name(self) -> str:
        return f"shrink={self.width}"

    def begin(self, student: Student, studio: Studio, progress: Progress = unseen) -> Exercise:
        _ = progress
        wide, high = student.input.size_wh
        stride, size_wh = max(student.head.strides), (self.width, round(high * self.width / wide))
        if not (self.width < wide and size_wh[0] * high == size_wh[1] * wide and not any(side % stride for side in size_wh)):
            expected = f"a width below {wide}, for pictures of the same shape with sides that are multiples of {stride}"
            raise InputError(f"the model cannot be shrunk to {self.width}", got=f"{size_wh[0]}x{size_wh[1]}", expected=expected)
        changed = student.of_size(size_wh)
        changed.cut()  # or it says what in the graph is bound to the old size
        changed = replace(changed, ranges={})
        return Exercise(changed.trainable(studio.size_of_cuts(changed.input)), changed.learned, input=changed.input)


@dataclass(frozen=True, slots=True)
class QuantizeAware(AlwaysChanges):
    """Weights and activations are rounded as they will be deployed while the student learns; scales of activations are learned too."""

    epochs: float = 2.0
    learning_rate: float = 1e-4

    @property
    def name(self) -> str:
        return "qat"

    def begin(self, student: Student, studio: Studio, progress: Progress = unseen) -> Exercise:
        _ = progress
        rounding = Rounding(encodings_of(studio.quantized(student), student.model))
        model = student.trainable(studio.size_of_cuts(student.input))
        model.round = rounding

        def finish(taught: Trainable) -> Student:
            ranges = {} if taught.round is None else taught.round.ranges()
            return replace(student.learned(taught), ranges=ranges)

        return Exercise(
            model, finish, said={"activations": len(rounding.encodings.activations), "weights": len(rounding.encodings.weights)}
        )
