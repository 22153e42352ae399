"""One trial: a model, in a child of its own, under a limit. It fits, or it is killed; both are answers."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from edgewright.doctor.limit import Limit, Limiter
from edgewright.errors import EngineError
from edgewright.printable import printable

Outcome: TypeAlias = Literal["fits", "killed", "refused", "too slow"]

PATIENCE_S = 180.0  # with each step: a child that fights for its last pages gets nowhere
LOOK_S = 0.01
RUNS = 2  # the first takes what it needs, the second shows that it was all
MOST_ANSWER_BYTES = 1 << 20
OUT_OF_MEMORY = ("bad_alloc", "bad allocation", "failed to allocate", "cannot allocate", "std::bad_array_new_length", "out of memory")


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is tried."""

    path: Path
    engine: str
    precision: str
    threads: int
    runs: int = RUNS


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it, in bytes, as far as it came.

    `died_at`: the last step it survived. `started_bytes`: the interpreter and the engine's libraries; `opened_bytes`: with the model;
    `peak_bytes`: the most that was counted against the limit; `transient_bytes`: what a run took beyond what was held before it;
    `held_bytes`: anonymous memory after each run; `run_ms`: of the last run.
    """

    outcome: Outcome
    died_at: str | None = None
    started_bytes: int | None = None
    opened_bytes: int | None = None
    fed_bytes: int | None = None
    peak_bytes: int | None = None
    transient_bytes: int | None = None
    held_bytes: tuple[int, ...] = ()
    run_ms: float | None = None

    @property
    def fits(self) -> bool:
        return self.outcome == "fits"


def try_out(attempt: Attempt, limiter: Limiter, limit_bytes: int, *, patience_s: float = PATIENCE_S) -> Trial:
    """Try it under the limit. `patience_s`: how long a step (start, opening, one run) may take.

    Raises:
        EngineError: it fails for another reason than memory, which no limit mends.
    """
    with limiter(limit_bytes) as limit, open(os.memfd_create("answers"), "w+b") as answers:  # noqa: PTH123 - a descriptor
        process = subprocess.Popen(  # noqa: S603 - our own module
            limit.command(_command(attempt)), stdin=subprocess.DEVNULL, stdout=answers, stderr=subprocess.DEVNULL
        )
        try:
            stopped = _watch(process, limit, answers.fileno(), patience_s)
        finally:
            process.kill()
            process.wait()
        killed = stopped == "killed" or limit.kills() > 0 or _by_the_kernel(process.returncode, stopped)
        peak_bytes = limit.peak_bytes()
        answers.seek(0)
        said = _understood(answers.read(MOST_ANSWER_BYTES))
    return _trial(attempt, said, "killed" if killed else stopped, peak_bytes, process.returncode)


def _watch(process: "subprocess.Popen[bytes]", limit: Limit, answers: int, patience_s: float) -> Outcome | None:
    """None: it ended by itself."""
    until_s, said_bytes = time.monotonic() + patience_s, 0
    while process.poll() is None:
        if (now_bytes := os.fstat(answers).st_size) > said_bytes:
            until_s, said_bytes = time.monotonic() + patience_s, now_bytes
        if limit.has_passed(process.pid):
            return "killed"
        if time.monotonic() > until_s:
            return "too slow"
        time.sleep(LOOK_S)
    return None


def _by_the_kernel(status: int, stopped: Outcome | None) -> bool:
    """SIGKILL that was not ours: the machine as a whole had no more."""
    return stopped is None and status == -signal.SIGKILL


def _understood(data: bytes) -> list[dict[str, Any]]:
    """Its lines; the last may be half of one."""
    found = []
    for line in data.splitlines():
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if isinstance(message, dict):
            found.append(message)
    return found


def _trial(attempt: Attempt, said: list[dict[str, Any]], stopped: Outcome | None, peak_bytes: int | None, status: int) -> Trial:
    at = {message["at"]: message for message in said}
    failed = at.get("failed")
    runs = [message for message in said if message["at"] == "ran"]
    if stopped is None and failed is not None:
        words = str(failed["said"])
        if not failed["memory"] and not any(each in words.lower() for each in OUT_OF_MEMORY):
            raise EngineError(f"{printable(attempt.path.name)} does not run in {attempt.engine}", got=printable(words, 200))
        stopped = "refused"
    if stopped is None and len(runs) < attempt.runs:
        raise EngineError(
            f"{printable(attempt.path.name)} kills {attempt.engine}",
            got=f"exit status {status} after it {said[-1]['at'] if said else 'was started'}",
            fix="see `edgewright inspect`",
        )
    started, opened = at.get("started", {}), at.get("opened", {})
    transient = max((run["peak"] for run in runs), default=None)
    own_peak = max((_pss(run) + max(0, run["peak"] - run["rss"]) for run in runs), default=None)
    return Trial(
        stopped or "fits",
        None if stopped is None else (said[-1]["at"] if said else None),
        _pss(started) if started else None,
        _pss(opened) if opened else None,
        opened.get("fed_bytes"),
        peak_bytes if peak_bytes is not None else own_peak,
        None if transient is None or not opened else max(0, transient - opened["rss"]),
        tuple(run["anon"] for run in runs),
        runs[-1]["ms"] if runs else None,
    )


def _pss(message: dict[str, Any]) -> int:
    pss = message["pss"]
    return int(message["rss"] if pss is None else pss)


def _command(attempt: Attempt) -> list[str]:
    options = [f"--engine={attempt.engine}", f"--threads={attempt.threads}", f"--precision={attempt.precision}", f"--runs={attempt.runs}"]
    # -P: the folder we are called in may be a stranger's, and hold a numpy.py.
    return [sys.executable, "-P", "-m", "edgewright.doctor.trial_child", *options, "--", str(attempt.path.absolute())]
