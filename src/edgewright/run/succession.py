"""One worker after another for the same model: other threads, another artifact. No frame is lost that is not counted.

Where both fit into the budget, the next one is loaded beside the present one, which goes on answering until then. Otherwise the present
one answers what it has in hand and is ended first; frames that come meanwhile are dropped as of a model that is not loaded. A next one that
fails leaves, or brings back, the one before.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from edgewright.run.settings import ModelSettings
from edgewright.run.worker import Worker

Step: TypeAlias = Literal["ending", "loading", "handing"]


class Heir(Protocol):
    """What a succession does to the service."""

    def hire(self, settings: ModelSettings, *, coming: bool) -> Worker:
        """Another worker, not started yet; a `coming` one beside the present."""
        ...

    def install(self, worker: Worker) -> None:
        """It is the model's worker from now on."""
        ...

    def dismiss(self, worker: Worker) -> None:
        """It is gone, and its memory with it."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """`why`: what was wrong with the next one; None where it has taken over."""

    settings: ModelSettings
    why: str | None


class Succession:
    """From the order to its outcome, in turns of the service."""

    def __init__(
        self, before: Worker, settings: ModelSettings, *, beside: bool, heir: Heir, done: Callable[[Outcome], None], now_s: float
    ) -> None:
        self.settings = settings
        self.step: Step = "loading" if beside else "ending"
        self._before, self._next = before, heir.hire(settings, coming=True) if beside else None
        self._heir, self._done, self._beside = heir, done, beside
        self._until_s = now_s + before.settings.answer_within_s
        self._restarts = 0  # which are not the next one's own: whoever is installed goes on counting those of the one before

    @property
    def takes_frames(self) -> bool:
        """Whether the model's worker is to be given more."""
        return self.step == "loading"

    @property
    def coming(self) -> Worker | None:
        """Who is at work beside the model's worker."""
        return self._next if self._beside else None

    def advance(self, now_s: float) -> bool:
        """What is due; whether it is over."""
        if self.step == "loading":
            return self._watch(now_s)
        if self._before.state == "ready" and not self._before.is_idle and now_s <= self._until_s:
            return False  # what it has in hand is answered first: answers stay in the order of frames
        self._heir.dismiss(self._before)
        if self.step == "handing" and self._next is not None:
            self._heir.install(self._next)
            self._done(Outcome(self.settings, None))
            return True
        self._next, self.step = self._heir.hire(self.settings, coming=False), "loading"
        self._heir.install(self._next)
        self._restarts = self._next.restarts
        return False

    def call_off(self) -> None:
        """The service ends."""
        if self.coming is not None:
            self._heir.dismiss(self.coming)

    def _watch(self, now_s: float) -> bool:
        worker = self._next
        assert worker is not None  # noqa: S101 - it was hired when loading began
        if self._beside:
            worker.advance(now_s)
        if (wrong := self._wrong(worker)) is not None:
            self._give_up(worker, wrong)
            return True
        if worker.state != "ready":
            return False
        if self._beside:
            self.step, self._until_s = "handing", now_s + self._before.settings.answer_within_s
            return False
        self._done(Outcome(self.settings, None))
        return True

    def _wrong(self, worker: Worker) -> str | None:
        if worker.state == "refused" or worker.restarts > self._restarts:
            return worker.why or "it failed"
        known, now = self._before.loaded, worker.loaded
        if known is not None and now is not None and now.classes != known.classes:
            return f"it knows {', '.join(now.classes[:5])}, and the model before it {', '.join(known.classes[:5])}"
        return None

    def _give_up(self, worker: Worker, why: str) -> None:
        self._heir.dismiss(worker)
        if not self._beside:
            self._heir.install(self._heir.hire(self._before.settings, coming=False))
        self._done(Outcome(self.settings, why))
