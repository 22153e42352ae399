"""Boards that are folders: the /proc and /sys of a Raspberry Pi or a Jetson, made of files, with a knob for everything that can happen.

    board = FakeBoard(tmp_path, "rpi5")
    with board.sensors(clock=clock) as sensors:
        board.set_temperature(84.7)
        board.set_throttled("throttled")
        assert sensors.read().temp_c == 84.7

What is in them, and from which document, is in `board_trees/*.toml`. Nobody has held them against the real thing (docs/unproven.md).

A knob writes into the file that is there, as a kernel does, so that whoever has it open sees the new value. `take_away` and `garble` are
for what breaks.
"""

import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgewright.board.sensors import Sensors
from edgewright.board.throttle import FLAGS, SINCE_START, UNDER_VOLTAGE
from edgewright.clock import Clock
from edgewright.errors import InputError

TREES = Path(__file__).with_name("board_trees")
KIB = 1024
PSI_LINE = "{} avg10={:.2f} avg60={:.2f} avg300={:.2f} total={:020d}\n"
WINDOW_US = 10_000_000
ADC = ("3V3_SYS", "VDD_CORE", "DDR_VDD2")  # three of the twelve rails of a Pi 5's PMIC
UNIFIED = "sys/fs/cgroup/system.slice/edgewright.service"


@dataclass(frozen=True, slots=True)
class TreeFile:
    """A file of a board: what it says at first, the document it was written from, and which knob turns it."""

    path: str
    text: str
    source: str
    set: str | None = None


def known_trees() -> tuple[str, ...]:
    """The boards there are."""
    return tuple(sorted(path.stem for path in TREES.glob("*.toml")))


class FakeBoard:
    """A board in `folder`, which becomes the root of its file system. Temperatures are degrees Celsius, sizes bytes, clocks MHz."""

    def __init__(self, folder: Path, name: str) -> None:
        if name not in known_trees():
            raise InputError("there is no such fake board", got=ascii(name)[:80], expected=f"one of {', '.join(known_trees())}")
        tree = tomllib.loads((TREES / f"{name}.toml").read_text("utf-8"))
        self.root = folder
        self.name = name
        self.catalog_name: str = tree["catalog"]
        self.files = tuple(TreeFile(**each) for each in tree["file"])
        self._bits = 0
        self._arm_hz = 2_400_000_000
        self._volts: dict[str, float] = {"EXT5V": 5.15, "3V3_SYS": 3.31, "VDD_CORE": 0.75, "DDR_VDD2": 1.1}
        self._amperes: dict[str, float] = {"3V3_SYS": 0.12, "VDD_CORE": 1.12, "DDR_VDD2": 0.05}
        self._stalled_us: dict[tuple[str, str], int] = {}
        for file in self.files:
            self.write(file.path, file.text)

    @property
    def is_pi(self) -> bool:
        return self.name.startswith("rpi")

    def sensors(self, clock: Clock | None = None) -> Sensors:
        """What reads this board."""
        return Sensors(self.root, vcgencmd=self.vcgencmd if self.is_pi else None, clock=clock)

    def vcgencmd(self, words: str) -> str | None:
        """What the firmware of a Pi prints (raspberrypi.com/documentation/computers/os.html, "vcgencmd"); None on a Jetson."""
        if not self.is_pi:
            return None
        if words == "get_throttled":
            return f"throttled={self._bits:#x}\n"
        if words == "measure_clock arm":
            return f"frequency(0)={self._arm_hz}\n"
        if words == "pmic_read_adc" and self.name == "rpi5":
            currents = [f"{name}_A current({at})={self._amperes[name]:.8f}A\n" for at, name in enumerate(ADC)]
            return "".join(currents) + "".join(
                f"{name}_V volt({at})={self._volts[name]:.8f}V\n" for at, name in enumerate((*ADC, "EXT5V"), 9)
            )
        return 'error=1 error_msg="Command not registered"\n'

    def set_temperature(self, temp_c: float, zone: str | None = None) -> None:
        """Of the zone that calls itself so; without a name, of all that measure."""
        for path in self._turned_by("temperature"):
            if zone is None or self.read(f"{path.rpartition('/')[0]}/type").strip() == zone:
                self.write(path, f"{round(temp_c * 1000)}\n")

    def set_throttled(self, *flags: str) -> None:
        """These flags (of FLAGS) are up now, no others; those of the past stay up, as the firmware keeps them."""
        now = sum(1 << FLAGS.index(flag) for flag in flags)
        self._bits = now | now << SINCE_START | self._bits & 0xF << SINCE_START
        self._set("throttled", f"{self._bits:x}\n")
        self._set("under-voltage alarm", f"{int(UNDER_VOLTAGE in flags)}\n")

    def set_clock(self, requested_mhz: float, true_mhz: float | None = None) -> None:
        """What is asked for and what it really is; a Pi's kernel believes that both are one, only its firmware knows."""
        self._arm_hz = round((requested_mhz if true_mhz is None else true_mhz) * 1e6)
        self._set("requested", f"{round(requested_mhz * 1000)}\n")
        believed = requested_mhz if self.is_pi or true_mhz is None else true_mhz
        self._set("true clock", f"{round(believed * 1000)}\n")

    def set_allowed_clock(self, allowed_mhz: float) -> None:
        """The most that the kernel grants."""
        self._set("allowed", f"{round(allowed_mhz * 1000)}\n")

    def set_fan(self, rpm: float, duty: float) -> None:
        self._set("fan speed", f"{round(rpm)}\n")
        self._set("fan duty", f"{round(duty * 255)}\n")

    def set_rail(self, name: str, volts: float, amperes: float) -> None:
        self._volts[name], self._amperes[name] = volts, amperes
        self._set(f"rail {name} volts", f"{round(volts * 1000)}\n")
        self._set(f"rail {name} amperes", f"{round(amperes * 1000)}\n")

    def set_over_currents(self, count: int) -> None:
        self._set("over-currents", f"{count}\n")

    def set_available_memory(self, available_bytes: int) -> None:
        """What /proc/meminfo calls available and free."""
        self._set_meminfo("MemAvailable", available_bytes)
        self._set_meminfo("MemFree", available_bytes)

    def set_free_swap(self, free_bytes: int) -> None:
        self._set_meminfo("SwapFree", free_bytes)

    def set_zram(self, used_bytes: int) -> None:
        """What compressed pages take of the memory."""
        self._set(
            "zram", f"{used_bytes * 3:>8} {used_bytes:>8} {used_bytes:>8}        0 {used_bytes:>8}        0        0        0        0\n"
        )

    def set_pressure(self, resource: str = "memory", *, some: float = 0.0, full: float = 0.0) -> None:
        """Percent of the last ten seconds in which work waited for it: memory, cpu or io. Where there was no such file, psi=1 is set."""
        lines = []
        for kind, percent in (("some", some), ("full", full)):
            total = self._stalled_us.get((resource, kind), 0) + round(percent / 100 * WINDOW_US)
            self._stalled_us[resource, kind] = total
            lines.append(PSI_LINE.format(kind, percent, percent, percent, total))
        self.write(f"proc/pressure/{resource}", "".join(lines))

    def set_memory_limit(self, limit_bytes: int, used_bytes: int) -> None:
        """Of the control group that the process is in. On a Pi this turns the memory cgroup on first (cgroup_enable=memory)."""
        if not any(self._turned_by("memory limit")):
            self.write("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n")
            self.write(f"{UNIFIED}/memory.max", f"{limit_bytes}\n")
            self.write(f"{UNIFIED}/memory.current", f"{used_bytes}\n")
        self._set("memory limit", f"{limit_bytes}\n")
        self._set("memory used", f"{used_bytes}\n")

    def set_gpu(self, load: float, clock_mhz: float) -> None:
        self._set("gpu load", f"{round(load * 1000)}\n")
        self._set("gpu clock", f"{round(clock_mhz * 1e6)}\n")

    def set_emc(self, busy_mhz: float) -> None:
        """The bandwidth in use, as the clock of the memory controller that would just carry it."""
        self._set("emc activity", f"{round(busy_mhz * 1000)}\n")

    def read(self, path: str) -> str:
        return (self.root / path).read_text("utf-8")

    def write(self, path: str, text: str) -> None:
        """In place and in one step; a shorter text than was there is filled up with newlines."""
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            os.pwrite(descriptor, text.encode().ljust(os.fstat(descriptor).st_size, b"\n"), 0)
        finally:
            os.close(descriptor)

    def take_away(self, path: str) -> None:
        """The sensor, and its file, are gone."""
        (self.root / path).unlink()

    def garble(self, path: str, content: bytes) -> None:
        """The file says this from now on, and nothing else."""
        place = self.root / path
        place.unlink(missing_ok=True)
        place.write_bytes(content)

    def _set(self, knob: str, text: str) -> None:
        for path in self._turned_by(knob):
            self.write(path, text)

    def _turned_by(self, knob: str) -> Sequence[str]:
        """The files of a knob that have not been taken away."""
        return [file.path for file in self.files if file.set == knob and (self.root / file.path).exists()]

    def _set_meminfo(self, key: str, size_bytes: int) -> None:
        lines = self.read("proc/meminfo").splitlines()
        self.write("proc/meminfo", "".join(f"{_with_size(line, key, size_bytes)}\n" for line in lines if line))


def _with_size(line: str, key: str, size_bytes: int) -> str:
    return f"{key + ':':<15} {size_bytes // KIB:>8} kB" if line.startswith(f"{key}:") else line
