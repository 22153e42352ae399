"""The boards to try governors on behave as boards do."""

import random

import pytest

from edgewright.testing.closed_loop import Case, oracle
from edgewright.testing.plants import BARE_PI_5, COOLED_PI_5, Plant, Sensor, ramp, stepped


def test_energy_is_balanced_when_a_board_has_settled():
    plant = Plant(BARE_PI_5)
    plant.run(7200.0, 0.3)
    to_air_w = (plant.board_c - 25) / BARE_PI_5.board_to_air_k_w
    assert plant.watts(0.3) == pytest.approx(to_air_w, rel=0.01)


def test_a_bare_board_throttles_under_full_work_and_a_cooled_one_does_not():
    bare, cooled = Plant(BARE_PI_5), Plant(COOLED_PI_5)
    done = [plant.run(1800.0, 1.0) for plant in (bare, cooled)]
    assert bare.throttled
    assert done[0] < 1700
    assert not cooled.throttled
    assert done[1] == pytest.approx(1800)


def test_leakage_makes_the_last_watt_the_warmest():
    def settled_c(heat):
        plant = Plant(BARE_PI_5)
        plant.run(7200.0, heat)
        return plant.die_c

    assert settled_c(0.4) - settled_c(0.2) > settled_c(0.2) - settled_c(0.0)


def test_the_fan_steps_up_at_its_points_and_back_five_degrees_lower():
    plant = Plant(COOLED_PI_5, start_c=25.0)
    turned = {}
    for _ in range(900):
        before = plant.fan
        plant.run(1.0, 1.0)
        if plant.fan != before:
            turned[plant.fan] = plant.die_c
    assert turned[0.3] == pytest.approx(50, abs=1.5)
    assert turned[0.5] == pytest.approx(60, abs=1.5)
    while plant.fan >= 0.5:
        plant.run(1.0, 0.0)
    assert plant.die_c == pytest.approx(55, abs=1.5)


@pytest.mark.parametrize(("cut", "says"), [(False, 61.0), (True, 60.0)])
def test_a_sensor_rounds_or_cuts(cut, says):
    assert Sensor(1.0, 0.0, cut=cut).read(60.9, random.Random(0)) == says


def test_courses():
    assert [stepped(1, 2, 10, 20)(at) for at in (9, 10, 19, 20)] == [1, 2, 2, 1]
    assert [ramp(0, 10, 100, 200)(at) for at in (0, 150, 999)] == [0, 5, 10]


def test_the_oracle_touches_the_limit_and_does_not_pass_it():
    best = oracle(Case("bare", BARE_PI_5, 7200.0))
    plant, hottest = Plant(BARE_PI_5), 0.0
    for _ in range(7200):
        plant.run(1.0, best.heat)
        hottest = max(hottest, plant.die_c)
    assert 77.5 < hottest <= 78
