"""Time models against each other, so that the ratio can be believed.

Each model lives in a child process of its own (its memory is its own, its crash is only its own), and they run in turn: a few
runs of one, a few of the next, round after round, forwards and backwards. What slows the machine for a while then slows all of
them, and the ratio within a round stays.
"""

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from edgewright.errors import EngineError
from edgewright.progress import Progress, unseen
from edgewright.stats import Interval, Latency, paired_ratio

BLOCK_MS = 250.0  # about how long one model runs before the next has its turn
GLANCE_MS = 150.0  # the same where ten models are told apart, or figures stand beside a verdict and not under it
MOST_RUNS = 100  # in a block
ANSWER_S = 300.0  # a child silent for longer hangs
LAST_BREATH_S = 5.0  # between closing its output and being gone
ROUNDS = 12


@dataclass(frozen=True, slots=True)
class Job:
    """A model to measure: its file, others `beside` it that belong to it, what people call it, and how it is to run."""

    name: str
    path: Path
    engine: str
    precision: str
    threads: int
    scheme: str | None = None
    imgsz: int | None = None
    beside: tuple[Path, ...] = ()


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

    def row(self) -> dict[str, Any]:
        """A row of `edgewright bench`, as the contract names it. Model only, batch 1."""
        latency = self.latency
        return {
            "name": self.job.name,
            "engine": self.job.engine,
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
        }

    def to_json(self) -> dict[str, Any]:
        """Everything, for the journal."""
        job = {**asdict(self.job), "path": str(self.job.path), "beside": [str(path) for path in self.job.beside]}
        return {**asdict(self), "job": job}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """What `to_json` wrote."""
        told = document["job"]
        job = Job(**{**told, "path": Path(told["path"]), "beside": tuple(Path(path) for path in told["beside"])})
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
    """A measured process and what it has said so far."""

    def __init__(self, job: Job) -> None:
        self.job = job
        # -P: the folder we are called in may be a stranger's, and hold a numpy.py.
        options = [f"--engine={job.engine}", f"--threads={job.threads}", f"--precision={job.precision}"]
        command = [sys.executable, "-P", "-m", "edgewright.bench.child", *options, "--", str(job.path)]
        # A file, because a full pipe would stall the child; in memory, because nothing is to be left on a disk. Closed in __exit__.
        self._complaints = open(os.memfd_create("complaints"), "w+", errors="replace")  # noqa: PTH123, SIM115 - a descriptor
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._complaints, text=True
        )
        self._rounds: list[tuple[float, ...]] = []
        self._wall_s = self._cpu_s = 0.0
        self._opened: dict[str, Any] = {}
        self._peak_mib = 0.0
        self._runs = 1

    def open(self) -> None:
        """Wait until the model is open and has run once."""
        self._opened = self._answer()

    def settle(self, block_ms: float) -> None:
        """Open the model, then run it until caches and clocks are warm; decides how many runs fill a block."""
        self.open()
        warm = [self._ask(2), self._ask(2)][-1]["samples_ms"]
        self._runs = int(np.clip(round(block_ms / max(warm[-1], 1e-3)), 3, MOST_RUNS))

    def run_block(self) -> None:
        """One turn; its first run, which finds another model's data in the caches, is not counted."""
        answer = self._ask(self._runs + 1)
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

    def _ask(self, runs: int) -> dict[str, Any]:
        assert self._process.stdin is not None  # noqa: S101 - opened as a pipe above
        try:
            self._process.stdin.write(json.dumps({"runs": runs}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101 - opened as a pipe above
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(ANSWER_S):
                raise EngineError(
                    f"{self.job.name} ({self.job.path}) gives no answer", got=f"{ANSWER_S:.0f} s of silence", fix="try another engine"
                )
        line = self._process.stdout.readline()
        if not line:
            raise self._died()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise EngineError(f"{self.job.name} does not run: {answer['error']}")
        return answer

    def _died(self) -> EngineError:
        try:
            status = self._process.wait(timeout=LAST_BREATH_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._complaints.seek(0)
        last = (self._complaints.read().splitlines() or ["nothing"])[-1][:300]
        return EngineError(
            f"the process that ran {self.job.name} died", got=f"exit status {status}; its last words: {last}", fix="try another engine"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()
        self._complaints.close()
