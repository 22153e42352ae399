"""Boards that get warm, for the governor to be tried on; their physics is not the governor's model.

Two thermal nodes: a die of a few J/K, and the board with its sink behind it, which hands the heat to the air. Power is idle power, the
work's, that of other programs, and leakage, which grows with the die's temperature (doubling every 25 to 30 K is what is usually found in
CMOS of these sizes; W. Liao, L. He, K. Lepak, Temperature and supply voltage aware performance and power modeling at microarchitecture
level, IEEE TCAD 24(7), 2005). A fan steps with hysteresis; the sensor is read once a second, in steps, with noise; and the firmware slows
the processor down when it comes too hot, as it does on a Raspberry Pi from 80 C (Raspberry Pi documentation, "Frequency management and
thermal control").

The figures are of the right size and no more: a bare Raspberry Pi 5 idles near 3 W and 50 C and throttles within minutes of full load;
under its Active Cooler it stays near 65 C. Nobody has compared these plants with a board.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

Course: TypeAlias = Callable[[float], float]  # a figure over the seconds since the start

# Raspberry Pi documentation, the Pi 5's fan: at 50, 60, 67.5 and 75 C the fan goes to 30, 50, 70 and 100 %; 5 C lower it goes back.
PI_5_FAN = ((50.0, 0.3), (60.0, 0.5), (67.5, 0.7), (75.0, 1.0))
FAN_HYSTERESIS_C = 5.0
INNER_STEP_S = 0.5


def constant(value: float) -> Course:
    return lambda _: value


def stepped(before: float, after: float, at_s: float, back_s: float = math.inf) -> Course:
    """`after` from `at_s` to `back_s`, `before` otherwise."""
    return lambda time_s: after if at_s <= time_s < back_s else before


def ramp(before: float, after: float, start_s: float, end_s: float) -> Course:
    return lambda time_s: before + (after - before) * min(max((time_s - start_s) / (end_s - start_s), 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class Sensor:
    """What a reading makes of a temperature. The steps are rounded to, or cut down to as integer arithmetic does."""

    step_c: float = 0.55
    noise_c: float = 0.2
    cut: bool = False

    def read(self, temp_c: float, chance: random.Random) -> float:
        steps = (temp_c + chance.gauss(0, self.noise_c)) / self.step_c
        return (math.floor(steps) if self.cut else round(steps)) * self.step_c


@dataclass(frozen=True, slots=True)
class Board:
    """Watts, kelvins a watt, joules a kelvin. `air` is the ambient temperature, `other_w` the power of other programs, `blocked` how many
    times the resistance to the air has grown; each over time.
    """

    name: str
    idle_w: float = 2.6
    work_w: float = 5.0  # of the top rung without a pause
    leak_w: float = 0.5  # at 60 C
    leak_doubles_c: float = 28.0
    die_j_k: float = 2.0
    die_to_board_k_w: float = 1.8
    board_j_k: float = 38.0
    board_to_air_k_w: float = 7.0
    fan: tuple[tuple[float, float], ...] = ()
    fan_gain: float = 1.8  # with the fan at full speed the board sheds 1 + gain times as much
    slows_from_c: float = 80.0
    slows_to_c: float = 85.0
    air: Course = field(default=constant(25.0))
    other_w: Course = field(default=constant(0.0))
    blocked: Course = field(default=constant(1.0))
    sensor: Sensor = field(default=Sensor())


BARE_PI_5 = Board("Pi 5 without a fan")
COOLED_PI_5 = Board("Pi 5 with its cooler", board_j_k=60.0, die_to_board_k_w=1.4, board_to_air_k_w=7.5, fan=PI_5_FAN)
JETSON = Board(
    "Orin Nano, passive", idle_w=4.0, work_w=9.0, leak_w=0.9, die_j_k=8.0, die_to_board_k_w=0.9, board_j_k=160.0, board_to_air_k_w=5.6
)


class Plant:
    """A board, warm from idling (or at `start_c`). `heat` of the work is in units of the top rung without a pause."""

    def __init__(self, board: Board, *, seed: int = 0, start_c: float | None = None) -> None:
        self.board = board
        self.time_s = 0.0
        self.speed = 1.0  # below 1 the firmware has slowed the processor
        self.fan = 0.0
        self._chance = random.Random(seed)
        self._gear = 0
        self.die_c = self.board_c = start_c if start_c is not None else board.air(0.0)
        if start_c is None:
            self._idle_long()

    def run(self, seconds: float, heat: float) -> float:
        """Let time pass; the work that got done, 1 a second for heat 1: less where the firmware has slowed the processor."""
        done, left = 0.0, seconds
        while left > 1e-9:
            step = min(INNER_STEP_S, left)
            done += step * heat * self.speed
            self._step(step, heat)
            left -= step
        return done

    def reading_c(self) -> float:
        """What the sensor says."""
        return self.board.sensor.read(self.die_c, self._chance)

    @property
    def throttled(self) -> bool:
        return self.speed < 1

    def watts(self, heat: float) -> float:
        board = self.board
        leak = board.leak_w * 2 ** ((min(self.die_c, 130.0) - 60) / board.leak_doubles_c)
        return board.idle_w + board.work_w * heat * self.speed + board.other_w(self.time_s) + leak

    def _step(self, seconds: float, heat: float) -> None:
        board = self.board
        to_board_w = (self.die_c - self.board_c) / board.die_to_board_k_w
        to_air_w = (self.board_c - board.air(self.time_s)) / self._to_air_k_w()
        self.die_c += seconds * (self.watts(heat) - to_board_w) / board.die_j_k
        self.board_c += seconds * (to_board_w - to_air_w) / board.board_j_k
        self.time_s += seconds
        self._turn_fan()
        over = (self.die_c - board.slows_from_c) / (board.slows_to_c - board.slows_from_c)
        self.speed = 1 - 0.4 * min(max(over, 0.0), 1.0)  # 2400 to 1500 MHz

    def _to_air_k_w(self) -> float:
        board = self.board
        return board.board_to_air_k_w * board.blocked(self.time_s) / (1 + board.fan_gain * self.fan)

    def _turn_fan(self) -> None:
        fan = self.board.fan
        while self._gear < len(fan) and self.die_c >= fan[self._gear][0]:
            self._gear += 1
        while self._gear > 0 and self.die_c < fan[self._gear - 1][0] - FAN_HYSTERESIS_C:
            self._gear -= 1
        self.fan = fan[self._gear - 1][1] if self._gear else 0.0

    def _idle_long(self) -> None:
        for _ in range(100):  # to where as much leaves as comes: leakage makes it an iteration
            watts = self.watts(0.0)
            self.board_c = self.board.air(0.0) + watts * self._to_air_k_w()
            self.die_c = self.board_c + watts * self.board.die_to_board_k_w
            self._turn_fan()
