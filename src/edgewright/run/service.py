"""Cameras in, answers out: the one thread that holds a live service together, and never touches a pixel.

    capture process -> ring -> desk -> worker process -> tracking -> rules -> outputs

Whatever may hang is another process or another thread; here everything is heard, counted and passed on. `turn` is one round of that, and
`run` goes on until it is stopped or every source has ended.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from edgewright.clock import Clock
from edgewright.detections import Detections
from edgewright.errors import EdgewrightError, HostError, InputError
from edgewright.run.camera import WRITING, Camera, Room
from edgewright.run.child import LAST_S, reap
from edgewright.run.companions import Companions
from edgewright.run.desk import Desk
from edgewright.run.events import EventIds
from edgewright.run.faults import Faults
from edgewright.run.figures import CameraFigures, PairFigures
from edgewright.run.footprints import key_of
from edgewright.run.frames import HeldFrame, SharedRing
from edgewright.run.loop import Loop
from edgewright.run.memory import DEFAULT_SHARE, MIB, Alarm, Footprint, MemoryBudget, available_bytes, pss_bytes
from edgewright.run.preview_tap import PreviewTap
from edgewright.run.recent import BOUNDS_S
from edgewright.run.recorder import RecorderProcess
from edgewright.run.records import NO_DATA, Answer, Event, Record, Severity
from edgewright.run.rules import Rule
from edgewright.run.settings import CameraSettings, ModelSettings, RecordingOutput, ServiceSettings, StretchOutput
from edgewright.run.succession import Outcome, Succession
from edgewright.run.worker import Loaded, Order, Result, Worker
from edgewright.vision.tracking import Tracker, TrackSettings

TICK_S: Final = 0.05  # what is due is looked for so often
CAPTURE_BYTES: Final = 64 * MIB  # of a capture process, promised before one has been measured
RECORDER_BYTES: Final = 128 * MIB  # of a recorder and its encoder (55 to 60 MiB: docs/reference/recording.md)
MEASURE_EVERY_S: Final = 5.0  # memory, the machine's clock
JUMP_S: Final = 2.0  # of the wall clock against the other
DRAIN_S: Final = 1.0  # at the end, for frames that workers have in hand, for films, and for companions
FINISH_S: Final = 0.8  # that companions get at the end, beside all that


class Taker(Protocol):
    """Whoever is given answers and events: the log, the outputs. Taking one never waits, and never fails."""

    def offer(self, record: Record) -> None: ...


class DayOfDisk(Protocol):
    """How much was written in the last 24 hours, and whether films are to wait for it (`wear.Wear`)."""

    bytes_a_day: int

    @property
    def day_bytes(self) -> int: ...
    @property
    def spares_answers(self) -> bool: ...
    def wrote(self, count: int) -> None: ...


class Governs(Protocol):
    """Whoever is asked every turn how the service is to run (`governing.Governing`)."""

    def look(self, now_s: float) -> None: ...
    def status(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Footprints:
    """What models were measured to take, remembered from one service to the next; keys name the model's file, as it is, and the threads."""

    recall: Callable[[str], Footprint | None]
    remember: Callable[[str, Footprint], None]


class Service:
    """A running service. `start`, then `turn` again and again, then `end`."""

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        clock: Clock,
        takers: Sequence[Taker],
        footprints: Footprints,
        disk: DayOfDisk | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.faults = Faults(lambda text, data: self.say("service", settings.name, text, "error", data=data))
        self.loop = Loop(lambda error: self.faults.note("what a process said", error))
        self.began_s = clock.monotonic_s()
        self.budget = MemoryBudget(settings.memory_bytes or round(DEFAULT_SHARE * available_bytes()))
        self.recorders = [
            RecorderProcess(output, loop=self.loop, clock=clock, hearer=self)
            for output in settings.outputs
            if isinstance(output, RecordingOutput | StretchOutput)
        ]
        self._takers, self._footprints, self._disk = takers, footprints, disk
        self._ids = EventIds()
        self._alarm = Alarm()
        self._wall_offset_s = clock.wall_s() - clock.monotonic_s()
        self._measured_s = self.began_s
        self.used_bytes: dict[str, int] = {}
        self._rules = [Rule(rule, self._ids.next) for rule in settings.rules]
        self._trackers: dict[tuple[str, str], Tracker] = {}
        self._successions: dict[str, Succession] = {}
        self.governor: Governs | None = None
        self.companions = Companions()
        self.previews = None if settings.http is None else PreviewTap(clock)
        self.workers: dict[str, Worker] = {}
        self._coming: dict[str, Worker] = {}  # that are to follow those
        self.desks: dict[str, Desk] = {}
        self.figures = {camera.name: CameraFigures() for camera in settings.cameras}
        for model in settings.models:
            self._add(model)
        self.cameras = {camera.name: self._camera(camera) for camera in settings.cameras}
        self._stopping = False

    # --- its life -----------------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Promise the memory that is known to be needed.

        Raises:
            HostError: it is more than the budget.
        """
        self.budget.admit("service", pss_bytes(os.getpid()) or 0, "the service itself")
        for camera in self.cameras.values():
            self.budget.admit(f"camera {camera.name}", CAPTURE_BYTES, f"the capture process of {camera.name}")
        for recorder in self.recorders:
            self.budget.admit(f"output {recorder.name}", RECORDER_BYTES, f"the recorder of {recorder.name}")
        for worker in self.workers.values():
            self._promise(worker)
        for companion in self.companions:
            companion.start()
        cameras, models = len(self.cameras), len(self.workers)
        self.say("service", self.settings.name, f"begins with {_counted(cameras, 'camera')} and {_counted(models, 'model')}", "info")

    def run(self, is_stopped: Callable[[], bool], every_turn: Callable[[], None] = lambda: None) -> None:
        """Turn until somebody says stop, or every source has ended and is answered."""
        while not is_stopped() and not self.is_done:
            self.turn()
            every_turn()

    def turn(self, wait_s: float = TICK_S) -> None:
        """Hear what was said, and do what is due."""
        self.loop.turn(wait_s)
        now_s = self.clock.monotonic_s()
        for worker in list(self.workers.values()):
            with self.faults.met(f"model {worker.name}"):
                worker.advance(now_s)
        for name, succession in list(self._successions.items()):
            with self.faults.met(f"the next worker of {name}"):
                self._advance_succession(name, succession, now_s)
        for camera in self.cameras.values():
            with self.faults.met(f"camera {camera.name}"):
                camera.advance(now_s)
        for part in (*self.recorders, *self.companions):
            with self.faults.met(part.name):
                part.advance(now_s)
        if self.governor is not None:
            with self.faults.met("the governor"):
                self.governor.look(now_s)
        if now_s - self._measured_s >= MEASURE_EVERY_S:
            self._measured_s = now_s
            with self.faults.met("what memory is taken"):
                self._measure()

    def _advance_succession(self, name: str, succession: Succession, now_s: float) -> None:
        if succession.advance(now_s):
            del self._successions[name]
            self.idle(self.workers[name])

    @property
    def is_done(self) -> bool:
        """Whether nothing more will come: every source is over and all its frames are answered; or every model was refused."""
        if self.workers and all(worker.state == "refused" for worker in self.workers.values()):
            return True
        waiting = any(desk.waiting for desk in self.desks.values()) or any(
            not worker.is_idle for worker in self.workers.values() if worker.pid
        )
        return all(camera.is_over for camera in self.cameras.values()) and not waiting

    @property
    def is_ready(self) -> bool:
        """Whether every model that was not refused is loaded, and proves that it computes."""
        now_s = self.clock.monotonic_s()
        wanted = [worker for worker in self.workers.values() if worker.state not in ("refused", "paused")]
        return all(worker.computes(now_s) for worker in wanted)

    @property
    def is_alive(self) -> bool:
        """Whether some model proves that it computes, or is being loaded: what a watchdog wants to know."""
        now_s = self.clock.monotonic_s()
        return not self.workers or any(worker.computes(now_s) or worker.is_coming(now_s) for worker in self.workers.values())

    def refusal(self) -> EdgewrightError | None:
        """What was wrong with a source or a model that will never work; None where nothing is."""
        parts: list[Worker | Camera] = [*self.workers.values(), *self.cameras.values()]
        for part in parts:
            if part.state == "refused":
                kind = InputError if part.exit_code == InputError.exit_code else HostError
                return kind(f"{part.name}: {part.why}")
        return None

    def end(self) -> None:
        """No more frames; what is in hand is waited for, but not long; then no process is left."""
        self._stopping = True
        for companion in self.companions:
            companion.finish(FINISH_S)
        for camera in self.cameras.values():
            camera.end()
        for desk in self.desks.values():
            desk.clear()
        self._drain(lambda: all(worker.state != "ready" or worker.is_idle for worker in self.workers.values()))
        for succession in self._successions.values():
            succession.call_off()
        for worker in self.workers.values():
            worker.end()
        for recorder in self.recorders:
            recorder.finish(DRAIN_S)
        self._drain(lambda: all(recorder.has_finished for recorder in self.recorders))
        for recorder in self.recorders:
            recorder.end()
        self._drain(lambda: self.companions.have_finished)
        for companion in self.companions:
            companion.end()
        reap(LAST_S)
        self.say("service", self.settings.name, "ends", "info", data=self.totals())
        self.loop.close()

    def _drain(self, is_over: Callable[[], bool]) -> None:
        deadline_s = self.clock.monotonic_s() + DRAIN_S
        while not is_over() and self.clock.monotonic_s() < deadline_s:
            self.loop.turn(TICK_S)

    # --- models that come and go ----------------------------------------------------------------------------------------------------------

    def load(self, model: ModelSettings) -> None:
        """Run another model, for every camera that names it, or that names none. Nothing else stalls while it is loaded.

        Raises:
            InputError: there is one of this name.
            HostError: it was measured before, and does not fit into the budget now.
        """
        if model.name in self.workers:
            raise InputError(f"there is a model {model.name!r} already", fix="unload it first, or choose another name")
        worker = self._add(model)
        try:
            self._promise(worker)
        except HostError:
            self._remove(worker)
            raise

    def replace(self, model: ModelSettings, done: Callable[[Outcome], None], *, beside: bool) -> bool:
        """Run a model with other settings from now on; `done` is told the outcome. Whether it has begun: one change at a time.

        `beside`: the next worker is loaded while the present one answers, if the budget has room for both.

        Raises:
            InputError: there is none of this name.
        """
        before = self._known(model.name)
        if model.name in self._successions:
            return False
        known = self._footprints.recall(key_of(model))
        fits = known is not None and known.total_bytes <= self.budget.room_bytes
        now_s = self.clock.monotonic_s()
        self._successions[model.name] = Succession(before, model, beside=beside and fits, heir=self, done=done, now_s=now_s)
        return True

    def hire(self, settings: ModelSettings, *, coming: bool) -> Worker:
        """Another worker, not started yet; a `coming` one beside the present."""
        promise = _promise_of(settings.name, coming=coming)
        known = self._footprints.recall(key_of(settings))
        if known is not None and known.total_bytes <= self.budget.room_bytes:
            self.budget.admit(promise, known.total_bytes, f"the model {settings.name}")
        worker = Worker(settings, loop=self.loop, clock=self.clock, room_bytes=self._room_for(promise), hearer=self)
        if coming:
            self._coming[settings.name] = worker
        return worker

    def install(self, worker: Worker) -> None:
        """It is the model's worker from now on."""
        if self._coming.pop(worker.name, None) is not None:
            self.budget.release(_promise_of(worker.name, coming=True))
            self._admit(worker)
            worker.moved(self._room_for(_promise_of(worker.name)))
        worker.restarts += self.workers[worker.name].restarts
        self.workers[worker.name] = worker
        if worker.state == "ready":
            self._follow(worker)

    def dismiss(self, worker: Worker) -> None:
        """It is gone, and its memory with it."""
        worker.end()
        self.budget.release(_promise_of(worker.name, coming=self._is_coming(worker)))
        if self._is_coming(worker):
            del self._coming[worker.name]

    def pause(self, name: str) -> None:
        """End a model's process until `go_on`; frames are dropped meanwhile, and counted.

        Raises:
            InputError: there is none of this name.
        """
        worker = self._known(name)
        if worker.state != "paused":
            worker.pause()
            self.desks[name].clear()
            self.budget.release(_promise_of(name))

    def go_on(self, name: str) -> bool:
        """Whether a paused model is started again: not before there is room for it.

        Raises:
            InputError: there is none of this name.
        """
        worker = self._known(name)
        try:
            self._promise(worker)
        except HostError:
            return False
        worker.go_on()
        return True

    def unload(self, name: str) -> None:
        """End a model; its memory is free when this returns, or as soon as the kernel lets its process go.

        Raises:
            InputError: there is none of this name.
        """
        self._remove(self._known(name))
        self.say("worker", name, "was unloaded")

    def _known(self, name: str) -> Worker:
        if name not in self.workers:
            raise InputError(f"there is no model {name!r}", expected=f"one of {', '.join(self.workers) or 'none'}")
        return self.workers[name]

    def _add(self, model: ModelSettings) -> Worker:
        name = model.name
        worker = Worker(model, loop=self.loop, clock=self.clock, room_bytes=self._room_for(_promise_of(name)), hearer=self)
        self.workers[name], self.desks[name] = worker, Desk(self._superseded(name))
        for camera in self.settings.cameras:
            if not camera.models or name in camera.models:
                figures = self.figures[camera.name]
                figures.models[name] = PairFigures(before=figures.offered)
        return worker

    def _remove(self, worker: Worker) -> None:
        if (succession := self._successions.pop(worker.name, None)) is not None:
            succession.call_off()
        self.desks[worker.name].clear()
        worker.end()
        del self.workers[worker.name], self.desks[worker.name]
        for figures in self.figures.values():
            figures.models.pop(worker.name, None)
        for key in [key for key in self._trackers if key[1] == worker.name]:
            del self._trackers[key]
        self.budget.release(_promise_of(worker.name))

    def _promise(self, worker: Worker) -> None:
        known = self._footprints.recall(key_of(worker.settings))
        self.budget.admit(_promise_of(worker.name), 0 if known is None else known.total_bytes, f"the model {worker.name}")

    # --- frames -------------------------------------------------------------------------------------------------------------------------

    def captured(self, camera: str, count: int, dropped: Mapping[str, int]) -> None:
        """A camera sent frames, and dropped some itself."""
        self.figures[camera].captured_more(count, dropped)

    def frame(self, frame: HeldFrame) -> None:
        """A frame lies in its slot: every model of its camera is to see it."""
        live = self.cameras[frame.camera].live
        for model in self.figures[frame.camera].models:
            if self.workers[model].state in ("refused", "paused"):
                self._dropped(frame, model, self._why_not(model))
                continue
            self.desks[model].put(frame, newest_wins=live)
            self.idle(self.workers[model])

    def idle(self, worker: Worker) -> None:
        """A worker has nothing to do: it gets what waits, unless another is to follow it."""
        succession = self._successions.get(worker.name)
        if worker is not self.workers[worker.name] or (succession is not None and not succession.takes_frames):
            return
        while worker.is_idle and (frame := self.desks[worker.name].next()) is not None:
            camera = self.cameras[frame.camera].settings
            tracker = self._trackers.get((frame.camera, worker.name))
            worker.give(frame, Order(camera.region, self._low(worker, tracker)))
            frame.release()

    def _low(self, worker: Worker, tracker: Tracker | None) -> float | None:
        """Down to which score boxes are wanted: a tracker keeps a track by boxes that are not shown."""
        return worker.settings.score if tracker is None else tracker.wants_above

    def answered(self, worker: Worker, result: Result) -> None:
        """A worker has seen a frame. Whatever fails in what is made of that is no fault of the worker's, and keeps nobody else from it."""
        frame, answer = result.frame, None
        with self.faults.met(f"the tracks of {frame.camera}"):
            answer = self._answer_of(worker, result)
        if answer is None:
            if (tracker := self._trackers.get((frame.camera, worker.name))) is not None:
                tracker.forget()  # or what it fails over would be there in the next frame as well
            self._dropped(frame, worker.name, "fault")
            return
        self.figures[frame.camera].models[worker.name].answer(answer.age_ms / 1e3, result.waited_s, result.stages_ms)
        self._offer(answer)
        for rule in self._rules:
            with self.faults.met(f"rule {rule.settings.name}"):
                if (event := rule.look(answer)) is not None:
                    self._offer(event)
        if self._disk is None or not self._disk.spares_answers:
            for recorder in self.recorders:
                with self.faults.met(f"output {recorder.name}"):
                    recorder.offer(frame, answer, live=self.cameras[frame.camera].live)
        if self.previews is not None:
            with self.faults.met("previews"):
                self.previews.offer(frame, answer)

    def _answer_of(self, worker: Worker, result: Result) -> Answer:
        """With tracks, and without the boxes that only a tracker wants to see."""
        frame, loaded = result.frame, worker.loaded
        assert loaded is not None  # noqa: S101 - it has answered
        tracker = self._trackers.get((frame.camera, worker.name))
        track_ids = None if tracker is None else tracker.update(result.detections, frame.time_s)
        needed = np.array(_needed(worker, loaded))
        keep = result.detections.scores > needed[np.clip(result.detections.class_ids, 0, len(needed) - 1)]
        found: Detections = result.detections[keep]
        age_s = self.clock.monotonic_s() - frame.at_s
        return Answer(
            *(frame.camera, worker.name, frame.number, frame.wall_s, age_s * 1e3, frame.size_wh, found),
            None if track_ids is None else track_ids[keep],
        )

    def not_answered(self, worker: Worker, frame: HeldFrame) -> None:
        """A worker is gone, and with it what it was working on."""
        self._dropped(frame, worker.name, "stopping" if self._stopping else "paused" if worker.state == "paused" else "worker_lost")

    def loaded(self, worker: Worker, loaded: Loaded) -> None:
        """A model was loaded: what it takes is known now."""
        footprint = loaded.footprint
        self._footprints.remember(key_of(worker.settings), footprint)
        try:
            self._admit(worker)
        except HostError as error:
            worker.refuse(str(error))
            return
        if not self._is_coming(worker):
            self._follow(worker)
        text = f"is loaded ({loaded.engine}) in {loaded.load_ms / 1e3:.1f} s, {footprint.total_bytes / MIB:.0f} MiB"
        self.say("worker", worker.name, text, "info", data={"load_ms": round(loaded.load_ms, 1), **footprint.to_json()})

    def _is_coming(self, worker: Worker) -> bool:
        return self._coming.get(worker.name) is worker

    def _admit(self, worker: Worker) -> None:
        """Promise a loaded worker what it was found to take."""
        assert worker.loaded is not None  # noqa: S101 - its callers know
        promise = _promise_of(worker.name, coming=self._is_coming(worker))
        self.budget.admit(promise, worker.loaded.footprint.total_bytes, f"the model {worker.name}")

    def _follow(self, worker: Worker) -> None:
        """Track what it finds, from its cameras; the tracks of who was there before it go on."""
        assert worker.loaded is not None  # noqa: S101 - its callers know
        settings = TrackSettings(high=_needed(worker, worker.loaded))
        for camera in self.cameras.values():
            if camera.settings.tracking and worker.name in self.figures[camera.name].models:
                self._trackers.setdefault((camera.name, worker.name), Tracker(settings)).adopt(settings)

    def ring_closed(self, shared: SharedRing) -> None:
        """Nobody holds a frame of it any more."""
        for worker in (*self.workers.values(), *self._coming.values()):
            worker.forget_ring(shared)
        for recorder in self.recorders:
            recorder.forget_ring(shared)
        if self.previews is not None:
            self.previews.forget_ring(shared)

    def camera_happened(self, name: str, text: str, severity: Severity, data: Mapping[str, Any]) -> None:
        """Something happened to a camera."""
        self.say("camera", name, text, severity, camera=name, data=data)

    def worker_happened(self, name: str, text: str, severity: Severity, data: Mapping[str, Any]) -> None:
        """Something happened to a worker."""
        if self.workers[name].state == "refused":
            self.desks[name].clear()  # or a file would wait for it for ever
        self.say("worker", name, text, severity, data=data)

    def output_wrote(self, count: int) -> None:
        """A recorder has written so many bytes."""
        if self._disk is not None:
            self._disk.wrote(count)

    def output_happened(self, name: str, text: str, severity: Severity, data: Mapping[str, Any]) -> None:
        """Something happened to a recorder."""
        self.say("output", name, text, severity, data=data)

    # --- what it says of itself -----------------------------------------------------------------------------------------------------------

    def totals(self) -> dict[str, Any]:
        """What became of every frame."""
        return {name: figures.to_json() for name, figures in self.figures.items()}

    def status(self, *, buckets: bool = False) -> dict[str, Any]:
        """How it is now. `buckets`: times as all samples since the start, in buckets, for pages, metrics and `watch`, which look again and
        again; otherwise as quantiles of the latest.
        """
        now_s = self.clock.monotonic_s()
        return {
            "name": self.settings.name,
            "ready": self.is_ready,
            "uptime_s": round(now_s - self.began_s, 3),
            "time_s": round(self.clock.wall_s(), 3),
            **({"bounds_s": BOUNDS_S} if buckets else {}),
            "cameras": {
                name: {
                    **(self.figures[name].buckets_to_json() if buckets else self.figures[name].to_json()),
                    "state": camera.state,
                    "reader": camera.reader,
                    "size_wh": camera.size_wh,
                    "fps_cap": camera.most_fps,
                    "restarts": camera.restarts,
                    "why": camera.why,
                }
                for name, camera in self.cameras.items()
            },
            "models": {
                name: {
                    "state": worker.state,
                    "engine": None if worker.loaded is None else worker.loaded.engine,
                    "waiting": self.desks[name].waiting,
                    "restarts": worker.restarts,
                    "why": worker.why,
                }
                for name, worker in self.workers.items()
            },
            "faults": dict(self.faults.counts),
            "governor": None if self.governor is None else self.governor.status(),
            "previews": None if self.previews is None else {"paused": self.previews.is_paused},
            "recorders": {recorder.name: recorder.to_json() for recorder in self.recorders},
            "disk": None if self._disk is None else {"day_bytes": self._disk.day_bytes, "bytes_a_day": self._disk.bytes_a_day},
            "memory": {
                "budget_bytes": self.budget.total_bytes,
                "promised_bytes": dict(self.budget.promises),
                "used_bytes": dict(self.used_bytes),
                "alarm": self._alarm.is_on,
            },
        }

    def say(
        self, kind: str, name: str, text: str, severity: Severity = "info", *, camera: str | None = None, data: Mapping[str, Any] = NO_DATA
    ) -> None:
        """An event, now."""
        wall_s = self.clock.wall_s()
        self._offer(Event(self._ids.next(wall_s), wall_s, kind, name, text, severity, camera, data))

    def _offer(self, record: Record) -> None:
        for taker in (*self._takers, *self.companions):
            with self.faults.met(f"what takes records ({type(taker).__name__})"):
                taker.offer(record)

    def _measure(self) -> None:
        """What all processes take together, and whether somebody set the clock."""
        pids = {"service": None, **{f"model {name}": worker.pid for name, worker in self.workers.items()}}
        pids |= {f"model {name}, next": worker.pid for name, worker in self._coming.items()}
        pids |= {f"camera {name}": camera.pid for name, camera in self.cameras.items()}
        pids |= {f"output {recorder.name}": recorder.pid for recorder in self.recorders} | self.companions.pids
        taken = {name: pss_bytes(os.getpid()) if name == "service" else pid and pss_bytes(pid) for name, pid in pids.items()}
        self.used_bytes = {name: found for name, found in taken.items() if found} | self.companions.used_bytes
        used, total = sum(self.used_bytes.values()), self.budget.total_bytes
        changed = self._alarm.look(used, total)
        if changed is not None:
            text = f"{used / MIB:.0f} of {total / MIB:.0f} MiB of the budget are taken" + ("" if changed else ": the alarm is over")
            self.say("memory", "budget", text, "warning" if changed else "info", data={"used_bytes": dict(self.used_bytes)})
        offset_s = self.clock.wall_s() - self.clock.monotonic_s()
        if abs(jump_s := offset_s - self._wall_offset_s) > JUMP_S:
            self.say("service", self.settings.name, f"the clock was set by {jump_s:+.1f} s", "warning", data={"jump_s": round(jump_s, 3)})
        self._wall_offset_s = offset_s

    # --- how it is put together -----------------------------------------------------------------------------------------------------------

    def _camera(self, settings: CameraSettings) -> Camera:
        name = f"ring {settings.name}"
        room = Room(lambda: self.budget.room_bytes, lambda taken: self.budget.admit(name, taken, f"the frames of {settings.name}"))
        return Camera(
            settings, self._slots_of(settings), most_frames=self.settings.frames, loop=self.loop, clock=self.clock, room=room, hearer=self
        )

    def _models_of(self, camera: CameraSettings) -> Sequence[str]:
        return camera.models or tuple(model.name for model in self.settings.models)

    def _slots_of(self, camera: CameraSettings) -> int:
        """Two that are written, of each model and each recorder one that waits and one in hand, and what is lent to be looked at."""
        lent = 0 if self.previews is None else self.previews.slots
        return WRITING + 1 + 2 * len(self._models_of(camera)) + 2 * len(self.recorders) + lent

    def _room_for(self, promise: str) -> Callable[[], int]:
        """What a model may take that has not been measured: all that nobody else was promised."""
        return lambda: self.budget.room_bytes + self.budget.promises.get(promise, 0)

    def _superseded(self, model: str) -> Callable[[HeldFrame], None]:
        def dropped(frame: HeldFrame) -> None:
            is_ready = self.workers[model].state == "ready"
            self._dropped(frame, model, "stopping" if self._stopping else "superseded" if is_ready else self._why_not(model))

        return dropped

    def _why_not(self, model: str) -> str:
        """Why nobody answers for a model."""
        return "paused" if self.workers[model].state == "paused" else "no_worker"

    def _dropped(self, frame: HeldFrame, model: str, reason: str) -> None:
        self.figures[frame.camera].models[model].dropped[reason] += 1
        for recorder in self.recorders:
            with self.faults.met(f"output {recorder.name}"):
                recorder.dropped(frame, reason)


def _needed(worker: Worker, loaded: Loaded) -> tuple[float, ...]:
    """The score that each class needs to be shown, or one for all."""
    return loaded.needed if worker.settings.score is None else (worker.settings.score,)


def _promise_of(model: str, *, coming: bool = False) -> str:
    return f"model {model}, next" if coming else f"model {model}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
