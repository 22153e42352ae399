"""What wakes the one thread that draws: an answer, a signal, a key. Signals end nothing by themselves; they are heard where it is safe."""

import os
import select
import signal
from collections.abc import Collection
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

ENDS: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
HEARD: Final = (*ENDS, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)
RUNG: Final = b"\0"  # no signal has this number


class Bell:
    """A context manager, for the main thread. `ring` may be called from any thread."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._left = ExitStack()

    def ring(self) -> None:
        """Wake it."""
        try:
            os.write(self._write, RUNG)
        except (BlockingIOError, OSError):
            return  # it has been rung often enough, or nobody is there any more

    def wait(self, within_s: float, descriptor: int | None = None) -> tuple[Collection[int], bool]:
        """The signals that have come, and whether there is something to read; after `within_s` at the latest, sooner if it is rung."""
        watched = [self._read] if descriptor is None else [self._read, descriptor]
        ready, _, _ = select.select(watched, [], [], max(0.0, within_s))
        heard = os.read(self._read, 4096) if self._read in ready else b""
        return set(heard) - set(RUNG), descriptor in ready

    def __enter__(self) -> Self:
        for number in HEARD:
            self._left.callback(signal.signal, number, signal.signal(number, _heard))
        self._left.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(self._write, warn_on_full_buffer=False))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._left.close()
        os.close(self._write)
        os.close(self._read)


def _heard(_number: int, _frame: object) -> None:
    """Its number has been written to the bell."""


def stop_as_asked() -> None:
    """Stop as Ctrl-Z does it, until somebody continues us (POSIX job control)."""
    ours = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, ours)
