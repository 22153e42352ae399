"""Records in an SQLite file that others may read while it is written; those older than `keep_days`, or beyond `most_bytes`, go.

A record that is delivered twice stands there once: its id is unique. Write-ahead log, an fsync for every delivery (at most one a second),
so an event that counts as delivered survives a power cut. A file that is damaged is put aside as `NAME.damaged`, and begun anew.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from edgewright.errors import DiskError, InputError
from edgewright.printable import printable
from edgewright.run.letter import Letter
from edgewright.run.settings import StoreOutput
from edgewright.run.sinks.base import Place, RefusedError, UndeliveredError
from edgewright.whole_file import is_own_file

SCHEMA_VERSION: Final = 1
# `body` is the record as JSON; the columns before it are what is asked for. `seq` rises in the order of arrival.
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS records (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  record TEXT NOT NULL,
  time_s REAL NOT NULL,
  kind TEXT,
  name TEXT,
  camera TEXT,
  severity TEXT,
  body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS records_by_time ON records (time_s);
CREATE INDEX IF NOT EXISTS records_by_camera ON records (camera, time_s);
"""
LOG_BYTES = 1 << 20  # of the write-ahead log, before it goes into the file
SECONDS_A_DAY = 86_400
BUSY_S = 5.0
LOOK_AFTER_S = 60.0
GONE_AT_ONCE = 2_000  # rows a deletion, so that no transaction grows large
MOST_ROWS = 10_000  # of an answer to a query


class StoreSink:
    """The store at the output's path; see the module."""

    on_disk = True
    gather_s = 1.0
    most_records = 1000

    def __init__(self, output: StoreOutput, place: Place) -> None:
        self.path = output.path if output.path != Path() else place.state / "events.sqlite"
        self._keep_s, self._most_bytes = output.keep_days * SECONDS_A_DAY, output.most_bytes
        self._clock, self._wrote = place.clock, place.wrote
        self._store: sqlite3.Connection | None = None
        self._looked_s = float("-inf")
        self._log_bytes = 0

    def deliver(self, letters: Sequence[Letter]) -> None:
        """All of them in one transaction."""
        rows = [row for letter in letters if (row := _row(letter)) is not None]
        try:
            store = self._opened()
            if rows:
                with store:
                    store.executemany("INSERT OR IGNORE INTO records VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            self._look_after(store)
        except sqlite3.DatabaseError as error:
            raise UndeliveredError(self._met(error)) from error
        except OSError as error:
            raise UndeliveredError(f"cannot write {self._shown()}: {error.strerror}") from error
        if len(rows) < len(letters):
            # The sound ones are in, and go in no second time: the unsound ones alone are left to refuse, one after the other.
            at = next(at for at, letter in enumerate(letters) if _row(letter) is None)
            raise RefusedError(f"{letters[at].kind} {letters[at].id} is no record", delivered=at)

    def close(self) -> None:
        if self._store is not None:
            with suppress(sqlite3.Error):
                self._store.close()
            self._store = None

    def _opened(self) -> sqlite3.Connection:
        if self._store is None:
            if os.path.lexists(self.path) and not is_own_file(self.path):
                raise UndeliveredError(f"{self._shown()} is no file")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            store = sqlite3.connect(self.path, timeout=BUSY_S, check_same_thread=False)
            try:
                _prepare(store, self._shown())
            except BaseException:
                store.close()
                raise
            self._store = store
            self._log_bytes = self._log_size()
        return self._store

    def _look_after(self, store: sqlite3.Connection) -> None:
        """What was written is counted; the log goes into the file when it is long; now and then what is old goes."""
        self._count_log()
        now_s = self._clock.monotonic_s()
        # A day's worth never arrives in a minute, but a limit of bytes may be passed in one.
        if now_s - self._looked_s >= LOOK_AFTER_S or _used_bytes(store) > self._most_bytes:
            self._looked_s = now_s
            self._forget(store)
            self._count_log()
        if self._log_bytes > LOG_BYTES:
            _, _, moved = store.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._wrote(max(moved, 0) and self._log_bytes)  # every page of the log once more, into the file
            self._log_bytes = self._log_size()

    def _forget(self, store: sqlite3.Connection) -> None:
        oldest_s = self._clock.wall_s() - self._keep_s
        while True:
            with store:
                gone = store.execute(
                    "DELETE FROM records WHERE seq IN (SELECT seq FROM records WHERE time_s < ? ORDER BY time_s LIMIT ?)",
                    (oldest_s, GONE_AT_ONCE),
                ).rowcount
            if gone < GONE_AT_ONCE:
                break
        while _used_bytes(store) > self._most_bytes:
            count = max(store.execute("SELECT count(*) FROM records").fetchone()[0] // 16, 1)
            with store:
                gone = store.execute("DELETE FROM records WHERE seq IN (SELECT seq FROM records ORDER BY seq LIMIT ?)", (count,)).rowcount
            if gone == 0:
                break
        store.execute("PRAGMA incremental_vacuum").fetchall()

    def _count_log(self) -> None:
        size = self._log_size()
        self._wrote(max(size - self._log_bytes, 0))
        self._log_bytes = size

    def _log_size(self) -> int:
        try:
            return self.path.with_name(self.path.name + "-wal").stat().st_size
        except OSError:
            return 0

    def _met(self, error: sqlite3.DatabaseError) -> str:
        """What SQLite met, in a sentence; a file that is none of its kind is put aside."""
        self.close()
        damaged = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) if _has_code(error) else False
        if not damaged:
            return f"cannot write {self._shown()}: {error}"
        aside = self.path.with_name(self.path.name + ".damaged")
        with suppress(OSError):
            self.path.replace(aside)
            for tail in ("-wal", "-shm"):
                self.path.with_name(self.path.name + tail).unlink(missing_ok=True)
        return f"{self._shown()} is damaged ({error}); it is put aside as {printable(aside.name, 100)}, and a new one is begun"

    def _shown(self) -> str:
        return printable(str(self.path), 200)


def query(
    path: Path,
    *,
    since_s: float | None = None,
    until_s: float | None = None,
    record: str | None = None,
    kind: str | None = None,
    camera: str | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Records of a store, the newest first, as they were delivered. It may be written to meanwhile. `until_s` is not included.

    Raises:
        InputError: there is no store at `path`.
        DiskError: it cannot be read.
    """
    if not is_own_file(path):
        raise InputError(f"{printable(str(path), 200)} is no file", expected="the store of a service")
    wanted = {"time_s >= ?": since_s, "time_s < ?": until_s, "record = ?": record, "kind = ?": kind, "camera = ?": camera}
    asked = {condition: value for condition, value in wanted.items() if value is not None}
    where = " AND ".join(asked) or "1"
    with _told(path), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)) as store:
        # The conditions are the constants above; what was asked for is bound.
        rows = store.execute(
            f"SELECT body FROM records WHERE {where} ORDER BY time_s DESC, seq DESC LIMIT ?",  # noqa: S608
            (*asked.values(), min(max(limit, 0), MOST_ROWS)),
        ).fetchall()
    letters = [Letter("", "event", None, body.encode()) for (body,) in rows]
    return [letter.to_json() for letter in letters]


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, ValueError) as error:
        raise DiskError(f"cannot read {printable(str(path), 200)}", got=printable(str(error), 200)) from error


def _prepare(store: sqlite3.Connection, shown: str) -> None:
    store.execute("PRAGMA auto_vacuum=INCREMENTAL")  # before the first table, so that what is forgotten makes the file smaller
    store.execute("PRAGMA journal_mode=WAL").fetchall()
    store.execute("PRAGMA synchronous=FULL")
    store.execute("PRAGMA wal_autocheckpoint=0").fetchall()  # ours, which counts what it writes
    version = store.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, SCHEMA_VERSION):
        raise UndeliveredError(f"{shown} has schema {version}, this edgewright writes {SCHEMA_VERSION}; name another path")
    store.executescript(SCHEMA)
    store.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def _used_bytes(store: sqlite3.Connection) -> int:
    pages, free, size = (store.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size"))
    return int((pages - free) * size)


def _row(letter: Letter) -> tuple[Any, ...] | None:
    """The columns behind `seq`, or nothing."""
    try:
        found = letter.to_json()
        time_s = float(found["time_s"])
    except (ValueError, TypeError, LookupError):
        return None
    columns = [found.get(name) for name in ("kind", "name", "camera", "severity")]
    if not all(column is None or isinstance(column, str) for column in columns):
        return None
    if letter.kind == "answer":
        columns[1] = found.get("model") if isinstance(found.get("model"), str) else None
    return letter.id, letter.kind, time_s, *columns, letter.body.decode("utf-8", "replace")


def _has_code(error: sqlite3.DatabaseError) -> bool:
    return hasattr(error, "sqlite_errorcode")
