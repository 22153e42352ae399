"""A Jetson's GPU and memory controller: how busy, how fast.

GPU: /sys/class/devfreq/*.gpu (.ga10b, .gv11b, .gp10b): cur_freq and max_freq in Hz (kernel, Documentation/ABI/testing/sysfs-class-devfreq),
device/load in thousandths; on a Nano also /sys/devices/gpu.0/load (Jetson Linux Developer Guide, "GPU Power Management"; NVIDIA's forum, on
what tegrastats reads).
Memory controller (EMC): actmon's mc_all, the bandwidth in use as the clock that would just carry it, kHz, against the clock it has, Hz
(NVIDIA's forum, topic 107479). These files are root's.
"""

from dataclasses import dataclass

from edgewright.board.kernel_files import KernelFiles, Look

DEVFREQ = "sys/class/devfreq"
KINDS = (".gpu", ".ga10b", ".gv11b", ".gp10b")
OLD_LOAD = "sys/devices/gpu.0/load"
ACTIVITY = ("sys/kernel/debug/cactmon/mc_all", "sys/kernel/actmon_avg_activity/mc_all")
EMC_CLOCK = ("sys/kernel/debug/bpmp/debug/clk/emc/rate", "sys/kernel/debug/clk/emc/clk_rate")
THOUSAND = 1000
MOST_MHZ = 20_000.0
HZ_PER_MHZ = 1e6


@dataclass(frozen=True, slots=True)
class Engine:
    """How busy it is, 0..1, at the clock it has, and the most it can have, MHz."""

    load: float | None
    clock_mhz: float | None
    highest_mhz: float | None = None


class Tegra:
    """What was there of both when it was made."""

    def __init__(self, files: KernelFiles) -> None:
        gpu = next((f"{DEVFREQ}/{name}" for name in files.names(DEVFREQ) if name.endswith(KINDS)), None)
        loads = [OLD_LOAD] if gpu is None else [f"{gpu}/device/load", OLD_LOAD]
        self._gpu = gpu
        self._load = next(filter(files.has, loads), None)
        self._activity = next(filter(files.has, ACTIVITY), None)
        self._emc_clock = next(filter(files.has, EMC_CLOCK), None)

    def gpu(self, look: Look) -> Engine | None:
        if self._gpu is None and self._load is None:
            return None
        load = None if self._load is None else look.number(self._load, 0, 1, THOUSAND)
        current, highest = (None if self._gpu is None else _mhz(look, f"{self._gpu}/{name}") for name in ("cur_freq", "max_freq"))
        return Engine(load, current, highest)

    def emc(self, look: Look) -> Engine | None:
        if self._emc_clock is None:
            return None
        clock_mhz = _mhz(look, self._emc_clock)
        busy_mhz = None if self._activity is None else look.number(self._activity, 0, MOST_MHZ, 1000)
        load = None if busy_mhz is None or not clock_mhz else round(min(busy_mhz / clock_mhz, 1.0), 3)
        return Engine(load, clock_mhz)


def _mhz(look: Look, path: str) -> float | None:
    return look.number(path, 0, MOST_MHZ, HZ_PER_MHZ)
