"""Memory: what is left, what is swapped, what the compressed swap takes, what only devices may have; and the disk.

/proc/meminfo (kernel, Documentation/filesystems/proc.rst): MemAvailable is the kernel's estimate of what new programs can get without
swapping. /sys/block/zram*/mm_stat (Documentation/admin-guide/blockdev/zram.rst): pages swapped to zram stay in memory, compressed;
mem_used_total is what they and their keeping take. CMA is what cameras and codecs of a Pi allocate from.
"""

import os
import re
from dataclasses import dataclass

from edgewright.board.kernel_files import KernelFiles, Look

MEMINFO = "proc/meminfo"
MOST_BYTES = 16 << 10
MOST_KIB = 1 << 44
MOST_ZRAM = 8
LINE = re.compile(
    r"^(MemTotal|MemFree|MemAvailable|SwapTotal|SwapFree|CmaTotal|CmaFree):[ \t]*(\S{1,24})(?: kB)?[ \t]*$", re.ASCII | re.MULTILINE
)
SIZE = re.compile(r"[0-9]{1,14}", re.ASCII)
BLOCK = "sys/block"
FEWEST_COLUMNS = 7  # orig_data_size, compr_data_size, mem_used_total, mem_limit, mem_used_max, same_pages, pages_compacted, ...
USED_TOTAL = 2


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. `zram_bytes`: what compressed swap takes of the memory; None where there is none. What the kernel does not say is None."""

    total_bytes: int | None = None
    available_bytes: int | None = None
    free_bytes: int | None = None
    swap_total_bytes: int | None = None
    swap_free_bytes: int | None = None
    zram_bytes: int | None = None
    cma_total_bytes: int | None = None
    cma_free_bytes: int | None = None

    @property
    def swap_used_bytes(self) -> int | None:
        return None if self.swap_total_bytes is None or self.swap_free_bytes is None else self.swap_total_bytes - self.swap_free_bytes


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system that a folder is on. `free_bytes`: for those who are not root."""

    folder: str
    total_bytes: int
    free_bytes: int


class MemoryFiles:
    """/proc/meminfo and the compressed swaps that were there when it was made."""

    def __init__(self, files: KernelFiles) -> None:
        self._zram = [f"{BLOCK}/{name}/mm_stat" for name in files.names(BLOCK, "zram")[:MOST_ZRAM]]

    def read(self, look: Look) -> Memory | None:
        text = look.text(MEMINFO, MOST_BYTES)
        if text is None:
            return None
        said = {key: _bytes(look, key, value) for key, value in LINE.findall(text)}
        if not said:
            look.doubt(MEMINFO, text)
            return None
        total = said.get("MemTotal")
        return Memory(
            total,
            _within(look, said, "MemAvailable", total),
            _within(look, said, "MemFree", total),
            said.get("SwapTotal"),
            _within(look, said, "SwapFree", said.get("SwapTotal")),
            self._zram_bytes(look),
            said.get("CmaTotal"),
            _within(look, said, "CmaFree", said.get("CmaTotal")),
        )

    def _zram_bytes(self, look: Look) -> int | None:
        used = []
        for path in self._zram:
            text = look.text(path)
            if text is None:
                continue
            words = text.split()
            if len(words) >= FEWEST_COLUMNS and SIZE.fullmatch(words[USED_TOTAL]):
                used.append(int(words[USED_TOTAL]))
            else:
                look.doubt(path, text)
        return sum(used) if used else None


def disk_of(folder: str) -> Disk | None:
    """The disk under `folder`; None if nobody says."""
    try:
        found = os.statvfs(folder)
    except (OSError, ValueError):
        return None
    return Disk(folder, found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)


def _bytes(look: Look, key: str, value: str) -> int | None:
    kib = look.parsed(f"{MEMINFO} {key}", value, 0, MOST_KIB)
    return None if kib is None else int(kib) * 1024


def _within(look: Look, said: dict[str, int | None], key: str, total: int | None) -> int | None:
    """No part is larger than the whole."""
    part = said.get(key)
    if part is not None and total is not None and part > total:
        look.doubt(f"{MEMINFO} {key}", str(part))
        return None
    return part
