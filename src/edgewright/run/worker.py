"""A model as the service sees it: its worker process, what it was given, and what to do when it gives no answer.

A worker that crashes, hangs or refuses to load is replaced; what it was working on is dropped and counted. One that is idle is asked now
and then whether it is still there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol, TypeAlias

from edgewright.clock import Clock
from edgewright.detections import Detections
from edgewright.errors import HostError, InputError
from edgewright.run.frames import HeldFrame, SharedRing
from edgewright.run.kept import Deed, Kept
from edgewright.run.loop import Loop
from edgewright.run.memory import Footprint, pss_bytes
from edgewright.run.records import Severity
from edgewright.run.results import RESULT_BYTES, read_result
from edgewright.run.ring import Ring
from edgewright.run.said import count_said, number_said, text_said
from edgewright.run.settings import Box, ModelSettings

LOAD_S = 180.0  # on the slowest board, with a stranger's model to be examined first
PING_EVERY_S = 2.0
RESULT_SLOTS = 1
WARM_RUNS = 2
MOST_THREADS = 1024
MOST_SIDE = 1 << 16

State: TypeAlias = Literal["waiting", "loading", "ready", "paused", "refused", "ended"]


@dataclass(frozen=True, slots=True)
class Result:
    """A worker's answer to a frame: what it saw, how long the frame had waited for it (s), and what it took before the network, in it and
    after it (ms).
    """

    frame: HeldFrame
    detections: Detections
    waited_s: float
    stages_ms: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a worker said of itself when it was ready. `run_ms`: of a whole answer to an empty picture, the median of its warm runs."""

    name: str
    digest: str
    classes: tuple[str, ...]
    needed: tuple[float, ...]
    engine: str
    load_ms: float
    footprint: Footprint
    threads: int
    size_wh: tuple[int, int]
    run_ms: float


class Hearer(Protocol):
    """Who is told what a worker does."""

    def answered(self, worker: "Worker", result: Result) -> None: ...
    def not_answered(self, worker: "Worker", frame: HeldFrame) -> None: ...
    def idle(self, worker: "Worker") -> None: ...
    def loaded(self, worker: "Worker", loaded: Loaded) -> None: ...
    def worker_happened(self, name: str, text: str, severity: Severity, data: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True, slots=True)
class Order:
    """How a frame is to be looked at: which part of it, and down to which score (default: the artifact's own)."""

    region: Box | None = None
    low: float | None = None


class Worker(Kept):
    """A model's worker, from its start to the end of the service or of the model's stay."""

    MODULE = "edgewright.run.worker_child"
    NOUN = "worker"

    def __init__(
        self,
        settings: ModelSettings,
        *,
        loop: Loop,
        clock: Clock,
        room_bytes: Callable[[], int],
        hearer: Hearer,
        warm_runs: int = WARM_RUNS,
    ) -> None:
        super().__init__(settings.name, loop=loop, clock=clock)
        self._warm_runs = warm_runs
        self.settings = settings
        self.state: State = "waiting"
        self.loaded: Loaded | None = None
        self.exit_code = 0
        self.heartbeat_s = clock.monotonic_s()  # when it last proved that it computes
        self._room_bytes, self._hearer = room_bytes, hearer
        self._results: Ring | None = None
        self._known: set[int] = set()  # rings
        self._frame: HeldFrame | None = None
        self._job = 0
        self._asked_s: float | None = None  # when it was given what it has not answered
        self._since_s = clock.monotonic_s()
        self._given_s = 0.0
        self._downs = 0

    @property
    def is_idle(self) -> bool:
        """Ready, and nothing to do."""
        return self.state == "ready" and self._frame is None

    def computes(self, now_s: float) -> bool:
        """Whether it has proven so lately, by an answer."""
        return self.state == "ready" and now_s - self.heartbeat_s <= self.settings.answer_within_s + PING_EVERY_S

    def is_coming(self, now_s: float) -> bool:
        """Whether it is being loaded, and not for too long."""
        return self.state == "loading" and now_s - self._since_s <= LOAD_S

    def advance(self, now_s: float) -> None:
        """What is due: a start, a question, a replacement."""
        if self.state == "waiting" and now_s >= self._due_s:
            self._start(now_s)
        elif self.state == "loading":
            self._watch_loading(now_s)
        elif self.state == "ready":
            if self._asked_s is not None and now_s - self._asked_s > self.settings.answer_within_s:
                self._fail(f"it gave no answer for {self.settings.answer_within_s:.0f} s")
            elif self._asked_s is None and now_s - self.heartbeat_s > PING_EVERY_S:
                self._asked_s = now_s
                self._tell({"ping": self._job})

    def give(self, frame: HeldFrame, order: Order) -> None:
        """A frame to look at; only when idle. The worker holds it until it has answered."""
        assert self.is_idle  # noqa: S101 - the desk asks before
        self._frame = frame.hold()
        self._job += 1
        self._asked_s = self._given_s = self._clock.monotonic_s()
        shared = frame.shared
        if shared.id not in self._known:
            self._known.add(shared.id)
            words = {"ring": shared.id, "slots": shared.ring.slots, "slot_bytes": shared.ring.slot_bytes}
            self._tell(words, (shared.ring.fd,))
        where = {"ring": shared.id, "slot": frame.slot, "wh": frame.size_wh}
        self._tell({"job": self._job, **where, "region": order.region, "low": order.low, "result": 0})

    def forget_ring(self, shared: SharedRing) -> None:
        """It is closed; the worker lets its view go."""
        if shared.id in self._known:
            self._known.discard(shared.id)
            self._tell({"unring": shared.id})

    def moved(self, room_bytes: Callable[[], int]) -> None:
        """It has another place in the budget now."""
        self._room_bytes = room_bytes

    def refuse(self, why: str) -> None:
        """It may not stay."""
        self.why = why
        self._refuse(HostError.exit_code)

    def pause(self) -> None:
        """End its process, and with it all that it takes, until `go_on`."""
        if self.state not in ("refused", "ended"):
            self._become("paused")
            self._drop()

    def go_on(self) -> None:
        """It is started again."""
        if self.state == "paused":
            self._due_s = self._clock.monotonic_s()
            self._become("waiting")

    def end(self) -> None:
        """For good; its memory is free when this returns."""
        self._drop()
        if self.state != "refused":  # which is what the service ends with
            self._become("ended")

    # --- its process --------------------------------------------------------------------------------------------------------------------

    def _start(self, now_s: float) -> None:
        self._become("loading")
        self.heartbeat_s = now_s
        if not self._begin():
            return
        try:
            self._results = Ring.make(self.name, slots=RESULT_SLOTS, slot_bytes=RESULT_BYTES, room_bytes=RESULT_SLOTS * RESULT_BYTES * 2)
        except HostError as error:  # no more memory or descriptors: there may be later
            self._fail(str(error))
            return
        self._tell({"load": {"artifact": str(self.settings.artifact), "threads": self.settings.threads, "runs": self._warm_runs}})
        self._tell({"results": [RESULT_SLOTS, RESULT_BYTES]}, (self._results.fd,))

    def _watch_loading(self, now_s: float) -> None:
        """What a model takes is known once it has run; until then it is ended before it takes more than there is."""
        room = self._room_bytes()
        if self.pid is not None and (taken := pss_bytes(self.pid) or 0) > room:
            self.why = (
                f"it took {taken >> 20} MiB while it was loaded, and the memory budget has {room >> 20} MiB left; "
                "raise `memory`, or run fewer or smaller models"
            )
            self._refuse(HostError.exit_code)
        elif now_s - self._since_s > LOAD_S:
            self._fail(f"it was not loaded within {LOAD_S:.0f} s")

    def _take(self, words: dict[str, Any]) -> Deed:
        match words["say"]:
            case "ready" if self.state == "loading":
                return partial(self._ready, _loaded_said(words))
            case "done":
                return partial(self._done, self._result_said(words))
            case "pong":
                return self._ponged
            case "refused":
                return partial(self._refused, text_said(words["why"]), count_said(words["exit_code"], 255))
            case said:
                raise ValueError(said)

    def _result_said(self, words: dict[str, Any]) -> Result:
        if words["job"] != self._job or self._frame is None or self._results is None or self.loaded is None:
            raise ValueError(words["job"])
        found = read_result(self._results.slot(0), count_said(words["boxes"]), self.loaded.classes)
        before, model, after = map(number_said, words["ms"])
        return Result(self._frame, found, max(0.0, self._given_s - self._frame.at_s), (before, model, after))

    def _ready(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self._become("ready")
        self.heartbeat_s = self._since_s
        self._asked_s = None
        self._hearer.loaded(self, loaded)
        if self.state == "ready":  # whoever was told may have thought better of it
            self._hearer.idle(self)

    def _done(self, result: Result) -> None:
        self._frame = self._asked_s = None
        self.heartbeat_s = self._clock.monotonic_s()
        self._backoff.works(self.heartbeat_s)
        self._downs = 0
        try:
            self._hearer.answered(self, result)
        finally:
            result.frame.release()
            self._hearer.idle(self)

    def _ponged(self) -> None:
        self.heartbeat_s = self._clock.monotonic_s()
        if self._frame is None:
            self._asked_s = None

    # --- its ends -----------------------------------------------------------------------------------------------------------------------

    def _refused(self, why: str, exit_code: int) -> None:
        self.why = why
        # A model that is none, or whose engine is not installed, is so again; one that has run before met something that may pass.
        if exit_code in (InputError.exit_code, HostError.exit_code) and self.loaded is None:
            self._refuse(exit_code)
        else:
            self._fail(why)

    def _refuse(self, exit_code: int) -> None:
        """It will not do better another time."""
        self._drop()
        self.exit_code = exit_code
        self._become("refused")
        self._hearer.worker_happened(self.name, str(self.why), "error", self._shown())

    def _fail(self, why: str) -> None:
        """It is replaced, after a pause."""
        pause_s = self._replace(why)
        self._become("waiting")
        self._downs += 1
        # Of one that cannot be loaded time after time it is said again and again, but ever less often.
        if self._downs.bit_count() == 1:
            data = self._shown(next_try_s=round(pause_s, 3), failures=self._downs)
            self._hearer.worker_happened(self.name, f"{self.why}; its replacement is started in {pause_s:.0f} s", "error", data)

    def _let_go(self) -> None:
        if self._results is not None:
            self._results.close()
            self._results = None
        self._known.clear()
        self._asked_s = None
        if self._frame is not None:
            frame, self._frame = self._frame, None
            self._hearer.not_answered(self, frame)
            frame.release()

    def _become(self, state: State) -> None:
        self.state = state
        self._since_s = self._clock.monotonic_s()


def _loaded_said(words: dict[str, Any]) -> Loaded:
    classes, needed = tuple(map(str, words["classes"])), tuple(map(number_said, words["needed"]))
    if not needed:
        raise ValueError("ready for no class")
    name, digest, engine = (text_said(words[key], 200) for key in ("name", "digest", "engine"))
    wide, high = (count_said(side, MOST_SIDE) for side in words["size_wh"])
    load_ms, footprint = number_said(words["load_ms"]), Footprint.from_json(words)
    ran = count_said(words["threads"], MOST_THREADS), (wide, high), number_said(words["run_ms"])
    return Loaded(name, digest, classes, needed, engine, load_ms, footprint, *ran)
