"""Once a second: what the board and the service say is put before the governors, and what they decide is done and told.

Heat is governed where the board has a temperature or a throttle flag to read, memory everywhere. The ladder is of one model, the first
that is not best effort; what others take is seen as other programs' work.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from edgewright.board.sensors import Reading
from edgewright.run.acting import ServiceActuator
from edgewright.run.board_flags import BoardFlags, stalled_percent
from edgewright.run.figures import CameraFigures
from edgewright.run.govern.correlate import LEAD_S
from edgewright.run.govern.heat import PI_LIMIT_C, Decision, Observation, ThermalLimits, limit_of_trips
from edgewright.run.govern.ladder import Ladder, Measured, OperatingPoint, build_ladder
from edgewright.run.govern.pressure import MemoryDecision, MemoryGovernor, MemoryLimits, MemorySeen, Relief
from edgewright.run.govern.thermal import ThermalGovernor
from edgewright.run.lateness import Lateness
from edgewright.run.records import Severity
from edgewright.run.sensing import Sensed, Sensing
from edgewright.run.service import Service
from edgewright.run.settings import GovernSettings, RecordingOutput
from edgewright.run.ways import artifact_names, governed_model

EVERY_S: Final = 1.0
DRAWING_MS: Final = 12.0  # of one core, to draw and encode a frame on a board; nobody has measured it there
SLOWS_OVER_C: Final = 2.0
RATE_SHARE: Final = 0.3  # of a second's frames, in what a camera is taken to bring


def governs_heat(reading: Reading | None) -> bool:
    """Whether the board says anything by which heat can be governed."""
    return reading is not None and (reading.temp_c is not None or reading.throttle is not None)


def limits_of(settings: GovernSettings, reading: Reading | None) -> ThermalLimits:
    """What was asked for, or what suits the board: below its passive trip point, or a Raspberry Pi's limit."""
    zone = None if reading is None else reading.governing_zone
    passive_c = None if zone is None else zone.passive_c
    of_board = limit_of_trips(() if passive_c is None else (passive_c,))
    limit_c = settings.limit_c or of_board or PI_LIMIT_C
    slows_c = max(passive_c or 0.0, limit_c + SLOWS_OVER_C)
    return ThermalLimits(limit_c, slows_c, settings.lowest_fps)


@dataclass(slots=True)
class Rates:
    """Frames a second, from counts that only grow."""

    _before: dict[str, int] = field(default_factory=dict)
    of: dict[str, float] = field(default_factory=dict)

    def look(self, counts: Mapping[str, int], seconds: float) -> dict[str, float]:
        """Of each since the last look; `of` is smoothed, from the first that was more than none."""
        found = {name: max(0, count - self._before.get(name, count)) / max(seconds, 1e-3) for name, count in counts.items()}
        self._before = dict(counts)
        self.of = {name: rate + (1 - RATE_SHARE) * ((self.of.get(name) or rate) - rate) for name, rate in found.items()}
        return found


class Governing:
    """A service's governor. `ways`: how its model can run (`ways.measured_ways`); none: heat is not governed."""

    def __init__(self, service: Service, sensing: Sensing, ways: Sequence[Measured], first: Reading | None) -> None:
        settings = service.settings
        self._service, self._sensing = service, sensing
        self._model = governed_model(settings)
        self._names = tuple(artifact_names(self._model))
        self._ladder = build_ladder(ways, drawing_ms=_drawing_ms(service)) if ways else None
        self._heat = None if self._ladder is None else ThermalGovernor(self._ladder, limits_of(settings.govern, first))
        most = Relief.SMALLER_ARTIFACT if self._model.lighter else Relief.BEST_EFFORT_PAUSED
        self._memory = MemoryGovernor(MemoryLimits(service.budget.total_bytes), most=most)
        self._lateness = Lateness()
        threads = {way.artifact: way.threads for way in reversed(ways)}  # the first of each is the one it runs with untold
        best_effort = tuple(model.name for model in settings.models if model.best_effort and model.name != self._model.name)
        self._actuator = ServiceActuator(service, self._model, best_effort, artifact_names(self._model), threads, self._say)
        self._due_s = self._looked_s = service.clock.monotonic_s()
        self._offered, self._answered = Rates(), Rates()
        self._ages = 0
        self._flags = BoardFlags()
        self._relief = Relief.NONE
        self._decision: Decision | None = None
        self._rung = 0
        self._stepped: tuple[float, str] | None = None  # when, and to what
        self._memory_reason = "memory is not short"
        self._fault: str | None = None
        self.steps, self.cost_s = 0, 0.0
        self._began = self._due_s, sensing.cost_s

    @property
    def model(self) -> str:
        return self._model.name

    @property
    def ladder(self) -> Ladder | None:
        return self._ladder

    def look(self, now_s: float) -> None:
        """Act if a second has passed."""
        if now_s < self._due_s:
            return
        began_s = time.thread_time()
        self._due_s = max(self._due_s + EVERY_S, now_s + EVERY_S / 2)
        self._step(now_s)
        self.steps += 1
        self.cost_s += time.thread_time() - began_s

    @property
    def core_share(self) -> float:
        """Of one core, that reading the board and governing have taken since the service began: thread_time of both."""
        began_s, sensed_s = self._began
        seconds = max(self._service.clock.monotonic_s() - began_s, EVERY_S)
        return (self.cost_s + self._sensing.cost_s - sensed_s) / seconds

    def status(self) -> dict[str, Any]:
        """How the service is governed, as JSON has it."""
        state = None if self._decision is None else self._decision.state
        rung = None if self._ladder is None or self._decision is None else self._ladder.rungs[self._decision.rung]
        faults = [fault for fault in (self._fault, None if state is None else state.sensor_fault) if fault is not None]
        return {
            "model": self._model.name,
            "heat_governed": self._heat is not None,
            "rung": None if rung is None else rung.name,
            "rungs": [] if self._ladder is None else [each.name for each in self._ladder.rungs],
            "fps_cap": None if self._decision is None else self._decision.point.fps_cap,
            "reason": None if self._decision is None else self._decision.reason,
            "temp_c": None if state is None else state.temp_c,
            "limit_c": None if state is None else state.limit_c,
            "time_to_throttle_s": None if state is None else _rounded(state.time_to_throttle_s),
            "sustainable_fps": None if state is None else _rounded(state.sustainable_fps),
            "joules_a_frame": None if state is None else _rounded(state.joules_a_frame),
            "infeasible": state is not None and state.infeasible,
            "relief": self._relief.name.lower(),
            "memory_reason": self._memory_reason,
            "flags": sorted(self._flags.up),
            "faults": faults,
            "core_share": round(self.core_share, 6),
        }

    # --- one step -------------------------------------------------------------------------------------------------------------------------

    def _step(self, now_s: float) -> None:
        sensed = self._sensing.last(now_s)
        self._note_fault(now_s)
        for text, severity in self._flags.look(now_s, None if sensed is None else sensed.reading):
            self._say("board", text, severity)
        seconds, self._looked_s = now_s - self._looked_s, now_s
        self._offered.look({name: _offered(figures) for name, figures in self._service.figures.items()}, seconds)
        answered = self._answered.look(self._counts(), seconds)
        self._actuator.at(now_s, self._offered.of)
        memory = self._memory.step(memory_seen(now_s, sum(self._service.used_bytes.values()) or None, sensed))
        self._tell_memory(memory)
        self._actuator.relieve(memory.relief)
        self._actuator.apply(self._point(now_s, sensed, sum(answered.values()), is_small=memory.relief >= Relief.SMALLER_ARTIFACT))
        self._watch_lateness(now_s)

    def _point(self, now_s: float, sensed: Sensed | None, fps: float, *, is_small: bool) -> OperatingPoint:
        """How to run; `is_small`: with the lightest artifact."""
        lightest = self._names[-1]
        if self._heat is None or self._ladder is None:
            return OperatingPoint(artifact=lightest if is_small else self._names[0])
        known = any(rung.point.artifact == lightest for rung in self._ladder.rungs)
        first = self._ladder.first_with_artifact(lightest) if is_small and known else 0
        seen = observation(now_s, sensed, fps, self._offered_fps(), throttled=self._flags.for_heat, rung=self._running(self._ladder))
        decision = self._decision = self._heat.step(seen, no_higher_than=first)
        if decision.rung != self._rung:
            self._rung, self._stepped = decision.rung, (now_s, f"the step to {self._ladder.rungs[decision.rung].name}")
        if (event := decision.event) is not None:
            self._service.say("governor", event.name, event.text, event.severity, data=event.data)
        # An artifact that is lighter but no cooler is no rung, and yet takes less memory.
        return replace(decision.point, artifact=lightest, threads=None) if is_small and not known else decision.point

    def _running(self, ladder: Ladder) -> int | None:
        """The rung that really runs: the decided one, if it may be, since two may differ in their drawing alone; None where it is none."""
        decided = 0 if self._decision is None else self._decision.rung
        by_nearness = sorted(range(len(ladder.rungs)), key=lambda at: at != decided)
        return next((at for at in by_nearness if self._actuator.runs(ladder.rungs[at].point)), None)

    def _counts(self) -> dict[str, int]:
        """What the governed model has answered of each camera."""
        name = self._model.name
        return {camera: figures.models[name].answered for camera, figures in self._service.figures.items() if name in figures.models}

    def _offered_fps(self) -> float | None:
        """What cameras bring for the model; None where a file gives as much as is taken."""
        total = 0.0
        for name in self._counts():
            camera = self._service.cameras[name]
            if not camera.live and not camera.is_over:
                return None
            rate = self._offered.of.get(name, 0.0)
            total += rate if camera.settings.fps is None else min(rate, camera.settings.fps)
        return total or None  # nothing has come yet

    # --- what is said ---------------------------------------------------------------------------------------------------------------------

    def _say(self, name: str, text: str, severity: Severity) -> None:
        self._service.say("governor", name, text, severity)

    def _note_fault(self, now_s: float) -> None:
        fault = self._sensing.fault(now_s)
        if fault == self._fault:
            return
        before, self._fault = self._fault, fault
        if fault is not None:
            self._say("sensor", fault, "error")
        elif before is not None:
            self._say("sensor", "the board's sensors answer again", "info")

    def _tell_memory(self, decision: MemoryDecision) -> None:
        self._relief, self._memory_reason = decision.relief, decision.reason
        if (event := decision.event) is not None:
            self._service.say("memory", "relief", event.text, event.severity, data=event.data)

    def _watch_lateness(self, now_s: float) -> None:
        flags = set(self._flags.up)
        if self._stepped is not None and now_s - self._stepped[0] <= LEAD_S:
            flags.add(self._stepped[1])  # the board's or ours: it is said which
        found = self._lateness.look(self._service.clock.wall_s(), self._new_ages_ms(), flags)
        if found is not None:
            data = {"before_ms": found.rise.before_ms, "after_ms": found.rise.after_ms, "causes": [flag.what for flag in found.causes]}
            self._service.say("governor", "late", found.sentence(), "warning" if found.causes else "info", data=data)

    def _new_ages_ms(self) -> list[float]:
        """Ages of the governed model's answers since the last step."""
        histograms = [each.models[self._model.name].age for each in self._service.figures.values() if self._model.name in each.models]
        ages: list[float] = []
        total = sum(histogram.count for histogram in histograms)
        new, self._ages = total - self._ages, total
        if new > 0 and len(histograms) == 1:
            ages = [age * 1e3 for age in list(histograms[0].recent)[-new:]]
        elif new > 0:  # of each camera as many as its share of all, which is near enough for a p99
            for histogram in histograms:
                count = round(new * histogram.count / total)
                ages += [age * 1e3 for age in list(histogram.recent)[-count:]] if count else []
        return ages


def observation(
    now_s: float, sensed: Sensed | None, fps: float, offered_fps: float | None, *, throttled: bool | None, rung: int | None
) -> Observation:
    """What the governor of heat is told; a reading that is not there is one without values."""
    if sensed is None:
        return Observation(now_s, None, fps, offered_fps, rung=rung)
    return Observation(now_s, sensed.reading.temp_c, fps, offered_fps, sensed.busy_cores, throttled, sensed.reading.power_w, rung)


def memory_seen(now_s: float, used_bytes: int | None, sensed: Sensed | None) -> MemorySeen:
    """What the governor of memory is told: of the machine and of the control group, the one that has the smaller share left."""
    if sensed is None:
        return MemorySeen(now_s, used_bytes)
    reading, places = sensed.reading, list[tuple[int, int]]()
    if reading.memory is not None and reading.memory.available_bytes is not None and reading.memory.total_bytes:
        places.append((reading.memory.available_bytes, reading.memory.total_bytes))
    group = reading.control_group
    if group is not None and group.memory_left_bytes is not None and group.memory_limit_bytes:
        places.append((group.memory_left_bytes, group.memory_limit_bytes))
    left, total = min(places, key=lambda each: each[0] / each[1], default=(None, None))
    stalls = None if reading.pressure is None else reading.pressure.memory
    full = None if stalls is None or stalls.full is None else stalls.full.avg10_percent
    return MemorySeen(now_s, used_bytes, left, total, stalled_percent(reading), full)


def _offered(figures: CameraFigures) -> int:
    """Frames that came and were not spared for want of movement."""
    return figures.captured - figures.dropped["still"]


def _drawing_ms(service: Service) -> float:
    return DRAWING_MS if any(isinstance(each.settings, RecordingOutput) for each in service.recorders) else 0.0


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
