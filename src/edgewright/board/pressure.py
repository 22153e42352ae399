"""Pressure stall information: which share of the time work stood still for want of memory, processor or disk.

/proc/pressure/{memory,cpu,io} (kernel, Documentation/accounting/psi.rst). `some`: at least one task waited; `full`: all of them did, and
nothing got done. Raspberry Pi OS has it compiled in and turned off: then the files are not there, or refuse to be read, until psi=1 stands
in cmdline.txt.
"""

import re
from dataclasses import dataclass

from edgewright.board.kernel_files import Look

FOLDER = "proc/pressure"
LINE = re.compile(
    r"^(some|full) avg10=(\d{1,3}\.\d{1,4}) avg60=(\d{1,3}\.\d{1,4}) avg300=(\d{1,3}\.\d{1,4}) total=(\d{1,20})", re.ASCII | re.MULTILINE
)
MOST_PERCENT = 100.0


@dataclass(frozen=True, slots=True)
class Stall:
    """Share of the time, percent, over the last 10 and 60 seconds; and since the start, microseconds."""

    avg10_percent: float
    avg60_percent: float
    total_us: int


@dataclass(frozen=True, slots=True)
class Stalls:
    """Of one resource."""

    some: Stall | None
    full: Stall | None


@dataclass(frozen=True, slots=True)
class Pressure:
    """What the kernel says of each; None where it does not."""

    memory: Stalls | None
    cpu: Stalls | None
    io: Stalls | None


def read_pressure(look: Look) -> Pressure | None:
    """None where the kernel has none, or has it turned off."""
    memory, cpu, io = (_stalls(look, f"{FOLDER}/{name}") for name in ("memory", "cpu", "io"))
    return None if memory is None and cpu is None and io is None else Pressure(memory, cpu, io)


def _stalls(look: Look, path: str) -> Stalls | None:
    text = look.text(path)
    if text is None:
        return None
    found = {kind: (float(avg10), float(avg60), int(total)) for kind, avg10, avg60, _, total in LINE.findall(text)}
    sound = {kind: Stall(*said) for kind, said in found.items() if max(said[:2]) <= MOST_PERCENT}
    if not sound or len(sound) < len(found):
        look.doubt(path, text)
    return Stalls(sound.get("some"), sound.get("full")) if sound else None
