"""Whether the board is being slowed down, or its supply sags.

A Raspberry Pi's firmware has four flags, as they are now (bits 0 to 3) and as they have been since the start (bits 16 to 19)
(raspberrypi.com/documentation/computers/os.html, "get_throttled"). Kernels up to the Pi 4 show them in /sys; whether a Pi 5's does, sources
disagree, so both places are tried before vcgencmd is. The kernel's own watcher is the hwmon chip rpi_volt, whose in0_lcrit_alarm says that
the voltage was too low since the last look. A Jetson counts over-currents: hwmon's oc*_event_cnt (Jetson Linux Developer Guide,
"Over-Current Throttling"; in most cases the supply sags).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from edgewright.board.hwmon import chips
from edgewright.board.kernel_files import KernelFiles, Look

UNDER_VOLTAGE, FREQUENCY_CAPPED, THROTTLED, SOFT_LIMIT = "under-voltage", "frequency capped", "throttled", "soft temperature limit"
FLAGS = (UNDER_VOLTAGE, FREQUENCY_CAPPED, THROTTLED, SOFT_LIMIT)
SINCE_START = 16
PLATFORM = "sys/devices/platform"
FIRMWARE_FILE = "get_throttled"
MOST_BITS = 0xFFFFFFFF
MOST_EVENTS = 1 << 32


@dataclass(frozen=True, slots=True)
class Throttle:
    """Which flags are up now, and which have been since the board was started."""

    now: tuple[str, ...]
    since_start: tuple[str, ...] = ()

    @classmethod
    def of_bits(cls, bits: int) -> "Throttle":
        return cls(_flags(bits), _flags(bits >> SINCE_START))

    @property
    def under_voltage(self) -> bool:
        return UNDER_VOLTAGE in self.now

    @property
    def for_heat(self) -> bool:
        """Whether the processor is slowed down for its heat: a supply that sags has it throttled as well (0x50005, and no heat in it)."""
        return SOFT_LIMIT in self.now or (THROTTLED in self.now and not self.under_voltage)


class Throttling:
    """The places where the kernel says so, as they were when it was made."""

    def __init__(self, files: KernelFiles) -> None:
        found = chips(files)
        self._bits = next(filter(files.has, _firmware_files(files)), None)
        alarms = (f"{chip.folder}/in0_lcrit_alarm" for chip in found if chip.name == "rpi_volt")
        self._alarm = next(filter(files.has, alarms), None)
        self._counters = [
            f"{chip.folder}/{name}" for chip in found for name in files.names(chip.folder, "oc") if name.endswith("_event_cnt")
        ]

    @property
    def kernel_has_bits(self) -> bool:
        return self._bits is not None

    def read(self, look: Look, firmware_bits: int | None = None) -> Throttle | None:
        """`firmware_bits`: what vcgencmd says, where the kernel does not."""
        bits = self._kernel_bits(look)
        found = Throttle.of_bits(bits if bits is not None else firmware_bits or 0)
        sagging = None if self._alarm is None else look.number(self._alarm, 0, 1)
        if sagging and not found.under_voltage:
            found = Throttle((UNDER_VOLTAGE, *found.now), tuple(dict.fromkeys((UNDER_VOLTAGE, *found.since_start))))
        return None if bits is None and firmware_bits is None and sagging is None else found

    def over_currents(self, look: Look) -> int | None:
        """How many events the counters have counted, all together; None where there are none."""
        counts = [look.number(path, 0, MOST_EVENTS) for path in self._counters]
        known = [int(count) for count in counts if count is not None]
        return sum(known) if known else None

    def _kernel_bits(self, look: Look) -> int | None:
        text = None if self._bits is None else look.text(self._bits)
        if self._bits is None or text is None:
            return None
        try:
            bits = int(text, 16) if len(text) <= len("0xFFFFFFFF") else -1
        except ValueError:
            bits = -1
        if 0 <= bits <= MOST_BITS:
            return bits
        look.doubt(self._bits, text)
        return None


def _firmware_files(files: KernelFiles) -> Iterable[str]:
    """soc/soc:firmware/get_throttled, soc@107c000000/soc@107c000000:firmware/get_throttled."""
    for soc in files.names(PLATFORM, "soc"):
        for part in files.names(f"{PLATFORM}/{soc}", "soc"):
            if part.endswith(":firmware"):
                yield f"{PLATFORM}/{soc}/{part}/{FIRMWARE_FILE}"


def _flags(bits: int) -> tuple[str, ...]:
    return tuple(name for at, name in enumerate(FLAGS) if bits >> at & 1)
