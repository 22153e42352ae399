"""What every measured child of ours says, and about itself."""

import json
import sys
import time
from pathlib import Path
from typing import Any


def say(**message: Any) -> None:
    """One line of JSON on standard output."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def ms_since(before_s: float) -> float:
    """Milliseconds since a reading of `time.perf_counter`."""
    return (time.perf_counter() - before_s) * 1e3


def peak_mib() -> float:
    """The most this process ever held. Not ru_maxrss: that one starts at the parent's size, across fork and exec (getrusage(2), BUGS)."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0
