"""Whether requests that wait are computed in one run: learned from what runs really take, and never kept up where it loses.

    share of b = what b take together / (b times what one takes alone)          below 1, b together are served sooner

One request may keep all cores of a processor busy; then b of them take b times as long, or longer, and each runs alone for ever. Where a
run has a price of its own, as with many small operators or on an accelerator, several share it. Which of the two it is depends on the
model, its shapes, the threads and the machine, so it is measured, by *trials*: b requests that wait are computed together, and right after
that one of them alone. What slows the machine for a while slows both, and their ratio stays (docs/decisions/0004, 0032).

Nothing here knows a queue or a process, and nobody is ever made to wait for company.

    policy = Batching()
    policy.choose(waiting=5, left_s=2.0)        # Choice(size=4, is_trial=True)
    policy.tried(4, joined_s=0.021, alone_s=0.009)
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Final

SIZES: Final = (2, 4, 8)  # few, since an engine keeps memory for each
FIRST_TRIALS: Final = 4  # of a size; what the first one takes is not believed: it allocates
KEPT: Final = 5  # shares of a size; their median counts, and an older one is forgotten
WORTH: Final = 0.95  # a share above this is not worth the lateness
EVERY: Final = 4  # runs from one trial to the next, while it learns
SPENT: Final = 0.02  # of all computing, for trials once it has learned
FEW_ALONE: Final = 3  # runs alone before the first trial
LATEST: Final = 1 / 8  # the weight of the latest run in what one takes alone
MOST_TRIAL_S: Final = 1.0  # a trial that would take longer is not made
LATER: Final = 2.0  # runs alone by which a request may be later than it would be alone
LEAST_LATER_S: Final = 0.01  # and what nobody minds
REST, LONGEST_REST = 64, 1 << 14  # runs alone, after several together have failed; twice as many each time, until all goes well
SURE: Final = 2.0  # times what they are expected to take has to be left until the first of them is due
RECENT: Final = 32  # requests over which the most that were under way is remembered


@dataclass(frozen=True, slots=True)
class Choice:
    """How many of those that wait are computed together, and whether one of them is computed alone as well."""

    size: int
    is_trial: bool = False


@dataclass(slots=True)
class _Size:
    """What is known of so many together."""

    trials: int = 0
    tried_at: int = 0  # in runs
    shares: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))

    @property
    def share(self) -> float | None:
        return median(self.shares) if self.trials >= FIRST_TRIALS else None


class Batching:
    """Of requests of the same shapes to one model. Times are those of the engine, in seconds."""

    def __init__(self, sizes: tuple[int, ...] = SIZES) -> None:
        self._sizes = {size: _Size() for size in sorted(sizes)}
        self._alone_s: float | None = None
        self._alone_runs = self._runs = self._since_trial = self._resting = 0
        self._rest = REST
        self._well = 0  # requests that were computed together since the last failure
        self._left_s = 0.0  # for trials
        self._under_way: deque[int] = deque(maxlen=RECENT)

    @property
    def shares(self) -> Mapping[int, float]:
        """By size, where it has been learned."""
        return {size: known.share for size, known in self._sizes.items() if known.share is not None}

    @property
    def alone_s(self) -> float | None:
        """What one takes alone, as far as is known."""
        return self._alone_s

    # --- what to do -----------------------------------------------------------------------------------------------------------------------

    def choose(self, waiting: int, left_s: float) -> Choice:
        """Of so many that wait, how many now. `left_s`: until the first of them is due."""
        if waiting < 2 or self._alone_s is None or self._resting:
            return Choice(1)
        if (size := self._to_try(waiting, left_s)) is not None:
            return Choice(size, is_trial=True)
        return Choice(self._best(waiting, left_s))

    def is_enough(self, waiting: int) -> bool:
        """Whether so many are to be handed to a process that is busy anyway; else more may come until it is not."""
        # Half of those under way are computed while the other half comes.
        return waiting >= self._best(max(self._under_way, default=0) // 2, float("inf"))

    def _best(self, waiting: int, left_s: float) -> int:
        """The size that serves most in a second, among those that make nobody too late; the smaller of two equals."""
        best, best_share = 1, WORTH
        for size, share in self.shares.items():
            if size <= waiting and share < best_share and self._is_bearable(size, share, left_s):
                best, best_share = size, share
        return best

    def _is_bearable(self, size: int, share: float, left_s: float) -> bool:
        assert self._alone_s is not None  # noqa: S101 - a share was learned
        together_s = size * share * self._alone_s
        return together_s - self._alone_s <= max(LEAST_LATER_S, LATER * self._alone_s) and SURE * together_s <= left_s

    def _to_try(self, waiting: int, left_s: float) -> int | None:
        if self._alone_runs < FEW_ALONE or self._since_trial < EVERY:
            return None
        reached, is_bearable = [], True
        for size, known in self._sizes.items():
            if size > waiting or not self._may_try(size, left_s):
                break
            if known.share is None:
                if is_bearable:
                    return size
                break
            if is_bearable or known.share < WORTH:
                reached.append(size)
            # Where these make somebody too late, more of them would even more so.
            is_bearable &= self._is_bearable(size, known.share, float("inf"))
        if reached and self._left_s >= 0:
            return min(reached, key=lambda size: self._sizes[size].tried_at)
        return None

    def _may_try(self, size: int, left_s: float) -> bool:
        assert self._alone_s is not None  # noqa: S101 - it has run alone
        expected_s = (size + 1) * self._alone_s
        return expected_s <= MOST_TRIAL_S and SURE * expected_s <= left_s

    # --- what was seen --------------------------------------------------------------------------------------------------------------------

    def asked(self, under_way: int) -> None:
        """One more request has come; so many have no answer yet."""
        self._under_way.append(under_way)

    def ran(self, size: int, seconds: float) -> None:
        """So many were computed together, or one alone."""
        self._count(size, seconds)
        self._since_trial += 1
        self._resting = max(0, self._resting - 1)
        if size == 1:
            self._alone_runs += 1
            self._learn_alone(seconds)
        elif (share := self._sizes[size].share) is not None:
            self._learn_alone(seconds / (size * share))

    def tried(self, size: int, joined_s: float, alone_s: float) -> None:
        """So many were computed together, and then one of them alone."""
        self._count(size, joined_s + alone_s)
        self._learn_alone(alone_s)
        usual = min([1.0, *(share for share in self.shares.values() if share < WORTH)])
        self._left_s -= max(0.0, joined_s + alone_s - size * usual * alone_s)  # beyond what these would have taken as is usual
        self._since_trial = 0
        known = self._sizes[size]
        known.trials += 1
        known.tried_at = self._runs
        if known.trials > 1 and alone_s > 0:
            known.shares.append(joined_s / (size * alone_s))

    def failed(self) -> None:
        """They could not be computed together: one of them may be wrong. It is not tried again for a while."""
        self._resting, self._rest, self._well = self._rest, min(2 * self._rest, LONGEST_REST), 0

    def _count(self, size: int, seconds: float) -> None:
        self._runs += 1
        self._left_s = min(MOST_TRIAL_S, self._left_s + SPENT * seconds)  # quiet weeks save up no more than one trial may take
        if size > 1:
            self._well += size
        if self._well >= self._rest:
            self._rest = REST

    def _learn_alone(self, seconds: float) -> None:
        self._alone_s = seconds if self._alone_s is None else self._alone_s + LATEST * (seconds - self._alone_s)
