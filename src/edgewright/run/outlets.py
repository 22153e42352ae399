"""All outputs of a service: each with a thread that delivers, and one thread together that keeps, so that a server which hangs stops
nothing from being kept, and a disk which hangs stops no frame.

>>> outlets = open_outlets(settings, settings.state, clock, tell=make_an_event)  # doctest: +SKIP
>>> outlets.offer(event)  # doctest: +SKIP
>>> outlets.close(within_s=3)  # doctest: +SKIP
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edgewright.clock import Clock
from edgewright.run.letter import Letter, letter_of
from edgewright.run.outlet import Outlet, OutletState, Tell
from edgewright.run.records import Event, Record, Severity
from edgewright.run.settings import Output, OutputSettings, RecordingOutput, ServiceSettings, StretchOutput
from edgewright.run.sinks import Place, Sink, open_sink
from edgewright.run.sinks.base import secrets_of
from edgewright.run.spool import STATE_WITHIN_S, Spool
from edgewright.run.wear import Wear

LONGEST_WAIT_S = 1.0  # for a wake that never comes
KEEP_SHARE = 0.4  # of the time to close, for keeping; the rest is for delivering

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """Which records an output is given."""

    records: tuple[str, ...]
    cameras: tuple[str, ...]

    def takes(self, record: Record) -> bool:
        kind = "events" if isinstance(record, Event) else "answers"
        return kind in self.records and (not self.cameras or record.camera is None or record.camera in self.cameras)


class Outlets:
    """The outputs that take records; recordings are not among them. Used from any thread."""

    def __init__(self, routed: Sequence[tuple[Route, Outlet]], wear: Wear, clock: Clock, tell: Tell) -> None:
        self._routed = tuple(routed)
        self.wear = wear
        self._clock, self._tell = clock, tell
        self._unwritable = 0
        self._told_of_wear = False
        self._closing = threading.Event()
        self._kept = threading.Event()
        self._until_s = float("inf")
        self._new = threading.Event()  # something is offered
        self._wakes = {outlet.name: threading.Event() for _, outlet in routed}  # something is in the spool
        self._threads = [
            threading.Thread(target=self._guard, args=(partial(self._deliver, outlet),), name=f"output {outlet.name}", daemon=True)
            for _, outlet in routed
        ]
        self._keeper = threading.Thread(target=self._guard, args=(self._keep,), name="outputs", daemon=True)

    def start(self) -> None:
        for thread in (self._keeper, *self._threads):
            thread.start()

    def offer(self, record: Record) -> None:
        """Give the record to every output that wants it. Never waits for a disk or a network, never raises."""
        letter: Letter | None = None
        for route, outlet in self._routed:
            if not route.takes(record):
                continue
            if letter is None:
                try:
                    letter = letter_of(record)
                except (ValueError, TypeError, RecursionError):
                    self._unwritable += 1
                    log.exception("a record cannot be written as JSON")
                    return
            outlet.offer(letter)
            # An event is kept at once, an answer sent at once; one for a file may wait for others.
            if letter.kind == "event" or outlet.sink.gather_s == 0 or outlet.is_crowded:
                self._new.set()

    def states(self, within_s: float = STATE_WITHIN_S) -> tuple[OutletState, ...]:
        """Of each; what a disk that hangs holds up is told as it last was, after `within_s`."""
        return tuple(outlet.state(within_s) for _, outlet in self._routed)

    @property
    def unwritable(self) -> int:
        """Records that no output was given, for they are no JSON: a fault of ours."""
        return self._unwritable

    def close(self, within_s: float) -> bool:
        """What was offered is on the disk, or delivered; whether all outputs ended in time.

        One that hangs is left behind: its records are on the disk.
        """
        started_s = self._clock.monotonic_s()
        self._until_s = started_s + within_s
        for _, outlet in self._routed:
            outlet.stop_taking()
        self._closing.set()
        self._new.set()
        threads = [thread for thread in (self._keeper, *self._threads) if thread.is_alive()]
        if threads:
            self._kept.wait(within_s * KEEP_SHARE)
        elif not self._kept.is_set():  # never started
            self._keep()
            for _, outlet in self._routed:
                self._deliver(outlet)
        for wake in self._wakes.values():
            wake.set()
        for thread in threads:
            thread.join(max(self._until_s - self._clock.monotonic_s(), 0.0))
        ended = not any(thread.is_alive() for thread in threads)
        if self._kept.is_set():  # otherwise the disk hangs, and would hang us
            for _, outlet in self._routed:
                outlet.spool.close(self._clock.monotonic_s())
            self.wear.save()
        return ended

    def _keep(self) -> None:
        """The keeper's thread."""
        while not self._closing.is_set():
            now_s = self._clock.monotonic_s()
            dues = []
            for _, outlet in self._routed:
                dues.append(outlet.keep(now_s))
                if outlet.spool.state().records:
                    self._wakes[outlet.name].set()
            self.wear.look()
            self._tell_wear()
            due_s = min((due for due in dues if due is not None), default=now_s + LONGEST_WAIT_S)
            self._new.wait(min(max(due_s - self._clock.monotonic_s(), 0.0), LONGEST_WAIT_S))
            self._new.clear()
        for _, each in self._routed:
            each.keep(self._clock.monotonic_s(), everything=True)
        self._kept.set()

    def _deliver(self, outlet: Outlet) -> None:
        """The thread of one output."""
        wake = self._wakes[outlet.name]
        while not self._closing.is_set():
            due_s = outlet.advance(self._clock.monotonic_s())
            wake.clear()
            if not outlet.spool.state().records or due_s > self._clock.monotonic_s():
                wake.wait(min(max(due_s - self._clock.monotonic_s(), 0.0), LONGEST_WAIT_S))
        self._kept.wait(max(self._until_s - self._clock.monotonic_s(), 0.0))
        outlet.drain(self._until_s - 0.2 * max(self._until_s - self._clock.monotonic_s(), 0.0))

    def _tell_wear(self) -> None:
        spares = self.wear.spares_answers
        if spares and not self._told_of_wear:
            data = {"day_bytes": self.wear.day_bytes, "bytes_a_day": self.wear.bytes_a_day}
            text = f"{data['day_bytes']} bytes were written in 24 hours, allowed are {data['bytes_a_day']}: answers go to no disk any more"
            self._tell("disk", "warning", text, data)
        self._told_of_wear = spares

    def _guard(self, work: Callable[[], None]) -> None:
        """A fault of ours is in the log, and ends no thread before the end."""
        while True:
            try:
                return work()
            except Exception:
                log.exception("the thread %s failed", threading.current_thread().name)
                if self._closing.wait(LONGEST_WAIT_S):
                    return None


def open_outlets(settings: ServiceSettings, state_folder: Path, clock: Clock, *, tell: Tell | None = None, start: bool = True) -> Outlets:
    """The outputs of a service, at work. What an earlier run could not deliver goes first. `tell` is called from several threads.

    Raises:
        InputError: an address that is none.
        HostError: a package is missing.
        DiskError: a spool cannot be read.
    """
    telling = _log_it if tell is None else tell
    wear = Wear(state_folder / "wear.json", settings.disk_bytes_a_day, clock)
    place = Place(state_folder, settings.name, tuple(camera.name for camera in settings.cameras), clock, wear.wrote)
    routed = []
    for output in settings.outputs:
        if isinstance(output, RecordingOutput | StretchOutput):
            continue
        sink = open_sink(output, place)
        routed.append((Route(output.records, output.cameras), _outlet(output, sink, place, wear, telling)))
    outlets = Outlets(routed, wear, clock, telling)
    if start:
        outlets.start()
    return outlets


def _outlet(output: Output | OutputSettings, sink: Sink, place: Place, wear: Wear, tell: Tell) -> Outlet:
    # A name of one folder, whatever it is: `..` is none.
    folder = place.state / "spool" / quote(output.name, safe="").replace(".", "%2E")
    spool = Spool(folder, output.spool.most_bytes, wrote=place.wrote)
    return Outlet(output.name, sink, spool, clock=place.clock, sparing=wear, tell=tell, secrets=secrets_of(output))


def _log_it(name: str, severity: Severity, text: str, data: Mapping[str, Any]) -> None:
    log.log({"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}[severity], "%s: %s %s", name, text, dict(data))
