"""Shapes of every tensor, and the pinning of an input's free axes to numbers."""

import onnx

from edgewright.graph.values import infer


def fix_input_shape(model: onnx.ModelProto, name: str, shape: tuple[int, ...]) -> onnx.ModelProto:
    """A copy whose input `name` has exactly `shape`, and whose outputs and inner tensors are inferred anew."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        if value.name == name:
            _set_dims(value, shape)
    free = any(dim.dim_param or not dim.HasField("dim_value") for value in model.graph.output for dim in value.type.tensor_type.shape.dim)
    del fixed.graph.value_info[:]
    if free:
        for value in fixed.graph.output:
            value.type.tensor_type.ClearField("shape")
    return fixed


def shapes_of(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Tensor name -> shape, 0 for an axis that stays unknown; tensors of unknown rank are absent."""
    return {
        name: tuple(dim if isinstance(dim, int) else 0 for dim in value.dims)
        for name, value in infer(model).values.items()
        if value.dims is not None
    }


def output_shapes(model: onnx.ModelProto, inferred: dict[str, tuple[int, ...]]) -> list[tuple[str, tuple[int, ...] | None]]:
    """Name and shape of each output: as inferred, and where that leaves a size open, as declared; None where neither tells the rank."""
    return [(value.name, _merged(inferred.get(value.name), _declared(value))) for value in model.graph.output]


def _declared(value: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    tensor = value.type.tensor_type
    return tuple(max(dim.dim_value, 0) for dim in tensor.shape.dim) if tensor.HasField("shape") else None


def _merged(inferred: tuple[int, ...] | None, declared: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if inferred is None or declared is None or len(inferred) != len(declared):
        return inferred if inferred is not None else declared
    return tuple(found or said for found, said in zip(inferred, declared, strict=True))


def _set_dims(value: onnx.ValueInfoProto, shape: tuple[int, ...]) -> None:
    del value.type.tensor_type.shape.dim[:]
    for size in shape:
        value.type.tensor_type.shape.dim.add().dim_value = size
