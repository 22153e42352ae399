"""The hour that outlives its process: STATE/history.sqlite, which others may read while it is written.

One transaction a minute, in a thread of its own: a card that stalls keeps nobody waiting. A file that is damaged is put aside as
`history.sqlite.damaged`, and begun anew; while the disk takes nothing, or hangs, the hour goes on in memory, and is written once it does.
"""

import json
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgewright.clock import Clock
from edgewright.printable import printable
from edgewright.serve.history import KEPT_S, MOST_STEPS, SAVE_EVERY_S, STEP_S, Step
from edgewright.serve.live_view import MOST_EVENTS, Told
from edgewright.whole_file import is_own_file

NAME: Final = "history.sqlite"
SCHEMA_VERSION: Final = 1
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS steps (seq INTEGER PRIMARY KEY, time_s REAL NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, time_s REAL NOT NULL, body TEXT NOT NULL);
"""
MOST_PAGES: Final = 16_384  # of 4 KiB: 64 MiB, where 64 cameras with all their buckets full take half
LOG_PAGES: Final = 256  # of the write-ahead log, before it goes into the file
MOST_BODY: Final = 1 << 20  # characters of one row
BUSY_S: Final = 2.0
MOST_GIVEN: Final = round(KEPT_S / SAVE_EVERY_S)  # an hour's
WITHIN_S: Final = 5.0  # for the thread to read, or to write at the end; a disk that hangs is not waited for


@dataclass(frozen=True, slots=True)
class Kept:
    """What was found, oldest first."""

    steps: Sequence[Step] = ()
    events: Sequence[Told] = ()


class HistoryFile:
    """`say`: takes a sentence for the log where the file fails, and where it is well again."""

    def __init__(self, folder: Path, *, clock: Clock, say: Callable[[str], None]) -> None:
        self.path = folder / NAME
        self._clock, self._say = clock, say
        self._thread = ThreadPoolExecutor(1, "edgewright-history")
        self._given: deque[tuple[Sequence[Step], Sequence[Told]]] = deque(maxlen=MOST_GIVEN)  # by one thread, taken by the other
        self._saving: Future[None] | None = None
        # Only the thread touches what follows.
        self._store: sqlite3.Connection | None = None
        self._steps: deque[Step] = deque(maxlen=MOST_STEPS)
        self._events: deque[Told] = deque(maxlen=MOST_EVENTS)
        self._failed = False

    def load(self) -> Kept:
        """The last hour, as far as it is there and sound."""
        return self._wait_for(self._thread.submit(self._load)) or Kept()

    def save(self, steps: Sequence[Step], events: Sequence[Told]) -> None:
        """Write them when there is time: where a disk hangs, one order waits for it, however much is given meanwhile."""
        self._given.append((list(steps), list(events)))
        if self._saving is None or self._saving.done():
            self._saving = self._thread.submit(self._save)

    def close(self) -> None:
        """What was given is written, if the disk takes it in time."""
        self._thread.submit(self._save)
        self._wait_for(self._thread.submit(self._close))
        self._thread.shutdown(wait=False)

    def _wait_for(self, what: "Future[Kept] | Future[None]") -> Kept | None:
        try:
            return what.result(WITHIN_S)
        except NotInTime:
            self._say(f"{self._shown()} cannot be had: the disk does not answer")
            return None

    # --- in the thread --------------------------------------------------------------------------------------------------------------------

    def _load(self) -> Kept:
        """Tried twice: a file that is damaged is not there the second time."""
        for _ in range(2):
            try:
                store = self._opened()
                since_s, until_s = self._kept_s()
                steps = [step for body in _bodies(store, "steps", since_s, until_s, MOST_STEPS) if (step := _step(body)) is not None]
                events = [event for body in _bodies(store, "events", since_s, until_s, MOST_EVENTS) if (event := _event(body)) is not None]
            except (sqlite3.Error, OSError) as error:
                if not self._met(error):
                    break
            else:
                return Kept(steps, events)
        return Kept()

    def _save(self) -> None:
        while self._given:
            steps, events = self._given.popleft()
            self._steps.extend(steps)
            self._events.extend(events)
        if not self._steps and not self._events:
            return
        for _ in range(2):
            try:
                self._write(self._opened())
            except (sqlite3.Error, OSError) as error:
                if not self._met(error):
                    return
            else:
                self._steps.clear()
                self._events.clear()
                if self._failed:
                    self._failed = False
                    self._say(f"{self._shown()} is written again")
                return

    def _write(self, store: sqlite3.Connection) -> None:
        """All that is not in it yet, in the place of what is older than an hour, or has a date that has not come."""
        kept = self._kept_s()
        with store:
            for table, most in (("steps", MOST_STEPS), ("events", MOST_EVENTS)):
                # The names are the constants above.
                store.execute(f"DELETE FROM {table} WHERE time_s NOT BETWEEN ? AND ?", kept)  # noqa: S608
                store.execute(f"DELETE FROM {table} WHERE seq <= (SELECT max(seq) FROM {table}) - ?", (most,))  # noqa: S608
            store.executemany("INSERT INTO steps VALUES (NULL, ?, ?)", [(step.time_s, _json(step.to_json())) for step in self._steps])
            rows = [(event["id"], event["time_s"], _json(event)) for event in self._events]
            store.executemany("INSERT OR IGNORE INTO events VALUES (NULL, ?, ?, ?)", rows)

    def _close(self) -> None:
        if self._store is not None:
            with suppress(sqlite3.Error):
                self._store.close()
            self._store = None

    def _opened(self) -> sqlite3.Connection:
        if self._store is None:
            if os.path.lexists(self.path) and not is_own_file(self.path):
                raise OSError("something else has its name")
            os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600))
            store = sqlite3.connect(self.path, timeout=BUSY_S)
            try:
                _prepare(store)
            except BaseException:
                store.close()
                raise
            self._store = store
        return self._store

    def _met(self, error: sqlite3.Error | OSError) -> bool:
        """Whether to try once more: what was damaged is put aside."""
        self._close()
        is_damaged = getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        if is_damaged or isinstance(error, _OtherSchemaError):
            aside = self.path.with_name(f"{NAME}.damaged")
            try:
                self.path.replace(aside)
                for tail in ("-wal", "-shm"):
                    self.path.with_name(NAME + tail).unlink(missing_ok=True)
            except OSError as refused:
                error = refused
            else:
                self._say(f"{self._shown()} cannot be used ({printable(str(error), 100)}): it is put aside as {aside.name}, and begun anew")
                return True
        if not self._failed:
            self._failed = True
            self._say(f"{self._shown()} cannot be written ({printable(str(error), 200)}): the history goes on in memory")
        return False

    def _kept_s(self) -> tuple[float, float]:
        now_s = self._clock.wall_s()
        return now_s - KEPT_S, now_s + STEP_S

    def _shown(self) -> str:
        return printable(str(self.path), 200)


class _OtherSchemaError(sqlite3.Error):
    """Another edgewright wrote it."""


def _prepare(store: sqlite3.Connection) -> None:
    store.execute("PRAGMA journal_mode=WAL").fetchall()
    store.execute("PRAGMA synchronous=NORMAL")  # a power cut costs the last minutes, never the file
    store.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES}").fetchall()
    store.execute(f"PRAGMA max_page_count={MOST_PAGES}").fetchall()
    version = store.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, SCHEMA_VERSION):
        raise _OtherSchemaError(f"its schema is {version}, this edgewright writes {SCHEMA_VERSION}")
    store.executescript(SCHEMA)
    store.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    if (found := store.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        raise _OtherSchemaError(str(found))


def _bodies(store: sqlite3.Connection, table: str, since_s: float, until_s: float, most: int) -> list[str]:
    """The latest, oldest first. `table` is a name of ours."""
    query = f"SELECT body FROM {table} WHERE time_s BETWEEN ? AND ? AND length(body) <= ? ORDER BY seq DESC LIMIT ?"  # noqa: S608
    return [str(body) for (body,) in store.execute(query, (since_s, until_s, MOST_BODY, most)).fetchall()][::-1]


def _json(words: Any) -> str:
    return json.dumps(words, separators=(",", ":"))


def _step(body: str) -> Step | None:
    try:
        return Step.from_json(json.loads(body))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _event(body: str) -> Told | None:
    """With the fields that everybody may count on."""
    try:
        found = json.loads(body)
        texts = [found[key] for key in ("id", "kind", "name", "text", "severity")]
        is_sound = all(isinstance(text, str) for text in texts) and isinstance(found["time_s"], int | float)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if is_sound else None
