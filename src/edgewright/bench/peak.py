"""How many 8-bit multiply-accumulates a second this machine can do: what a quantized network's share of it is a share of.

Nobody's data sheet: a few large products and convolutions of u8 x s8 into 32-bit sums, so regular that a runtime can hardly waste time on
them, are run by every engine that is installed, and the best counts. A detector stays below it, for it also moves data and has layers that
are small, narrow or float.
"""

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgewright.bench.measure import Job, Measurement, measure
from edgewright.engines import installed_engines
from edgewright.errors import EngineError
from edgewright.progress import Progress, unseen

SIDES = (512, 1024, 2048)  # of square matrices; caches and cores differ in which suits them best
CONVOLUTIONS = ((256, 40, 1), (128, 80, 3))  # channels in and out, side of the map, side of the kernel: as detectors have them, but wide
ROUNDS = 4
BLOCK_MS = 150.0
SCALE = 0.01


@dataclass(frozen=True, slots=True)
class Peak:
    """The most that was reached with `threads` threads, and in which engine on which graph."""

    threads: int
    macs_per_s: float
    engine: str
    graph: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def integer_peak(threads: int, *, progress: Progress = unseen) -> Peak:
    """Measure it: a few seconds.

    Raises:
        EngineError: no engine is installed, or none takes any of the graphs.
    """
    with tempfile.TemporaryDirectory(prefix="edgewright-peak-") as folder:
        jobs = list(_jobs(Path(folder), threads))
        measured: list[Measurement] = []
        for done, job in enumerate(jobs, 1):
            measured += _measured(job)
            progress(done, len(jobs))
    if not measured:
        raise EngineError(
            "no engine here multiplies integers", got=", ".join(installed_engines()) or "no engine", fix="install onnxruntime"
        )
    best = max(measured, key=lambda each: each.macs_per_s or 0)
    return Peak(threads, best.macs_per_s or 0, best.job.engine, best.job.name)


def _measured(job: Job) -> Sequence[Measurement]:
    try:
        return measure([job], rounds=ROUNDS, block_ms=BLOCK_MS)
    except EngineError:
        return ()  # a runtime without a kernel for it has another graph to show what it can


def _jobs(folder: Path, threads: int) -> Iterator[Job]:
    for name, macs, model in _graphs():
        path = folder / f"{name}.onnx"
        onnx.save(model, path)
        for engine in installed_engines():
            yield Job(name, path, engine, "int8", threads, macs=macs)


def _graphs() -> Iterator[tuple[str, int, onnx.ModelProto]]:
    for side in SIDES:
        yield f"product {side}", side**3, _product(side)
    for channels, side, kernel in CONVOLUTIONS:
        yield (
            f"convolution {channels}x{side}x{side} {kernel}x{kernel}",
            channels * channels * side**2 * kernel**2,
            _convolution(channels, side, kernel),
        )


def _product(side: int) -> onnx.ModelProto:
    """u8 [side, side] times s8 [side, side], the sums as they are."""
    node = helper.make_node("MatMulInteger", ["x", "w"], ["y"])
    return _model([node], [side, side], [side, side], TensorProto.INT32, {"w": _weights(side, side)})


def _convolution(channels: int, side: int, kernel: int) -> onnx.ModelProto:
    """A quantized convolution from u8 to u8, as Q/DQ pairs: what runtimes fuse into one integer operator."""
    shape = [1, channels, side, side]
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "scale", "middle"], ["x_float"]),
        helper.make_node("DequantizeLinear", ["w", "scale"], ["w_float"]),
        helper.make_node("Conv", ["x_float", "w_float"], ["y_float"], pads=[kernel // 2] * 4),
        helper.make_node("QuantizeLinear", ["y_float", "y_scale", "middle"], ["y"]),
    ]
    held = {
        "w": _weights(channels, channels, kernel, kernel),
        "scale": np.array(SCALE, np.float32),
        # A sum of n random products grows with the root of n: most of the results fit into 8 bits.
        "y_scale": np.array(SCALE * SCALE * 64 * math.sqrt(channels) * kernel, np.float32),
        "middle": np.array(128, np.uint8),
    }
    return _model(nodes, shape, shape, TensorProto.UINT8, held)


def _weights(*shape: int) -> Any:
    return np.random.default_rng(0).integers(-63, 64, shape, np.int8)


def _model(nodes: list[onnx.NodeProto], got: list[int], made: list[int], kind: int, held: dict[str, Any]) -> onnx.ModelProto:
    inputs, outputs = (helper.make_tensor_value_info(*each) for each in (("x", TensorProto.UINT8, got), ("y", kind, made)))
    initializers = [numpy_helper.from_array(values, name) for name, values in held.items()]
    graph = helper.make_graph(nodes, "peak", [inputs], [outputs], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
