"""An output tensor that holds 8-bit integers: compared as it is, and turned into numbers only where somebody asks.

Of 8,400 cells a dozen survive the threshold. A table of 256 levels says what each integer is worth; the threshold becomes the first level
above it, so that comparing integers decides exactly as comparing the numbers would have.

>>> scores = encoded(np.array([[-128, 0, 127]], np.int8), scale=0.5, zero_point=0)
>>> scores > 0.2
array([[False, False,  True]])
>>> scores[:, 2].real
array([63.5], dtype=float32)
"""

from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Tensor: TypeAlias = NDArray[np.float32]

LEVELS = 256


class Encoded:
    """Integers and what they are worth, with as much of an array's manners as a decoder needs. `worth`: of each, the least one first."""

    def __init__(self, codes: NDArray[Any], worth: Tensor, least: int) -> None:
        self._codes = codes
        self._worth = worth
        self._least = least

    @property
    def shape(self) -> tuple[int, ...]:
        return self._codes.shape

    @property
    def T(self) -> "Encoded":  # noqa: N802 - an array's own name for it
        return self._of(self._codes.T)

    @property
    def real(self) -> Tensor:
        """The numbers."""
        found: Tensor = self._worth[self._codes.astype(np.intp) - self._least]
        return found

    def reshape(self, *shape: int) -> "Encoded":
        return self._of(self._codes.reshape(*shape))

    def max(self, axis: int) -> "Encoded":
        return self._of(self._codes.max(axis=axis))

    def __getitem__(self, index: Any) -> "Encoded":
        return self._of(self._codes[index])

    def __gt__(self, number: float) -> NDArray[np.bool_]:
        above = int(np.searchsorted(self._worth, np.float32(number), side="right"))  # the first level that is
        if above == LEVELS:
            return np.zeros(self._codes.shape, bool)
        return np.asarray(self._codes >= self._codes.dtype.type(self._least + above))

    def _of(self, codes: NDArray[Any]) -> "Encoded":
        return Encoded(codes, self._worth, self._least)


Values: TypeAlias = Tensor | Encoded


def encoded(codes: NDArray[Any], *, scale: float, zero_point: int) -> Encoded:
    """Integers of int8 or uint8, each worth `scale` times its distance from `zero_point`."""
    least = -LEVELS // 2 if codes.dtype == np.int8 else 0
    return Encoded(codes, _worth(least, scale, zero_point), least)


def real(values: Values) -> Tensor:
    """The numbers, whichever way they are held."""
    return values.real if isinstance(values, Encoded) else values


def is_encoding(dtype: np.dtype[Any]) -> bool:
    """Whether tensors of this type hold what `Encoded` reads."""
    return dtype in (np.int8, np.uint8)


@lru_cache(maxsize=256)  # a head has six to nine tensors
def _worth(least: int, scale: float, zero_point: int) -> Tensor:
    return (np.arange(least, least + LEVELS) - zero_point).astype(np.float32) * np.float32(scale)
