"""ONNX Runtime on the CPU: float32 graphs compute in float32, quantized ones in int8."""

import ctypes
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgewright.engines.base import EngineDescription, Precision, TensorSpec, missing
from edgewright.engines.operator_types import is_of_integers
from edgewright.errors import EngineError, ModelError
from edgewright.printable import printable

PACKAGE = "onnxruntime"
SUFFIX = ".onnx"
QUIET = 4  # it writes names of nodes, as strangers gave them, straight to standard error; what fails comes as an exception too
NUMPY_NAMES = {"float": "float32", "double": "float64"}  # the rest are called the same


class OnnxRuntimeEngine:
    """An `InferenceSession` with its threads fixed, so that a measurement means the same twice."""

    def __init__(self, path: Path, threads: int) -> None:
        onnxruntime = _onnxruntime()
        _refuse_undecodable(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = QUIET
        # Its threads spin between operators, without which two of them take 14 % longer for YOLOv8n, and stop when a run ends: the cores
        # that decode the next frame are free (onnxruntime_session_options_config_keys.h).
        options.add_session_config_entry("session.force_spinning_stop", "1")
        # One block for all tensors of a run, laid out before, is larger than the arena that holds them as they come and go, and no faster.
        options.enable_mem_pattern = False
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exception classes share no public root
            raise EngineError(f"ONNX Runtime refuses {path}", got=_first_line(error), fix=f"see `edgewright inspect {path}`") from error
        _give_back_what_parsing_took()
        self._path = path
        precision = "int8" if is_of_integers(path) else "float32"
        inputs, outputs = _specs(self._session.get_inputs()), _specs(self._session.get_outputs())
        self._description = EngineDescription("onnxruntime", version(), threads, inputs, precision, outputs)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Outputs in the model's own order."""
        try:
            return self._session.run(None, dict(feeds))  # type: ignore[no-any-return]
        except Exception as error:
            raise EngineError(f"ONNX Runtime failed on {self._path}", got=_first_line(error)) from error

    def describe(self) -> EngineDescription:
        """Who computes, and how."""
        return self._description

    def close(self) -> None:
        """Drop the session; its arena goes with it."""
        del self._session


def open_model(path: Path, threads: int, precision: Precision) -> OnnxRuntimeEngine:  # noqa: ARG001 - the file alone decides
    """Open an ONNX file."""
    return OnnxRuntimeEngine(path, threads)


def version() -> str:
    """Its release."""
    return str(_onnxruntime().__version__)


def float_precisions() -> tuple[Precision, ...]:
    """Its kernels for processors compute in float32, whatever weights are stored in."""
    return ("float32",)


def _onnxruntime() -> Any:
    try:
        import onnxruntime  # noqa: PLC0415 - heavy: only when a model is opened
    except ImportError as error:
        raise missing("ONNX Runtime", "ort") from error
    return onnxruntime


def _refuse_undecodable(path: Path) -> None:
    """ONNX Runtime takes paths as text only, and says so in words of C++."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise ModelError(
            f"ONNX Runtime cannot open {printable(path.name)}", got="a path that is not UTF-8", fix="rename the file or its folder"
        ) from error


def _give_back_what_parsing_took() -> None:
    """The parsed model and the graph before it was optimized, 3 MB of a detector's: glibc keeps what is freed between things that stay."""
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _specs(values: Iterable[Any]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(value.name, tuple(n if isinstance(n, int) and n > 0 else None for n in value.shape), _numpy_name(value.type))
        for value in values
    )


def _numpy_name(kind: str) -> str:
    """tensor(float) -> float32."""
    inner = kind.removeprefix("tensor(").removesuffix(")")
    return NUMPY_NAMES.get(inner, inner)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
