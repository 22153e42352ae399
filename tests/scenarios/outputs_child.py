"""A service's outputs alone, in a process that a test kills: `STATE PORT FIRST COUNT PAUSE_S`; says each event's number once it is kept.

Port 0: nobody listens. Without an end it goes on until it is killed.
"""

import sys
import time
from pathlib import Path

from edgewright.clock import SystemClock
from edgewright.run.outlets import open_outlets
from edgewright.run.records import Event
from edgewright.run.secrets import Address
from edgewright.run.settings import ServiceSettings, SpoolSettings, StoreOutput, WebhookOutput

state, port, first, count, pause_s = Path(sys.argv[1]), *map(int, sys.argv[2:5]), float(sys.argv[5])
outputs = (
    WebhookOutput("hook", url=Address(f"http://127.0.0.1:{port or 9}/"), batch=20, timeout_s=2.0, spool=SpoolSettings(8 << 20)),
    StoreOutput("store"),
)
outlets = open_outlets(ServiceSettings((), (), outputs=outputs, state=state), state, SystemClock())
for number in range(first, first + count):
    outlets.offer(Event(f"e{number:06}", time.time(), "rule", "r", "t" * 200))
    time.sleep(pause_s)
    spools = [outlet.spool for _, outlet in outlets._routed]
    while any(len(spool._pending) for spool in spools) or any(outlet._room for _, outlet in outlets._routed):
        time.sleep(0.001)  # accepted is what is in the spool
    print(number, flush=True)
waits = time.monotonic() + 20
while any(each.waiting_records for each in outlets.states()) and time.monotonic() < waits and port:
    time.sleep(0.01)
outlets.close(5.0)
