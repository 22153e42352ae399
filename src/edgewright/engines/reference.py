"""onnx's own evaluator: numpy, one operator after the other, as the specification words it. Slow, and what the others are held against."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewright.engines.base import EngineDescription, Precision, TensorSpec, missing
from edgewright.errors import EngineError

PACKAGE = "onnx"
SUFFIX = ".onnx"


class ReferenceEngine:
    """A `ReferenceEvaluator`; it has no threads of its own."""

    def __init__(self, path: Path, precision: Precision) -> None:
        try:
            import onnx  # noqa: PLC0415 - not on a board
            from onnx.reference import ReferenceEvaluator  # noqa: PLC0415
        except ImportError as error:
            raise missing("onnx", "fit") from error
        model = onnx.load(path)
        try:
            self._evaluator = ReferenceEvaluator(model)
        except Exception as error:  # it raises what its operators raise
            raise EngineError(f"the reference evaluator refuses {path}", got=_first_line(error)) from error
        self._path = path
        held = {tensor.name for tensor in model.graph.initializer}
        inputs = tuple(_spec(value) for value in model.graph.input if value.name not in held)
        self._description = EngineDescription("reference", onnx.__version__, 1, inputs, precision if precision == "int8" else "float32")

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Outputs in the model's own order."""
        try:
            # Its Sigmoid works out both forms everywhere and takes the one that did not overflow.
            with np.errstate(over="ignore", invalid="ignore"):
                return [np.asarray(found) for found in self._evaluator.run(None, dict(feeds))]
        except Exception as error:
            raise EngineError(f"the reference evaluator failed on {self._path}", got=_first_line(error)) from error

    def describe(self) -> EngineDescription:
        """Who computes, and how."""
        return self._description

    def close(self) -> None:
        """Drop the model."""
        del self._evaluator


def open_model(path: Path, threads: int, precision: Precision) -> ReferenceEngine:  # noqa: ARG001 - it has no threads to give
    """Open an ONNX file."""
    return ReferenceEngine(path, precision)


def version() -> str:
    """That of onnx, whose evaluator it is."""
    try:
        import onnx  # noqa: PLC0415 - not on a board
    except ImportError as error:
        raise missing("onnx", "fit") from error
    return str(onnx.__version__)


def float_precisions() -> tuple[Precision, ...]:
    """As numpy does."""
    return ("float32",)


def _spec(value: Any) -> TensorSpec:
    from onnx.helper import tensor_dtype_to_np_dtype  # noqa: PLC0415 - not on a board

    tensor = value.type.tensor_type
    shape = tuple(axis.dim_value if axis.dim_value > 0 else None for axis in tensor.shape.dim)
    return TensorSpec(value.name, shape, np.dtype(tensor_dtype_to_np_dtype(tensor.elem_type)).name)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
