"""The governor of heat: as much work as the board can carry away, and never so much that the firmware has to slow it down.

Once a second it is told the temperature and what was done, and decides how to run: a rung of the ladder, and a cap on frames a second,
which is what keeps the temperature (it acts at once, as finely as needed, and costs no accuracy). Rungs change seldom, when another one's
answers would be worth clearly more within the heat there is.

It looks ahead instead of waiting for a threshold: the model says with which heat the temperature comes to the target in a minute; so a
cool board may work hard, slows down as it warms, and settles where it can stay. Firmware that throttles is answered by a lower limit, a
sensor that is not to be believed by the heat that was last held safely, a board that is too hot even at its lowest by saying so loudly.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from edgewright.run.govern.ladder import Ladder, OperatingPoint, Rung
from edgewright.run.govern.sensor_check import Seen, SensorCheck
from edgewright.run.govern.thermal_model import ThermalModel
from edgewright.run.records import NO_DATA, Severity

PI_LIMIT_C = 78.0  # 2 C under where the firmware begins (Raspberry Pi documentation, "Frequency management and thermal control": 80 C)
JETSON_UNDER_TRIP_C = 5.0
MARGIN_C = 0.5  # the target's distance from the limit: a sensor's steps, its noise, and what a board does between two readings
LOOK_AHEAD_S = (25.0, 75.0)
LOOK_AHEAD_OF_TAU = 0.3
SMOOTH_S = 4.0
OTHER_S = 1.0  # other programs' work is believed after this: the die answers to it as fast as to ours
MOST_HEAT = 2.0  # more than a machine can make: to tell no difference between much room and very much
PROBE_HEAT, PROBE_STEPS = 0.1, 3.0
RUNG_BETTER_BY = 0.06
RUNG_KEPT_S = 60.0  # at least, unless frames would come too seldom
TOO_FEW_S = 5.0
RUNG_TURN_S = 330.0  # before the direction is reversed: at most one reversal in five minutes
RUNG_HEAT_S = 45.0  # over which the heat is smoothed that rungs are chosen by
CAP_STEP = 0.01  # a cap is told again when it changed by more, as a share
CAP_BEGINS, CAP_ENDS = 0.95, 1.05  # of the frames wanted, when it is said that they are capped, and that they no longer are
HOPELESS_S = 40.0  # at the lowest rung and still above the limit, and not going to fall in
HOPELESS_AHEAD_S = 300.0
HOPE_BELOW_C = 2.0
SAFE_WINDOW_S = 120.0
SAFE_OLDER_S = 60.0  # the last minute before a fault is not a witness
SAFE_SHARE = 0.9
TRUSTED_AFTER_S = 120.0


def limit_of_trips(passive_trips_c: tuple[float, ...]) -> float | None:
    """The limit of a board whose kernel publishes its passive trip points (Jetson): 5 C under the lowest; None without any."""
    return min(passive_trips_c) - JETSON_UNDER_TRIP_C if passive_trips_c else None


@dataclass(frozen=True, slots=True)
class ThermalLimits:
    """`limit_c`: never above; `slows_c`: where the firmware begins, for the time to it; `lowest_fps`: what has to remain of the service."""

    limit_c: float = PI_LIMIT_C
    slows_c: float = PI_LIMIT_C + 2
    lowest_fps: float = 1.0

    @property
    def target_c(self) -> float:
        return self.limit_c - MARGIN_C


@dataclass(frozen=True, slots=True)
class Observation:
    """What is known once a second. `time_s`: monotonic. `fps`: frames answered a second since the last observation, all cameras together.

    `offered_fps`: frames a second that cameras bring (None: as many as are taken). `busy_cores`: cores at work in the whole machine, ours and
    others' (None: only our own work is known). `throttled`: the firmware is slowing the processor down for its heat. None: not to be read.
    """

    time_s: float
    temp_c: float | None
    fps: float
    offered_fps: float | None = None
    busy_cores: float | None = None
    throttled: bool | None = None
    power_w: float | None = None


@dataclass(frozen=True, slots=True)
class HeatEvent:
    """What somebody may want to be told of, in a sentence; `data`: the figures."""

    name: str
    text: str
    severity: Severity
    data: Mapping[str, Any] = field(default_factory=lambda: NO_DATA)  # Python 3.11 takes no default that cannot be hashed


@dataclass(frozen=True, slots=True)
class HeatState:
    """What is published. None: not known (yet), or for `time_to_throttle_s`: never, as things are."""

    temp_c: float | None
    time_to_throttle_s: float | None
    sustainable_fps: float | None
    joules_a_frame: float | None
    limit_c: float
    infeasible: bool
    sensor_fault: str | None


@dataclass(frozen=True, slots=True)
class Decision:
    """How to run from now on, and why. `changed`: it differs from the last decision."""

    rung: int
    point: OperatingPoint
    reason: str
    changed: bool
    event: HeatEvent | None
    state: HeatState


class ThermalGovernor:
    """Fed with an observation a second; `step` decides. It keeps no time of its own."""

    def __init__(self, ladder: Ladder, limits: ThermalLimits | None = None) -> None:
        self._ladder = ladder
        self._limits = limits or ThermalLimits()
        self._model = ThermalModel()
        self._sensor = SensorCheck()
        self._rung = 0
        self._cap: float | None = None
        self._point: OperatingPoint | None = None
        self._reason = "the board has not been seen warm yet"
        self._time_s = math.nan
        self._moved = (-math.inf, 0)  # when a rung was last changed, and which way
        self._few_since_s = math.inf
        self._other = 0.0
        self._allowed = math.inf
        self._whole = math.inf
        self._rung_heat = math.inf
        self._lasting_heat = math.inf
        self._probe_heat: float | None = None
        self._lowest_since_s: float | None = None
        self._cool_since_s: float | None = None
        self._infeasible = False
        self._fault: str | None = None
        self._throttled = False
        self._binding = False
        self._window: deque[tuple[float, float, float]] = deque()  # time, heat, temperature
        self._safe: deque[tuple[float, float]] = deque()  # when, heat
        self._events: deque[HeatEvent] = deque()
        self._joules_a_frame: float | None = None
        self._told_blind = False

    def step(self, seen: Observation, *, no_higher_than: int = 0) -> Decision:
        """Decide; `no_higher_than`: the topmost rung that others (memory) leave."""
        seconds = min(max(seen.time_s - self._time_s, 0.0), 30.0) if math.isfinite(self._time_s) else 0.0
        self._time_s = seen.time_s
        if self._point is None:
            self._moved = (seen.time_s, 0)
        own, total = self._heats(seen, seconds)
        reading = self._read(seen, seconds, total)
        self._note_energy(seen, seconds)
        self._note_firmware(seen)
        heat = self._allow(seen, seconds, own, reading)
        self._choose(seen, heat, seconds, no_higher_than)
        self._watch_hope(seen, reading)
        return self._decide(seen, total)

    # What was done, and how warm it is.

    def _heats(self, seen: Observation, seconds: float) -> tuple[float, float]:
        """Our own heat, and the machine's."""
        own = max(seen.fps, 0.0) * self._now.frame_heat
        if seen.busy_cores is None:
            return own, own
        total = max(seen.busy_cores, 0.0) * self._ladder.heat_a_core
        self._other += (1 - math.exp(-seconds / OTHER_S)) * (total - own - self._other)
        return own, total

    def _read(self, seen: Observation, seconds: float, heat: float) -> Seen:
        near = self._model.temp_c > self._limits.limit_c - 10
        unchanged_before = self._sensor.unchanged_s
        reading = self._sensor.see(
            seen.time_s, seen.temp_c, heat, expected_c=self._model.temp_c, alone_c=self._model.alone_c, near_limit=near
        )
        if reading.temp_c is None:
            self._model.coast(seconds, heat)
        else:
            self._model.update(seconds, reading.temp_c, heat)
            if self._sensor.unchanged_s <= unchanged_before:
                self._model.go_alone()
            self._note_safe(seen.time_s, heat)
        if reading.fault != self._fault:
            self._tell_fault(reading.fault)
        return reading

    def _note_safe(self, time_s: float, heat: float) -> None:
        """A heat is known safe when it was held for two minutes below the target, and the temperature did not rise any more."""
        self._window.append((time_s, heat, self._model.temp_c))
        while time_s - self._window[0][0] > SAFE_WINDOW_S:
            self._window.popleft()
        if time_s - self._window[0][0] < SAFE_WINDOW_S * 0.95 or int(time_s) % 10:
            return
        temps = [temp for _, _, temp in self._window]
        half = len(temps) // 2
        risen = sum(temps[half:]) / (len(temps) - half) - sum(temps[:half]) / half
        if max(temps) <= self._limits.limit_c and risen < 0.4:
            cool = max(temps) < self._limits.target_c - 3
            mean = sum(each for _, each, _ in self._window) / len(self._window)
            self._safe.append((time_s, mean * (1.0 if cool else SAFE_SHARE)))
        while len(self._safe) > 1 and time_s - self._safe[1][0] > SAFE_OLDER_S:
            self._safe.popleft()

    def _tell_fault(self, fault: str | None) -> None:
        before, self._fault = self._fault, fault
        if fault is None:
            self._say("sensor", f"the temperature is to be believed again, after: {before}", "info")
            return
        held = self._safe_heat()
        known = "as much work as was last held safely" if held is not None else "the lowest rung, since no other is known to be safe"
        self._say("sensor", f"the temperature sensor is not to be believed: {fault}; until it is, {known}", "error", {"safe_heat": held})

    def _safe_heat(self) -> float | None:
        older = [heat for when, heat in self._safe if self._time_s - when >= SAFE_OLDER_S - 15]
        return older[-1] if older else None

    def _note_energy(self, seen: Observation, seconds: float) -> None:
        if seen.power_w is None or seen.fps <= 0:
            self._joules_a_frame = None if seen.power_w is None else self._joules_a_frame
            return
        now = seen.power_w / seen.fps
        if self._joules_a_frame is None:
            self._joules_a_frame = now
        self._joules_a_frame += (1 - math.exp(-seconds / 15.0)) * (now - self._joules_a_frame)

    def _note_firmware(self, seen: Observation) -> None:
        """Firmware that slows the processor below our limit knows more than we do: stay 2 C below where it did."""
        begins = bool(seen.throttled) and not self._throttled
        self._throttled = bool(seen.throttled)
        if not begins:
            return
        at_c = self._model.temp_c
        if math.isfinite(at_c) and at_c - 2 < self._limits.limit_c and self._fault is None:
            self._limits = replace(self._limits, limit_c=max(at_c - 2, 40.0), slows_c=min(self._limits.slows_c, at_c))
        text = f"the firmware slows the processor down at {at_c:.1f} °C; kept below {self._limits.limit_c:.1f} °C from now on"
        self._say("throttled", text, "warning", {"temp_c": at_c, "limit_c": self._limits.limit_c})

    # How much heat there may be.

    @property
    def _now(self) -> Rung:
        return self._ladder.rungs[self._rung]

    @property
    def _lowest_heat(self) -> float:
        return self._limits.lowest_fps * self._ladder.rungs[-1].frame_heat

    def _allow(self, seen: Observation, seconds: float, own: float, reading: Seen) -> float:
        """Our own share of the heat that brings the temperature to the target, and no higher."""
        if self._sensor.never_read:
            return self._go_blind(seen)
        if self._fault is not None:
            safe = self._safe_heat()
            self._allowed = self._rung_heat = self._lowest_heat if safe is None else max(safe - self._other, self._lowest_heat)
            return self._allowed
        within = min(max(self._model.thermal.tau_s * LOOK_AHEAD_OF_TAU, LOOK_AHEAD_S[0]), LOOK_AHEAD_S[1])
        whole = min(max(self._model.heat_to_reach(self._limits.target_c, within), 0.0), MOST_HEAT)
        if not math.isfinite(self._whole):
            self._whole = whole
        self._whole += (1 - math.exp(-seconds / SMOOTH_S)) * (whole - self._whole)
        self._allowed = max(self._whole - self._other, 0.0)
        if not reading.suspect:
            self._probe_heat = None
            return self._allowed
        if self._probe_heat is None:  # less work, by so much that the die cannot but show it
            visible = PROBE_STEPS * self._sensor.step_c / self._model.thermal.d
            self._probe_heat = max(own - max(visible, PROBE_HEAT), self._lowest_heat)
        return min(self._allowed, self._probe_heat)

    def _go_blind(self, seen: Observation) -> float:
        if not self._told_blind:
            self._told_blind = True
            flag = "only the firmware's own flag is heeded" if seen.throttled is not None else "heat is not governed"
            self._say("sensor", f"no temperature can be read on this machine: {flag}", "warning")
        if seen.throttled is None:
            return math.inf
        self._allowed = min(self._allowed, 1.0) * (0.98 if seen.throttled else 1.001)
        return max(self._allowed, self._lowest_heat)

    # Which rung, and which cap.

    def _choose(self, seen: Observation, heat: float, seconds: float, no_higher_than: int) -> None:
        if self._probe_heat is None:
            self._smooth_heats(heat, seconds)
            self._change_rung(seen, heat, min(no_higher_than, len(self._ladder.rungs) - 1))
        rung, wanted = self._now, self._wanted(seen)
        most = min(rung.most_fps, wanted)
        if self._probe_heat is None:
            self._tell_cap(self._rung_heat / rung.frame_heat, most)
        cap = max(heat / rung.frame_heat, self._limits.lowest_fps)
        free = None if self._rung == 0 or rung.most_fps <= wanted else wanted
        new = cap if cap < most else free
        if new is None or self._cap is None or abs(new - self._cap) > CAP_STEP * self._cap:
            self._cap = new

    def _smooth_heats(self, heat: float, seconds: float) -> None:
        """What rungs are chosen by: the heat there may be now, and the one that could be kept up for good."""
        lasting = heat
        if self._fault is None and not self._sensor.never_read:
            lasting = min(max(self._model.heat_to_settle_at(self._limits.target_c) - self._other, 0.0), MOST_HEAT)
        heat = min(heat, MOST_HEAT)
        if not math.isfinite(self._rung_heat):
            self._rung_heat, self._lasting_heat = heat, lasting
        share = 1 - math.exp(-seconds / RUNG_HEAT_S)
        self._rung_heat += share * (heat - self._rung_heat)
        self._lasting_heat += share * (lasting - self._lasting_heat)

    def _wanted(self, seen: Observation) -> float:
        """Frames a second: no more than the top rung would give. A lower rung is for the heat, not for more frames."""
        top = self._ladder.rungs[0].most_fps
        return top if seen.offered_fps is None else min(top, seen.offered_fps)

    def _change_rung(self, seen: Observation, heat: float, first: int) -> None:
        """Down where a lower rung is worth clearly more within the heat there is; up where an upper one would be, and for good."""
        last = len(self._ladder.rungs) - 1
        if self._rung < first:
            self._move(max(self._best(seen, heat, first), first), "memory is short")
        elif self._rung < last and self._too_few_for_long(heat):
            why = f"fewer than {self._limits.lowest_fps:g} frames a second would be left"
            self._move(max(self._best(seen, heat, first), self._rung + 1), why)
        elif (at := self._better(seen, self._rung_heat, first)) > self._rung and self._may_move(1):
            self._move(at, "its answers are worth more within the heat that the board sheds")
        elif (at := self._better(seen, min(self._rung_heat, self._lasting_heat), first)) < self._rung and self._may_move(-1):
            self._move(at, "the board sheds more heat again")

    def _too_few_for_long(self, heat: float) -> bool:
        if heat >= self._limits.lowest_fps * self._now.frame_heat:
            self._few_since_s = math.inf
            return False
        self._few_since_s = min(self._few_since_s, self._time_s)
        return self._time_s - max(self._few_since_s, self._moved[0]) >= TOO_FEW_S

    def _may_move(self, way: int) -> bool:
        since_s, last_way = self._moved
        return self._time_s - since_s >= (RUNG_KEPT_S if last_way in {0, way} else RUNG_TURN_S)

    def _better(self, seen: Observation, heat: float, first: int) -> int:
        """The best rung for the heat if it is clearly better than the present one, or else that."""
        at, wanted = self._best(seen, heat, first), self._wanted(seen)
        better = self._ladder.rungs[at].worth_for(heat, wanted) > (1 + RUNG_BETTER_BY) * self._now.worth_for(heat, wanted)
        return at if better else self._rung

    def _best(self, seen: Observation, heat: float, first: int) -> int:
        enough = [at for at in range(first, len(self._ladder.rungs)) if heat >= self._limits.lowest_fps * self._ladder.rungs[at].frame_heat]
        return self._ladder.best(heat, self._wanted(seen), first=enough[0] if enough else len(self._ladder.rungs) - 1)

    def _move(self, to: int, why: str) -> None:
        if to == self._rung:
            return
        way = 1 if to > self._rung else -1
        before, self._rung = self._now, to
        self._moved = (self._time_s, way)
        self._binding = False
        self._reason = f"{'down' if way > 0 else 'up'} to {self._now.name}: {why}"
        data = {"from": before.name, "to": self._now.name, "temp_c": self._temp(), "map50_95": self._now.map50_95}
        self._say("rung", f"{self._reason}{self._cost(before)}", "warning" if way > 0 else "info", data)

    def _cost(self, before: Rung) -> str:
        if before.map50_95 is None or self._now.map50_95 is None or before.map50_95 == self._now.map50_95:
            return ""
        return f" (mAP50-95 {before.map50_95:.3f} to {self._now.map50_95:.3f})"

    def _tell_cap(self, cap: float, most: float) -> None:
        if cap >= most * (CAP_ENDS if self._binding else CAP_BEGINS) or (self._binding and cap < most * CAP_ENDS):
            if not self._binding or cap < most * CAP_ENDS:
                return
            self._binding = False
            self._reason = f"all {most:.1f} frames a second are within what the board sheds"
            self._say("cap", self._reason, "info", {"temp_c": self._temp()})
            return
        self._binding = True
        if self._fault is not None:
            why = "the temperature is not known"
        elif self._sensor.never_read:
            why = "the firmware slows the processor down"
        else:
            end = self._model.settles_at_c(most * self._now.frame_heat + self._other)
            why = f"at full work the board would reach {end:.0f} °C, and {self._limits.limit_c:.0f} °C is its limit"
        self._reason = f"capped at {cap:.1f} of {most:.1f} frames a second: {why}"
        self._say("cap", self._reason, "info", {"temp_c": self._temp(), "fps_cap": cap})

    # When nothing helps.

    def _watch_hope(self, seen: Observation, reading: Seen) -> None:
        lowest = self._rung == len(self._ladder.rungs) - 1 and self._allowed <= self._lowest_heat * 1.05
        if reading.fault is not None or self._sensor.never_read:
            self._lowest_since_s = None
            return
        temp_c, limit_c = self._model.temp_c, self._limits.limit_c
        if not lowest:
            self._lowest_since_s = None
        elif self._lowest_since_s is None:
            self._lowest_since_s = seen.time_s
        held = self._lowest_since_s is not None and seen.time_s - self._lowest_since_s >= HOPELESS_S
        if not self._infeasible and held and temp_c > limit_c and not self._falls_soon():
            self._infeasible = True
            text = (
                f"too hot: {temp_c:.1f} °C, above its limit of {limit_c:.0f} °C, though only {self._limits.lowest_fps:g} frames a second are"
                f" answered on the lowest rung ({self._now.name}), which is held; give the board a fan, air or shade, or take other work off it"
            )
            self._say("infeasible", text, "error", {"temp_c": temp_c, "limit_c": limit_c})
        if temp_c > limit_c - HOPE_BELOW_C:
            self._cool_since_s = None
        elif self._cool_since_s is None:
            self._cool_since_s = seen.time_s
        if self._infeasible and self._cool_since_s is not None and seen.time_s - self._cool_since_s > HOPELESS_S:
            self._infeasible = False
            self._say("infeasible", f"the board is at {temp_c:.1f} °C again: below its limit of {limit_c:.0f} °C", "info", {"temp_c": temp_c})

    def _falls_soon(self) -> bool:
        """The last half minute's fall, gone on with, ends below the limit within five minutes."""
        recent = [(when, temp) for when, _, temp in self._window if self._time_s - when <= 30]
        if len(recent) < 5:
            return False
        (start_s, start_c), (end_s, end_c) = recent[0], recent[-1]
        return end_c + HOPELESS_AHEAD_S * (end_c - start_c) / (end_s - start_s) < self._limits.limit_c

    # What is said.

    def _say(self, name: str, text: str, severity: Severity, data: Mapping[str, Any] = NO_DATA) -> None:
        if len(self._events) < 16:
            self._events.append(HeatEvent(name, text, severity, data))

    def _temp(self) -> float | None:
        return round(self._model.temp_c, 1) if math.isfinite(self._model.temp_c) and self._fault is None else None

    def _decide(self, seen: Observation, total: float) -> Decision:
        point = replace(self._now.point, fps_cap=None if self._cap is None else round(self._cap, 3))
        changed, self._point = point != self._point, point
        event = self._events.popleft() if self._events else None
        return Decision(self._rung, point, self._reason, changed, event, self._state(seen, total))

    def _state(self, seen: Observation, total: float) -> HeatState:
        known = self._fault is None and not self._sensor.never_read
        until = sustainable = None
        if known and self._model.learnt_s >= TRUSTED_AFTER_S:
            until = self._model.seconds_until(self._limits.slows_c, total)
            heat = max(self._model.heat_to_settle_at(self._limits.target_c) - self._other, 0.0)
            sustainable = self._now.fps_for(heat, self._wanted(seen))
        return HeatState(self._temp(), until, sustainable, self._joules_a_frame, self._limits.limit_c, self._infeasible, self._fault)
