"""How tensors lie in a slot of shared memory: one after the other, each where a cache line begins; what lies where goes with the message.

Both sides use this: the service places inputs and takes outputs, the model's process the other way round. Requests that are computed
together lie so that the engine reads them as one tensor: its rows are theirs, one request after the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewright.serve.binary import from_bytes, to_bytes
from edgewright.serve.datatypes import datatype_named, datatype_of
from edgewright.serve.protocol import MOST_RANK

ALIGNED = 64  # bytes; what engines like best


@dataclass(frozen=True, slots=True)
class Placed:
    """A tensor in a slot. `index`: which of the model's inputs or outputs it is."""

    index: int
    datatype: str
    shape: tuple[int, ...]
    offset: int
    bytes: int

    def to_json(self) -> list[Any]:
        return [self.index, self.datatype, list(self.shape), self.offset, self.bytes]

    @classmethod
    def from_json(cls, fields: Sequence[Any]) -> "Placed":
        """Raises ValueError: this is none."""
        index, datatype, shape, offset, count = fields
        numbers = [index, offset, count, *shape]
        if len(shape) > MOST_RANK or not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in numbers):
            raise ValueError("no placed tensor")
        return cls(index, str(datatype), tuple(shape), offset, count)


@dataclass(frozen=True, slots=True)
class Layout:
    """Tensors with their places, and how large a slot they need. `raw`: the pieces of each."""

    placed: tuple[Placed, ...]
    raw: tuple[tuple[memoryview, ...], ...]
    total_bytes: int

    def write(self, slot: NDArray[np.uint8]) -> None:
        """Into a slot of at least `total_bytes`."""
        for each, pieces in zip(self.placed, self.raw, strict=True):
            at = each.offset
            for piece in pieces:
                slot[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
                at += len(piece)


def lay_out(tensors: Sequence[tuple[int, NDArray[Any]]]) -> Layout:
    """Tensors with their indices, in their order.

    Raises:
        InputError: the protocol has no name for an element.
    """
    return lay_out_together([tensors])


def lay_out_together(requests: Sequence[Sequence[tuple[int, NDArray[Any]]]]) -> Layout:
    """The tensors of requests that go together, each as the rows of all: in all of them the same indices and shapes, in the same order.

    Raises:
        InputError: the protocol has no name for an element.
    """
    placed, pieces, at = [], [], 0
    for each in zip(*requests, strict=True):
        index, first = each[0]
        raw = tuple(to_bytes(array) for _, array in each)
        total = sum(map(len, raw))
        shape = first.shape if len(raw) == 1 else (len(raw) * first.shape[0], *first.shape[1:])
        placed.append(Placed(index, datatype_of(first).name, shape, at, total))
        pieces.append(raw)
        at += -(-total // ALIGNED) * ALIGNED
    return Layout(tuple(placed), tuple(pieces), at)


def read(slot: NDArray[np.uint8], placed: Placed) -> NDArray[Any]:
    """A tensor in the slot, a view of it unless it holds strings.

    Raises:
        InputError, ValueError: it does not lie there.
    """
    if placed.offset + placed.bytes > len(slot):
        raise ValueError("a tensor that ends after its slot")
    return from_bytes(slot[placed.offset : placed.offset + placed.bytes].data, datatype_named(placed.datatype), placed.shape, "a tensor")
