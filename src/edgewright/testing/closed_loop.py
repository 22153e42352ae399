"""A governor on a plant, in simulated time; and the oracle it is measured by, which knows the plant."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from edgewright.run.govern.heat import HeatEvent, Observation, ThermalLimits
from edgewright.run.govern.ladder import Ladder, Measured, build_ladder
from edgewright.run.govern.thermal import ThermalGovernor
from edgewright.testing.plants import Board, Plant

SensorFault: TypeAlias = Callable[[float, float | None], float | None]  # seconds since the start, the reading: what is read instead
APPLIES_AFTER_S = 2.0  # a rung: the worker opens another model

# Figures of the right size for a Pi 5 (Ultralytics has 81 ms for YOLO11n at 640 there, in OpenVINO and float32), and no more.
EXAMPLE = build_ladder(
    [
        Measured("yolov8s-int8", (640, 640), 4, 150.0, 0.440),
        Measured("yolov8s-int8", (640, 640), 3, 180.0, 0.440),
        Measured("yolov8s-int8", (512, 512), 3, 118.0, 0.415),
        Measured("yolov8n-int8", (512, 512), 3, 52.0, 0.350),
        Measured("yolov8n-int8", (320, 320), 2, 32.0, 0.280),
    ],
    drawing_ms=12.0,
)


@dataclass(frozen=True, slots=True)
class Case:
    """A board, what it is to do, and for how long. `truths`: by how much each rung is warmer than its ladder says."""

    name: str
    board: Board
    seconds: float = 3600.0
    ladder: Ladder = EXAMPLE
    limits: ThermalLimits = field(default=ThermalLimits())
    offered_fps: float = 15.0
    truths: tuple[float, ...] = ()
    start_c: float | None = None
    others_seen: bool = True  # other programs' work shows in the machine's busy cores
    fault: SensorFault | None = None

    def truth(self, rung: int) -> float:
        return self.truths[rung % len(self.truths)] if self.truths else 1.0

    def most_fps(self, rung: int) -> float:
        return min(self.offered_fps, self.ladder.rungs[0].most_fps, self.ladder.rungs[rung].most_fps)


@dataclass(frozen=True, slots=True)
class Second:
    """One second of a run."""

    time_s: float
    die_c: float
    rung: int
    fps: float
    work: float


@dataclass(frozen=True, slots=True)
class Run:
    """What happened."""

    seconds: tuple[Second, ...]
    events: tuple[tuple[float, HeatEvent], ...]

    @property
    def hottest_c(self) -> float:
        return max(second.die_c for second in self.seconds)

    @property
    def work(self) -> float:
        """Frames answered, each worth its rung's mAP as a share of the top one's."""
        return sum(second.work for second in self.seconds)

    def work_since(self, time_s: float) -> float:
        return sum(second.work for second in self.seconds if second.time_s >= time_s)

    def reversals(self, within_s: float = 600.0) -> int:
        """The most changes of direction between rungs in any ten minutes."""
        times, way, before = [], 0, self.seconds[0].rung
        for second in self.seconds:
            if second.rung != before:
                new = 1 if second.rung > before else -1
                if way not in {0, new}:
                    times.append(second.time_s)
                way, before = new, second.rung
        return max((sum(0 <= other - time_s < within_s for other in times) for time_s in times), default=0)

    def first(self, name: str, severity: str | None = None) -> float | None:
        """When an event of this name was first said."""
        return next((at for at, event in self.events if event.name == name and severity in {None, event.severity}), None)


def govern(case: Case, *, seed: int = 0, governor: ThermalGovernor | None = None) -> Run:
    """The governor on the plant, a step a second."""
    governor = governor or ThermalGovernor(case.ladder, case.limits)
    plant = Plant(case.board, seed=seed, start_c=case.start_c)
    chance = random.Random(seed)
    rung, cap, fps, busy = 0, None, 0.0, 0.0
    coming: list[tuple[float, int]] = []
    seconds: list[Second] = []
    events: list[tuple[float, HeatEvent]] = []
    while plant.time_s < case.seconds - 1e-6:
        reading: float | None = plant.reading_c()
        if case.fault is not None:
            reading = case.fault(plant.time_s, reading)
        decision = governor.step(Observation(plant.time_s, reading, fps, case.offered_fps, busy, throttled=plant.throttled, rung=rung))
        if decision.event is not None:
            events.append((plant.time_s, decision.event))
        cap = decision.point.fps_cap
        if decision.rung != (coming[-1][1] if coming else rung):
            coming.append((plant.time_s + APPLIES_AFTER_S, decision.rung))
        while coming and plant.time_s >= coming[0][0]:
            rung = coming.pop(0)[1]
        way = case.ladder.rungs[rung]
        wanted = min(case.most_fps(rung), math.inf if cap is None else cap)
        wanted *= min(max(chance.gauss(1, 0.02), 0.9), 1.1)  # no second is like the other
        heat = wanted * way.frame_heat
        done = plant.run(1.0, heat * case.truth(rung))
        fps = done / (case.truth(rung) * way.frame_heat)
        others = case.board.other_w(plant.time_s) / case.board.work_w if case.others_seen else 0.0
        busy = (heat + others) / case.ladder.heat_a_core
        seconds.append(Second(plant.time_s, plant.die_c, decision.rung, fps, fps * way.worth))
    return Run(tuple(seconds), tuple(events))


@dataclass(frozen=True, slots=True)
class Oracle:
    """The best constant way to run that never passes the limit."""

    heat: float
    rung: int
    fps: float


def oracle(case: Case) -> Oracle | None:
    """With the plant known: the greatest constant heat, by bisection, and the rung that makes the most of it; None if none stays below."""
    rungs = case.ladder.rungs
    warmest = max(case.most_fps(at) * rungs[at].frame_heat * case.truth(at) for at in range(len(rungs)))
    lowest = case.limits.lowest_fps * rungs[-1].frame_heat * case.truth(len(rungs) - 1)
    if not _stays_below(case, lowest):
        return None
    low, high = lowest, warmest
    if _stays_below(case, high):
        low = high
    while high - low > 0.004:
        middle = (low + high) / 2
        low, high = (middle, high) if _stays_below(case, middle) else (low, middle)
    rates = [min(low / (rung.frame_heat * case.truth(at)), case.most_fps(at)) for at, rung in enumerate(rungs)]
    best = max(range(len(rungs)), key=lambda at: (rates[at] * rungs[at].worth, -at))
    return Oracle(low, best, rates[best])


def _stays_below(case: Case, heat: float) -> bool:
    plant = Plant(case.board, start_c=case.start_c)
    while plant.time_s < case.seconds - 1e-6:
        plant.run(1.0, heat)
        if plant.die_c > case.limits.limit_c:
            return False
    return True
