"""What the protocol calls an element, and what numpy does.

Names: Open Inference Protocol, "Tensor Data Types"; those of a configuration: Triton's model_config.proto. BF16 is missing: numpy has no
such type, and no engine here takes one.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike

from edgewright.errors import InputError
from edgewright.printable import brief


@dataclass(frozen=True, slots=True)
class Datatype:
    """`name` as in requests, `config` as in a configuration, `engine` as engines and ONNX Runtime call it."""

    name: str
    config: str
    engine: str
    dtype: np.dtype[Any]

    @property
    def is_bytes(self) -> bool:
        """Whether elements are strings of bytes, each of a length of its own; an array of them holds `bytes` objects."""
        return self.dtype == np.object_

    @property
    def item_bytes(self) -> int:
        """Of one element; of a string the least it takes."""
        return 4 if self.is_bytes else self.dtype.itemsize


def _datatype(name: str, config: str, engine: str, dtype: DTypeLike) -> Datatype:
    return Datatype(name, config, engine, np.dtype(dtype))


DATATYPES: Final = {
    each.name: each
    for each in (
        _datatype("BOOL", "TYPE_BOOL", "bool", np.bool_),
        *(_datatype(f"UINT{bits}", f"TYPE_UINT{bits}", f"uint{bits}", f"<u{bits // 8}") for bits in (8, 16, 32, 64)),
        *(_datatype(f"INT{bits}", f"TYPE_INT{bits}", f"int{bits}", f"<i{bits // 8}") for bits in (8, 16, 32, 64)),
        *(_datatype(f"FP{bits}", f"TYPE_FP{bits}", f"float{bits}", f"<f{bits // 8}") for bits in (16, 32, 64)),
        _datatype("BYTES", "TYPE_STRING", "string", np.object_),
    )
}
_OF_ENGINE: Final = {each.engine: each for each in DATATYPES.values()}
_OF_DTYPE: Final = {each.dtype: each for each in DATATYPES.values()}


def datatype_named(name: object) -> Datatype:
    """The type that a request names.

    Raises:
        InputError: there is none of that name.
    """
    found = DATATYPES.get(name) if isinstance(name, str) else None
    if found is None:
        raise InputError("no such datatype", got=brief(name), expected=f"one of {', '.join(DATATYPES)}")
    return found


def datatype_of_engine(name: str) -> Datatype | None:
    """The type of a model's input or output, by the name that engines give it; None where the protocol has none, as for float8."""
    return _OF_ENGINE.get(name)


def datatype_of(array: np.ndarray[Any, Any]) -> Datatype:
    """The type of an array's elements.

    Raises:
        InputError: the protocol has none for them.
    """
    dtype = array.dtype if array.dtype.kind not in "US" else np.dtype(np.object_)
    found = _OF_DTYPE.get(dtype.newbyteorder("<"))
    if found is None:
        raise InputError(f"the protocol has no name for elements of {array.dtype}")
    return found
