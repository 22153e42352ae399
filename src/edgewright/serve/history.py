"""An hour of a live service, in steps of five seconds: what its page draws.

A step keeps how many samples fell into each bucket of its times, not their quantiles: those of a longer stretch, or of several cameras, are
made from the sums, and are as exact as those of one step.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgewright.clock import Clock
from edgewright.run.figures import STAGES
from edgewright.run.recent import BOUNDS_S, quantile_s
from edgewright.serve.live_view import MOST_EVENTS, Status, Told

STEP_S: Final = 5.0
KEPT_S: Final = 3600.0
MOST_STEPS: Final = round(KEPT_S / STEP_S)
MOST_POINTS: Final = 360
BINS_S: Final = (5, 10, 30, 60, 300, 600, 3600)
SAVE_EVERY_S: Final = 60.0
SPARED: Final = ("still", "fps_cap")  # frames that somebody asked not to be looked at: they are not dropped
TIMES: Final = ("age", *STAGES)
MOST_COUNT: Final = 1 << 40  # of anything in one step

Counts: TypeAlias = NDArray[np.uint16]  # a row for each of TIMES, a column a bucket: 4 cameras take 2 MiB an hour
MOST_SAMPLES: Final = np.iinfo(np.uint16).max  # in one bucket of one step
Save: TypeAlias = Callable[[Sequence["Step"], Sequence[Told]], None]


@dataclass(frozen=True, slots=True)
class PairStep:
    """Of one camera and one model."""

    answered: int
    dropped: int
    times: Counts

    def to_json(self) -> dict[str, Any]:
        return {"answered": self.answered, "dropped": self.dropped, "times": [_packed(row.tolist()) for row in self.times]}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        times = _counts([_unpacked(row) for row in fields["times"]])
        if times.shape != (len(TIMES), len(BOUNDS_S) + 1):
            raise ValueError("these are no times")
        return cls(_count(fields["answered"]), _count(fields["dropped"]), times)


@dataclass(frozen=True, slots=True)
class CameraStep:
    """Of one camera; `dropped`: before any model could be asked."""

    captured: int
    dropped: int
    models: Mapping[str, PairStep]

    def to_json(self) -> dict[str, Any]:
        models = {name: pair.to_json() for name, pair in self.models.items()}
        return {"captured": self.captured, "dropped": self.dropped, "models": models}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        models = {str(name): PairStep.from_json(pair) for name, pair in fields["models"].items()}
        return cls(_count(fields["captured"]), _count(fields["dropped"]), models)


@dataclass(frozen=True, slots=True)
class Step:
    """What came in the `seconds` until `time_s` (wall clock), and how it was then: memory in use, the warmest zone, the governor's rung."""

    time_s: float
    seconds: float
    cameras: Mapping[str, CameraStep]
    used_bytes: int | None = None
    temp_c: float | None = None
    rung: int | None = None

    def to_json(self) -> dict[str, Any]:
        gauges = {"used_bytes": self.used_bytes, "temp_c": self.temp_c, "rung": self.rung}
        cameras = {name: camera.to_json() for name, camera in self.cameras.items()}
        return {"time_s": round(self.time_s, 3), "seconds": round(self.seconds, 3), **gauges, "cameras": cameras}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """What `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError, AttributeError, OverflowError: it is not what `to_json` writes.
        """
        time_s, seconds = float(fields["time_s"]), float(fields["seconds"])
        if not (0 < time_s < 1e12 and 0 < seconds < KEPT_S):
            raise ValueError("this is no step")
        used_bytes, rung = (None if fields[key] is None else _count(fields[key]) for key in ("used_bytes", "rung"))
        temp_c = None if fields["temp_c"] is None else _finite(fields["temp_c"])
        cameras = {str(name): CameraStep.from_json(camera) for name, camera in fields["cameras"].items()}
        return cls(time_s, seconds, cameras, used_bytes, temp_c, rung)


class History:
    """Listens to a `LiveView`. `save`: takes what is to outlive this process, now and then; it never waits, and never fails."""

    def __init__(self, clock: Clock, save: Save | None = None, *, kept: Sequence[Step] = (), told: Sequence[Told] = ()) -> None:
        self.steps = deque(kept, maxlen=MOST_STEPS)
        self._events: dict[str, Told] = {event["id"]: event for event in told}
        self._clock, self._save = clock, save
        self._before: tuple[float, Status] | None = None
        self._unsaved: list[Step] = []
        self._untold: list[Told] = []
        self._saved_s = clock.monotonic_s()

    def heard_status(self, status: Status) -> None:
        """Once a second or so; every five seconds it is a step."""
        now_s = self._clock.monotonic_s()
        if self._before is None:
            self._before = now_s, status
            return
        since_s, before = self._before
        if now_s - since_s < STEP_S * 0.99:
            return
        self._before = now_s, status
        step = step_between(before, status, now_s - since_s)
        if step is not None:
            self.steps.append(step)
            self._unsaved = [*self._unsaved[1 - MOST_STEPS :], step]
        if now_s - self._saved_s >= SAVE_EVERY_S:
            self.save()

    def heard_event(self, event: Told) -> None:
        """A service tells a front that was begun anew what it told the one before."""
        if event["id"] in self._events:
            return
        self._events[event["id"]] = event
        while len(self._events) > MOST_EVENTS:
            del self._events[next(iter(self._events))]
        self._untold = [*self._untold[1 - MOST_EVENTS :], event]

    def save(self) -> None:
        """What has come since the last time."""
        self._saved_s = self._clock.monotonic_s()
        if self._save is not None and (self._unsaved or self._untold):
            self._save(self._unsaved, self._untold)
            self._unsaved, self._untold = [], []

    def to_json(
        self, seconds: float = KEPT_S, *, camera: str | None = None, model: str | None = None, after_s: float | None = None
    ) -> dict[str, Any]:
        """The last `seconds`, in at most `MOST_POINTS` bins; of one camera or model, or of all together.

        `times_s`: where each bin begins; there is none where nothing was heard. `after_s`: only bins that begin then or later, so that
        whoever draws asks for no more than what is new; the last one is never whole. Of a time that is still to come, all: the clock was
        set back.
        """
        now_s = self._clock.wall_s()
        bin_s = next(bin_s for bin_s in BINS_S if seconds / bin_s <= MOST_POINTS)
        from_s = (now_s - seconds) // bin_s * bin_s + bin_s
        first_s = from_s if after_s is None or after_s > now_s else max(from_s, after_s)
        bins: dict[float, list[Step]] = {}
        for step in self.steps:
            middle_s = step.time_s - step.seconds / 2
            if first_s <= (at_s := middle_s // bin_s * bin_s) and step.time_s <= now_s + STEP_S:
                bins.setdefault(at_s, []).append(step)
        found = [(at_s, bins[at_s]) for at_s in sorted(bins)]
        events = [event for event in self._events.values() if max(first_s, from_s) <= event["time_s"] <= now_s + STEP_S]
        return {"bin_s": bin_s, "from_s": from_s, "to_s": round(now_s, 3), **drawn(found, camera, model), "events": events}


def step_between(before: Status, now: Status, seconds: float) -> Step | None:
    """None where the two are not of one service: what it counts only grows."""
    if now["uptime_s"] < before["uptime_s"]:
        return None
    cameras = {}
    for name, camera in now["cameras"].items():
        earlier = before["cameras"].get(name, {"captured": 0, "dropped": {}, "models": {}})
        models = {
            model: found
            for model, pair in camera["models"].items()
            if (found := _pair_between(earlier["models"].get(model), pair)) is not None
        }
        dropped = _dropped(camera) - _dropped(earlier)
        cameras[name] = CameraStep(max(0, camera["captured"] - earlier["captured"]), max(0, dropped), models)
    governor, board = now.get("governor") or {}, now.get("board") or {}
    rung, rungs = governor.get("rung"), governor.get("rungs") or []
    temp_c = governor.get("temp_c")
    return Step(
        time_s=now["time_s"],
        seconds=seconds,
        cameras=cameras,
        used_bytes=sum(now["memory"]["used_bytes"].values()),
        temp_c=max((board.get("zones_c") or {}).values(), default=None) if temp_c is None else temp_c,
        rung=rungs.index(rung) if rung in rungs else None,
    )


def drawn(bins: Sequence[tuple[float, Sequence[Step]]], camera: str | None, model: str | None) -> dict[str, Any]:
    """A value a bin for each line."""
    lines: dict[str, list[float | None]] = {key: [] for key in ("captured_fps", "answered_fps", "dropped_fps")}
    times: dict[str, dict[str, list[float | None]]] = {name: {"p50": [], "p99": []} for name in TIMES}
    for _, steps in bins:
        seconds = sum(step.seconds for step in steps)
        counts = np.zeros((len(TIMES), len(BOUNDS_S) + 1), np.int64)
        captured = answered = dropped = 0
        for step in steps:
            for name, found in step.cameras.items():
                if camera in (None, name):
                    captured += found.captured
                    dropped += found.dropped
                    for pair in _chosen(found.models, model):
                        answered += pair.answered
                        dropped += pair.dropped
                        counts += pair.times
        for key, count in zip(lines, (captured, answered, dropped), strict=True):
            lines[key].append(round(count / seconds, 3))
        for name, row in zip(TIMES, counts.tolist(), strict=True):
            for key, share in (("p50", 0.5), ("p99", 0.99)):
                value_s = quantile_s(row, share)
                times[name][key].append(None if value_s is None else round(value_s * 1e3, 3))
    last = [steps[-1] for _, steps in bins]
    return {
        "times_s": [at_s for at_s, _ in bins],
        **lines,
        "age_ms": times.pop("age"),
        "stages_ms": times,
        "used_bytes": [step.used_bytes for step in last],
        "temp_c": [step.temp_c for step in last],
        "rung": [step.rung for step in last],
    }


def _chosen(models: Mapping[str, PairStep], model: str | None) -> Iterable[PairStep]:
    return models.values() if model is None else [pair for name, pair in models.items() if name == model]


def _pair_between(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> PairStep | None:
    answered, dropped, times = now["answered"], _dropped(now), _times(now)
    if times.shape[1] != len(BOUNDS_S) + 1:
        return None
    if before is not None:
        answered, dropped, times = answered - before["answered"], dropped - _dropped(before), times - _times(before)
    if answered < 0 or dropped < 0 or times.min() < 0:  # the model was unloaded between, and counts anew
        return None
    return PairStep(answered, dropped, _counts(times))


def _dropped(counted: Mapping[str, Any]) -> int:
    return sum(count for reason, count in counted["dropped"].items() if reason not in SPARED)


def _times(pair: Mapping[str, Any]) -> NDArray[np.int64]:
    return np.array([pair["age"]["counts"], *(pair["stages"][stage]["counts"] for stage in STAGES)], np.int64)


def _counts(times: Any) -> Counts:
    return np.minimum(np.array(times, np.int64), MOST_SAMPLES).astype(np.uint16)


def _packed(counts: list[int]) -> list[int]:
    """From the first bucket that holds any to the last, behind the number of the first: most are empty."""
    held = [at for at, count in enumerate(counts) if count]
    return [held[0], *counts[held[0] : held[-1] + 1]] if held else []


def _unpacked(row: Sequence[int]) -> list[int]:
    counts = [0] * (len(BOUNDS_S) + 1)
    if row:
        first, *found = (_count(value) for value in row)
        counts[first : first + len(found)] = found
    return counts


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < MOST_COUNT:
        raise ValueError("this is no count")
    return value


def _finite(value: Any) -> float:
    found = float(value)
    if not -1e6 < found < 1e6:
        raise ValueError("this is no temperature")
    return found
