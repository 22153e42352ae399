"""How many bytes are written a day, and what is spared when they are too many: SD cards wear.

Counted is what our outputs say that they write, and what the kernel says of this process (`write_bytes` less `cancelled_write_bytes` of
/proc/self/io, which has whole pages, and those of children that have ended); the larger one counts. The day is the last 24 hours. At the
limit (100 %) answers and recordings are no longer written. Events are written until 110 %; from there on they wait in their outputs'
spools, which are bounded themselves, so that nothing that was accepted is lost to sparing a card.

What was counted outlives a restart in a small file, written every 15 minutes; a kill forgets those, and no more.
"""

import json
import threading
from pathlib import Path
from typing import Any, Final

from edgewright.clock import Clock
from edgewright.errors import DiskError
from edgewright.whole_file import is_own_file, write_whole

EVENTS_SHARE = 1.1
HOURS = 24
HOUR_S = 3600.0
SAVE_EVERY_S = 900.0
LOOK_EVERY_S = 10.0  # at the kernel's count
MOST_FILE_BYTES = 10_000
MOST_BYTES = 1 << 60
COUNTERS: Final = Path("/proc/self/io")  # proc(5)


class Wear:
    """The count of one service, kept in `path`. Any thread may call any of it."""

    def __init__(self, path: Path, bytes_a_day: int, clock: Clock, *, counters: Path = COUNTERS) -> None:
        self._path, self._counters, self._clock = path, counters, clock
        self.bytes_a_day = bytes_a_day
        self._lock = threading.Lock()
        self._hours = _load(path)
        self._ours = 0  # since the kernel was last looked at
        self._kernel = _written(counters)
        self._looked_s = self._saved_s = clock.monotonic_s()

    def wrote(self, count: int) -> None:
        """An output has written so many bytes."""
        with self._lock:
            self._ours += count

    @property
    def day_bytes(self) -> int:
        """Written in the last 24 hours."""
        with self._lock:
            return self._day_bytes() + self._ours

    @property
    def spares_answers(self) -> bool:
        """Whether answers and recordings are not to be written now."""
        return self.day_bytes >= self.bytes_a_day

    @property
    def spares_events(self) -> bool:
        """Whether events are to wait."""
        return self.day_bytes >= self.bytes_a_day * EVENTS_SHARE

    def look(self) -> None:
        """Every now and then: the kernel's count, and the file."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            if now_s - self._looked_s < LOOK_EVERY_S:
                return
            self._looked_s = now_s
            self._settle()
            if now_s - self._saved_s < SAVE_EVERY_S:
                return
            self._saved_s = now_s
        self.save()

    def save(self) -> None:
        """What was counted, in the file; where that cannot be written, the next run begins with less."""
        with self._lock:
            self._settle()
            hours = dict(self._hours)
        try:
            write_whole(self._path, json.dumps({"schema": 1, "hours": hours}).encode(), sync=False)
        except DiskError:
            return
        self.wrote(4096)

    def _settle(self) -> None:
        """What was written since the last look goes to this hour."""
        kernel = _written(self._counters)
        since = 0 if kernel is None or self._kernel is None else max(kernel - self._kernel, 0)
        self._kernel = kernel
        hour = self._hour()
        # A clock that was set back: what is in its future was written just now.
        late = sum(count for each, count in self._hours.items() if each > hour)
        self._hours = {each: count for each, count in self._hours.items() if hour - HOURS < each <= hour}
        self._hours[hour] = self._hours.get(hour, 0) + late + max(since, self._ours)
        self._ours = 0

    def _day_bytes(self) -> int:
        hour = self._hour()
        return sum(count for each, count in self._hours.items() if each > hour - HOURS)

    def _hour(self) -> int:
        return int(self._clock.wall_s() // HOUR_S)


def _written(counters: Path) -> int | None:
    """What this process has had written to disks, in bytes; nothing where the kernel does not say."""
    try:
        lines = dict(line.split(": ", 1) for line in counters.read_text("ascii").splitlines())
        return max(int(lines["write_bytes"]) - int(lines["cancelled_write_bytes"]), 0)
    except (OSError, ValueError, LookupError):
        return None


def _load(path: Path) -> dict[int, int]:
    """What an earlier run counted; nothing if that is not as we write it."""
    try:
        if not is_own_file(path) or path.stat().st_size > MOST_FILE_BYTES:
            return {}
        found: Any = json.loads(path.read_bytes())
        hours = {int(hour): count for hour, count in found["hours"].items()}
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return {}
    return {hour: count for hour, count in hours.items() if isinstance(count, int) and 0 <= count < MOST_BYTES}
