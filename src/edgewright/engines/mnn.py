"""MNN on the CPU: float32 everywhere, float16 where an Arm processor multiplies in it.

Its wheel asks for no more than numpy. On x86 `precision: low` changes nothing at all (3.6.1 is built without bf16: the answers are those of
`high`, bit for bit), so it is not offered there. The converter comes in the same wheel, as the extension module `_tools`, and is
called there and never through `MNN.tools.mnnconvert` or the command of that name: importing those imports a logger that runs
`pip install aliyun-log-python-sdk` and reports every conversion, with the machine's id, to its maker (MNN/tools/utils/log.py).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewright.board.profile import Board
from edgewright.engines.base import EngineDescription, Precision, TensorSpec, missing
from edgewright.engines.port_names import PortNames
from edgewright.errors import EngineError
from edgewright.printable import printable

PACKAGE = "MNN"
SUFFIX = ".mnn"
# "low" is what it calls half precision; "low" memory is how it is told to leave 8-bit weights as they are and quantize activations as it goes.
OPTIONS: dict[str, dict[str, str]] = {
    "float32": {"precision": "high", "memory": "normal"},
    "float16": {"precision": "low", "memory": "normal"},
    "int8": {"precision": "high", "memory": "normal"},
}
HALF_PRECISION = "fp16"  # as a board names Arm's arithmetic in it


class MnnEngine:
    """A module with its shapes and threads fixed."""

    def __init__(self, path: Path, threads: int, precision: Precision) -> None:
        self._mnn = _mnn()
        _refuse_precision(precision)
        ports = PortNames.beside(path)
        names = [spec.name for spec in ports.inputs]
        options = {"backend": "CPU", "numThread": threads, **OPTIONS[precision]}
        try:
            self._runtime = self._mnn.nn.create_runtime_manager((options,))
            self._module = self._mnn.nn.load_module_from_file(str(path), names, list(ports.outputs), runtime_manager=self._runtime)
        except Exception as error:  # RuntimeError, mostly; it promises nothing
            raise EngineError(f"MNN refuses {path}", got=_first_line(error), fix="try another engine") from error
        if self._module is None:
            raise EngineError(f"MNN refuses {path}", got="no module", fix="try another engine")
        self._path = path
        self._inputs = ports.inputs
        self._description = EngineDescription("mnn", str(self._mnn.version()), threads, ports.inputs, precision)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Outputs in the model's own order."""
        try:
            fed = [self._variable(feeds[spec.name]) for spec in self._inputs]
            return [self._array(found) for found in self._module.forward(fed)]
        except Exception as error:
            raise EngineError(f"MNN failed on {self._path}", got=_first_line(error)) from error

    def describe(self) -> EngineDescription:
        """Who computes, and how."""
        return self._description

    def close(self) -> None:
        """Drop the module and its memory."""
        del self._module, self._runtime

    def _variable(self, values: NDArray[Any]) -> Any:
        expr = self._mnn.expr
        return expr.const(np.ascontiguousarray(values), list(values.shape), expr.NCHW)

    def _array(self, variable: Any) -> NDArray[Any]:
        expr = self._mnn.expr
        if variable.data_format == expr.NC4HW4:  # channels in blocks of four: its own layout
            variable = expr.convert(variable, expr.NCHW)
        return np.array(variable.read())  # a copy: what it reads from is written over


def open_model(path: Path, threads: int, precision: Precision) -> MnnEngine:
    """Open MNN's own file, with the names of its inputs and outputs beside it."""
    return MnnEngine(path, threads, precision)


def float_precisions() -> tuple[Precision, ...]:
    """float16 is a matter of Arm's instructions."""
    _mnn()
    return ("float32", "float16") if HALF_PRECISION in Board.detect().isa else ("float32",)


def convert(source: Path, folder: Path, precision: Precision) -> list[Path]:
    """Write model.mnn, and model.ports.json with the names of its inputs and outputs, which MNN wants to be told when it opens a file."""
    import _tools  # noqa: PLC0415 - the wheel's converter; why not MNN.tools is told above

    target = folder / f"model{SUFFIX}"
    arguments = ["-f", "ONNX", "--modelFile", str(source), "--MNNModel", str(target), "--bizCode", "edgewright"]
    if precision == "float16":
        arguments.append("--fp16")
    _tools.mnnconvert(["MNNConvert", *arguments])
    if not target.is_file():
        raise EngineError(f"the converter of mnn wrote nothing for {printable(source.name)}", fix="use another engine")
    return [target, PortNames.of_onnx(source).write_beside(target)]


def _mnn() -> Any:
    try:
        import MNN  # noqa: PLC0415 - heavy: only when a model is opened
    except ImportError as error:
        raise missing("MNN", "mnn") from error
    return MNN


def _refuse_precision(precision: Precision) -> None:
    if precision != "int8" and precision not in float_precisions():
        raise EngineError(f"MNN does not compute in {precision} on this processor", fix="use float32")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
