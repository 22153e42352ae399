"""What the governor of heat is told, and what it says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgewright.run.govern.ladder import OperatingPoint
from edgewright.run.records import NO_DATA, Severity

PI_LIMIT_C = 78.0  # 2 C under where the firmware begins (Raspberry Pi documentation, "Frequency management and thermal control": 80 C)
JETSON_UNDER_TRIP_C = 5.0
# How far below the limit is aimed: what a board does between two readings, and half a step that sensors which cut theirs leave out.
MARGIN_C, MARGIN_OF_STEP = 0.35, 0.35


def limit_of_trips(passive_trips_c: tuple[float, ...]) -> float | None:
    """The limit of a board whose kernel publishes its passive trip points (Jetson): 5 C under the lowest; None without any."""
    return min(passive_trips_c) - JETSON_UNDER_TRIP_C if passive_trips_c else None


@dataclass(frozen=True, slots=True)
class ThermalLimits:
    """`limit_c`: never above; `slows_c`: where the firmware begins, for the time to it; `lowest_fps`: what has to remain of the service."""

    limit_c: float = PI_LIMIT_C
    slows_c: float = PI_LIMIT_C + 2
    lowest_fps: float = 1.0

    def target_c(self, sensor_step_c: float) -> float:
        """What is aimed at, with a sensor of such steps."""
        return self.limit_c - MARGIN_C - MARGIN_OF_STEP * sensor_step_c


@dataclass(frozen=True, slots=True)
class Observation:
    """What is known once a second. `time_s`: monotonic. `fps`: frames answered a second since the last observation, all cameras together.

    `offered_fps`: frames a second that cameras bring (None: as many as are taken). `busy_cores`: cores at work in the machine, ours and
    others' (None: only our own work is known). `throttled`: the firmware is slowing the processor down for its heat. None: not to be read.
    `rung`: the one that really runs, while another one is loaded, or could not be (None: the one that was decided).
    """

    time_s: float
    temp_c: float | None
    fps: float
    offered_fps: float | None = None
    busy_cores: float | None = None
    throttled: bool | None = None
    power_w: float | None = None
    rung: int | None = None


@dataclass(frozen=True, slots=True)
class HeatEvent:
    """What somebody may want to be told of, in a sentence. `name`: rung, cap, sensor, throttled or infeasible; `data`: the figures."""

    name: str
    text: str
    severity: Severity
    data: Mapping[str, Any] = field(default_factory=lambda: NO_DATA)  # Python 3.11 takes no default that cannot be hashed


@dataclass(frozen=True, slots=True)
class HeatState:
    """What is published. None: not known (yet), or for `time_to_throttle_s`: never, as things are."""

    temp_c: float | None
    time_to_throttle_s: float | None
    sustainable_fps: float | None
    joules_a_frame: float | None
    limit_c: float
    infeasible: bool
    sensor_fault: str | None


@dataclass(frozen=True, slots=True)
class Decision:
    """How to run from now on, and why. `changed`: it differs from the last decision. Further events come with the next steps."""

    rung: int
    point: OperatingPoint
    reason: str
    changed: bool
    event: HeatEvent | None
    state: HeatState
