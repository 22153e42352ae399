"""The same in one line, for a pipe, a log or a terminal that cannot be drawn on."""

from collections.abc import Sequence
from typing import Final

from edgewright.printable import printable
from edgewright.watch import amounts
from edgewright.watch.chart import time_of_day
from edgewright.watch.lately import CameraLately
from edgewright.watch.said import Happened, Said
from edgewright.watch.view import View

LONGEST: Final = 2000  # characters


def one_line(view: View, new: Sequence[Happened]) -> str:
    """How it is, and what has happened since the line before."""
    words = [time_of_day(view.now_s)]
    if view.lately is None or view.trouble is not None:
        words.append(view.trouble or "no answer yet")
    else:
        said = view.lately.said
        parts = [f"{said.name} {'ready' if said.is_ready else 'not ready'}"]
        parts += [_camera(each) for each in view.lately.cameras]
        parts += [f"model {each.said.name} {each.said.state}" for each in view.lately.models if each.said.state != "ready"]
        parts += _board(said)
        parts += [f"output {each.name} fails" for each in said.outputs if each.failing_since_s is not None]
        words.append("; ".join(parts))
    if new:
        more = f" ({len(new)} events)" if len(new) > 1 else ""
        words.append(f"| {time_of_day(new[-1].time_s)} {new[-1].kind} {new[-1].name} {new[-1].text}{more}")
    return printable(" ".join(words), LONGEST)


def _camera(camera: CameraLately) -> str:
    if camera.said.state != "up":
        return f"{camera.said.name} {camera.said.state}"
    captured = "" if camera.fps_captured is None else f"/{amounts.rate(camera.fps_captured)}"
    return f"{camera.said.name} {amounts.rate(camera.fps)}{captured} fps, {amounts.ms(camera.now.p50)} ms, p99 {amounts.ms(camera.now.p99)}"


def _board(said: Said) -> list[str]:
    used = sum(said.memory.used.values()) or None
    parts = [f"memory {amounts.mib(used)} of {amounts.mib(said.memory.budget_bytes)} MiB"]
    temp_c = said.governor.temp_c if said.governor is not None else None
    if temp_c is None and said.board is not None:
        temp_c = said.board.hottest_c
    if temp_c is not None:
        parts.append(f"{temp_c:.1f} °C")
    if said.board is not None and said.board.throttled:
        parts.append(", ".join(said.board.throttled))
    return parts
