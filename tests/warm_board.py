"""A board whose temperature follows what a real service really does: the processor time of its processes warms a plant (testing/plants.py).

The service is `edgewright serve` in a mount namespace of its own, where /sys/class and /sys/devices are those of a fake Raspberry Pi 4, and
/proc/stat counts the work of the service alone: other programs of this machine are none of that board's.

    board = WarmBoard(tmp_path, replace(BARE_PI_5, board_j_k=8.0), cores=2)
    with LiveService(tmp_path, ..., mounts=board.mounts) as service, board.following(service):
        board.fault = stuck                                   # from now on: (seconds since, reading) -> what is read
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgewright.board.busy_cores import TICKS_A_S
from edgewright.testing.boards import FakeBoard
from edgewright.testing.plants import Board, Plant
from live_service import LiveService

ZONE = "sys/class/thermal/thermal_zone0/temp"
STAT = "proc/stat"
EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Row:
    """One second. `cores`: that were busy with the service; `fps`: answers; `threads`: of the worker's process, all that there are."""

    time_s: float
    die_c: float
    cores: float
    fps: float
    threads: int


class WarmBoard:
    """`cores`: at work without a pause make the plant's heat 1."""

    def __init__(self, folder: Path, board: Board, *, cores: float) -> None:
        self.files = FakeBoard(folder / "board", "rpi4")
        self.plant = Plant(board)
        self.rows: list[Row] = []
        self.fault: Callable[[float, float], float | None] | None = None
        self._cores = cores
        self._ticks: dict[int, int] = {}
        self._busy_ticks = 0
        self._answered = 0
        self._over = threading.Event()
        for name in ("possible", "present", "online"):
            self.files.write(f"sys/devices/system/cpu/{name}", f"0-{round(cores) - 1}\n")
        self._write(self.plant.reading_c())

    @property
    def mounts(self) -> str:
        root = self.files.root
        return "\n".join(f"mount --bind '{root}/{path}' /{path}" for path in ("sys/class", "sys/devices", STAT))

    @contextmanager
    def following(self, service: LiveService) -> Iterator[None]:
        """Second by second, until the block ends."""
        thread = threading.Thread(target=self._follow, args=(service,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def fps(self, seconds: int = 10) -> float:
        last = self.rows[-seconds:]
        return sum(row.fps for row in last) / max(len(last), 1)

    @property
    def hottest_c(self) -> float:
        return max(row.die_c for row in self.rows)

    def _follow(self, service: LiveService) -> None:
        before_s = time.monotonic()
        while not self._over.wait(EVERY_S):
            now_s = time.monotonic()
            seconds, before_s = now_s - before_s, now_s
            ticks = self._ticks_of(service.processes())
            cores = ticks / TICKS_A_S / seconds
            self._busy_ticks += ticks
            self.plant.run(seconds, cores / self._cores)
            self._write(self.plant.reading_c())
            answered = len(service.answers())
            threads = max((_threads(pid) for pid in service.children()["worker"]), default=0)
            self.rows.append(Row(self.plant.time_s, self.plant.die_c, cores, (answered - self._answered) / seconds, threads))
            self._answered = answered

    def _ticks_of(self, pids: list[int]) -> int:
        """What these have worked since the last look."""
        now = {pid: ticks for pid in pids if (ticks := _worked(pid)) is not None}
        done = sum(ticks - self._ticks.get(pid, 0) for pid, ticks in now.items()) if self._ticks else 0
        self._ticks = now
        return max(done, 0)

    def _write(self, temp_c: float) -> None:
        told = temp_c if self.fault is None else self.fault(self.plant.time_s, temp_c)
        self.files.write(ZONE, "\n" if told is None else f"{round(told * 1000)}\n")
        self.files.write(STAT, f"cpu  {self._busy_ticks} 0 0 {round(self.plant.time_s * TICKS_A_S * 4)} 0 0 0 0 0 0\n")


def _worked(pid: int) -> int | None:
    """Clock ticks in user and system mode (proc(5), fields 14 and 15 of stat)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    except OSError:
        return None
    return int(fields[11]) + int(fields[12])


def _threads(pid: int) -> int:
    try:
        return len(list(Path(f"/proc/{pid}/task").iterdir()))
    except OSError:
        return 0
