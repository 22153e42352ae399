"""Limits and rights of this process: of its container, its user, its shell."""

import re

from edgewright.doctor.finding import Check, Finding
from edgewright.doctor.machine import Machine

MIB = 1 << 20
FEW_FILES, TOO_FEW_FILES = 1024, 256  # a camera takes about ten, a model five, an output five
LIMIT = re.compile(r"^Max (open files|address space) {2,}(\S{1,20}) ", re.ASCII | re.MULTILINE)
GROUP = re.compile(r"^([a-z_][a-z0-9_-]{0,31}):[^:\n]{0,100}:([0-9]{1,10}):", re.ASCII | re.MULTILINE)


def few_files(machine: Machine) -> Finding | None:
    limit = _limit(machine, "open files")
    if limit is None or limit >= FEW_FILES:
        return None
    return Finding(
        "few-files",
        "error" if limit < TOO_FEW_FILES else "warning",
        f"this process may open {limit} files",
        "a service with several cameras, models and outputs runs out of them after hours, when something reconnects",
        ("ulimit -n 4096", "# in a systemd unit: LimitNOFILE=4096"),
        "man page getrlimit(2), RLIMIT_NOFILE",
    )


def little_address_space(machine: Machine) -> Finding | None:
    limit = _limit(machine, "address space")
    if limit is None:
        return None
    return Finding(
        "address-space-limited",
        "warning",
        f"this process may map {limit // MIB} MiB",
        "engines reserve far more than they use, and fail with words of C++ where they may not",
        ("ulimit -v unlimited",),
        "man page getrlimit(2), RLIMIT_AS",
    )


def limited_memory(machine: Machine) -> Finding | None:
    group, memory = machine.reading.control_group, machine.reading.memory
    limit = None if group is None else group.memory_limit_bytes
    total = None if memory is None else memory.total_bytes
    if limit is None or (total is not None and limit >= total):
        return None
    return Finding(
        "memory-limited",
        "info",
        f"this process may take {limit // MIB} MiB{'' if total is None else f' of the {total // MIB} MiB there are'}",
        "what does not fit is killed; budgets and `doctor oom` count with it",
        ("# systemd: MemoryMax= of the unit or slice; docker: --memory",),
        "kernel, Documentation/admin-guide/cgroup-v2.rst, memory.max",
    )


def limited_cores(machine: Machine) -> Finding | None:
    group = machine.reading.control_group
    share = None if group is None else group.cpu_cores
    if share is None or share >= machine.board.cores:
        return None
    threads = max(1, int(share))
    return Finding(
        "cores-limited",
        "warning",
        f"this process may use {share:g} of {machine.board.cores} cores' time",
        "engines that start a thread a core are stopped in the middle of a frame, for tens of milliseconds",
        (f"# start with --threads {threads}, or raise CPUQuota= of the unit; docker: --cpus",),
        "kernel, Documentation/scheduler/sched-bwc.rst",
    )


def was_killed(machine: Machine) -> Finding | None:
    group = machine.reading.control_group
    if group is None or not group.oom_kills:
        return None
    return Finding(
        "oom-kills",
        "warning",
        f"{group.oom_kills} processes under this memory limit were killed for want of memory",
        "a model, a batch or a picture was larger than what there is",
        ("edgewright doctor oom MODEL",),
        "kernel, Documentation/admin-guide/cgroup-v2.rst, memory.events",
    )


def not_in_video(machine: Machine) -> Finding | None:
    uids = (machine.field("proc/self/status", "Uid") or "").split()
    groups = (machine.field("proc/self/status", "Groups") or "").split()
    asked = machine.is_pi or machine.is_jetson or bool(machine.names("dev", "video"))
    known = dict(GROUP.findall(machine.text("etc/group") or ""))
    primary = (machine.field("proc/self/status", "Gid") or "").split()
    if not asked or not uids or uids[0] == "0" or known.get("video", "") in ("", *groups, *primary):
        return None
    return Finding(
        "not-in-video",
        "warning",
        "this user is not in the group video",
        "cameras and encoders cannot be opened, and a Pi's firmware tells nothing",
        ("sudo usermod -aG video $USER", "# then log in again"),
        "raspberrypi.com/documentation/computers/os.html, vcgencmd; kernel, Documentation/userspace-api/media",
    )


def _limit(machine: Machine, name: str) -> int | None:
    """None: unlimited, or not told."""
    found = dict(LIMIT.findall(machine.text("proc/self/limits") or "")).get(name, "")
    return int(found) if found.isdecimal() and found.isascii() else None


CHECKS = (
    Check("open files", few_files),
    Check("address space", little_address_space),
    Check("memory limit", limited_memory),
    Check("cores", limited_cores),
    Check("killed for memory", was_killed),
    Check("group video", not_in_video),
)
