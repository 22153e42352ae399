"""What the user allows."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits; None is no limit. `max_drop` in points of mAP50-95, latency as p50 of the model alone, memory as the process's peak."""

    max_drop: float = 1.0
    max_latency_ms: float | None = None
    max_memory_mib: float | None = None
    max_size_mb: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
