"""MNN on the CPU: float32 everywhere, float16 where an Arm processor multiplies in it, int8 with activations quantized as it goes.

Its wheel asks for no more than numpy. On x86 `precision: low` changes nothing at all (3.6.1 is built without bf16: the answers are those of
`high`, bit for bit), so it is not offered there. The converter comes in the same wheel, as the extension module `_tools`, and is
called there and never through `MNN.tools.mnnconvert` or the command of that name: importing those imports a logger that runs
`pip install aliyun-log-python-sdk` and reports every conversion, with the machine's id, to its maker (MNN/tools/utils/log.py).

int8: weights in 8 bits a channel, made from the float model; each layer then quantizes what it reads while it runs, whatever the option
`memory` says (a test shows it: beside a channel of 1000 the small ones vanish). It needs no calibration. The other ways, and what
became of them, are in docs/decisions/0014-mnn-int8.md.
"""

import ctypes
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewright.board.profile import Board
from edgewright.engines.base import EngineDescription, Precision, TensorSpec, missing
from edgewright.engines.operator_types import is_of_integers
from edgewright.engines.port_names import PortNames
from edgewright.errors import EngineError

PACKAGE = "MNN"
SUFFIX = ".mnn"
# "high" would print a line; on a processor "normal" is float32 as well, and "low" half precision.
OPTIONS = {"float32": "normal", "float16": "low", "int8": "normal"}
KINDS = {"float32": "float", "uint8": "uint8", "int32": "int"}  # numpy's name, its name
ONE_AT_A_TIME = Lock()
HALF_PRECISION = "fp16"  # as a board names Arm's arithmetic in it


class MnnEngine:
    """A module with its shapes and threads fixed."""

    def __init__(self, path: Path, threads: int, precision: Precision) -> None:
        self._mnn = _mnn()
        _refuse_precision(precision)
        ports = PortNames.beside(path)
        names = [spec.name for spec in ports.inputs]
        options = {"backend": "CPU", "numThread": threads, "precision": OPTIONS[precision]}
        try:
            with _unheard():
                self._runtime = self._mnn.nn.create_runtime_manager((options,))
                self._module = self._mnn.nn.load_module_from_file(str(path), names, list(ports.outputs), runtime_manager=self._runtime)
        except Exception as error:  # RuntimeError, mostly; it promises nothing
            raise EngineError(f"MNN refuses {path}", got=_first_line(error), fix="try another engine") from error
        if self._module is None:
            raise EngineError(f"MNN refuses {path}", got="no module", fix="try another engine")
        self._path = path
        self._inputs = ports.inputs
        computes_in = "int8" if ports.precision == "int8" else "float32" if precision == "int8" else precision
        self._description = EngineDescription("mnn", version(), threads, ports.inputs, computes_in)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Outputs in the model's own order."""
        try:
            fed = [self._variable(_checked(spec, feeds)) for spec in self._inputs]
            return [self._array(found) for found in self._module.forward(fed)]
        except Exception as error:  # what is wrong with a feed, and what MNN raises
            raise EngineError(f"MNN failed on {self._path}", got=_first_line(error)) from error

    def describe(self) -> EngineDescription:
        """Who computes, and how."""
        return self._description

    def close(self) -> None:
        """Drop the module and its memory."""
        del self._module, self._runtime

    def _variable(self, values: NDArray[Any]) -> Any:
        expr = self._mnn.expr
        # NCHW also where a model declares NHWC: it means "as it lies".
        return expr.const(np.ascontiguousarray(values), list(values.shape), expr.NCHW, getattr(expr, KINDS[values.dtype.name]))

    def _array(self, variable: Any) -> NDArray[Any]:
        expr = self._mnn.expr
        if variable.data_format == expr.NC4HW4:  # channels in blocks of four: its own layout
            variable = expr.convert(variable, expr.NCHW)
        return np.array(variable.read())  # a copy: what it reads from is written over


def open_model(path: Path, threads: int, precision: Precision) -> MnnEngine:
    """Open MNN's own file, with the names of its inputs and outputs beside it."""
    return MnnEngine(path, threads, precision)


def version() -> str:
    """As its library says it."""
    return str(_mnn().version())


def float_precisions() -> tuple[Precision, ...]:
    """float16 is a matter of Arm's instructions."""
    _mnn()
    return ("float32", "float16") if HALF_PRECISION in Board.detect().isa else ("float32",)


def convert(source: Path, folder: Path, precision: Precision) -> list[Path]:
    """Write model.mnn, and model.ports.json with the names of its inputs and outputs, which MNN wants to be told when it opens a file."""
    import _tools  # noqa: PLC0415 - the wheel's converter; why not MNN.tools is told above

    target = folder / f"model{SUFFIX}"
    arguments = ["-f", "ONNX", "--modelFile", str(source), "--MNNModel", str(target), "--bizCode", "edgewright"]
    if is_of_integers(source):
        got = "a model that is quantized already, whose pairs of Q/DQ MNN 3.6 reads with a wrong shape"
        raise EngineError("MNN makes its own integers", got=got, expected="the float model", fix="convert the float model to int8")
    arguments += {"float16": ["--fp16"], "int8": ["--weightQuantBits", "8"]}.get(precision, [])
    _tools.mnnconvert(["MNNConvert", *arguments])
    return [target, PortNames.of_onnx(source, precision).write_beside(target)]


def _mnn() -> Any:
    try:
        if PACKAGE not in sys.modules:
            with _unheard():
                import MNN  # noqa: PLC0415 - heavy: only when a model is opened
        import MNN  # noqa: PLC0415
    except ImportError as error:
        raise missing("MNN", "mnn") from error
    return MNN


@contextmanager
def _unheard() -> Iterator[None]:
    """What MNN prints about the processor, on standard output where an answer of ours may be due, goes nowhere.

    The descriptor belongs to the whole process: what another thread writes meanwhile is lost too, so this is for moments.
    """
    with ONE_AT_A_TIME:
        sys.stdout.flush()
        kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        try:
            yield
        finally:
            ctypes.CDLL(None).fflush(None)  # C keeps what it prints to a pipe for later
            os.dup2(kept, 1)
            os.close(kept)
            os.close(nowhere)


def _checked(spec: TensorSpec, feeds: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """The input, if it is what the model declares: MNN prints what it thinks of another, and answers with nothing."""
    values = feeds[spec.name]
    fits = len(values.shape) == len(spec.shape) and all(want in {None, got} for want, got in zip(spec.shape, values.shape, strict=True))
    if not fits or values.dtype != spec.dtype or values.dtype.name not in KINDS:
        raise ValueError(f"{values.dtype} {list(values.shape)} where {spec.dtype} {list(spec.shape)} belongs")
    return values


def _refuse_precision(precision: Precision) -> None:
    if precision != "int8" and precision not in float_precisions():
        raise EngineError(f"MNN does not compute in {precision} on this processor", fix="use float32")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
