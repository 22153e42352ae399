"""What has changed lately: a status holds counts since the service began, and people want to know how it is now.

Each status is compared with the one before it, one of five seconds and one of a minute ago. The service's own clock tells how long that is,
the one that nobody sets; when it goes back, another service has begun, and so does the comparing.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from edgewright.run.recent import recent
from edgewright.watch.said import STAGES, Buckets, CameraSaid, ModelSaid, Said

NOW_S: Final = 5.0  # what "now" is: at ten frames a second, one second has nine, ten or eleven of them
MINUTE_S: Final = 60.0
SLACK_S: Final = 0.5  # statuses come about once a second
MOST_SAMPLES: Final = 3600


class Quantiles(NamedTuple):
    """In milliseconds; None where nothing was timed."""

    p50: float | None
    p99: float | None


NOTHING: Final = Quantiles(None, None)


@dataclass(frozen=True, slots=True)
class Counts:
    """The counts of one status, so that it can be compared with a later one."""

    at_s: float
    bounds_s: tuple[float, ...]  # of its buckets
    captured: Mapping[str, int]
    dropped: Mapping[str, Counter[str]]  # by camera, of all its models together
    answered: Mapping[tuple[str, str], int]  # by camera and model
    ages: Mapping[tuple[str, str], Buckets]
    stages: Mapping[tuple[str, str], Buckets]  # by model and stage, of all cameras together


@dataclass(frozen=True, slots=True)
class CameraLately:
    """`fps`: answered a second, by the model that answers fewest; `fps_captured`: that the camera gave. `dropped`: in the last minute."""

    said: CameraSaid
    fps: float | None
    fps_captured: float | None
    now: Quantiles
    minute: Quantiles
    dropped: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ModelLately:
    """`stages`: of the last minute."""

    said: ModelSaid
    fps: float | None
    stages: Mapping[str, Quantiles]


@dataclass(frozen=True, slots=True)
class Lately:
    """A status, and what is new in it. `minute_s`: how long the minute is, which it is not at the start."""

    said: Said
    cameras: tuple[CameraLately, ...]
    models: tuple[ModelLately, ...]
    minute_s: float


@dataclass(frozen=True, slots=True)
class Sample:
    """Of the chart: the ages of all answers since the status before. `time_s`: the service's wall clock."""

    time_s: float
    age: Quantiles


def counts_of(said: Said) -> Counts:
    """What of it can be compared."""
    dropped: dict[str, Counter[str]] = {}
    answered: dict[tuple[str, str], int] = {}
    ages: dict[tuple[str, str], Buckets] = {}
    stages: dict[tuple[str, str], Buckets] = {}
    for camera in said.cameras:
        dropped[camera.name] = Counter(camera.dropped)
        for model, pair in camera.models.items():
            dropped[camera.name].update(pair.dropped)
            ages[camera.name, model] = pair.age
            if pair.answered is not None:
                answered[camera.name, model] = pair.answered
            for stage, buckets in pair.stages.items():
                stages[model, stage] = together(stages.get((model, stage), ()), buckets)
    captured = {camera.name: camera.captured for camera in said.cameras if camera.captured is not None}
    return Counts(said.uptime_s or 0.0, said.bounds_s, captured, dropped, answered, ages, stages)


def quantiles_ms(bounds_s: tuple[float, ...], now: Buckets, before: Buckets) -> Quantiles:
    """Of what is in the buckets now and was not before."""
    if not bounds_s or len(now) != len(bounds_s) + 1:
        return NOTHING
    found = recent(now, before or None, bounds_s)
    return Quantiles(None if found.p50_s is None else found.p50_s * 1e3, None if found.p99_s is None else found.p99_s * 1e3)


def together(some: Buckets, others: Buckets) -> Buckets:
    """Both as one; the longer ones where they are not of a kind."""
    if len(some) != len(others):
        return max(some, others, key=len)
    return tuple(map(int.__add__, some, others))


def lately(said: Said, counts: Counts, now_before: Counts | None, minute_before: Counts | None) -> Lately:
    """A status, compared with the two before it; None where there is none yet."""
    return Lately(
        said,
        tuple(_camera(camera, counts, now_before, minute_before) for camera in said.cameras),
        tuple(_model(model, counts, now_before, minute_before) for model in said.models),
        0.0 if minute_before is None else counts.at_s - minute_before.at_s,
    )


def _camera(said: CameraSaid, counts: Counts, now_before: Counts | None, minute_before: Counts | None) -> CameraLately:
    pairs = [(said.name, model) for model in said.models]
    now = dropped = None
    rates: list[float | None] = []
    if now_before is not None:
        seconds = counts.at_s - now_before.at_s
        rates = [_rate(now_before.answered.get(pair), counts.answered.get(pair), seconds) for pair in pairs]
        now = _rate(now_before.captured.get(said.name), counts.captured.get(said.name), seconds)
    if minute_before is not None:
        dropped = counts.dropped[said.name] - minute_before.dropped.get(said.name, Counter())
    known = [rate for rate in rates if rate is not None]
    ages = [_ages(counts, before, pairs) for before in (now_before, minute_before)]
    return CameraLately(said, min(known, default=None), now, ages[0], ages[1], dict(dropped or {}))


def _model(said: ModelSaid, counts: Counts, now_before: Counts | None, minute_before: Counts | None) -> ModelLately:
    fps: float | None = None
    if now_before is not None:
        pairs = [pair for pair in counts.answered if pair[1] == said.name]
        seconds = counts.at_s - now_before.at_s
        rates = [_rate(now_before.answered.get(pair), counts.answered[pair], seconds) for pair in pairs]
        fps = sum(rate for rate in rates if rate is not None)
    keys = [(said.name, stage) for stage in STAGES]
    before = {} if minute_before is None else minute_before.stages
    stages = {key[1]: quantiles_ms(counts.bounds_s, counts.stages.get(key, ()), before.get(key, ())) for key in keys}
    return ModelLately(said, fps, stages)


def _rate(before: int | None, now: int | None, seconds: float) -> float | None:
    """A second; of what was not counted before, all of it is new."""
    return None if now is None or seconds <= 0 else max(0, now - (before or 0)) / seconds


def _ages(counts: Counts, before: Counts | None, pairs: list[tuple[str, str]]) -> Quantiles:
    """Of several models of a camera, the one whose answers are oldest."""
    if before is None:
        return NOTHING
    found = [quantiles_ms(counts.bounds_s, counts.ages.get(pair, ()), before.ages.get(pair, ())) for pair in pairs]
    return max(found, key=lambda each: each.p99 or 0.0, default=NOTHING)


@dataclass(slots=True)
class Trail:
    """The statuses of the last minute, and the samples of the last hour."""

    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=MOST_SAMPLES))
    _before: deque[Counts] = field(default_factory=deque)

    def hear(self, said: Said, wall_s: float) -> Lately | None:
        """The status, compared; None if it is the last one once more. `wall_s`: our clock, where the service does not tell its own."""
        counts = counts_of(said)
        if self._before and counts.at_s < self._before[-1].at_s:
            self._before.clear()
        if self._before and counts.at_s == self._before[-1].at_s:
            return None
        now_before, minute_before = self._of(counts.at_s - NOW_S), self._of(counts.at_s - MINUTE_S)
        if self._before:
            self.samples.append(Sample(wall_s if said.wall_s is None else said.wall_s, self._since_the_last(counts)))
        self._before.append(counts)
        while len(self._before) > 1 and self._before[1].at_s <= counts.at_s - MINUTE_S:
            self._before.popleft()
        return lately(said, counts, now_before, minute_before)

    def _of(self, at_s: float) -> Counts | None:
        """The latest that is as old as that; the oldest where none is."""
        for counts in reversed(self._before):
            if counts.at_s <= at_s + SLACK_S:
                return counts
        return self._before[0] if self._before else None

    def _since_the_last(self, counts: Counts) -> Quantiles:
        now, before = Buckets(), Buckets()
        for pair, buckets in counts.ages.items():
            earlier = self._before[-1].ages.get(pair, ())
            if len(earlier) in (0, len(buckets)):
                now, before = together(now, buckets), together(before, earlier or (0,) * len(buckets))
        return quantiles_ms(counts.bounds_s, now, before)
