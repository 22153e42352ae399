"""The recorder: draws answers into frames and encodes them, or keeps frames with what was decided about them.

It is a process of its own, so that the service touches no pixel. The service says {"what": "films" or "stretch", "keep": settings,
"cores": n}, {"ring": id, ...}, {"unring": id}, {"job": n, ...}, {"drop": [...]}, {"advance": now} and {"end": seconds}; this process says
done (with what there is to show), refused and ended.
"""

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2

from edgewright.detections import ImageRgb
from edgewright.errors import DiskError
from edgewright.printable import printable
from edgewright.run.channel import Channel, ChannelError, Message
from edgewright.run.encoders import Choice, choose_encoder
from edgewright.run.obey import LONGEST_WHY, Rings, obey, serve
from edgewright.run.recording import Recording, RecordingState
from edgewright.run.records import Answer
from edgewright.run.segments import Segments
from edgewright.run.settings import RecordingOutput, StretchOutput
from edgewright.run.stretch import FrameFacts, StretchWriter

LAST_S = 1.0  # to bring it to an end where the service is gone


class _Films:
    """Annotated video: a recording a camera, into one folder."""

    def __init__(self, settings: RecordingOutput, cores: int) -> None:
        self._settings, self._cores = settings, cores
        self._segments = Segments(settings.folder, settings.most_bytes)
        self._recordings: dict[str, Recording] = {}

    def add(self, picture: ImageRgb, answer: Answer, at_s: float) -> dict[str, Any]:
        recording = self._recordings.get(answer.camera)
        if recording is None:
            recording = self._recordings[answer.camera] = Recording(answer.camera, self._settings, self._segments, self._choose)
        recording.add(picture, answer, at_s, time.monotonic())
        return _shown(recording.state)

    def drop(self, facts: FrameFacts) -> None:
        """A film shows what was answered."""

    def advance(self, now_s: float) -> None:
        for recording in self._recordings.values():
            recording.advance(now_s)

    def end(self, within_s: float) -> list[dict[str, Any]]:
        for recording in self._recordings.values():
            recording.close(within_s=within_s / len(self._recordings))
        return [_shown(recording.state) for recording in self._recordings.values()]

    def _choose(self, size_wh: tuple[int, int], avoid: frozenset[str]) -> Choice:
        return choose_encoder(self._settings.encoder, size_wh, self._settings.fps, self._cores, avoid=avoid)


class _Stretch:
    """Frames and decisions, into one folder, until it is full."""

    def __init__(self, settings: StretchOutput) -> None:
        self._writer = StretchWriter(settings.folder, settings.most_bytes, pictures=settings.pictures)
        self._state: dict[str, Any] = {"camera": "", "frames": 0, "bytes_written": 0, "error": None, "reason": None, "full": False}

    def add(self, picture: ImageRgb, answer: Answer, at_s: float) -> dict[str, Any]:
        facts = FrameFacts(answer.camera, answer.frame, answer.captured_s, at_s, {"answers": [answer.to_json()]})
        self._write(picture, facts)
        return dict(self._state)

    def drop(self, facts: FrameFacts) -> None:
        self._write(None, facts)

    def _write(self, picture: ImageRgb | None, facts: FrameFacts) -> None:
        try:
            self._writer.add(picture, facts)
            written = {"frames": self._writer.frames, "bytes_written": self._writer.bytes}
            self._state |= {**written, "full": self._writer.full, "error": None}
        except DiskError as error:
            self._state |= {"error": printable(str(error), LONGEST_WHY)}

    def advance(self, now_s: float) -> None:
        """Nothing is due."""

    def end(self, within_s: float) -> list[dict[str, Any]]:  # noqa: ARG002 - it takes no time
        self._writer.close()
        return [dict(self._state)]


class _Recorder:
    """Films or a stretch, and the rings that frames lie in."""

    def __init__(self, channel: Channel, kept: _Films | _Stretch) -> None:
        self._channel, self._kept = channel, kept
        self._rings = Rings()
        self._deeds = {"job": self._add, "drop": self._drop, "advance": self._advance, **self._rings.deeds}

    def serve(self) -> None:
        """Until it is told to end, or the service is gone; what it holds is brought to an end either way."""
        try:
            while (message := self._channel.receive()) is not None and "end" not in message.words:
                obey(message, self._deeds)
        except ChannelError:
            self._kept.end(LAST_S)
            raise
        states = self._kept.end(0.0 if message is None else float(message.words["end"]))
        self._channel.send({"say": "ended", "states": states})

    def _add(self, message: Message) -> None:
        words = message.words
        answer = Answer.from_json(words["answer"], words["class_ids"])
        picture = self._rings.picture(words, answer.source_wh)
        self._channel.send({"say": "done", "job": words["job"], "state": self._kept.add(picture, answer, words["at_s"])})

    def _drop(self, message: Message) -> None:
        camera, frame, captured_s, at_s, reason = message.words["drop"]
        self._kept.drop(FrameFacts(camera, frame, captured_s, at_s, {"dropped": reason}))

    def _advance(self, message: Message) -> None:
        self._kept.advance(message.words["advance"])


def _shown(state: RecordingState) -> dict[str, Any]:
    fields = asdict(state)
    del fields["choice"]
    choice = state.choice
    named = None if choice is None else choice.encoder.name
    return {**fields, "encoder": named, "reason": None if choice is None else printable(choice.reason, LONGEST_WHY)}


def _opened(order: dict[str, Any]) -> _Films | _Stretch:
    fields = {**order["keep"], "folder": Path(order["keep"]["folder"])}
    return _Stretch(StretchOutput(**fields)) if order["what"] == "stretch" else _Films(RecordingOutput(**fields), order["cores"])


def main() -> int:
    """Serve one recording output until it is ended."""
    cv2.setNumThreads(1)
    return serve(lambda channel, order: _Recorder(channel, _opened(order)).serve())


if __name__ == "__main__":
    sys.exit(main())
