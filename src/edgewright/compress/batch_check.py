"""Does a model whose batch was rewritten still say of each picture what it said of it alone? Measured, not reasoned."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewright.engines import Engine, open_engine
from edgewright.errors import EngineError, ModelError

SAME = 1e-4  # of the larger of 1 and the output's largest number: float sums in another order, no more
FIX = "run it picture by picture"


def check_batch(single: Path, stacked: Path, pictures: Sequence[Mapping[str, NDArray[Any]]], *, threads: int = 1) -> float:
    """How far the answers of `stacked` to all `pictures` at once are from those of `single` to each: the worst difference, in shares
    of the larger of 1 and the output's largest number.

    `pictures`: feeds of `single`, each with one picture, as many as `stacked` takes; let them differ, or an answer to the wrong
    picture would look right.

    Raises:
        ModelError: the answers differ, or `stacked` cannot run.
    """
    alone, together = (open_engine("onnxruntime", path, threads=threads) for path in (single, stacked))
    try:
        answers = [alone.run(feed) for feed in pictures]
        stack = {name: np.concatenate([feed[name] for feed in pictures]) for name in pictures[0]}
        worst = _worst(answers, _answers_to_all(together, stack))
    finally:
        alone.close()
        together.close()
    if worst > SAME:
        raise ModelError(
            "the model answers otherwise when pictures are stacked",
            got=f"a difference of {worst:.2g} of the largest number",
            expected=f"at most {SAME}",
            fix=FIX,
        )
    return worst


def noise_pictures(name: str, shape: tuple[int, ...], count: int, *, highest: float = 1.0, seed: int = 0) -> list[dict[str, NDArray[Any]]]:
    """`count` feeds of noise, no two alike, for a check where no pictures are at hand: input `name` of `shape` [1, ...], 0..`highest`."""
    rng = np.random.default_rng(seed)
    return [{name: (rng.random(shape, np.float32) * np.float32(highest)).astype(np.float32)} for _ in range(count)]


def _answers_to_all(engine: Engine, stack: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    try:
        return engine.run(stack)
    except EngineError as error:
        raise ModelError("the model cannot run with pictures stacked", got=error.got, fix=FIX) from error


def _worst(answers: Sequence[Sequence[NDArray[Any]]], stacked: Sequence[NDArray[Any]]) -> float:
    worst = 0.0
    for at, together in enumerate(stacked):
        apart = np.concatenate([answer[at] for answer in answers])
        if apart.shape != together.shape:
            return float("inf")
        scale = max(1.0, float(np.abs(apart).max(initial=0)))
        difference = np.abs(apart.astype(np.float64) - together)
        worst = max(worst, float(difference.max(initial=0)) / scale)
    return worst
