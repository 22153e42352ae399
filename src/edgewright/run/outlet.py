"""One output at work: records are offered, kept, delivered, and all of them counted.

    offered = delivered + refused + waiting + overflowed + turned_away + spared + damaged

`offer` puts a letter into memory and returns: the pipeline waits for no disk and no network. `keep` takes it from there into the spool,
where it is accepted; `advance` takes it from the spool to the sink. Each is one step that says when the next one is due, so that tests
turn the clock; a service has threads that do (`outlets.py`). A sink that fails is asked again after 1, 2, 4 ... 60 seconds, less a
random part, or when it said.
"""

import logging
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from edgewright.clock import Clock
from edgewright.run.letter import Letter
from edgewright.run.records import Severity
from edgewright.run.sinks.base import RefusedError, Sink, SinkError, UndeliveredError, shown
from edgewright.run.spool import STATE_WITHIN_S, Spool

ROOM_BYTES = 1 << 20  # of what was offered and is not yet in the spool: it is there for milliseconds
FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 60.0
LONGEST_ASKED_S = 600.0  # that a sink may ask us to wait
ATTEND_EVERY_S = 5.0
TELL_EVERY_S = 60.0  # no more often of the same
SPARED_S = 60.0

log = logging.getLogger(__name__)


class Tell(Protocol):
    """What is told of an output: makes an event of it."""

    def __call__(self, name: str, severity: Severity, text: str, data: Mapping[str, Any]) -> None: ...


class Sparing(Protocol):
    """What is not to be written now; `wear.Wear` is one."""

    @property
    def spares_answers(self) -> bool: ...

    @property
    def spares_events(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class OutletState:
    """`delivered`, `refused`, `turned_away`, `spared`: since the service began; `overflowed`, `damaged`: since the spool was made.

    refused: the sink will never take it. overflowed: accepted, and dropped from a full spool for newer ones. turned_away: never accepted,
    for the disk took nothing and memory was full. spared: an answer that was not written, for the day's bytes are used up. damaged: it
    was on the disk, and not as it was written. `failing_since_s`: wall clock. `last_error` holds no credentials.
    """

    name: str
    delivered: int
    refused: int
    overflowed: int
    turned_away: int
    spared: int
    damaged: int
    waiting_records: int
    waiting_bytes: int
    failing_since_s: float | None
    last_error: str | None


class Outlet:
    """The output called `name`. `offer`, `state` and `close` from any thread, `keep` from one, `advance` from one."""

    def __init__(
        self,
        name: str,
        sink: Sink,
        spool: Spool,
        *,
        clock: Clock,
        sparing: Sparing,
        tell: Tell,
        secrets: tuple[str, ...] = (),
        random: Random | None = None,
    ) -> None:
        self.name, self.sink, self.spool = name, sink, spool
        self._clock, self._sparing, self._tell, self._secrets = clock, sparing, tell, secrets
        self._random = Random() if random is None else random
        self._lock = threading.Lock()
        self._room: deque[Letter] = deque()
        self._room_bytes = 0
        self._closed = False
        self._delivered = self._refused = self._turned_away = self._spared = self._damaged = 0
        self._failures = 0
        self._failing_since_s: float | None = None
        self._last_error: str | None = None
        self._is_failure_told = False
        self._retry_s = self._attended_s = float("-inf")
        self._gather_since_s: float | None = None
        self._told: dict[str, tuple[float, int]] = {}  # of what, when, and how many there were then

    # --- in -------------------------------------------------------------------------------------------------------------------------------

    def offer(self, letter: Letter) -> None:
        """Never waits, never raises. Of what does not fit into memory the oldest is turned away."""
        with self._lock:
            if self._closed:
                self._turned_away += 1
                return
            # An answer that would go to the disk: now, or soon, for the sink takes nothing.
            if letter.kind == "answer" and self._sparing.spares_answers and (self.sink.on_disk or self._failures):
                self._spared += 1
                return
            self._room.append(letter)
            self._room_bytes += len(letter.body)
            while self._room_bytes > ROOM_BYTES:
                self._room_bytes -= len(self._room.popleft().body)
                self._turned_away += 1

    def keep(self, now_s: float, *, everything: bool = False) -> float | None:
        """What was offered is in the spool, and on the disk when that is due; when to come again. Never raises."""
        with self._lock:
            letters, self._room, self._room_bytes = self._room, deque(), 0
        for letter in letters:
            taken = self.spool.append(letter.encode(), urgent=letter.kind == "event", now_s=now_s)
            if not taken:
                self.spool.keep(now_s)  # memory is full: to the disk with it
                taken = self.spool.append(letter.encode(), urgent=letter.kind == "event", now_s=now_s)
            if not taken:
                with self._lock:
                    self._turned_away += 1
        due_s = self.spool.keep(now_s, everything=everything)
        self._tell_losses(now_s)
        return due_s

    # --- out ------------------------------------------------------------------------------------------------------------------------------

    def advance(self, now_s: float, *, hurry: bool = False) -> float:
        """One delivery, if one is due; when the next is. `hurry`: nothing is waited for, neither other letters nor a sink that failed."""
        if now_s < self._retry_s and not hurry:
            return self._retry_s
        if self.sink.on_disk and self._sparing.spares_events:
            return now_s + SPARED_S
        batch = self.spool.peek(self.sink.most_records, now_s=now_s)
        if not batch.records:
            return self._attend(now_s)
        if not hurry and len(batch.records) < self.sink.most_records:
            self._gather_since_s = now_s if self._gather_since_s is None else self._gather_since_s
            if now_s < self._gather_since_s + self.sink.gather_s:
                return self._gather_since_s + self.sink.gather_s
        self._gather_since_s = None
        self._deliver(batch.records, batch.end - len(batch.records), now_s)
        return max(now_s, self._retry_s)

    def _attend(self, now_s: float) -> float:
        """Nothing waits, or the disk does not give it now: the sink has time for itself."""
        if now_s >= self._attended_s + ATTEND_EVERY_S:
            self._ask([], now_s)
            self._attended_s = now_s
        return max(self._attended_s + ATTEND_EVERY_S, self._retry_s)

    def _deliver(self, records: tuple[bytes, ...], first: int, now_s: float) -> None:
        letters: list[Letter] = []
        for record in records:
            letter = Letter.decode(record)
            if letter is None:
                break
            letters.append(letter)
        if not letters:
            self._damaged += self.spool.acknowledge(first + 1)
            return
        delivered, refused = self._ask(letters, now_s)
        self._delivered += self.spool.acknowledge(first + delivered)
        if refused is not None:
            self._refused += self.spool.acknowledge(first + delivered + 1)
            self._tell_of("refused", self._refused, now_s, f"a record is refused: {refused}", "warning")

    def _ask(self, letters: list[Letter], now_s: float) -> tuple[int, str | None]:
        """How many the sink took, and why it refuses the next one if it does."""
        try:
            self.sink.deliver(letters)
        except RefusedError as error:
            self._went_well(now_s)
            reason = shown(error.what, self._secrets)
            self._last_error = reason
            return min(error.delivered, len(letters) - 1), reason
        except SinkError as error:
            self._failed(error, now_s)
            return min(error.delivered, len(letters)), None
        except Exception as error:  # noqa: BLE001 - the edge of a thread: a sink with a fault of its own is one that fails
            # Without its traceback, whose lines may hold a password.
            log.error("output %s: %s: %s", self.name, type(error).__name__, shown(str(error), self._secrets))  # noqa: TRY400
            self._failed(UndeliveredError(f"a fault of the output: {type(error).__name__}"), now_s)
            return 0, None
        self._went_well(now_s)
        return len(letters), None

    def _went_well(self, now_s: float) -> None:
        if self._failing_since_s is not None and self._is_failure_told:
            waited_s = self._clock.wall_s() - self._failing_since_s
            self._tell(self.name, "info", f"output {self.name} takes records again", {"failed_s": round(waited_s, 1)})
        self._is_failure_told = False
        self._failures, self._failing_since_s, self._retry_s = 0, None, now_s

    def _failed(self, error: SinkError, now_s: float) -> None:
        asked_s = getattr(error, "retry_after_s", None)
        wait_s = min(FIRST_RETRY_S * 2 ** min(self._failures, 10), LONGEST_RETRY_S) * self._random.uniform(0.5, 1.0)
        self._retry_s = now_s + (wait_s if asked_s is None else min(max(wait_s, asked_s), LONGEST_ASKED_S))
        self._failures += 1
        self._last_error = shown(error.what, self._secrets)
        self._failing_since_s = self._clock.wall_s() if self._failing_since_s is None else self._failing_since_s
        if not self._is_failure_told:
            self._is_failure_told = self._tell_of("failing", 1, now_s, f"no records are taken: {self._last_error}", "warning")

    # --- told -----------------------------------------------------------------------------------------------------------------------------

    def state(self, within_s: float = STATE_WITHIN_S) -> OutletState:
        """What became of all that was offered; waited for no longer than `within_s`."""
        waiting = self.spool.state(within_s)
        with self._lock:
            room, room_bytes = len(self._room), self._room_bytes
        return OutletState(
            name=self.name,
            delivered=self._delivered,
            refused=self._refused,
            overflowed=waiting.overflowed,
            turned_away=self._turned_away,
            spared=self._spared,
            damaged=waiting.damaged + self._damaged,
            waiting_records=waiting.records + room,
            waiting_bytes=waiting.bytes + room_bytes,
            failing_since_s=self._failing_since_s,
            last_error=self._last_error or waiting.disk_error,
        )

    def _tell_losses(self, now_s: float) -> None:
        waiting = self.spool.state()
        if waiting.overflowed:
            self._tell_of("overflowed", waiting.overflowed, now_s, "the spool is full, the oldest records are dropped", "error")
        if self._turned_away and not self._closed:
            reason = waiting.disk_error or "more is offered than can be kept"
            self._tell_of("turned_away", self._turned_away, now_s, f"records are lost: {reason}", "error")

    def _tell_of(self, what: str, count: int, now_s: float, text: str, severity: Severity) -> bool:
        """Whether it was told: if there are more of them than last time, and that was a while ago."""
        told_s, told = self._told.get(what, (float("-inf"), 0))
        if now_s < told_s + TELL_EVERY_S or (count <= told and what != "failing"):
            return False
        self._told[what] = now_s, count
        self._tell(self.name, severity, f"output {self.name}: {text}", {"counted": what, "count": count})
        return True

    # --- the end --------------------------------------------------------------------------------------------------------------------------

    def stop_taking(self) -> None:
        """What is offered from now on is turned away."""
        with self._lock:
            self._closed = True

    def close(self, within_s: float) -> None:
        """All that was offered is on the disk; as much of it as the sink takes at once is delivered, for no longer than `within_s`.

        Not while another thread is in `keep` or `advance`. A sink that hangs makes it later than that: a service ends its thread for it.
        """
        self.stop_taking()
        self.keep(self._clock.monotonic_s(), everything=True)
        self.drain(self._clock.monotonic_s() + within_s)
        self.spool.close(self._clock.monotonic_s())

    def drain(self, until_s: float) -> None:
        """Deliver until nothing waits or can be read, the sink fails, or the time is over; then the sink is closed."""
        while not self._failures and self.spool.state().records and (now_s := self._clock.monotonic_s()) < until_s:
            if self.sink.on_disk and self._sparing.spares_events:
                break
            if self.advance(now_s, hurry=True) > now_s:
                break
        self.sink.close()

    @property
    def is_crowded(self) -> bool:
        """Whether what was offered is to be kept now."""
        return self._room_bytes > ROOM_BYTES // 4
