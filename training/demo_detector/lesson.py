"""What a step of the recipe is: crops of drawn boards, and how wrong the network is about the defects in them."""

from dataclasses import dataclass

import torch
from torch import nn

from demo_detector.material import CROP_PX, Batch, Boards, batch
from demo_detector.model import HEAD, INPUT
from edgewright.learn.cells import read_cells
from edgewright.learn.losses import BoxesInBatch, Loss, label_loss
from edgewright.learn.material import to_input


@dataclass(frozen=True, slots=True)
class BoardLesson:
    """Batches of `size` crops; one seed gives one order of them."""

    boards: Boards
    seed: int
    size: int
    crop_px: int = CROP_PX

    def batch(self, step: int) -> Batch:
        return batch(self.boards, seed=self.seed, step=step, size=self.size, crop_px=self.crop_px)

    def loss(self, model: nn.Module, batch: Batch, step: int) -> Loss:  # noqa: ARG002 - the same at every step
        truth = BoxesInBatch(torch.from_numpy(batch.boxes), torch.from_numpy(batch.class_ids), torch.from_numpy(batch.present))
        return label_loss(read_cells(HEAD, model(to_input(batch.images, INPUT))), truth)
