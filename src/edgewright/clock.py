"""Time as something that is handed in: what is timed asks a `Clock`, so that a test can let an hour pass in no time."""

import time
from typing import Protocol


class Clock(Protocol):
    """The two times there are. They are never mixed: one may jump when somebody sets the date, the other may not."""

    def monotonic_s(self) -> float:
        """Seconds since some moment; one count for all processes of a machine (CLOCK_MONOTONIC), and never set back."""
        ...

    def wall_s(self) -> float:
        """Seconds since 1970, as the machine believes: for people and records, never to measure how long something took."""
        ...


class SystemClock:
    """The machine's own."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def wall_s(self) -> float:
        return time.time()
