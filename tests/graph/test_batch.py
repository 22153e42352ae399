"""One picture to many: every answer stays that of its picture, and what would mix pictures is refused by name."""

from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from edgewright.errors import InputError, ModelError
from edgewright.graph.batch import set_batch
from edgewright.graph.load import load_model
from graph.small_models import model_of, random, sound_model, tensor, value
from tiny_detector import build_tiny_detector, rename_everything

SAME = 1e-4


def run(model, feed):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: feed})


def assert_answers_are_equal(model, *batches, pictures, scale=1.0):
    """The rewritten model on a stack of different pictures against the given one on each, for each way to say how many."""
    dims = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    stack = (np.random.default_rng(0).random((pictures, *dims[1:]), np.float32) * scale).astype(np.float32)
    alone = [run(model, picture[None]) for picture in stack]
    given = model.SerializeToString()
    for batch in batches:
        made = set_batch(model, batch).model
        assert model.SerializeToString() == given, "the given model is left alone"
        onnx.checker.check_model(made, full_check=True)
        for held in (made.graph.input[0], *made.graph.output):
            first = held.type.tensor_type.shape.dim[0]
            assert (first.dim_param if isinstance(batch, str) else first.dim_value) == batch
        for at, together in enumerate(run(made, stack)):
            apart = np.concatenate([answer[at] for answer in alone])
            assert together.shape == apart.shape
            assert np.abs(together.astype(float) - apart).max() <= SAME * max(1, np.abs(apart).max())
            assert not np.array_equal(together[0], together[-1]), "different pictures, or nothing is shown"


@pytest.mark.parametrize("activation", ["silu", "relu"])
def test_a_tiny_detector_takes_many_pictures(activation):
    assert_answers_are_equal(build_tiny_detector(activation=activation), 4, "batch", "n", pictures=4)


def test_a_free_number_of_pictures_may_be_one():
    model = build_tiny_detector()
    picture = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    assert np.array_equal(run(set_batch(model, "batch").model, picture)[0], run(model, picture)[0])


def test_what_was_rewritten_is_told_and_inner_shapes_are_inferred_anew():
    made = set_batch(onnx.shape_inference.infer_shapes(build_tiny_detector()), 4)
    assert made.modified
    assert len(made.rewritten) == 5, "three grids flattened, bins taken apart and put together"
    assert all(name.startswith("Reshape reshape_") for name in made.rewritten)
    carried = [info for info in made.model.graph.value_info if len(info.type.tensor_type.shape.dim) >= 3]
    assert len(carried) > 20
    assert {info.type.tensor_type.shape.dim[0].dim_value for info in carried} == {4}


def test_names_do_not_matter():
    assert_answers_are_equal(rename_everything(build_tiny_detector()), 3, pictures=3)


def test_a_free_batch_axis_is_pinned_and_what_says_one_inside_is_mended():
    model = build_tiny_detector(dynamic=True)
    made = set_batch(model, 2).model
    stack = np.random.default_rng(0).random((2, 3, 64, 64), np.float32)
    alone = np.concatenate([run(model, picture[None])[0] for picture in stack])
    assert run(made, stack)[0] == pytest.approx(alone, abs=1e-3)


def test_an_unsound_model_is_refused_as_such():
    model = sound_model()
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-3]
    with pytest.raises(ModelError, match="holds 861 bytes"):
        set_batch(model, 2)


def test_one_picture_stays_one_picture():
    made = set_batch(build_tiny_detector(), 1)
    assert (made.modified, made.rewritten) == (False, ())


def test_the_batch_beside_the_graph_is_set_too():
    model = sound_model()
    helper.set_model_props(model, {"batch": "1", "task": "detect"})
    props = {entry.key: entry.value for entry in set_batch(model, 4).model.metadata_props}
    assert props == {"batch": "4", "task": "detect"}


@pytest.mark.parametrize("batch", [0, -1, 5000, "", "two words", "a-b", "1"])
def test_no_batch_is_refused(batch):
    with pytest.raises(InputError, match="this is no batch"):
        set_batch(sound_model(), batch)


@dataclass(frozen=True)
class Graph:
    """x [1, 4, 6, 6] (or `shape`) -> y."""

    nodes: list
    held: tuple = ()
    shape: tuple = (1, 4, 6, 6)
    elem_type: int = TensorProto.FLOAT

    def model(self):
        kinds = [node.op_type for node in self.nodes]
        for at, node in enumerate(self.nodes):
            again = kinds[:at].count(node.op_type)
            node.name = f"the_{node.op_type.lower()}{again or ''}"
        return model_of(self.nodes, [value("x", self.shape)], [value("y", None, self.elem_type)], self.held)


def ints(name, *values):
    return tensor(name, values, np.int64)


def node(kind, inputs, outputs="y", **attributes):
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


SHAPED = [node("Shape", "x", "s"), node("Gather", "s zero", "n", axis=0), node("Concat", "n rest", "t", axis=0)]
EMPTY = tensor("none", [], np.float32)

APART = {
    "reshape": Graph([node("Reshape", "x t")], (ints("t", 1, 24, -1),)),
    "reshape, allowzero": Graph([node("Reshape", "x t", allowzero=1)], (ints("t", 1, 24, 6),)),
    "reshape, already zero": Graph([node("Reshape", "x t")], (ints("t", 0, -1),)),
    "reshape, already minus one": Graph([node("Reshape", "x t")], (ints("t", -1, 4, 36),)),
    "reshape by its own shape": Graph([*SHAPED, node("Reshape", "x t")], (ints("zero", 0), ints("rest", 4, 36))),
    "reshape by a shape that lost the batch": Graph(
        [
            node("Shape", "x", "s"),
            node("Slice", "s two four", "hw"),
            node("Concat", "one four hw", "t", axis=0),
            node("Reshape", "x t"),
        ],
        (ints("one", 1), ints("two", 2), ints("four", 4)),
    ),
    "a reshape behind a computed reshape": Graph(
        [*SHAPED, node("Reshape", "x t", "u"), node("Transpose", "u", "v", perm=[0, 2, 1]), node("Reshape", "v w")],
        (ints("zero", 0), ints("rest", 4, -1), ints("w", 1, 9, 16)),
    ),
    "a constant joined": Graph([node("Concat", "x c", axis=1)], (random("c", 1, 2, 6, 6),)),
    "a computed constant joined": Graph(
        [
            node("Shape", "x", "s"),
            node("Gather", "s zero", "n", axis=0),
            node("Concat", "n rest", "t", axis=0),
            node("ConstantOfShape", "t", "c"),
            node("Concat", "x c", axis=-3),
        ],
        (ints("zero", 0), ints("rest", 1, 6, 6)),
    ),
    "a constant added": Graph([node("Add", "x c")], (random("c", 1, 4, 1, 6),)),
    "a resize to sizes": Graph([node("Resize", "x none none t", mode="nearest")], (ints("t", 1, 4, 9, 13), EMPTY)),
    "a resize by scales": Graph([node("Resize", "x none c", mode="nearest")], (tensor("c", [1, 1, 2, 2]), EMPTY)),
    "the best k": Graph(
        [
            node("Reshape", "x t", "u"),
            node("TopK", "u k", "best at", axis=1),
            node("Unsqueeze", "at two", "a"),
            node("Expand", "a e", "b"),
            node("Concat", "u u", "uu", axis=1),
            node("Unsqueeze", "uu two", "v"),
            node("Expand", "v e", "w"),
            node("GatherElements", "w b", axis=1),
        ],
        (ints("t", 1, 144), ints("k", 5), ints("two", 2), ints("e", 1, 1, 3)),
    ),
    "the same places for all": Graph(
        [node("GatherElements", "x c", axis=3)], (tensor("c", np.arange(24).reshape(1, 4, 6, 1) % 6, np.int64),)
    ),
    "a lookup": Graph(
        [node("ArgMax", "x", "a", axis=1, keepdims=0), node("Gather", "c a", axis=0)],
        (random("c", 4, 2),),
    ),
    "tiles": Graph([node("Tile", "x t")], (ints("t", 1, 1, 2, 1),)),
    "slices": Graph([node("Slice", "x a b axes")], (ints("a", 0, 1), ints("b", 2**63 - 1, 3), ints("axes", 0, 2))),
    "a reduction": Graph([node("ReduceMax", "x", axes=[-1, 1], keepdims=0)]),
    "softmax": Graph([node("Softmax", "x", axis=1)]),
    "pads": Graph([node("Pad", "x t")], (ints("t", 0, 0, 1, 1, 0, 0, 1, 1),)),
    "a linear layer": Graph([node("Flatten", "x", "u", axis=1), node("Gemm", "u w")], (random("w", 144, 5),)),
    "attention": Graph(
        [node("Transpose", "x", "k", perm=[0, 1, 3, 2]), node("MatMul", "x k", "a"), node("Softmax", "a", "p"), node("MatMul", "p x")]
    ),
    "quantized ahead of time": Graph(
        [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z")], (tensor("s", 0.01), tensor("z", 0, np.uint8))
    ),
    "a squeezed axis": Graph(
        [node("ReduceMax", "x", "m", axes=[3]), node("Squeeze", "m three", "n"), node("Unsqueeze", "n one")],
        (ints("one", 1), ints("three", 3)),
    ),
}


@pytest.mark.parametrize("graph", APART.values(), ids=APART.keys())
def test_pictures_stay_apart(graph):
    model = graph.model()
    # The type of the output is what inference says.
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=False)
    made = {info.name: info for info in inferred.graph.value_info}
    model.graph.output[0].type.tensor_type.elem_type = made["y"].type.tensor_type.elem_type if "y" in made else TensorProto.FLOAT
    assert_answers_are_equal(model, 4, "batch", pictures=4)


MIXING = {
    "all axes squeezed": (Graph([node("Squeeze", "x")]), "the_squeeze, which takes the axis of the pictures away"),
    "one picture picked": (Graph([node("Gather", "x c", axis=0)], (ints("c", 0),)), "the_gather, which picks from all pictures at once"),
    "some pictures": (Graph([node("Slice", "x a b")], (ints("a", 0), ints("b", 1))), "the_slice, which takes some of the pictures"),
    "pictures moved": (Graph([node("Transpose", "x", perm=[1, 0, 2, 3])]), "the_transpose, which moves the pictures"),
    "pictures folded": (Graph([node("Reshape", "x t")], (ints("t", 2, -1),)), "the_reshape, which folds the pictures"),
    "pictures folded by minus one": (Graph([node("Reshape", "x t")], (ints("t", -1, 6),)), r"the_reshape, whose output \[24 x 6\]"),
    "the number of pictures elsewhere": (
        Graph([node("Shape", "x", "s"), node("Concat", "one s", "t", axis=0), node("Reshape", "x t")], (ints("one", 1),)),
        "the_reshape, which moves the pictures|the_reshape, which reshapes to a size",
    ),
    "everything reduced": (Graph([node("ReduceMean", "x")]), "the_reducemean, which works along the axis"),
    "softmax over pictures": (Graph([node("Softmax", "x", axis=0)]), "the_softmax, which works along the axis"),
    "padded with pictures": (Graph([node("Pad", "x t")], (ints("t", 1, 0, 0, 0, 0, 0, 0, 0),)), "the_pad, which works along"),
    "flattened": (Graph([node("Flatten", "x", axis=0)]), "the_flatten, which folds"),
    "repeated": (Graph([node("Tile", "x t")], (ints("t", 2, 1, 1, 1),)), "the_tile, which repeats the pictures"),
    "joined one behind the other": (Graph([node("Concat", "x x", axis=0)]), "the_concat, which works along the axis"),
    "five constants added": (Graph([node("Add", "x c")], (random("c", 5, 4, 6, 6),)), r"the_add, whose output \[5 x 4 x 6 x 6\]"),
    "scaled together": (
        Graph([node("DynamicQuantizeLinear", "x", "q s z"), node("DequantizeLinear", "q s z")]),
        "the_dynamicquantizelinear, which takes its scale from all pictures together",
    ),
    "normalised together": (
        Graph(
            [node("BatchNormalization", "x g b m v", "y m2 v2", training_mode=1)],
            (random("g", 4), random("b", 4), random("m", 4), tensor("v", np.ones(4))),
        ),
        "the_batchnormalization, which takes its statistics from all",
    ),
    "pictures multiplied": (
        Graph([node("Flatten", "x", "u"), node("Transpose", "u", "t", perm=[1, 0]), node("MatMul", "u t")]),
        "the_transpose, which moves",
    ),
    "divided by how many": (
        Graph(
            [node("Shape", "x", "s"), node("Cast", "s", "f", to=1), node("Gather", "f zero", "n"), node("Div", "x n")], (ints("zero", 0),)
        ),
        "the_div, which computes with the number of pictures",
    ),
    "an operator nobody listed": (Graph([node("Einsum", "x x", equation="abcd,abcd->abcd")]), "the_einsum, of which we do not know"),
    "nothing of the picture": (Graph([node("Identity", "c")], (random("c", 1, 2),)), "output y, which does not depend on the picture"),
    "four pictures already": (Graph([node("Relu", "x")], shape=(4, 3)), r"input x of shape \[4 x 3\], whose first axis is not one picture"),
}


@pytest.mark.parametrize("batch", [4, "batch"])
@pytest.mark.parametrize(("graph", "named"), MIXING.values(), ids=MIXING.keys())
def test_what_mixes_pictures_is_refused_by_name(graph, named, batch):
    with pytest.raises(ModelError, match=f"the batch of this model cannot be changed; got .*({named})"):
        set_batch(graph.model(), batch)


def test_two_inputs_are_refused():
    model = model_of([node("Add", "x z")], [value("x", [1, 3]), value("z", [1, 3])], [value("y", [1, 3])])
    with pytest.raises(ModelError, match="2 inputs, of which nobody says which hold pictures"):
        set_batch(model, 2)


def test_branches_that_see_the_pictures_are_refused():
    inner = helper.make_graph([helper.make_node("Relu", ["x"], ["inner"])], "branch", [], [value("inner", None)])
    model = model_of(
        [helper.make_node("If", ["c"], ["y"], name="the_if", then_branch=inner, else_branch=inner)],
        [value("x", [1, 3])],
        [value("y", None)],
        [tensor("c", True, bool)],
    )
    with pytest.raises(ModelError, match="the_if, whose branches look at all pictures together"):
        set_batch(model, 2)


def test_hostile_numbers_end_somewhere():
    """Numbers that square themselves a hundred times, axes of the wrong type: refused or followed, never a traceback or a wait."""
    squares = [helper.make_node("Mul", [f"n{at}", f"n{at}"], [f"n{at + 1}"]) for at in range(100)]
    grown = Graph([*squares, node("Reshape", "x n100")], (ints("n0", 3, 3),)).model()
    with pytest.raises(ModelError, match="the_reshape"):
        set_batch(grown, 2)
    with pytest.raises(ModelError, match="the_softmax"):
        set_batch(Graph([node("Softmax", "x", axis="last")]).model(), 2)


REAL = {
    "yolov8n.onnx": 1,
    "yolov5n.onnx": 1,
    "yolox_nano.onnx": 255,
    "pcb320_yolo11n.onnx": 1,
    "pcb320_yolo26n_end2end.onnx": 1,
    "pcb320_yolov10n_end2end.onnx": 1,
    "yolov8n_unfused_bn.onnx": 1,
}


@pytest.mark.parametrize(("name", "scale"), REAL.items())
def test_real_exports_answer_as_they_did(test_data, name, scale):
    model = load_model(test_data / "models" / name)
    assert_answers_are_equal(model, 2, "batch", pictures=2, scale=scale)


def test_dynamic_quantization_is_refused_because_pictures_share_a_scale(test_data):
    with pytest.raises(ModelError, match="DynamicQuantizeLinear images_QuantizeLinear, which takes its scale from all pictures together"):
        set_batch(load_model(test_data / "models/yolov8n_int8_lamri.onnx"), 2)
