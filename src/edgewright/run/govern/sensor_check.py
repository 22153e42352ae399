"""Is the temperature that is read to be believed?

A sensor goes wrong in four ways: nothing comes, what comes is impossible, it jumps where the work did not, or it stands still. The first
three show by themselves. A sensor that stands still does not: one with coarse steps says the same for minutes on a steady board. So
standing still is only a suspicion, the sooner the livelier the sensor has been; the governor then works less for a few seconds, and a
sensor that shows nothing of that is stuck. The die answers to less work within seconds.

It is believed again after a good minute. While it is not, the work is held, and the sensor of a steady board may well say the same: only of
one that stood still is it asked that it moves, any other is probed once it is believed.
"""

import math
from collections import deque
from dataclasses import dataclass

NO_READING_S = 15.0  # a read may fail once
WRONG_IN_A_ROW = 3
LOWEST_C, HIGHEST_C = 0.0, 125.0  # a working die is warmer than a board may be cold (Pi 5: 0 C), and would not work beyond 125 C
JUMP_C = 6.0  # in a second; a bare die under a step from idle to full work rises by 3 to 5
JUMPS, JUMPS_WITHIN_S = 4, 30.0
LEAP_C, LEAP_FOR_S = 25.0, 5.0  # no board does that
STEADY_HEAT = 0.25  # jumps count where the work changed by less
LIVELY_RUN_S = 20.0  # a sensor whose longest run of one value is shorter is lively
LIVELY_RUNS = 12
SUSPECT_S = 35.0
PATIENT_S = 300.0
MODEL_OFF_C, MODEL_OFF_STEPS = 4.0, 3.0
PROBE_S = 18.0
MEMORY_S = 900.0
RESTORED_S = 60.0
RESTORED_WITHIN_C = 15.0  # of what the model says


@dataclass(frozen=True, slots=True)
class Seen:
    """`temp_c`: what to believe, None if nothing; `fault`: what is wrong, in words; `suspect`: it stands still, so probe it."""

    temp_c: float | None
    fault: str | None
    suspect: bool


class SensorCheck:
    """Fed with every reading, and with what the work and the model say."""

    def __init__(self) -> None:
        self.fault: str | None = None
        self.step_c = 0.5  # the smallest difference seen
        self._ever = False
        self._believed: tuple[float, float] | None = None  # when, what
        self._raw: float | None = None
        self._last_s = math.nan
        self._wrong = 0
        self._jumps: deque[tuple[float, float]] = deque()  # when, by how much
        self._heats: deque[tuple[float, float]] = deque()
        self._run_since_s = math.nan
        self._runs: deque[tuple[float, float]] = deque()  # when it ended, how long it was
        self._probe_since_s: float | None = None
        self._stood_still = False  # which is what is wrong with it
        self._patience = 1.0
        self._good_since_s = math.nan

    @property
    def never_read(self) -> bool:
        return not self._ever

    def see(self, time_s: float, temp_c: float | None, heat: float, *, expected_c: float, alone_c: float, near_limit: bool) -> Seen:
        """Judge a reading. `expected_c`: by the model; `alone_c`: by the model, had nothing been read since the value last changed."""
        self._note_heat(time_s, heat)
        reading = temp_c if temp_c is not None and math.isfinite(temp_c) else None
        self._ever = self._ever or reading is not None
        if not self._ever:
            return Seen(None, None, suspect=False)
        found = self._judge(time_s, reading, alone_c, near_limit=near_limit)
        if self.fault is None:
            self.fault = found
            self._good_since_s = math.nan
        elif self._good_again(time_s, reading, found, expected_c):
            self.fault = None
            self._forget(time_s)
        self._last_s = time_s
        if self.fault is not None:
            return Seen(None, self.fault, suspect=False)
        believed = reading if self._acceptable(reading) else None
        if believed is not None:
            self._believed = (time_s, believed)
        return Seen(believed, None, suspect=self._probe_since_s is not None)

    @property
    def unchanged_s(self) -> float:
        """How long the value has been the same."""
        return self._last_s - self._run_since_s if math.isfinite(self._run_since_s) else 0.0

    def _judge(self, time_s: float, reading: float | None, alone_c: float, *, near_limit: bool) -> str | None:
        if reading is None:
            self._raw = None
            if self._believed is not None and time_s - self._believed[0] > NO_READING_S:
                return "the temperature cannot be read any more"
            return None
        if not LOWEST_C <= reading <= HIGHEST_C:
            self._wrong += 1
            self._raw = reading
            return f"{reading:.1f} °C is not a temperature a working board can have" if self._wrong >= WRONG_IN_A_ROW else None
        self._wrong = 0
        before, self._raw = self._raw, reading
        return self._jumping(time_s, reading, before) or self._stuck(time_s, reading, before, alone_c, near_limit=near_limit)

    def _jumping(self, time_s: float, reading: float, before: float | None) -> str | None:
        if self._believed is not None and LEAP_FOR_S < time_s - self._believed[0] < NO_READING_S:
            was = self._believed[1]
            if abs(reading - was) > LEAP_C:
                return f"it went from {was:.1f} to {reading:.1f} °C at once"
        if before is not None and abs(reading - before) > JUMP_C * max(1.0, time_s - self._last_s) and self._work_is_steady():
            self._jumps.append((time_s, reading - before))
        while self._jumps and time_s - self._jumps[0][0] > JUMPS_WITHIN_S:
            self._jumps.popleft()
        turns = sum((one[1] > 0) != (other[1] > 0) for one, other in zip(self._jumps, list(self._jumps)[1:], strict=False))
        if len(self._jumps) >= JUMPS and turns >= 2:
            largest = max(abs(by) for _, by in self._jumps)
            return f"it jumped {len(self._jumps)} times in half a minute, by up to {largest:.0f} °C, while the work stayed the same"
        return None

    def _stuck(self, time_s: float, reading: float, before: float | None, alone_c: float, *, near_limit: bool) -> str | None:
        if before is None or abs(reading - before) > 1e-6:
            self._end_run(time_s, reading, before)
            return None
        if self.fault is not None:  # nothing is probed
            return None
        if self._probe_since_s is not None:
            if time_s - self._probe_since_s < PROBE_S:
                return None
            self._probe_since_s = None
            self._stood_still = True
            return f"it has said {reading:.1f} °C for {time_s - self._run_since_s:.0f} s, whatever the work was"
        if self._suspicious(time_s, reading, alone_c, near_limit=near_limit):
            self._probe_since_s = time_s
        return None

    def _end_run(self, time_s: float, reading: float, before: float | None) -> None:
        if before is not None:
            self.step_c = min(self.step_c, max(abs(reading - before), 0.05))
            self._runs.append((time_s, time_s - self._run_since_s))
        while self._runs and time_s - self._runs[0][0] > MEMORY_S:
            self._runs.popleft()
        if self._probe_since_s is not None:
            self._probe_since_s = None
            self._patience = min(self._patience * 2, PATIENT_S / SUSPECT_S)  # it was only steady: ask less often
        self._run_since_s = time_s

    def _suspicious(self, time_s: float, reading: float, alone_c: float, *, near_limit: bool) -> bool:
        still_s = time_s - self._run_since_s
        lively = len(self._runs) >= LIVELY_RUNS and max(length for _, length in self._runs) < LIVELY_RUN_S
        if lively:
            return still_s >= SUSPECT_S
        off = math.isfinite(alone_c) and abs(alone_c - reading) > max(MODEL_OFF_C, MODEL_OFF_STEPS * self.step_c)
        if off and still_s >= LIVELY_RUN_S * self._patience:
            return True
        return still_s >= (SUSPECT_S * self._patience if near_limit else PATIENT_S)

    def _acceptable(self, reading: float | None) -> bool:
        """Not outside what is possible, and not far from the last one, unless it took its time."""
        if reading is None or not LOWEST_C <= reading <= HIGHEST_C:
            return False
        if self._believed is None:
            return True
        gap_s = self._last_s - self._believed[0]
        return abs(reading - self._believed[1]) <= min(JUMP_C * (1 + gap_s), LEAP_C) or gap_s > NO_READING_S

    def _work_is_steady(self) -> bool:
        heats = [heat for _, heat in self._heats]
        return max(heats) - min(heats) < STEADY_HEAT

    def _note_heat(self, time_s: float, heat: float) -> None:
        self._heats.append((time_s, heat))
        while time_s - self._heats[0][0] > 5.0:
            self._heats.popleft()

    def _good_again(self, time_s: float, reading: float | None, found: str | None, expected_c: float) -> bool:
        alive = not self._stood_still or (math.isfinite(self._run_since_s) and time_s - self._run_since_s < SUSPECT_S)
        near = reading is not None and (not math.isfinite(expected_c) or abs(reading - expected_c) < RESTORED_WITHIN_C)
        if found is not None or not alive or not near or self._jumps:
            self._good_since_s = math.nan
        elif not math.isfinite(self._good_since_s):
            self._good_since_s = time_s
        return math.isfinite(self._good_since_s) and time_s - self._good_since_s >= RESTORED_S

    def _forget(self, time_s: float) -> None:
        self._believed = None
        self._runs.clear()
        self._jumps.clear()
        self._probe_since_s = None
        self._stood_still = False
        self._run_since_s = time_s
