"""What boards go through: the cases that a governor of heat is judged by, and boards drawn at random."""

import random
from collections.abc import Callable
from dataclasses import replace

from edgewright.run.govern.heat import ThermalLimits
from edgewright.testing.closed_loop import EXAMPLE, Case, SensorFault
from edgewright.testing.plants import BARE_PI_5, COOLED_PI_5, JETSON, PI_5_FAN, Board, Sensor, constant, ramp, stepped

FEASIBLE = (
    Case("Pi 5 with its cooler", COOLED_PI_5),
    Case("Pi 5 without a fan", BARE_PI_5),
    Case("hot summer, with its cooler", replace(COOLED_PI_5, air=ramp(30.0, 48.0, 0.0, 3000.0)), seconds=5400.0),
    Case("hot summer, without a fan", replace(BARE_PI_5, air=ramp(28.0, 40.0, 0.0, 3000.0)), seconds=5400.0),
    Case("blocked vent", replace(COOLED_PI_5, blocked=stepped(1.0, 2.6, 1200.0))),
    Case("load step", replace(BARE_PI_5, other_w=stepped(0.0, 1.0, 1500.0, 2700.0))),
    Case("ambient step up", replace(BARE_PI_5, air=stepped(22.0, 32.0, 1500.0))),
    Case("ambient step down", replace(BARE_PI_5, air=stepped(36.0, 22.0, 1500.0))),
    Case("Orin Nano, passive", replace(JETSON, slows_from_c=99.0, slows_to_c=104.0), limits=ThermalLimits(94.0, 99.0)),
    Case("the ladder is 25 % wrong", BARE_PI_5, truths=(0.8, 1.25, 1.2, 0.8, 1.25, 1.0)),
    Case("a sensor of whole degrees, cut", replace(BARE_PI_5, sensor=Sensor(1.0, 0.1, cut=True))),
)
TOO_HOT = (
    Case("too hot from the start", replace(BARE_PI_5, air=constant(55.0)), seconds=1200.0),
    Case("becomes too hot", replace(BARE_PI_5, air=stepped(25.0, 62.0, 600.0)), seconds=2400.0),
    Case("a vent that closes", replace(BARE_PI_5, blocked=stepped(1.0, 3.5, 600.0)), seconds=2400.0),
)


def stuck(at_s: float, until_s: float = 1e9) -> SensorFault:
    """Says for ever what it said last."""
    held: list[float | None] = [None]

    def read(time_s: float, reading: float | None) -> float | None:
        if not at_s <= time_s < until_s:
            held[0] = reading
        return held[0]

    return read


def missing(at_s: float, until_s: float = 1e9) -> SensorFault:
    return lambda time_s, reading: None if at_s <= time_s < until_s else reading


def negative(at_s: float, until_s: float = 1e9) -> SensorFault:
    return lambda time_s, reading: -0.062 if at_s <= time_s < until_s else reading


def dropped(at_s: float, until_s: float = 1e9) -> SensorFault:
    """45 C too low all at once."""
    return lambda time_s, reading: reading - 45.0 if reading is not None and at_s <= time_s < until_s else reading


def jumping(at_s: float, until_s: float = 1e9, *, by_c: float = 15.0, seed: int = 0) -> SensorFault:
    chance = random.Random(seed)

    def read(time_s: float, reading: float | None) -> float | None:
        off = chance.uniform(-by_c, by_c)
        return reading + off if reading is not None and at_s <= time_s < until_s else reading

    return read


FAULTS: dict[str, Callable[[float], SensorFault]] = {
    "stuck": stuck,
    "missing": missing,
    "negative": negative,
    "dropped": dropped,
    "jumping": jumping,
}


def drawn(seed: int) -> Case:
    """A board and a course of its day, drawn: watts, resistances, masses, leakage, fan, sensor, what its ladder believes, what happens."""
    chance = random.Random(seed)
    draw = chance.uniform
    work_w = draw(3, 12)
    fan = PI_5_FAN if chance.random() < 0.35 else ()
    k_w = draw(3, 12) * 5 / work_w * (1.8 if fan else 1.0)
    air_c, at_s = draw(10, 36), draw(600, 2000)
    die_k_w, die_j_k = draw(0.3, 1) * 10 / work_w, draw(0.8, 6)
    board = Board(
        "drawn",
        idle_w=draw(1.5, 4),
        work_w=work_w,
        leak_w=draw(0.1, 0.12 * work_w),
        leak_doubles_c=draw(24, 34),
        die_j_k=max(die_j_k, 1.5 / die_k_w),
        die_to_board_k_w=die_k_w,
        board_j_k=draw(60, 500) / k_w,
        board_to_air_k_w=k_w,
        fan=fan,
        air=constant(air_c),
        sensor=Sensor(chance.choice([0.06, 0.25, 0.5, 1.0]), chance.choice([0.0, 0.1, 0.2, 0.4]), chance.random() < 0.3),
    )
    what = chance.choice(["steady", "load", "hidden load", "warmer air", "cooler air", "vent", "warming day"])
    change: dict[str, Callable[[], Board]] = {
        "steady": lambda: board,
        "load": lambda: replace(board, other_w=stepped(0.0, draw(0.1, 0.35) * work_w, at_s, at_s + draw(300, 1500))),
        "hidden load": lambda: replace(board, other_w=stepped(0.0, draw(0.05, 0.15) * work_w, at_s, at_s + draw(300, 1500))),
        "warmer air": lambda: replace(board, air=stepped(air_c, air_c + draw(3, 10), at_s)),
        "cooler air": lambda: replace(board, air=stepped(air_c + draw(3, 10), air_c, at_s)),
        "vent": lambda: replace(board, blocked=stepped(1.0, draw(1.2, 2), at_s)),
        "warming day": lambda: replace(board, air=ramp(air_c, air_c + draw(3, 12), 300.0, 3000.0)),
    }
    truths = tuple(draw(0.8, 1.25) for _ in EXAMPLE.rungs)
    name = f"drawn {seed}: {what}{', fan' if fan else ''}"
    return Case(name, change[what](), truths=truths, others_seen=what != "hidden load")
