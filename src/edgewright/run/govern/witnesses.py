"""What the last minutes tell: which heat is known to be safe, and whether there is hope."""

from collections import deque

SAFE_WINDOW_S = 120.0
SAFE_EVERY_S = 10.0
SAFE_OLDER_S = 45.0  # a sensor that is found wrong now has been wrong for a while: what it said last is no witness
SAFE_SHARE = 0.9
TOO_WARM_C = 1.0
STEADY_C = 0.4  # from one minute to the next
COOL_C = 3.0  # so far below the limit, a heat needs no reserve
HOPELESS_AFTER_S = 40.0
HOPELESS_AHEAD_S = 300.0
HOPELESS_OVER_C = 0.25
HOPE_BELOW_C = 2.0


class SafeHeat:
    """The heat that was last held for two minutes below the limit, without the temperature rising any more."""

    def __init__(self) -> None:
        self._window: deque[tuple[float, float, float]] = deque()  # time, heat, temperature
        self._known: deque[tuple[float, float]] = deque()  # when, heat
        self._too_warm_since_s: float | None = None

    def note(self, time_s: float, heat: float, temp_c: float, limit_c: float) -> None:
        self._window.append((time_s, heat, temp_c))
        self._too_warm_since_s = _since(self._too_warm_since_s, time_s, holds=temp_c > limit_c + TOO_WARM_C)
        if self._too_warm_since_s is not None and time_s - self._too_warm_since_s >= SAFE_OLDER_S:
            self._known.clear()  # what was safe is so no longer; a sensor that jumps would have been found out by now
        while time_s - self._window[0][0] > SAFE_WINDOW_S:
            self._window.popleft()
        last_s = self._known[-1][0] if self._known else -SAFE_EVERY_S
        if time_s - self._window[0][0] >= SAFE_WINDOW_S * 0.95 and time_s - last_s >= SAFE_EVERY_S:
            self._weigh(time_s, limit_c)

    def known(self, time_s: float) -> float | None:
        """None as long as nothing was held for long enough. No more than was done of late: the board may have become a warmer one."""
        older = [heat for when, heat in self._known if time_s - when >= SAFE_OLDER_S]
        recent = [heat for when, heat, _ in self._window if time_s - when >= SAFE_OLDER_S]
        return min(older[-1], sum(recent) / len(recent)) if older and recent else None

    def slope_c_s(self, within_s: float) -> float | None:
        """How the temperature has been changing; None until that is known."""
        if not self._window or self._window[-1][0] - self._window[0][0] < within_s:
            return None
        end_s, _, end_c = self._window[-1]
        start_s, _, start_c = next(each for each in self._window if end_s - each[0] <= within_s)
        return (end_c - start_c) / max(end_s - start_s, 1.0)

    def _weigh(self, time_s: float, limit_c: float) -> None:
        temps = [temp_c for _, _, temp_c in self._window]
        half = len(temps) // 2
        risen = sum(temps[half:]) / (len(temps) - half) - sum(temps[:half]) / half
        if max(temps) <= limit_c and risen < STEADY_C:
            mean = sum(heat for _, heat, _ in self._window) / len(self._window)
            self._known.append((time_s, mean if max(temps) < limit_c - COOL_C else mean * SAFE_SHARE))
        while len(self._known) > 1 and time_s - self._known[1][0] >= SAFE_OLDER_S:
            self._known.popleft()


class Hope:
    """A board that stays above its limit though it does the least there is: no rung helps. `lost` until it is clearly below again."""

    def __init__(self) -> None:
        self.lost = False
        self._lowest_since_s: float | None = None
        self._cool_since_s: float | None = None

    def forget(self) -> None:
        """The temperature is not known."""
        self._lowest_since_s = self._cool_since_s = None

    def watch(self, time_s: float, temp_c: float, limit_c: float, slope_c_s: float | None, *, lowest: bool) -> bool:
        """Whether hope was lost or came back just now. `lowest`: no less can be done."""
        before = self.lost
        self._lowest_since_s = _since(self._lowest_since_s, time_s, holds=lowest)
        self._cool_since_s = _since(self._cool_since_s, time_s, holds=temp_c < limit_c - HOPE_BELOW_C)
        if self.lost:
            self.lost = not _for_long(self._cool_since_s, time_s)
        elif _for_long(self._lowest_since_s, time_s) and slope_c_s is not None:
            falls = temp_c + HOPELESS_AHEAD_S * slope_c_s < limit_c
            self.lost = temp_c > limit_c + HOPELESS_OVER_C and not falls
        return self.lost != before


def _since(before_s: float | None, time_s: float, *, holds: bool) -> float | None:
    if not holds:
        return None
    return time_s if before_s is None else before_s


def _for_long(since_s: float | None, time_s: float) -> bool:
    return since_s is not None and time_s - since_s >= HOPELESS_AFTER_S
