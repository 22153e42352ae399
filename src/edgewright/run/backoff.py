"""When to try again: soon at first, ever later while it does not help, soon again once it has worked for a while."""

from dataclasses import dataclass

FIRST_S, MOST_S = 1.0, 30.0  # between tries; a camera that is back is not waited for longer than half a minute
CALM_S = 60.0  # of work without a failure, and what was before is forgotten


@dataclass(slots=True)
class Backoff:
    """Failures of one thing, and the pause that follows from them: 1, 2, 4, ... seconds, at most `most_s`."""

    first_s: float = FIRST_S
    most_s: float = MOST_S
    calm_s: float = CALM_S
    failures: int = 0
    _working_since_s: float | None = None

    def failed(self, now_s: float) -> float:
        """It failed; how many seconds to wait before the next try."""
        if self._working_since_s is not None and now_s - self._working_since_s >= self.calm_s:
            self.failures = 0
        self._working_since_s = None
        pause = min(self.most_s, self.first_s * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return pause

    def works(self, now_s: float) -> None:
        """It works, now and since."""
        if self._working_since_s is None:
            self._working_since_s = now_s
