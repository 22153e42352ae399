"""A frame on its way through the service: where it lies, and who still needs it."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from edgewright.detections import ImageRgb
from edgewright.run.ring import Ring, SlotLedger

_ids = count(1)


class SharedRing:
    """A ring with its ledger, and a number by which children know it. Once retired it closes when its last frame is let go."""

    def __init__(self, ring: Ring, closed: Callable[["SharedRing"], None]) -> None:
        self.id = next(_ids)
        self.ring = ring
        self.ledger = SlotLedger(ring.slots)
        self._closed = closed
        self._retired = False

    def retire(self) -> None:
        """Nobody writes into it any more."""
        self._retired = True
        self.ledger.writer_is_gone()
        self.close_if_unused()

    def close_if_unused(self) -> None:
        if self._retired and self.ledger.free == self.ledger.in_use and self.ring.fd >= 0:
            self._closed(self)
            self.ring.close()


@dataclass(slots=True, eq=False)
class HeldFrame:
    """A captured frame, in a slot. Everyone who keeps it holds it, and lets it go once.

    `number`: among those the camera has sent, from 0. `at_s`: when it lay there complete, on the monotonic clock; `wall_s`: on the wall's;
    `time_s`: on its source's, which for a file is the time in the file.
    """

    camera: str
    number: int
    shared: SharedRing
    slot: int
    size_wh: tuple[int, int]
    at_s: float
    wall_s: float
    time_s: float

    def hold(self) -> "HeldFrame":
        self.shared.ledger.hold(self.slot)
        return self

    def release(self) -> None:
        self.shared.ledger.release(self.slot)
        self.shared.close_if_unused()

    def picture(self) -> ImageRgb:
        """A view, good for as long as the frame is held."""
        return self.shared.ring.picture(self.slot, self.size_wh)
