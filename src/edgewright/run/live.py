"""A whole service, from its settings to its end: the state folder is its alone, outputs are open, and what it holds is let go."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from edgewright.clock import Clock, SystemClock
from edgewright.errors import InputError
from edgewright.printable import printable
from edgewright.run.footprints import RememberedFootprints
from edgewright.run.log import Log, LogFormat
from edgewright.run.outlet import Tell
from edgewright.run.outlets import Outlets, open_outlets
from edgewright.run.records import Event, Severity
from edgewright.run.service import Footprints, Service, Taker
from edgewright.run.settings import ServiceSettings
from edgewright.run.summary import Summary
from edgewright.run.systemd import Notifier
from edgewright.whole_file import locked, make_folder

OUTLETS_S = 2.0  # that outputs get at the end to deliver, or to put aside, what they hold


def live(
    settings: ServiceSettings,
    *,
    log_format: LogFormat = "text",
    is_stopped: Callable[[], bool],
    quiet: bool = False,
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Run it until it is stopped or every source has ended; its last status.

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

        for warning in settings.warnings:
            service.say("service", settings.name, warning, "warning")
        try:
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
    except InputError as error:
        if "another run" not in error.what:
            raise
        shown = printable(str(state), 200)
        raise InputError(f"another service is at work in {shown}", fix="stop it, or choose another `state` folder") from None
