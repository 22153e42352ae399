"""Who takes part in a comparison, and who does not: read where no peer was asked for, so it imports no tool that a board lacks."""

from dataclasses import dataclass, field
from pathlib import Path

from edgewright.bench.end_to_end import FrameJob
from edgewright.bench.measure import Job


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A peer that is not among the rows, and why."""

    name: str
    reason: str

    def to_json(self) -> dict[str, str]:
        return {"name": self.name, "reason": self.reason}


@dataclass(slots=True)
class Peers:
    """What takes part: `jobs` and, where there is a source, their `frame_jobs`, in the same order; and what does not.

    `artifacts`: those of the peers that our own Detector runs, by name, so that they can be judged as well.
    """

    jobs: list[Job] = field(default_factory=list)
    frame_jobs: list[FrameJob] = field(default_factory=list)
    artifacts: dict[str, Path] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
