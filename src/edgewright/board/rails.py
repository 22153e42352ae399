"""Power, where it can be read: the rails of a Jetson's INA3221, and of a Raspberry Pi 5's PMIC.

INA3221 as hwmon (kernel, Documentation/hwmon/ina3221.rst): in1_label, in1_input (mV), curr1_input (mA). On a Nano's 4.9 kernel it is an iio
device under /sys/bus/i2c/drivers/ina3221x: rail_name_0, in_voltage0_input (mV), in_current0_input (mA) (Jetson Linux Developer Guide,
"Software-Based Power Consumption Modeling"). The Pi 5's PMIC is asked by `vcgencmd pmic_read_adc`.
"""

import re
from dataclasses import dataclass

from edgewright.board.hwmon import chips
from edgewright.board.kernel_files import KernelFiles, Look

HIGHEST_V = 60.0
LOWEST_A, HIGHEST_A = -20.0, 50.0  # an INA3221 sees both directions
CHANNELS = 3
LONGEST_NAME = 40
UNCONNECTED = ("", "nc")
OLD_DRIVER = "sys/bus/i2c/drivers/ina3221x"
# The rail that feeds all others: Jetson Orin and Xavier NX modules; Jetson Nano (the tables of the INA3221's channels in the guide).
INPUTS = ("VDD_IN", "POM_5V_IN")
# "  VDD_CORE_A current(7)=1.11625000A", "  VDD_CORE_V volt(15)=0.74944980V"
ADC = re.compile(r"(\w{1,32})_([AV]) (?:current|volt)\(\d{1,3}\)=(-?\d{1,3}\.\d{1,9})[AV]\b", re.ASCII)
PI_INPUT = "EXT5V"


@dataclass(frozen=True, slots=True)
class Rail:
    """A supply: volts, amperes, and watts where both are known."""

    name: str
    volts: float | None
    amperes: float | None

    @property
    def watts(self) -> float | None:
        return None if self.volts is None or self.amperes is None else round(self.volts * self.amperes, 4)


class Rails:
    """The monitors that were there when it was made."""

    def __init__(self, files: KernelFiles) -> None:
        look = Look(files)
        hwmon = (
            (f"{chip.folder}/in{at}_label", f"{chip.folder}/in{at}_input", f"{chip.folder}/curr{at}_input")
            for chip in chips(files)
            if chip.name.startswith("ina3221")
            for at in range(1, CHANNELS + 1)
        )
        old = (
            (f"{folder}/rail_name_{at}", f"{folder}/in_voltage{at}_input", f"{folder}/in_current{at}_input")
            for folder in _old_monitors(files)
            for at in range(CHANNELS)
        )
        named = (((look.text(label) or "")[:LONGEST_NAME], volts, amperes) for label, volts, amperes in (*hwmon, *old))
        self._rails = [(name, volts, amperes) for name, volts, amperes in named if name.lower() not in UNCONNECTED]

    def read(self, look: Look) -> tuple[Rail, ...]:
        return tuple(
            Rail(name, look.number(volts, 0, HIGHEST_V, 1000), look.number(amperes, LOWEST_A, HIGHEST_A, 1000))
            for name, volts, amperes in self._rails
        )


def rails_of_adc(look: Look, printed: str) -> tuple[Rail, ...]:
    """What `vcgencmd pmic_read_adc` printed."""
    found: dict[str, dict[str, float | None]] = {}
    for name, unit, value in ADC.findall(printed):
        sound = LOWEST_A <= float(value) <= HIGHEST_A if unit == "A" else 0 <= float(value) <= HIGHEST_V
        if not sound:
            look.doubt(f"vcgencmd pmic_read_adc {name}_{unit}", value)
        found.setdefault(name, {})[unit] = float(value) if sound else None
    return tuple(Rail(name, units.get("V"), units.get("A")) for name, units in found.items())


def supply_v(rails: tuple[Rail, ...]) -> float | None:
    """The voltage that the board is fed with."""
    return next((rail.volts for rail in rails if rail.name in (*INPUTS, PI_INPUT)), None)


def power_w(rails: tuple[Rail, ...]) -> float | None:
    """What the board draws: of its input rail; where its current is not measured (a Pi 5's), the sum of the rails that are made of it.

    The sum leaves out what the converters lose, and whatever hangs on USB.
    """
    inputs = [rail.watts for rail in rails if rail.name in INPUTS]
    if inputs:
        return inputs[0]
    if not any(rail.name == PI_INPUT for rail in rails):
        return None
    parts = [rail.watts for rail in rails if rail.watts is not None]
    return round(sum(parts), 3) if parts else None


def _old_monitors(files: KernelFiles) -> list[str]:
    devices = [f"{OLD_DRIVER}/{name}" for name in files.names(OLD_DRIVER) if "-" in name]
    return [f"{device}/{name}" for device in devices for name in files.names(device, "iio:device")]
