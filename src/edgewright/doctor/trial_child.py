"""The child that tries a model under a limit: it opens it, runs it, and says what each step took.

    python -P -m edgewright.doctor.trial_child MODEL --engine onnxruntime --threads 4 --precision float32 --runs 3

A line of JSON for each step it has survived, so that whoever reads knows at which it died: {"at": "started" | "opened" | "ran", ...}
in bytes. It imports the engine and numpy and nothing else, so that its memory is the model's.
"""

import argparse
import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.engines import open_engine
from edgewright.engines.base import TensorSpec, engine_module
from edgewright.engines.noise import noise_shape
from edgewright.errors import EdgewrightError

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
GREY = {"uint8": 114}  # what a letterbox is filled with


def main() -> int:
    """Try it once; 0 whatever comes of it, which is in what was said."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--precision", required=True)
    parser.add_argument("--runs", type=int, required=True)
    options = parser.parse_args()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        engine_module(options.engine).version()  # its libraries are not the model's
        _say("started")
        engine = open_engine(options.engine, options.model, threads=options.threads, precision=options.precision)
        feeds = {spec.name: _grey(spec) for spec in engine.describe().inputs}
        _say("opened", fed_bytes=sum(feed.nbytes for feed in feeds.values()))
        for _ in range(options.runs):
            began_s = time.perf_counter()
            engine.run(feeds)
            _say("ran", ms=1000 * (time.perf_counter() - began_s))
    except (EdgewrightError, MemoryError) as error:
        _write({"at": "failed", "said": str(error) or "MemoryError", "memory": isinstance(error, MemoryError)})
    return 0


def _grey(spec: TensorSpec) -> Any:
    """A picture of one colour: written once, with nothing beside it that a service would not hold either."""
    return np.full(noise_shape(spec), GREY.get(spec.dtype, 0.5), spec.dtype)


def _say(at: str, **more: Any) -> None:
    fields = _status()
    rolled = _pss()
    _write(
        {"at": at, "rss": fields["VmRSS"], "peak": fields["VmHWM"], "anon": fields.get("RssAnon", fields["VmRSS"]), "pss": rolled, **more}
    )


def _write(message: dict[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


def _status() -> dict[str, int]:
    """proc(5), /proc/pid/status: bytes."""
    lines = (line.split() for line in Path("/proc/self/status").read_text("ascii", errors="replace").splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) == 3 and words[2] == "kB"}


def _pss() -> int | None:
    try:
        text = Path("/proc/self/smaps_rollup").read_text("ascii")
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:")), None)


if __name__ == "__main__":
    sys.exit(main())
