"""One worker after another: what was wrong with those before is not held against the next."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edgewright.run.settings import ModelSettings
from edgewright.run.succession import Succession


@dataclass
class Hand:
    settings: ModelSettings
    state: str = "loading"
    restarts: int = 0
    why: str | None = None
    loaded: object = None
    is_idle: bool = True

    def advance(self, now_s):
        pass


@dataclass
class House:
    """As the service does: whoever is installed goes on counting the restarts of the one before."""

    worker: Hand
    hired: list[Hand] = field(default_factory=list)
    gone: list[Hand] = field(default_factory=list)

    def hire(self, settings, *, coming):
        self.hired.append(Hand(settings))
        return self.hired[-1]

    def install(self, worker):
        worker.restarts += self.worker.restarts
        self.worker = worker

    def dismiss(self, worker):
        self.gone.append(worker)


def begun(*, beside, restarts):
    settings = ModelSettings("m", Path("m.onnx"), threads=4)
    house, outcomes = House(Hand(settings, "ready", restarts)), []
    lighter = ModelSettings("m", Path("m.onnx"), threads=2)
    return house, outcomes, Succession(house.worker, lighter, beside=beside, heir=house, done=outcomes.append, now_s=0.0)


@pytest.mark.parametrize("beside", [True, False])
def test_a_model_whose_worker_was_once_replaced_can_still_be_changed(beside):
    house, outcomes, succession = begun(beside=beside, restarts=3)
    assert not succession.advance(0.0)
    assert not succession.advance(0.1)
    house.hired[0].state = "ready"
    while not succession.advance(0.2):
        pass
    assert [outcome.why for outcome in outcomes] == [None]
    assert (house.worker, house.worker.restarts) == (house.hired[0], 3)


@pytest.mark.parametrize("beside", [True, False])
def test_a_next_one_that_fails_leaves_or_brings_back_the_one_before(beside):
    house, outcomes, succession = begun(beside=beside, restarts=3)
    first = house.worker
    succession.advance(0.0)
    succession.advance(0.1)
    house.hired[0].restarts += 1
    house.hired[0].why = "it crashed"
    assert succession.advance(0.2)
    assert [outcome.why for outcome in outcomes] == ["it crashed"]
    assert house.worker.settings == first.settings
