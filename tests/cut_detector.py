"""A detector as the passes behind the head cut are given it: folded, without its decode, watched over pictures of coloured rectangles."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from edgewright.artifact import HeadSpec, InputSpec
from edgewright.compress.calibrate import Ranges, TensorStatistics, observe
from edgewright.compress.head_cut import cut_head, fold, raw_head
from edgewright.compress.quantize import choose_ranges, name_nodes
from edgewright.compress.recipes import INT8
from edgewright.engines import open_engine
from edgewright.graph.head import recognise
from edgewright.vision.letterbox import Letterbox
from tiny_detector import COLOURS, build_tiny_detector

GROUND = (110, 110, 110)
# Every family and several shapes: what each pass has to leave the answers of alone.
TINY = {
    "yolov8": {},
    "yolov8, relu": {"activation": "relu"},
    "yolov8, wide": {"size": (128, 64)},
    "yolov8, five strides": {"size": (128, 192), "strides": (8, 16, 32, 64)},
    "yolov8, plain distances": {"reg_max": 1},
    "yolov5": {"family": "yolov5"},
    "yolov5, high": {"family": "yolov5", "size": (64, 96)},
    "yolox": {"family": "yolox"},
    "yolox decoded, wide": {"family": "yolox decoded", "size": (160, 96)},
    "end2end": {"family": "end2end"},
}


@dataclass(frozen=True)
class CutDetector:
    model: onnx.ModelProto
    head: HeadSpec
    input: InputSpec
    statistics: Mapping[str, TensorStatistics]

    @property
    def ranges(self) -> Ranges:
        return choose_ranges(self.model, self.head, self.statistics, INT8)

    def feed(self, frame_rgb) -> dict[str, np.ndarray]:
        """A picture as the float network eats it."""
        return {self.input.name: as_floats(letterboxed(frame_rgb, self.input), self.input)}


def cut_tiny(folder: Path, **options) -> CutDetector:
    """A tiny detector without its decode."""
    onnx.save(build_tiny_detector(**options), folder / "whole.onnx")
    return cut_file(folder / "whole.onnx", folder)


def cut_file(path: Path, folder: Path, pictures=None) -> CutDetector:
    """A detector from a file without its decode; `pictures` to watch it over, or drawn ones."""
    head = recognise(onnx.load(path))
    fold(path, folder / "folded.onnx", head)
    whole = onnx.load(folder / "folded.onnx")
    raw = raw_head(whole, head)
    model = cut_head(whole, raw)
    name_nodes(model.graph)
    onnx.save(model, folder / "cut.onnx")
    pictures = [drawn(head.input.size_wh, seed=seed) for seed in range(4)] if pictures is None else pictures
    feeds = [{head.input.name: as_floats(letterboxed(each, head.input), head.input)} for each in pictures]
    watched = observe(folder / "cut.onnx", feeds, lambda path: open_engine("onnxruntime", path, threads=1), folder / "scratch.onnx")
    return CutDetector(model, raw, head.input, watched)


def drawn(size_wh, *, seed=0, side=24, colours=("red", "green", "blue")) -> np.ndarray:
    """A picture of noisy grey with a rectangle of each colour, RGB."""
    rng = np.random.default_rng(seed)
    wide, high = size_wh
    pixels = rng.integers(-6, 7, (high, wide, 3)) + np.array(GROUND)
    for at, colour in enumerate(colours):
        left = at * wide // len(colours)
        x, y = left + rng.integers(0, max(1, wide // len(colours) - side + 1)), rng.integers(0, max(1, high - side + 1))
        pixels[y : y + side, x : x + side] = COLOURS[colour]
    return pixels.astype(np.uint8)


def letterboxed(frame_rgb, spec: InputSpec) -> np.ndarray:
    """The frame as bytes in the input's shape and colour order, [1, H, W, 3]."""
    canvas = Letterbox.fit((frame_rgb.shape[1], frame_rgb.shape[0]), spec.size_wh).apply(frame_rgb)
    return np.ascontiguousarray((canvas if spec.colour == "RGB" else canvas[..., ::-1])[None])


def as_floats(pictures, spec: InputSpec) -> np.ndarray:
    """Bytes [N, H, W, 3] as `spec` says a float network takes them: [N, 3, H, W]."""
    centred = pictures.transpose(0, 3, 1, 2).astype(np.float32) - np.array(spec.mean, np.float32).reshape(1, 3, 1, 1)
    return np.ascontiguousarray(centred * np.float32(spec.scale), np.float32)


def outputs_of(model: onnx.ModelProto, feed, *, optimised=True):
    """What ONNX Runtime says; integer graphs in real integers where `optimised`, else in floats that are rounded where pairs stand."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feed)


def as_values(outputs, head: HeadSpec):
    """Integers among the outputs as the floats that they stand for."""
    return [
        found if output.scale is None else ((found.astype(np.float32) - output.zero_point) * np.float32(output.scale))
        for found, output in zip(outputs, head.outputs, strict=True)
    ]


def precisions_in_openvino(model, path):
    """Of each convolution of the compiled graph the names of the ONNX nodes that went into it, and its precision."""
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    if "INT8" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("OpenVINO has no integer convolutions on this processor")
    onnx.save(model, path)
    compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    told = [operation.get_rt_info() for operation in compiled.get_runtime_model().get_ops()]
    convs = [each for each in told if "layerType" in each and each["layerType"].astype(str) == "Convolution"]
    names = [{name.partition("/")[0] for name in each["originalLayersNames"].astype(str).split(",")} for each in convs]
    return [(held, each["runtimePrecision"].astype(str)) for held, each in zip(names, convs, strict=True)]
