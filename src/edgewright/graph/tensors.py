"""What a tensor claims to be, checked before numpy believes it.

A tensor in a file carries a type, dims and bytes that need not agree; numpy would allocate what the dims say.
"""

import math

import onnx
from onnx import TensorProto

from edgewright.graph.finding import Finding, error

MAX_ELEMENTS = 2**31
MAX_BYTES = 4 * 1024**3  # of one value: more than the boards we fit to have
MAX_RANK = 32  # what numpy can hold in every version we support
RE_EXPORT = "export the model again; the file is damaged or was made wrong"

# Elements narrower than a byte are packed; the names are absent from older releases of onnx.
PACKED_BITS = {
    int(getattr(TensorProto, name)): bits
    for name, bits in {"UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2}.items()
    if hasattr(TensorProto, name)
}
FLOATS = {
    int(value)
    for name, value in TensorProto.DataType.items()
    if name in {"FLOAT", "DOUBLE"} or name.startswith(("FLOAT16", "BFLOAT16", "FLOAT8", "FLOAT4"))
}
COMPLEX = {int(TensorProto.COMPLEX64), int(TensorProto.COMPLEX128)}


def type_name(elem_type: int) -> str:
    """As numpy would say it: float32, uint8, bfloat16."""
    known: dict[int, str] = {int(value): name.lower() for name, value in TensorProto.DataType.items()}
    name = known.get(elem_type, f"type {elem_type}")
    return {"float": "float32", "double": "float64"}.get(name, name)


def element_count(tensor: TensorProto) -> int:
    return math.prod(tensor.dims)


def byte_count(tensor: TensorProto) -> int | None:
    """How many bytes the dims and type ask for; strings have no fixed size."""
    if tensor.data_type == TensorProto.STRING:
        return None
    return -(-element_count(tensor) * _element_bits(tensor.data_type) // 8)


def _element_bits(elem_type: int) -> int:
    if elem_type in PACKED_BITS:
        return PACKED_BITS[elem_type]
    return int(onnx.helper.tensor_dtype_to_np_dtype(elem_type).itemsize) * 8


def dims_finding(dims: tuple[int, ...], where: str) -> Finding | None:
    if any(dim < 0 for dim in dims):
        return error("negative-dims", where, f"has a negative dimension: {show_dims(dims)}", RE_EXPORT)
    # Zeros are left out: [0, 2**40] holds nothing and still overflows what allocates by it.
    if len(dims) > MAX_RANK or math.prod(dim for dim in dims if dim) > MAX_ELEMENTS:
        return error("absurd-dims", where, f"claims {show_dims(dims)} elements, more than 2^31 or {MAX_RANK} axes", RE_EXPORT)
    return None


def size_finding(dims: tuple[int, ...], elem_type: int, where: str) -> Finding | None:
    """What `dims_finding` says, and of a value that one could name but not hold, how much memory it would take."""
    absurd = dims_finding(dims, where)
    if absurd is not None:
        return absurd
    wanted = math.prod(dims) * (_element_bits(elem_type) if elem_type else 32) // 8
    if wanted > MAX_BYTES:
        what = f"is of {show_dims(dims)} {type_name(elem_type)} and would need {wanted / 1024**3:.3g} GiB; at most 4 GiB are allowed"
        return error("too-much-memory", where, what, "export the model again with a smaller input or batch")
    return None


def claim_finding(tensor: TensorProto, where: str) -> Finding | None:
    """The first reason why the tensor's type, dims and data cannot all be true."""
    if tensor.data_type == TensorProto.UNDEFINED or tensor.data_type not in TensorProto.DataType.values():
        return error("unknown-type", where, f"has element type {tensor.data_type}, which ONNX does not know", RE_EXPORT)
    absurd = dims_finding(tuple(tensor.dims), where)
    if absurd is not None:
        return absurd
    if tensor.data_location == TensorProto.EXTERNAL:
        return error("external-data", where, "keeps its data outside the model and was not loaded", "load the model with its data files")
    if tensor.HasField("segment"):
        return error("segmented-data", where, "holds only a segment of its data, which no runtime reads", RE_EXPORT)
    return _length_finding(tensor, where)


def _length_finding(tensor: TensorProto, where: str) -> Finding | None:
    wanted, got, unit = _lengths(tensor)
    if wanted == got:
        return None
    what = f"holds {got} {unit}, but {type_name(tensor.data_type)} {show_dims(tuple(tensor.dims))} takes {wanted}"
    return error("data-length", where, what, RE_EXPORT)


def _lengths(tensor: TensorProto) -> tuple[int, int, str]:
    """What is asked for and what is there, in bytes or, where the data is typed, in values."""
    wanted = byte_count(tensor)
    if wanted is not None and tensor.HasField("raw_data"):
        return wanted, len(tensor.raw_data), "bytes"
    values = element_count(tensor) * (2 if tensor.data_type in COMPLEX else 1)
    if tensor.data_type in PACKED_BITS:
        values = -(-values * PACKED_BITS[tensor.data_type] // 8)
    return values, len(getattr(tensor, onnx.helper.tensor_dtype_to_field(tensor.data_type))), "values"


def show_dims(dims: tuple[object, ...]) -> str:
    shown = " x ".join("?" if dim is None else str(dim) for dim in dims[:8])
    return f"[{shown}{' ...' if len(dims) > 8 else ''}]"
