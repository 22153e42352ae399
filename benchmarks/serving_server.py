"""The server of benchmarks/serving.py: one model, called `model`, until standard input ends.

serving_server.py MODEL THREADS MOST_TOGETHER        says its port and processes; a line on standard input: what it has learned
"""

import json
import os
import sys
import time
from pathlib import Path

from edgewright.clock import SystemClock
from edgewright.serve.dataplane import DataPlane
from edgewright.serve.http import serve_http
from edgewright.serve.http_settings import HttpSettings
from edgewright.serve.model_host import ModelHost
from edgewright.serve.model_settings import HostSettings


def main() -> None:
    """Serve."""
    model, threads, most = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    clock = SystemClock()
    host = ModelHost(HostSettings({"model": model}, threads=threads, most_together=most), clock=clock)
    plane = DataPlane(host, clock=clock)
    with serve_http(plane, HttpSettings(port=0, idle_s=3600)) as server:
        while not plane.is_ready():
            time.sleep(0.05)
        worker = host.workers["model"]
        print(json.dumps({"port": server.port, "pid": os.getpid(), "model_pid": worker.pid}), flush=True)
        for _ in sys.stdin:
            shares, alone_ms = {}, None
            for _, policy in worker.line.policies():
                shares |= {str(size): round(share, 3) for size, share in policy.shares.items()}
                alone_ms = None if policy.alone_s is None else round(policy.alone_s * 1e3, 3)
            figures = worker.figures
            counts = {"success": figures.success, "executions": figures.executions, "trials": figures.trials}
            print(json.dumps({**counts, "shares": shares, "alone_ms": alone_ms, "apart_why": worker.line.apart_why}), flush=True)


if __name__ == "__main__":
    main()
