"""What the tests of learning share: small nets made by hand, and how a graph answers in ONNX Runtime."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from edgewright.compress.head_cut import fold, raw_head
from edgewright.compress.quantize import name_nodes
from edgewright.graph.head import recognise
from graph.small_models import model_of, random, value
from tiny_detector import COLOURS

DEMO = Path(__file__).parents[2] / "src/edgewright/demo_model/circuit_boards.onnx"
# Every float model of the test data, and a real picture of what it looks for.
MODELS = {
    "yolov8n": "coco",
    "yolov8n_unfused_bn": "coco",
    "yolov5n": "coco",
    "yolox_nano": "coco",
    "pcb_yolov8n": "deeppcb",
    "pcb320_yolo11n": "deeppcb",
    "pcb320_yolov10n_end2end": "deeppcb",
    "pcb320_yolo26n_end2end": "deeppcb",
}


def answers(model: onnx.ModelProto, picture: np.ndarray, names=None) -> list[np.ndarray]:
    """Of one thread of ONNX Runtime: the graph's outputs, or its tensors of these names."""
    if names is not None:
        exposed = onnx.ModelProto()
        exposed.CopyFrom(model)
        del exposed.graph.output[:]
        exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        model = exposed
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: picture})


def small_net(nodes, outputs, weights, *, channels=3, size=8, opset=17) -> onnx.ModelProto:
    """Nodes by name from `image` [1, channels, size, size] to `outputs`; weights: name -> shape (seeded noise) or tensor."""
    held = [random(name, *each, seed=at) if isinstance(each, tuple) else each for at, (name, each) in enumerate(weights.items())]
    for at, node in enumerate(nodes):
        node.name = node.name or f"node{at}"
    model = model_of(
        nodes, [value("image", [1, channels, size, size])], [onnx.ValueInfoProto(name=name) for name in outputs], held, opset=opset
    )
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def picture_of(model: onnx.ModelProto, seed: int = 0) -> np.ndarray:
    """Noise with a green rectangle in it, 0 to 1, of the size that the graph takes."""
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    pixels = np.random.default_rng(seed).uniform(90, 130, shape)
    pixels[:, :3, 20:44, 12:36] = np.array(COLOURS["green"]).reshape(3, 1, 1)[: shape[1]]
    return (pixels / 255).astype(np.float32)


def folded_with_head(path: Path, folder: Path):
    """The graph with its constants computed and every node named, and the head it has when it ends at its convolutions."""
    head = recognise(onnx.load(path))
    fold(path, folder / "folded.onnx", head)
    model = onnx.load(folder / "folded.onnx")
    name_nodes(model.graph)
    return model, raw_head(model, head)


def deaf(model, channels, kept):
    """The whole network, where no convolution listens to a channel that is not kept."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    held = {each.name: each for each in made.graph.initializer}
    for conv in channels.convs:
        if not conv.depthwise and not kept[conv.reads].all():
            weight = numpy_helper.to_array(held[conv.weight]).copy()
            weight[:, ~kept[conv.reads]] = 0
            held[conv.weight].CopyFrom(numpy_helper.from_array(weight, conv.weight))
    return made


def model_in(test_data: Path, name: str) -> Path:
    path = test_data / "models" / f"{name}.onnx"
    if not path.is_file():
        pytest.skip(f"the test data holds no {name}.onnx")
    return path


def real_picture(test_data: Path, name: str, spec) -> np.ndarray:
    """A picture of the test data as the network eats it."""
    import cv2

    from edgewright.vision.input_buffer import InputBuffer

    buffer = InputBuffer(spec)
    path = sorted((test_data / MODELS[name] / "images/val").iterdir())[1]
    buffer.put(0, cv2.imread(str(path))[..., ::-1].copy())
    return buffer.tensor
