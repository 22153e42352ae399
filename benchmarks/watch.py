"""What `edgewright watch` costs: processor time of the command, once a second, for a service with four cameras.

    python benchmarks/watch.py                     # a minute each: ours, and Rich drawing the same; then benchmarks/results/watch.json
    python benchmarks/watch.py --seconds 20

The service is played (tests/told_service.py): real pages on a Unix socket, figures that change every second, an event every five. The
command runs on a pseudo-terminal of 80 x 24 and of 160 x 50 whose other end is read and thrown away. `percent`: of a core, user and system
time, from three seconds after the first page on; `start_s`: processor time until then.
"""

import argparse
import fcntl
import json
import os
import pty
import select
import struct
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from performance import write_result  # noqa: E402
from told_service import ToldService  # noqa: E402

CAMERAS = ("belt", "gate", "hall-north", "press-2")
SIZES = ((80, 24), (160, 50))
START_WITHIN_S, SETTLED_S = 120.0, 3.0
TICKS = os.sysconf("SC_CLK_TCK")
OURS = (sys.executable, "-m", "edgewright", "watch")
WITH_RICH = (sys.executable, str(Path(__file__).resolve()), "--with")


def measured(command: tuple[str, ...], size: tuple[int, int], seconds: float) -> dict[str, Any]:
    """One run."""
    with tempfile.TemporaryDirectory() as folder, ToldService(Path(folder), cameras=CAMERAS) as service:
        is_over = threading.Event()
        threading.Thread(target=_live, args=(service, is_over), daemon=True).start()
        pid, terminal = pty.fork()
        if pid == 0:
            os.execvp(command[0], [*command, folder])  # noqa: S606 - a shell has no part in it
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        _read(terminal, START_WITHIN_S, until=b"ready")
        _read(terminal, SETTLED_S)
        start_s = cpu_s(pid)
        sent = _read(terminal, seconds)
        taken_s = cpu_s(pid) - start_s
        os.write(terminal, b"q")
        _read(terminal, 1.0)
        _, code, usage = os.wait4(pid, 0)
        is_over.set()
        os.close(terminal)
    assert code == 0, f"{command} ended with {code}"
    return {
        "columns": size[0],
        "rows": size[1],
        "seconds": seconds,
        "percent": round(100 * taken_s / seconds, 3),
        "start_s": round(start_s, 3),
        "total_s": round(usage.ru_utime + usage.ru_stime, 3),
        "peak_mib": round(usage.ru_maxrss / 1024, 1),
        "bytes_per_s": round(sent / seconds),
    }


def _live(service: ToldService, is_over: threading.Event) -> None:
    second = 0
    while not is_over.wait(1.0):
        second += 1
        service.turn(1.0, age_ms=40 + second % 7 * 10, dropped=second % 3)
        if second % 5 == 0:
            service.happen("governor", "rung", f"step {second}: yolo-480, 2 threads", "warning")


def _read(terminal: int, seconds: float, *, until: bytes | None = None) -> int:
    """How many bytes came, in so many seconds or until these are among them."""
    count, until_s, tail = 0, time.monotonic() + seconds, b""
    while (left_s := until_s - time.monotonic()) > 0 and (until is None or until not in tail):
        if select.select([terminal], [], [], left_s)[0]:
            try:
                read = os.read(terminal, 1 << 16)
            except OSError:
                break
            count, tail = count + len(read), tail[-100:] + read
    return count


def cpu_s(pid: int) -> float:
    """User and system time of all its threads (proc_pid_stat(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


# --- the same, drawn by Rich --------------------------------------------------------------------------------------------------------------


def watch_with_rich(way: str, folder: str) -> None:
    """`lines`: Rich's Live is given our page as text. `tables`: it lays out cameras, models and outputs itself, as tables."""
    from rich.console import Console, Group  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from edgewright.watch import session  # noqa: PLC0415
    from edgewright.watch.page import BLOCKS  # noqa: PLC0415
    from edgewright.watch.parts import cameras, models, outputs  # noqa: PLC0415
    from edgewright.watch.terminal import Terminal  # noqa: PLC0415
    from edgewright.watch.where import where  # noqa: PLC0415

    styles = {"faint": "dim", "strong": "bold", "good": "green", "warning": "yellow", "bad": "bold red", "accent": "cyan"}
    latest: list[Any] = []

    class Drawn(Terminal):
        def enter(self) -> None:
            super().enter()
            self.live = Live(console=Console(), screen=True, auto_refresh=False)
            self.live.start()

        def show(self, lines: Any) -> None:
            texts = [Text.assemble(*((text, styles.get(style, "")) for text, style in each), no_wrap=True) for each in lines]
            if way == "tables" and latest and latest[-1].lately is not None:
                tables = _tables(latest[-1].lately)
                texts = [texts[0], *tables, *texts[sum(table.row_count + 1 for table in tables) + 1 :]]
            self.live.update(Group(*texts), refresh=True)

        def leave(self) -> None:
            self.live.stop()
            super().leave()

    def _tables(lately: Any) -> list[Table]:
        found = []
        for rows in (cameras(lately, 80), models(lately.models, 80), outputs(lately.said, 80)):
            table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False)
            for title in rows[0][::2]:
                table.add_column(title.text, no_wrap=True)
            for row in rows[1:]:
                table.add_row(*(Text(cell.text.strip(), styles.get(cell.style, "")) for cell in row[::2]))
            found.append(table)
        return found

    real = session.page

    def noted(view: Any, look: Any) -> Any:
        latest[:] = [view]
        return real(view, look)

    session.page = noted  # type: ignore[attr-defined]
    session.watch_on(Drawn(1, 0, colour=True), where(folder), BLOCKS)


def main() -> None:
    """Measure, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--with", dest="way", choices=("lines", "tables"), help=argparse.SUPPRESS)
    parser.add_argument("folder", nargs="?", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way:
        watch_with_rich(asked.way, asked.folder)
        return
    began_s = time.monotonic()
    ways = {"ours": OURS, "rich, lines": (*WITH_RICH, "lines"), "rich, tables": (*WITH_RICH, "tables")}
    result = {name: [measured(command, size, asked.seconds) for size in SIZES] for name, command in ways.items()}
    print(json.dumps(result, indent=1))
    write_result("watch", {"cameras": len(CAMERAS), **result}, seconds=time.monotonic() - began_s)


if __name__ == "__main__":
    main()
