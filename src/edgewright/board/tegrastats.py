"""A line of NVIDIA's `tegrastats`, read: for logs, and for boards where only root sees the files it reads.

    RAM 3162/7620MB (lfb 8x4MB) SWAP 0/3810MB (cached 0MB) CPU [1%@1510,off] EMC_FREQ 3%@2133 GR3D_FREQ 0%@[305] cpu@50.031C
    tj@50.031C VDD_IN 4952mW/4952mW VDD_SOC 1544mW/1544mW

(Jetson Linux Developer Guide, "tegrastats Utility", whose fields differ from release to release: power with or without mW, GR3D's clock as
`@76`, `@[114]` or `@[1300,1300]`.) What a line does not say is None; a line of anything else says nothing.
"""

import re
from dataclasses import dataclass

from edgewright.board.gpu import Engine
from edgewright.board.thermal import COLDEST_C, HOTTEST_C, Temperature

MOST_CHARACTERS = 4096
MOST_ITEMS = 64
MIB = 1 << 20
MOST_MILLIWATTS = 200_000
RAM = re.compile(r"\bRAM (\d{1,7})/(\d{1,7})MB", re.ASCII)
SWAP = re.compile(r"\bSWAP (\d{1,7})/(\d{1,7})MB", re.ASCII)
CORES = re.compile(r"\bCPU \[([^\]]{0,1000})\]", re.ASCII)
CORE = re.compile(r"(\d{1,3})%@(\d{1,5})", re.ASCII)
BUSY = r"\b{} (\d{{1,3}})%(?:@\[?(\d{{1,5}}))?"
GPU, EMC = (re.compile(BUSY.format(name), re.ASCII) for name in ("GR3D_FREQ", "EMC_FREQ"))
ZONE = re.compile(r"\b([A-Za-z][\w-]{0,30})@(-?\d{1,4}(?:\.\d{1,4})?)C\b", re.ASCII)
POWER = re.compile(
    r"\b((?:VDD|VIN|POM|VDDQ|CPU|GPU|SOC|CV|SYS5V|DDR)_?[A-Z0-9_]{0,30}) (\d{1,7})(?:mW)?/(\d{1,7})(?:mW)?(?=\s|$)", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Power:
    """A rail's, now and on average since tegrastats was started, watts."""

    name: str
    watts: float
    average_watts: float


@dataclass(frozen=True, slots=True)
class TegraLine:
    """What a line says. `core_loads`: 0..1 of each core, None of one that is off."""

    ram_used_bytes: int | None
    ram_total_bytes: int | None
    swap_used_bytes: int | None
    swap_total_bytes: int | None
    core_loads: tuple[float | None, ...]
    gpu: Engine | None
    emc: Engine | None
    zones: tuple[Temperature, ...]
    power: tuple[Power, ...]


def read_line(line: str) -> TegraLine:
    """Never raises; of a longer line, the first 4096 characters count."""
    line = line[:MOST_CHARACTERS]
    ram, swap = (_sizes(pattern, line) for pattern in (RAM, SWAP))
    zones = ((name, float(temp_c)) for name, temp_c in ZONE.findall(line)[:MOST_ITEMS])
    return TegraLine(
        *ram,
        *swap,
        core_loads=_core_loads(line),
        gpu=_engine(GPU, line),
        emc=_engine(EMC, line),
        # What has no power is said to have -256 degrees.
        zones=tuple(Temperature(name, temp_c if COLDEST_C <= temp_c <= HOTTEST_C else None) for name, temp_c in zones),
        power=tuple(
            Power(name, int(now) / 1000, int(average) / 1000)
            for name, now, average in POWER.findall(line)[:MOST_ITEMS]
            if int(now) <= MOST_MILLIWATTS
        ),
    )


def _sizes(pattern: re.Pattern[str], line: str) -> tuple[int | None, int | None]:
    found = pattern.search(line)
    return (int(found[1]) * MIB, int(found[2]) * MIB) if found and int(found[1]) <= int(found[2]) else (None, None)


def _core_loads(line: str) -> tuple[float | None, ...]:
    found = CORES.search(line)
    cores = found[1].split(",")[:MOST_ITEMS] if found else []
    return tuple(min(int(core[1]) / 100, 1.0) if (core := CORE.fullmatch(text.strip())) else None for text in cores)


def _engine(pattern: re.Pattern[str], line: str) -> Engine | None:
    found = pattern.search(line)
    return None if found is None else Engine(min(int(found[1]) / 100, 1.0), float(found[2]) if found[2] else None)
