"""What the kernel could tell and does not: pressure, memory control groups, sensors."""

from edgewright.doctor.finding import Check, Finding
from edgewright.doctor.kernel_line import with_argument
from edgewright.doctor.machine import Machine

PSI_SINCE = (4, 20)
NEEDED = ("proc/meminfo", "proc/cpuinfo")
MOST_NAMED = 3


def proc_unreadable(machine: Machine) -> Finding | None:
    missing = [path for path in NEEDED if machine.text(path) is None]
    if not missing:
        return None
    return Finding(
        "proc-unreadable",
        "error",
        f"/{missing[0]} cannot be read",
        "memory, processor and limits are unknown: budgets and watchdogs work with guesses",
        ("sudo mount -t proc proc /proc", "# in a container, leave out --security-opt systempaths and do not mask /proc"),
        "man page proc(5)",
    )


def sys_unreadable(machine: Machine) -> Finding | None:
    if machine.names("sys"):
        return None
    return Finding(
        "sys-unreadable",
        "warning",
        "/sys cannot be read",
        "heat, clocks, supply and limits cannot be seen, so nothing can be done about them in time",
        ("sudo mount -t sysfs sysfs /sys",),
        "man page sysfs(5)",
    )


def no_pressure(machine: Machine) -> Finding | None:
    if machine.reading.pressure is not None:
        return None
    why = "memory pressure is seen late, by what is available only, and not by who waits for it"
    source = "kernel, Documentation/accounting/psi.rst; home-assistant/operating-system#4616"
    if machine.kernel is not None and machine.kernel < PSI_SINCE:
        what = "this kernel is too old to tell of pressure ({}.{}; it came with 4.20)".format(*machine.kernel)
        return Finding("psi-too-old", "info", what, why, (), source)
    if "psi=1" in machine.arguments:
        return Finding("psi-not-built", "info", "this kernel was built without pressure information (CONFIG_PSI)", why, (), source)
    return Finding(
        "psi-off", "warning", "the kernel hides memory, processor and disk pressure", why, with_argument(machine, "psi=1"), source
    )


def no_memory_group(machine: Machine) -> Finding | None:
    groups = [mount for mount in machine.mounts if mount.kind in ("cgroup", "cgroup2")]
    if not groups or any("memory" in mount.options for mount in groups if mount.kind == "cgroup"):
        return None
    unified = [mount.point.lstrip("/") for mount in groups if mount.kind == "cgroup2"]
    if any("memory" in (machine.text(f"{point}/cgroup.controllers") or "").split() for point in unified):
        return None
    return Finding(
        "memory-cgroup-off",
        "warning",
        "the memory control group is off",
        "MemoryMax= of a systemd unit and limits of containers do nothing, and `doctor oom` has to watch in place of the kernel",
        with_argument(machine, "cgroup_enable=memory"),
        "raspberrypi/linux#6980; kernel, Documentation/admin-guide/cgroup-v2.rst",
    )


def no_temperature(machine: Machine) -> Finding | None:
    if machine.reading.temp_c is not None or not machine.names("sys"):
        return None
    return Finding(
        "no-temperature",
        "info",
        "no temperature can be read",
        "heat is only noticed once the work takes longer; usual in virtual machines and containers",
        (),
        "kernel, Documentation/driver-api/thermal/sysfs-api.rst",
    )


def doubtful_sensors(machine: Machine) -> Finding | None:
    doubtful = machine.reading.doubtful
    if not doubtful:
        return None
    more = "" if len(doubtful) <= MOST_NAMED else f", and {len(doubtful) - MOST_NAMED} more"
    return Finding(
        "sensor-doubtful",
        "warning",
        f"what a sensor says is no value: {'; '.join(doubtful[:MOST_NAMED])}{more}",
        "it is taken for missing, and what it watches is not watched",
        ("edgewright board",),
        "docs/reference/board.md",
    )


CHECKS = (
    Check("/proc", proc_unreadable),
    Check("/sys", sys_unreadable),
    Check("pressure", no_pressure),
    Check("memory control group", no_memory_group),
    Check("temperature", no_temperature),
    Check("sensors that say nonsense", doubtful_sensors),
)
