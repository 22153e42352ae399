"""Records that wait, first in first out: the newest in memory, the others in files, no more of them than `most_bytes`.

What is appended waits in memory until `keep` writes it: at once if it is urgent, otherwise after two seconds or 256 KiB, so that what
is taken soon never touches the disk. What `keep` has written survives our own death; it is brought to the disk itself (fdatasync) only
if something urgent still waits a second after it was written. `docs/decisions/0023-what-accepted-means.md` has the reasons.

On disk: segments `NUMBER.spool`, NUMBER being that of its first record, each only ever appended to; and `cursor`, the number of the first
record that still waits. A record is its length and the CRC-32 of number, length and bytes, then the bytes. A record that a kill or a
power cut tore is dropped and counted when the spool is opened again. A disk that is full costs nothing that was kept: what cannot be
written stays in memory, and beyond `memory_bytes` nothing more is taken. Nor does one that does not give a record back at once cost it:
that waits, and those behind it, until it can be read or has been refused for half a minute.

>>> spool = Spool(folder, most_bytes=64 << 20)  # doctest: +SKIP
>>> spool.append(b"...", urgent=True); spool.keep(clock.monotonic_s())  # doctest: +SKIP
>>> batch = spool.peek(now_s=clock.monotonic_s()); send(batch.records); spool.acknowledge(batch.end)  # doctest: +SKIP

Any thread may call any of it.
"""

import errno
import os
import re
import struct
import threading
import zlib
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

from edgewright.printable import printable
from edgewright.run.cursor import Cursor
from edgewright.whole_file import SHOWN, disk_error, is_own_file, sync_folder

KEEP_AFTER_S = 2.0  # what is not urgent waits so long in memory, in the hope that it is taken
KEEP_AFTER_BYTES = 256 << 10
SYNC_AFTER_S = 1.0
RETRY_S = 2.0  # after the disk refused a write
GIVE_UP_S = 30.0  # a record that the disk has not given for so long counts as damaged: a bus that is reset is back by then
MEMORY_BYTES = 1 << 20
SEGMENTS = 8  # so many make a full spool: the oldest eighth is what goes at once when it overflows
LEAST_BYTES = 64 << 10
DRAINED_BYTES = 64 << 10  # a segment of which nothing waits is taken away once it is so large: mostly before the kernel has written it
LARGEST_SEGMENT_BYTES = 64 << 20
BATCH_BYTES = 1 << 20
STATE_WITHIN_S = 0.05
OURS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})  # what keeps us from reading and says nothing of the disk

_FRAME: Final = struct.Struct("<II")
_NUMBER: Final = struct.Struct("<QI")
_NAME: Final = re.compile(r"[0-9]{20}\.spool")


@dataclass(frozen=True, slots=True)
class Waiting:
    """`overflowed`: dropped for newer ones; `damaged`: on the disk, and not as they were written, or not to be read any more. Both since
    the spool was first made.
    """

    records: int
    bytes: int
    overflowed: int
    damaged: int
    disk_error: str | None


@dataclass(frozen=True, slots=True)
class Batch:
    """The oldest records that wait, the last of which is number `end - 1`."""

    records: tuple[bytes, ...]
    end: int


@dataclass(slots=True)
class _Segment:
    path: Path
    first: int
    ends: "array[int]" = field(default_factory=lambda: array("I"))  # where each record ends in the file

    @property
    def end(self) -> int:
        return self.first + len(self.ends)

    @property
    def size_bytes(self) -> int:
        return self.ends[-1] if self.ends else 0

    def offset(self, number: int) -> int:
        """Where the record begins."""
        return self.ends[number - self.first - 1] if number > self.first else 0


@dataclass(frozen=True, slots=True)
class _Pending:
    record: bytes
    urgent: bool
    at_s: float

    @property
    def size_bytes(self) -> int:
        return _FRAME.size + len(self.record)


class Spool:
    """The spool in `folder`, which nobody else writes; what an earlier run left there waits again.

    `wrote` is told of every byte that goes to the disk.

    Raises:
        DiskError: what is there cannot be read. A folder that cannot be made is met when it is first written to.
    """

    def __init__(
        self, folder: Path, most_bytes: int, *, memory_bytes: int = MEMORY_BYTES, wrote: Callable[[int], object] = lambda _: None
    ) -> None:
        self.folder = folder
        self.most_bytes = max(most_bytes, SEGMENTS * LEAST_BYTES)
        self._segment_bytes = min(self.most_bytes // SEGMENTS, LARGEST_SEGMENT_BYTES)
        self._memory_bytes = memory_bytes
        self._wrote = wrote
        self._lock = threading.Lock()
        self._cursor = Cursor(folder / "cursor")
        self._pending: deque[_Pending] = deque()  # numbers follow those on disk
        self._pending_bytes = 0
        self._active: int | None = None  # descriptor of the last segment, while it may be appended to
        self._error: str | None = None  # of the last write
        self._read_error: str | None = None
        self._unread = (-1, 0.0)  # which record the disk does not give, and since when
        self._retry_s = float("-inf")
        self._unsynced_s: float | None = None  # since when something urgent is written and not synced
        self._unsynced_end = 0
        self._is_new = False  # the name of a segment is not synced
        self._closed = False
        self._segments: list[_Segment] = []
        self._head = self._overflowed = self._damaged = 0
        self._state = Waiting(0, 0, 0, 0, None)
        try:
            self._open()
        except OSError as error:
            raise disk_error(error, folder) from error

    # --- what waits -----------------------------------------------------------------------------------------------------------------------

    @property
    def largest_bytes(self) -> int:
        """No record may be larger."""
        return self._segment_bytes - _FRAME.size

    def append(self, record: bytes, *, urgent: bool, now_s: float) -> bool:
        """Whether the record was taken; it is not while the disk refuses and memory is full, when it is too large, or after `close`."""
        with self._lock:
            pending = _Pending(record, urgent, now_s)
            if self._closed or len(record) > self.largest_bytes or self._pending_bytes + pending.size_bytes > self._memory_bytes:
                return False
            self._pending.append(pending)
            self._pending_bytes += pending.size_bytes
            return True

    def peek(self, most_records: int = 1000, most_bytes: int = BATCH_BYTES, *, now_s: float) -> Batch:
        """The oldest that wait, at least one if any does and can be read now; they go on waiting until they are acknowledged."""
        with self._lock:
            while self._segments and self._head < self._segments[0].end:
                lost = 1
                try:
                    kept = self._read(self._segments[0], most_records, most_bytes)
                except OSError as error:
                    kept, lost = (), self._given_up(error, now_s)
                else:
                    self._read_error = None
                if kept or not lost:
                    return Batch(kept, self._head + len(kept))
                self._damaged += lost
                self._pass(self._head + lost)
                self._save()
            records: list[bytes] = []
            left_bytes = most_bytes
            for pending in islice(self._pending, most_records):
                left_bytes -= len(pending.record)
                if records and left_bytes < 0:
                    break
                records.append(pending.record)
            return Batch(tuple(records), self._head + len(records))

    def acknowledge(self, end: int) -> int:
        """Records before number `end` wait no more; how many of them still did."""
        with self._lock:
            on_disk = bool(self._segments)
            taken = self._pass(end)
            if taken and on_disk and not self._closed:
                self._save()
            return taken

    def state(self, within_s: float = STATE_WITHIN_S) -> Waiting:
        """What waits now; while a disk that hangs holds everything up, what last did. Waited for no longer than `within_s`."""
        if self._lock.acquire(timeout=within_s):
            try:
                records = sum(segment.end - max(segment.first, self._head) for segment in self._segments) + len(self._pending)
                size = sum(segment.size_bytes - segment.offset(max(segment.first, self._head)) for segment in self._segments)
                self._state = Waiting(records, size + self._pending_bytes, self._overflowed, self._damaged, self._error or self._read_error)
            finally:
                self._lock.release()
        return self._state

    # --- to the disk ----------------------------------------------------------------------------------------------------------------------

    def keep(self, now_s: float, *, everything: bool = False) -> float | None:
        """Write and sync what is due, or `everything`; when to come again. What the disk refuses stays in memory; nothing is raised."""
        with self._lock:
            if self._closed:
                return None
            due_s = self._write_due_s()
            if due_s is not None and (everything or due_s <= now_s):
                self._flush(now_s)
                due_s = self._write_due_s()
            sync_s = self._sync_due_s()
            if sync_s is not None and (everything or sync_s <= now_s):
                self._sync()
                sync_s = None
            return min((at_s for at_s in (due_s, sync_s) if at_s is not None), default=None)

    def close(self, now_s: float) -> None:
        """All that waits is on the disk, if the disk takes it; nothing is taken or given any more."""
        self.keep(now_s, everything=True)
        with self._lock:
            self._closed = True
            self._seal()
            self._cursor.close()

    def _write_due_s(self) -> float | None:
        """When pending records are to be written; those behind an urgent one go with it."""
        if not self._pending:
            return None
        urgent_s = next((pending.at_s for pending in self._pending if pending.urgent), None)
        full = self._pending_bytes >= min(KEEP_AFTER_BYTES, self._memory_bytes // 2)
        due_s = self._pending[0].at_s if full else self._pending[0].at_s + KEEP_AFTER_S
        return max(due_s if urgent_s is None else min(due_s, urgent_s), self._retry_s)

    def _sync_due_s(self) -> float | None:
        if self._unsynced_s is None:
            return None
        if self._head >= self._unsynced_end:  # taken before it was due
            self._unsynced_s = None
            return None
        return self._unsynced_s + SYNC_AFTER_S

    def _flush(self, now_s: float) -> None:
        """Pending records are in the files, all that the disk takes."""
        try:
            while self._pending:
                self._write_some(now_s)
            self._error = None
            self._retry_s = float("-inf")
        except OSError as error:
            self._error = str(disk_error(error, self.folder))
            self._retry_s = now_s + RETRY_S

    def _write_some(self, now_s: float) -> None:
        """As many pending records as the last segment has room for, in one write."""
        segment = self._segment_to_write()
        chosen: list[_Pending] = []
        size = segment.size_bytes
        frames = bytearray()
        for pending in self._pending:
            if chosen and size + len(frames) + pending.size_bytes > self._segment_bytes:
                break
            chosen.append(pending)
            frames += frame(segment.end + len(chosen) - 1, pending.record)
            if size + len(frames) >= self._segment_bytes:
                break
        self._make_room(len(frames), segment)
        assert self._active is not None  # noqa: S101 - `_segment_to_write` opened it, and `_make_room` spares it
        try:
            _write_all(self._active, frames)
        except OSError:
            self._undo(size)
            raise
        self._wrote(len(frames))
        end_bytes = size
        for pending in chosen:
            end_bytes += pending.size_bytes
            segment.ends.append(end_bytes)
            self._pending_bytes -= pending.size_bytes
            self._pending.popleft()
        if any(pending.urgent for pending in chosen):
            self._unsynced_s = now_s if self._unsynced_s is None else self._unsynced_s
            self._unsynced_end = segment.end
        if segment.size_bytes >= self._segment_bytes:
            self._seal()

    def _undo(self, size: int) -> None:
        """The last segment is as it was before a write that failed; one that cannot be mended is appended to no more."""
        assert self._active is not None  # noqa: S101 - as in `_write_some`
        try:
            os.ftruncate(self._active, size)
            os.lseek(self._active, size, os.SEEK_SET)
        except OSError:
            self._seal()
        if size == 0:
            self._seal()
            self._drop_empty()

    def _segment_to_write(self) -> _Segment:
        if self._active is not None and self._segments and self._segments[-1].size_bytes < self._segment_bytes:
            return self._segments[-1]
        self._seal()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        first = self._segments[-1].end if self._segments else self._head
        path = self.folder / f"{first:020}.spool"
        self._active = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._is_new = True
        self._segments.append(_Segment(path, first))
        return self._segments[-1]

    def _make_room(self, needed_bytes: int, spared: _Segment) -> None:
        """The oldest segments go until `needed_bytes` more fit."""
        dropped = 0
        while self._segments[0] is not spared and sum(each.size_bytes for each in self._segments) + needed_bytes > self.most_bytes:
            oldest = self._segments[0]
            dropped += oldest.end - max(oldest.first, self._head)
            self._pass(oldest.end)
        if dropped:
            self._overflowed += dropped
            self._save()

    def _sync(self) -> None:
        """Written records are on the disk; if that fails nothing can be done but to say so."""
        self._unsynced_s = None
        try:
            if self._active is not None:
                os.fdatasync(self._active)
            if self._is_new:
                sync_folder(self.folder)
                self._is_new = False
        except OSError as error:
            self._error = str(disk_error(error, self.folder))

    def _seal(self) -> None:
        """The last segment is appended to no more."""
        if self._active is None:
            return
        with suppress(OSError):
            if self._unsynced_s is not None:
                os.fdatasync(self._active)
        os.close(self._active)
        self._active = None

    # --- the files ------------------------------------------------------------------------------------------------------------------------

    def _pass(self, end: int) -> int:
        """The head moves to `end`, what lies before it goes; how many waiting records that were."""
        before = self._head
        last = self._segments[-1].end if self._segments else self._head
        end = min(end, last + len(self._pending))
        taken = sum(max(min(end, each.end) - max(before, each.first), 0) for each in self._segments)
        for _ in range(max(end - max(before, last), 0)):
            self._pending_bytes -= self._pending.popleft().size_bytes
            taken += 1
        self._head = max(before, end)
        if self._closed:
            return taken
        while self._segments and self._segments[0].end <= self._head:
            only = len(self._segments) == 1
            if only and self._active is not None and self._segments[0].size_bytes < DRAINED_BYTES and self._segments[0].end == self._head:
                break
            if only:
                self._seal()
            with suppress(OSError):
                self._segments[0].path.unlink()
            del self._segments[0]
        if self._segments:
            self._head = max(self._head, self._segments[0].first)  # over a gap
        return taken

    def _drop_empty(self) -> None:
        if self._segments and not self._segments[-1].ends:
            with suppress(OSError):
                self._segments[-1].path.unlink()
            del self._segments[-1]

    def _save(self) -> None:
        """The cursor follows. If it cannot, what was taken is given once more after a restart, and nothing else happens."""
        with suppress(OSError):
            self._wrote(self._cursor.save(self._head, self._overflowed, self._damaged))

    def _read(self, segment: _Segment, most_records: int, most_bytes: int) -> tuple[bytes, ...]:
        """Sound records of the segment from the head on; none if that one is damaged.

        Raises:
            OSError: not even that one can be read now.
        """
        start = segment.offset(self._head)
        last = self._head
        while last < segment.end and last - self._head < most_records:
            if last > self._head and segment.ends[last - segment.first] - start > most_bytes:
                break
            last += 1
        try:
            with _open_file(segment.path) as stream:
                stream.seek(start)
                data = stream.read(segment.offset(last) - start)
        except OSError:
            if last == self._head + 1:
                raise
            return self._read(segment, 1, most_bytes)  # a bad sector is no matter to those before it
        records: list[bytes] = []
        for number in range(self._head, last):
            at, until = segment.offset(number) - start, segment.offset(number + 1) - start
            record = data[at + _FRAME.size : until]
            if data[at:until] != frame(number, record):
                break
            records.append(record)
        return tuple(records)

    def _given_up(self, error: OSError, now_s: float) -> int:
        """How many records are lost to an error in reading: none yet, the first, or all of a file that is not there."""
        segment = self._segments[0]
        self._read_error = f"cannot read {printable(str(segment.path), SHOWN)}: {(error.strerror or str(error)).lower()}"
        if isinstance(error, FileNotFoundError) and self.folder.is_dir():  # otherwise a disk is away
            return segment.end - self._head
        if self._unread[0] != self._head:
            self._unread = self._head, now_s
        return int(error.errno not in OURS and now_s - self._unread[1] >= GIVE_UP_S)

    def _open(self) -> None:
        """What an earlier run left: its segments, as far as they are sound."""
        self._head, self._overflowed, self._damaged = self._cursor.load()
        names = sorted(path.name for path in self.folder.iterdir()) if self.folder.is_dir() else []
        paths = [self.folder / name for name in names if _NAME.fullmatch(name) and is_own_file(self.folder / name)]
        for path in paths:
            segment = _scan(path, int(path.stem), self._segment_bytes)
            expected = max(self._segments[-1].end if self._segments else 0, self._head)
            if not segment.ends or segment.end <= self._head or (self._segments and segment.first < self._segments[-1].end):
                torn = path.stat().st_size > segment.size_bytes and segment.end >= self._head
                self._damaged += int(torn)
                path.unlink(missing_ok=True)
                continue
            if self._segments:
                self._damaged += max(segment.first - expected, 0)
            torn_bytes = path.stat().st_size - segment.size_bytes
            if torn_bytes:
                self._damaged += int(path is paths[-1])  # in the middle, the next one's number tells how many are lost
                os.truncate(path, segment.size_bytes)
            self._segments.append(segment)
        dropped = 0
        while sum(each.size_bytes for each in self._segments) > self.most_bytes:  # the limit is lower than it was
            dropped += self._segments[0].end - max(self._segments[0].first, self._head)
            self._pass(self._segments[0].end)
        self._overflowed += dropped
        if self._segments:
            self._head = max(self._head, self._segments[0].first)
            self._save()


def frame(number: int, record: bytes) -> bytes:
    """The record as it stands in a segment. Its number is in the check: what was once written elsewhere is not taken for it."""
    return _FRAME.pack(len(record), zlib.crc32(record, zlib.crc32(_NUMBER.pack(number, len(record))))) + record


def _scan(path: Path, first: int, most_bytes: int) -> _Segment:
    """The segment up to its first record that is not as it was written."""
    segment = _Segment(path, first)
    with _open_file(path) as stream:
        for size in _sound(stream, first, max(most_bytes, os.fstat(stream.fileno()).st_size)):
            segment.ends.append(segment.size_bytes + size)
    return segment


def _sound(stream: BinaryIO, number: int, most_bytes: int) -> Iterator[int]:
    while len(head := stream.read(_FRAME.size)) == _FRAME.size:
        length = _FRAME.unpack(head)[0]
        if length > most_bytes:
            return
        record = stream.read(length)
        if len(record) < length or head + record != frame(number, record):
            return
        yield _FRAME.size + length
        number += 1


def _open_file(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def _write_all(descriptor: int, data: bytes | bytearray) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]
