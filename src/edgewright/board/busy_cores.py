"""How many cores are at work in the machine, ours and others': /proc/stat (proc(5)), whose first line counts ticks since the start."""

import os
import re
from pathlib import Path

from edgewright.board.kernel_files import KernelFiles, Look

STAT = "proc/stat"
# user, nice, system, idle, iowait, irq, softirq. What a hypervisor took (steal) warms no core of ours; guests are in `user`.
LINE = re.compile(r"^cpu +([0-9]{1,19}) ([0-9]{1,19}) ([0-9]{1,19}) [0-9]{1,19} [0-9]{1,19} ([0-9]{1,19}) ([0-9]{1,19})\b", re.ASCII)
TICKS_A_S = os.sysconf("SC_CLK_TCK")


class BusyCores:
    """Asked now and then; says how many were busy since it was last asked."""

    def __init__(self, root: Path) -> None:
        self._files = KernelFiles("" if root == Path("/") else os.fspath(root))
        self._before: tuple[float, int] | None = None

    def read(self, time_s: float) -> float | None:
        """None at first, and where the kernel does not tell."""
        found = LINE.match(Look(self._files).text(STAT) or "")
        if found is None:
            self._before = None
            return None
        ticks = sum(map(int, found.groups()))
        before, self._before = self._before, (time_s, ticks)
        if before is None or time_s <= before[0] or ticks < before[1]:
            return None
        return min((ticks - before[1]) / TICKS_A_S / (time_s - before[0]), float(os.cpu_count() or 1))

    def close(self) -> None:
        self._files.close()
