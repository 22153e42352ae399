"""A whole service, from its settings to its end: the state folder is its alone, outputs are open, and what it holds is let go."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeAlias

from edgewright.clock import Clock, SystemClock
from edgewright.errors import InputError
from edgewright.printable import printable
from edgewright.run.companions import Companion, Status
from edgewright.run.footprints import RememberedFootprints
from edgewright.run.govern.ladder import Measured
from edgewright.run.governing import Governing, governs_heat
from edgewright.run.log import Log, LogFormat
from edgewright.run.outlet import Tell
from edgewright.run.outlets import Outlets, open_outlets
from edgewright.run.records import Event, Severity
from edgewright.run.sensing import Sensing
from edgewright.run.service import Footprints, Service, Taker
from edgewright.run.settings import ServiceSettings
from edgewright.run.summary import Summary
from edgewright.run.systemd import Notifier
from edgewright.run.ways import measured_ways
from edgewright.whole_file import InUseError, locked, make_folder

FIRST_READING_S = 5.0
OUTLETS_S = 2.0  # that outputs get at the end to deliver, or to put aside, what they hold

Beside: TypeAlias = Callable[[Service, Status], Companion | None]


def live(
    settings: ServiceSettings,
    *,
    log_format: LogFormat = "text",
    is_stopped: Callable[[], bool],
    quiet: bool = False,
    clock: Clock | None = None,
    sensing: Sensing | None = None,
    beside: Beside | None = None,
) -> dict[str, Any]:
    """Run it until it is stopped or every source has ended; its last status.

    `sensing`: who reads the board (default: this machine's). `beside`: makes who goes along with it, such as the HTTP front.

    Raises:
        InputError: a model or a file is wrong, or another service has this state folder.
        HostError: this machine cannot run it.
    """
    clock = clock or SystemClock()
    told: SimpleQueue[tuple[str, Severity, str, Mapping[str, Any]]] = SimpleQueue()  # by outputs, from threads of theirs
    with _own(settings.state), _open(settings, clock, lambda *words: told.put(words)) as outlets:
        kept = RememberedFootprints(settings.state)
        log = Log(log_format)
        takers: list[Taker] = [outlets] if quiet else [log, outlets]
        footprints = Footprints(kept.recall, kept.remember)
        service = Service(settings, clock=clock, takers=takers, footprints=footprints, disk=outlets.wear)
        notifier = Notifier.of(os.environ, clock)
        summary = Summary(clock)

        def every_turn() -> None:
            notifier.beat(is_ready=service.is_ready, is_alive=service.is_alive)
            while not told.empty():
                name, severity, text, data = told.get()
                service.say("output", name, text, severity, data=data)
            if not quiet and (line := summary.look(service.figures)) is not None:
                log.offer(Event("", clock.wall_s(), "status", settings.name, line))  # for the log alone: it is no event

        with (sensing or Sensing()) if settings.govern.enabled else nullcontext() as board:
            try:
                if beside is not None and (companion := beside(service, lambda: _now(service, outlets, board))) is not None:
                    service.companions.join(companion)
                for warning in settings.warnings:
                    service.say("service", settings.name, warning, "warning")
                if board is not None:
                    govern(service, board, is_stopped, lambda: notifier.beat(is_ready=False, is_alive=True))
                service.start()
                service.run(is_stopped, every_turn)
            finally:
                notifier.stopping()
                service.end()
        wrong = service.refusal()
        status = service.status()
    if wrong is not None:
        raise wrong
    return {**status, "outputs": [asdict(state) for state in outlets.states()]}


def _now(service: Service, outlets: Outlets, board: Sensing | None) -> dict[str, Any]:
    """All that there is to tell of it. Asked by its one thread, which waits for no disk."""
    sensed = None if board is None else board.last(service.clock.monotonic_s())
    states = [asdict(state) for state in outlets.states(within_s=0.0)]
    return {**service.status(buckets=True), "outputs": states, "board": None if sensed is None else sensed.to_json()}


def govern(service: Service, board: Sensing, is_stopped: Callable[[], bool], every_turn: Callable[[], None] = lambda: None) -> None:
    """Give a service that has not begun its governor; what its model can do is measured first, where heat can be governed."""
    sensed = board.first(FIRST_READING_S)
    reading = None if sensed is None else sensed.reading
    ways: tuple[Measured, ...] = ()
    if governs_heat(reading):
        room_bytes = service.budget.total_bytes
        ways = measured_ways(service.settings, room_bytes, clock=service.clock, every_turn=every_turn, is_stopped=is_stopped)
    service.governor = governor = Governing(service, board, ways, reading)
    if governor.ladder is not None:
        rungs = [{"name": each.name, "ms": round(each.ms, 2), "map50_95": each.map50_95} for each in governor.ladder.rungs]
        count = f"{len(rungs)} way{'s' if len(rungs) > 1 else ''} to run"
        service.say("governor", "ladder", f"keeps {governor.model} within the heat that the board sheds; {count}", data={"rungs": rungs})


@contextmanager
def _open(settings: ServiceSettings, clock: Clock, tell: Tell) -> Iterator[Outlets]:
    """The outputs, which are closed at the end, in bounded time: what they cannot deliver by then lies on the disk."""
    outlets = open_outlets(settings, settings.state, clock, tell=tell)
    try:
        yield outlets
    finally:
        outlets.close(OUTLETS_S)


@contextmanager
def _own(state: Path) -> Iterator[None]:
    """The state folder, made if need be and not taken away again."""
    make_folder(state)
    try:
        with locked(state):
            yield
    except InUseError:
        shown = printable(str(state), 200)
        raise InputError(f"another service is at work in {shown}", fix="stop it, or choose another `state` folder") from None
