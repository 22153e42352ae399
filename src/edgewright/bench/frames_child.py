"""The measured process of the whole path: decode, preprocess, model and postprocess, over a video or pictures, again and again.

    python -P -m edgewright.bench.frames_child --threads 1 fitted line.mp4

Its first answer comes with the first frame's boxes. {"runs": n} takes n more frames the way users do, through `Detector.stream`;
{"staged": n} takes them one stage after the other and times each. Opening the clip anew at its end is not counted. It imports what a
detector needs and nothing else, so that its memory is the detector's.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2

from edgewright.bench.speech import ms_since, peak_mib, say
from edgewright.data.source import PictureSource, open_source
from edgewright.detector import Detector, open_detector
from edgewright.engines.timed import TimedEngine
from edgewright.errors import DataError, EdgewrightError

STAGES = ("decode", "preprocess", "model", "postprocess")


class Endless:
    """The items of a source of at least two, which is opened anew at its end."""

    def __init__(self, open_anew: Callable[[], Iterator[Any]]) -> None:
        self._open_anew = open_anew
        self._items = open_anew()
        self._taken = 0
        self.last: Any = None

    def next_ms(self) -> float | None:
        """Take the next item as `last`; how long that took, but None of a first one, which holds the opening.

        Raises:
            DataError: there is no second.
        """
        before = time.perf_counter()
        try:
            self.last = next(self._items)
        except StopIteration:
            if self._taken < 2:
                raise DataError(
                    "there is nothing to time", got=f"{self._taken} frame", expected="a video, or a folder of pictures"
                ) from None
            self._items, self._taken = self._open_anew(), 0
            return self.next_ms()
        self._taken += 1
        return None if self._taken == 1 else ms_since(before)


class WholePath:
    """A detector over a source: as users have it, and stage by stage."""

    def __init__(self, detector: Detector, source: PictureSource) -> None:
        self._source = source
        self._engine = TimedEngine(detector.engine)
        self._detector = Detector(detector.artifact, self._engine)
        self._streamed = Endless(self._stream)
        self._decoded = Endless(lambda: (frame for _, frame in source))

    def first(self) -> None:
        """Find what is in the first frame."""
        self._streamed.next_ms()

    def streamed_ms(self, count: int) -> list[float]:
        """The times between the boxes of `count` frames."""
        samples: list[float] = []
        while len(samples) < count:
            samples.extend(ms for ms in [self._streamed.next_ms()] if ms is not None)
        return samples

    def staged_ms(self, count: int) -> dict[str, list[float]]:
        """What each stage took of each of `count` frames."""
        taken: dict[str, list[float]] = {stage: [] for stage in STAGES}
        while len(taken["decode"]) < count:
            decode_ms = self._decoded.next_ms()
            before = time.perf_counter()
            self._detector.detect(self._decoded.last.image_rgb)
            after = time.perf_counter()
            if decode_ms is None:
                continue
            marks = (before, self._engine.began_s, self._engine.ended_s, after)
            for stage, ms in zip(STAGES, (decode_ms, *((end - start) * 1e3 for start, end in pairwise(marks))), strict=True):
                taken[stage].append(ms)
        return taken

    def _stream(self) -> Iterator[Any]:
        if self._source.is_video:
            return self._detector.stream(self._source.path)
        return ((frame, self._detector.detect(frame.image_rgb)) for _, frame in self._source)


def main() -> int:
    """Serve measurements until standard input closes; the error of a detector that does not run is the first line instead."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("detector", type=Path)
    parser.add_argument("source", type=Path)
    options = parser.parse_args()
    try:
        with open_detector(options.detector, threads=options.threads) as detector:
            # Ultralytics keeps OpenCV to one thread; left alone it would take every core, whatever we were given.
            cv2.setNumThreads(options.threads)
            path = WholePath(detector, open_source(options.source))
            path.first()
            say(version=detector.engine.describe().version, peak_mib=peak_mib())
            for line in sys.stdin:
                _answer(path, **json.loads(line))
    except EdgewrightError as error:
        say(error=str(error), exit_code=error.exit_code)
        return error.exit_code
    return 0


def _answer(path: WholePath, runs: int = 0, staged: int = 0) -> None:
    cpu = time.process_time()
    samples_ms = path.streamed_ms(runs)
    cpu_s = time.process_time() - cpu
    say(samples_ms=samples_ms, cpu_s=cpu_s, stages_ms=path.staged_ms(staged), peak_mib=peak_mib())


if __name__ == "__main__":
    sys.exit(main())
