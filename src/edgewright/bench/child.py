"""The measured process: opens one model, then runs it as often as it is told.

    python -m edgewright.bench.child MODEL --engine onnxruntime --threads 1 --precision float32

It speaks JSON lines: first what loading cost, then an answer to each {"runs": n} on standard input, until that closes. It
imports the engine and numpy and nothing else, so that its memory is the model's.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgewright.bench.speech import ms_since, peak_mib, say
from edgewright.engines import open_engine
from edgewright.engines.noise import invent
from edgewright.errors import EdgewrightError


def main() -> int:
    """Serve measurements until standard input closes; the error of a model that does not run is the first line instead."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--precision", required=True)
    options = parser.parse_args()
    try:
        before = time.perf_counter()
        engine = open_engine(options.engine, options.model, threads=options.threads, precision=options.precision)
        load_ms = ms_since(before)
        feeds = {spec.name: invent(spec) for spec in engine.describe().inputs}
        before = time.perf_counter()
        engine.run(feeds)
        first_ms = ms_since(before)
        described = engine.describe()
        say(load_ms=load_ms, first_ms=first_ms, version=described.version, computes_in=described.precision, peak_mib=peak_mib())
    except EdgewrightError as error:
        say(error=str(error))
        return error.exit_code
    for line in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        samples_ms = [_timed_run(engine, feeds) for _ in range(json.loads(line)["runs"])]
        say(samples_ms=samples_ms, wall_s=time.perf_counter() - wall, cpu_s=time.process_time() - cpu, peak_mib=peak_mib())
    return 0


def _timed_run(engine: Any, feeds: dict[str, NDArray[Any]]) -> float:
    before = time.perf_counter()
    engine.run(feeds)
    return ms_since(before)


if __name__ == "__main__":
    sys.exit(main())
