"""Networks that a fit has taught: what they are called, and what each change bought and cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgewright.fit.choose import BASELINE, Figures
from edgewright.learn.extra import need_torch

FEW_FRAMES = 200


@dataclass(frozen=True, slots=True)
class RecoveredStage:
    """A network after one more change: its name among the recipes' sources, and what `learn.recover.Stage` says of it."""

    source: str
    told: Mapping[str, Any]

    @property
    def size_wh(self) -> tuple[int, int] | None:
        """The pictures that it is meant for, where it says so."""
        wide, high = self.told["size_wh"]
        return int(wide), int(high)

    def to_json(self) -> dict[str, Any]:
        return {"source": self.source, **self.told}


def check_changes(text: str) -> None:
    """Whether changes can be read and made here, before anything else is begun.

    Raises:
        InputError: the changes cannot be read.
        HostError: PyTorch is not installed.
    """
    need_torch()
    from edgewright.learn.recipe import parse_recipe  # noqa: PLC0415 - heavy, and an extra

    parse_recipe(text)


def recovery_story(stages: Sequence[RecoveredStage], ranking: Sequence[Figures], sources: Mapping[str, str]) -> dict[str, Any] | None:
    """What each change bought in milliseconds and cost in points, and the front of accuracy over latency with and without the changes.

    A change is judged by two of its candidates: the float one, which tells what the change alone cost, and the fastest, which tells what
    it bought. None where nothing was taught.
    """
    if not stages:
        return None
    base = next(each for each in ranking if each.name == BASELINE)
    given = [each for each in ranking if not sources.get(each.name)]
    rows, before = [], _fastest(given)
    for stage in stages:
        mine = [each for each in ranking if sources.get(each.name) == stage.source]
        exact, fastest = next((each for each in mine if each.precision == "float32"), None), _fastest(mine)
        bought = None if fastest is None or before is None else before.p50_ms - fastest.p50_ms
        rows.append({
            **stage.to_json(),
            "float_delta_points": None if exact is None else round(exact.delta_points, 3),
            "fastest": None if fastest is None else fastest.name,
            "p50_ms": None if fastest is None else fastest.p50_ms,
            "speedup": None if fastest is None else round(base.p50_ms / fastest.p50_ms, 3),
            "delta_points": None if fastest is None else round(fastest.delta_points, 3),
            "bought_ms": None if bought is None else round(bought, 3),
        })  # fmt: skip
        before = fastest or before
    return {"stages": rows, "front": {"without": [each.name for each in front(given)], "with": [each.name for each in front(ranking)]}}


def front(figures: Sequence[Figures]) -> list[Figures]:
    """Those that no other beats in both accuracy and latency, fastest first."""
    best: list[Figures] = []
    for each in sorted(figures, key=lambda figure: (figure.p50_ms, -figure.delta_points)):
        if not best or each.delta_points > best[-1].delta_points:
            best.append(each)
    return best


def _fastest(figures: Sequence[Figures]) -> Figures | None:
    return min((each for each in figures if each.precision != "float32"), key=lambda each: each.p50_ms, default=None)
