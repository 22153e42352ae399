"""How many bytes are written a day, and what is spared when they are too many: SD cards wear.

Counted is what our outputs say that they write, recorders in their processes included, and what the kernel says of this process's threads
(`write_bytes` less `cancelled_write_bytes`, which has whole pages); the larger one counts. The day is the last 24 hours. At the limit
(100 %) answers and recordings are no longer written. Events are written until 110 %; from there on they wait in their outputs' spools,
which are bounded themselves, so that nothing that was accepted is lost to sparing a card.

The threads are asked one by one, for /proc/self/io would add what children had written, all at once when they end (`wait_task_zombie` in
the kernel): weeks of films in the hour in which a recorder ends, each of which it had told of when it was written.

What was counted outlives a restart in a small file, written every 15 minutes; a kill forgets those, and no more.
"""

import json
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
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
COUNTERS: Final = Path("/proc/self/task")  # proc(5)


class Wear:
    """The count of one service, kept in `path`. Any thread may call any of it."""

    def __init__(self, path: Path, bytes_a_day: int, clock: Clock, *, counters: Path = COUNTERS) -> None:
        self._path, self._counters, self._clock = path, counters, clock
        self.bytes_a_day = bytes_a_day
        self._lock = threading.Lock()
        self._hours = _load(path)
        self._ours = 0  # since the kernel was last looked at
        self._threads = _written(counters, {})
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
        before, self._threads = self._threads, _written(self._counters, self._threads)
        since = sum(count - before.get(thread, 0) for thread, count in self._threads.items())
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


def _written(counters: Path, before: Mapping[str, int]) -> dict[str, int]:
    """What each thread of this process has had written to disks, in bytes; as `before` where the kernel does not say now.

    What a thread wrote between the last look and its end is missed. Ours live as long as the service, and tell of what they write.
    """
    try:
        threads = os.listdir(counters)  # noqa: PTH208 - a Path interns its parts, and so the name of every thread that ever was
    except OSError:
        return dict(before)
    found = {thread: before[thread] for thread in threads if thread in before}
    for thread in threads:
        with suppress(OSError, ValueError, LookupError), open(f"{counters}/{thread}/io", encoding="ascii") as file:  # noqa: PTH123 - as above
            lines = dict(line.split(": ", 1) for line in file)
            found[thread] = int(lines["write_bytes"]) - int(lines["cancelled_write_bytes"])
    return found


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
