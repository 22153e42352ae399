"""A child process that is kept running: heard while it lives, ended when it misbehaves, started again after a pause.

What differs between a camera, a worker and a recorder is what they say and when they are overdue; how one is started, heard, ended and
replaced is the same, and is here.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

from edgewright.clock import Clock
from edgewright.run.backoff import Backoff
from edgewright.run.channel import ChannelError
from edgewright.run.child import STOPPED, Child
from edgewright.run.loop import Loop
from edgewright.run.ring import RingError

Deed: TypeAlias = Callable[[], None]

SHOWN_LINES = 10  # of the last words, with an event
MOST_HEARD = 100  # messages in one turn: one that talks without end does not keep the service from the others


class Kept:
    """One such process. Whoever derives from it says what its words mean (`_take`), and what goes with it (`_let_go`)."""

    MODULE: str
    NOUN: str  # what it is called in sentences

    def __init__(self, name: str, *, loop: Loop, clock: Clock) -> None:
        self.name = name
        self.restarts = 0
        self.why: str | None = None  # of its last failure
        self.last_words: list[str] = []
        self._loop, self._clock = loop, clock
        self._child: Child | None = None
        self._backoff = Backoff()
        self._due_s = clock.monotonic_s()  # of its next start
        self._heard_s = self._due_s

    @property
    def pid(self) -> int | None:
        return None if self._child is None else self._child.pid

    def _begin(self) -> bool:
        """Start it, and hear it from now on; whether that could be done."""
        self._heard_s = self._clock.monotonic_s()
        try:
            self._child = child = Child(self.MODULE, self.name)
        except OSError as error:  # no more processes, descriptors or memory: there may be later
            self._fail(f"its {self.NOUN} process cannot be started: {(error.strerror or str(error)).lower()}")
            return False
        self._loop.watch(child.channel.fileno(), self._hear)
        self._loop.watch(child.log_fd, child.hear)
        return True

    def _hear(self) -> None:
        """What it has to say now, and what we do about it. What fails in that is a fault of ours, and no reason to replace the process."""
        child = self._child
        for _ in range(MOST_HEARD):
            if self._child is not child or child is None or (deed := self._understood(child)) is None:
                return
            deed()

    def _understood(self, child: Child) -> Deed | None:
        """What its next words ask for; None where there are none. Nothing it says can be more than a reason to replace it."""
        try:
            if (message := child.channel.receive()) is None:
                return None
            self._heard_s = self._clock.monotonic_s()
            return self._take(message.words) or _nothing
        except ChannelError:
            self._fail(f"its {self.NOUN} process is gone")
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RingError) as error:
            self._fail(f"its {self.NOUN} process speaks nonsense: {type(error).__name__}")
        return None

    def _tell(self, words: dict[str, Any], fds: tuple[int, ...] = ()) -> bool:
        """Whether it was told, which only matters for what is more than a message holds."""
        if self._child is not None:
            with suppress(ChannelError):  # it is gone, which is heard at once; or it is deaf, and then silent for too long
                self._child.channel.send(words, fds)
                return True
        return False

    def _drop(self) -> str | None:
        """End the process, if there is one; how it ended, where that was not our doing."""
        how = None
        if self._child is not None:
            child, self._child = self._child, None
            self._loop.unwatch(child.channel.fileno())
            self._loop.unwatch(child.log_fd)
            how = child.end()
            self.last_words = child.log.lines
        self._let_go()
        return None if how == STOPPED else how

    def _replace(self, why: str) -> float:
        """End it, and start another one after a pause, whose length (s) is returned."""
        how = self._drop()
        self.why = why if how is None else f"{why} ({how})"
        self.restarts += 1
        now_s = self._clock.monotonic_s()
        pause_s = self._backoff.failed(now_s)
        self._due_s = now_s + pause_s
        return pause_s

    def _shown(self, **data: Any) -> dict[str, Any]:
        return {"last_words": self.last_words[-SHOWN_LINES:], **data}

    def _take(self, words: dict[str, Any]) -> Deed | None:
        """What its words ask for, to be done next, if anything. All are looked at here: what this raises is held against the process."""
        raise NotImplementedError

    def _fail(self, why: str) -> None:
        raise NotImplementedError

    def _let_go(self) -> None:
        """What was the process's is nobody's now."""


def _nothing() -> None:
    """There is nothing to be done about what it said."""
