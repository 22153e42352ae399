"""Outputs on a small disk of their own (`FOLDER KIB`) that fills up and is freed again; says what became of every record."""

import itertools
import json
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from edgewright.clock import SystemClock
from edgewright.run.letter import letter_of
from edgewright.run.outlet import Outlet
from edgewright.run.records import Event
from edgewright.run.sinks.base import UndeliveredError
from edgewright.run.spool import Spool

folder = Path(sys.argv[1])


class Door:
    """A sink that takes nothing until it is opened."""

    on_disk, gather_s, most_records = False, 0.0, 100

    def __init__(self):
        self.is_open, self.arrived = False, []

    def deliver(self, letters):
        if not self.is_open:
            raise UndeliveredError("away")
        self.arrived += [letter.id for letter in letters]

    def close(self):
        pass


class Everything:
    spares_answers = spares_events = False


clock, door, told, numbers = SystemClock(), Door(), [], itertools.count()
outlet = Outlet(
    "out",
    door,
    Spool(folder / "spool", 64 << 20),
    clock=clock,
    sparing=Everything(),
    tell=lambda name, severity, text, data: told.append(text),
)


def offer(count):
    for number in itertools.islice(numbers, count):
        outlet.offer(letter_of(Event(f"e{number:06}", time.time(), "rule", "r", "t" * 500)))
        outlet.keep(clock.monotonic_s())


offer(50)
before = asdict(outlet.state())
with (folder / "filler").open("wb", buffering=0) as filler, suppress(OSError):
    while filler.write(b"x" * 4096):
        pass
offer(3000)
full = asdict(outlet.state())
(folder / "filler").unlink()
killed = Spool(folder / "spool", 64 << 20).state()  # what a kill would leave now
assert killed.records >= 50
assert killed.damaged == 0
time.sleep(2.1)  # until the disk is asked again
outlet.keep(clock.monotonic_s())
door.is_open = True
while outlet.state().waiting_records:
    outlet.advance(clock.monotonic_s(), hurry=True)
offer(10)
outlet.close(5.0)
print(
    json.dumps(
        {
            "before": before,
            "full": full,
            "offered_when_full": 3000,
            "after": asdict(outlet.state()),
            "offered": 3060,
            "arrived": door.arrived,
            "told": told,
        }
    )
)
