"""The recorder: draws answers into frames and encodes them, in a process of its own, so that the service touches no pixel.

the service says      {"record": settings, "cores": n}, {"ring": id, ...}, {"unring": id}, {"job": n, ...}, {"end": seconds}
this process says     done (with what there is to show), refused, ended
"""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2

from edgewright.errors import EdgewrightError
from edgewright.printable import printable
from edgewright.run.channel import Channel, ChannelError, Message, close_all
from edgewright.run.encoders import Choice, choose_encoder
from edgewright.run.recording import Recording, RecordingState
from edgewright.run.records import Answer
from edgewright.run.ring import Ring
from edgewright.run.segments import Segments
from edgewright.run.settings import RecordingOutput

LONGEST_WHY = 1000  # characters


class _Recorder:
    """The recordings of one output, a camera each, into one folder."""

    def __init__(self, channel: Channel, settings: RecordingOutput, cores: int) -> None:
        self._channel, self._settings, self._cores = channel, settings, cores
        self._segments = Segments(settings.folder, settings.most_bytes)
        self._recordings: dict[str, Recording] = {}
        self._rings: dict[int, Ring] = {}

    def serve(self) -> None:
        """Until it is told to end, or the service is gone; films are ended either way."""
        try:
            while (message := self._channel.receive()) is not None and "end" not in message.words:
                self._obey(message)
        except ChannelError:
            self._end(1.0)
            raise
        self._end(0.0 if message is None else float(message.words["end"]))
        self._channel.send({"say": "ended", "states": [_shown(each.state) for each in self._recordings.values()]})

    def _obey(self, message: Message) -> None:
        words = message.words
        if "job" in words:
            self._record(words)
        elif "advance" in words:
            for recording in self._recordings.values():
                recording.advance(words["advance"])
        elif "ring" in words:
            self._rings[words["ring"]] = Ring.attach(message.fds[0], words["slots"], words["slot_bytes"])
        elif "unring" in words:
            if (ring := self._rings.pop(words["unring"], None)) is not None:
                ring.close()
        else:
            close_all(message.fds)

    def _record(self, words: dict[str, Any]) -> None:
        answer = Answer.from_json(words["answer"])
        picture = self._rings[words["ring"]].picture(words["slot"], answer.source_wh)
        recording = self._recordings.get(answer.camera)
        if recording is None:
            recording = self._recordings[answer.camera] = Recording(answer.camera, self._settings, self._segments, self._choose)
        recording.add(picture, answer, words["at_s"])
        self._channel.send({"say": "done", "job": words["job"], "state": _shown(recording.state)})

    def _choose(self, size_wh: tuple[int, int], avoid: frozenset[str]) -> Choice:
        return choose_encoder(self._settings.encoder, size_wh, self._settings.fps, self._cores, avoid=avoid)

    def _end(self, within_s: float) -> None:
        for recording in self._recordings.values():
            recording.close(within_s=within_s / len(self._recordings))


def _shown(state: RecordingState) -> dict[str, Any]:
    fields = asdict(state)
    del fields["choice"]
    choice = state.choice
    named = None if choice is None else choice.encoder.name
    return {**fields, "encoder": named, "reason": None if choice is None else printable(choice.reason, LONGEST_WHY)}


def main() -> int:
    """Serve one recording output until it is ended."""
    cv2.setNumThreads(1)
    channel = Channel.of_child()
    try:
        order = channel.receive()
        if order is None:
            return 1
        fields = order.words["record"]
        settings = RecordingOutput(**{**fields, "folder": Path(fields["folder"])})
        try:
            _Recorder(channel, settings, order.words["cores"]).serve()
        except EdgewrightError as error:
            channel.send({"say": "refused", "why": printable(str(error), LONGEST_WHY), "exit_code": error.exit_code})
    except ChannelError:
        return 0  # the service is gone
    return 0


if __name__ == "__main__":
    sys.exit(main())
