"""Time models against each other, so that the ratio can be believed.

Each model lives in a child process of its own (its memory is its own, its crash is only its own), and they run in turn: a few
runs of one, a few of the next, round after round, forwards and backwards. What slows the machine for a while then slows all of
them, and the ratio within a round stays.
"""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from edgewright.bench.process import MeasuredProcess
from edgewright.progress import Progress, unseen
from edgewright.stats import Interval, Latency, paired_ratio

BLOCK_MS = 250.0  # about how long one model runs before the next has its turn
GLANCE_MS = 150.0  # the same where ten models are told apart, or figures stand beside a verdict and not under it
MOST_RUNS = 100  # in a block
ROUNDS = 12


@dataclass(frozen=True, slots=True)
class Job:
    """A model to measure: its file, others `beside` it that belong to it, what people call it, and how it is to run.

    `macs`: multiply-accumulates of one run, where they are known. `command`: what is to be started in place of our own child; it
    speaks as that does.
    """

    name: str
    path: Path
    engine: str
    precision: str
    threads: int
    scheme: str | None = None
    imgsz: int | None = None
    beside: tuple[Path, ...] = ()
    macs: int | None = None
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a job cost. `computes_in`: what the engine says it ran in; `rounds_ms`: the single runs, round by round; `cpu_percent`: of
    one core.
    """

    job: Job
    version: str
    computes_in: str
    load_ms: float
    first_ms: float
    rounds_ms: tuple[tuple[float, ...], ...]
    cpu_percent: float
    peak_mib: float
    size_bytes: int

    @property
    def samples_ms(self) -> list[float]:
        return [sample for block in self.rounds_ms for sample in block]

    @property
    def latency(self) -> Latency:
        return Latency.of(self.samples_ms)

    @property
    def macs_per_s(self) -> float | None:
        """Multiply-accumulates a second at the median, where they were counted."""
        return None if self.job.macs is None else round(self.job.macs / self.latency.p50 * 1e3)

    def row(self, peak_macs_per_s: float | None = None) -> dict[str, Any]:
        """A row of `edgewright bench`, as the contract names it. Model only, batch 1. `peak_share` is of `peak_macs_per_s`."""
        latency = self.latency
        return {
            "name": self.job.name,
            "engine": self.job.engine,
            "version": self.version,
            "precision": self.job.precision,
            "computes_in": self.computes_in,
            "scheme": self.job.scheme,
            "threads": self.job.threads,
            "batch": 1,
            "imgsz": self.job.imgsz,
            "load_ms": round(self.load_ms, 2),
            "first_ms": round(self.first_ms, 2),
            "p50_ms": latency.p50,
            "p90_ms": latency.p90,
            "p99_ms": latency.p99,
            "fps": round(1000 / latency.p50, 2),
            "cpu_percent": round(self.cpu_percent, 1),
            "peak_mib": round(self.peak_mib, 1),
            "size_mb": round(self.size_bytes / 1e6, 3),
            "energy_j": None,
            "macs": self.job.macs,
            "macs_per_s": self.macs_per_s,
            "peak_share": None if not peak_macs_per_s or self.macs_per_s is None else round(self.macs_per_s / peak_macs_per_s, 4),
        }

    def to_json(self) -> dict[str, Any]:
        """Everything, for the journal."""
        job = {**asdict(self.job), "path": str(self.job.path), "beside": [str(path) for path in self.job.beside]}
        return {**asdict(self), "job": job}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """What `to_json` wrote."""
        told = document["job"]
        beside, command = tuple(Path(path) for path in told["beside"]), tuple(told.get("command", ()))
        job = Job(**{**told, "path": Path(told["path"]), "beside": beside, "command": command})
        return cls(**{**document, "job": job, "rounds_ms": tuple(tuple(block) for block in document["rounds_ms"])})


def measure(jobs: Sequence[Job], *, rounds: int = ROUNDS, block_ms: float | None = None, progress: Progress = unseen) -> list[Measurement]:
    """Measure all jobs against each other, interleaved over `rounds` rounds, in which each has its turn of `block_ms` (None: `BLOCK_MS`).

    Raises:
        EngineError: a model does not run; the message is the engine's.
    """
    with ExitStack() as stack:
        children = []
        for job in jobs:
            # One after the other: loading and the first run are timed too, and must not share the cores with the next one's start.
            children.append(stack.enter_context(_Child(job)))
            children[-1].settle(BLOCK_MS if block_ms is None else block_ms)
        for done in range(rounds):
            # Every second round goes backwards, so that none always runs in the heat of the same neighbour.
            for child in children if done % 2 == 0 else reversed(children):
                child.run_block()
            progress(done + 1, rounds)
        return [child.measurement() for child in children]


def run_once(job: Job) -> None:
    """See that a job's model opens and answers noise, in a process that may die of it.

    Raises:
        EngineError: it does not; the message is the engine's.
    """
    with _Child(job) as child:
        child.open()


def ratio(a: Measurement, b: Measurement) -> Interval:
    """How many times longer `a` takes than `b` (p50), from one interleaved measurement."""
    return paired_ratio(a.rounds_ms, b.rounds_ms)


class _Child:
    """A measured model and what its process has said so far."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._process = MeasuredProcess(job.name, job.command or _own_command(job))
        self._rounds: list[tuple[float, ...]] = []
        self._wall_s = self._cpu_s = 0.0
        self._opened: dict[str, Any] = {}
        self._peak_mib = 0.0
        self._runs = 1

    def open(self) -> None:
        """Wait until the model is open and has run once."""
        self._opened = self._process.answer()

    def settle(self, block_ms: float) -> None:
        """Open the model, then run it until caches and clocks are warm; decides how many runs fill a block."""
        self.open()
        warm = [self._process.ask(runs=2), self._process.ask(runs=2)][-1]["samples_ms"]
        self._runs = runs_in(block_ms, warm[-1])

    def run_block(self) -> None:
        """One turn; its first run, which finds another model's data in the caches, is not counted."""
        answer = self._process.ask(runs=self._runs + 1)
        self._rounds.append(tuple(round(sample, 4) for sample in answer["samples_ms"][1:]))
        self._wall_s += answer["wall_s"]
        self._cpu_s += answer["cpu_s"]
        self._peak_mib = answer["peak_mib"]

    def measurement(self) -> Measurement:
        """All that was learnt."""
        return Measurement(
            job=self.job,
            version=self._opened["version"],
            computes_in=self._opened["computes_in"],
            load_ms=self._opened["load_ms"],
            first_ms=self._opened["first_ms"],
            rounds_ms=tuple(self._rounds),
            cpu_percent=100 * self._cpu_s / self._wall_s,
            peak_mib=self._peak_mib,
            size_bytes=sum(path.stat().st_size for path in (self.job.path, *self.job.beside)),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.__exit__(kind, error, trace)


def runs_in(block_ms: float, run_ms: float, least: int = 3) -> int:
    """How many runs fill a block."""
    return int(np.clip(round(block_ms / max(run_ms, 1e-3)), least, MOST_RUNS))


def _own_command(job: Job) -> list[str]:
    # -P: the folder we are called in may be a stranger's, and hold a numpy.py.
    options = [f"--engine={job.engine}", f"--threads={job.threads}", f"--precision={job.precision}"]
    return [sys.executable, "-P", "-m", "edgewright.bench.child", *options, "--", str(job.path)]
