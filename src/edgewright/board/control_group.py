"""What this process may take: the limits of its control group, and of those around it, the tightest of which binds.

Version 2 (kernel, Documentation/admin-guide/cgroup-v2.rst): memory.max, memory.high, memory.current, memory.events, cpu.max. Version 1
(Documentation/admin-guide/cgroup-v1/memory.rst, scheduler/sched-bwc.rst): memory.limit_in_bytes, memory.usage_in_bytes, memory.oom_control,
cpu.cfs_quota_us. /proc/self/cgroup says which group it is, /proc/self/mountinfo where that lies: in a container, a part of the path is
outside what can be seen.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from edgewright.board.kernel_files import KernelFiles, Look

CGROUP, MOUNTINFO = "proc/self/cgroup", "proc/self/mountinfo"
MOST_LIST_BYTES = 256 << 10
MOST_LEVELS = 16
UNLIMITED = 1 << 60  # version 1 has no word for it, and says 2^63 less a page
MOST_BYTES = (1 << 63) - 1
MOST_US = 1e9
COUNTER = re.compile(r"^(inactive_file|total_inactive_file|oom_kill) ([0-9]{1,19})$", re.ASCII | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """Bytes and cores; None: no limit, or not told.

    `memory_limit_bytes`: what kills; `memory_high_bytes`: what slows down. Of the group that limits most, `memory_used_bytes` is what it
    has taken, `reclaimable_bytes` what of it is file cache that the kernel takes back first, `oom_kills` how often it has killed.
    `cpu_cores`: how many cores' time may be used.
    """

    version: int
    memory_limit_bytes: int | None = None
    memory_high_bytes: int | None = None
    memory_used_bytes: int | None = None
    reclaimable_bytes: int | None = None
    oom_kills: int | None = None
    cpu_cores: float | None = None

    @property
    def memory_left_bytes(self) -> int | None:
        """How much more fits under the limit; None where there is none."""
        if self.memory_limit_bytes is None or self.memory_used_bytes is None:
            return None
        return max(self.memory_limit_bytes - self.memory_used_bytes + (self.reclaimable_bytes or 0), 0)


@dataclass(frozen=True, slots=True)
class _Names:
    """What the files of a version are called."""

    limit: str
    used: str
    high: str | None
    kills: str
    cached: str


V1 = _Names("memory.limit_in_bytes", "memory.usage_in_bytes", None, "memory.oom_control", "total_inactive_file")
V2 = _Names("memory.max", "memory.current", "memory.high", "memory.events", "inactive_file")


class ControlGroups:
    """The groups that this process was in when it was made, from its own outwards."""

    def __init__(self, files: KernelFiles) -> None:
        memory = _place(files, "memory")
        cpu = _place(files, "cpu")
        self._version = memory[0] if memory else cpu[0] if cpu else None
        self._memory = _levels(files, *memory) if memory else []
        self._names = V1 if memory and memory[0] == 1 else V2
        self._cpu = _levels(files, *cpu) if cpu else []
        self._cpu_version = cpu[0] if cpu else 2

    @property
    def version(self) -> int | None:
        """Of the hierarchy that limits memory, or else processors; None where there is none."""
        return self._version

    @property
    def memory_levels(self) -> tuple[str, ...]:
        """The folders of its own memory group and of those around it, outwards, by their paths under the root."""
        return tuple(self._memory)

    def read(self, look: Look) -> ControlGroup | None:
        if self._version is None:
            return None
        limits = [(limit, level) for level in self._memory if (limit := _bytes(look, f"{level}/{self._names.limit}")) is not None]
        limit, level = min(limits, default=(None, self._memory[0] if self._memory else None))
        highs = [_bytes(look, f"{level}/{self._names.high}") for level in self._memory] if self._names.high else []
        cores = [share for each in self._cpu if (share := self._cores(look, each)) is not None]
        bare = ControlGroup(
            self._version, limit, min((high for high in highs if high is not None), default=None), cpu_cores=min(cores, default=None)
        )
        return bare if level is None else self._with_use(look, bare, level)

    def _with_use(self, look: Look, bare: ControlGroup, level: str) -> ControlGroup:
        names = self._names
        kills = _counter(look.text(f"{level}/{names.kills}"), "oom_kill")
        used = look.number(f"{level}/{names.used}", 0, MOST_BYTES)
        # Where nothing is limited, memory.stat is spared: the kernel gathers it anew from all cores.
        cached = None if bare.memory_limit_bytes is None else _counter(look.text(f"{level}/memory.stat", 4 * 4096), names.cached)
        return ControlGroup(
            bare.version,
            bare.memory_limit_bytes,
            bare.memory_high_bytes,
            None if used is None else int(used),
            cached,
            kills,
            bare.cpu_cores,
        )

    def _cores(self, look: Look, level: str) -> float | None:
        if self._cpu_version == 1:
            quota = look.number(f"{level}/cpu.cfs_quota_us", -1, MOST_US)
            period = look.number(f"{level}/cpu.cfs_period_us", 1, MOST_US)
            return None if quota is None or period is None or quota < 0 else round(quota / period, 3)
        text = look.text(f"{level}/cpu.max")
        if text is None:
            return None
        words = text.split()
        if words[:1] == ["max"]:
            return None
        parts = [look.parsed(f"{level}/cpu.max", word, 1, MOST_US) for word in (words * 2)[:2]] if len(words) == 2 else []
        if len(parts) != 2:
            look.doubt(f"{level}/cpu.max", text)
            return None
        return None if parts[0] is None or parts[1] is None else round(parts[0] / parts[1], 3)


def _place(files: KernelFiles, controller: str) -> tuple[int, str, str] | None:
    """Version, mount point and path below it, of the hierarchy with this controller."""
    groups = files.read_list(CGROUP, MOST_LIST_BYTES).decode("utf-8", "replace").splitlines()
    mounts = list(_mounts(files))
    for line in groups:
        _, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if not colon:
            continue
        version = 2 if not controllers else 1
        for kind, options, root, point in mounts:
            known = kind == "cgroup2" if version == 2 else kind == "cgroup" and controller in options
            if known and (version == 2 or controller in controllers.split(",")):
                below = path.removeprefix(root.rstrip("/")) if path.startswith(root.rstrip("/")) else ""
                # A second hierarchy, which systemd keeps beside those of version 1, has no controllers.
                if version == 1 or _has_controller(files, point, controller):
                    return version, point.lstrip("/"), below.strip("/")
    return None


def _mounts(files: KernelFiles) -> Iterator[tuple[str, list[str], str, str]]:
    """Kind, options, root and mount point of every hierarchy: proc(5), /proc/pid/mountinfo."""
    for line in files.read_list(MOUNTINFO, MOST_LIST_BYTES).decode("utf-8", "replace").splitlines():
        before, dash, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if dash and len(fields) > 4 and len(kind) > 2 and kind[0] in ("cgroup", "cgroup2"):
            yield kind[0], kind[2].split(","), fields[3], fields[4]


def _has_controller(files: KernelFiles, point: str, controller: str) -> bool:
    said = files.read_list(f"{point.lstrip('/')}/cgroup.controllers", 4096).decode("ascii", "replace")
    return controller in said.split()


def _levels(files: KernelFiles, version: int, point: str, below: str) -> list[str]:
    """Its own group and those around it, as far as they can be seen."""
    steps = [step for step in below.split("/") if step not in ("", ".", "..")][:MOST_LEVELS]
    folders = ["/".join([point, *steps[:count]]) for count in range(len(steps), -1, -1)]
    # The root of version 2 has no limits, and no files for them.
    return [folder for folder in folders if version == 1 or files.has(f"{folder}/memory.max") or files.has(f"{folder}/cpu.max")]


def _bytes(look: Look, path: str) -> int | None:
    text = look.text(path)
    if text is None or text == "max":
        return None
    value = look.parsed(path, text, 0, MOST_BYTES)
    return None if value is None or value >= UNLIMITED else int(value)


def _counter(text: str | None, key: str) -> int | None:
    return next((int(value) for name, value in COUNTER.findall(text or "") if name == key), None)
