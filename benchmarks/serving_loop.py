"""The engine alone, for benchmarks/serving.py: called in a loop, as a program without a server would.

serving_loop.py MODEL FOLDER THREADS        {"count": n} on standard input, seconds on standard output
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from edgewright.engines import open_engine


def main() -> None:
    """Run as often as it is told."""
    engine = open_engine("onnxruntime", Path(sys.argv[1]), threads=int(sys.argv[3]))
    (spec,) = engine.describe().inputs
    tensors = [np.load(path) for path in sorted(Path(sys.argv[2]).glob("*.npy"))]
    for line in sys.stdin:
        began_s = time.monotonic()
        for number in range(json.loads(line)["count"]):
            engine.run({spec.name: tensors[number % len(tensors)]})
        print(json.dumps({"seconds": time.monotonic() - began_s}), flush=True)


if __name__ == "__main__":
    main()
