"""Answers come late: since when, and which flags of the board came before. Once a window, the p99 of its answers' ages is looked at."""

from collections import deque
from collections.abc import Collection, Sequence

import numpy as np

from edgewright.run.govern.correlate import LASTS, Explanation, Flag, Point, explain

WINDOW_S = 10.0
KEPT_S = 1200.0
FEWEST = 3  # answers in a window, to have a p99


class Lateness:
    """Fed with the ages of answers and the flags that are up, second by second, on the wall clock."""

    def __init__(self) -> None:
        self._ages_ms: list[float] = []
        self._points: deque[Point] = deque()
        self._flags: list[Flag] = []
        self._window_s: float | None = None
        self._told_s = 0.0

    def look(self, wall_s: float, ages_ms: Sequence[float], flags: Collection[str]) -> Explanation | None:
        """A rise that was not told of yet, with what explains it."""
        self._note_flags(wall_s, flags)
        self._ages_ms += ages_ms
        if self._window_s is None or wall_s < self._window_s:  # a clock that was set back
            self._window_s = wall_s
            self._points.clear()
        if wall_s - self._window_s < WINDOW_S:
            return None
        self._window_s = wall_s
        ages, self._ages_ms = self._ages_ms, []
        if len(ages) < FEWEST:
            return None
        self._points.append(Point(wall_s, float(np.percentile(ages, 99))))
        while wall_s - self._points[0].time_s > KEPT_S:
            self._points.popleft()
        return self._news()

    def _news(self) -> Explanation | None:
        found = explain(tuple(self._points), tuple(self._flags))
        if found is None or found.rise.start_s <= self._told_s:
            return None
        if sum(point.time_s >= found.rise.start_s for point in self._points) < LASTS:
            return None
        self._told_s = found.rise.start_s
        return found

    def _note_flags(self, wall_s: float, flags: Collection[str]) -> None:
        up = {flag.what: flag for flag in self._flags if flag.end_s is None}
        self._flags = [flag for flag in self._flags if flag.end_s is not None and wall_s - flag.end_s < KEPT_S]
        self._flags += [flag if what in flags else Flag(what, flag.start_s, wall_s) for what, flag in up.items()]
        self._flags += [Flag(what, wall_s) for what in flags if what not in up]
