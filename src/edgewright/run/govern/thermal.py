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
from dataclasses import replace
from typing import Any

from edgewright.run.govern.heat import Decision, HeatEvent, HeatState, Observation, ThermalLimits
from edgewright.run.govern.ladder import Ladder, OperatingPoint, Rung
from edgewright.run.govern.rungs import MOST_HEAT, RungChoice
from edgewright.run.govern.sensor_check import Seen, SensorCheck
from edgewright.run.govern.thermal_model import ThermalModel
from edgewright.run.govern.witnesses import Hope, SafeHeat
from edgewright.run.records import NO_DATA, Severity

LOOK_AHEAD_S = (25.0, 75.0)
LOOK_AHEAD_OF_TAU = 0.3
LONGEST_STEP_S = 30.0  # a machine that slept has not worked that long
SMOOTH_S = 4.0
OTHER_S = 1.0  # other programs' work is believed after this: the die answers to it as fast as to ours
ENERGY_S = 15.0
PROBE_HEAT, PROBE_STEPS = 0.1, 3.0  # less work, by so much that a sensor which is alive shows it
CAP_STEP = 0.01  # a cap is told again when it changed by more, as a share
CAP_BEGINS, CAP_ENDS = 0.95, 1.05  # of the frames wanted, when it is said that they are capped, and that they no longer are
NEAR_LIMIT_C = 10.0
FIRMWARE_UNDER_C, LOWEST_LIMIT_C = 2.0, 40.0
TRUSTED_AFTER_S = 120.0
SLOPE_OVER_S = 30.0
MOST_EVENTS = 16


class ThermalGovernor:
    """Fed with an observation a second; `step` decides. It keeps no time of its own."""

    def __init__(self, ladder: Ladder, limits: ThermalLimits | None = None) -> None:
        self._ladder = ladder
        self._limits = limits or ThermalLimits()
        self._model = ThermalModel()
        self._sensor = SensorCheck()
        self._safe = SafeHeat()
        self._hope = Hope()
        self._choice: RungChoice | None = None
        self._time_s = math.nan
        self._other_heat = 0.0
        self._whole_heat = math.nan  # of the machine, that brings the temperature to the target
        self._probe_heat: float | None = None
        self._cap: float | None = None
        self._capped = False
        self._point: OperatingPoint | None = None
        self._fault: str | None = None
        self._held_heat: float | None = None  # while the sensor is not to be believed
        self._throttled = False
        self._blind_heat = 1.0
        self._told_blind = False
        self._joules_a_frame: float | None = None
        self._reason = "the board has not been seen warm yet"
        self._events: deque[HeatEvent] = deque()

    def step(self, seen: Observation, *, no_higher_than: int = 0) -> Decision:
        """Decide; `no_higher_than`: the topmost rung that others (memory) leave."""
        if math.isfinite(self._time_s) and seen.time_s < self._time_s:
            seen = replace(seen, time_s=self._time_s)  # a clock that is set back: as if no time had passed
        seconds = min(seen.time_s - self._time_s, LONGEST_STEP_S) if math.isfinite(self._time_s) else 0.0
        self._time_s = seen.time_s
        choice = self._choice = self._choice or RungChoice(self._ladder, self._limits.lowest_fps, seen.time_s)
        running = choice.rung if seen.rung is None else self._ladder.rungs[seen.rung]
        own, total = self._heats(seen, seconds, running)
        reading = self._read(seen, seconds, total)
        self._note_energy(seen, seconds)
        self._note_firmware(seen)
        heat = self._allow(seen, seconds, own, reading)
        self._choose(seen, seconds, heat, choice, no_higher_than)
        self._limit(seen, heat, choice.rung, running)
        self._watch_hope(seen, heat, choice)
        return self._decide(seen, total, choice)

    # What was done, and how warm it is.

    def _heats(self, seen: Observation, seconds: float, rung: Rung) -> tuple[float, float]:
        """Our own heat, and the machine's."""
        own = max(seen.fps, 0.0) * rung.frame_heat
        if seen.busy_cores is None:
            return own, own
        total = max(seen.busy_cores, 0.0) * self._ladder.heat_a_core
        self._other_heat += _share(seconds, OTHER_S) * (total - own - self._other_heat)
        return own, total

    def _read(self, seen: Observation, seconds: float, heat: float) -> Seen:
        model, sensor = self._model, self._sensor
        near = model.temp_c > self._limits.limit_c - NEAR_LIMIT_C
        still_s = sensor.unchanged_s
        reading = sensor.see(seen.time_s, seen.temp_c, heat, expected_c=model.temp_c, alone_c=model.alone_c, near_limit=near)
        if reading.temp_c is None:
            model.coast(seconds, heat)
        else:
            model.update(seconds, reading.temp_c, heat)
            if sensor.unchanged_s <= still_s:
                model.go_alone()
            self._safe.note(seen.time_s, heat, model.temp_c, self._limits.limit_c)
        if reading.fault != self._fault:
            self._tell_fault(reading.fault)
        return reading

    def _tell_fault(self, fault: str | None) -> None:
        before, self._fault = self._fault, fault
        if fault is None:
            self._whole_heat = math.nan
            self._say("sensor", f"the temperature is to be believed again, after: {before}", "info")
            return
        held = self._held_heat = None if self._hope.lost else self._safe.known(self._time_s)
        known = "as much work as was last held safely" if held is not None else "the lowest rung, since no other is known to be safe"
        self._say("sensor", f"the temperature sensor is not to be believed: {fault}; until it is, {known}", "error", {"safe_heat": held})

    def _note_energy(self, seen: Observation, seconds: float) -> None:
        if seen.power_w is None:
            self._joules_a_frame = None
        elif seen.fps > 0:
            now = seen.power_w / seen.fps
            before = now if self._joules_a_frame is None else self._joules_a_frame
            self._joules_a_frame = before + _share(seconds, ENERGY_S) * (now - before)

    def _note_firmware(self, seen: Observation) -> None:
        """Firmware that slows the processor below our limit knows more than we do: stay 2 C below where it did."""
        begins = bool(seen.throttled) and not self._throttled
        self._throttled = bool(seen.throttled)
        temp_c = self._temp()
        if not begins or temp_c is None:
            return
        limit_c = max(min(temp_c - FIRMWARE_UNDER_C, self._limits.limit_c), LOWEST_LIMIT_C)
        self._limits = replace(self._limits, limit_c=limit_c, slows_c=min(self._limits.slows_c, max(temp_c, limit_c)))
        kept = f"; kept below {limit_c:.1f} °C from now on" if temp_c - FIRMWARE_UNDER_C <= limit_c else ""
        text = f"the firmware slows the processor down at {temp_c:.1f} °C{kept}"
        self._say("throttled", text, "warning", {"temp_c": temp_c, "limit_c": limit_c})

    # How much heat there may be.

    @property
    def _target_c(self) -> float:
        return self._limits.target_c(self._sensor.step_c)

    @property
    def _lowest_heat(self) -> float:
        return self._limits.lowest_fps * self._ladder.rungs[-1].frame_heat

    def _allow(self, seen: Observation, seconds: float, own: float, reading: Seen) -> float:
        """Our own share of the heat that brings the temperature to the target, and no higher."""
        if self._sensor.never_read:
            return self._go_blind(seen, seconds)
        if self._fault is not None:
            self._probe_heat = None
            return self._lowest_heat if self._held_heat is None else max(self._held_heat - self._other_heat, self._lowest_heat)
        within_s = min(max(self._model.thermal.tau_s * LOOK_AHEAD_OF_TAU, LOOK_AHEAD_S[0]), LOOK_AHEAD_S[1])
        whole = min(max(self._model.heat_to_reach(self._target_c, within_s), 0.0), MOST_HEAT)
        if not math.isfinite(self._whole_heat):
            self._whole_heat = whole
        self._whole_heat += _share(seconds, SMOOTH_S) * (whole - self._whole_heat)
        allowed = max(self._whole_heat - self._other_heat, 0.0)
        if not reading.suspect:
            self._probe_heat = None
            return allowed
        if self._probe_heat is None:
            visible = PROBE_STEPS * self._sensor.step_c / self._model.thermal.d
            self._probe_heat = max(own - max(visible, PROBE_HEAT), self._lowest_heat)
        return min(allowed, self._probe_heat)

    def _go_blind(self, seen: Observation, seconds: float) -> float:
        """A machine that has no sensor: by the firmware's word, or as if it were cool."""
        if not self._told_blind:
            self._told_blind = True
            heeded = "only the firmware's own flag is heeded" if seen.throttled is not None else "heat is not governed"
            self._say("sensor", f"no temperature can be read on this machine: {heeded}", "warning")
        if seen.throttled is None:
            return math.inf
        self._blind_heat *= (0.98 if seen.throttled else 1.001) ** seconds
        self._blind_heat = min(max(self._blind_heat, self._lowest_heat), 1.0)
        return self._blind_heat if self._blind_heat < 1 else math.inf

    # Which rung, and which cap.

    def _choose(self, seen: Observation, seconds: float, heat: float, choice: RungChoice, no_higher_than: int) -> None:
        wanted_fps = self._wanted_fps(seen)
        if self._probe_heat is None:
            choice.smooth(seconds, heat, self._lasting_heat(heat))
            self._change_rung(heat, wanted_fps, choice, no_higher_than)
        rung = choice.rung
        if self._probe_heat is None and not self._hope.lost:
            self._tell_cap(choice.heat / rung.frame_heat, min(rung.most_fps, wanted_fps), rung)

    def _limit(self, seen: Observation, heat: float, rung: Rung, running: Rung) -> None:
        """Frames a second for the heat. While one rung follows another both must keep within it."""
        wanted_fps = self._wanted_fps(seen)
        most_fps = min(rung.most_fps, wanted_fps)
        cap = max(heat / max(rung.frame_heat, running.frame_heat), self._limits.lowest_fps)
        if cap >= most_fps:
            is_top = rung is self._ladder.rungs[0]
            self._cap = None if is_top or rung.most_fps <= wanted_fps else wanted_fps
        elif self._cap is None or abs(cap - self._cap) > CAP_STEP * self._cap:
            self._cap = cap

    def _wanted_fps(self, seen: Observation) -> float:
        """No more than the top rung would give: a lower rung is for the heat, not for more frames."""
        top = self._ladder.rungs[0].most_fps
        return top if seen.offered_fps is None else max(min(top, seen.offered_fps), self._limits.lowest_fps)

    def _lasting_heat(self, heat: float) -> float:
        if self._fault is not None or self._sensor.never_read:
            return heat
        return self._model.heat_to_settle_at(self._target_c) - self._other_heat

    def _change_rung(self, heat: float, wanted_fps: float, choice: RungChoice, no_higher_than: int) -> None:
        before, at = choice.rung, choice.at
        last = len(self._ladder.rungs) - 1
        first = last if self._hope.lost else min(no_higher_than, last)
        spare_c = 0.0 if self._temp() is None else self._target_c - self._model.temp_c
        why = choice.change(self._time_s, heat, wanted_fps, first, spare_c)
        if why is None:
            return
        self._reason = why
        self._capped = False
        now = choice.rung
        data = {"from": before.name, "to": now.name, "temp_c": self._temp(), "map50_95": now.map50_95}
        self._say("rung", f"{why}{_cost(before, now)}", "warning" if choice.at > at else "info", data)

    def _tell_cap(self, cap: float, most_fps: float, rung: Rung) -> None:
        """When capping begins, and when it is over; not every change of a cap."""
        if self._capped and cap >= most_fps * CAP_ENDS:
            self._capped = False
            self._reason = f"all {most_fps:.1f} frames a second are within what the board sheds"
            self._say("cap", self._reason, "info", {"temp_c": self._temp()})
        elif not self._capped and cap < most_fps * CAP_BEGINS:
            self._capped = True
            self._reason = f"capped at {cap:.1f} of {most_fps:.1f} frames a second: {self._why_capped(most_fps, rung)}"
            self._say("cap", self._reason, "info", {"temp_c": self._temp(), "fps_cap": cap})

    def _why_capped(self, most_fps: float, rung: Rung) -> str:
        if self._fault is not None:
            return "the temperature is not known"
        if self._sensor.never_read:
            return "the firmware slows the processor down"
        end_c = self._model.settles_at_c(most_fps * rung.frame_heat + self._other_heat)
        limit = f"and {self._limits.limit_c:.0f} °C is its limit"
        return f"without, the board would go on to {end_c:.0f} °C, {limit}" if end_c > self._limits.limit_c else f"it warms fast, {limit}"

    def _watch_hope(self, seen: Observation, heat: float, choice: RungChoice) -> None:
        temp_c, limit_c = self._temp(), self._limits.limit_c
        if temp_c is None:
            self._hope.forget()
            return
        lowest = choice.is_last and heat <= self._lowest_heat
        slope = self._safe.slope_c_s(SLOPE_OVER_S)
        if not self._hope.watch(seen.time_s, self._model.temp_c, limit_c, slope, lowest=lowest):
            return
        data = {"temp_c": temp_c, "limit_c": limit_c}
        if not self._hope.lost:
            self._say("infeasible", f"the board is at {temp_c:.1f} °C again: below its limit of {limit_c:.0f} °C", "info", data)
            return
        self._reason = (
            f"too hot: {temp_c:.1f} °C, above the limit of {limit_c:.0f} °C, with only {self._limits.lowest_fps:g} frames a second on the"
            f" lowest rung ({choice.rung.name}), which is held; give the board a fan, air or shade, or take other work off it"
        )
        self._say("infeasible", self._reason, "error", data)

    # What is said.

    def _say(self, name: str, text: str, severity: Severity, data: Mapping[str, Any] = NO_DATA) -> None:
        if len(self._events) < MOST_EVENTS:
            self._events.append(HeatEvent(name, text, severity, data))

    def _temp(self) -> float | None:
        """The temperature, if it is known."""
        return round(self._model.temp_c, 1) if math.isfinite(self._model.temp_c) and self._fault is None else None

    def _decide(self, seen: Observation, total: float, choice: RungChoice) -> Decision:
        point = replace(choice.rung.point, fps_cap=None if self._cap is None else round(self._cap, 3))
        changed, self._point = point != self._point, point
        event = self._events.popleft() if self._events else None
        return Decision(choice.at, point, self._reason, changed, event, self._state(seen, total, choice.rung))

    def _state(self, seen: Observation, total: float, rung: Rung) -> HeatState:
        until_s = sustainable = None
        if self._temp() is not None and self._model.learnt_s >= TRUSTED_AFTER_S:
            until_s = self._model.seconds_until(self._limits.slows_c, total)
            heat = max(self._model.heat_to_settle_at(self._target_c) - self._other_heat, 0.0)
            sustainable = rung.fps_for(heat, self._wanted_fps(seen))
        return HeatState(self._temp(), until_s, sustainable, self._joules_a_frame, self._limits.limit_c, self._hope.lost, self._fault)


def _share(seconds: float, smooth_s: float) -> float:
    return 1 - math.exp(-seconds / smooth_s)


def _cost(before: Rung, now: Rung) -> str:
    if before.map50_95 is None or now.map50_95 is None or before.map50_95 == now.map50_95:
        return ""
    return f" (mAP50-95 {before.map50_95:.3f} to {now.map50_95:.3f})"
