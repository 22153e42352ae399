"""ncnn on the CPU: float32 everywhere, float16 where an Arm processor multiplies in it.

Left alone it stores and computes in half precision wherever it can, so each option is given. What is not offered, and why (1.0.20261020):
bfloat16 is a way of storing here, which moved head outputs by up to 6 % of their spread and made no model faster; int8 needs
tables from a calibration tool that the wheel does not carry. On x86 the options for float16 change nothing, bit for bit.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewright.engines.base import EngineDescription, Precision, TensorSpec, missing
from edgewright.engines.port_names import PortNames
from edgewright.errors import EngineError
from edgewright.printable import printable
from edgewright.whole_file import write_whole

PACKAGE = "ncnn"
SUFFIX = ".param"
WEIGHTS = ".bin"


class NcnnEngine:
    """A net whose threads and precision are fixed."""

    def __init__(self, path: Path, threads: int, precision: Precision) -> None:
        ncnn = _ncnn()
        _refuse_precision(precision)
        self._ports = PortNames.beside(path)
        self._path = path
        self._mat = ncnn.Mat
        self._net = ncnn.Net()
        _set(self._net.opt, threads, precision)
        for load, file in ((self._net.load_param, path), (self._net.load_model, path.with_suffix(WEIGHTS))):
            if not file.is_file() or load(os.fspath(file)) != 0:
                raise EngineError(f"ncnn refuses {printable(file.name)}", fix="convert the ONNX model again, or use another engine")
        self._description = EngineDescription("ncnn", version(), threads, self._ports.inputs, precision)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Outputs in the model's own order."""
        extractor = self._net.create_extractor()
        for at, spec in enumerate(self._ports.inputs):
            # A copy: a Mat over foreign memory has no count of its readers, and a first layer that works in place looks there and crashes.
            extractor.input(f"in{at}", self._mat(self._fed(spec, feeds)).clone())
        return [self._output(extractor, at) for at in range(len(self._ports.outputs))]

    def describe(self) -> EngineDescription:
        """Who computes, and how."""
        return self._description

    def close(self) -> None:
        """Drop the net; what it allocated goes with it."""
        self._net.clear()

    def _fed(self, spec: TensorSpec, feeds: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """The input without its batch axis, checked here: ncnn reads beyond what is too small."""
        values = feeds.get(spec.name)
        if values is None or values.shape != spec.shape or values.dtype != np.float32:
            got = "nothing" if values is None else f"{values.dtype} {list(values.shape)}"
            raise EngineError(f"ncnn failed on {self._path}", got=got, expected=f"float32 {list(spec.shape)} as {printable(spec.name)}")
        return np.ascontiguousarray(values[0])

    def _output(self, extractor: Any, at: int) -> NDArray[Any]:
        failed, found = extractor.extract(f"out{at}")
        if failed:
            raise EngineError(f"ncnn failed on {self._path}", got=f"status {failed} for output {at}")
        shape = tuple(-1 if side is None else side for side in self._ports.output_shapes[at])
        return np.array(found).reshape(shape)  # a copy, with the batch axis


def open_model(path: Path, threads: int, precision: Precision) -> NcnnEngine:
    """Open ncnn's param file, with the bin of the same name and the names of inputs and outputs beside it."""
    return NcnnEngine(path, threads, precision)


def version() -> str:
    """Its day, as its wheels are numbered."""
    return str(_ncnn().__version__)


def float_precisions() -> tuple[Precision, ...]:
    """float16 is a matter of Arm's instructions."""
    return ("float32", "float16") if _ncnn().cpu_support_arm_asimdhp() else ("float32",)


def convert(source: Path, folder: Path, precision: Precision) -> list[Path]:
    """Write model.param, model.bin and model.ports.json."""
    import onnx  # noqa: PLC0415 - not on a board

    from edgewright.engines.ncnn_writer import write_ncnn  # noqa: PLC0415 - imports onnx

    if precision not in {"float32", "float16"}:
        raise EngineError(f"ncnn models are not made in {precision}", expected="float32 or float16", fix="use another engine")
    written = write_ncnn(onnx.load(source), half=precision == "float16")
    target = folder / f"model{SUFFIX}"
    write_whole(target, written.param.encode("ascii"))
    write_whole(target.with_suffix(WEIGHTS), written.weights)
    return [target, target.with_suffix(WEIGHTS), PortNames.of_onnx(source, precision).write_beside(target)]


def _set(options: Any, threads: int, precision: Precision) -> None:
    half = precision == "float16"
    options.num_threads = threads
    options.use_vulkan_compute = False
    options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = half
    options.use_bf16_storage = False


def _ncnn() -> Any:
    try:
        import ncnn  # noqa: PLC0415 - heavy: only when a model is opened
    except ImportError as error:
        raise missing("ncnn", "ncnn") from error
    return ncnn


def _refuse_precision(precision: Precision) -> None:
    if precision not in float_precisions():
        raise EngineError(f"ncnn does not compute in {precision} on this processor", fix="use float32")
