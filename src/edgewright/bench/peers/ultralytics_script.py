"""The measured process of Ultralytics' `predict`, in a Python that has it; it speaks as `bench.child` and `bench.frames_child` do.

    PEER/bin/python -I ultralytics_script.py --threads 1 --scratch /tmp/x model.onnx [line.mp4]

Without a source, {"runs": n} predicts a picture of noise n times and answers with what Ultralytics itself calls the inference time. With
one, {"runs": n} takes n frames of `predict(source, stream=True)` and answers with the times between them; {"staged": n} with what
Ultralytics says each stage took. Nothing of edgewright is imported: this file is all that enters that environment.
"""

from __future__ import annotations  # whatever Python that is

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

STAGES = {"preprocess": "preprocess", "model": "inference", "postprocess": "postprocess"}


def main() -> int:
    """Serve measurements until standard input closes; the error of a model that does not run is the first line instead."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--scratch", required=True)
    parser.add_argument("model")
    parser.add_argument("source", nargs="?")
    options = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # it greets, and warns, on standard output

    def say(**message: Any) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    # Nothing is fetched, installed or kept in the user's home.
    os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false", YOLO_CONFIG_DIR=options.scratch)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    before = time.perf_counter()
    try:
        peer = Peer(options.model, options.source, options.threads)
        load_ms = ms_since(before)
        before = time.perf_counter()
        peer.first()
        first_ms = ms_since(before)
    except Exception as error:  # noqa: BLE001 - the edge of the process, and foreign code that raises what it likes
        say(error=f"{type(error).__name__}: {error}"[:300])
        return 3
    say(load_ms=load_ms, first_ms=first_ms, version=peer.version, computes_in="float32", peak_mib=peak_mib())
    for line in sys.stdin:
        request = json.loads(line)
        wall, cpu = time.perf_counter(), time.process_time()
        samples_ms = peer.samples_ms(request.get("runs", 0))
        wall_s, cpu_s = time.perf_counter() - wall, time.process_time() - cpu
        stages_ms = peer.staged_ms(request.get("staged", 0))
        say(samples_ms=samples_ms, wall_s=wall_s, cpu_s=cpu_s, stages_ms=stages_ms, peak_mib=peak_mib())
    return 0


class Peer:
    """`YOLO(model).predict`, as its documentation has it, with the threads fixed."""

    def __init__(self, model: str, source: str | None, threads: int) -> None:
        self._source = source
        _fix_threads(threads)
        import torch  # noqa: PLC0415 - after what they read from the environment is set
        import ultralytics  # noqa: PLC0415

        torch.set_num_threads(threads)
        self.version = ultralytics.__version__
        self._yolo = ultralytics.YOLO(model, task="detect")
        self._results: Iterator[Any] = iter(())
        self._last: Any = None

    def first(self) -> None:
        """Find what is in the first frame."""
        self._next_ms()

    def samples_ms(self, count: int) -> list[float]:
        """Whole frames of a source; of noise, the model alone."""
        samples: list[float] = []
        while len(samples) < count:
            taken_ms = self._next_ms()
            if self._source is None:
                samples.append(self._last.speed["inference"])
            elif taken_ms is not None:
                samples.append(taken_ms)
        return samples

    def staged_ms(self, count: int) -> dict[str, list[float]]:
        """By stage, of `count` frames; what is left of a frame's time is its decode, and whatever else `predict` does around."""
        taken: dict[str, list[float]] = {stage: [] for stage in ("decode", *STAGES)}
        while len(taken["decode"]) < count:
            frame_ms = self._next_ms()
            if frame_ms is None:
                continue
            stages = {ours: self._last.speed[theirs] for ours, theirs in STAGES.items()}
            taken["decode"].append(max(frame_ms - sum(stages.values()), 0.0))
            for stage, ms in stages.items():
                taken[stage].append(ms)
        return taken

    def _next_ms(self) -> float | None:
        """The next result as `_last`; None of a first one, which holds the opening of the source."""
        before = time.perf_counter()
        try:
            self._last = next(self._results)
        except StopIteration:
            self._results = iter(self._predict())
            self._last = next(self._results)
            return None
        return ms_since(before)

    def _predict(self) -> Iterable[Any]:
        options = {"device": "cpu", "verbose": False, "save": False}
        if self._source is not None:
            found: Iterable[Any] = self._yolo.predict(source=self._source, stream=True, **options)
            return found
        import numpy as np  # noqa: PLC0415

        noise = np.random.default_rng(0).integers(0, 256, (640, 640, 3), np.uint8)
        return (self._yolo.predict(source=noise, **options)[0] for _ in range(1 << 30))


def _fix_threads(threads: int) -> None:
    """Ultralytics opens ONNX Runtime with all cores and has no option for it; a comparison needs the same number for everyone."""
    import onnxruntime  # noqa: PLC0415

    session = onnxruntime.InferenceSession

    def with_threads(path: Any, sess_options: Any = None, *rest: Any, **named: Any) -> Any:
        settings = sess_options or onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        return session(path, settings, *rest, **named)

    onnxruntime.InferenceSession = with_threads


def ms_since(before_s: float) -> float:
    """Milliseconds since a reading of `time.perf_counter`."""
    return (time.perf_counter() - before_s) * 1e3


def peak_mib() -> float:
    """The most this process ever held."""
    status = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM:"))


if __name__ == "__main__":
    sys.exit(main())
