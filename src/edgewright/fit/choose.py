"""Which candidate wins, and does it ship: pure rules over figures, so that the same journal always gives the same decision.

On the few hundred pictures of a selection split, mAP differences below a point are mostly chance. How far a candidate agrees
with the float model (its mAP when the float model's own boxes are the truth) tells candidates apart more clearly, because the
labels' difficulty drops out; docs/performance.md has the figure, under "What holds over calibration draws". Disagreement (change of
score and box at every cell that matters, `compress.disagreement`) tells them apart better still, because nothing is counted as hit or
miss. So mAP says who may run, speed who leads, and among those about as fast as the leader the one closest to the float model wins: by
disagreement where it can be told of all, else by agreement.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from edgewright.fit.budget import Budget
from edgewright.stats import Interval

BASELINE = "baseline"  # the name of the model as given among the candidates
ABOUT_AS_FAST = 1.06  # times the leader's p50; below that, which is faster depends on the day

Constraint = Literal["accuracy", "latency", "memory", "size"]
Verdict = Literal["ship", "provisional", "refuse"]


@dataclass(frozen=True, slots=True)
class Figures:
    """What is known of a candidate.

    MAP50-95 (0..1; None without labels) and its change against the baseline in points (without labels: of agreement), on the selection
    or judging split; agreement 0..1; disagreement 0..2, None where cells cannot be compared; cost.
    """

    name: str
    precision: str
    map50_95: float | None
    delta_points: float
    agreement: float
    p50_ms: float
    peak_mib: float
    size_mb: float
    disagreement: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict, the constraints that stand in the way, and why in one sentence."""

    verdict: Verdict
    binding: tuple[Constraint, ...]
    reason: str
    accuracy_proven: bool


def violated(figures: Figures, budget: Budget) -> tuple[Constraint, ...]:
    """The constraints that a candidate breaks, by point estimate."""
    limits: tuple[tuple[Constraint, float, float | None], ...] = (
        ("accuracy", -figures.delta_points, budget.max_drop),
        ("latency", figures.p50_ms, budget.max_latency_ms),
        ("memory", figures.peak_mib, budget.max_memory_mib),
        ("size", figures.size_mb, budget.max_size_mb),
    )
    return tuple(name for name, value, limit in limits if limit is not None and value > limit)


def choose(candidates: Sequence[Figures], budget: Budget) -> Figures:
    """The winner: of those within the budget the one closest to the float model among the fastest.

    Where none is within, the one that breaks least.
    """
    rivals = contenders(candidates, budget)
    if not rivals:
        return min(candidates, key=lambda each: (len(violated(each, budget)), each.p50_ms))
    if all(each.disagreement is not None for each in rivals):
        return min(rivals, key=lambda each: (each.disagreement, each.p50_ms))
    return max(rivals, key=lambda each: (each.agreement, -each.p50_ms))


def contenders(candidates: Sequence[Figures], budget: Budget) -> list[Figures]:
    """Those within the budget that are about as fast as the fastest of them; none where none is within."""
    fit = [each for each in candidates if not violated(each, budget)]
    fastest = min((each.p50_ms for each in fit), default=0.0)
    return [each for each in fit if each.p50_ms <= fastest * ABOUT_AS_FAST]


def fallback(candidates: Sequence[Figures], budget: Budget) -> Figures | None:
    """The fastest float candidate within the budget, for when an integer winner fails the judging split."""
    fit = [each for each in candidates if each.precision != "int8" and not violated(each, budget)]
    return min(fit, key=lambda each: each.p50_ms, default=None)


def why_not(figures: Figures, winner: Figures, budget: Budget) -> str | None:
    """Why a candidate is not the winner, in a few words; None of the winner."""
    if figures.name == winner.name:
        return None
    broken = violated(figures, budget)
    if broken:
        lost = f"loses {-figures.delta_points:.2f} points of {budget.max_drop:.2f}"
        return "; ".join(lost if constraint == "accuracy" else f"too much {constraint}" for constraint in broken)
    if figures.p50_ms > winner.p50_ms * ABOUT_AS_FAST:
        return f"{figures.p50_ms / winner.p50_ms:.2f}x the time of {winner.name}"
    return f"about as fast as {winner.name}, and further from the float model"


def best_threads(p50_ms: Mapping[int, float]) -> int:
    """The fewest threads that are about as fast as the fastest number of them."""
    fastest = min(p50_ms.values())
    return min(count for count, each in p50_ms.items() if each <= fastest * ABOUT_AS_FAST)


def decide(winner: Figures, delta: Interval, speedup: Interval, budget: Budget, *, assumed: Sequence[str] = ()) -> Decision:
    """The verdict on the judging split.

    `winner` holds the final measurement; `delta` is its change in mAP50-95 in points, `speedup` how many times faster it is than the
    baseline. `assumed`: what the verdict would rest on without having been measured; then it is provisional, and nothing is proven.
    """
    binding = violated(winner, budget)
    proven = delta.low > -budget.max_drop and not assumed
    change = (
        f"{winner.name} changes {'mAP50-95' if winner.map50_95 is not None else 'agreement'} by {delta.estimate:+.2f} points "
        f"(95 % {delta.low:+.2f} to {delta.high:+.2f}; allowed {-budget.max_drop:+.2f}) and runs {speedup.estimate:.2f}x as fast"
    )
    if binding:
        broken = ", ".join(_limit(constraint, winner, budget) for constraint in binding)
        return Decision("refuse", binding, f"no candidate meets the budget; the nearest, {change}, breaks {broken}", proven)
    if winner.name == BASELINE:
        change = "nothing within the budget is faster than the model as given, so that ships"
    if assumed:
        return Decision("provisional", (), f"{change}; provisional, because {' and '.join(assumed)}", proven)
    return Decision("ship", (), change, proven)


def _limit(constraint: Constraint, figures: Figures, budget: Budget) -> str:
    return {
        "accuracy": "accuracy",
        "latency": f"latency ({figures.p50_ms:.1f} ms of {budget.max_latency_ms} ms)",
        "memory": f"memory ({figures.peak_mib:.0f} MiB of {budget.max_memory_mib} MiB)",
        "size": f"size ({figures.size_mb:.1f} MB of {budget.max_size_mb} MB)",
    }[constraint]
