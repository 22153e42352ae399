"""Which rung, and when to change it: seldom, and only for what is clearly better.

Frames a second are what keeps the temperature, so a rung never has to change in a hurry; only a rung on which fewer frames would be left
than the service may have is given up within seconds. Going up asks more than going down: not that there is heat to spare now, but that
the model says it will be for good. And whoever has just gone one way waits before going the other: no more than two turns in ten minutes.
"""

import math

from edgewright.run.govern.ladder import Ladder, Rung

BETTER_BY = 0.06
ROOM = 0.94  # an upper rung that gives all frames with this share of the heat is gone up to, however little better it is
KEPT_S = 60.0
TURN_S = 330.0
SMOOTH_S = 45.0
TOO_FEW_S = 5.0
# A board that stays so far below the target for so long, all frames answered, may well bear the next rung: about what a model has not seen
# of late (a fan that has come on meanwhile) it may be wrong, and only a try tells. A rung that was held for as long, and left, is known.
SPARE_C, WARMS_C, SPARE_S = 4.0, 1.0, 300.0
KNOWN_S, MOST_KNOWN_S = 1800.0, 4 * 3600.0
MOST_HEAT = 2.0  # more than a machine can make: to tell no difference between much room and very much


class RungChoice:
    """Holds the present rung. `heat`: what there may be now; `lasting_heat`: what could be kept up for good; both smoothed."""

    def __init__(self, ladder: Ladder, lowest_fps: float, time_s: float) -> None:
        self.at = 0
        self._ladder = ladder
        self._lowest_fps = lowest_fps
        self._moved_s, self._way = time_s, 0
        self._few_since_s = math.inf
        self._spare_since_s, self._spare_c = math.inf, 0.0
        self._known: dict[int, tuple[float, float]] = {}  # rungs that were more than the board bears: until when, and for how long
        self.heat = math.nan
        self._lasting_heat = math.nan

    @property
    def rung(self) -> Rung:
        return self._ladder.rungs[self.at]

    @property
    def is_last(self) -> bool:
        return self.at == len(self._ladder.rungs) - 1

    def smooth(self, seconds: float, heat: float, lasting_heat: float) -> None:
        """A second's heats are too rough to choose a rung by."""
        heat, lasting_heat = min(heat, MOST_HEAT), min(max(lasting_heat, 0.0), MOST_HEAT)
        if not math.isfinite(self.heat):
            self.heat, self._lasting_heat = heat, lasting_heat
        share = 1 - math.exp(-seconds / SMOOTH_S)
        self.heat += share * (heat - self.heat)
        self._lasting_heat += share * (lasting_heat - self._lasting_heat)

    def change(self, time_s: float, heat: float, wanted_fps: float, first: int, spare_c: float = 0.0) -> str | None:
        """Move if it is time to; why, or None. `heat`: this second's; `first`: the topmost rung that may be had; `spare_c`: how far the
        temperature is below what is aimed at.
        """
        self._note_spare(time_s, spare_c, heat, wanted_fps)
        if self.at < first:
            return self._move(time_s, self._best(heat, wanted_fps, first), "memory is short")
        if not self.is_last and self._too_few(time_s, heat):
            why = f"fewer than {self._lowest_fps:g} frames a second would be left"
            return self._move(time_s, max(self._best(heat, wanted_fps, first), self.at + 1), why)
        below = self._better(self.heat, wanted_fps, first)
        if below > self.at and self._may_move(time_s, 1):
            return self._move(time_s, below, "its answers are worth more within the heat that the board sheds")
        above = self._above(min(self.heat, self._lasting_heat), wanted_fps, first)
        if above < self.at and self._may_move(time_s, -1):
            return self._move(time_s, above, "the board sheds enough heat for it, for good")
        worth_a_try = self._next_above(time_s, wanted_fps, first)
        if worth_a_try is not None and time_s - self._spare_since_s >= SPARE_S and self._may_move(time_s, -1):
            return self._move(time_s, worth_a_try, f"there has been room for more for {SPARE_S / 60:.0f} minutes, so it is tried")
        return None

    def _note_spare(self, time_s: float, spare_c: float, heat: float, wanted_fps: float) -> None:
        if spare_c < SPARE_C or self.rung.fps_for(heat, wanted_fps) < wanted_fps:
            self._spare_since_s = math.inf
        elif not math.isfinite(self._spare_since_s) or spare_c < self._spare_c - WARMS_C:  # it is still warming
            self._spare_since_s, self._spare_c = time_s, spare_c

    def _next_above(self, time_s: float, wanted_fps: float, first: int) -> int | None:
        """The nearest rung above that would be worth more if the board bore it; None: there is none, or it is known that it does not."""
        worth = self.rung.worth_for(MOST_HEAT, wanted_fps)
        better = (at for at in range(self.at - 1, first - 1, -1) if self._ladder.rungs[at].worth_for(MOST_HEAT, wanted_fps) > worth)
        at = next(better, None)
        return None if at is None or time_s < self._known.get(at, (-math.inf, 0.0))[0] else at

    def _move(self, time_s: float, to: int, why: str) -> str:
        self._way = 1 if to > self.at else -1
        if self._way > 0 and time_s - self._moved_s >= SPARE_S:
            known_s = min(2 * self._known.get(self.at, (0.0, KNOWN_S / 2))[1], MOST_KNOWN_S)
            self._known[self.at] = time_s + known_s, known_s
        self._spare_since_s = math.inf
        self.at, self._moved_s = to, time_s
        return f"{'down' if self._way > 0 else 'up'} to {self.rung.name}: {why}"

    def _may_move(self, time_s: float, way: int) -> bool:
        return time_s - self._moved_s >= (KEPT_S if self._way in {0, way} else TURN_S)

    def _too_few(self, time_s: float, heat: float) -> bool:
        """For some seconds, and not because the last move has not shown yet."""
        if heat >= self._lowest_fps * self.rung.frame_heat:
            self._few_since_s = math.inf
            return False
        self._few_since_s = min(self._few_since_s, time_s)
        return time_s - max(self._few_since_s, self._moved_s) >= TOO_FEW_S

    def _better(self, heat: float, wanted_fps: float, first: int) -> int:
        """The best rung for the heat if it is clearly better than the present one, or else that."""
        at = self._best(heat, wanted_fps, first)
        better = self._ladder.rungs[at].worth_for(heat, wanted_fps) > (1 + BETTER_BY) * self.rung.worth_for(heat, wanted_fps)
        return at if better else self.at

    def _above(self, heat: float, wanted_fps: float, first: int) -> int:
        """The rung to go up to, or the present one."""
        for at in range(first, self.at):
            rung = self._ladder.rungs[at]
            if rung.worth > self.rung.worth and rung.fps_for(heat * ROOM, wanted_fps) >= wanted_fps:
                return at
        return self._better(heat, wanted_fps, first)

    def _best(self, heat: float, wanted_fps: float, first: int) -> int:
        """The rung that is worth the most among those that leave enough frames; the last one if none does."""
        rungs = self._ladder.rungs
        enough = next((at for at in range(first, len(rungs)) if heat >= self._lowest_fps * rungs[at].frame_heat), len(rungs) - 1)
        return self._ladder.best(heat, wanted_fps, first=enough)
