"""The ways a service can run, best first: what each costs in heat, and what its answers are worth.

A step down is fewer threads, then a smaller picture, then a smaller artifact, then no drawing and encoding; on every rung the frames a
second can be capped besides, as finely as one likes. Heat is counted in units of the top rung at work without a pause, so it needs no
watts: it is core-seconds, or joules where they were measured.

Which rung is best for the heat that a board can carry away? The one whose answers in a second are worth the most, an answer being worth
the mAP of its model. That is "effective accuracy": the accuracy of answers that arrive (Zhang et al., Model-Switching: Dealing with
Fluctuating Workloads in Machine-Learning-as-a-Service Systems, HotCloud 2020).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from edgewright.errors import InputError

UNKNOWN_WORTH = 0.5  # of the rung above: where nobody measured the mAP, only twice as many answers make up for it
UNDRAWN_WORTH = 0.75  # an answer without its picture: about what the next smaller model costs, so that drawing goes last
COOLER_BY = 0.05  # a rung that saves less heat a frame than this is none: it would be lost in the spread of what was measured


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What the service applies; None leaves a thing as it is.

    `fps_cap`: frames a second that models are shown, all cameras together. `size_wh`: the model's input. `drawing`: boxes are drawn and
    pictures encoded.
    """

    fps_cap: float | None = None
    threads: int | None = None
    size_wh: tuple[int, int] | None = None
    artifact: str | None = None
    drawing: bool = True


class Actuator(Protocol):
    """Who carries a decision out: the live service, or a plant in a test."""

    def apply(self, point: OperatingPoint) -> None:
        """Run like this from now on; returns at once, and may be told the same again."""
        ...


@dataclass(frozen=True, slots=True)
class Measured:
    """A way to run, as evidence.json or a bench has it. `ms`: of a frame (p50); `map50_95`: 0..1; `joules`: of a frame, None if unread."""

    artifact: str
    size_wh: tuple[int, int]
    threads: int
    ms: float
    map50_95: float | None = None
    joules: float | None = None


@dataclass(frozen=True, slots=True)
class Rung:
    """One way to run. `frame_heat`: the heat of one frame a second; `worth`: of one answer, 1 on the top rung."""

    name: str
    point: OperatingPoint
    ms: float
    map50_95: float | None
    frame_heat: float
    worth: float

    @property
    def most_fps(self) -> float:
        """Without a pause."""
        return 1000 / self.ms

    def fps_for(self, heat: float, offered_fps: float | None = None) -> float:
        """The frames a second that so much heat allows, no more than there are."""
        return min(heat / self.frame_heat, self.most_fps, self.most_fps if offered_fps is None else offered_fps)

    def worth_for(self, heat: float, offered_fps: float | None = None) -> float:
        """Of a second's answers."""
        return self.fps_for(heat, offered_fps) * self.worth


@dataclass(frozen=True, slots=True)
class Ladder:
    """Rungs, best first. `heat_a_core`: the heat of one busy core, to read the load of a machine in the same unit."""

    rungs: tuple[Rung, ...]
    heat_a_core: float

    def best(self, heat: float, offered_fps: float | None = None, *, first: int = 0) -> int:
        """The rung whose answers are worth the most within the heat, from `first` down; the upper one of equals."""
        return max(range(first, len(self.rungs)), key=lambda at: (self.rungs[at].worth_for(heat, offered_fps), -at))

    def first_with_artifact(self, artifact: str) -> int:
        """The topmost rung of an artifact, for who wants it for its size in memory."""
        for at, rung in enumerate(self.rungs):
            if rung.point.artifact == artifact:
                return at
        known = ", ".join(sorted({rung.point.artifact or "" for rung in self.rungs}))
        raise InputError("no rung of the ladder has this artifact", got=artifact, expected=f"one of {known}")


def build_ladder(measured: Sequence[Measured], *, drawing_ms: float = 0.0) -> Ladder:
    """The ladder of what was measured, the first being the one to start with; `drawing_ms`: one core's time to draw and encode a frame.

    Artifacts stay in the order they are given in; of each the larger picture and the more threads come first. What is no cooler than the
    rung above it is left out.

    Raises:
        InputError: nothing was measured, or a time, a mAP or an energy is not a possible one.
    """
    if not measured:
        raise InputError("a ladder needs at least one way to run", fix="fit or bench the model on this board first")
    for each in measured:
        _check(each)
    top = measured[0]
    order = list(dict.fromkeys(each.artifact for each in measured))
    rest = sorted(measured[1:], key=lambda each: (order.index(each.artifact), -each.size_wh[0] * each.size_wh[1], -each.threads))
    costs = _Costs(top, drawing_ms, all(each.joules is not None for each in measured))
    rungs = [costs.rung(top, 1.0)]
    for each in rest:
        rung = costs.rung(each, _worth(each, top, rungs[-1]))
        if _is_cooler(rung, rungs[-1]):
            rungs.append(rung)
    undrawn = costs.undrawn(rungs[-1])
    if _is_cooler(undrawn, rungs[-1]):
        rungs.append(undrawn)
    return Ladder(tuple(rungs), costs.heat_a_core)


class _Costs:
    """Carries core-seconds, or joules, to heat."""

    def __init__(self, top: Measured, drawing_ms: float, joules_known: bool) -> None:  # noqa: FBT001 - a fact about the evidence
        self._drawing_s = drawing_ms / 1000
        self._joules_known = joules_known
        self._a_joule_or_core_s = 1 / (self._cost(top) * 1000 / top.ms)
        self._joules_a_core_s = (top.joules or 0.0) / (top.threads * top.ms / 1000) if joules_known else 1.0
        self.heat_a_core = self._a_joule_or_core_s * self._joules_a_core_s

    def _cost(self, each: Measured) -> float:
        core_s = each.threads * each.ms / 1000
        if not self._joules_known or each.joules is None:
            return core_s + self._drawing_s
        return each.joules * (1 + self._drawing_s / core_s)  # drawing was not measured: as warm as the model's own core-seconds

    def rung(self, each: Measured, worth: float) -> Rung:
        wide, high = each.size_wh
        point = OperatingPoint(threads=each.threads, size_wh=each.size_wh, artifact=each.artifact)
        name = f"{each.artifact} at {wide}x{high}, {each.threads} thread{'s' if each.threads > 1 else ''}"
        return Rung(name, point, each.ms, each.map50_95, self._cost(each) * self._a_joule_or_core_s, worth)

    def undrawn(self, above: Rung) -> Rung:
        spared = self._drawing_s * self.heat_a_core
        return replace(
            above,
            name=f"{above.name}, nothing drawn",
            point=replace(above.point, drawing=False),
            frame_heat=max(above.frame_heat - spared, above.frame_heat * 0.1),
            worth=above.worth * UNDRAWN_WORTH,
        )


def _is_cooler(rung: Rung, above: Rung) -> bool:
    return rung.frame_heat <= above.frame_heat * (1 - COOLER_BY)


def _worth(each: Measured, top: Measured, above: Rung) -> float:
    if (each.artifact, each.size_wh) == (above.point.artifact, above.point.size_wh):
        return above.worth  # only the threads differ: the same answers
    if each.map50_95 is None or not top.map50_95:
        return above.worth * UNKNOWN_WORTH
    return each.map50_95 / top.map50_95


def _check(each: Measured) -> None:
    if not (0 < each.ms < 1e6 and 1 <= each.threads <= 1024 and min(each.size_wh) > 0):
        got = f"{each.ms} ms, {each.threads} threads, {each.size_wh}"
        raise InputError(f"{each.artifact} cannot have run like this", got=got, expected="a time, threads and a size above zero")
    if each.map50_95 is not None and not 0 <= each.map50_95 <= 1:
        raise InputError(f"{each.artifact} has an impossible mAP", got=str(each.map50_95), expected="0..1")
    if each.joules is not None and not each.joules > 0:
        raise InputError(f"{each.artifact} has an impossible energy a frame", got=f"{each.joules} J", expected="more than 0")
