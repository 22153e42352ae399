"""The HTTP front of a live service, as the service sees it: a process of its own, which is told and asked for nothing.

Once a second it is told how the service is, and of every event at once. It never holds the service up: what its channel does not take now
is said later, and an older status not at all. Where nothing but the socket in the state folder listens, it runs only while somebody is
connected there; the socket is the service's, so nobody is turned away meanwhile. docs/decisions/0029 says why a process.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from typing import Any, Final, Literal, Protocol, TypeAlias

from edgewright.clock import Clock
from edgewright.errors import HostError
from edgewright.printable import printable
from edgewright.run.companions import Companion, Status
from edgewright.run.kept import Deed, Kept
from edgewright.run.loop import Loop
from edgewright.run.memory import MIB, MemoryBudget
from edgewright.run.preview_tap import PreviewTap
from edgewright.run.records import NO_DATA, Event, Record, Severity
from edgewright.run.said import count_said, text_said
from edgewright.run.service import Service
from edgewright.run.settings import ServiceSettings
from edgewright.serve.doors import Doors, listen_at, listen_in
from edgewright.serve.front_words import FrontOrder, pieces
from edgewright.serve.live_view import MOST_EVENTS
from edgewright.serve.url import url_of

FRONT_BYTES: Final = 40 * MIB  # of its process (docs/decisions/0029), promised before it has been measured
PREVIEW_BYTES: Final = 24 * MIB  # more, once somebody has looked at a camera: OpenCV, and a picture in hand (benchmarks/previews.py)
STATUS_EVERY_S: Final = 1.0
EVENTS_AT_ONCE: Final = 20
START_S: Final = 60.0  # on the slowest board
SILENT_S: Final = 20.0  # it answers every status
REST_S: Final = 60.0  # without a client, after which it ends where it only runs for clients
MOST_PARTS: Final = 256  # of its memory
LONGEST_FAULT: Final = 4000  # characters
FAULT_LINES: Final = 20
FAULTS_EVERY_S: Final = 10.0
PACKAGE: Final = "h11"
PIP: Final = "run: pip install 'edgewright[serve]'"

State: TypeAlias = Literal["resting", "starting", "serving", "waiting", "ended"]


class Hearer(Protocol):
    """Whose events its own are."""

    def say(self, kind: str, name: str, text: str, severity: Severity = "info", *, data: Mapping[str, Any] = NO_DATA) -> None: ...


class Front(Kept):
    """From the start of a service to its end.

    `status`: what it is told; `doors`: where clients come in, which stay the service's; `previews`: who lends it frames to show.
    """

    MODULE = "edgewright.serve.front_child"
    NOUN = "HTTP"

    def __init__(
        self,
        settings: ServiceSettings,
        doors: Doors,
        *,
        loop: Loop,
        clock: Clock,
        budget: MemoryBudget,
        hearer: Hearer,
        status: Status,
        previews: PreviewTap | None = None,
    ) -> None:
        super().__init__("front", loop=loop, clock=clock)
        self.state: State = "resting"
        self.counted: Counter[tuple[str, str]] = Counter()  # events by kind and severity
        self._settings, self._doors, self._budget, self._hearer, self._status = settings, doors, budget, hearer, status
        self._previews = previews
        self._cameras = frozenset(camera.name for camera in settings.cameras)
        self._out: deque[dict[str, Any]] = deque()  # pieces of one document that the channel has not taken yet
        self._events: deque[dict[str, Any]] = deque(maxlen=MOST_EVENTS)
        self._untold = 0  # of those, the latest that its process has not been told
        self._told_s = float("-inf")
        self._started_s = self._busy_s = self._fault_s = float("-inf")
        self._used: dict[str, int] = {}
        self._parts: set[str] = set()  # promised to it
        self._downs = 0
        self._is_wanted = bool(doors.tcp)
        self._has_ended = self._has_served = self._is_short = False
        self._watch_own()
        self._most_bytes = FRONT_BYTES if previews is None else FRONT_BYTES + PREVIEW_BYTES
        if previews is not None:
            previews.joins(self._tell)

    # --- what the service asks of it ----------------------------------------------------------------------------------------------------

    @property
    def used_bytes(self) -> Mapping[str, int]:
        return self._used

    def start(self) -> None:
        """Raises HostError: it does not fit into the memory budget."""
        if self._is_wanted:
            self._budget.admit(self.name, self._most_bytes, "the HTTP front")

    def offer(self, record: Record) -> None:
        if isinstance(record, Event):
            self.counted[record.kind, record.severity] += 1
            self._events.append(record.to_json())
            self._untold = min(self._untold + 1, MOST_EVENTS)

    def advance(self, now_s: float) -> None:
        """What is due: a start, something to say, a rest, a replacement."""
        if self._previews is not None:
            self._previews.advance(now_s)
        if self._has_ended:
            return
        if self._child is None:
            if self._is_wanted and now_s >= self._due_s:
                self._start(now_s)
        elif now_s - max(self._heard_s, self._started_s) > (START_S if self.state == "starting" else SILENT_S):
            self._fail("it has been silent for too long")
        elif not self._doors.tcp and now_s - self._busy_s > REST_S:
            self._rest()
        else:
            self._say_on(now_s)

    def finish(self, within_s: float) -> None:
        """Nobody new is let in; what was asked is answered."""
        self._has_ended = True
        self._unwatch_own()
        self._doors.close()
        self._tell({"end": within_s})

    @property
    def has_finished(self) -> bool:
        return self._child is None

    def end(self) -> None:
        self._has_ended = True
        self._drop()
        self.state = "ended"

    def to_json(self) -> dict[str, Any]:
        return {"state": self.state, "restarts": self.restarts, "why": self.why}

    # --- its process --------------------------------------------------------------------------------------------------------------------

    def _start(self, now_s: float) -> None:
        try:
            self._budget.admit(self.name, self._most_bytes, "the HTTP front")
        except HostError as error:
            self._refuse_guests(str(error))
            return
        self._is_short = False
        self._unwatch_own()
        self.state, self._started_s, self._busy_s = "starting", now_s, now_s
        if not self._begin():
            return
        self._untold, self._told_s = len(self._events), float("-inf")
        doors = self._doors
        self._tell({"doors": [len(doors.tcp), int(doors.own is not None)]}, tuple(each.fileno() for each in doors.all))
        self._out.extend(pieces({"order": FrontOrder.of(self._settings, self._room_bytes()).to_json()}))
        self._say_on(now_s)

    def _say_on(self, now_s: float) -> None:
        """As much as the channel takes."""
        while True:
            while self._out:
                if not self._tell(self._out[0]):
                    return
                self._out.popleft()
            if (document := self._next(now_s)) is None:
                return
            self._out.extend(pieces(document))

    def _next(self, now_s: float) -> dict[str, Any] | None:
        if self._untold:
            events = list(self._events)[len(self._events) - self._untold :][:EVENTS_AT_ONCE]
            self._untold -= len(events)
            return {"events": events}
        if now_s - self._told_s < STATUS_EVERY_S:
            return None
        self._told_s = now_s
        counted = [[kind, severity, count] for (kind, severity), count in sorted(self.counted.items())]
        status = {**self._status(), "front": self.to_json(), "events": counted}
        return {"status": status, "room_bytes": self._room_bytes()}

    def _room_bytes(self) -> int:
        """What its models may take: all that nobody else was promised."""
        promises = self._budget.promises
        return self._budget.room_bytes + sum(promises.get(part, 0) for part in self._parts)

    def _take(self, words: dict[str, Any]) -> Deed:  # noqa: PLR0911 - a deed a word
        match words["say"]:
            case "serves":
                return self._serves
            case "heard":
                return partial(self._heard, _parts_of(words["promised"]), _parts_of(words["used"]), is_busy=bool(words["busy"]))
            case "look" if self._previews is not None:
                return partial(self._previews.look, self._cameras.intersection(words["cameras"]))
            case "done" if self._previews is not None and self._previews.has_lent(camera := words["camera"], job := words["job"]):
                return partial(self._previews.done, camera, job)
            case "note":
                return partial(self._hearer.say, "http", self.name, text_said(words["text"]), "warning")
            case "fault":
                return partial(self._fault, [text_said(line, 300) for line in _fault_said(words["text"])])
            case "refused":
                return partial(self._fail, text_said(words["why"]))
            case said:
                raise ValueError(said)

    def _serves(self) -> None:
        self.state, self._downs = "serving", 0
        self._backoff.works(self._clock.monotonic_s())
        if self._has_served or not self._doors.tcp:
            return
        self._has_served = True
        assert self._settings.http is not None  # noqa: S101 - or it would not listen
        url = url_of(self._settings.http, self._doors.port)
        self._hearer.say("http", self.name, f"listens at {url}", data={"url": url})

    def _heard(self, promised: dict[str, int], used: dict[str, int], *, is_busy: bool) -> None:
        """It has taken a status in, and says what its models take."""
        now_s = self._clock.monotonic_s()
        if is_busy:
            self._busy_s = now_s
        self._backoff.works(now_s)
        self._promise(promised)
        self._used = used

    def _promise(self, parts: dict[str, int]) -> None:
        """Its models have their part of the one budget. Where there is no room it is told so, and gives them up."""
        for part in self._parts - parts.keys():
            self._budget.release(part)
        self._parts = set(parts)
        for part, count in parts.items():
            with suppress(HostError):
                self._budget.admit(part, count, part)

    def _fault(self, lines: list[str]) -> None:
        """A fault of ours in there; one that comes again and again is said now and then."""
        now_s = self._clock.monotonic_s()
        if now_s - self._fault_s >= FAULTS_EVERY_S:
            self._fault_s = now_s
            self._hearer.say("http", self.name, "a fault of edgewright's", "error", data={"lines": lines})

    def _fail(self, why: str) -> None:
        if self._has_ended:
            self._drop()
            return
        pause_s = self._replace(why)
        self.state = "waiting"
        self._downs += 1
        if self._downs.bit_count() == 1:  # of one that fails time after time it is said again, but ever less often
            data = self._shown(next_try_s=round(pause_s, 3), failures=self._downs)
            self._hearer.say("http", self.name, f"{self.why}; another is started in {pause_s:.0f} s", "warning", data=data)

    def _let_go(self) -> None:
        if self._previews is not None:
            self._previews.let_go()
        self._out.clear()
        self._used = {}
        self._promise({})
        self._budget.release(self.name)

    # --- a front that runs only while somebody is there -----------------------------------------------------------------------------------

    def _rest(self) -> None:
        self._drop()
        self.state, self._is_wanted = "resting", False
        self._watch_own()

    def _watch_own(self) -> None:
        if not self._is_wanted and self._doors.own is not None:
            self._loop.watch(self._doors.own.fileno(), self._knocked)

    def _unwatch_own(self) -> None:
        if self._doors.own is not None:
            with suppress(KeyError):  # it was not watched
                self._loop.unwatch(self._doors.own.fileno())

    def _knocked(self) -> None:
        """Somebody waits at the door; who comes in is the process's to answer."""
        self._unwatch_own()
        self._is_wanted = True

    def _refuse_guests(self, why: str) -> None:
        """There is no memory for it now: whoever waits is let go."""
        if not self._is_short:
            self._is_short = True
            self._hearer.say("http", self.name, f"is not started: {why}", "warning")
        if self._doors.tcp:  # which was admitted at the start, and comes again after a replacement
            self._due_s = self._clock.monotonic_s() + 1.0
            return
        self._is_wanted = False
        if self._doors.own is not None:
            with suppress(OSError):
                self._doors.own.accept()[0].close()
        self._watch_own()


def is_installed() -> bool:
    """Whether the package that it needs is here."""
    return find_spec(PACKAGE) is not None


@contextmanager
def front_of(settings: ServiceSettings) -> Iterator[Callable[[Service, Status], Companion | None] | None]:
    """Makes the front of a service that begins (see `run.live`); None where there can be none. Its address is taken at once.

    Raises:
        InputError, HostError: the certificate or the address cannot be used, or a package is missing.
    """
    doors = Doors()
    if not is_installed():
        if settings.http is not None:
            raise HostError(f"HTTP needs the package {PACKAGE}, which is not installed", fix=PIP)
        yield None
        return
    if settings.http is not None:
        check_tls(settings)
        doors.tcp = listen_at(settings.http.host, settings.http.port)

    def beside(service: Service, status: Status) -> Companion:
        try:
            doors.own, doors.own_path = listen_in(settings.state)
        except OSError as error:
            why = printable((error.strerror or str(error)).lower())
            service.say("http", "front", f"there is no socket in the state folder: {why}", "warning")
        return Front(
            settings,
            doors,
            loop=service.loop,
            clock=service.clock,
            budget=service.budget,
            hearer=service,
            status=status,
            previews=service.previews,
        )

    try:
        yield beside
    finally:
        doors.close()


def check_tls(settings: ServiceSettings) -> None:
    """Raises InputError: the certificate or its key cannot be used."""
    if settings.http is not None and settings.http.certificate is not None:
        from edgewright.serve.http_settings import Tls  # noqa: PLC0415 - as below
        from edgewright.serve.tls import tls_context  # noqa: PLC0415 - some megabytes, for those who have a certificate

        tls_context(Tls(settings.http.certificate, settings.http.key))


def _fault_said(text: Any) -> list[str]:
    """Its last lines."""
    return str(text)[:LONGEST_FAULT].splitlines()[-FAULT_LINES:]


def _parts_of(words: Any) -> dict[str, int]:
    if not isinstance(words, dict) or len(words) > MOST_PARTS:
        raise ValueError("no parts")
    return {f"http {text_said(part, 200)}": count_said(count) for part, count in words.items()}
