"""Train, and survive being killed: every so often all that matters goes into one file.

The learning rate, the batches and the averaging depend on the step number alone, so a resumed run ends where an uninterrupted one would,
bit for bit on the same machine with the same PyTorch and as many threads. Seconds are added up over resumes.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from edgewright.errors import InputError
from edgewright.learn.checkpoint import AGAIN, Checkpoint
from edgewright.learn.losses import Loss
from edgewright.printable import printable

Batch = TypeVar("Batch")
Model = TypeVar("Model", bound=nn.Module)
Taught_contra = TypeVar("Taught_contra", bound=nn.Module, contravariant=True)
Report = Callable[[int, Loss, float], None]  # step, its loss, seconds so far

PREPARED_AHEAD = 3
LARGEST_GRADIENT = 10.0  # its norm; a stray batch moves no further


class Lesson(Protocol[Taught_contra, Batch]):
    """What is learned from."""

    def batch(self, step: int) -> Batch:
        """The batch of a step, which depends on its number alone; prepared ahead, in a thread of its own."""

    def loss(self, model: Taught_contra, batch: Batch, step: int) -> Loss:
        """How wrong the model is about it."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast; everything else follows from the step number."""

    steps: int
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    warmup_steps: int = 150
    average_decay: float = 0.999
    save_every: int = 200
    bfloat16: bool = True

    def rate(self, step: int) -> float:
        """Linear warm-up, then half a cosine down to a hundredth (SGDR, arXiv 1608.03983, one cycle)."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(self.steps - self.warmup_steps, 1)
        return self.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)

    def decay(self, step: int) -> float:
        """The average forgets fast at first."""
        return self.average_decay * (1 - math.exp(-(step + 1) / 300))


class Training(Generic[Model, Batch]):
    """A model in training, its running average (Polyak), and how far it has come."""

    def __init__(self, model: Model, schedule: Schedule, lesson: Lesson[Model, Batch]) -> None:
        self.model, self.schedule, self.lesson = model, schedule, lesson
        self.average = copy.deepcopy(model)
        self.average.requires_grad_(False)
        decayed = [each for each in model.parameters() if each.ndim > 1]
        plain = [each for each in model.parameters() if each.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": schedule.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=schedule.learning_rate, betas=(0.9, 0.99))
        self.step = 0
        self.elapsed_s = 0.0

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return next(self.model.parameters()).device

    @property
    def is_done(self) -> bool:
        return self.step >= self.schedule.steps

    def train(self, *, checkpoint: Path, report: Report, stop_after: int | None = None) -> None:
        """On to the schedule's last step, or only `stop_after` steps further."""
        last = self.schedule.steps if stop_after is None else min(self.schedule.steps, self.step + stop_after)
        self.model.train()
        started_s = time.monotonic() - self.elapsed_s
        for batch in _prepared(self.lesson.batch, self.step, last):
            loss = self._learn_from(batch)
            self.step += 1
            self.elapsed_s = time.monotonic() - started_s
            report(self.step, loss, self.elapsed_s)
            if self.step % self.schedule.save_every == 0 or self.step == last:
                self.save(checkpoint)

    def save(self, path: Path) -> None:
        """Whole or not at all.

        Raises:
            DiskError: it cannot be written.
        """
        tensors = {f"{part}.{name}": tensor for part, model in self._models() for name, tensor in model.state_dict().items()}
        for at, held in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{at}.{name}": torch.as_tensor(value) for name, value in held.items()}
        Checkpoint(tensors, {"step": self.step, "elapsed_s": self.elapsed_s}).write(path)

    def resume(self, path: Path) -> None:
        """Where `save` left it.

        Raises:
            InputError: the file is no checkpoint, or one of another model.
        """
        found = Checkpoint.read(path)
        try:
            for part, model in self._models():
                model.load_state_dict(found.part(f"{part}."))
            held: dict[int, dict[str, Tensor]] = {}
            for name, tensor in found.part("optimizer.").items():
                at, _, key = name.partition(".")
                held.setdefault(int(at), {})[key] = tensor
            self._load_moments(held)
            self.step, self.elapsed_s = _steps(found.facts["step"]), float(found.facts["elapsed_s"])
        except (RuntimeError, LookupError, ValueError, TypeError, OverflowError) as error:
            # PyTorch's first line names only the class; the last one says what is missing, or of another size.
            said = printable(str(error).rpartition("\n")[2].strip(), 160)
            raise InputError("this checkpoint is of another model", got=said, fix=AGAIN) from error

    def _load_moments(self, held: Mapping[int, Mapping[str, Tensor]]) -> None:
        """What AdamW remembers, by the number of the parameter; PyTorch itself would only notice in the next step that it does not fit."""
        parameters = [each for group in self.optimizer.param_groups for each in group["params"]]
        for at, moments in held.items():
            wanted = {"step": torch.Size(), "exp_avg": parameters[at].shape, "exp_avg_sq": parameters[at].shape}
            if {name: value.shape for name, value in moments.items()} != wanted:
                raise ValueError(f"what the optimizer held of parameter {at}")
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": held})

    def _models(self) -> Iterator[tuple[str, nn.Module]]:
        yield "model", self.model
        yield "average", self.average

    def _learn_from(self, batch: Batch) -> Loss:
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.step)
        with self._precision():
            loss = self.lesson.loss(self.model, batch, self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), LARGEST_GRADIENT)
        self.optimizer.step()
        self._follow()
        return loss

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.schedule.bfloat16 else nullcontext()

    @torch.no_grad()
    def _follow(self) -> None:
        keep = self.schedule.decay(self.step)
        for slow, fast in zip(self.average.state_dict().values(), self.model.state_dict().values(), strict=True):
            if slow.dtype.is_floating_point:
                slow.lerp_(fast, 1 - keep)
            else:
                slow.copy_(fast)


def _steps(said: Any) -> int:
    if int(said) < 0:
        raise ValueError(f"step {said}")
    return int(said)


def _prepared(batches: Callable[[int], Batch], first: int, last: int) -> Iterator[Batch]:
    """The next batches are cut while this one is learned from."""
    with ThreadPoolExecutor(1) as pool:
        ahead = [pool.submit(batches, step) for step in range(first, min(first + PREPARED_AHEAD, last))]
        for step in range(first, last):
            yield ahead.pop(0).result()
            if step + PREPARED_AHEAD < last:
                ahead.append(pool.submit(batches, step + PREPARED_AHEAD))
