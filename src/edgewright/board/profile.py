"""The machine we are on, read from the files the kernel keeps, under a root that a test can replace."""

import os
import platform
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# The instruction sets that decide which integer scheme is fast, by the flag the kernel prints (x86: flags, Arm: Features).
ISA_FLAGS = {
    "avx2": "avx2",
    "avx512f": "avx512f",
    "avx512_vnni": "vnni",
    "avx_vnni": "vnni",
    "avx512_bf16": "bf16",
    "amx_int8": "amx_int8",
    "asimd": "neon",
    "asimddp": "dotprod",
    "i8mm": "i8mm",
    "fphp": "fp16",
    "bf16": "bf16",
}


@dataclass(frozen=True, slots=True)
class Board:
    """A device: its processor, how many cores we may use, instruction sets, memory. Unknown is None."""

    machine: str
    cpu: str | None
    cores: int
    isa: frozenset[str]
    memory_mib: int | None

    @classmethod
    def detect(cls, root: Path = Path("/")) -> "Board":
        """This machine, from `root`/proc."""
        cpuinfo = _read(root / "proc/cpuinfo")
        return cls(platform.machine(), _cpu_name(root, cpuinfo), usable_cores(), _isa(cpuinfo), _memory_mib(root))

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "isa": sorted(self.isa), "os": platform.platform(), "python": sys.version.split()[0]}


def usable_cores() -> int:
    """The cores this process may run on, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_name(root: Path, cpuinfo: str) -> str | None:
    named = _field(cpuinfo, "model name") or _field(cpuinfo, "Model")
    # Arm boards say who they are in the device tree.
    return named or _read(root / "proc/device-tree/model").rstrip("\0").strip() or None


def _isa(cpuinfo: str) -> frozenset[str]:
    words = (_field(cpuinfo, "flags") or _field(cpuinfo, "Features") or "").split()
    return frozenset(ISA_FLAGS[word] for word in words if word in ISA_FLAGS)


def _memory_mib(root: Path) -> int | None:
    total = _field(_read(root / "proc/meminfo"), "MemTotal")
    return int(total.split()[0]) // 1024 if total else None


def _field(text: str, key: str) -> str | None:
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip() == key:
            return value.strip()
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""
