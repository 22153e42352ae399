"""The ncnn engine, and what its writer makes of operators."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.engines import open_engine
from edgewright.engines.conversion import convert
from edgewright.engines.ncnn_writer import WRITERS, write_ncnn
from edgewright.errors import EngineError

pytest.importorskip("ncnn")  # a board has one engine; test_conformance says that none is left out elsewhere

PICTURE = (1, 8, 6, 10)
RNG = np.random.default_rng(0)


def model_of(nodes, *, shape=PICTURE, outputs=("y",), held=None):
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    values = [numpy_helper.from_array(np.asarray(value), name) for name, value in (held or {}).items()]
    graph = helper.make_graph(nodes, "made", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)], ports, values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


def node(kind, reads="x", writes="y", **attributes):
    return helper.make_node(kind, reads.split(), writes.split(), **attributes)


def floats(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


GRAPHS = {
    "convolution": model_of([node("Conv", "x w b", pads=[1, 0, 2, 1], strides=[2, 1])], held={"w": floats(5, 8, 3, 2), "b": floats(5)}),
    "convolution without bias, dilated": model_of([node("Conv", "x w", dilations=[2, 1])], held={"w": floats(5, 8, 3, 3)}),
    "depthwise": model_of([node("Conv", "x w b", group=8, pads=[1] * 4)], held={"w": floats(8, 1, 3, 3), "b": floats(8)}),
    "groups": model_of([node("Conv", "x w", group=2)], held={"w": floats(6, 4, 3, 3)}),
    "swish": model_of([node("Sigmoid", "x", "s"), node("Mul", "x s")]),
    "swish the other way round": model_of([node("Sigmoid", "x", "s"), node("Mul", "s x")]),
    "a gate that is an output too": model_of([node("Sigmoid", "x", "s"), node("Mul", "x s")], outputs=("s", "y")),
    "relu, leaky relu, tanh": model_of(
        [node("Relu", "x", "a"), node("LeakyRelu", "x", "b", alpha=0.1), node("Tanh", "b", "c"), node("Add", "a c")]
    ),
    "arithmetic": model_of(
        [node("Sub", "x h", "a"), node("Div", "a x", "b"), node("Mul", "two b", "c"), node("Add", "h c")],
        held={"h": floats(1, 8, 1, 1), "two": np.float32(2)},
    ),
    "constants on the left": model_of(
        [node("Sigmoid", "x", "a"), node("Div", "one a", "b"), node("Sub", "h b", "c"), node("Sub", "c one")],
        held={"one": np.ones((1, 1, 1, 1), np.float32), "h": floats(1, 8, 1, 1)},
    ),
    "concatenation": model_of([node("Relu", "x", "a"), node("Concat", "x a x", axis=-3)]),
    "split": model_of([node("Split", "x n", "a b c", axis=1), node("Concat", "c a b", axis=1)], held={"n": ints(2, 5, 1)}),
    "split into outputs": model_of([node("Split", "x n", "a b", axis=3)], held={"n": ints(4, 6)}, outputs=("b", "a")),
    "pooling": model_of([node("MaxPool", kernel_shape=[5, 3], pads=[2, 1, 2, 1], strides=[1, 2])]),
    "upsampling": model_of(
        [helper.make_node("Resize", ["x", "", "s"], ["y"], coordinate_transformation_mode="asymmetric", nearest_mode="floor")],
        held={"s": np.array([1, 1, 2, 3], np.float32)},
    ),
    "space to depth": model_of([node("SpaceToDepth", blocksize=2)]),
    "channels in another order": model_of([node("Gather", "x i", axis=1)], held={"i": ints(7, 0, 3, 3)}),
    "reshape and transpose": model_of([node("Reshape", "x n", "a"), node("Transpose", "a", perm=[0, 2, 1])], held={"n": ints(1, 8, 60)}),
    "softmax": model_of([node("Softmax", axis=1)]),
    "attention": model_of(
        [
            node("Reshape", "x n", "a"),
            node("Transpose", "a", "t", perm=[0, 1, 3, 2]),
            node("MatMul", "t a", "m"),
            node("Softmax", "m", "s", axis=-1),
            node("Transpose", "s", "u", perm=[0, 1, 3, 2]),
            node("MatMul", "a u"),
        ],
        held={"n": ints(1, 2, 4, 60)},
    ),
    "read by many": model_of(
        [node("Relu", "x", "a"), node("Add", "a x", "b"), node("Add", "a b", "c"), node("Mul", "c c")], outputs=("c", "y", "a")
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_an_operator_means_to_ncnn_what_it_means_to_onnx(name, tmp_path):
    onnx.save(GRAPHS[name], tmp_path / "m.onnx")
    feed = {"x": RNG.normal(size=PICTURE).astype(np.float32)}
    wanted = open_engine("reference", tmp_path / "m.onnx", threads=1).run(feed)
    made = tmp_path / "made"
    made.mkdir()
    found = open_engine("ncnn", convert("ncnn", tmp_path / "m.onnx", made, precision="float32")[0], threads=1).run(feed)
    assert [each.shape for each in found] == [each.shape for each in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-4)


def test_every_operator_that_can_be_written_was_tried():
    tried = {node.op_type for model in GRAPHS.values() for node in model.graph.node}
    assert set(WRITERS) - tried == {"Identity", "Squeeze", "Unsqueeze"}


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (model_of([node("Erf")]), "it has the operator Erf"),
        (model_of([node("Relu")], shape=("n", 8, 6, 6)), r"got \[0, 8, 6, 6\] at x"),
        (model_of([node("Conv", "x w")], shape=(2, 8, 6, 6), held={"w": floats(4, 8, 1, 1)}), r"got \[2, 8, 6, 6\] at x"),
        (model_of([node("Conv", "x w", auto_pad="SAME_UPPER")], held={"w": floats(4, 8, 3, 3)}), "padding that the runtime is to choose"),
        (model_of([node("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)]), "rounding up"),
        (model_of([node("Transpose", perm=[1, 0, 2, 3])]), r"got \[8, 1, 6, 10\] at y"),
        (model_of([node("Softmax", axis=0)]), "got the batch axis"),
        (model_of([node("MaxPool", "x", "a", kernel_shape=[6, 10]), node("Mul", "x a")]), "tensors of different shapes"),
        (model_of([node("Add", "x w")], held={"w": floats(10)}), r"a constant of shape \[10\] beside \[1, 8, 6, 10\]"),
        (model_of([node("Gather", "x i", axis=3)], held={"i": ints(0, 1)}), "something else than channels"),
    ],
)
def test_what_it_cannot_say_in_ncnn_s_words_is_refused_with_the_reason(model, said):
    with pytest.raises(EngineError, match=said) as caught:
        write_ncnn(model)
    assert "\n" not in str(caught.value)


def test_int8_is_refused_because_the_wheel_cannot_calibrate(tmp_path):
    onnx.save(GRAPHS["swish"], tmp_path / "m.onnx")
    with pytest.raises(EngineError, match=r"ncnn models are not made in int8; expected float32 or float16"):
        convert("ncnn", tmp_path / "m.onnx", tmp_path, precision="int8")


def test_weights_in_halves_take_half_the_room_and_answer_nearly_the_same(tmp_path):
    full, half = write_ncnn(GRAPHS["convolution"]), write_ncnn(GRAPHS["convolution"], half=True)
    assert len(half.weights) < 0.6 * len(full.weights)
    assert half.param == full.param


def test_names_of_a_stranger_never_reach_the_text(tmp_path):
    model = model_of([node("Relu", "x", "y")])
    strange = "a b\n3 4 \x1b[5m"
    model.graph.node[0].output[0] = strange
    model.graph.output[0].name = strange
    model.graph.node[0].name = strange
    text = write_ncnn(model).param
    assert text.splitlines() == ["7767517", "2 2", "Input l0 0 1 in0", "ReLU l1 1 1 in0 out0"]


@pytest.mark.parametrize("missing", [".bin", ".param"])
def test_a_file_that_is_not_there_is_one_sentence(missing, tmp_path):
    onnx.save(GRAPHS["convolution"], tmp_path / "m.onnx")
    made = tmp_path / "made"
    made.mkdir()
    file = convert("ncnn", tmp_path / "m.onnx", made, precision="float32")[0]
    file.with_suffix(missing).unlink()
    with pytest.raises(EngineError, match="ncnn refuses model"):
        open_engine("ncnn", file, threads=1)
