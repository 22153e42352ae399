"""A thread that reads the board once a second, and hands over what it read last: a sensor that does not answer must stall nobody."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edgewright.board.busy_cores import BusyCores
from edgewright.board.sensors import ROOT, Reading, Sensors
from edgewright.board.throttle import FLAGS

EVERY_S = 1.0
STALE_S = 5.0
CLOSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Sensed:
    """`busy_cores`: at work in the machine since the reading before, ours and others'; None where nobody tells."""

    reading: Reading
    busy_cores: float | None

    def to_json(self) -> dict[str, Any]:
        """What pages and metrics show of the board: temperatures by zone, and each throttle flag there is, up or not."""
        throttle = self.reading.throttle
        flags = () if throttle is None else dict.fromkeys((*FLAGS, *throttle.since_start, *throttle.now))
        return {
            "zones_c": {zone.name: zone.temp_c for zone in self.reading.zones if zone.temp_c is not None},
            "throttled": {flag: throttle is not None and flag in throttle.now for flag in flags},
            "power_w": self.reading.power_w,
            "busy_cores": self.busy_cores,
        }


class Sensing:
    """A context manager; ends with its thread, or leaves a thread behind that hangs in a sensor and dies with the process.

    `open_sensors` is called in the thread. `cost_s`: processor time that the thread has taken.
    """

    def __init__(self, root: Path = ROOT, *, open_sensors: Callable[[], Sensors] | None = None, every_s: float = EVERY_S) -> None:
        self.cost_s = 0.0
        self.readings = 0
        self._root, self._every_s = root, every_s
        self._open = open_sensors or (lambda: Sensors(root))
        self._last: Sensed | None = None
        self._why: str | None = None
        self._stop = threading.Event()
        self._first = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sensing", daemon=True)

    def start(self) -> Self:
        self._thread.start()
        return self

    def last(self, now_s: float) -> Sensed | None:
        """The last reading (of its clock's `now_s`); None before the first, and when it is too old to be one of now."""
        last = self._last
        return None if last is None or now_s - last.reading.time_s > STALE_S else last

    def first(self, within_s: float) -> Sensed | None:
        """The first reading, waited for."""
        self._first.wait(within_s)
        return self._last

    def fault(self, now_s: float) -> str | None:
        """Why there is no reading; None where there is one."""
        if self.last(now_s) is not None:
            return None
        return self._why or ("the board's sensors have not answered for a while" if self._last else "the board has not been read yet")

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _run(self) -> None:
        busy = BusyCores(self._root)
        try:
            with self._open() as sensors:
                while not self._stop.is_set():
                    self._read(sensors, busy)
                    self._first.set()
                    self._stop.wait(self._every_s)
        except Exception as error:  # noqa: BLE001 - the edge of a thread: said by `fault`
            self._why = f"the board cannot be read: {type(error).__name__}"
        finally:
            busy.close()
            self._first.set()

    def _read(self, sensors: Sensors, busy: BusyCores) -> None:
        began_s = time.thread_time()
        try:
            reading = sensors.read()
            self._last, self._why = Sensed(reading, busy.read(reading.time_s)), None
        except Exception as error:  # noqa: BLE001 - a reading never raises; should one, the next may not
            self._why = f"the board cannot be read: {type(error).__name__}"
        self.cost_s += time.thread_time() - began_s
        self.readings += 1
