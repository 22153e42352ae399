"""How hot it is, where the kernel begins to slow it down, and how fast the fan turns.

Zones: /sys/class/thermal/thermal_zone* (kernel, Documentation/driver-api/thermal/sysfs-api.rst): `type` names it, `temp` is in
thousandths of a degree, trip_point_*_type is passive where the processor is slowed down, critical where the machine is switched off.
Fans: hwmon's fan1_input (rpm) and pwm1 (0..255) (Documentation/hwmon/sysfs-interface.rst); NVIDIA's kernels have their own (Jetson Linux
Developer Guide, "Fan Management"): /sys/devices/pwm-fan/target_pwm on a Nano, a hwmon called pwm_tach with a file `rpm` on an Orin.
"""

from dataclasses import dataclass

from edgewright.board.hwmon import chips
from edgewright.board.kernel_files import KernelFiles, Look, number_in

ZONES = "sys/class/thermal"
COLDEST_C, HOTTEST_C = -40.0, 150.0  # outside, silicon does not work, so it is the sensor that does not
SWITCHED_OFF = "-256000"  # Tegra's zones of parts that have no power (CV0-therm, ...)
MOST_ZONES, MOST_TRIPS = 32, 16
LONGEST_NAME = 40  # THERMAL_NAME_LENGTH is 20
# Parts of the names of zones that are on the processor's die: cpu-thermal (Pi), CPU-therm and tj-thermal (Jetson), x86_pkg_temp.
ON_THE_DIE = ("cpu", "gpu", "soc", "tj", "pkg", "thermal-fan-est")
NOT_MEASURED = ("pmic-die",)  # 100 C on every Nano, always (Jetson Linux Developer Guide, "Thermal Zone")
MOST_RPM, MOST_PWM = 100_000, 255


@dataclass(frozen=True, slots=True)
class Temperature:
    """A zone: its name, what it reads now, and where the kernel slows the machine down and switches it off, degrees Celsius."""

    name: str
    temp_c: float | None
    passive_c: float | None = None
    critical_c: float | None = None

    @property
    def on_the_die(self) -> bool:
        return any(part in self.name.lower() for part in ON_THE_DIE)


@dataclass(frozen=True, slots=True)
class Fan:
    """How fast it turns, and how hard it is told to, 0..1."""

    rpm: float | None
    duty: float | None


class Zones:
    """The thermal zones that were there when it was made."""

    def __init__(self, look: Look) -> None:
        self._zones = [_zone(look, name) for name in look.files.names(ZONES, "thermal_zone")[:MOST_ZONES]]

    def read(self, look: Look) -> tuple[Temperature, ...]:
        return tuple(Temperature(name, _temp_c(look, path), passive, critical) for name, path, passive, critical in self._zones)


class Fans:
    """The first fan there is."""

    def __init__(self, files: KernelFiles) -> None:
        folders = [chip.folder for chip in chips(files)]
        speeds = [f"{folder}/{name}" for folder in folders for name in ("fan1_input", "rpm")]
        duties = [*(f"{folder}/pwm1" for folder in folders), "sys/devices/pwm-fan/target_pwm"]
        self._speed = next(filter(files.has, speeds), None)
        self._duty = next(filter(files.has, duties), None)

    def read(self, look: Look) -> Fan | None:
        if self._speed is None and self._duty is None:
            return None
        rpm = None if self._speed is None else look.number(self._speed, 0, MOST_RPM)
        duty = None if self._duty is None else look.number(self._duty, 0, 1, MOST_PWM)
        return Fan(rpm, None if duty is None else round(duty, 3))


def governing(zones: tuple[Temperature, ...]) -> Temperature | None:
    """The zone to watch: the hottest on the die; where none is, the hottest."""
    known = [zone for zone in zones if zone.temp_c is not None and zone.name.lower() not in NOT_MEASURED]
    return max([zone for zone in known if zone.on_the_die] or known, key=lambda zone: zone.temp_c or 0.0, default=None)


def _zone(look: Look, name: str) -> tuple[str, str, float | None, float | None]:
    folder = f"{ZONES}/{name}"
    trips: dict[str, list[float]] = {"passive": [], "critical": []}
    for at in range(MOST_TRIPS):
        kind = look.text(f"{folder}/trip_point_{at}_type")
        if kind is None:
            break
        # A trip that is turned off says so by an impossible temperature; that is no doubt about the sensor.
        temp_c = number_in(look.text(f"{folder}/trip_point_{at}_temp") or "", COLDEST_C, HOTTEST_C, 1000)
        if kind in trips and temp_c is not None:
            trips[kind].append(temp_c)
    called = (look.text(f"{folder}/type") or name)[:LONGEST_NAME]
    return called, f"{folder}/temp", min(trips["passive"], default=None), min(trips["critical"], default=None)


def _temp_c(look: Look, path: str) -> float | None:
    text = look.text(path)
    if text is None or text == SWITCHED_OFF:
        return None
    return look.parsed(path, text, COLDEST_C, HOTTEST_C, 1000)
