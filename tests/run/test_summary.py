"""The line on how it goes: what has changed since the one before."""

from edgewright.run.figures import CameraFigures, PairFigures
from edgewright.run.summary import EVERY_S, FIRST_S, Summary


class HandClock:
    now_s = 100.0

    def monotonic_s(self):
        return self.now_s

    def wall_s(self):
        return self.now_s


def test_rates_and_drops_since_the_last_line():
    clock = HandClock()
    summary = Summary(clock)
    pair = PairFigures()
    figures = {"belt": CameraFigures(models={"m": pair})}
    assert summary.look(figures) is None
    for _ in range(20):
        pair.answer(0.05, 0.01, (1.0, 30.0, 1.0))
    pair.dropped["superseded"] = 3
    clock.now_s += FIRST_S
    assert summary.look(figures) == "belt (m): 2.0 answers a second, age 50 ms, p99 50, 3 superseded"
    assert summary.look(figures) is None
    clock.now_s += EVERY_S
    assert summary.look(figures) == "belt (m): 0.0 answers a second"


def test_a_service_without_models_says_so():
    clock = HandClock()
    summary = Summary(clock)
    clock.now_s += FIRST_S
    assert summary.look({"belt": CameraFigures()}) == "no camera has a model"
