"""Was something killed for want of memory? What the kernel wrote down, and what the control groups have counted."""

import re
from dataclasses import asdict, dataclass
from typing import Any

from edgewright.board.control_group import ControlGroups
from edgewright.board.kernel_files import KernelFiles, Look
from edgewright.board.sensors import ROOT
from edgewright.doctor.limit import NAMES
from edgewright.doctor.machine import Machine
from edgewright.printable import printable

ASKED = (("dmesg",), ("journalctl", "--dmesg", "--no-pager", "--quiet"))
# mm/oom_kill.c, __oom_kill_process: "%s: Killed process %d (%s) total-vm:%lukB, anon-rss:%lukB, ..."
KILLED = re.compile(
    r"^(?:\[ *([0-9]{1,10}\.[0-9]{1,6})\] |[^\n]{0,100} kernel: )?(Memory cgroup out of memory|Out of memory)[^\n]{0,40}"
    r": Killed process ([0-9]{1,10}) \(([^\n]{0,40}?)\) total-vm:[0-9]{1,15}kB, anon-rss:([0-9]{1,15})kB",
    re.MULTILINE,
)
# dump_oom_victim: the group whose limit it was, before the line above; those of our own trials are no news.
OURS = re.compile(r"oom_memcg=[^,\n]{0,300}/edgewright-oom-[^\n]{0,600}[,]pid=([0-9]{1,10})")
MOST_KEPT = 8
MOST_GROUPS = 64


@dataclass(frozen=True, slots=True)
class Kill:
    """`since_start_s`: when, since the machine was started, where the log says; `by_limit`: a control group's limit, not the machine's."""

    since_start_s: float | None
    process: int
    name: str
    anonymous_bytes: int
    by_limit: bool


@dataclass(frozen=True, slots=True)
class GroupKills:
    """How often a control group has killed."""

    group: str
    kills: int


@dataclass(frozen=True, slots=True)
class Kills:
    """`log_readable`: whether the kernel's log could be read; `logged`: the last of what it says; `counted`: by group."""

    log_readable: bool
    logged: tuple[Kill, ...]
    counted: tuple[GroupKills, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def kills_on(machine: Machine) -> Kills:
    """All that can be known of it without rights; root knows more."""
    said = next((text for words in ASKED if (text := machine.run(words))), None)
    return Kills(said is not None, kills_in(said or ""), _counted(machine))


def kills_in(log: str) -> tuple[Kill, ...]:
    """The last few that a kernel's log tells of, in their order."""
    ours = set(OURS.findall(log))
    found = [
        Kill(float(when) if when else None, int(process), printable(name, 40), int(anonymous) * 1024, how.startswith("Memory cgroup"))
        for when, how, process, name, anonymous in KILLED.findall(log)
        if process not in ours
    ]
    return tuple(found[-MOST_KEPT:])


def _counted(machine: Machine) -> tuple[GroupKills, ...]:
    """Our own group, those around it, and those in them."""
    files = KernelFiles("" if machine.root == ROOT else str(machine.root))
    try:
        groups, look = ControlGroups(files), Look(files)
        levels, version = groups.memory_levels, groups.version
        if version is None:
            return ()
        beside = [
            f"{level}/{name}" for level in levels for name in files.names(level)[:MOST_GROUPS] if files.has(f"{level}/{name}/cgroup.procs")
        ]
        found = []
        for group in dict.fromkeys((*levels, *beside)):
            lines = (look.text(f"{group}/{NAMES[version].kills}") or "").splitlines()
            kills = next((line.split()[1] for line in lines if re.fullmatch(r"oom_kill [0-9]{1,18}", line, re.ASCII)), "0")
            if int(kills):
                found.append(GroupKills(printable(f"/{group.lstrip('/')}", 200), int(kills)))
        return tuple(found)
    finally:
        files.close()
