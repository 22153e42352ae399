"""Shapes of every tensor, and the pinning of an input's free axes to numbers."""

import onnx


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
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    values = [*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output]
    return {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in values
        if value.type.tensor_type.HasField("shape")
    }


def _set_dims(value: onnx.ValueInfoProto, shape: tuple[int, ...]) -> None:
    del value.type.tensor_type.shape.dim[:]
    for size in shape:
        value.type.tensor_type.shape.dim.add().dim_value = size
