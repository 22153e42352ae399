"""What is counted and timed of each served model, in the words of Triton's statistics extension.

queue: from the request being whole to the model's process taking it up; compute_input, compute_infer, compute_output: what lies before,
in and after the network there. A success is an answer; a fail is counted with its reason.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from edgewright.run.figures import Histogram

STAGES: Final = ("queue", "compute_input", "compute_infer", "compute_output")


@dataclass(slots=True)
class BatchFigures:
    """Executions of so many requests."""

    count: int = 0
    stages_ns: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STAGES, 0))


@dataclass(slots=True)
class ModelFigures:
    """Since the server began, also over reloads of the model."""

    success: int = 0
    success_ns: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    fail_ns: int = 0
    inferences: int = 0
    executions: int = 0
    stages_ns: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STAGES, 0))
    stages: dict[str, Histogram] = field(default_factory=lambda: {stage: Histogram() for stage in STAGES})
    batches: dict[int, BatchFigures] = field(default_factory=dict)  # by how many requests were computed together
    trials: int = 0
    restarts: int = 0  # of its process
    last_inference_s: float = 0.0  # wall clock

    def ran(self, size: int, stages_ns: tuple[int, int, int, int]) -> None:
        """One execution, of so many requests."""
        self.executions += 1
        batch = self.batches.setdefault(size, BatchFigures())
        batch.count += 1
        for stage, taken_ns in zip(STAGES, stages_ns, strict=True):
            batch.stages_ns[stage] += taken_ns

    def answered(self, total_ns: int, stages_ns: tuple[int, int, int, int], wall_s: float) -> None:
        """One request; what it was computed together with others took, each of them took."""
        self.success += 1
        self.success_ns += total_ns
        self.inferences += 1
        self.last_inference_s = wall_s
        for stage, taken_ns in zip(STAGES, stages_ns, strict=True):
            self.stages_ns[stage] += taken_ns
            self.stages[stage].add(taken_ns / 1e9)

    def failed(self, reason: str, total_ns: int) -> None:
        self.failures[reason] += 1
        self.fail_ns += total_ns

    def to_json(self, name: str, version: str, memory_bytes: int | None) -> dict[str, Any]:
        """An entry of `model_stats` (Triton, extension_statistics.md)."""
        compute = {stage: {"count": self.success, "ns": self.stages_ns[stage]} for stage in STAGES}
        none = {"count": 0, "ns": 0}
        batches = [
            {"batch_size": size, **{stage: {"count": batch.count, "ns": batch.stages_ns[stage]} for stage in STAGES[1:]}}
            for size, batch in sorted(self.batches.items())
        ]
        memory = [] if memory_bytes is None else [{"type": "CPU", "id": 0, "byte_size": memory_bytes}]
        return {
            "name": name,
            "version": version,
            "last_inference": round(self.last_inference_s * 1e3),
            "inference_count": self.inferences,
            "execution_count": self.executions,
            "inference_stats": {
                "success": {"count": self.success, "ns": self.success_ns},
                "fail": {"count": self.failures.total(), "ns": self.fail_ns},
                **compute,
                "cache_hit": none,
                "cache_miss": none,
            },
            "response_stats": {},
            "batch_stats": batches,
            "memory_usage": memory,
        }
