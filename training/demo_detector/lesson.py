"""What a step of the recipe is: crops of drawn boards, and how wrong the network is about the defects in them."""

from dataclasses import dataclass

from torch import nn

from demo_detector.material import CROP_PX, Boards, batch
from demo_detector.model import HEAD, INPUT
from edgewright.learn.cells import read_cells
from edgewright.learn.losses import Loss, label_loss
from edgewright.learn.material import LabelledBatch, to_input


@dataclass(frozen=True, slots=True)
class BoardLesson:
    """Batches of `size` crops; one seed gives one order of them."""

    boards: Boards
    seed: int
    size: int
    crop_px: int = CROP_PX

    def batch(self, step: int) -> LabelledBatch:
        return batch(self.boards, seed=self.seed, step=step, size=self.size, crop_px=self.crop_px)

    def loss(self, model: nn.Module, batch: LabelledBatch, step: int) -> Loss:  # noqa: ARG002 - the same at every step
        assert batch.truth is not None
        return label_loss(read_cells(HEAD, model(to_input(batch.pictures, INPUT))), batch.truth)
