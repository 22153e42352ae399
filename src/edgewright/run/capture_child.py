"""The capture process of one camera: source in, frames into slots of the ring, and a word for each.

    the service says      {"open": order, "live": true, ...}, {"ring": [slots, bytes]}, {"fill": slot}
    this process says     opened, needs (a larger ring), filled, alive, ended, lost; see `_Capture`

A live source is read as fast as it sends, so that the newest frame is never an old one out of some buffer: where there is no slot to fill,
the frame is dropped and counted. Of a file nothing is dropped: without a slot it waits.
"""

import sys
import time
from collections import Counter
from typing import Any

import cv2

from edgewright.errors import EdgewrightError
from edgewright.run.channel import Channel, Message
from edgewright.run.motion import Motion
from edgewright.run.obey import obey, reason, serve
from edgewright.run.readers import PictureChanged, ReaderLost, SourceOrder, open_reader
from edgewright.run.ring import Ring
from edgewright.run.settings import MotionSettings

ALIVE_EVERY_S = 1.0
EARLY = 0.5  # of a frame's time: a camera's frames do not come to the millisecond


class _Capture:
    """What is open, what may be filled, and what has to be told."""

    def __init__(self, channel: Channel, order: dict[str, Any]) -> None:
        self._channel = channel
        self._order = order
        self._live = bool(order["live"])
        self._most_fps: float | None = order["most_fps"]
        self._left: int | None = order["most_frames"]
        self._motion = None if order["motion"] is None else Motion(MotionSettings(**order["motion"]))
        self._deeds = {"fill": self._take_slot, "most_fps": self._take_cap, "ring": self._take_ring}
        self._ring: Ring | None = None
        self._slots: list[int] = []
        self._received = 0
        self._dropped: Counter[str] = Counter()
        self._told_s = -ALIVE_EVERY_S
        self._due_s = 0.0
        self._began_s: float | None = None

    def run(self) -> None:
        """Until the source ends.

        Raises:
            ReaderLost: it is gone, or cannot be opened now.
            EdgewrightError: it is no source, or this machine cannot open it.
        """
        self._reader = reader = open_reader(SourceOrder.from_json(self._order["open"]))
        self.say("opened", reader=reader.name, fps=reader.fps, frames=reader.frames, patient=reader.is_patient)
        self._pass_over(self._order["skip"])
        while self._left is None or self._left > 0:
            if not self._live:
                self._wait_for_a_slot()
            found = reader.next()
            if found is False:
                break
            if found:
                self._received += 1
                self._left = None if self._left is None else self._left - 1
                self._take()
            self._listen()
            self._say_alive()
        self.say("ended")

    def _pass_over(self, frames: int) -> None:
        """What another process has read of this file before it was lost."""
        for _ in range(frames):
            if self._reader.next() is False:
                return
            self._say_alive()

    def _say_alive(self) -> None:
        if time.monotonic() - self._told_s >= ALIVE_EVERY_S:
            self.say("alive")

    def _take(self) -> None:
        """One frame, which is there to be decoded: into a slot, or dropped for a reason."""
        if self._live:
            self._pace()
        if not self._is_due(time.monotonic() if self._live else self._reader.time_s):
            self._dropped["fps_cap"] += 1
            return
        wide, high = self._reader.size_wh()
        if self._ring is None or wide * high * 3 > self._ring.slot_bytes:
            self._ask_for_larger(wide * high * 3)
        while not self._slots and not self._live:
            self._listen(wait=True)
        self._listen()
        if not self._slots:
            self._dropped["no_slot"] += 1
            return
        assert self._ring is not None  # noqa: S101 - there are no slots without one
        picture = self._ring.picture(self._slots[0], (wide, high))
        self._reader.draw(picture)
        done_s, wall_s = time.monotonic(), time.time()
        if self._motion is not None and not self._motion.moves(picture, self._reader.time_s if not self._live else done_s):
            self._dropped["still"] += 1
            return
        self.say("filled", slot=self._slots.pop(0), wh=[wide, high], at_s=done_s, wall_s=wall_s, source_s=self._reader.time_s)

    def _is_due(self, at_s: float) -> bool:
        """Whether a frame may be taken under the cap; `at_s`: now, or where it lies in a file."""
        if self._most_fps is None:
            return True
        period_s = 1 / self._most_fps
        if at_s < self._due_s - EARLY * period_s:
            return False
        self._due_s = max(self._due_s + period_s, at_s)
        return True

    def _pace(self) -> None:
        """A file that plays a camera is held to its own times; a camera has none."""
        time_s = self._reader.time_s
        if self._began_s is None:
            self._began_s = time.monotonic() - time_s
        while time_s > 0 and (early_s := self._began_s + time_s - time.monotonic()) > 0:
            time.sleep(min(early_s, ALIVE_EVERY_S))
            if time.monotonic() - self._told_s >= ALIVE_EVERY_S:
                self.say("alive")

    def _ask_for_larger(self, slot_bytes: int) -> None:
        self.say("needs", slot_bytes=slot_bytes)
        self._slots.clear()
        before = self._ring
        while self._ring is before:
            self._listen(wait=True)

    def _wait_for_a_slot(self) -> None:
        while self._ring is not None and not self._slots:
            self._listen(wait=True)

    def _listen(self, *, wait: bool = False) -> None:
        """Take all that the service has said; with `wait`, at least one thing."""
        self._channel.set_blocking(wait)
        try:
            while (message := self._channel.receive()) is not None:
                obey(message, self._deeds)
                self._channel.set_blocking(False)
        finally:
            self._channel.set_blocking(True)

    def _take_slot(self, message: Message) -> None:
        self._slots.append(message.words["fill"])

    def _take_cap(self, message: Message) -> None:
        """A cap that allows more does so at once: the frame that the one before would have allowed at last may be minutes away."""
        self._most_fps = message.words["most_fps"]
        if self._live and self._most_fps is not None:
            self._due_s = min(self._due_s, time.monotonic() + 1 / self._most_fps)

    def _take_ring(self, message: Message) -> None:
        slots, slot_bytes = message.words["ring"]
        if self._ring is not None:
            self._ring.close()
        self._slots.clear()
        self._ring = Ring.attach(message.fds[0], slots, slot_bytes)

    def say(self, what: str, **words: Any) -> None:
        """With what was received and dropped since this was last said."""
        self._channel.send({"say": what, "received": self._received, "dropped": dict(self._dropped), **words})
        self._received = 0
        self._dropped.clear()
        self._told_s = time.monotonic()


def main() -> int:
    """Serve one camera until its source ends, fails, or the service is gone."""
    cv2.setNumThreads(1)
    return serve(_capture)


def _capture(channel: Channel, order: dict[str, Any]) -> None:
    """A camera that is lost is said with what came of it until then."""
    capture = _Capture(channel, order)
    try:
        capture.run()
    except (ReaderLost, EdgewrightError) as error:
        capture.say("lost", **reason(error), changed=isinstance(error, PictureChanged))


if __name__ == "__main__":
    sys.exit(main())
