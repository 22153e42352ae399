"""Each operator says in PyTorch what ONNX Runtime says, in the awkward forms too; what is computed otherwise is refused by name."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

torch = pytest.importorskip("torch", reason="what learns needs PyTorch: pip install 'edgewright[learn]'")

from edgewright.errors import ModelError  # noqa: E402
from edgewright.learn.operators import OPERATORS, build  # noqa: E402

NEWEST = 18
MOST = 2**63 - 1  # how exporters write "to the end"


def floats(*shape, seed=0, low=-3.0, high=3.0):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def integers(*values):
    return np.array(values, np.int64)


def scalar(number, dtype=np.int64):
    return np.array(number, dtype)


X = floats(2, 4, 9, 7)
SMALL = floats(2, 3, 4)
NUMBERS = np.arange(-12, 12, dtype=np.int64).reshape(2, 3, 4)
COLUMN, ROW = floats(2, 3, 1, seed=1), floats(4, seed=2)
POSITIVE = np.abs(SMALL) + 0.1
TRUTHS = SMALL > 0

CONV = (X, floats(6, 4, 3, 3, seed=1), floats(6, seed=2))
EVEN_KERNEL = (X, floats(6, 4, 2, 4, seed=1))
IMAGE = floats(1, 2, 3, 5)
NO_ROI = np.zeros(0, np.float32)


def by(*factors):
    return (IMAGE, NO_ROI, np.array([1, 1, *factors], np.float32))


def to(*sizes):
    return (IMAGE, None, None, integers(1, 2, *sizes))


ASYMMETRIC = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
MATRICES = floats(3, 4), floats(4, 5, seed=1), floats(5, seed=2)
NORMAL = (X, *(floats(4, seed=at) for at in (1, 2, 3)), floats(4, seed=4, low=0.1))

# Operator, inputs (None: left out), attributes, opset where it matters, number of outputs where it is not one.
TABLE = [
    *((name, (SMALL,), {}) for name in ("Abs", "Exp", "Floor", "HardSwish", "Identity", "Neg", "Relu", "Sigmoid", "Tanh")),
    ("Sqrt", (POSITIVE,), {}),
    *((name, (SMALL, other), {}) for name in ("Add", "Sub", "Mul", "Div") for other in (floats(2, 3, 4, seed=1), COLUMN, ROW)),
    ("Add", (NUMBERS, scalar(3)), {}),
    ("Div", (NUMBERS, scalar(5)), {}),
    ("Div", (NUMBERS, scalar(-5)), {}),
    ("Div", (NUMBERS.astype(np.int32), scalar(3, np.int32)), {}),
    ("Mod", (NUMBERS, scalar(5)), {}),
    ("Mod", (NUMBERS, scalar(-5)), {}),
    ("Mod", (NUMBERS, scalar(5)), {"fmod": 1}),
    ("Mod", (SMALL, floats(2, 3, 4, seed=1)), {"fmod": 1}),
    ("Pow", (SMALL, scalar(2, np.float32)), {}),
    ("Pow", (SMALL, scalar(2)), {}),
    ("Pow", (SMALL, scalar(3, np.float32)), {}),
    ("Pow", (POSITIVE, ROW), {}),
    ("Pow", (NUMBERS, scalar(2)), {}),
    ("Pow", (np.abs(NUMBERS), scalar(0.5, np.float32)), {}),
    ("Pow", (ROW, np.full((1, 1), 2, np.float32)), {}),
    ("Equal", (NUMBERS, NUMBERS[::-1].copy()), {}),
    ("Equal", (NUMBERS, scalar(3)), {}),
    ("Where", (TRUTHS, SMALL, COLUMN), {}),
    ("Where", (TRUTHS[:, :, :1], SMALL, scalar(0, np.float32)), {}),
    ("HardSigmoid", (SMALL,), {}),
    ("HardSigmoid", (SMALL,), {"alpha": 1 / 6, "beta": 0.4}),
    ("LeakyRelu", (SMALL,), {}),
    ("LeakyRelu", (SMALL,), {"alpha": 0.1}),
    ("PRelu", (X, floats(4, 1, 1, seed=1)), {}),
    ("PRelu", (SMALL, floats(1, seed=1)), {}),
    ("Clip", (SMALL,), {}),
    ("Clip", (SMALL, scalar(-1, np.float32), scalar(2, np.float32)), {}),
    ("Clip", (SMALL, scalar(-1, np.float32)), {}),
    ("Clip", (SMALL, None, scalar(1, np.float32)), {}),
    ("Clip", (NUMBERS, scalar(-2), scalar(5)), {}),
    ("Clip", (SMALL,), {"max": 1.0}, 6),
    ("Clip", (SMALL,), {"min": 0.0, "max": 6.0}, 6),
    ("Softmax", (SMALL,), {}),
    ("Softmax", (SMALL,), {"axis": 1}),
    ("Softmax", (SMALL,), {"axis": -2}),
    # --- products ---
    ("Conv", CONV, {"pads": [1, 1, 1, 1]}),
    ("Conv", CONV[:2], {"strides": [2, 1], "pads": [1, 2, 1, 2], "dilations": [1, 2]}),
    ("Conv", CONV, {"strides": [2, 2], "pads": [0, 1, 2, 0]}),
    ("Conv", CONV, {"auto_pad": "SAME_UPPER"}),
    ("Conv", EVEN_KERNEL, {"auto_pad": "SAME_UPPER"}),
    ("Conv", EVEN_KERNEL, {"auto_pad": "SAME_LOWER"}),
    ("Conv", CONV, {"auto_pad": "VALID", "strides": [2, 2]}),
    ("Conv", (X, floats(6, 2, 3, 3, seed=1), None), {"group": 2}),
    ("Conv", (X, floats(4, 1, 3, 3, seed=1), floats(4)), {"group": 4, "pads": [1, 1, 1, 1]}),
    ("Gemm", MATRICES, {}),
    ("Gemm", MATRICES[:2], {"alpha": 0.5}),
    ("Gemm", (MATRICES[0].T.copy(), MATRICES[1], MATRICES[2]), {"transA": 1, "beta": 0.5}),
    ("Gemm", (MATRICES[0], MATRICES[1].T.copy(), floats(3, 1)), {"transB": 1, "alpha": 2.0}),
    ("MatMul", MATRICES[:2], {}),
    ("MatMul", (SMALL, floats(2, 4, 5, seed=1)), {}),
    ("MatMul", (SMALL, ROW), {}),
    ("MatMul", (floats(2, 1, 3, 4), floats(5, 4, 2, seed=1)), {}),
    ("BatchNormalization", NORMAL, {}),
    ("BatchNormalization", NORMAL, {"epsilon": 1e-3}, 9),
    # --- windows ---
    ("MaxPool", (X,), {"kernel_shape": [5, 5], "pads": [2, 2, 2, 2]}),
    ("MaxPool", (X,), {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ("MaxPool", (X,), {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("MaxPool", (X,), {"kernel_shape": [3, 3], "strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1}),
    ("MaxPool", (X,), {"kernel_shape": [2, 2], "strides": [3, 3], "ceil_mode": 1}),
    ("MaxPool", (X - 10,), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1]}),
    ("MaxPool", (X - 10,), {"kernel_shape": [3, 2], "pads": [2, 1, 2, 1]}),
    ("MaxPool", (X,), {"kernel_shape": [3, 3], "dilations": [2, 1], "pads": [1, 1, 1, 1]}),
    ("MaxPool", (X,), {"kernel_shape": [3, 3], "strides": [3, 3], "pads": [0, 0, 1, 1], "ceil_mode": 1}),
    ("MaxPool", (X,), {"kernel_shape": [3, 3], "strides": [3, 3], "pads": [2, 2, 2, 2], "ceil_mode": 1}),
    ("MaxPool", (X - 10,), {"kernel_shape": [2, 3], "auto_pad": "SAME_UPPER"}),
    ("MaxPool", (X - 10,), {"kernel_shape": [2, 4], "auto_pad": "SAME_LOWER"}),
    ("AveragePool", (X,), {"kernel_shape": [3, 2], "strides": [2, 1]}),
    ("AveragePool", (X,), {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ("AveragePool", (X,), {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    ("AveragePool", (X,), {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("AveragePool", (X,), {"kernel_shape": [3, 3], "strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1}),
    ("AveragePool", (X,), {"kernel_shape": [3, 3], "strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1, "count_include_pad": 1}),
    ("GlobalAveragePool", (X,), {}),
    ("Resize", by(2, 2), ASYMMETRIC),
    ("Resize", by(2, 3), ASYMMETRIC),
    ("Resize", by(4, 1), ASYMMETRIC, 11),
    ("Resize", to(6, 10), ASYMMETRIC),
    ("Resize", to(9, 20), {}),
    ("Resize", by(2, 2), {"nearest_mode": "round_prefer_ceil"}),
    ("Resize", by(2, 2), {"coordinate_transformation_mode": "asymmetric"}),
    ("Resize", to(6, 10), {"mode": "linear"}),
    ("Resize", to(7, 4), {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"}),
    ("Resize", to(7, 8), {"mode": "linear", "coordinate_transformation_mode": "align_corners"}),
    ("Resize", by(2, 2), {"mode": "linear", "coordinate_transformation_mode": "align_corners"}),
    ("Resize", by(1.7, 0.7), {"mode": "linear"}),
    # --- reductions ---
    ("ReduceMax", (SMALL,), {}, 11),
    ("ReduceMax", (SMALL,), {"axes": [1], "keepdims": 0}, 11),
    ("ReduceMax", (SMALL,), {"axes": [-1, 0]}, 17),
    ("ReduceMax", (SMALL, integers(-1)), {"keepdims": 0}),
    ("ReduceMean", (SMALL,), {"axes": [-2]}, 17),
    ("ReduceMean", (X, integers(2, 3)), {}),
    ("ReduceMean", (SMALL,), {}),
    ("ReduceMean", (SMALL,), {"noop_with_empty_axes": 1}),
    ("ReduceSum", (SMALL,), {"axes": [0, 2], "keepdims": 0}, 11),
    ("ReduceSum", (SMALL, integers(1)), {}, 13),
    ("ReduceSum", (NUMBERS, integers(1)), {}),
    ("ReduceSum", (SMALL, integers()), {"noop_with_empty_axes": 1}),
    # --- moves ---
    ("Concat", (SMALL, floats(2, 5, 4)), {"axis": 1}),
    ("Concat", (SMALL, floats(2, 3, 1), SMALL), {"axis": -1}),
    ("SpaceToDepth", (floats(1, 3, 4, 6),), {"blocksize": 2}, 13),
    ("Split", (X,), {"axis": 1}, 13, 2),
    ("Split", (X,), {"axis": -2, "num_outputs": 2}, 18, 2),
    ("Split", (X, integers(1, 3)), {"axis": 1}, 13, 2),
    ("Split", (X, integers(2, 6, 1)), {"axis": -2}, 18, 3),
    ("Split", (X,), {"axis": 1, "split": [3, 1]}, 11, 2),
    ("Slice", (X, integers(1), integers(3), integers(1)), {}),
    ("Slice", (X, integers(0, -4), integers(-1, MOST), integers(1, 2)), {}),
    ("Slice", (X, integers(0, 1), integers(MOST, MOST), integers(2, 3), integers(2, 2)), {}),
    ("Slice", (X, integers(-3), integers(100), integers(-2)), {}),
    ("Slice", (X, integers(-100), integers(2), integers(-1), integers(1)), {}),
    ("Slice", (X, integers(1, 2), integers(2, 4)), {}),
    ("Slice", (X,), {"starts": [1, 0], "ends": [-1, 5], "axes": [2, 3]}, 9),
    ("Reshape", (X, integers(0, -1)), {}),
    ("Reshape", (X, integers(2, 0, -1)), {}),
    ("Reshape", (SMALL, integers(-1)), {}),
    ("Reshape", (np.zeros((0, 3), np.float32), integers(3, 0)), {"allowzero": 1}),
    ("Transpose", (X,), {"perm": [0, 2, 3, 1]}),
    ("Transpose", (SMALL,), {}),
    ("Flatten", (X,), {}),
    ("Flatten", (X,), {"axis": -1}),
    ("Flatten", (X,), {"axis": 0}),
    ("Unsqueeze", (SMALL,), {"axes": [0, 4]}, 11),
    ("Unsqueeze", (SMALL, integers(-1, 1)), {}),
    ("Squeeze", (floats(1, 3, 1, 4),), {"axes": [-2]}, 11),
    ("Squeeze", (floats(1, 3, 1, 4), integers(0, 2)), {}),
    ("Squeeze", (floats(1, 3, 1, 4),), {}),
    ("Expand", (COLUMN, integers(2, 3, 4)), {}),
    ("Expand", (COLUMN, integers(5, 1, 1, 4)), {}),
    ("Expand", (COLUMN, integers(1)), {}),
    ("Tile", (SMALL, integers(1, 2, 3)), {}),
    ("Gather", (X, integers(0, -1, 2)), {"axis": 1}),
    ("Gather", (X, scalar(-2)), {"axis": -1}),
    ("Gather", (NUMBERS, integers(1, 0).reshape(2, 1)), {}),
    ("GatherElements", (SMALL, NUMBERS % 3), {"axis": 1}),
    ("GatherElements", (SMALL, (NUMBERS % 4 - 4)[:, :2]), {"axis": -1}),
    ("TopK", (SMALL, integers(2)), {}, NEWEST, 2),
    ("TopK", (SMALL, integers(2)), {"axis": 1}, 11, 2),
    ("TopK", (SMALL, integers(1)), {"axis": -2, "largest": 0}, NEWEST, 2),
    # --- types and shapes ---
    *(("Cast", (SMALL,), {"to": kind}) for kind in (TensorProto.INT64, TensorProto.INT32, TensorProto.FLOAT16, TensorProto.BOOL)),
    ("Cast", (TRUTHS,), {"to": TensorProto.FLOAT}),
    ("Cast", (np.abs(SMALL),), {"to": TensorProto.UINT8}),
    ("Cast", (NUMBERS,), {"to": TensorProto.DOUBLE}),
    ("Cast", (NUMBERS,), {"to": TensorProto.INT8}),
    ("Shape", (X,), {}),
    ("Shape", (X,), {"start": 1, "end": -1}),
    ("Shape", (X,), {"start": -2}),
    ("Range", (scalar(0), scalar(10), scalar(3)), {}),
    ("Range", (scalar(5), scalar(-4), scalar(-2)), {}),
    ("Range", tuple(scalar(each, np.float32) for each in (0.5, 4, 0.5)), {}),
    ("ConstantOfShape", (integers(2, 3),), {}),
    ("ConstantOfShape", (integers(2, 3),), {"value": numpy_helper.from_array(np.array([-1], np.int64))}),
    ("ConstantOfShape", (integers(),), {"value": numpy_helper.from_array(np.array([0.5], np.float32))}),
]

REFUSED = [
    ("Conv", CONV, {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, NEWEST, "auto_pad SAME_UPPER with a stride"),
    ("Conv", (SMALL, floats(2, 3, 3)), {}, NEWEST, "a convolution over 1 axes"),
    ("MaxPool", (SMALL,), {"kernel_shape": [2]}, NEWEST, "a pooling over 1 axes"),
    ("AveragePool", (X,), {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}, NEWEST, "uneven padding"),
    ("AveragePool", (X,), {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}, NEWEST, "uneven padding"),
    ("AveragePool", (X,), {"kernel_shape": [2, 2], "dilations": [2, 2]}, 19, "dilated windows"),
    ("AveragePool", (X,), {"kernel_shape": [3, 3], "pads": [2, 2, 2, 2]}, NEWEST, "padding alone"),
    ("BatchNormalization", NORMAL, {"training_mode": 1}, NEWEST, "training mode"),
    ("Resize", to(6, 10), {"mode": "cubic"}, NEWEST, "a resize by cubic interpolation"),
    ("Resize", (IMAGE, None, None, integers(6, 10)), {"axes": [2, 3]}, NEWEST, "a resize"),
    ("Resize", to(6, 10), {"mode": "linear", "coordinate_transformation_mode": "asymmetric"}, NEWEST, "the grid asymmetric"),
    ("Resize", to(4, 6), {}, NEWEST, "no whole number"),
    ("Resize", to(6, 10), {"nearest_mode": "floor"}, NEWEST, "half_pixel and floor"),
    ("Resize", to(6, 10), {**ASYMMETRIC, "nearest_mode": "ceil"}, NEWEST, "asymmetric and ceil"),
    ("Resize", to(12, 20), {**ASYMMETRIC, "nearest_mode": "round_prefer_floor"}, NEWEST, "asymmetric and round_prefer_floor"),
    ("Resize", to(6, 10), {"coordinate_transformation_mode": "align_corners"}, NEWEST, "align_corners"),
    ("Resize", to(2, 3), {"mode": "linear", "antialias": 1}, NEWEST, "antialias"),
    ("Resize", to(6, 20), {"keep_aspect_ratio_policy": "not_larger"}, NEWEST, "keep_aspect_ratio_policy"),
    ("Resize", to(6, 1), {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"}, NEWEST, "to one pixel"),
    ("Resize", (IMAGE, None, None, integers(1, 4, 6, 10)), {}, NEWEST, "other axes than rows and columns"),
    ("Softmax", (SMALL,), {"axis": 1}, 12, "a softmax of an opset before 13"),
    ("Slice", (X, integers(3), integers(0), integers(1), integers(-1)), {}, NEWEST, "a slice backwards"),
    ("Cast", (SMALL,), {"to": TensorProto.UINT16}, NEWEST, "a cast to element type 4"),
]


def one_node(name, inputs, attributes, outputs=1, domain=""):
    """The node, and its inputs that are there by name."""
    names = ["" if each is None else f"in{at}" for at, each in enumerate(inputs)]
    made = [f"out{at}" for at in range(outputs)]
    node = helper.make_node(name, names, made, name="the_node", domain=domain, **attributes)
    return node, {key: each for key, each in zip(names, inputs, strict=True) if key}


def answers_of_onnx_runtime(node, feed, opset):
    values = [helper.make_tensor_value_info(key, helper.np_dtype_to_tensor_dtype(each.dtype), each.shape) for key, each in feed.items()]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
    graph = helper.make_graph([node], "one", values, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(None, feed)


def ours(node, inputs, opset):
    found = build(node, opset)(*(None if each is None else torch.from_numpy(each) for each in inputs))
    return [found] if isinstance(found, torch.Tensor) else list(found)


def shown(row):
    return f"{row[0]} {row[2]}"[:80]


@pytest.mark.parametrize("row", TABLE, ids=shown)
def test_an_operator_says_what_onnx_runtime_says(row):
    name, inputs, attributes, opset, outputs = (*row, *(NEWEST, 1)[len(row) - 3 :])
    node, feed = one_node(name, inputs, attributes, outputs)
    wanted = answers_of_onnx_runtime(node, feed, opset)
    found = [each.numpy() for each in ours(node, inputs, opset)]
    assert [each.shape for each in found] == [each.shape for each in wanted]
    assert [each.dtype for each in found] == [each.dtype for each in wanted]
    for mine, theirs in zip(found, wanted, strict=True):
        if theirs.dtype.kind == "f":
            assert mine == pytest.approx(theirs, abs=1e-5, rel=1e-5)
        else:
            assert mine.tolist() == theirs.tolist()


def test_the_table_holds_every_operator_and_no_other():
    assert {row[0] for row in TABLE} == set(OPERATORS)


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: f"{row[0]} {row[-1]}")
def test_what_is_computed_otherwise_is_refused_by_name(row):
    name, inputs, attributes, opset, why = row
    node, _ = one_node(name, inputs, attributes)
    with pytest.raises(ModelError, match=why) as refused:
        ours(node, inputs, opset)
    assert f"{name} the_node" in str(refused.value)


@pytest.mark.parametrize(("name", "domain"), [("Einsum", ""), ("Relu", "com.example"), ("QuickGelu", "com.microsoft")])
def test_an_operator_that_we_do_not_know_is_named(name, domain):
    node, _ = one_node(name, (SMALL,), {}, domain=domain)
    with pytest.raises(ModelError, match=f"the operator {name} of {name} the_node"):
        build(node, NEWEST)


@pytest.mark.parametrize("rounding", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
@pytest.mark.parametrize("grid", ["asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"])
def test_the_nearest_pixel_is_the_same_or_refused(grid, rounding):
    for times in (1, 2, 3, 4, 5):
        rule = {"coordinate_transformation_mode": grid, "nearest_mode": rounding}
        node, feed = one_node("Resize", by(times, times), rule)
        try:
            (found,) = ours(node, by(times, times), NEWEST)
        except ModelError:
            assert (grid, rounding) != ("asymmetric", "floor"), "what PyTorch exports"
            assert (grid, rounding) != ("half_pixel", "round_prefer_floor"), "the default"
        else:
            assert np.array_equal(found.numpy(), answers_of_onnx_runtime(node, feed, NEWEST)[0])


def test_the_places_of_the_greatest_values_are_refused():
    node, _ = one_node("MaxPool", (X,), {"kernel_shape": [2, 2]}, outputs=2)
    with pytest.raises(ModelError, match="the places of the greatest values"):
        build(node, NEWEST)


def test_a_long_name_for_the_standard_domain_is_the_standard_domain():
    node, _ = one_node("Relu", (SMALL,), {}, domain="ai.onnx")
    assert np.array_equal(ours(node, (SMALL,), NEWEST)[0].numpy(), np.maximum(SMALL, 0))
