"""How warm a board gets of what it does: one time constant, learnt while it works.

    dT/dt = (a + b x - T) / tau + d dx/dt

`x` is the heat of the work (1: the top rung without a pause), `a` where an idle board ends up, `b` the degrees that a unit of heat adds in
the end, `tau` the board's time constant, and `d` the part of `b` that the die shows at once while the board and its sink still warm up.

Learning from a sensor that says whole or half degrees once a second: differences of such readings are noise, so none are taken. Both
sides of the equation go through the same low-pass filter, twice, and the slope is the difference of the two stages: exact, without
differentiation (state variable filters: P. Young, Parameter estimation for continuous-time models: a survey, Automatica 17, 1981). The
four parameters are recursive least squares over these. What is forgotten, and how fast, is said for each parameter: `a` (sun, air, a vent
that clogs, other programs) within minutes, what the board is made of within hours, after A. Vahidi, A. Stefanopoulou and H. Peng, Recursive
least squares with forgetting for online estimation of vehicle mass and road grade (Vehicle System Dynamics 43, 2005), which has the same
problem: one parameter is constant, another is the road. Forgetting leads back to the prior, and uncertainty never grows beyond it: a
board that does nothing new for hours does not unlearn (no wind-up). What comes out is bounded to what boards do.

What the parameters do not tell is one offset, which a second-order observer (Luenberger's) tracks from the readings, beside the state
itself, in fractions of the sensor's steps.
"""

import math
from dataclasses import dataclass

import numpy as np

FILTER_S = 15.0
DIE_S = 3.0  # how late the die shows a change of work; 2 to 6 s on bare boards and under a sink
AROUND_C = 60.0  # temperatures are counted from here inside: better conditioned
PRIOR_TAU_S, PRIOR_B, PRIOR_D = 200.0, 50.0, 8.0
TAU_S = (40.0, 1500.0)
B_C = (8.0, 150.0)
D_SHARE = (0.05, 0.6)  # of b
# Of a/tau, b/tau, 1/tau and d: how far off the prior may be, as one standard deviation, and how long what was found is remembered.
SPREAD = np.array([0.1, 0.15, 0.003, 5.0])
MEMORY_S = np.array([600.0, 7200.0, 7200.0, 7200.0])
SLOPE_VARIANCE = 0.01**2 * 2 * FILTER_S  # of a filtered slope, times the number of readings that a filter makes one of
STATE_POLE_S, OFFSET_POLE_S = 8.0, 60.0
OFFSET_S = 300.0  # an offset that lasts is `a`'s


@dataclass(frozen=True, slots=True)
class Thermal:
    """What a board was found to be; degrees, seconds, and degrees a unit of heat."""

    tau_s: float
    b: float
    d: float


class ThermalModel:
    """Fed once a second or so with a temperature and the heat since; says where the temperature goes."""

    def __init__(self) -> None:
        self._prior = np.array([0.0, PRIOR_B / PRIOR_TAU_S, 1 / PRIOR_TAU_S, PRIOR_D])
        self._found = self._prior.copy()
        self._doubt = np.diag(SPREAD**2)
        self.thermal = Thermal(PRIOR_TAU_S, PRIOR_B, PRIOR_D)
        self.learnt_s = 0.0
        self._filters: list[float] = []  # temperature once, twice; heat once, twice
        self._die_heat = 0.0
        self._board_c = math.nan  # what the readings are without the die's own share
        self._offset_c = 0.0
        self.idle_c = math.nan  # `a`, with what the parameters do not tell
        self._alone = (math.nan, math.nan, math.nan)  # board, offset and die heat as they would be had nothing been read since `go_alone`

    @property
    def temp_c(self) -> float:
        """The present temperature, in fractions of the sensor's steps."""
        return self._board_c + self.thermal.d * self._die_heat

    def update(self, seconds: float, temp_c: float, heat: float) -> None:
        """The board did `heat` for `seconds`, and is at `temp_c` now."""
        if not self._filters:
            self._begin(temp_c, heat)
            return
        if seconds <= 0:
            return
        self._learn(seconds, temp_c, heat)
        self._observe(seconds, temp_c, heat)
        self.learnt_s += seconds

    def coast(self, seconds: float, heat: float) -> None:
        """The same without a reading: the model goes on alone."""
        if self._filters:
            self._step(seconds, heat)

    def go_alone(self) -> None:
        """From here on `alone_c` is what the temperature would be by the model, whatever is read."""
        self._alone = (self._board_c, self.idle_c, self._die_heat)

    @property
    def alone_c(self) -> float:
        return self._alone[0] + self.thermal.d * self._alone[2]

    def settles_at_c(self, heat: float) -> float:
        """Where the temperature ends up."""
        return self.idle_c + self.thermal.b * heat

    def heat_to_settle_at(self, temp_c: float) -> float:
        """The heat that keeps a temperature for good."""
        return (temp_c - self.idle_c) / self.thermal.b

    def heat_to_reach(self, temp_c: float, within_s: float) -> float:
        """The heat with which the temperature is reached in so many seconds."""
        left = math.exp(-within_s / self.thermal.tau_s)
        gain = self.thermal.d + (self.thermal.b - self.thermal.d) * (1 - left)
        return (temp_c - self.idle_c * (1 - left) - self._board_c * left) / gain

    def seconds_until(self, temp_c: float, heat: float) -> float | None:
        """How long the heat can go on before the temperature is reached; 0 if it is, None if it never will be."""
        now, end = self._board_c + self.thermal.d * heat, self.settles_at_c(heat)
        if self.temp_c >= temp_c:
            return 0.0
        if end <= temp_c:
            return None
        return max(0.0, self.thermal.tau_s * math.log((end - now) / (end - temp_c))) if now < temp_c else DIE_S

    def _begin(self, temp_c: float, heat: float) -> None:
        self._filters = [temp_c, temp_c, heat, heat]
        self._die_heat = heat
        self._board_c = temp_c - self.thermal.d * heat
        self.idle_c = temp_c - self.thermal.b * heat
        self._prior[0] = self._found[0] = (self.idle_c - AROUND_C) / PRIOR_TAU_S

    def _learn(self, seconds: float, temp_c: float, heat: float) -> None:
        share = 1 - math.exp(-seconds / FILTER_S)
        once, twice, heat_once, heat_twice = self._filters
        once += share * (temp_c - once)
        twice += share * (once - twice)
        heat_once += share * (heat - heat_once)
        heat_twice += share * (heat_once - heat_twice)
        self._filters = [once, twice, heat_once, heat_twice]
        row = np.array([1.0, heat_twice, AROUND_C - twice, (heat_once - heat_twice) / FILTER_S])
        self._forget(seconds)
        spread = self._doubt @ row
        gain = spread / (SLOPE_VARIANCE / seconds + float(row @ spread))
        self._found = self._found + gain * ((once - twice) / FILTER_S - float(row @ self._found))
        self._doubt = self._doubt - np.outer(gain, spread)
        self._adopt()

    def _forget(self, seconds: float) -> None:
        kept = np.exp(-seconds / MEMORY_S)
        self._found[1:] = self._prior[1:] + kept[1:] * (self._found[1:] - self._prior[1:])
        self._doubt = self._doubt * np.outer(kept, kept) + np.diag((1 - kept**2) * SPREAD**2)

    def _adopt(self) -> None:
        """The parameters, bounded; the present temperature stays what it is."""
        a_over_tau, b_over_tau, one_over_tau, d = (float(value) for value in self._found)
        tau_s = 1 / _within(one_over_tau, 1 / TAU_S[1], 1 / TAU_S[0])
        b = _within(b_over_tau * tau_s, *B_C)
        new = Thermal(tau_s, b, _within(d, b * D_SHARE[0], b * D_SHARE[1]))
        old, self.thermal = self.thermal, new
        # Where a bound holds, the others follow: the slope at the present temperature and heat is what was found.
        _, temp_c, _, heat = self._filters
        slope = a_over_tau + b_over_tau * heat + one_over_tau * (AROUND_C - temp_c)
        self.idle_c = temp_c + slope * tau_s - b * heat + self._offset_c
        self._board_c += (old.d - new.d) * self._die_heat

    def _observe(self, seconds: float, temp_c: float, heat: float) -> None:
        self._step(seconds, heat)
        error = temp_c - self.temp_c
        fast, slow = 1 / STATE_POLE_S, 1 / OFFSET_POLE_S
        self._board_c += min(seconds * (fast + slow), 0.5) * error
        step = min(self.thermal.tau_s * fast * slow * seconds, 2.0) * error
        self._offset_c = (self._offset_c + step) * math.exp(-seconds / OFFSET_S)
        self.idle_c += step

    def _step(self, seconds: float, heat: float) -> None:
        self._die_heat += (1 - math.exp(-seconds / DIE_S)) * (heat - self._die_heat)
        share = 1 - math.exp(-seconds / self.thermal.tau_s)
        warmed = (self.thermal.b - self.thermal.d) * heat
        self._board_c += share * (self.idle_c + warmed - self._board_c)
        board_c, idle_c, _ = self._alone
        self._alone = (board_c + share * (idle_c + warmed - board_c), idle_c, self._die_heat)


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
