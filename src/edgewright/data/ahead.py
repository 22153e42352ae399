"""Make the next things while the last one is being used: one thread runs ahead of whoever iterates, by a bounded number.

Decoders, libjpeg and engines all let other threads run meanwhile, so on two cores a frame is decoded while the one before it is looked at.
Nothing else changes: the order is the same, an error comes when its turn comes, and memory holds `depth` things more, however slow the
iteration is. When the iteration ends, whichever way, the thread has ended before it.
"""

import os
import threading
from collections import deque
from collections.abc import Generator, Iterator
from typing import Generic, TypeVar

Thing = TypeVar("Thing")

DEPTH = 2  # one is being made while another waits; more would hide only jitter, and a frame of 4K takes 25 MB


def ahead(things: Iterator[Thing], depth: int = DEPTH) -> Generator[Thing]:
    """The same things in the same order; up to `depth` are made before they are asked for, where there is a second core to make them."""
    if len(os.sched_getaffinity(0)) < 2:
        yield from things
        return
    belt = _Belt[Thing](depth)
    maker = threading.Thread(target=belt.load, args=(things,), name="edgewright-ahead", daemon=True)
    maker.start()
    try:
        yield from belt.unload()
    finally:
        belt.stop()
        maker.join()


class _Belt(Generic[Thing]):
    """What was made and not yet taken."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._made: deque[Thing] = deque()
        self._changed = threading.Condition()
        self._is_loaded = False
        self._is_stopped = False
        self._error: BaseException | None = None

    def load(self, things: Iterator[Thing]) -> None:
        """What the thread does; it leaves nothing open."""
        try:
            while self._has_room():
                self._put(next(things))
        except StopIteration:
            pass
        except BaseException as error:  # noqa: BLE001 - it is raised where the thing it concerns was asked for
            self._error = error
        finally:
            # A generator is closed by the thread that runs it; what it says to that, nobody waits for.
            if isinstance(things, Generator):
                try:
                    things.close()
                except BaseException as error:  # noqa: BLE001 - the same, at the edge of the thread
                    self._error = self._error or error
            with self._changed:
                self._is_loaded = True
                self._changed.notify_all()

    def unload(self) -> Iterator[Thing]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._made or self._is_loaded)
                if not self._made:
                    break
                thing = self._made.popleft()
                self._changed.notify_all()
            yield thing
            del thing  # or the frame lives until the next one is taken
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        with self._changed:
            self._is_stopped = True
            self._made.clear()
            self._changed.notify_all()

    def _has_room(self) -> bool:
        """Wait for room; False where no more is wanted."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._made) < self._depth or self._is_stopped)
            return not self._is_stopped

    def _put(self, thing: Thing) -> None:
        with self._changed:
            self._made.append(thing)
            self._changed.notify_all()
