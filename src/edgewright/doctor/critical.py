"""Where the critical point lies: the last step that fits, found with few trials. Pure rules; what a trial is, is the caller's.

Steps are counted from 1 and take more memory the higher they are. What comes out was tried, and so was the step above it: that near the
point two trials of one step may end differently does no harm beyond it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from edgewright.errors import InputError


@dataclass(frozen=True, slots=True)
class Critical:
    """`fits`: the largest step that fits, 0 if none does; `fails`: the smallest that was seen not to; None: the end was reached."""

    fits: int
    fails: int | None
    trials: int


def gallop(most: int, fits: Callable[[int], bool]) -> Critical:
    """From below, in doubling steps, then by halving: no trial asks for more than twice of what fits."""
    _require(most)
    step, last, trials = 1, 0, 0
    while True:
        trials += 1
        if not fits(step):
            return _between(last, step, trials, fits)
        last = step
        if step == most:
            return Critical(most, None, trials)
        step = min(step * 2, most)


def halve(most: int, fits: Callable[[int], bool], *, fails: int | None = None) -> Critical:
    """By halving alone; `fails`: a step that is known not to fit."""
    _require(most)
    return _between(0, most + 1 if fails is None else fails, 0, fits, end=most if fails is None else None)


def _between(low: int, high: int, trials: int, fits: Callable[[int], bool], end: int | None = None) -> Critical:
    """`low` fits or is 0, `high` does not, or lies beyond the `end`."""
    while high - low > 1:
        middle = (low + high) // 2
        trials += 1
        low, high = (middle, high) if fits(middle) else (low, middle)
    return Critical(low, None if end is not None and high > end else high, trials)


def _require(most: int) -> None:
    if most < 1:
        raise InputError("there is nothing to try", got=f"{most} steps", expected="1 at least")
