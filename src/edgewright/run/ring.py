"""Slots in memory that two processes share: a frame is written once, where its reader finds it.

The memory has no name and no file (memfd): nothing is left when the processes are gone, however they went, and the size of /dev/shm, which
breaks others with SIGBUS (docs/decisions/0022), does not matter. It is there before the first frame: all of it is allocated, and what
cannot be is a clear error at the start. It is sealed: nobody, a broken child included, can make it smaller under a reader's hands.

Which slot is whose only the service knows (`SlotLedger`). A child is told which slot to write or to read; its death leaves nothing locked.

    ring = Ring.make("belt", slots=6, slot_bytes=640 * 360 * 3, room_bytes=1 << 30)
    picture = ring.picture(2, (640, 360))           # H x W x 3, a view
"""

import fcntl
import mmap
import os
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from edgewright.detections import ImageRgb
from edgewright.errors import HostError

PAGE = mmap.PAGESIZE
MOST_SLOTS = 64
MIB = 1 << 20
# <linux/fcntl.h>; Python names them from 3.8 on where the C library does.
SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW


class RingError(Exception):
    """What was handed over as a ring is none."""


class Ring:
    """`slots` slots of `slot_bytes` each. A context manager; closing it closes this process's view only."""

    def __init__(self, descriptor: int, slots: int, slot_bytes: int) -> None:
        self.fd = descriptor
        self.slots = slots
        self.slot_bytes = slot_bytes
        self._stride = _stride(slot_bytes)
        self._map = mmap.mmap(descriptor, slots * self._stride)
        self._bytes = np.frombuffer(self._map, np.uint8)

    @classmethod
    def make(cls, name: str, *, slots: int, slot_bytes: int, room_bytes: int) -> "Ring":
        """A new one, all of whose memory is there.

        Raises:
            HostError: it takes more than `room_bytes`, or than the machine has.
        """
        total = slots * _stride(slot_bytes)
        if total > room_bytes:
            raise _too_large(name, slots, slot_bytes, f"{room_bytes / MIB:.0f} MiB that may be used")
        try:
            descriptor = os.memfd_create(f"edgewright-{name}"[:200], os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            try:
                os.posix_fallocate(descriptor, 0, total)
                fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
                return cls(descriptor, slots, slot_bytes)
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as error:
            raise _too_large(name, slots, slot_bytes, (error.strerror or str(error)).lower()) from error

    @classmethod
    def attach(cls, descriptor: int, slots: int, slot_bytes: int) -> "Ring":
        """The ring behind a descriptor that came over a channel.

        Raises:
            RingError: it is smaller than it should be, or could become so.
        """
        if not 0 < slots <= MOST_SLOTS or slot_bytes <= 0:
            raise RingError(f"{slots} slots of {slot_bytes} bytes")
        try:
            is_sealed = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK
            if not is_sealed or os.fstat(descriptor).st_size < slots * _stride(slot_bytes):
                raise RingError("its memory is not as large as it should be, or not sealed")
            return cls(descriptor, slots, slot_bytes)
        except OSError as error:  # a descriptor of something else
            raise RingError(f"it cannot be mapped: {error.strerror}") from error

    @property
    def total_bytes(self) -> int:
        return self.slots * self._stride

    def slot(self, index: int) -> NDArray[np.uint8]:
        """The bytes of a slot, a view.

        Raises:
            RingError: there is no such slot.
        """
        if not 0 <= index < self.slots:
            raise RingError(f"there is no slot {index}")
        return self._bytes[index * self._stride : index * self._stride + self.slot_bytes]

    def picture(self, index: int, size_wh: tuple[int, int]) -> ImageRgb:
        """The slot as a picture, H x W x 3 uint8, a view.

        Raises:
            RingError: there is no such slot, or the picture is larger than it.
        """
        wide, high = size_wh
        if wide <= 0 or high <= 0 or wide * high * 3 > self.slot_bytes:
            raise RingError(f"a picture of {wide} x {high} in a slot of {self.slot_bytes} bytes")
        return self.slot(index)[: wide * high * 3].reshape(high, wide, 3)

    def give_back(self, index: int) -> None:
        """The slot's memory goes back to the machine; it is not to be touched before `allocate`. Only for whoever knows it to be unused."""
        with suppress(OSError):  # a kernel that cannot keeps the memory, and nothing else changes
            self._map.madvise(mmap.MADV_REMOVE, index * self._stride, self._stride)

    def allocate(self, index: int) -> bool:
        """Take a slot's memory again; whether the machine had it."""
        try:
            os.posix_fallocate(self.fd, index * self._stride, self._stride)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Views that are still held keep the memory; the descriptor goes."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            self._bytes = np.empty(0, np.uint8)
            del self._map

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


@dataclass(slots=True)
class SlotLedger:
    """Whose each slot is: free, being written, or held by so many readers. It is one process's, and so needs no lock."""

    slots: int
    _free: deque[int] = field(init=False)
    _writing: set[int] = field(init=False, default_factory=set)
    _holders: dict[int, int] = field(init=False, default_factory=dict)
    _aside: list[int] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._free = deque(range(self.slots))

    @property
    def free(self) -> int:
        return len(self._free)

    @property
    def writing(self) -> int:
        return len(self._writing)

    @property
    def in_use(self) -> int:
        """Slots that are not set aside."""
        return self.slots - len(self._aside)

    def set_aside(self) -> int | None:
        """A free slot, which nobody gets before `bring_back`; None where there is none."""
        if not self._free:
            return None
        self._aside.append(self._free.popleft())
        return self._aside[-1]

    @property
    def aside(self) -> int | None:
        """The slot that `bring_back` would free."""
        return self._aside[-1] if self._aside else None

    def bring_back(self) -> None:
        """The slot that was set aside last is free again."""
        self._free.append(self._aside.pop())

    def take(self) -> int | None:
        """A free slot, to be written; None where there is none."""
        if not self._free:
            return None
        slot = self._free.popleft()
        self._writing.add(slot)
        return slot

    def fill(self, slot: int) -> None:
        """A writer says that it is done; the slot has one holder now.

        Raises:
            RingError: the slot was not its to write.
        """
        if slot not in self._writing:
            raise RingError(f"slot {slot} was not to be written")
        self._writing.remove(slot)
        self._holders[slot] = 1

    def hold(self, slot: int) -> None:
        """One more reader."""
        self._holders[slot] += 1

    def release(self, slot: int) -> None:
        """One reader less; free after the last."""
        self._holders[slot] -= 1
        if not self._holders[slot]:
            del self._holders[slot]
            self._free.append(slot)

    def writer_is_gone(self) -> None:
        """What it was writing nobody will."""
        self._free.extend(sorted(self._writing))
        self._writing.clear()


def _stride(slot_bytes: int) -> int:
    """Whole pages, so that two slots never share a cache line."""
    return -(-slot_bytes // PAGE) * PAGE


def _too_large(name: str, slots: int, slot_bytes: int, got: str) -> HostError:
    return HostError(
        f"the frames of {name} do not fit into memory",
        got=got,
        expected=f"{slots * _stride(slot_bytes) / MIB:.0f} MiB for {slots} frames of {slot_bytes / MIB:.1f} MiB",
        fix="ask the camera for a smaller picture, or raise the memory budget",
    )
