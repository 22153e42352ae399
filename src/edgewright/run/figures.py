"""What a service counts and times, of each camera and model. It adds up: captured = answered + dropped by reason + on the way."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgewright.run.recent import BOUNDS_S

RECENT: Final = 2000  # samples that quantiles are of
STAGES: Final = ("wait", "preprocess", "model", "postprocess", "service")


@dataclass(slots=True)
class Histogram:
    """Samples in seconds: counted in buckets since the start, and the latest ones kept for quantiles."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    total_s: float = 0.0
    # All of it from the beginning: memory that grows for an hour looks like a leak.
    _latest: NDArray[np.float64] = field(default_factory=lambda: np.zeros(RECENT))

    @property
    def count(self) -> int:
        return sum(self.counts)

    @property
    def recent(self) -> NDArray[np.float64]:
        """The latest samples, at most `RECENT`, oldest first."""
        count = self.count
        at = count % RECENT
        return self._latest[:count].copy() if count < RECENT else np.concatenate([self._latest[at:], self._latest[:at]])

    def add(self, seconds: float) -> None:
        self._latest[self.count % RECENT] = seconds
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.total_s += seconds

    def to_json(self) -> dict[str, Any]:
        """How many samples lie in each bucket (the first up to `BOUNDS_S[0]`, the last beyond all bounds), and their sum."""
        return {"counts": list(self.counts), "sum_s": round(self.total_s, 6)}

    def quantiles_ms(self) -> dict[str, float | None]:
        """p50, p90, p99 of the latest samples."""
        recent = self._latest[: self.count]
        if not len(recent):
            return {"p50": None, "p90": None, "p99": None}
        p50, p90, p99 = np.percentile(recent, [50, 90, 99]).tolist()
        return {"p50": round(p50 * 1e3, 3), "p90": round(p90 * 1e3, 3), "p99": round(p99 * 1e3, 3)}


@dataclass(slots=True)
class PairFigures:
    """Of one camera and one model, which came when `before` frames had been offered to others."""

    before: int = 0
    answered: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    age: Histogram = field(default_factory=Histogram)
    stages: dict[str, Histogram] = field(default_factory=lambda: {stage: Histogram() for stage in STAGES})

    def answer(self, age_s: float, waited_s: float, stages_ms: tuple[float, float, float]) -> None:
        """One more, of this age; what neither the wait nor the worker's own stages took is the service's."""
        self.answered += 1
        self.age.add(age_s)
        of_worker = [ms / 1e3 for ms in stages_ms]
        for stage, seconds in zip(STAGES, (waited_s, *of_worker, age_s - waited_s - sum(of_worker)), strict=True):
            self.stages[stage].add(max(0.0, seconds))

    def quantiles(self) -> dict[str, Any]:
        stages = {stage: histogram.quantiles_ms() for stage, histogram in self.stages.items()}
        return {"age_ms": self.age.quantiles_ms(), "stages_ms": stages}

    def buckets(self) -> dict[str, Any]:
        return {"age": self.age.to_json(), "stages": {stage: histogram.to_json() for stage, histogram in self.stages.items()}}


@dataclass(slots=True)
class CameraFigures:
    """Of one camera: frames it sent, those dropped before any model could be asked, and of each model what became of the others."""

    captured: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    models: dict[str, PairFigures] = field(default_factory=dict)

    @property
    def offered(self) -> int:
        """Captured, and not dropped before any model could be asked."""
        return self.captured - self.dropped.total()

    def captured_more(self, count: int, dropped: Mapping[str, int]) -> None:
        self.captured += count
        self.dropped.update(dropped)

    def on_the_way(self, model: str) -> int:
        """Captured, and neither answered nor dropped yet."""
        pair = self.models[model]
        return self.offered - pair.before - pair.answered - pair.dropped.total()

    def to_json(self) -> dict[str, Any]:
        """Counts, and quantiles of the latest samples."""
        return self._with(PairFigures.quantiles)

    def buckets_to_json(self) -> dict[str, Any]:
        """Counts, and all samples in buckets: of two such moments, what came between them can be told."""
        return self._with(PairFigures.buckets)

    def _with(self, times: Callable[[PairFigures], dict[str, Any]]) -> dict[str, Any]:
        return {
            "captured": self.captured,
            "dropped": dict(self.dropped),
            "models": {
                name: {"answered": pair.answered, "dropped": dict(pair.dropped), "on_the_way": self.on_the_way(name), **times(pair)}
                for name, pair in self.models.items()
            },
        }
