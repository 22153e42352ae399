"""Whether a model answers each row of its inputs for itself, so that requests may be its rows together.

A free first axis says nothing of that: it may be the length of a signal, the softmax may run along it, or a network that quantizes as it
goes may choose one scale for all rows. So it is computed: two requests alone, and together in both orders. Without that nothing is joined.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Feeds = Mapping[str, NDArray[Any]]
Compute = Callable[[Feeds], list[NDArray[Any]]]
# Engines add in another order for more rows: 1e-6 of what is added, and more where terms cancel. One scale for all rows makes 1e-2.
ALIKE = 1e-3
ALIKE_OF_LARGEST = 1e-5
EPSILONS = 16.0  # of half precision, whose steps are coarser than that


class ApartError(Exception):
    """These requests are to be computed one by one. `is_final`: and so are all others."""

    def __init__(self, why: str, *, is_final: bool) -> None:
        super().__init__(why)
        self.is_final = is_final


def prove(compute: Compute, feeds: Feeds) -> None:
    """See that the model is one, by a request and another of the same shapes that is invented.

    Raises:
        ApartError: it is not, or these two cannot show it.
    """
    other = {name: _another(array) for name, array in feeds.items()}
    alone = [compute(feeds), compute(other)]
    if all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(*alone, strict=True)):
        raise ApartError("two requests have the same answer, which shows nothing", is_final=False)
    for both, answers in (((feeds, other), alone), ((other, feeds), alone[::-1])):
        joined = compute({name: np.concatenate([each[name] for each in both]) for name in feeds})
        for at, answer in enumerate(answers):
            check_part(joined, answer, at, 2, rows_of(feeds))


def rows_of(feeds: Feeds) -> int:
    """How many rows a request has."""
    return int(next(iter(feeds.values())).shape[0])


def check_rows(outputs: Sequence[NDArray[Any]], rows: int) -> None:
    """Raises ApartError: there are not as many rows as were asked."""
    if any(output.shape[:1] != (rows,) for output in outputs):
        raise ApartError("its outputs have not the rows of its inputs", is_final=True)


def check_part(joined: Sequence[NDArray[Any]], alone: Sequence[NDArray[Any]], at: int, of: int, rows: int) -> None:
    """See that request `at` of `of` has the answer that it has alone; each has so many `rows`.

    Raises:
        ApartError: it has another one.
    """
    check_rows(joined, of * rows)
    check_rows(alone, rows)
    for whole, answer in zip(joined, alone, strict=True):
        part = whole[at * rows : (at + 1) * rows]
        if part.shape != answer.shape or not are_alike(part, answer):
            raise ApartError("a request is answered otherwise together with others than alone", is_final=True)


def are_alike(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Equal, but for rounding where they are no whole numbers. Of the same shape."""
    if a.dtype.kind != "f" or not a.size:
        return bool(np.array_equal(a, b))
    relative = max(ALIKE, EPSILONS * float(np.finfo(a.dtype).eps))
    finite = np.abs(b[np.isfinite(b)], dtype=np.float64)
    return np.allclose(a, b, rtol=relative, atol=ALIKE_OF_LARGEST * float(finite.max(initial=0.0)), equal_nan=True)


def _another(array: NDArray[Any]) -> NDArray[Any]:
    """Other content of the same shape: noise as models are warmed with; whole numbers, which may be words of a list, in another order."""
    if array.dtype.kind == "f" or array.dtype == np.uint8:
        return np.asarray(np.random.default_rng(1).random(array.shape) * (255 if array.dtype == np.uint8 else 1), array.dtype)
    return np.roll(array, 1)
