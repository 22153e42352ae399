"""The processor's clocks: what was asked for, what the hardware says it runs at, and how high it may go.

/sys/devices/system/cpu/cpufreq/policy* (kernel, Documentation/admin-guide/pm/cpufreq.rst), in kHz: scaling_cur_freq is in most cases the
frequency last *requested*; cpuinfo_cur_freq is read from the hardware, often by root alone; scaling_max_freq falls when the kernel cools
(Jetson, x86), while a Pi's firmware lowers the true clock behind the kernel's back.
"""

from dataclasses import dataclass

from edgewright.board.kernel_files import KernelFiles, Look

FOLDER = "sys/devices/system/cpu/cpufreq"
MOST_POLICIES = 64
SLOWEST_MHZ, FASTEST_MHZ = 1.0, 10_000.0


@dataclass(frozen=True, slots=True)
class Clock:
    """Of cores that share one, MHz. `allowed_mhz`: the most that may be asked for now; `highest_mhz`: that the hardware can."""

    name: str
    requested_mhz: float | None
    true_mhz: float | None
    allowed_mhz: float | None
    highest_mhz: float | None


class Clocks:
    """The groups of cores that were there when it was made."""

    def __init__(self, files: KernelFiles) -> None:
        self._names = files.names(FOLDER, "policy")[:MOST_POLICIES]

    def read(self, look: Look, true_mhz: float | None = None) -> tuple[Clock, ...]:
        """`true_mhz`: what the firmware says of all cores, where it is better known there."""
        return tuple(
            Clock(
                name,
                _mhz(look, name, "scaling_cur_freq"),
                _mhz(look, name, "cpuinfo_cur_freq") if true_mhz is None else true_mhz,
                _mhz(look, name, "scaling_max_freq"),
                _mhz(look, name, "cpuinfo_max_freq"),
            )
            for name in self._names
        )


def _mhz(look: Look, policy: str, file: str) -> float | None:
    return look.number(f"{FOLDER}/{policy}/{file}", SLOWEST_MHZ, FASTEST_MHZ, 1000)
