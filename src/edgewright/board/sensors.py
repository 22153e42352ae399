"""What a board feels: a `Reading` is everything it says of itself at one moment, read from the files its kernel keeps.

    with Sensors() as sensors:
        reading = sensors.read()
        print(reading.temp_c, reading.throttle, reading.doubtful)

What a board does not have is None. What it has and that says nonsense ("error", 10000 degrees, less than nothing) is None too, and named in
`doubtful`: a governor must not mistake a broken sensor for a cool board. Nothing that lies in those files is an error.

`root` is where /proc and /sys are looked for, so that a folder can play any board (`edgewright.testing.boards`).
"""

import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edgewright.board.clocks import Clock as CpuClock
from edgewright.board.clocks import Clocks
from edgewright.board.control_group import ControlGroup, ControlGroups
from edgewright.board.firmware import Firmware, Vcgencmd, run_vcgencmd
from edgewright.board.gpu import Engine, Tegra
from edgewright.board.kernel_files import KernelFiles, Look
from edgewright.board.memory import Disk, Memory, MemoryFiles, disk_of
from edgewright.board.pressure import Pressure, read_pressure
from edgewright.board.rails import Rail, Rails, power_w, supply_v
from edgewright.board.thermal import Fan, Fans, Temperature, Zones, governing
from edgewright.board.throttle import Throttle, Throttling
from edgewright.clock import Clock, SystemClock

LOOK_ROUND_S = 60.0  # how often it is looked for what has come or gone
ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class Reading:
    """One moment. `time_s`: the clock's monotonic seconds; `wall_s`: since 1970, for people."""

    time_s: float
    wall_s: float
    zones: tuple[Temperature, ...] = ()
    throttle: Throttle | None = None
    clocks: tuple[CpuClock, ...] = ()
    fan: Fan | None = None
    rails: tuple[Rail, ...] = ()
    over_currents: int | None = None
    memory: Memory | None = None
    pressure: Pressure | None = None
    control_group: ControlGroup | None = None
    disk: Disk | None = None
    gpu: Engine | None = None
    emc: Engine | None = None
    doubtful: tuple[str, ...] = ()

    @property
    def governing_zone(self) -> Temperature | None:
        """The zone to watch: the hottest on the die; where none is, the hottest."""
        return governing(self.zones)

    @property
    def temp_c(self) -> float | None:
        """How hot that is."""
        zone = self.governing_zone
        return None if zone is None else zone.temp_c

    @property
    def power_w(self) -> float | None:
        """What the board draws, where it can be read; see `rails.power_w`."""
        return power_w(self.rails)

    @property
    def supply_v(self) -> float | None:
        """The voltage it is fed with."""
        return supply_v(self.rails)

    def to_json(self) -> dict[str, Any]:
        """All of it; what was not there is null."""
        rails = [{**asdict(rail), "watts": rail.watts} for rail in self.rails]
        derived = {"temp_c": self.temp_c, "power_w": self.power_w, "supply_v": self.supply_v}
        return {**asdict(self), "rails": rails, **derived}


class Sensors:
    """Reads a board, as often as asked; once a second costs a thousandth of a core. For one thread at a time. A context manager.

    `folder`: the disk under it is told of (default: the root). `vcgencmd` asks a Raspberry Pi's firmware; by default the program of that
    name does, where it is installed and `root` is this machine's.
    """

    def __init__(
        self, root: Path = ROOT, *, folder: Path | None = None, vcgencmd: Vcgencmd | None = None, clock: Clock | None = None
    ) -> None:
        self._files = KernelFiles("" if root == ROOT else os.fspath(root))
        self._folder = os.fspath(root if folder is None else folder)
        self._clock = clock or SystemClock()
        if vcgencmd is None and root == ROOT and shutil.which("vcgencmd"):
            vcgencmd = run_vcgencmd
        self._firmware = None if vcgencmd is None else Firmware(vcgencmd, self._clock)
        self._look_round()

    def read(self) -> Reading:
        """The board as it is now. Never raises for what its files say."""
        time_s, wall_s = self._clock.monotonic_s(), self._clock.wall_s()
        if time_s - self._looked_round_s >= LOOK_ROUND_S:
            self._look_round()
        look = Look(self._files)
        firmware = self._fresh_firmware()
        bits = firmware.throttled(look) if firmware else None
        true_mhz = firmware.arm_mhz(look) if firmware else None
        return Reading(
            time_s=time_s,
            wall_s=wall_s,
            zones=self._zones.read(look),
            throttle=self._throttling.read(look, bits),
            clocks=self._clocks.read(look, true_mhz),
            fan=self._fans.read(look),
            rails=(*self._rails.read(look), *(firmware.rails(look) if firmware else ())),
            over_currents=self._throttling.over_currents(look),
            memory=self._memory.read(look),
            pressure=read_pressure(look),
            control_group=self._groups.read(look),
            disk=disk_of(self._folder),
            gpu=self._tegra.gpu(look),
            emc=self._tegra.emc(look),
            doubtful=tuple(look.doubtful),
        )

    def close(self) -> None:
        """Let go of the files; the next reading opens them again."""
        self._files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _look_round(self) -> None:
        self._looked_round_s = self._clock.monotonic_s()
        files = self._files
        self._zones = Zones(Look(files))
        self._throttling = Throttling(files)
        self._clocks = Clocks(files)
        self._fans = Fans(files)
        self._rails = Rails(files)
        self._memory = MemoryFiles(files)
        self._groups = ControlGroups(files)
        self._tegra = Tegra(files)

    def _fresh_firmware(self) -> Firmware | None:
        if self._firmware is not None:
            self._firmware.freshen()
        return self._firmware
