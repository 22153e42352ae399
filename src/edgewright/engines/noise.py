"""Something to feed a model whose input nobody has at hand."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewright.engines.base import TensorSpec
from edgewright.errors import ModelError
from edgewright.printable import printable

USUAL_PICTURE = (1, 3, 640, 640)  # batch, channels, rows, columns, where a model leaves them free


def noise_shape(spec: TensorSpec) -> tuple[int, ...]:
    """The declared shape; where all four axes may be free, that of a picture, and 1 for other free axes."""
    usual = USUAL_PICTURE if len(spec.shape) == len(USUAL_PICTURE) else (1,) * len(spec.shape)
    return tuple(guess if known is None else known for known, guess in zip(spec.shape, usual, strict=True))


def invent(spec: TensorSpec) -> NDArray[Any]:
    """Seeded noise of that shape, from 0 to 1; to 255 where bytes are asked for.

    Raises:
        ModelError: it wants what is no array of numbers (text, a sequence).
    """
    try:
        kind = np.dtype(spec.dtype)
    except TypeError as error:
        got = printable(spec.dtype)
        raise ModelError(f"input {printable(spec.name)} cannot be fed", got=got, expected="a tensor of numbers") from error
    noise = np.asarray(np.random.default_rng(0).random(noise_shape(spec), np.float32))
    return np.asarray(noise * (255 if kind == np.uint8 else 1), kind)  # numpy makes a bare number of an array without axes
