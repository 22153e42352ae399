"""A budget in bytes, and whether a model still fits: asked before it is loaded, of what it was measured to take.

Only processes that end give memory back for certain (field figures: docs/decisions/0022), so a model's memory is that of its worker. What a
worker holds between two frames is *resident* (PSS: pages shared with others count by share), what a frame takes on top is *transient*. All
residents are held at once; workers compute at once as well, so their transients add up too.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgewright.board.sensors import Sensors
from edgewright.errors import HostError

MIB = 1 << 20
DEFAULT_SHARE = 0.8  # of what is available when the service starts
ALARM_SHARE = 0.9  # of the budget; and where the governor gives up the first thing (`govern.pressure`)
CALM_SHARE = 0.85  # and the alarm is over
MOST_BYTES = 1 << 50
UNKNOWN_BYTES = 1 << 30  # a machine that does not say what it has is taken for a small one


@dataclass(frozen=True, slots=True)
class Footprint:
    """What one worker takes, measured once its model had run."""

    resident_bytes: int
    transient_bytes: int

    @property
    def total_bytes(self) -> int:
        return self.resident_bytes + self.transient_bytes

    def to_json(self) -> dict[str, int]:
        return {"resident_bytes": self.resident_bytes, "transient_bytes": self.transient_bytes}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Footprint":
        """Raises ValueError: these are no bytes."""
        values = [fields.get("resident_bytes"), fields.get("transient_bytes")]
        if not all(isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST_BYTES for value in values):
            raise ValueError(f"{values} are no bytes")
        return cls(values[0], values[1])  # type: ignore[arg-type]


@dataclass(slots=True)
class MemoryBudget:
    """What may be taken, and what has been promised to whom."""

    total_bytes: int
    _promised: dict[str, int] = field(default_factory=dict)

    @property
    def promised_bytes(self) -> int:
        return sum(self._promised.values())

    @property
    def room_bytes(self) -> int:
        return max(0, self.total_bytes - self.promised_bytes)

    @property
    def promises(self) -> Mapping[str, int]:
        return dict(self._promised)

    def admit(self, name: str, needed_bytes: int, what: str) -> None:
        """Promise so many bytes to `name`, in place of what it was promised before.

        Raises:
            HostError: there is not so much left; nothing has changed.
        """
        others = self.promised_bytes - self._promised.get(name, 0)
        if others + needed_bytes > self.total_bytes:
            raise HostError(
                f"{what} does not fit into the memory budget",
                got=f"{needed_bytes / MIB:.0f} MiB for it, {others / MIB:.0f} MiB promised to others",
                expected=f"at most {self.total_bytes / MIB:.0f} MiB together",
                fix="raise `memory`, or run fewer or smaller models",
            )
        self._promised[name] = needed_bytes

    def keep(self, name: str, kept_bytes: int) -> None:
        """It holds no more than this of what it was promised."""
        if kept_bytes:
            self._promised[name] = min(kept_bytes, self._promised.get(name, 0))
        else:
            self.release(name)

    def release(self, name: str) -> None:
        """It is gone, and its memory with it."""
        self._promised.pop(name, None)


@dataclass(slots=True)
class Alarm:
    """On above 90 % of the budget, off below 85 %: between the two it stays as it is."""

    is_on: bool = False

    def look(self, used_bytes: int, total_bytes: int) -> bool | None:
        """True or False where it has just gone on or off; None where nothing changed."""
        share = used_bytes / total_bytes
        wanted = share >= ALARM_SHARE if not self.is_on else share >= CALM_SHARE
        if wanted == self.is_on:
            return None
        self.is_on = wanted
        return wanted


def footprint_of_self() -> Footprint:
    """Of this process, which holds one model that has run: PSS now, and how much higher its peak was."""
    resident = pss_bytes(os.getpid()) or 0
    status = _fields("/proc/self/status")
    return Footprint(resident, max(0, status.get("VmHWM", 0) - status.get("VmRSS", 0)))


def pss_bytes(pid: int, root: Path = Path("/")) -> int | None:
    """The process's memory, pages it shares counted by share; RSS where the kernel tells no PSS, None where there is no such process."""
    for name, key in (("smaps_rollup", "Pss"), ("status", "VmRSS")):
        # Not a Path: those intern their parts, and the interpreter's table of interned words grows with every process that ever was.
        if (found := _fields(f"{root}/proc/{pid}/{name}").get(key)) is not None:
            return found
    return None


def available_bytes(root: Path = Path("/")) -> int:
    """What can be had now: MemAvailable, or less where a control group limits this process; `UNKNOWN_BYTES` where nobody says."""
    with Sensors(root) as sensors:
        reading = sensors.read()
    machine = None if reading.memory is None else reading.memory.available_bytes
    group = None if reading.control_group is None else reading.control_group.memory_left_bytes
    return min((left for left in (machine, group) if left is not None), default=UNKNOWN_BYTES)


def _fields(path: str) -> dict[str, int]:
    """`Name:  123 kB` lines, in bytes."""
    found = {}
    for line in _text(path).splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB" and words[0].isdecimal():
            found[name] = int(words[0]) * 1024
    return found


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - as said above
            return file.read(1 << 16)
    except OSError:
        return ""
