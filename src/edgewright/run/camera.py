"""One camera as the service sees it: its capture process, the ring it fills, and what to do when it falls silent.

It is started, watched, and replaced: after an exit at once, after silence when `stall_s` has passed, then again and again with growing
pauses (`backoff`). Nothing that a camera does can hold the service up: it is only ever heard.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal, Protocol, TypeAlias

from edgewright.clock import Clock
from edgewright.errors import HostError, InputError
from edgewright.run.frames import HeldFrame, SharedRing
from edgewright.run.kept import Deed, Kept
from edgewright.run.loop import Loop
from edgewright.run.readers.base import LIVE_KINDS, MOST_PIXELS, SourceOrder, is_live, kind_of
from edgewright.run.records import Severity
from edgewright.run.ring import Ring
from edgewright.run.said import count_said, number_said, text_said
from edgewright.run.settings import CameraSettings

WRITING = 2  # slots that a camera may fill at once: one is filled while the other is told of
START_S = 15.0  # on top of `stall_s`, for a process to begin on a slow board
REASONS = frozenset({"fps_cap", "no_slot", "still"})  # for which a capture process itself drops frames
MOST_AT_ONCE = 1 << 20  # frames in one message
SETTLED_S = 5.0
LOST = "lost"  # what became of a frame that had come, and then could not be decoded, or whose process died over it

State: TypeAlias = Literal["starting", "up", "waiting", "ended", "refused"]


class Hearer(Protocol):
    """Who is told what a camera does."""

    def captured(self, camera: str, count: int, dropped: Mapping[str, int]) -> None: ...
    def frame(self, frame: HeldFrame) -> None: ...
    def camera_happened(self, name: str, text: str, severity: Severity, data: Mapping[str, Any]) -> None: ...
    def ring_closed(self, shared: SharedRing) -> None: ...


@dataclass(frozen=True, slots=True)
class Room:
    """What a camera's ring may take, and whom to tell what it took."""

    left_bytes: Callable[[], int]
    promise: Callable[[int], None]


class Camera(Kept):
    """A camera, from its start to the end of the service."""

    MODULE = "edgewright.run.capture_child"
    NOUN = "capture"

    def __init__(
        self, settings: CameraSettings, slots: int, *, most_frames: int | None = None, loop: Loop, clock: Clock, room: Room, hearer: Hearer
    ) -> None:
        super().__init__(settings.name, loop=loop, clock=clock)
        self.settings = settings
        self.live = is_live(settings)
        self._order = SourceOrder.of(settings)  # once: a folder that is gone for a while is a folder all the same
        self.state: State = "waiting"
        self.reader: str | None = None
        self.fps: float | None = None
        self.size_wh: tuple[int, int] | None = None
        self.exit_code = 0  # of a source that is none
        self.received = 0
        self.most_fps = settings.fps
        self._slots = slots
        self._most_frames = most_frames
        self._room, self._hearer = room, hearer
        self._shared: SharedRing | None = None
        self._since_s = clock.monotonic_s()  # of this state
        self._frame_s = self._began_s = self._since_s
        self._lost_s: float | None = None
        self._is_patient = False
        self._fewest_slots: int | None = None  # while memory is short
        self._open = 0  # frames of which we know that they came, and not yet what became of them

    # --- what the service asks of it ----------------------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Nothing more will come of it."""
        return self.state in ("ended", "refused")

    def advance(self, now_s: float) -> None:
        """What is due: a start, or a replacement."""
        if self.state == "waiting" and now_s >= self._due_s:
            self._start(now_s)
        elif self.state == "starting" and now_s - (self._since_s if self.live else self._heard_s) > self.settings.stall_s + START_S:
            self._fail(f"no frame came within {self.settings.stall_s + START_S:.0f} s of its start")
        elif self.state == "up":
            if not self.live and self._is_waiting_for_us():
                self._heard_s = now_s  # a file's reader that waits for a slot of ours is silent as well, and not to blame: nor is it later
            silent_s = now_s - (self._frame_s if self._must_deliver else self._heard_s)
            if silent_s > self.settings.stall_s:
                self._fail(f"no frame for {self.settings.stall_s:.0f} s")
        self._fit_slots()
        self.give_slots()

    @property
    def _must_deliver(self) -> bool:
        """Whether no frame means that it hangs, though its process lives. What plays a file waits for the next one's time, and says so."""
        return self.live and not self._is_patient and kind_of(self.settings) in LIVE_KINDS

    def give_slots(self) -> None:
        """Say which slots it may fill."""
        if self._child is None or self._shared is None:
            return
        writing = WRITING if self._fewest_slots is None else 1
        while self._shared.ledger.writing < writing and (slot := self._shared.ledger.take()) is not None:
            self._tell({"fill": slot})

    def shorten(self, *, short: bool) -> None:
        """Make do with few slots, and give the memory of the others back as they become free; or have all of them again."""
        self._fewest_slots = max(WRITING, -(-self._slots // 2)) if short else None

    def _fit_slots(self) -> None:
        if self._shared is None:
            return
        ring, ledger = self._shared.ring, self._shared.ledger
        if self._fewest_slots is None:
            if (slot := ledger.aside) is not None and ring.allocate(slot):  # one a turn, as far as the machine has the memory
                ledger.bring_back()
            return
        while ledger.in_use > self._fewest_slots and (slot := ledger.set_aside()) is not None:
            ring.give_back(slot)

    def cap(self, most_fps: float | None) -> None:
        """Take no more than so many frames a second from now on."""
        self.most_fps = most_fps
        self._tell({"most_fps": most_fps})

    def end(self) -> None:
        """For good."""
        self._drop()
        if not self.is_over:
            self._become("ended")

    # --- its process --------------------------------------------------------------------------------------------------------------------

    def _start(self, now_s: float) -> None:
        if self._most_frames is not None and self.received >= self._most_frames:  # it was lost when there was no more to come
            self._ended()
            return
        self._become("starting")
        self._is_patient = False
        self._frame_s = self._began_s = now_s
        if not self._begin():
            return
        motion = None if self.settings.motion is None else asdict(self.settings.motion)
        left = None if self._most_frames is None else self._most_frames - self.received
        # A film goes on where its last reader was lost; one that plays again and again may begin anywhere.
        skip = 0 if self.live or self.settings.loop or self.settings.watch else self.received
        more = {"live": self.live, "most_fps": self.most_fps, "motion": motion, "most_frames": left, "skip": skip}
        self._tell({"open": self._order.to_json(), **more})

    def _take(self, words: dict[str, Any]) -> Deed:
        received, dropped = count_said(words["received"], MOST_AT_ONCE), words["dropped"]
        if set(dropped) - REASONS:
            raise ValueError("dropped for no reason")
        still_open = self._open + received - sum(count_said(each, MOST_AT_ONCE) for each in dropped.values())
        if still_open < 0:
            raise ValueError("more was dropped than came")
        if words["say"] == "filled" and not still_open:
            raise ValueError("no frame came")
        deed = self._asked(words, self.received + received - 1)

        def count_and_do() -> None:
            self._counted(received, dropped, still_open)
            if deed is not None:
                deed()

        return count_and_do

    def _asked(self, words: dict[str, Any], number: int) -> Deed | None:
        """`number`: of the last frame that came."""
        match words["say"]:
            case "filled":
                return partial(self._filled, self._frame_said(words, number))
            case "opened":
                fps = None if words["fps"] is None else number_said(words["fps"])
                return partial(self._opened, text_said(words["reader"], 100), fps, is_patient=words["patient"] is True)
            case "needs" if words["slot_bytes"]:
                return partial(self._make_ring, count_said(words["slot_bytes"], MOST_PIXELS * 3))
            case "ended":
                return self._ended
            case "lost":
                why, exit_code = text_said(words["why"]), count_said(words["exit_code"], 255)
                return partial(self._reopen if words["changed"] is True and self._is_settled else self._lost, why, exit_code)
            case "alive":
                return None
            case said:
                raise ValueError(said)

    def _counted(self, received: int, dropped: Mapping[str, int], still_open: int) -> None:
        """Frames came, and some of these or of those before were dropped."""
        self._open = still_open
        self.received += received
        if received:
            self._frame_s = self._heard_s
        if received or dropped:
            self._hearer.captured(self.name, received, dropped)

    def _frame_said(self, words: dict[str, Any], number: int) -> HeldFrame:
        """Of the slot that it says it has filled, which was its to fill, and is not any more."""
        shared = self._shared
        if shared is None:
            raise ValueError("no ring")
        slot, (wide, high) = count_said(words["slot"]), map(count_said, words["wh"])
        said_s, wall_s, source_s = (number_said(words[name]) for name in ("at_s", "wall_s", "source_s"))
        at_s = min(max(said_s, self._began_s), self._clock.monotonic_s())
        shared.ring.picture(slot, (wide, high))  # raises for what does not fit
        shared.ledger.fill(slot)
        return HeldFrame(self.name, number, shared, slot, (wide, high), at_s, wall_s, at_s if self.live else source_s)

    def _filled(self, frame: HeldFrame) -> None:
        self._open -= 1
        try:
            if self.size_wh not in (None, frame.size_wh):
                self._say("the picture is {} x {} pixels now".format(*frame.size_wh), "info")
            self.size_wh = frame.size_wh
            self._is_up()
            self._hearer.frame(frame)
        finally:
            frame.release()
        self.give_slots()

    def _opened(self, reader: str, fps: float | None, *, is_patient: bool) -> None:
        self.reader, self.fps, self._is_patient = reader, fps, is_patient
        if is_patient:
            self._is_up()

    def _is_up(self) -> None:
        now_s = self._clock.monotonic_s()
        self._backoff.works(now_s)
        if self.state == "up":
            return
        self._become("up")
        if self._lost_s is not None:
            self._say(f"frames come again after {now_s - self._lost_s:.1f} s", "info", online=True, down_s=round(now_s - self._lost_s, 3))
            self._lost_s = None
        else:
            self._say(f"frames come, through {self.reader}", "info", online=True)

    def _make_ring(self, slot_bytes: int) -> None:
        self._retire_ring()
        try:
            ring = Ring.make(self.name, slots=self._slots, slot_bytes=slot_bytes, room_bytes=self._room.left_bytes())
        except HostError as error:
            # A camera may be asked for less, or others may leave; a file stays as large as it is.
            if self.live:
                self._fail(str(error))
            else:
                self._give_up(str(error), error.exit_code)
            return
        self._room.promise(ring.total_bytes)
        self._shared = SharedRing(ring, self._hearer.ring_closed)
        self._tell({"ring": [ring.slots, ring.slot_bytes]}, (ring.fd,))
        self.give_slots()

    # --- its ends -----------------------------------------------------------------------------------------------------------------------

    def _ended(self) -> None:
        """The last frame of a file was read."""
        self._drop()
        self._become("ended")
        self._say("its last frame was read", "info", online=False)

    def _lost(self, why: str, exit_code: int) -> None:
        if exit_code == InputError.exit_code and not self.live:
            self._give_up(why, exit_code)
        else:
            self._fail(why)

    def _give_up(self, why: str, exit_code: int) -> None:
        """It would be the same another time."""
        self._drop()
        self._become("refused")
        self.why, self.exit_code = why, exit_code
        self._say(why, "error", online=False)

    @property
    def _is_settled(self) -> bool:
        """Whether its process has delivered for a while: one that changes all the time is opened anew ever later."""
        return self.state == "up" and self._clock.monotonic_s() - self._began_s >= SETTLED_S

    def _reopen(self, why: str, _exit_code: int) -> None:
        """Another process at once: nothing has failed."""
        self._drop()
        self.why, self._due_s = why, self._clock.monotonic_s()
        self.restarts += 1
        self._become("waiting")
        self._lost_s = self._since_s
        self._say(f"{why}; it is opened anew", "info", online=False)

    def _fail(self, why: str) -> None:
        """It is replaced, after a pause."""
        pause_s = self._replace(why)
        self._become("waiting")
        if self._lost_s is None:
            self._lost_s = self._since_s
            data = self._shown(online=False, next_try_s=round(pause_s, 3))
            self._hearer.camera_happened(self.name, f"{self.why}; trying again in {pause_s:.0f} s, and ever later", "warning", data)

    def _let_go(self) -> None:
        self._retire_ring()
        if self._open:
            self._hearer.captured(self.name, 0, {LOST: self._open})
            self._open = 0

    def _retire_ring(self) -> None:
        if self._shared is not None:
            self._shared.retire()
            self._shared = None
            self._room.promise(0)

    def _is_waiting_for_us(self) -> bool:
        return self._shared is not None and not self._shared.ledger.writing

    def _become(self, state: State) -> None:
        self.state = state
        self._since_s = self._clock.monotonic_s()

    def _say(self, text: str, severity: Severity, **data: Any) -> None:
        self._hearer.camera_happened(self.name, text, severity, data)
