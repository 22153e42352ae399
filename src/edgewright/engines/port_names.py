"""What an ONNX model calls its inputs and outputs, kept beside a converted file whose format loses it.

    model.mnn                 MNN opens a file by the names of what goes in and comes out
    model.ports.json          {"precision", "inputs": [{"name", "shape", "dtype"}], "outputs": [{"name", "shape"}]}

The file has the stem of the model's, so that a folder of several holds them apart.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from edgewright.engines.base import Precision, TensorSpec
from edgewright.errors import EngineError, ModelError
from edgewright.printable import printable
from edgewright.whole_file import write_whole

SUFFIX = ".ports.json"
LARGEST_BYTES = 1 << 20

Shape: TypeAlias = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class PortNames:
    """Inputs as the model declares them, outputs in its order; `precision`: what the file was made for."""

    precision: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    output_shapes: tuple[Shape, ...]

    @classmethod
    def beside(cls, model: Path) -> "PortNames":
        """Those of the converted file `model`.

        Raises:
            EngineError: they are not there, or are none.
        """
        path = model.with_suffix(SUFFIX)
        try:
            with path.open("rb") as stream:
                document = json.loads(stream.read(LARGEST_BYTES))
            return cls._parse(document)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise EngineError(
                f"the names of the inputs and outputs of {printable(model.name)} cannot be read",
                got=f"{type(error).__name__} at {printable(path.name)}",
                expected="the file that conversion wrote beside it",
                fix="convert the ONNX model again",
            ) from error

    @classmethod
    def of_onnx(cls, source: Path, precision: Precision) -> "PortNames":
        """Those of an ONNX file that is being converted.

        Raises:
            ModelError: an input or output is no tensor.
        """
        import onnx  # noqa: PLC0415 - not on a board

        graph = onnx.load(source, load_external_data=False).graph
        held = {tensor.name for tensor in graph.initializer}
        inputs = tuple(TensorSpec(value.name, *_declared(value)) for value in graph.input if value.name not in held)
        return cls(precision, inputs, tuple(value.name for value in graph.output), tuple(_declared(value)[0] for value in graph.output))

    def write_beside(self, model: Path) -> Path:
        """Write them beside the converted file `model`."""
        path = model.with_suffix(SUFFIX)
        document = {
            "precision": self.precision,
            "inputs": [{"name": spec.name, "shape": spec.shape, "dtype": spec.dtype} for spec in self.inputs],
            "outputs": [{"name": name, "shape": shape} for name, shape in zip(self.outputs, self.output_shapes, strict=True)],
        }
        write_whole(path, (json.dumps(document, indent=1) + "\n").encode("ascii"))
        return path

    @classmethod
    def _parse(cls, document: Any) -> "PortNames":
        inputs = tuple(TensorSpec(_text(each["name"]), _shape(each["shape"]), _text(each["dtype"])) for each in document["inputs"])
        outputs = tuple((_text(each["name"]), _shape(each["shape"])) for each in document["outputs"])
        return cls(_text(document["precision"]), inputs, tuple(name for name, _ in outputs), tuple(shape for _, shape in outputs))


def _declared(value: Any) -> tuple[Shape, str]:
    from onnx.helper import tensor_dtype_to_np_dtype  # noqa: PLC0415 - not on a board

    tensor = value.type.tensor_type
    if not tensor.elem_type:
        raise ModelError(f"{printable(value.name)} is no tensor", fix="use another engine")
    shape = tuple(axis.dim_value if axis.dim_value > 0 else None for axis in tensor.shape.dim)
    return shape, tensor_dtype_to_np_dtype(tensor.elem_type).name


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _shape(value: Any) -> Shape:
    if not isinstance(value, list) or not all(axis is None or (isinstance(axis, int) and axis > 0) for axis in value):
        raise TypeError
    return tuple(value)
