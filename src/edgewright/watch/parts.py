"""The parts of the page: cameras, models, memory, the board, outputs. Each is made as wide as the screen, and as long as it likes."""

from collections.abc import Sequence
from typing import Final

from edgewright.watch import amounts
from edgewright.watch.chart import Glyphs
from edgewright.watch.lately import CameraLately, Lately, ModelLately
from edgewright.watch.said import GovernorSaid, Said
from edgewright.watch.spans import Line, Span, Style, line, width_of
from edgewright.watch.table import Column, table

LABEL: Final = 9  # columns for what a line is about
NAME: Final = 8  # columns that a name is cut to
WHY: Final = 20  # and a sentence
BAR: Final = 24  # columns of the memory's bar, at most
BETWEEN: Final = "   "  # facts
NEAR_C: Final = 3.0  # below the limit
STATES: Final[dict[str, Style]] = {
    "up": "good",
    "ready": "good",
    "starting": "warning",
    "loading": "warning",
    "waiting": "warning",
    "paused": "warning",
    "ended": "faint",
    "refused": "bad",
}
ALL_IS_WELL: Final = frozenset({"up", "ready", "ended"})
STAGES: Final = {
    "wait": ("wait", 4),
    "preprocess": ("pre", 3),
    "model": ("model ms", 0),
    "postprocess": ("post", 3),
    "service": ("rest", 5),
}


def cameras(lately: Lately, width: int) -> list[Line]:
    rows = sorted(lately.cameras, key=lambda each: each.said.state in ALL_IS_WELL)  # trouble first, otherwise in their order
    if not rows:
        return []
    minute = "dropped in a minute" if lately.minute_s > 55 or not lately.minute_s else f"dropped in {amounts.span(lately.minute_s)}"
    size = [f"{each.said.size_wh[0]}x{each.said.size_wh[1]}" if each.said.size_wh else amounts.NONE for each in rows]
    columns = [
        Column("camera", tuple(Span(each.said.name) for each in rows), right=False, cuts_to=NAME),
        Column("state", tuple(_state(each.said.state) for each in rows), right=False),
        Column("fps", tuple(_fps(each) for each in rows), rank=1),
        Column("age ms", tuple(Span(amounts.ms(each.now.p50)) for each in rows), rank=5),
        Column("p50", tuple(Span(amounts.ms(each.minute.p50)) for each in rows), rank=4),
        Column("p99", tuple(Span(amounts.ms(each.minute.p99)) for each in rows), rank=2),
        Column("restarts", tuple(_restarts(each.said.restarts) for each in rows), rank=6),
        Column("cap", tuple(Span(amounts.rate(each.said.fps_cap)) for each in rows), rank=7),
        Column("size", tuple(Span(each) for each in size), rank=8),
        Column("reader", tuple(Span(each.said.reader or amounts.NONE) for each in rows), rank=9, right=False, cuts_to=NAME),
        Column(minute, tuple(_dropped(each) for each in rows), rank=3, right=False, cuts_to=WHY),
    ]
    return table(columns, width)


def _state(state: str | None) -> Span:
    return Span(state or amounts.NONE, STATES.get(state or "", "plain"))


def _fps(camera: CameraLately) -> Span:
    if camera.fps is None:
        return Span(amounts.NONE)
    captured = "" if camera.fps_captured is None else f"/{amounts.rate(camera.fps_captured)}"
    return Span(f"{amounts.rate(camera.fps)}{captured}")


def _restarts(restarts: int | None) -> Span:
    return Span(amounts.count(restarts), "warning" if restarts else "plain")


def _dropped(camera: CameraLately) -> Span:
    if camera.said.state not in ALL_IS_WELL and camera.said.why:
        return Span(camera.said.why, "warning")
    reasons = sorted(((count, reason) for reason, count in camera.dropped.items() if count > 0), reverse=True)
    return Span(", ".join(f"{reason} {amounts.count(count)}" for count, reason in reasons) or amounts.NONE)


def models(models: Sequence[ModelLately], width: int) -> list[Line]:
    rows = sorted(models, key=lambda each: each.said.state in ALL_IS_WELL)
    if not rows:
        return []
    stages = [
        Column(title, tuple(Span(amounts.ms(each.stages[stage].p50)) for each in rows), rank=rank)
        for stage, (title, rank) in STAGES.items()
    ]
    p99 = Column("p99", tuple(Span(amounts.ms(each.stages["model"].p99)) for each in rows), rank=8)
    columns = [
        Column("model", tuple(Span(each.said.name) for each in rows), right=False, cuts_to=NAME),
        Column("state", tuple(_state(each.said.state) for each in rows), right=False),
        Column("engine", tuple(Span(each.said.engine or amounts.NONE) for each in rows), rank=4, right=False, cuts_to=NAME),
        Column("fps", tuple(Span(amounts.rate(each.fps)) for each in rows), rank=3),
        *stages[:3],  # up to the model's own
        p99,
        *stages[3:],
        Column("waiting", tuple(Span(amounts.count(each.said.waiting)) for each in rows), rank=2),
        Column("restarts", tuple(_restarts(each.said.restarts) for each in rows), rank=9),
    ]
    if any(each.said.why for each in rows):
        why = tuple(Span(each.said.why or "", "warning") for each in rows)
        columns.append(Column("why", why, rank=2, right=False, cuts_to=WHY))
    return table(columns, width)


def outputs(said: Said, width: int) -> list[Line]:
    sinks = sorted(said.outputs, key=lambda each: each.failing_since_s is None)
    names = [each.name for each in sinks] + [each.name for each in said.films]
    if not names:
        return []
    films = said.films
    delivered = [amounts.count(each.delivered) for each in sinks] + [f"{amounts.count(each.recorded)} frames" for each in films]
    waiting = [amounts.count(each.waiting) for each in sinks] + [amounts.NONE for _ in films]
    spooled = [amounts.size(each.kept_bytes) for each in sinks] + [amounts.NONE for _ in films]
    lost = [_lost(each.lost) for each in sinks] + [_lost(each.missed) for each in films]
    why = [Span(each.why or "", "warning" if each.failing_since_s else "faint") for each in sinks]
    why += [Span("paused" if each.is_paused else "", "warning") for each in films]
    columns = [
        Column("output", tuple(map(Span, names)), right=False, cuts_to=NAME),
        Column("delivered", tuple(map(Span, delivered)), rank=1),
        Column("waiting", tuple(map(Span, waiting)), rank=2),
        Column("spooled", tuple(map(Span, spooled)), rank=3),
        Column("lost", tuple(lost)),
    ]
    if any(each.text for each in why):
        columns.append(Column("why", tuple(why), rank=4, right=False, cuts_to=WHY))
    return table(columns, width)


def _lost(lost: int | None) -> Span:
    return Span(amounts.count(lost), "bad" if lost else "plain")


def memory(said: Said, width: int, glyphs: Glyphs) -> list[Line]:
    told = said.memory
    used, promised = sum(told.used.values()) or None, sum(told.promised.values()) or None
    words = f"{amounts.mib(used)} of {amounts.mib(told.budget_bytes)} MiB, {amounts.mib(promised)} promised"
    style: Style = "bad" if told.alarm else "plain"
    room = min(BAR, width - LABEL - len(words) - 2)
    if room < 4 or used is None or not told.budget_bytes or told.budget_bytes < 0:
        return [line(Span(f"{'memory':<{LABEL}}", "faint"), Span(words, style))]
    full = min(room, max(0, round(room * used / told.budget_bytes)))
    bar = Span(glyphs.full * full, "bad" if told.alarm else "accent"), Span(glyphs.empty * (room - full), "faint")
    return [line(Span(f"{'memory':<{LABEL}}", "faint"), *bar, "  ", Span(words, style))]


def shares(said: Said, width: int) -> list[Line]:
    """Who takes how much of it, the most first."""
    used = sorted(said.memory.used.items(), key=lambda part: -part[1])
    return wrapped([line(f"{name} {amounts.mib(count)}") for name, count in used], "", width)


def board(said: Said, width: int) -> list[Line]:
    """What the board says of itself, and what the governor makes of it."""
    return wrapped(_facts(said), "board", width)


def _facts(said: Said) -> list[Line]:
    board, governor = said.board, said.governor
    temp_c = None if governor is None else governor.temp_c
    if temp_c is None and board is not None:
        temp_c = board.hottest_c
    limit_c = None if governor is None else governor.limit_c
    facts: list[Line] = []
    if temp_c is not None:
        near = limit_c is not None and temp_c >= limit_c - NEAR_C
        facts.append(line(Span(f"{temp_c:.1f} °C", "warning" if near else "plain"), "" if limit_c is None else f", limit {limit_c:.0f}"))
    if board is not None and board.throttled is not None:
        facts.append(line(Span(", ".join(board.throttled), "bad") if board.throttled else "not throttled"))
    if board is not None and board.power_w is not None:
        facts.append(line(f"{board.power_w:.1f} W"))
    if governor is not None:
        facts += _governed(governor)
    if said.disk is not None and said.disk.bytes_a_day:
        facts.append(line(f"disk {amounts.size(said.disk.day_bytes)} of {amounts.size(said.disk.bytes_a_day)} a day"))
    return facts


def _governed(governor: GovernorSaid) -> list[Line]:
    facts: list[Line] = []
    if governor.rung is not None:
        at = "" if governor.at is None else f" {governor.at + 1} of {governor.rungs}"
        facts.append(line(Span(f"rung{at}: {governor.rung}", "warning" if governor.at else "plain")))
    if governor.fps_cap is not None:
        facts.append(line(Span(f"cap {amounts.rate(governor.fps_cap)} fps", "warning")))
    if governor.time_to_throttle_s is not None:
        facts.append(line(f"throttles in {amounts.span(governor.time_to_throttle_s)}"))
    elif governor.rung is not None:
        facts.append(line("no throttling ahead"))
    if governor.sustainable_fps is not None:
        facts.append(line(f"{amounts.rate(governor.sustainable_fps)} fps for good"))
    if governor.is_infeasible:
        facts.append(line(Span("too hot even so", "bad")))
    if governor.relief not in (None, "none"):
        facts.append(line(Span(f"memory is short: {governor.relief}", "warning")))
    return [*facts, *(line(Span(fault, "bad")) for fault in governor.faults)]


def wrapped(facts: Sequence[Line], label: str, width: int) -> list[Line]:
    """Facts one after the other, on as many lines as they need."""
    lines: list[Line] = []
    for fact in facts:
        if lines and width_of(lines[-1]) + len(BETWEEN) + width_of(fact) <= width:
            lines[-1] = (*lines[-1], Span(BETWEEN), *fact)
        else:
            lines.append((Span(f"{'' if lines else label:<{LABEL}}", "faint"), *fact))
    return lines
