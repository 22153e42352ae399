"""Three numbers of a spool in a file of one block, written over in place: two copies in turn, so that one of them is always whole."""

import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Final

_COPY: Final = struct.Struct("<QQQQI")  # generation, head, overflowed, damaged, CRC-32 of those
_PLACE = 64  # bytes from one copy to the next
MOST = 1 << 63


class Cursor:
    """Where a spool has come to. It is never synced: an older one after a power cut means that some records are given twice."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._generation = 0

    def load(self) -> tuple[int, int, int]:
        """Head, overflowed, damaged as last saved; zeros where nothing sound is there.

        Raises:
            OSError: it is there and cannot be read.
        """
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0, 0, 0
        try:
            data = os.read(descriptor, 2 * _PLACE)
        finally:
            os.close(descriptor)
        copies = [copy for at in (0, _PLACE) if (copy := _sound(data[at : at + _COPY.size])) is not None]
        self._generation, head, overflowed, damaged = max(copies, default=(0, 0, 0, 0))
        return head, overflowed, damaged

    def save(self, head: int, overflowed: int, damaged: int) -> int:
        """Write them; how many bytes that were.

        Raises:
            OSError: the disk does not take it; what was saved before still is.
        """
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._generation += 1
        numbers = struct.pack("<QQQQ", self._generation, head, overflowed, damaged)
        os.pwrite(self._descriptor, numbers + struct.pack("<I", zlib.crc32(numbers)), self._generation % 2 * _PLACE)
        return _COPY.size

    def close(self) -> None:
        """Nothing is saved any more."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None


def _sound(data: bytes) -> tuple[int, int, int, int] | None:
    if len(data) < _COPY.size:
        return None
    generation, head, overflowed, damaged, check = _COPY.unpack(data)
    if check != zlib.crc32(data[: _COPY.size - 4]) or max(generation, head, overflowed, damaged) >= MOST:
        return None
    return generation, head, overflowed, damaged
