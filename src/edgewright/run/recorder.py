"""A recording output as the service sees it: its process is shown frames with their answers, as many as it has asked for and can take."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

from edgewright.board.profile import usable_cores
from edgewright.clock import Clock
from edgewright.run.frames import HeldFrame, SharedRing
from edgewright.run.kept import Deed, Kept
from edgewright.run.lending import Lending, Pace
from edgewright.run.loop import Loop
from edgewright.run.records import Answer, Severity
from edgewright.run.said import count_said, number_said, text_said
from edgewright.run.settings import RecordingOutput, StretchOutput

IN_HAND = 2  # frames of live cameras; what comes while it has these is left out, and counted
SILENT_S = 60.0  # it may be trying encoders, ten frames each
ADVANCE_EVERY_S = 5.0
FILM_FIELDS = ("name", "encoder", "fps", "annotated", "segment_s", "most_bytes")
STRETCH_FIELDS = ("name", "pictures", "most_bytes")
# That a recorder may show of a camera's recording, beside what it has to.
MORE_FIELDS = frozenset({"film", "films", "dropped", "late", "failures", "cpu_ms", "encoder", "full"})


class Hearer(Protocol):
    """Who is told what a recorder does."""

    def output_happened(self, name: str, text: str, severity: Severity, data: Mapping[str, Any]) -> None: ...
    def output_wrote(self, count: int) -> None: ...


class RecorderProcess(Kept):
    """One recording output's recorder, from its start to the end of the service."""

    MODULE = "edgewright.run.recorder_child"
    NOUN = "recorder"

    def __init__(self, settings: RecordingOutput | StretchOutput, *, loop: Loop, clock: Clock, hearer: Hearer) -> None:
        super().__init__(settings.name, loop=loop, clock=clock)
        self.settings = settings
        self.offered = self.recorded = self.left_out = 0
        self.states: dict[str, dict[str, Any]] = {}
        self.is_paused = False  # nothing is drawn or encoded: the board is too warm for it
        self.most_in_hand = IN_HAND
        self._hearer = hearer
        self._lending = Lending(self._tell)
        self._pace = None if isinstance(settings, StretchOutput) else Pace(settings.fps)  # a stretch has all frames
        self._asked_s = self._advanced_s = clock.monotonic_s()
        self._has_ended = False
        self._downs = 0  # failures, since it last recorded a frame
        self._errors: dict[str, str | None] = {}

    # --- what the service asks of it ----------------------------------------------------------------------------------------------------

    def offer(self, frame: HeldFrame, answer: Answer, *, live: bool) -> None:
        """A frame and its answer; taken where one is due and it has a hand free. Of what is not live all are: its source waits for us."""
        if self.settings.cameras and answer.camera not in self.settings.cameras:
            return
        if self._pace is not None and not self._is_shown(self._pace, frame):
            return
        self.offered += 1
        if self.is_paused or self._child is None or (live and len(self._lending) >= self.most_in_hand):
            self.left_out += 1
            return
        self._asked_s = self._clock.monotonic_s()
        numbers, is_lent = answer.detections.class_ids.tolist(), False
        try:
            words = {"at_s": frame.time_s, "answer": answer.to_json(), "class_ids": numbers}
            is_lent = self._lending.lend(frame, words) is not None
        finally:
            self.left_out += not is_lent

    @staticmethod
    def _is_shown(pace: Pace, frame: HeldFrame) -> bool:
        """Whether the film has a place for it, or has it already and another model answers."""
        return pace.is_due(frame.camera, frame.number, frame.time_s) or pace.has_taken(frame.camera, frame.number)

    def dropped(self, frame: HeldFrame, reason: str) -> None:
        """A frame will not be answered. A film has no place for it, a stretch has."""
        if isinstance(self.settings, StretchOutput):
            self._tell({"drop": [frame.camera, frame.number, frame.wall_s, frame.time_s, reason]})

    def forget_ring(self, shared: SharedRing) -> None:
        """It is closed; the process lets its view go."""
        self._lending.forget_ring(shared)

    def advance(self, now_s: float) -> None:
        """What is due: a start, a look at films that get no more frames, a replacement."""
        if self._child is None:
            if now_s >= self._due_s and not self._has_ended:
                self._start()
        elif self._lending and now_s - max(self._asked_s, self._heard_s) > SILENT_S:
            self._fail(f"it took no frame for {SILENT_S:.0f} s")
        elif now_s - self._advanced_s >= ADVANCE_EVERY_S:
            self._advanced_s = now_s
            self._tell({"advance": now_s})

    def finish(self, within_s: float) -> None:
        """Let it end its films."""
        self._tell({"end": within_s})

    @property
    def has_finished(self) -> bool:
        return self._has_ended or self._child is None

    def end(self) -> None:
        """For good."""
        self._has_ended = True
        self._drop()

    def to_json(self) -> dict[str, Any]:
        counts = {
            "paused": self.is_paused,
            "offered": self.offered,
            "recorded": self.recorded,
            "left_out": self.left_out,
            "restarts": self.restarts,
        }
        return {**counts, "cameras": dict(self.states)}

    # --- its process --------------------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        if not self._begin():
            return
        is_stretch = isinstance(self.settings, StretchOutput)
        kept = STRETCH_FIELDS if is_stretch else FILM_FIELDS
        fields = {name: getattr(self.settings, name) for name in kept}
        keep = {**fields, "folder": str(self.settings.folder)}
        self._tell({"what": "stretch" if is_stretch else "films", "keep": keep, "cores": usable_cores()})

    def _take(self, words: dict[str, Any]) -> Deed:
        match words["say"]:
            case "done" if words["job"] in self._lending:
                return partial(self._done, words["job"], _state_said(words["state"]))
            case "ended":
                return partial(self._ended, list(map(_state_said, words["states"])))
            case "refused":
                return partial(self._fail, text_said(words["why"]))
            case said:
                raise ValueError(said)

    def _done(self, job: int, state: dict[str, Any]) -> None:
        self._downs = 0
        self._lending.give_back(job)
        self._backoff.works(self._clock.monotonic_s())
        self._note(state)

    def _ended(self, states: list[dict[str, Any]]) -> None:
        self._has_ended = True
        for state in states:
            self._note(state)

    def _note(self, state: dict[str, Any]) -> None:
        """What it says of a camera's recording; an error is said once, and so is its end."""
        camera, error, reason = state["camera"], state["error"], state["reason"]
        before = self.states.get(camera)
        self.states[camera] = state
        self._hearer.output_wrote(max(0, state["bytes_written"] - (0 if before is None else before["bytes_written"])))
        self.recorded = sum(each["frames"] for each in self.states.values())
        if reason is not None and (before is None or before["reason"] != reason):
            self._hearer.output_happened(self.name, f"records {camera} with {reason}", "info", {"camera": camera})
        if error != self._errors.get(camera):
            self._errors[camera] = error
            text = f"records {camera} again" if error is None else f"cannot record {camera}: {error}"
            self._hearer.output_happened(self.name, text, "info" if error is None else "error", {"camera": camera})

    def _fail(self, why: str) -> None:
        if self._has_ended:
            self._drop()
            return
        pause_s = self._replace(why)
        self._downs += 1
        if self._downs.bit_count() > 1:  # of one that fails time after time it is said again, but ever less often
            return
        data = self._shown(next_try_s=round(pause_s, 3), failures=self._downs)
        self._hearer.output_happened(self.name, f"{self.why}; another is started in {pause_s:.0f} s", "error", data)

    def _let_go(self) -> None:
        self._lending.give_all_back()


def _state_said(state: dict[str, Any]) -> dict[str, Any]:
    """What it shows of a camera's recording: a few words and figures."""
    texts = {key: None if state[key] is None else text_said(state[key]) for key in ("error", "reason")}
    counts = {key: count_said(state[key]) for key in ("frames", "bytes_written")}
    more = {key: _plain_said(state[key]) for key in state.keys() & MORE_FIELDS}
    return {"camera": text_said(state["camera"]), **texts, **counts, **more}


def _plain_said(value: Any) -> Any:
    if isinstance(value, str):
        return text_said(value)
    if value is not None and not isinstance(value, bool):
        number_said(value)
    return value
