"""A service that loads and unloads a second model again and again, and says what it takes: `model_loader.py MODEL CLIP STATE CYCLES`.

A line of JSON on standard output after every cycle: {"pss": bytes, "own": bytes, "fds": count, "children": count}. `own`: pages that are no
file's, which nobody else can make smaller or larger.
"""

import json
import os
import sys
from pathlib import Path

from edgewright.clock import SystemClock
from edgewright.run.footprints import RememberedFootprints
from edgewright.run.records import Answer, Record
from edgewright.run.secrets import Address
from edgewright.run.service import Footprints, Service
from edgewright.run.settings import CameraSettings, ModelSettings, ServiceSettings

ANSWERS = 3  # of the second model, before it goes


class Counter:
    def __init__(self) -> None:
        self.answers: dict[str, int] = {}

    def offer(self, record: Record) -> None:
        if isinstance(record, Answer):
            self.answers[record.model] = self.answers.get(record.model, 0) + 1


def cycle(service: Service, counter: Counter, model: ModelSettings) -> None:
    counter.answers.clear()
    service.load(model)
    while counter.answers.get(model.name, 0) < ANSWERS:
        service.turn()
    service.unload(model.name)
    while not counter.answers.get("stays"):
        service.turn()


def taken() -> dict[str, int]:
    fields = {}
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        fields[name] = int(rest.split()[0]) * 1024
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {"pss": fields["Pss"], "own": fields["Anonymous"], "fds": len(list(Path("/proc/self/fd").iterdir())), "children": len(children)}


def main() -> None:
    model, clip, state, cycles = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    state.mkdir()
    settings = ServiceSettings(
        models=(ModelSettings("stays", model, threads=1),),
        cameras=(CameraSettings("live", Address(clip), live=True, loop=True),),
        state=state,
    )
    counter, kept = Counter(), RememberedFootprints(state)
    service = Service(settings, clock=SystemClock(), takers=[counter], footprints=Footprints(kept.recall, kept.remember))
    try:
        service.start()
        for _ in range(cycles):
            cycle(service, counter, ModelSettings("comes", model, threads=1))
            sys.stdout.write(json.dumps(taken()) + "\n")
            sys.stdout.flush()
    finally:
        service.end()


if __name__ == "__main__":
    main()
