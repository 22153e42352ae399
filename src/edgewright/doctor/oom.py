"""Why a model does not fit, how much of it would, and what to change: `edgewright doctor oom MODEL`.

    found = explain(Path("yolov8n.onnx"), Machine(), limit_bytes=300 << 20)
    found.batch.fits, found.size_wh        # the largest that were tried and fit

Nothing is computed here that could be tried: every statement is about a child process that lived or died under the limit.
"""

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgewright.doctor.advice import Advice, advise
from edgewright.doctor.critical import Critical, gallop, halve
from edgewright.doctor.kernel_log import Kills, kills_on
from edgewright.doctor.limit import Limiter
from edgewright.doctor.machine import Machine
from edgewright.doctor.trial import PATIENCE_S, Attempt, Trial, try_out
from edgewright.doctor.variants import Size, Variants, most_batch, open_given, smaller_sizes
from edgewright.errors import HostError
from edgewright.progress import Progress, unseen
from edgewright.run.memory import available_bytes
from edgewright.stats import Interval, mean_step

MIB = 1 << 20
LEAK_RUNS, MOST_LEAK_RUNS = 30, 200
LEAK_MS = 10_000.0  # about how long it is looked for
MOST_BATCH = 64
RESERVE = 0.9  # of what is available: the rest is for whoever else lives here
SLOWER = 20.0  # than by the others: it fights for pages
LEAST_LIMIT_BYTES = 16 * MIB  # less than a Python takes


@dataclass(frozen=True, slots=True)
class Split:
    """Where the memory goes, bytes: the interpreter with the engine; the opened model (weights, and what the engine makes of them); what a
    run takes on top (activations); what it is fed with; and how much more is held after each further run, with its 95 % interval.
    """

    started_bytes: int
    weights_bytes: int
    file_bytes: int
    activations_bytes: int
    fed_bytes: int
    leak_bytes_a_run: Interval
    runs: int

    @property
    def leaks(self) -> bool:
        return self.leak_bytes_a_run.low > 0

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "leak_bytes_a_run": self.leak_bytes_a_run.to_json(), "leaks": self.leaks}


@dataclass(frozen=True, slots=True)
class Explained:
    """What came of it. `given`: the model as it is. `size`, `batch`: the critical points, counted in steps of `sizes_wh` and in pictures;
    None where the model cannot be varied, and `fixed_size`, `fixed_batch` say why.
    """

    model: str
    engine: str
    threads: int
    limit_bytes: int
    how: str
    given_batch: int
    given_size_wh: Size | None
    given: Trial
    sizes_wh: tuple[Size, ...]
    size: Critical | None
    fixed_size: str | None
    batch: Critical | None
    fixed_batch: str | None
    split: Split | None
    advice: tuple[Advice, ...]
    kills: Kills

    @property
    def fits(self) -> bool:
        """The model as it is."""
        return self.given.fits

    @property
    def size_wh(self) -> Size | None:
        """The largest size of one picture that fits."""
        if self.size is None:
            return self.given_size_wh if self.fits else None
        return self.sizes_wh[self.size.fits - 1] if self.size.fits else None

    @property
    def largest_batch(self) -> int | None:
        """How many pictures of that size fit at once."""
        if self.batch is not None:
            return self.batch.fits or None
        return self.given_batch if self.fits else None

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "engine": self.engine,
            "threads": self.threads,
            "limit_bytes": self.limit_bytes,
            "limited_by": self.how,
            "fits": self.fits,
            "given": {"batch": self.given_batch, "size_wh": self.given_size_wh, **asdict(self.given)},
            "largest": {"size_wh": self.size_wh, "batch": self.largest_batch},
            "sizes_wh": self.sizes_wh,
            "size_steps": None if self.size is None else asdict(self.size),
            "batch_steps": None if self.batch is None else asdict(self.batch),
            "cannot_vary": {"size": self.fixed_size, "batch": self.fixed_batch},
            "split": None if self.split is None else self.split.to_json(),
            "advice": [each.to_json() for each in self.advice],
            "killed_before": self.kills.to_json(),
        }


def explain(
    path: Path,
    machine: Machine,
    limiter: Limiter,
    *,
    limit_bytes: int | None = None,
    threads: int = 1,
    batch: int | None = None,
    most: int = MOST_BATCH,
    stage: Callable[[str], None] = lambda _name: None,
    progress: Progress = unseen,
) -> Explained:
    """Try the model at `path` as it is, then smaller and larger, under `limit_bytes` (None: nine tenths of what is available now).

    `batch`: how many pictures are wanted at once (None: as the model has it); `most`: how many are tried at most.

    Raises:
        InputError: the model cannot be read, or should not be run.
        HostError: the machine has less than the limit.
    """
    limit_bytes = _limit(limit_bytes)
    given = open_given(path)
    kills = kills_on(machine)
    with tempfile.TemporaryDirectory(prefix="edgewright-oom-") as folder:
        search = _Search(Variants(given, Path(folder)), limiter, limit_bytes, threads, progress)
        stage("as it is")
        wanted = batch or given.batch
        as_given = search.trial(wanted, given.size_wh)
        stage("size")
        size, sizes, fixed_size = search.largest_size(fits_one=as_given.fits)
        stage("batch")
        size_wh = given.size_wh if size is None or not size.fits else sizes[size.fits - 1]
        critical, fixed_batch = search.largest_batch(size_wh, most_batch(most)) if size is None or size.fits else (None, None)
        stage("leak")
        fitting = (critical.fits if critical is not None and critical.fits else given.batch, size_wh)
        split = search.split(*fitting)
        stage("what helps")
        advice = advise(search.variants, limiter, max(limit_bytes, _room()), threads, wanted, size_wh, progress)
    return Explained(
        str(path),
        given.engine,
        threads,
        limit_bytes,
        limiter.how,
        wanted,
        given.size_wh,
        as_given,
        sizes,
        size,
        fixed_size,
        critical,
        fixed_batch,
        split,
        advice,
        kills,
    )


class _Search:
    """The trials of one model under one limit, each made once."""

    def __init__(self, variants: Variants, limiter: Limiter, limit_bytes: int, threads: int, progress: Progress) -> None:
        self.variants = variants
        self._limiter, self._limit_bytes, self._threads = limiter, limit_bytes, threads
        self._progress = progress
        self._known: dict[tuple[int, Size | None], Trial] = {}

    def trial(self, batch: int, size_wh: Size | None) -> Trial:
        if (batch, size_wh) not in self._known:
            attempt, patience_s = self._attempt(batch, size_wh), self._patience_s(batch, size_wh)
            self._known[batch, size_wh] = try_out(attempt, self._limiter, self._limit_bytes, patience_s=patience_s)
            self._progress(len(self._known), len(self._known) + 1)
        return self._known[batch, size_wh]

    def largest_size(self, *, fits_one: bool) -> tuple[Critical | None, tuple[Size, ...], str | None]:
        """Of one picture; None, and why, where there is but one."""
        given = self.variants.given
        if given.size_wh is None:
            return None, (), "its input is no picture"
        sizes, one = smaller_sizes(given.size_wh), 1 if self._can(1) else given.batch
        if fits_one or self.trial(one, given.size_wh).fits:
            return Critical(len(sizes), None, 1), sizes, None
        why = self.variants.why_not(one, sizes[0]) if len(sizes) > 1 else "it has no smaller one"
        if why is not None:
            return None, (given.size_wh,), why
        return halve(len(sizes), lambda step: self.trial(one, sizes[step - 1]).fits, fails=len(sizes)), sizes, None

    def largest_batch(self, size_wh: Size | None, most: int) -> tuple[Critical | None, str | None]:
        """At that size; None, and why, where the model takes as many as it takes."""
        why = self.variants.why_not(2 if self.variants.given.batch != 2 else 1, size_wh)
        if why is not None:
            return None, why
        return gallop(most, lambda batch: self.trial(batch, size_wh).fits), None

    def split(self, batch: int, size_wh: Size | None) -> Split | None:
        """Of a variant that fits; None if it does not, after all."""
        trial, few = self.trial(batch, size_wh), min(batch, self.variants.given.batch)  # a leak shows with one picture, and sooner
        if not trial.fits or trial.opened_bytes is None or trial.started_bytes is None:
            return None
        runs = round(min(max(LEAK_RUNS, LEAK_MS * batch / few / (trial.run_ms or 1.0)), MOST_LEAK_RUNS))
        # In the first half of them arenas and caches find their size.
        attempt = replace(self._attempt(few, size_wh), runs=2 * runs)
        often = try_out(attempt, self._limiter, self._limit_bytes)
        if not often.fits:
            return None
        return Split(
            trial.started_bytes,
            max(0, trial.opened_bytes - trial.started_bytes - (trial.fed_bytes or 0)),
            attempt.path.stat().st_size,
            trial.transient_bytes or 0,
            trial.fed_bytes or 0,
            mean_step(often.held_bytes[runs:]),
            runs,
        )

    def _patience_s(self, batch: int, size_wh: Size | None) -> float:
        """The usual, or much longer than what this many pixels should take by what others took."""
        a_pixel_ms = [(trial.run_ms or 0.0) / _pixels(*known) for known, trial in self._known.items()]
        return max(PATIENCE_S, SLOWER * max(a_pixel_ms, default=0.0) * _pixels(batch, size_wh) / 1000)

    def _can(self, batch: int) -> bool:
        return self.variants.why_not(batch, self.variants.given.size_wh) is None

    def _attempt(self, batch: int, size_wh: Size | None) -> Attempt:
        given = self.variants.given
        return Attempt(self.variants.make(batch, size_wh), given.engine, given.precision, self._threads)


def _pixels(batch: int, size_wh: Size | None) -> int:
    return batch * (1 if size_wh is None else size_wh[0] * size_wh[1])


def _limit(limit_bytes: int | None) -> int:
    room = _room()
    if limit_bytes is None:
        return room
    if limit_bytes > available_bytes():
        raise HostError(
            "this limit cannot be tried here",
            got=f"{available_bytes() // MIB} MiB available, a limit of {limit_bytes // MIB} MiB",
            fix="stop other programs, or lower --limit",
        )
    return limit_bytes


def _room() -> int:
    return max(LEAST_LIMIT_BYTES, round(available_bytes() * RESERVE))
