"""Lines of JSON, or CSV, in files that begin anew at `rotate_bytes`; the oldest go beyond `most_bytes`.

Files are `NAME-TIME.jsonl`, or `NAME-events-TIME.csv` and `NAME-answers-TIME.csv`, TIME in UTC and rising. A line that a kill tore is cut
off when the file is opened again; its record is delivered once more. Lines may so come twice, and each has its record's `id`.
Events are on the disk (fdatasync) when they count as delivered, at most once a second; answers when the kernel writes them.
"""

import csv
import io
import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from edgewright.printable import printable
from edgewright.run.letter import Letter
from edgewright.run.settings import FileOutput
from edgewright.run.sinks.base import Place, RefusedError, UndeliveredError
from edgewright.whole_file import disk_error, is_own_file, sync_folder

EVENT_COLUMNS: Final = ("id", "time_s", "kind", "name", "severity", "camera", "text", "data")
ANSWER_COLUMNS: Final = ("id", "time_s", "camera", "model", "frame", "age_ms", "x1", "y1", "x2", "y2", "score", "class", "track_id")
LONGEST_CELL = 10_000
TORN_BYTES = 1 << 20  # a line is shorter
_FORMULA: Final = ("=", "+", "-", "@")  # what a spreadsheet takes for one: OWASP, CSV injection


class FileSink:
    """Files in the output's folder; see the module."""

    on_disk = True
    gather_s = 1.0
    most_records = 1000

    def __init__(self, output: FileOutput, place: Place) -> None:
        folder = output.folder if output.folder != Path() else place.state / "outputs" / quote(output.name, safe="")
        stem = quote(output.name, safe="")
        if output.format == "jsonl":
            everything = _Series(folder, stem, ".jsonl", b"", output, place, output.most_bytes)
            self._series = {"event": everything, "answer": everything}
        else:
            self._series = {
                kind: _Series(folder, f"{stem}-{kind}s", ".csv", _csv([columns]), output, place, output.most_bytes // len(output.records))
                for kind, columns in (("event", EVENT_COLUMNS), ("answer", ANSWER_COLUMNS))
            }
        self._is_csv = output.format == "csv"

    def deliver(self, letters: Sequence[Letter]) -> None:
        """All letters of a kind in one write; those before the first that failed count."""
        delivered = 0
        for kind, run in groupby(letters, key=lambda letter: letter.kind):
            lines, refused = self._lines(list(run))
            series = self._series[kind]
            try:
                series.append(b"".join(lines))
                if kind == "event":
                    series.sync()
            except OSError as error:
                raise UndeliveredError(str(disk_error(error, series.folder)), delivered=delivered) from error
            delivered += len(lines)
            if refused is not None:
                raise RefusedError(f"{kind} {refused.id} does not fit into a table", delivered=delivered)

    def close(self) -> None:
        for series in self._series.values():
            series.close()

    def _lines(self, letters: list[Letter]) -> tuple[list[bytes], Letter | None]:
        """What each letter is in the file, up to the first that is nothing, and that one."""
        if not self._is_csv:
            return [letter.body + b"\n" for letter in letters], None
        lines: list[bytes] = []
        for letter in letters:
            try:
                lines.append(_csv(event_row(letter.to_json()) if letter.kind == "event" else answer_rows(letter.to_json())))
            except (ValueError, TypeError, LookupError):
                return lines, letter
        return lines, None


class _Series:
    """Files of one name and ever later times."""

    def __init__(self, folder: Path, stem: str, suffix: str, head: bytes, output: FileOutput, place: Place, most_bytes: int) -> None:
        self.folder = folder
        self._stem, self._suffix, self._head = stem, suffix, head
        self._name = re.compile(rf"{re.escape(stem)}-[0-9]{{8}}T[0-9]{{6}}\.[0-9]{{3}}Z{re.escape(suffix)}")
        self._rotate_bytes, self._most_bytes = min(output.rotate_bytes, most_bytes), most_bytes
        self._clock, self._wrote = place.clock, place.wrote
        self._descriptor: int | None = None
        self._size = 0

    def append(self, data: bytes) -> None:
        """The data stand at the end, or the file is as it was.

        Raises:
            OSError: the disk does not take them.
        """
        if not data:
            return
        if self._descriptor is not None and self._size > len(self._head) and self._size + len(data) > self._rotate_bytes:
            self.close()
        if self._descriptor is None:
            self._open(len(data))
        assert self._descriptor is not None  # noqa: S101 - just opened
        try:
            _write_all(self._descriptor, data)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            self.close()
            raise
        self._size += len(data)
        self._wrote(len(data))

    def sync(self) -> None:
        if self._descriptor is not None:
            os.fdatasync(self._descriptor)

    def close(self) -> None:
        if self._descriptor is not None:
            with suppress(OSError):
                os.fdatasync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self, needed_bytes: int) -> None:
        """The newest file, if there is room in it, or one that is newer still."""
        self.folder.mkdir(parents=True, exist_ok=True)
        held = self._files()
        if held and held[-1].stat().st_size + needed_bytes <= self._rotate_bytes:
            self._descriptor = os.open(held[-1], os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
            self._size = _mend(self._descriptor)
        else:
            self._descriptor = os.open(
                self._next_path(held), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644
            )
            self._size = 0
            sync_folder(self.folder)
            self._remove_oldest(held)
        if self._size == 0 and self._head:
            self._begin(self._descriptor)

    def _begin(self, descriptor: int) -> None:
        """With its head, or not at all: what follows a torn one is no table."""
        try:
            _write_all(descriptor, self._head)
        except OSError:
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
            self.close()
            raise
        self._size = len(self._head)

    def _files(self) -> list[Path]:
        return [each for each in sorted(self.folder.iterdir()) if self._name.fullmatch(each.name) and is_own_file(each)]

    def _next_path(self, held: list[Path]) -> Path:
        """Later than every other, even if the clock was set back."""
        time_ms = round(self._clock.wall_s() * 1000)
        while True:
            moment = datetime.fromtimestamp(time_ms / 1000, UTC)
            path = self.folder / f"{self._stem}-{moment:%Y%m%dT%H%M%S}.{time_ms % 1000:03}Z{self._suffix}"
            if not held or path.name > held[-1].name:
                return path
            stamp = held[-1].name[len(self._stem) + 1 : -len(self._suffix)]
            time_ms = round(datetime.strptime(stamp, "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC).timestamp() * 1000) + 1

    def _remove_oldest(self, held: list[Path]) -> None:
        """Until a whole new file fits below the limit."""
        sizes = [path.stat().st_size for path in held]
        for path, kept_bytes in zip(held, [sum(sizes[at:]) for at in range(len(sizes))], strict=True):
            if kept_bytes + self._rotate_bytes <= self._most_bytes:
                return
            path.unlink(missing_ok=True)


def event_row(event: dict[str, Any]) -> list[list[Any]]:
    return [[_cell(event[column]) for column in EVENT_COLUMNS]]


def answer_rows(answer: dict[str, Any]) -> list[list[Any]]:
    """A row a box; none for a frame without any."""
    tracks = answer.get("track_ids") or [None] * len(answer["scores"])
    who = [_cell(answer[column]) for column in ANSWER_COLUMNS[:6]]
    boxes = zip(answer["boxes_xyxy"], answer["scores"], answer["classes"], tracks, strict=True)
    return [[*who, *box, score, _cell(name), "" if track is None else track] for box, score, name, track in boxes]


def _cell(value: Any) -> Any:
    """Text on one line that no spreadsheet executes; nothing for nothing."""
    if value is None:
        return ""
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, str):
        return value
    text = printable(value, LONGEST_CELL)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _csv(rows: Sequence[Sequence[Any]]) -> bytes:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue().encode("utf-8", "replace")


def _mend(descriptor: int) -> int:
    """What a kill left of a last line is cut off; the size then."""
    size = os.fstat(descriptor).st_size
    start = max(size - TORN_BYTES, 0)
    whole = os.pread(descriptor, size - start, start).rfind(b"\n") + 1
    if start + whole != size and (whole or start == 0):
        os.ftruncate(descriptor, start + whole)
        return start + whole
    return size


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]
