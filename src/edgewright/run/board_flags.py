"""What the board says of its supply, its heat and its memory: flags that are up or not, and what is told of them.

A weak supply comes and goes within seconds: it is told of when it begins, and as over once it has not been seen for a minute. Heat and
memory have governors, who tell of them.
"""

import math
from typing import Final

from edgewright.board.sensors import Reading
from edgewright.board.throttle import FREQUENCY_CAPPED, SOFT_LIMIT, THROTTLED, UNDER_VOLTAGE
from edgewright.run.records import Severity

HEAT, OVER_CURRENT, MEMORY_PRESSURE = "throttling for heat", "over-current", "memory pressure"
TOLD: Final = (UNDER_VOLTAGE, FREQUENCY_CAPPED, OVER_CURRENT)
OVER_S: Final = 60.0
SAGGED_S: Final = 10.0  # a processor is let go some time after its supply has recovered
STALLS_PERCENT: Final = 10.0  # of time that waits for memory, from which on it explains late answers


class BoardFlags:
    """Fed with every reading. `up`: the flags that are; `for_heat`: the firmware slows the processor down for its heat, None: untold."""

    def __init__(self) -> None:
        self.up: frozenset[str] = frozenset()
        self.for_heat: bool | None = None
        self._over_currents: int | None = None
        self._sagged_s = -math.inf
        self._told: dict[str, float] = {}  # and when it was last up

    def look(self, now_s: float, reading: Reading | None) -> list[tuple[str, Severity]]:
        """What is to be told; None: the board cannot be read now, and nothing is up that one knows of."""
        self.for_heat, self.up = None, frozenset()
        if reading is not None:
            self.up = frozenset(self._of_supply(now_s, reading) | self._of_memory(reading))
        return [*self._begun(now_s), *self._over(now_s)]

    def _of_supply(self, now_s: float, reading: Reading) -> set[str]:
        up = set[str]()
        if reading.throttle is not None:
            if reading.throttle.under_voltage:
                self._sagged_s = now_s
            sagged = now_s - self._sagged_s < SAGGED_S
            self.for_heat = reading.throttle.for_heat and (SOFT_LIMIT in reading.throttle.now or not sagged)
            up |= set(reading.throttle.now) - {THROTTLED, SOFT_LIMIT} | ({HEAT} if self.for_heat else set())
        before, self._over_currents = self._over_currents, reading.over_currents
        if before is not None and reading.over_currents is not None and reading.over_currents > before:
            up.add(OVER_CURRENT)
        return up

    def _of_memory(self, reading: Reading) -> set[str]:
        percent = stalled_percent(reading)
        return set() if percent is None or percent < STALLS_PERCENT else {MEMORY_PRESSURE}

    def _begun(self, now_s: float) -> list[tuple[str, Severity]]:
        begun = [flag for flag in TOLD if flag in self.up and flag not in self._told]
        self._told |= dict.fromkeys(self.up.intersection(TOLD), now_s)
        return [(f"the board says: {flag}", "warning") for flag in begun]

    def _over(self, now_s: float) -> list[tuple[str, Severity]]:
        over = [flag for flag, last_s in self._told.items() if now_s - last_s >= OVER_S]
        for flag in over:
            del self._told[flag]
        return [(f"{flag} has not been seen for {OVER_S:.0f} s", "info") for flag in over]


def stalled_percent(reading: Reading) -> float | None:
    """Of the last ten seconds, in which some work waited for memory; None where the kernel does not tell."""
    stalls = None if reading.pressure is None else reading.pressure.memory
    return None if stalls is None or stalls.some is None else stalls.some.avg10_percent
