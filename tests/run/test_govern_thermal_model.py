"""The model of a board's warmth: found on boards that are exactly like it, bounded on all."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.run.govern.thermal_model import B_C, D_SHARE, TAU_S, ThermalModel


def warm(model, seconds, heat_at, *, tau_s=150.0, b=60.0, d=9.0, idle_c=40.0, step_c=0.5, seed=0):
    """Feed a first-order board's readings; the last true temperature."""
    chance, board_c, temp_c = random.Random(seed), idle_c, idle_c
    for second in range(seconds):
        heat = heat_at(second)
        board_c += (idle_c + (b - d) * heat - board_c) / tau_s
        temp_c = board_c + d * heat
        model.update(1.0, round((temp_c + chance.gauss(0, 0.15)) / step_c) * step_c, heat)
    return temp_c


def changing(second):
    return 0.35 + 0.25 * math.sin(second / 40) + (0.2 if second // 200 % 2 else 0.0)


def test_finds_the_board_from_half_degrees_once_a_second():
    model = ThermalModel()
    temp_c = warm(model, 2400, changing)
    # What decides within the next minutes is found well, the far end less so: minutes of warming and of warmer air look much alike.
    assert model.thermal.b / model.thermal.tau_s == pytest.approx(60 / 150, rel=0.12)
    assert model.thermal.b == pytest.approx(60, rel=0.35)
    assert model.thermal.d == pytest.approx(9, abs=2.5)
    assert model.temp_c == pytest.approx(temp_c, abs=0.5)
    assert model.settles_at_c(0.5) == pytest.approx(70, abs=2)


def test_says_when_a_temperature_is_reached():
    model = ThermalModel()
    warm(model, 2400, changing)
    heat = 0.6
    until_s = model.seconds_until(72.0, heat)
    board_c = model.temp_c - 9 * changing(2399)
    true_s = next(s for s in range(5000) if 40 + 51 * heat + (board_c - 40 - 51 * heat) * math.exp(-s / 150) + 9 * heat >= 72)
    assert until_s == pytest.approx(true_s, rel=0.3, abs=10)
    assert model.seconds_until(90.0, 0.2) is None
    assert model.seconds_until(model.temp_c - 1, 0.2) == 0


def test_follows_the_air_without_unlearning_the_board():
    model = ThermalModel()
    warm(model, 2400, changing)
    learnt = model.thermal.b
    for second in range(900):  # the same board in air 12 C warmer: it settles 12 C higher
        heat = 0.4
        model.update(1.0, round((40 + 12 * (1 - math.exp(-second / 150)) + 60 * heat) / 0.5) * 0.5, heat)
    assert model.settles_at_c(0.4) == pytest.approx(76, abs=1.0)
    assert model.thermal.b == pytest.approx(learnt, rel=0.25)


def test_hours_without_news_change_nothing():
    model = ThermalModel()
    warm(model, 1800, changing)
    before = model.thermal
    for _ in range(2400):
        model.update(1.0, 64.0, 0.4)
    assert model.thermal.b == pytest.approx(before.b, rel=0.4)
    assert model.settles_at_c(0.4) == pytest.approx(64, abs=0.5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 30), st.floats(-50, 150), st.floats(0, 2)), min_size=2, max_size=60))
def test_whatever_is_read_the_parameters_stay_those_of_a_board(readings):
    model = ThermalModel()
    for seconds, temp_c, heat in readings:
        model.update(seconds, temp_c, heat)
        thermal = model.thermal
        assert TAU_S[0] - 1e-6 <= thermal.tau_s <= TAU_S[1] + 1e-6
        assert B_C[0] <= thermal.b <= B_C[1]
        assert D_SHARE[0] * thermal.b - 1e-9 <= thermal.d <= D_SHARE[1] * thermal.b + 1e-9
        assert math.isfinite(model.temp_c)
        assert math.isfinite(model.heat_to_reach(77, 60))
