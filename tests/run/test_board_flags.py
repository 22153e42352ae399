"""What the board says of itself: a weak supply is told of once, and is not mistaken for heat."""

import pytest

from edgewright.board.pressure import Pressure, Stall, Stalls
from edgewright.board.sensors import Reading
from edgewright.board.throttle import Throttle
from edgewright.run.board_flags import HEAT, MEMORY_PRESSURE, OVER_CURRENT, OVER_S, SAGGED_S, BoardFlags

UNDER = "under-voltage"


def reading(bits=None, **more):
    return Reading(1.0, 1.0, throttle=None if bits is None else Throttle.of_bits(bits), **more)


@pytest.mark.parametrize(
    ("bits", "up", "for_heat"),
    [
        (None, set(), None),
        (0x0, set(), False),
        (0x50000, set(), False),  # it was, and is no more
        (0x4, {HEAT}, True),
        (0x8, {HEAT}, True),
        (0x50005, {UNDER}, False),  # throttled because the supply sags
        (0xD, {UNDER, HEAT}, True),  # there is a flag for heat alone
        (0x6, {"frequency capped", HEAT}, True),
    ],
)
def test_what_is_up_and_whether_it_is_heat(bits, up, for_heat):
    flags = BoardFlags()
    flags.look(0.0, reading(bits))
    assert (flags.up, flags.for_heat) == (up, for_heat)


def test_throttling_that_outlasts_a_sag_by_some_seconds_is_none_for_heat():
    flags = BoardFlags()
    flags.look(0.0, reading(0x5))
    flags.look(2.0, reading(0x4))
    assert not flags.for_heat
    flags.look(2.0 + SAGGED_S, reading(0x4))
    assert flags.for_heat


def test_a_supply_that_comes_and_goes_is_told_of_once_and_over_once():
    flags, said = BoardFlags(), []
    for second in range(400):
        said += [(second, *told) for told in flags.look(float(second), reading(0x1 if second < 200 and second % 7 == 0 else 0x0))]
    assert said == [
        (0, "the board says: under-voltage", "warning"),
        (196 + OVER_S, "under-voltage has not been seen for 60 s", "info"),
    ]


def test_over_current_is_up_where_it_was_counted_again():
    flags = BoardFlags()
    ups = []
    for count in (7, 7, 9, 9, None, 9):
        flags.look(0.0, reading(over_currents=count))
        ups.append(OVER_CURRENT in flags.up)
    assert ups == [False, False, True, False, False, False]


def test_memory_pressure_explains_late_answers_and_is_told_of_by_its_governor():
    flags = BoardFlags()
    assert flags.look(0.0, reading(pressure=Pressure(Stalls(Stall(12.0, 0.0, 0), None), None, None))) == []
    assert flags.up == {MEMORY_PRESSURE}
    assert flags.look(1.0, None) == []
    assert flags.up == set()
