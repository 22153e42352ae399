"""Processes that are really slow: stopped and let go again, many times a second."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress


@contextmanager
def slowed(pids: Callable[[], Sequence[int]], *, stopped_s: float = 0.08, runs_s: float = 0.04) -> Iterator[None]:
    """Those that `pids` names have the rest of their time, until the block ends."""
    over = threading.Event()

    def tell(number: int) -> None:
        for pid in pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def slow() -> None:
        while not over.is_set():
            tell(signal.SIGSTOP)
            over.wait(stopped_s)
            tell(signal.SIGCONT)
            over.wait(runs_s)

    thread = threading.Thread(target=slow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
