"""Time detectors against each other from the file to the boxes: decode, preprocess, model, postprocess.

As in `measure`, each has a process of its own and they take turns by blocks of frames, round after round, so that the ratio within a round
can be believed. Frames a second are counted the way users get them; what each stage takes is looked at in a pass of its own, in which the
stages cannot overlap. How long a process takes from its start to its first boxes is timed before, several times.
"""

import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edgewright.bench.measure import ROUNDS, runs_in
from edgewright.bench.process import MeasuredProcess
from edgewright.progress import Progress, unseen
from edgewright.stats import Interval, paired_ratio

BLOCK_MS = 600.0  # about how long one detector runs before the next has its turn
LEAST_FRAMES = 8  # in a block, so that what was read ahead while others ran is a small part of it
STAGED_ROUNDS = 4  # after the others
COLD_STARTS = 3  # after one that warms the page cache
STAGES = ("decode", "preprocess", "model", "postprocess")


@dataclass(frozen=True, slots=True)
class FrameJob:
    """A detector to measure over a source: what people call it, its threads, and the command that starts it."""

    name: str
    threads: int
    command: tuple[str, ...]

    @classmethod
    def of_ours(cls, name: str, detector: Path, source: Path, threads: int) -> "FrameJob":
        """An artifact folder or a bare model, on the one path that users have."""
        # -P: the folder we are called in may be a stranger's, and hold a numpy.py.
        command = (sys.executable, "-P", "-m", "edgewright.bench.frames_child", f"--threads={threads}", "--", str(detector), str(source))
        return cls(name, threads, command)


@dataclass(frozen=True, slots=True)
class FrameMeasurement:
    """What a job cost: `rounds_ms`, milliseconds a frame, the frames of a round after one another; `stages_ms`, of single frames."""

    job: FrameJob
    cold_start_ms: float
    rounds_ms: tuple[tuple[float, ...], ...]
    stages_ms: dict[str, list[float]]
    peak_mib: float

    @property
    def frame_rounds_ms(self) -> list[tuple[float]]:
        """A round's mean: where stages overlap, single frames come in bursts."""
        return [(statistics.fmean(block),) for block in self.rounds_ms]

    @property
    def fps(self) -> float:
        return 1000 / statistics.median(mean for (mean,) in self.frame_rounds_ms)

    def row(self) -> dict[str, Any]:
        """What a row of `edgewright bench` gains. The share is of preprocess and postprocess in a frame's time without its decode."""
        stages = {stage: statistics.median(self.stages_ms[stage]) for stage in STAGES}
        around = stages["preprocess"] + stages["postprocess"]
        return {
            "end_to_end_fps": round(self.fps, 2),
            **{f"{stage}_ms": round(ms, 3) for stage, ms in stages.items()},
            "around_share": round(around / (around + stages["model"]), 4),
            "detector_peak_mib": round(self.peak_mib, 1),
            "cold_start_ms": round(self.cold_start_ms, 1),
        }


NOT_TIMED: dict[str, Any] = dict.fromkeys(
    ("end_to_end_fps", *(f"{stage}_ms" for stage in STAGES), "around_share", "detector_peak_mib", "cold_start_ms")
)


def measure_frames(jobs: Sequence[FrameJob], *, rounds: int = ROUNDS, progress: Progress = unseen) -> list[FrameMeasurement]:
    """Measure all jobs against each other, interleaved over `rounds` rounds.

    Raises:
        InputError: one is no detector, or the source cannot be read.
        EngineError: a detector does not run; the message says which.
    """
    colds = [_cold_start_ms(job) for job in jobs]
    with ExitStack() as stack:
        children = []
        for job, cold_ms in zip(jobs, colds, strict=True):
            children.append(stack.enter_context(_Child(job, cold_ms)))
            children[-1].settle()
        for done in range(rounds):
            # Every second round goes backwards, so that none always runs in the heat of the same neighbour.
            for child in children if done % 2 == 0 else reversed(children):
                child.run_block()
            progress(done + 1, rounds)
        # Last, for a second look at the source takes memory that users do not spend.
        for _ in range(STAGED_ROUNDS):
            for child in children:
                child.run_staged()
        return [child.measurement() for child in children]


def frame_ratio(a: FrameMeasurement, b: FrameMeasurement) -> Interval:
    """How many times longer `a` takes for a frame than `b`, from one interleaved measurement."""
    return paired_ratio(a.frame_rounds_ms, b.frame_rounds_ms)


def _cold_start_ms(job: FrameJob) -> float:
    """From the start of the process to its first boxes, files being in the page cache: the median of several."""
    times = []
    for _ in range(1 + COLD_STARTS):
        with MeasuredProcess(job.name, job.command) as process:
            times.append(process.first_answer()[1])
    return statistics.median(times[1:])


class _Child:
    """A measured detector and what its process has said so far."""

    def __init__(self, job: FrameJob, cold_start_ms: float) -> None:
        self.job = job
        self._cold_start_ms = cold_start_ms
        self._process = MeasuredProcess(job.name, job.command)
        self._rounds: list[tuple[float, ...]] = []
        self._stages: dict[str, list[float]] = {stage: [] for stage in STAGES}
        self._peak_mib = 0.0
        self._frames = 1

    def settle(self) -> None:
        """Wait for the first boxes, then run until caches and clocks are warm; decides how many frames fill a block."""
        self._process.first_answer()
        warm = [self._process.ask(runs=2), self._process.ask(runs=3)][-1]["samples_ms"]
        self._frames = runs_in(BLOCK_MS, statistics.median(warm), LEAST_FRAMES)

    def run_block(self) -> None:
        """One turn; its first frame, which finds another's data in the caches, is not counted."""
        answer = self._process.ask(runs=self._frames + 1)
        self._rounds.append(tuple(round(sample, 4) for sample in answer["samples_ms"][1:]))
        self._peak_mib = answer["peak_mib"]

    def run_staged(self) -> None:
        """As many frames, one stage after the other."""
        answer = self._process.ask(staged=self._frames + 1)
        for stage, taken in self._stages.items():
            taken.extend(answer["stages_ms"][stage][1:])

    def measurement(self) -> FrameMeasurement:
        """All that was learnt."""
        return FrameMeasurement(self.job, self._cold_start_ms, tuple(self._rounds), self._stages, self._peak_mib)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.__exit__(kind, error, trace)
