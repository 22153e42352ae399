"""A served model as the server sees it: its process, who waits for it, and what to do when it gives no answer.

    ask -> queue -> slot of shared memory -> process -> slot -> answer

Two runs are in the process's hands at once, so that it finds the next one when it has done with one. Which slot is whose follows from the
run's number. A run is one request, or several that are computed together where that helps (`batching`); should that fail, each of them has
its own run after all. All of this runs in the server's one thread and waits for nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgewright.clock import Clock
from edgewright.errors import EdgewrightError, HostError, InputError
from edgewright.printable import printable
from edgewright.run.kept import Deed, Kept
from edgewright.run.loop import Loop
from edgewright.run.memory import MIB, MemoryBudget, pss_bytes
from edgewright.run.ring import Ring
from edgewright.run.said import count_said
from edgewright.serve.jobs import Answered, Job, Run, ServedModel
from edgewright.serve.model_figures import ModelFigures
from edgewright.serve.model_settings import ServedModelSettings
from edgewright.serve.refusals import NotNowError, TooLargeError, TooManyError
from edgewright.serve.slot_layout import Layout, Placed, lay_out, lay_out_together, read
from edgewright.serve.waiting import Waiting

LOAD_S: Final = 180.0  # on the slowest board, with a stranger's model to be examined first
PING_EVERY_S: Final = 2.0
MEASURE_EVERY_S: Final = 1.0  # its memory
IN_HAND: Final = 2
LEAST_SLOT: Final = 1 << 20
LONGEST_NS: Final = 1 << 50  # of anything that it does
LATEST_NS: Final = 1 << 62  # on the monotonic clock, which counts from the machine's start: 146 years

State: TypeAlias = Literal["waiting", "loading", "ready", "draining", "refused", "ended"]


def times_said(said: Any) -> tuple[int, tuple[int, int, int]]:
    """When a run began, on the monotonic clock, and what was before, in and after the model; nanoseconds.

    Raises:
        ValueError: these are no times.
    """
    began_ns, before_ns, model_ns, after_ns = said
    stages_ns = (count_said(before_ns, LONGEST_NS), count_said(model_ns, LONGEST_NS), count_said(after_ns, LONGEST_NS))
    return count_said(began_ns, LATEST_NS), stages_ns


@dataclass(frozen=True, slots=True)
class _Done:
    """What its process says of a run that it has done.

    `answers`: tensors by the run's jobs; `began_ns`: when, on the monotonic clock; `stages_ns`: before, in and after the model;
    `alone_ns`: of a trial, what the runs took that were computed alone.
    """

    number: int
    run: Run
    answers: list[list[tuple[int, NDArray[Any]]]]
    began_ns: int
    stages_ns: tuple[int, int, int]
    alone_ns: int | None


class ModelWorker(Kept):
    """One model, from its load to its unload."""

    MODULE = "edgewright.serve.model_child"
    NOUN = "model"

    def __init__(
        self,
        settings: ServedModelSettings,
        figures: ModelFigures,
        *,
        loop: Loop,
        clock: Clock,
        budget: MemoryBudget,
        changed: Callable[[], None],
    ) -> None:
        super().__init__(settings.name, loop=loop, clock=clock)
        self.settings = settings
        self.figures = figures
        self.state: State = "waiting"
        self.served: ServedModel | None = None
        self.taken_bytes: int | None = None  # by its process, when it was last measured
        self.refusal: EdgewrightError | None = None
        self.heartbeat_s = clock.monotonic_s()
        self._budget, self._changed = budget, changed
        self.line = Waiting(settings.most_together)
        self._in_hand: dict[int, Run] = {}  # by number, oldest first
        self._number = 0
        self._inputs: Ring | None = None
        self._outputs: Ring | None = None
        self._busy_since_s: float | None = None
        self._pinged = False
        self._since_s = self._measured_s = clock.monotonic_s()

    @property
    def waiting(self) -> int:
        return len(self.line)

    @property
    def pending(self) -> int:
        """Asked and not answered."""
        return len(self.line) + sum(run.size for run in self._in_hand.values())

    # --- what it is asked -----------------------------------------------------------------------------------------------------------------

    def ask(self, job: Job) -> None:
        """Answer it when its turn comes.

        Raises:
            NotNowError: the model is not ready.
            TooManyError: so many wait already that another one would only wait for longer.
        """
        if self.state != "ready":
            raise self.not_ready()
        if len(self.line) >= self.settings.most_waiting:
            self.figures.failed("REJECTED", 0)
            raise TooManyError(f"too many requests wait for {self.name}", got=f"{len(self.line)}", retry_after_s=self._wait_s())
        self.line.add(job, self.pending + 1)
        self._give()

    def not_ready(self) -> NotNowError:
        why = f"{self.name} is {'loading' if self.state in ('waiting', 'loading') else self.state}"
        return NotNowError(why, got=None if self.why is None else printable(self.why, 300), retry_after_s=self._pause_s())

    def advance(self, now_s: float) -> None:
        """What is due: a start, a question, an end."""
        self._let_late_ones_go(now_s)
        if self.state == "waiting" and now_s >= self._due_s:
            self._start(now_s)
        elif self.state == "loading":
            self._watch_loading(now_s)
        elif self.state in ("ready", "draining"):
            self._watch(now_s)

    def drain(self) -> None:
        """Take nothing more, and end when all is answered."""
        if self.state == "ready":
            self._become("draining")
        self._end_if_drained()

    def end(self) -> None:
        """For good; its memory is free when this returns."""
        self._drop()
        self._fail_all(NotNowError(f"{self.name} was unloaded"), "CANCELED")
        self._budget.release(f"model {self.name}")
        self._become("ended")

    # --- its process ----------------------------------------------------------------------------------------------------------------------

    def _start(self, now_s: float) -> None:
        self._become("loading")
        self.heartbeat_s = now_s
        self._begin()
        # One that was no detector before is not asked again whether it is one: that takes a process at the door.
        is_detector = self.served is None or self.served.classes is not None
        self._tell({"load": {"path": str(self.settings.path), "threads": self.settings.threads, "may_be_detector": is_detector}})

    def _watch_loading(self, now_s: float) -> None:
        room = self._budget.room_bytes + self._budget.promises.get(f"model {self.name}", 0)
        if self.pid is not None and (taken := pss_bytes(self.pid) or 0) > room:
            self._refuse(
                HostError(
                    f"{self.name} does not fit into the memory budget",
                    got=f"{taken / MIB:.0f} MiB while it was loaded",
                    expected=f"at most {room / MIB:.0f} MiB",
                    fix="unload another model, or raise the budget",
                )
            )
        elif now_s - self._since_s > LOAD_S:
            self._fail(f"it was not loaded within {LOAD_S:.0f} s")

    def _watch(self, now_s: float) -> None:
        if self._busy_since_s is not None and now_s - self._busy_since_s > self.settings.answer_within_s:
            self._fail(f"it gave no answer for {self.settings.answer_within_s:.0f} s")
        elif self._busy_since_s is None and now_s - self.heartbeat_s > PING_EVERY_S and not self._pinged:
            self._pinged, self._busy_since_s = True, now_s
            self._tell({"ping": self._number})
        elif now_s - self._measured_s >= MEASURE_EVERY_S and self.pid is not None:
            self._measured_s = now_s
            self._measure(pss_bytes(self.pid))

    def _measure(self, taken_bytes: int | None) -> None:
        """Requests of many sizes make a model grow; one that outgrows the budget is begun anew."""
        self.taken_bytes = taken_bytes
        assert self.served is not None  # noqa: S101 - it is ready
        needed = max(self.served.footprint.total_bytes, taken_bytes or 0)
        try:
            self._budget.admit(f"model {self.name}", needed, f"the model {self.name}")
        except HostError as error:
            if self.line.has_been_together:
                self.line.keep_apart("together they outgrew the memory budget")
            self._fail(f"it has outgrown the memory budget: {error.got}")

    def _take(self, words: dict[str, Any]) -> Deed:  # noqa: PLR0911 - a deed a word
        self.heartbeat_s = self._clock.monotonic_s()
        match words["say"]:
            case "ready":
                return partial(self._ready, ServedModel.from_json(words))
            case "done":
                return partial(self._done, self._done_said(words))
            case "failed":
                is_input = words["status"] == InputError.http_status
                return partial(self._failed, self._number_said(words), self._said(words["why"]), is_input=is_input)
            case "apart" if self._in_hand[number := self._number_said(words)].size > 1:
                return partial(self._come_apart, number, self._said(words["why"]), is_final=bool(words["is_final"]))
            case "larger":
                return partial(self._enlarge, self._number_said(words), count_said(words["bytes"]))
            case "pong":
                return self._ponged
            case "refused":
                return partial(self._refused, self._said(words["why"]), is_input=words["exit_code"] == InputError.exit_code)
            case said:
                raise ValueError(said)

    def _number_said(self, words: dict[str, Any]) -> int:
        """Of a run that it has in hand."""
        number = count_said(words["job"])
        if number not in self._in_hand:
            raise ValueError(f"no run {number}")
        return number

    def _done_said(self, words: dict[str, Any]) -> "_Done":
        run = self._in_hand[number := self._number_said(words)]
        if self._outputs is None:
            raise ValueError("nothing to write into")
        slot = self._outputs.slot(number % IN_HAND)
        try:
            answers = run.answers([(placed.index, read(slot, placed)) for placed in map(Placed.from_json, words["tensors"])])
        except InputError as error:
            raise ValueError("tensors that are none") from error
        began_ns, stages_ns = times_said(words["ns"])
        return _Done(
            number, run, answers, began_ns, stages_ns, None if words["alone_ns"] is None else count_said(words["alone_ns"], LONGEST_NS)
        )

    def _ready(self, served: ServedModel) -> None:
        try:
            self._budget.admit(f"model {self.name}", served.footprint.total_bytes, f"the model {self.name}")
        except HostError as error:
            self._refuse(error)
            return
        self.served, self.why = served, None
        self.taken_bytes = served.footprint.resident_bytes
        self.line.forget_sizes()
        if not served.may_join:
            self.line.keep_apart("its inputs and outputs have no free first axis")
        self._backoff.works(self._clock.monotonic_s())
        self._pinged, self._busy_since_s = False, None
        self._become("ready")
        self._give()

    # --- jobs -----------------------------------------------------------------------------------------------------------------------------

    def _next(self) -> Run | None:
        """Whose turn it is."""
        assert self.served is not None  # noqa: S101 - it is ready
        return self.line.next(
            self._clock.monotonic_s(),
            is_busy=bool(self._in_hand),
            room_bytes=self._budget.room_bytes,
            model_bytes=self.served.footprint.total_bytes,
        )

    def _give(self) -> None:
        while self.state in ("ready", "draining") and len(self._in_hand) < IN_HAND and (run := self._next()) is not None:
            layout = _layout_of(run)
            # A larger ring takes the place of the one that is there: nobody may be reading that.
            if (self._inputs is None or layout.total_bytes > self._inputs.slot_bytes) and self._in_hand:
                return
            self.line.take(run)
            try:
                self._hand_over(run, layout)
            except (HostError, InputError) as error:
                self._could_not(run, error)

    def _hand_over(self, run: Run, layout: Layout) -> None:
        if self._inputs is None or layout.total_bytes > self._inputs.slot_bytes:
            self._inputs = self._exchange(self._inputs, "inputs", layout.total_bytes)
        if self._outputs is None:
            self._outputs = self._exchange(None, "outputs", LEAST_SLOT)
        self._number += 1
        slot = self._number % IN_HAND
        layout.write(self._inputs.slot(slot))
        words: dict[str, Any] = {"job": self._number, "slot": slot}
        if (picture := run.jobs[0].picture) is not None:
            words |= {"picture": len(picture), "score": run.jobs[0].score}
        else:
            words |= {"tensors": [each.to_json() for each in layout.placed], "wanted": run.wanted}
            words |= {"together": run.size, "trial": run.is_trial}
        self._in_hand[self._number] = run
        if len(self._in_hand) == 1:
            self._busy_since_s = self._clock.monotonic_s()
        self._tell(words)

    def _could_not(self, run: Run, error: EdgewrightError) -> None:
        """There is no room for its tensors. Several that were to be together may still be computed one by one."""
        if run.size == 1:
            self._count_failure(run.jobs[0], "OTHER")
            run.jobs[0].fail(error)
            return
        if (kind := self.line.kind_of(run.jobs[0])) is not None:
            kind.most = run.size - 1
        self.line.bring_back(run)

    def _exchange(self, before: Ring | None, which: str, needed_bytes: int) -> Ring:
        """A ring with larger slots for one with smaller ones, if the budget has the room.

        Raises:
            NotNowError: it has not.
            TooLargeError: no slot is that large.
        """
        if needed_bytes > self.settings.most_slot_bytes:
            raise TooLargeError(
                "its tensors are too large", got=f"{needed_bytes} bytes", expected=f"at most {self.settings.most_slot_bytes}"
            )
        slot_bytes = max(LEAST_SLOT, 1 << (needed_bytes - 1).bit_length()) if needed_bytes > 1 else LEAST_SLOT
        promise = f"{which} {self.name}"
        try:
            self._budget.admit(promise, IN_HAND * slot_bytes, f"room for {which} of {self.name}")
            ring = Ring.make(f"{which}-{self.name}", slots=IN_HAND, slot_bytes=slot_bytes, room_bytes=2 * IN_HAND * slot_bytes)
        except HostError as error:
            self._budget.keep(promise, 0 if before is None else IN_HAND * before.slot_bytes)  # the machine may have less than was promised
            raise NotNowError(f"there is no memory for {which} of this size now", got=error.got, expected=error.expected) from error
        if before is not None:
            before.close()
        self._tell({which: [IN_HAND, slot_bytes]}, (ring.fd,))
        return ring

    def _ponged(self) -> None:
        if not self._in_hand:
            self._busy_since_s = None
        self._pinged = False

    def _done(self, done: "_Done") -> None:
        run = done.run
        self._finished(done.number)
        self._backoff.works(self._clock.monotonic_s())
        self.figures.ran(run.size, (0, *done.stages_ns))
        for job, tensors in zip(run.jobs, done.answers, strict=True):
            stages = (max(0, done.began_ns - job.begun_ns), *done.stages_ns)
            if not job.answer.done():
                self.figures.answered(max(0, self._now_ns() - job.begun_ns), stages, self._clock.wall_s())
            job.finish(Answered(tuple(tensors), stages))
        self._learn(run, done.stages_ns[1] / 1e9, None if done.alone_ns is None else done.alone_ns / 1e9)
        self._give()
        self._end_if_drained()

    def _learn(self, run: Run, took_s: float, alone_s: float | None) -> None:
        kind = self.line.kind_of(run.jobs[0])
        if kind is None:
            return
        if run.is_trial and alone_s is not None:
            self.figures.trials += 1
            kind.policy.tried(run.size, took_s, alone_s)
        else:
            kind.policy.ran(run.size, took_s)
        if run.size > kind.widest and self.pid is not None:
            before_bytes, taken_bytes = self.taken_bytes or 0, pss_bytes(self.pid) or 0
            kind.grew(run.size, taken_bytes - before_bytes)
            self._measure(taken_bytes)

    def _failed(self, number: int, why: str, *, is_input: bool) -> None:
        run = self._in_hand[number]
        if run.size > 1:
            self._come_apart(number, why, is_final=False)
            return
        self._finished(number)
        self._count_failure(run.jobs[0], "BACKEND")
        run.jobs[0].fail(InputError(why) if is_input else NotNowError(why))
        self._give()
        self._end_if_drained()

    def _come_apart(self, number: int, why: str, *, is_final: bool) -> None:
        """What was to be computed together is computed one by one."""
        run = self._in_hand[number]
        self._finished(number)
        if (kind := self.line.kind_of(run.jobs[0])) is not None:
            kind.policy.failed()
        if is_final:
            self.line.keep_apart(why)
        self.line.bring_back(run)
        self._give()

    def _finished(self, number: int) -> None:
        del self._in_hand[number]
        self._busy_since_s = self._clock.monotonic_s() if self._in_hand else None

    def _enlarge(self, number: int, needed_bytes: int) -> None:
        run = self._in_hand[number]
        try:
            self._outputs = self._exchange(self._outputs, "outputs", needed_bytes)
        except (NotNowError, TooLargeError) as error:
            self._finished(number)
            self._could_not(run, error)
            self._tell({"give_up": number})
            self._give()

    def _let_late_ones_go(self, now_s: float) -> None:
        """Whoever waited in vain is told so, whose caller has gone is forgotten; what the process has in hand it computes all the same."""
        for job in [each for each in self.line if now_s >= each.due_s or each.answer.done()]:
            self.line.remove(job)
            self._late(job)
        for run in self._in_hand.values():
            for job in run.jobs:
                if now_s >= job.due_s and not job.answer.done():
                    self._late(job)

    def _late(self, job: Job) -> None:
        if not job.answer.done():
            self._count_failure(job, "CANCELED")
            job.fail(NotNowError(f"{self.name} did not answer in time", retry_after_s=self._wait_s()))

    # --- its ends -------------------------------------------------------------------------------------------------------------------------

    def _fail(self, why: str) -> None:
        """It is replaced, after a pause; who waits goes on waiting until his time is over."""
        is_draining = self.state == "draining"
        self._replace(why)
        self.figures.restarts += 1
        self._become("waiting")
        if is_draining:
            self.end()

    def _refused(self, why: str, *, is_input: bool) -> None:
        """One that has been served before met something that may pass."""
        if self.served is None:
            self._refuse(InputError(why) if is_input else HostError(why))
        else:
            self._fail(why)

    def _refuse(self, error: EdgewrightError) -> None:
        """It will not do better another time."""
        self._drop()
        self.refusal, self.why = error, str(error)
        self._budget.release(f"model {self.name}")
        self._fail_all(NotNowError(f"{self.name} could not be loaded"), "CANCELED")
        self._become("refused")

    def _let_go(self) -> None:
        for ring in (self._inputs, self._outputs):
            if ring is not None:
                ring.close()
        self._inputs = self._outputs = None
        for which in ("inputs", "outputs"):
            self._budget.release(f"{which} {self.name}")
        lost, self._in_hand = list(self._in_hand.values()), {}
        self._busy_since_s, self._pinged, self.taken_bytes = None, False, None
        for run in reversed(lost):
            if run.size > 1:  # it may have been that, or one of them: each gets a run of its own, once
                self.line.keep_apart("its process ended while it computed several together")
                self.line.bring_back(run)
                continue
            self._count_failure(run.jobs[0], "BACKEND")
            run.jobs[0].fail(NotNowError(f"the process of {self.name} was replaced while it worked on this", retry_after_s=self._pause_s()))

    def _fail_all(self, error: EdgewrightError, reason: str) -> None:
        while len(self.line):
            job = next(iter(self.line))
            self.line.remove(job)
            self._count_failure(job, reason)
            job.fail(error)

    def _end_if_drained(self) -> None:
        if self.state == "draining" and not self.pending:
            self.end()

    def _count_failure(self, job: Job, reason: str) -> None:
        if not job.answer.done():
            self.figures.failed(reason, max(0, self._now_ns() - job.begun_ns))

    def _become(self, state: State) -> None:
        self.state = state
        self._since_s = self._clock.monotonic_s()
        self._changed()

    def _said(self, why: object) -> str:
        """A sentence of its process for clients: they are not told where on this machine the model lies."""
        folder = f"{self.settings.path.parent}/"
        return printable(str(why).replace(folder, "") if len(folder) > 1 else str(why), 1000)

    def _pause_s(self) -> float:
        return max(1.0, self._due_s - self._clock.monotonic_s()) if self.state == "waiting" else 1.0

    def _wait_s(self) -> float:
        """How long those who wait now will take, as far as one knows."""
        each_s = self.figures.success_ns / 1e9 / self.figures.success if self.figures.success else 1.0
        return min(30.0, max(1.0, each_s * len(self.line)))

    def _now_ns(self) -> int:
        return round(self._clock.monotonic_s() * 1e9)


def _layout_of(run: Run) -> Layout:
    if (picture := run.jobs[0].picture) is not None:
        return lay_out([(0, np.frombuffer(picture, np.uint8))])
    return lay_out_together([job.tensors for job in run.jobs])
