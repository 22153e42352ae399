"""Train, and survive being killed: every so often all that matters goes into one file, replaced in one step.

The learning rate, the batches and the averaging depend on the step number alone, so a resumed run ends where an
uninterrupted one would. Seconds are added up over resumes.
"""

import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from demo_detector.losses import Loss, Truth, detection_loss
from demo_detector.material import Batch

Batches = Callable[[int], Batch]
Report = Callable[[int, Loss, float], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How long and how fast; everything else follows from the step number."""

    steps: int
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    warmup_steps: int = 150
    average_decay: float = 0.999
    save_every: int = 200
    bfloat16: bool = True

    def rate(self, step: int) -> float:
        """Linear warm-up, then half a cosine down to a hundredth."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(self.steps - self.warmup_steps, 1)
        return self.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)

    def decay(self, step: int) -> float:
        """The average forgets fast at first."""
        return self.average_decay * (1 - math.exp(-(step + 1) / 300))


class Run:
    """A model in training, its running average, and how far it has come."""

    def __init__(self, model: nn.Module, average: nn.Module, recipe: Recipe) -> None:
        self.model, self.average, self.recipe = model, average, recipe
        average.load_state_dict(model.state_dict())
        decayed = [p for p in model.parameters() if p.ndim > 1]
        plain = [p for p in model.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.99))
        self.step = 0
        self.elapsed_s = 0.0

    def save(self, path: Path) -> None:
        """Whole or not at all."""
        state: dict[str, Any] = {
            "model": self.model.state_dict(), "average": self.average.state_dict(), "optimizer": self.optimizer.state_dict(),
            "step": self.step, "elapsed_s": self.elapsed_s,
        }  # fmt: skip
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)

    def resume(self, path: Path) -> None:
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.elapsed_s = int(state["step"]), float(state["elapsed_s"])

    def train(self, batches: Batches, *, checkpoint: Path, report: Report, stop_after: int | None = None) -> None:
        """On to the recipe's last step, or only `stop_after` steps further."""
        last = self.recipe.steps if stop_after is None else min(self.recipe.steps, self.step + stop_after)
        self.model.train()
        started_s = time.monotonic() - self.elapsed_s
        for prepared in _prefetched(batches, self.step, last):
            loss = self._one_step(prepared)
            self.step += 1
            self.elapsed_s = time.monotonic() - started_s
            report(self.step, loss, self.elapsed_s)
            if self.step % self.recipe.save_every == 0 or self.step == last:
                self.save(checkpoint)

    def _one_step(self, prepared: Batch) -> Loss:
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate(self.step)
        images = torch.from_numpy(prepared.images).permute(0, 3, 1, 2).float().div(255).contiguous(memory_format=torch.channels_last)
        with self._precision():
            maps = self.model(images)
        truth = Truth(torch.from_numpy(prepared.boxes), torch.from_numpy(prepared.class_ids), torch.from_numpy(prepared.present))
        loss = detection_loss(maps, truth)
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
        self.optimizer.step()
        self._follow()
        return loss

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast("cpu", torch.bfloat16) if self.recipe.bfloat16 else nullcontext()

    @torch.no_grad()
    def _follow(self) -> None:
        keep = self.recipe.decay(self.step)
        for slow, fast in zip(self.average.state_dict().values(), self.model.state_dict().values(), strict=True):
            if slow.dtype.is_floating_point:
                slow.lerp_(fast, 1 - keep)
            else:
                slow.copy_(fast)


def _prefetched(batches: Batches, first: int, last: int) -> Iterator[Batch]:
    """The next batches are cut while this one is learned from; two threads hide a slow disk."""
    with ThreadPoolExecutor(1) as pool:
        ahead = [pool.submit(batches, step) for step in range(first, min(first + 3, last))]
        for step in range(first, last):
            yield ahead.pop(0).result()
            if step + 3 < last:
                ahead.append(pool.submit(batches, step + 3))
