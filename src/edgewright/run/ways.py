"""The ways a model can run, measured once on this board before a service begins, and remembered: what the ladder is built of.

Each artifact is loaded with its threads, then with half of them, and so on, and answers a few empty pictures; nothing else of the service
runs meanwhile. Times of evidence.json are of the machine it was made on, and of one number of threads: only its mAP50-95 is taken.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgewright.clock import Clock
from edgewright.errors import DiskError
from edgewright.regular_file import read_regular
from edgewright.run.footprints import RememberedFootprints, key_of
from edgewright.run.frames import HeldFrame
from edgewright.run.govern.ladder import Measured
from edgewright.run.loop import Loop
from edgewright.run.records import Severity
from edgewright.run.said import count_said, number_said
from edgewright.run.settings import ModelSettings, ServiceSettings
from edgewright.run.worker import Loaded, Result, Worker
from edgewright.whole_file import write_whole

FILE, EVIDENCE = "ways.json", "evidence.json"
MOST_BYTES, MOST_EVIDENCE_BYTES = 1 << 20, 8 << 20
MOST_KEPT = 200
WARM_RUNS = 8
MOST_SIDE = 1 << 16
TURN_S = 0.05


@dataclass(frozen=True, slots=True)
class Ran:
    """How one way ran: threads, the model's input, and the time of an answer (ms)."""

    threads: int
    wide: int
    high: int
    ms: float


class RememberedWays:
    """A small file in the state folder; one that is missing or damaged is as good as none."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._known = self._read()

    def recall(self, model: ModelSettings) -> Ran | None:
        return self._known.get(key_of(model))

    def remember(self, model: ModelSettings, ran: Ran) -> None:
        self._known.pop(key_of(model), None)
        self._known[key_of(model)] = ran
        while len(self._known) > MOST_KEPT:
            del self._known[next(iter(self._known))]
        with suppress(DiskError):  # it is measured again next time
            write_whole(self._path, json.dumps({key: asdict(each) for key, each in self._known.items()}).encode())

    def _read(self) -> dict[str, Ran]:
        try:
            fields = json.loads(read_regular(self._path, MOST_BYTES))
            return {str(key): _ran_of(each) for key, each in fields.items()}
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return {}


def governed_model(settings: ServiceSettings) -> ModelSettings:
    """The model that the ladder is of: the first that is not best effort; the others' work counts as other programs'."""
    return next((model for model in settings.models if not model.best_effort), settings.models[0])


def artifact_names(model: ModelSettings) -> dict[str, Path]:
    """What a model's artifacts are called, its own first: by their folders, or by whole paths where two are called the same."""
    paths = (model.artifact, *model.lighter)
    differ = len({path.name for path in paths}) == len(paths)
    return {path.name if differ else str(path): path for path in paths}


def measured_ways(
    settings: ServiceSettings, room_bytes: int, *, clock: Clock, every_turn: Callable[[], None], is_stopped: Callable[[], bool]
) -> tuple[Measured, ...]:
    """Every way to run the governed model that works here; what is not known yet is measured, a load each. Empty when stopped.

    A way that does not work is left out.
    """
    model, kept, footprints = governed_model(settings), RememberedWays(settings.state), RememberedFootprints(settings.state)
    ways = []
    for name, artifact in artifact_names(model).items():
        first = replace(model, artifact=artifact)
        threads: int | None = None
        while threads is None or threads >= settings.govern.fewest_threads:
            way = first if threads is None else replace(first, threads=threads)
            ran = kept.recall(way) or _measure(way, room_bytes, footprints, clock=clock, every_turn=every_turn, is_stopped=is_stopped)
            if ran is None or is_stopped():
                break
            kept.remember(way, ran)
            ways.append(Measured(name, (ran.wide, ran.high), ran.threads, ran.ms, map50_95_of(artifact)))
            threads = (ran.threads if threads is None else threads) // 2
            if not threads:
                break
    return () if is_stopped() else tuple(ways)


def map50_95_of(artifact: Path) -> float | None:
    """What the evidence beside an artifact says of its accuracy, 0..1; None where nothing does."""
    try:
        found = json.loads(read_regular(artifact / EVIDENCE, MOST_EVIDENCE_BYTES))["fitted"]["map50_95"]
        value = number_said(found)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return value if 0 <= value <= 1 else None


def _measure(
    way: ModelSettings,
    room_bytes: int,
    footprints: RememberedFootprints,
    *,
    clock: Clock,
    every_turn: Callable[[], None],
    is_stopped: Callable[[], bool],
) -> Ran | None:
    loop, heard = Loop(), _Heard()
    worker = Worker(way, loop=loop, clock=clock, room_bytes=lambda: room_bytes, hearer=heard, warm_runs=WARM_RUNS)
    try:
        while worker.state in ("waiting", "loading") and not worker.restarts and not is_stopped():
            worker.advance(clock.monotonic_s())
            loop.turn(TURN_S)
            every_turn()
    finally:
        worker.end()
        loop.close()
    if worker.loaded is None:
        return None
    footprints.remember(key_of(way), worker.loaded.footprint)
    return Ran(worker.loaded.threads, *worker.loaded.size_wh, worker.loaded.run_ms)


class _Heard:
    """A worker's hearer that only wants to know when it is ready."""

    def answered(self, worker: Worker, result: Result) -> None: ...
    def not_answered(self, worker: Worker, frame: HeldFrame) -> None: ...
    def idle(self, worker: Worker) -> None: ...
    def loaded(self, worker: Worker, loaded: Loaded) -> None: ...
    def worker_happened(self, name: str, text: str, severity: Severity, data: Mapping[str, Any]) -> None: ...


def _ran_of(fields: Mapping[str, Any]) -> Ran:
    """Raises ValueError, LookupError: this is none."""
    threads, wide, high = (count_said(fields[name], MOST_SIDE) for name in ("threads", "wide", "high"))
    ran = Ran(threads, wide, high, number_said(fields["ms"]))
    if not (ran.threads and ran.wide and ran.high and ran.ms > 0):
        raise ValueError("no way to run")
    return ran
