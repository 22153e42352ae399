"""The service's one thread: what can be read, and what is due."""

import selectors
from collections.abc import Callable
from typing import TypeAlias

Heard: TypeAlias = Callable[[], None]


class Loop:
    """Descriptors, and whom to call when one of them can be read. `fault`: who is told of a call that fails; without it, it is raised."""

    def __init__(self, fault: Callable[[Exception], None] | None = None) -> None:
        self._selector = selectors.DefaultSelector()
        self._fault = fault

    def watch(self, descriptor: int, heard: Heard) -> None:
        self._selector.register(descriptor, selectors.EVENT_READ, heard)

    def unwatch(self, descriptor: int) -> None:
        self._selector.unregister(descriptor)

    def turn(self, wait_s: float) -> None:
        """Wait until something can be read, but no longer than `wait_s`, and tell whom it concerns."""
        for key, _ in self._selector.select(wait_s):
            # One call may have ended what the next one is about, and another have begun under the same number.
            if self._selector.get_map().get(key.fd) is key:
                heard: Heard = key.data
                try:
                    heard()
                except Exception as error:
                    if self._fault is None:
                        raise
                    self._fault(error)

    def close(self) -> None:
        self._selector.close()
