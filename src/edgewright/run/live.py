"""A whole service, from its settings to its end: the state folder is its alone, outputs are open, and what it holds is let go."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgewright.clock import Clock, SystemClock
from edgewright.errors import InputError
from edgewright.printable import printable
from edgewright.run.footprints import RememberedFootprints
from edgewright.run.log import Log, LogFormat
from edgewright.run.outlet import open_outlets
from edgewright.run.records import Record
from edgewright.run.service import Footprints, Outlets, Service
from edgewright.run.settings import ServiceSettings
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
    with _own(settings.state), open_outlets(settings, settings.state, clock) as outlets:
        said = _Both(outlets, outlets if quiet else Log(log_format))
        kept = RememberedFootprints(settings.state)
        service = Service(settings, clock=clock, outlets=said, footprints=Footprints(kept.recall, kept.remember))
        notifier = Notifier.of(os.environ, clock)
        for warning in settings.warnings:
            service.say("service", settings.name, warning, "warning")
        try:
            service.start()
            service.run(is_stopped, lambda: notifier.beat(is_ready=service.is_ready))
        finally:
            notifier.stopping()
            service.end()
        status = {**service.status(), "outputs": outlets.to_json()}
        if (wrong := service.refusal()) is not None:
            raise wrong
        return status


class _Both:
    """An event goes to the log and to the outputs."""

    def __init__(self, outlets: Outlets, log: Outlets) -> None:
        self._outlets, self._log = outlets, log

    def offer(self, record: Record) -> None:
        if self._log is not self._outlets:
            self._log.offer(record)
        self._outlets.offer(record)


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
