"""A real server in a process of its own, whose memory and time are nobody else's: `serving_process(models)` for tests that measure it.

with serving_process({"tiny": path}, header_s=5) as serving:
    serving.port; serving.ask()["memory_bytes"]
"""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgewright.run.memory import pss_bytes
from model_server import READY_S, served


@dataclass
class Serving:
    """The process from outside."""

    process: "subprocess.Popen[str]"
    port: int

    def ask(self):
        """What it says of itself now."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@contextmanager
def serving_process(models, **http):
    """Ready, and ended afterwards; `http`: of HttpSettings."""
    told = json.dumps({"models": {name: str(path) for name, path in models.items()}, "http": http})
    # From tests/, as pytest puts it onto the path.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, __file__, told]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            line = process.stdout.readline()
            assert line, "the server does not start"
            yield Serving(process, json.loads(line)["port"])
        finally:
            process.stdin.close()
            process.stdout.read()
            process.wait(READY_S)


def main():
    """Serve until standard input ends; a line there is answered with figures."""
    told, said = json.loads(sys.argv[1]), []
    models = {name: Path(path) for name, path in told["models"].items()}
    with served(models, said=said, **told["http"]) as server:
        print(json.dumps({"port": server.port}), flush=True)
        workers, gate = server._server.dataplane.host.workers, server._server._gate
        for _ in sys.stdin:
            time.sleep(0.2)  # what was answered last is let go of
            memory = {name: pss_bytes(worker.pid) for name, worker in workers.items()}
            restarts = {name: worker.restarts for name, worker in workers.items()}
            figures = {"memory_bytes": {"server": pss_bytes(os.getpid()), **memory}, "restarts": restarts, "said": said}
            held = {"held_bytes": gate.held_bytes, "at_once": gate.at_once, "connections": server._server.figures.connections}
            print(json.dumps(figures | held), flush=True)


if __name__ == "__main__":
    main()
