"""OpenVINO on the CPU: float graphs in the precision asked for, quantized ones in int8 with the rest in float32.

Left alone it picks a precision by the processor (bf16 on servers, f16 on Arm) and calls the model FP32, so the hint is always given.
ONNX is read with its own front end and never through `convert_model`, which reports to its maker; the package for that, which importing
OpenVINO brings along, is kept out of the process.
"""

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewright.engines.base import EngineDescription, Precision, TensorSpec, missing
from edgewright.errors import EngineError

PACKAGE = "openvino"
SUFFIX = ".xml"
HINTS = {"float32": "f32", "float16": "f16", "bfloat16": "bf16", "int8": "f32"}
CAPABILITIES = {"float16": "FP16", "bfloat16": "BF16", "int8": "INT8"}
NAMES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16", "i8": "int8", "u8": "int8"}
TELEMETRY = "openvino_telemetry"
WEIGHTED = {"Convolution", "FullyConnected", "MatMul", "Deconvolution"}


class OpenVinoEngine:
    """A compiled model with one request, whose threads and precision are fixed."""

    def __init__(self, path: Path, threads: int, precision: Precision) -> None:
        core = _core()
        self._path = path
        wanted = CAPABILITIES.get(precision)
        if wanted and wanted not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise EngineError(f"OpenVINO does not compute in {precision} on this processor", fix="use float32")
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            # What is pinned stays on a core that another process may be using.
            "ENABLE_CPU_PINNING": False,
        }
        try:
            compiled = core.compile_model(core.read_model(path), "CPU", options)
            self._request = compiled.create_infer_request()
        except Exception as error:  # RuntimeError, mostly; it promises nothing
            raise EngineError(f"OpenVINO refuses {path}", got=_last_line(error), fix="try another engine") from error
        self._compiled = compiled
        self._names = tuple(port.get_any_name() for port in compiled.inputs)
        inputs, outputs = (tuple(_spec(port) for port in ports) for ports in (compiled.inputs, compiled.outputs))
        self._description = EngineDescription("openvino", version(), threads, inputs, _computes_in(compiled), outputs)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Outputs in the model's own order."""
        try:
            # The inputs are read in place; the outputs are copied out, for the request writes over its own next time.
            found = self._request.infer([feeds[name] for name in self._names], share_inputs=True)
        except Exception as error:
            raise EngineError(f"OpenVINO failed on {self._path}", got=_last_line(error)) from error
        return [found[at] for at in range(len(found))]

    def describe(self) -> EngineDescription:
        """Who computes, and how."""
        return self._description

    def close(self) -> None:
        """Drop the request and the model; OpenVINO's own pools stay."""
        del self._request, self._compiled


def open_model(path: Path, threads: int, precision: Precision) -> OpenVinoEngine:
    """Open OpenVINO's own xml, with the bin of the same name beside it; ONNX files work too, and take longer."""
    return OpenVinoEngine(path, threads, precision)


def version() -> str:
    """Its release, without the build."""
    return str(_openvino().__version__).partition("-")[0]


def float_precisions() -> tuple[Precision, ...]:
    """What the processor multiplies in: it takes any hint, and computes in float32 where it cannot."""
    able = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    halves: tuple[Precision, ...] = ("bfloat16", "float16")
    return ("float32", *(each for each in halves if CAPABILITIES[each] in able))


def convert(source: Path, folder: Path, precision: Precision) -> list[Path]:
    """Write model.xml and model.bin; float weights are halved where they will be computed with in halves anyway."""
    openvino, target = _openvino(), folder / "model.xml"
    openvino.save_model(openvino.Core().read_model(source), target, compress_to_fp16=precision in {"float16", "bfloat16"})
    return [target, target.with_suffix(".bin")]


def _core() -> Any:
    return _openvino().Core()


def _openvino() -> Any:
    """The package, imported when a model is opened, and without `openvino_telemetry`."""
    had = TELEMETRY in sys.modules
    if not had:
        sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # so an import is made to fail (importlib's documentation)
    try:
        import openvino  # noqa: PLC0415 - heavy
    except ImportError as error:
        raise missing("OpenVINO", "openvino") from error
    finally:
        if not had:
            del sys.modules[TELEMETRY]  # whoever else wants it may have it
    return openvino


def _spec(port: Any) -> TensorSpec:
    shape = tuple(axis.get_length() if axis.is_static else None for axis in port.partial_shape)
    name = port.get_any_name() if port.get_names() else port.node.get_friendly_name()
    return TensorSpec(name, shape, np.dtype(port.element_type.to_dtype()).name)


def _computes_in(compiled: Any) -> str:
    """What most of the weighted layers of the compiled graph run in; `runtimePrecision` is how the plugin names it."""
    precisions: Counter[str] = Counter()
    for operation in compiled.get_runtime_model().get_ops():
        told = operation.get_rt_info()
        if "layerType" in told and told["layerType"].astype(str) in WEIGHTED:
            precisions[told["runtimePrecision"].astype(str)] += 1
    found = precisions.most_common(1)[0][0] if precisions else "f32"
    return NAMES.get(found, found)


def _last_line(error: Exception) -> str:
    """Where OpenVINO says what was wrong; the lines before it name files of its own sources."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1].strip()[:300]
