"""The worker: one model in a process of its own. Killing it gives its memory back for certain; loading it stalls nobody else.

The service says {"load": ...}, {"results": [slots, bytes]}, {"ring": id, ...}, {"unring": id}, {"job": n, ...} and {"ping": n}; this
process says ready, done, pong and refused.
"""

import os
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

from edgewright.detections import Detections, ImageRgb
from edgewright.detector import Detector, open_detector
from edgewright.engines.timed import TimedEngine
from edgewright.errors import ModelError
from edgewright.run.channel import Channel, Message, TooMuchError
from edgewright.run.memory import footprint_of_self
from edgewright.run.obey import Rings, obey, serve
from edgewright.run.results import write_result
from edgewright.run.ring import Ring

WARM_RUNS = 2  # at least, before it says that it is ready: first runs are slow, and reserve what later ones need


class _Worker:
    """An opened detector, and the rings it reads and writes."""

    def __init__(self, channel: Channel, load: dict[str, Any]) -> None:
        self._channel = channel
        began_s = time.monotonic()
        opened = open_detector(Path(load["artifact"]), threads=load["threads"])
        self._engine = TimedEngine(opened.engine)
        self._detector = Detector(opened.artifact, self._engine)
        self._rings = Rings()
        self._results: Ring | None = None
        self._deeds = {"job": self._work, "ping": self._pong, "results": self._take_results, **self._rings.deeds}
        wide, high = opened.artifact.input.size_wh
        runs_ms = [self._warm(np.zeros((high, wide, 3), np.uint8)) for _ in range(max(WARM_RUNS, load["runs"]))]
        described = self._engine.describe()
        ready = {
            "say": "ready",
            "name": opened.artifact.name,
            "digest": opened.artifact.digest,
            "classes": list(opened.artifact.classes),
            "needed": list(opened.artifact.threshold.of_classes(opened.artifact.classes)) or [opened.artifact.threshold.score],
            "engine": f"{described.name} {described.version}, {described.precision}, threads: {described.threads}",
            "threads": described.threads,
            "size_wh": [wide, high],
            "run_ms": median(runs_ms[1:]),
            "load_ms": (time.monotonic() - began_s) * 1e3,
            **footprint_of_self().to_json(),
        }
        try:
            channel.send(ready)
        except TooMuchError as error:
            raise ModelError(
                "the names of its classes are too long for a service", got=f"{len(opened.artifact.classes)} classes, {error}"
            ) from error

    def _warm(self, picture: ImageRgb) -> float:
        """Run once; how long that took (ms)."""
        began_s = time.perf_counter()
        self._detector.detect(picture)
        return (time.perf_counter() - began_s) * 1e3

    def serve(self) -> None:
        """Until the service is gone."""
        while True:
            if (message := self._channel.receive()) is not None:
                obey(message, self._deeds)

    def _pong(self, message: Message) -> None:
        self._channel.send({"say": "pong", "ping": message.words["ping"]})

    def _take_results(self, message: Message) -> None:
        self._results = Ring.attach(message.fds[0], *message.words["results"])

    def _work(self, message: Message) -> None:
        assert self._results is not None  # noqa: S101 - said before the first job
        words, began_s = message.words, time.perf_counter()
        picture = self._rings.picture(words, (words["wh"][0], words["wh"][1]))
        shown, left_top = _region(picture, words["region"])
        found = self._detector.detect(shown, score_above=words["low"])
        count = write_result(self._results.slot(words["result"]), _moved(found, left_top))
        ended_s = time.perf_counter()
        ms = [
            (self._engine.began_s - began_s) * 1e3,
            (self._engine.ended_s - self._engine.began_s) * 1e3,
            (ended_s - self._engine.ended_s) * 1e3,
        ]
        self._channel.send({"say": "done", "job": words["job"], "boxes": count, "ms": ms})


def _region(picture: ImageRgb, region: list[float] | None) -> tuple[ImageRgb, tuple[int, int]]:
    """The part of the picture that the model is shown (shares of width and height), and where its corner lies; at least a pixel."""
    if region is None:
        return picture, (0, 0)
    high, wide, _ = picture.shape
    left, top = min(wide - 1, int(region[0] * wide)), min(high - 1, int(region[1] * high))
    right, bottom = max(left + 1, round(region[2] * wide)), max(top + 1, round(region[3] * high))
    return picture[top:bottom, left:right], (left, top)


def _moved(found: Detections, left_top: tuple[int, int]) -> Detections:
    if left_top == (0, 0):
        return found
    return Detections(found.boxes_xyxy + np.array([*left_top, *left_top], np.float32), found.scores, found.class_ids, found.classes)


def main() -> int:
    """Serve one model until the service is gone."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    return serve(_work)


def _work(channel: Channel, order: dict[str, Any]) -> None:
    cv2.setNumThreads(max(1, order["load"]["threads"] or 1))
    _Worker(channel, order["load"]).serve()


if __name__ == "__main__":
    sys.exit(main())
