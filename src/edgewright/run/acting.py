"""What a governor decides, done to a live service: caps for its cameras, another worker for its model, pauses for what can wait."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from edgewright.run.camera import Camera
from edgewright.run.govern.ladder import OperatingPoint
from edgewright.run.govern.pressure import Relief
from edgewright.run.preview_tap import PreviewTap
from edgewright.run.recorder import IN_HAND, RecorderProcess
from edgewright.run.records import Severity
from edgewright.run.settings import ModelSettings, RecordingOutput
from edgewright.run.succession import Outcome
from edgewright.run.worker import Worker

AGAIN_S = 60.0  # after a change that failed
CAP_STEP = 0.01  # a camera is told of a cap that differs by more, as a share
FEWEST_FPS = 0.01


class Acted(Protocol):
    """What of a service is acted on."""

    workers: dict[str, Worker]
    cameras: dict[str, Camera]
    recorders: list[RecorderProcess]
    previews: PreviewTap | None

    def replace(self, model: ModelSettings, done: Callable[[Outcome], None], *, beside: bool) -> bool: ...
    def pause(self, name: str) -> None: ...
    def go_on(self, name: str) -> bool: ...


class ServiceActuator:
    """The seam (`govern.ladder.Actuator`) of a service. Told the same again it does nothing, or tries again what could not be done.

    `artifacts`: what points name, the model's own first; `threads`: of each, those that it runs with when none are named.
    """

    def __init__(
        self,
        service: Acted,
        model: ModelSettings,
        best_effort: tuple[str, ...],
        artifacts: Mapping[str, Path],
        threads: Mapping[str, int],
        say: Callable[[str, str, Severity], None],
    ) -> None:
        self._service, self._model, self._best_effort = service, model, best_effort
        self._artifacts, self._threads, self._say = artifacts, threads, say
        self._relief = Relief.NONE
        self._tried: ModelSettings | None = None
        self._again_s = 0.0
        self._now_s = 0.0
        self.rates: Mapping[str, float] = {}  # frames a second that each live camera brings

    def at(self, now_s: float, rates: Mapping[str, float]) -> None:
        """It is so late, and cameras bring so much."""
        self._now_s, self.rates = now_s, rates

    def apply(self, point: OperatingPoint) -> None:
        self._cap(point.fps_cap)
        for recorder in self._service.recorders:
            if isinstance(recorder.settings, RecordingOutput):
                recorder.is_paused = not point.drawing
        if self._service.previews is not None:
            self._service.previews.pause(paused=not point.drawing)
        self._run(self._settings_of(point))

    def relieve(self, relief: Relief) -> None:
        """Give up so much for memory; the smaller artifact comes with the point."""
        self._relief = relief
        short = relief >= Relief.SHORT_QUEUES
        for camera in self._service.cameras.values():
            camera.shorten(short=short)
        for recorder in self._service.recorders:
            recorder.most_in_hand = 1 if short else IN_HAND
        for name in self._best_effort:
            state = self._service.workers[name].state
            if relief >= Relief.BEST_EFFORT_PAUSED and state not in ("paused", "refused"):
                self._service.pause(name)
            elif relief < Relief.BEST_EFFORT_PAUSED and state == "paused":
                self._service.go_on(name)

    def runs(self, point: OperatingPoint) -> bool:
        """Whether the model's worker is the one of this point: not while another is still coming, nor where it could not be had."""
        return self._service.workers[self._model.name].settings == self._settings_of(point)

    def _settings_of(self, point: OperatingPoint) -> ModelSettings:
        name = point.artifact or next(iter(self._artifacts))
        threads = point.threads or self._model.threads
        if self._model.threads is None and threads == self._threads.get(name):
            threads = None  # by which it is known when nobody governs
        return replace(self._model, artifact=self._artifacts[name], threads=threads)

    def _run(self, settings: ModelSettings) -> None:
        worker = self._service.workers[self._model.name]
        if worker.settings == settings or worker.state in ("refused", "paused"):
            return
        if settings == self._tried and self._now_s < self._again_s:
            return
        # Where memory is short there is no room for two.
        if self._service.replace(settings, self._done, beside=self._relief == Relief.NONE):
            self._tried, self._again_s = settings, self._now_s + AGAIN_S

    def _done(self, outcome: Outcome) -> None:
        if outcome.why is not None:
            shown = outcome.settings.artifact.name
            text = f"cannot change to {shown}: {outcome.why}; it is tried again in {AGAIN_S:.0f} s"
            self._say("rung", text, "warning")

    def _cap(self, fps_cap: float | None) -> None:
        live = {name: camera for name, camera in self._service.cameras.items() if camera.live}
        shares = shared(fps_cap, {name: self.rates.get(name, 0.0) for name in live})
        for name, camera in live.items():
            own = camera.settings.fps
            share = shares.get(name)
            wanted = share if own is None or share is None else min(own, share)
            wanted = own if wanted is None else wanted
            if wanted != camera.most_fps and not _is_near(wanted, camera.most_fps):
                camera.cap(wanted)


def shared(fps_cap: float | None, rates: Mapping[str, float]) -> dict[str, float]:
    """Each camera's part of a cap on all: as much as the others', or all that it brings where that is less (max-min fairness).

    What is left over once all have what they bring is shared as well, so that a camera which speeds up is not held to what it brought.
    """
    if fps_cap is None or not rates:
        return {}
    left, parts = fps_cap, dict[str, float]()
    for at, name in enumerate(sorted(rates, key=lambda each: rates[each])):
        parts[name] = min(rates[name], left / (len(rates) - at))
        left -= parts[name]
    more = max(left, 0.0) / len(rates)
    return {name: max(part + more, FEWEST_FPS) for name, part in parts.items()}


def _is_near(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and abs(one - other) <= CAP_STEP * other
