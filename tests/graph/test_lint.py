"""What no one should run is refused for its own reason; what is merely odd is said and let through."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgewright.errors import InputError, ModelError
from edgewright.graph.lint import lint, refuse_unsound
from edgewright.graph.load import load_model
from edgewright.printable import printable
from graph.small_models import initializer, model_of, node, random, replace_initializer, sound_model, tensor, value


def change(model, **how):
    """Edit a sound model in place: each keyword names a list of the graph to clear or a callable to apply."""
    for edit in how.values():
        edit(model)
    return model


def without(field):
    return lambda model: model.graph.ClearField(field)


def rename_output(name, new):
    def edit(model):
        node(model, name).output[0] = new

    return edit


def rename_input(name, index, new):
    def edit(model):
        node(model, name).input[index] = new

    return edit


def with_tensor(new):
    return lambda model: replace_initializer(model, new)


def with_dims(name, *dims):
    def edit(model):
        held = initializer(model, name)
        del held.dims[:]
        held.dims.extend(dims)

    return edit


def with_operator(name, operator, domain=""):
    def edit(model):
        node(model, name).op_type = operator
        node(model, name).domain = domain

    return edit


def swap_nodes(model):
    nodes = [onnx.NodeProto.FromString(held.SerializeToString()) for held in model.graph.node]
    nodes[0], nodes[1] = nodes[1], nodes[0]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def close_cycle(model):
    node(model, "conv").input[0] = "active"


def drop_weight(model):
    kept = [held for held in model.graph.initializer if held.name != "w"]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def shorten(model):
    initializer(model, "w").raw_data = initializer(model, "w").raw_data[:-1]


def double_weight(model):
    model.graph.initializer.append(initializer(model, "w"))


def point_outside(model):
    initializer(model, "w").data_location = TensorProto.EXTERNAL


def retype_input(elem_type):
    def edit(model):
        model.graph.input[0].type.tensor_type.elem_type = elem_type

    return edit


def forget_shape(model):
    model.graph.input[0].type.tensor_type.ClearField("shape")


def negative_input(model):
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = -5


def with_opset(version):
    def edit(model):
        model.opset_import[0].version = version

    return edit


def forget_opset(model):
    del model.opset_import[:]


def with_ir(version):
    def edit(model):
        model.ir_version = version

    return edit


def retype_output(elem_type):
    def edit(model):
        model.graph.output[0].type.tensor_type.elem_type = elem_type

    return edit


def untype_output(model):
    model.graph.output[0].ClearField("type")


def rename_node(name, new):
    def edit(model):
        node(model, name).name = new

    return edit


def with_attribute(name, key, held):
    def edit(model):
        kept = [each for each in node(model, name).attribute if each.name != key]
        del node(model, name).attribute[:]
        node(model, name).attribute.extend([*kept, helper.make_attribute(key, held)])

    return edit


def hollow_attribute(model):
    del node(model, "conv").attribute[0].ints[:]
    node(model, "conv").attribute[0].f = 1.0


NAN = np.full((8, 3, 3, 3), np.nan)
UNSOUND = [
    (lambda model: model.ClearField("graph"), "no-graph", "no graph"),
    (without("node"), "no-nodes", "no nodes"),
    (without("input"), "no-inputs", "no inputs"),
    (without("output"), "no-outputs", "no outputs"),
    (forget_shape, "no-input-shape", "input image has no shape"),
    (negative_input, "negative-dims", "negative dimension"),
    (retype_input(0), "untyped-input", "input image has element type 0"),
    (retype_input(TensorProto.UINT8), "type-mismatch", "is uint8, which Conv does not take"),
    (retype_input(TensorProto.DOUBLE), "type-mismatch", "is float32, but another operand of the same kind is float64"),
    (close_cycle, "cycle", "Conv conv is part of a cycle of 2 nodes"),
    (rename_input("relu", 0, "nowhere"), "dangling-input", "Relu relu uses nowhere"),
    (rename_output("gemm", "other"), "dangling-input", "output scores of graph"),
    (swap_nodes, "unsorted", "uses features before it is produced"),
    (rename_output("relu", "features"), "duplicate-name", "value features is produced more than once"),
    (rename_output("relu", "w"), "duplicate-name", "value w is produced more than once"),
    (double_weight, "duplicate-name", "initializer w is declared more than once"),
    (drop_weight, "missing-initializer", "uses the weight w"),
    (with_tensor(tensor("w", NAN)), "nan-weights", "tensor w holds 216 NaN"),
    (with_tensor(tensor("w", np.full((8, 3, 3, 3), np.inf))), "inf-weights", "216 infinite"),
    (with_tensor(tensor("b", [np.nan] + [0] * 7)), "nan-weights", "tensor b holds 1 NaN"),
    (with_tensor(tensor("w", np.zeros((8, 3, 3, 3)))), "zero-weights", "weight w, which is zero throughout"),
    (with_tensor(tensor("m", np.zeros((8, 10)))), "zero-weights", "Gemm gemm"),
    (with_tensor(random("w", 8, 4, 3, 3)), "channels", "gets 3 channels, but its weight [8 x 4 x 3 x 3]"),
    (with_tensor(random("w", 8, 3, 3)), "channels", "the ranks differ"),
    (with_tensor(random("m", 9, 10)), "channels", "8 does not meet 9"),
    (with_dims("w", 8, -3, 3, 3), "negative-dims", "negative dimension"),
    (with_dims("w", 2**31, 48, 1, 1), "absurd-dims", "more than 2^31"),
    (with_dims("w", 0, 2**62, 2**62), "absurd-dims", "more than 2^31"),
    (with_dims("w", *[1] * 40), "absurd-dims", "32 axes"),
    (shorten, "data-length", "holds 863 bytes, but float32 [8 x 3 x 3 x 3] takes 864"),
    (point_outside, "external-data", "outside the model"),
    (with_operator("relu", "NoSuchOp"), "unknown-operator", "NoSuchOp relu is an operator that does not exist"),
    (with_operator("relu", "Gelu"), "unknown-operator", "is not an operator of opset 17"),
    (with_operator("relu", "Relu", "com.example"), "unknown-domain", "the domain com.example"),
    (with_operator("conv", "Relu"), "operand-count", "has 3 inputs; the operator takes 1 to 1"),
    (with_opset(9999), "opset-version", "opset of ai.onnx is 9999"),
    (with_opset(0), "opset-version", "opset of ai.onnx is 0"),
    (forget_opset, "no-opset", "imports no opset"),
    (with_ir(9999), "ir-version", "IR version is 9999"),
    # A number of no element type came through protobuf's open enums and was a KeyError.
    (retype_output(2**31 - 1), "untyped-output", "output scores has element type 2147483647"),
    (retype_output(-1), "untyped-output", "output scores has element type -1"),
    (untype_output, "untyped-output", "output scores has no type"),
    (rename_node("relu", "conv"), "duplicate-name", "node conv is declared more than once"),
    (with_attribute("conv", "strides", [0, 1]), "attribute", "has strides [0, 1]; each must be 1 to 2^20"),
    (with_attribute("conv", "strides", [1, 1, 1]), "attribute", "has 4 pads, 3 strides, which are not of one number of axes"),
    (with_attribute("conv", "kernel_shape", [5, 5]), "channels", "has the kernel_shape [5, 5] and a weight"),
    (with_attribute("conv", "strides", "two"), "attribute", "of kind string, where the operator takes ints"),
    (with_attribute("conv", "speed", 11), "attribute", "has an attribute speed, which the operator does not have"),
    (hollow_attribute, "attribute", "has an attribute pads of kind ints that holds something else"),
    (with_tensor(tensor("b", np.zeros(9))), "channels", "has a bias of [9] for 8 filters"),
    (with_tensor(tensor("w", np.full((8, 3, 3, 3), 1e20))), "absurd-weights", "no training gives more than 1e+12"),
    (with_tensor(tensor("w", np.ones((8, 3, 0, 3)))), "empty-weights", "which holds no elements"),
    (with_operator("relu", "QuickGelu", "com.microsoft"), "no-opset", "needs the domain com.microsoft"),
]


@pytest.mark.parametrize(("edit", "code", "reason"), UNSOUND, ids=[f"{code}-{index}" for index, (_, code, _) in enumerate(UNSOUND)])
def test_refuses_what_no_one_should_run(edit, code, reason):
    model = change(sound_model(), edit=edit)

    errors = [finding for finding in lint(model) if finding.severity == "error"]
    assert errors[0].code == code
    with pytest.raises(ModelError, match="unsound") as caught:
        refuse_unsound(model)
    assert reason in str(caught.value)
    assert caught.value.fix


def test_a_sound_model_with_zero_biases_has_no_findings():
    assert refuse_unsound(sound_model()) == []


def test_a_handful_of_zeros_is_not_an_untrained_model():
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]

    assert refuse_unsound(model_of(nodes, [value("x", [1, 2])], [value("y", [1, 2])], [tensor("w", np.zeros((2, 2)))])) == []


def test_a_mask_of_infinities_is_a_warning():
    nodes = [helper.make_node("Add", ["x", "mask"], ["y"])]
    model = model_of(nodes, [value("x", [1, 4])], [value("y", [1, 4])], [tensor("mask", [0, -np.inf, 0, -np.inf])])

    assert [(finding.code, finding.severity) for finding in refuse_unsound(model)] == [("non-finite-constant", "warning")]


@pytest.mark.parametrize("zero_point", [0, 128])
def test_an_integer_weight_at_its_zero_point_is_zero(zero_point):
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["w"]),
        helper.make_node("Conv", ["x", "w"], ["y"]),
    ]
    weights = [
        tensor("q", np.full((4, 3, 1, 1), zero_point), np.uint8),
        tensor("scale", 0.1),
        tensor("zero", zero_point, np.uint8),
    ]
    model = model_of(nodes, [value("x", [1, 3, 4, 4])], [value("y", [1, 4, 4, 4])], weights)

    with pytest.raises(ModelError, match="zero throughout"):
        refuse_unsound(model)


def test_weights_in_constant_nodes_are_weights():
    nodes = [helper.make_node("Constant", [], ["w"], value=tensor("w", NAN)), helper.make_node("Conv", ["x", "w"], ["y"])]
    model = model_of(nodes, [value("x", [1, 3, 8, 8])], [value("y", [1, 8, 6, 6])])

    with pytest.raises(ModelError, match="tensor w holds 216 NaN"):
        refuse_unsound(model)


def branches(then_nodes, then_output):
    then = helper.make_graph(then_nodes, "then", [], [value(then_output, None)])
    otherwise = helper.make_graph([helper.make_node("Relu", ["x"], ["no"])], "else", [], [value("no", None)])
    nodes = [helper.make_node("If", ["yes"], ["y"], name="choice", then_branch=then, else_branch=otherwise)]
    return model_of(nodes, [value("x", [1, 3, 4, 4])], [value("y", None)], [tensor("yes", True, np.bool_), random("w", 4, 3, 1, 1)])


def test_a_branch_may_use_the_names_around_it():
    assert refuse_unsound(branches([helper.make_node("Conv", ["x", "w"], ["z"])], "z")) == []


@pytest.mark.parametrize(
    ("node_inside", "reason"),
    [
        (helper.make_node("Conv", ["x", "missing"], ["z"], name="inner"), "uses the weight missing"),
        (helper.make_node("Relu", ["nowhere"], ["z"], name="inner"), "Relu inner uses nowhere"),
        (helper.make_node("Relu", ["z"], ["z"], name="inner"), "cycle"),
        (helper.make_node("Conv", ["yes", "w"], ["z"], name="inner"), "is bool, which Conv does not take"),
        (helper.make_node("Conv", ["x", "w"], ["z"], name="inner", group=3), "splits 4 filters into 3 groups"),
        (helper.make_node("Conv", ["x", "w"], ["z"], name="inner", group=2), "gets 3 channels"),
    ],
)
def test_errors_inside_a_branch_are_found(node_inside, reason):
    with pytest.raises(ModelError) as caught:
        refuse_unsound(branches([node_inside], "z"))
    assert reason in str(caught.value)


def function(name, *calls):
    nodes = [helper.make_node(call, ["a"], [f"t{index}"], domain="local") for index, call in enumerate(calls)]
    nodes.append(helper.make_node("Relu", ["a"], ["b"]))
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    return helper.make_function("local", name, ["a"], ["b"], nodes, imports)


def calling(*functions):
    nodes = [helper.make_node(functions[0].name, ["x"], ["y"], domain="local")]
    return model_of(nodes, [value("x", [1, 4])], [value("y", [1, 4])], domains=["local"], functions=functions)


def test_local_functions_are_known_operators():
    assert refuse_unsound(calling(function("outer", "inner"), function("inner"))) == []


@pytest.mark.parametrize(
    "functions",
    [
        [function("f", "f")],
        [function("f", "g"), function("g", "f")],
        [*(function(f"f{n}", f"f{n + 1}", f"f{n + 1}") for n in range(40)), function("f40")],
    ],
    ids=["itself", "each other", "a million times"],
)
def test_functions_that_never_end_are_refused(functions):
    with pytest.raises(ModelError, match="calls itself, or grows"):
        refuse_unsound(calling(*functions))


def test_contributed_operators_are_known_and_doubted_when_not():
    model = change(sound_model(), edit=with_operator("relu", "QuickGelu", "com.microsoft"))
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert refuse_unsound(model) == []

    node(model, "relu").op_type = "BrandNewOp"
    assert [finding.code for finding in refuse_unsound(model)] == ["unlisted-operator"]


def test_free_axes_are_noted_and_let_through():
    model = sound_model()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = -1
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "batch"

    (finding,) = refuse_unsound(model)
    assert (finding.code, finding.severity, finding.where) == ("dynamic-axes", "info", "input image")
    assert "0 (batch), 2" in finding.what


@pytest.mark.parametrize(
    ("key", "text", "reason"),
    [
        ("note", "\x1b[2J gone", "control characters"),
        ("note", "<script>alert(1)</script>", "markup"),
        ("note", "../../etc/passwd", "a path out of its folder"),
        ("note", "__import__('os').system('ls')", "code"),
        ("note", "a" * 100_000, "100000 characters"),
        ("no\x00te", "fine", "control characters in its key"),
    ],
)
def test_hostile_metadata_is_said_and_let_through(key, text, reason):
    model = sound_model()
    model.metadata_props.add(key=key, value=text)

    (finding,) = refuse_unsound(model)
    assert finding.code == "hostile-metadata"
    assert reason in finding.what
    assert all(shown.isprintable() and len(shown) < 250 for shown in finding.to_json().values())


def test_genuine_metadata_is_not_hostile():
    model = sound_model()
    genuine = {
        "description": "Ultralytics YOLOv8n model trained on /home/someone/datasets/coco.yaml",
        "license": "AGPL-3.0 License (https://ultralytics.com/license)",
        "docs": "https://docs.ultralytics.com",
        "names": "{0: 'person', 1: 'café'}",
        "imgsz": "[640, 640]",
        "stride": "32",
        "args": "{'batch': 1, 'half': False, 'dynamic': False, 'simplify': True, 'nms': None}",
    }
    helper.set_model_props(model, genuine)

    assert refuse_unsound(model) == []


def test_many_hostile_names_make_few_findings():
    model = sound_model()
    for index in range(1000):
        model.graph.initializer.append(tensor(f"\x1b[31m{index}", [1.0]))

    findings = refuse_unsound(model)
    assert len(findings) == 6
    assert findings[-1].what == "has 995 more like this"


@given(st.text(), st.integers(1, 200))
def test_printable_is_one_short_line_that_a_terminal_merely_draws(text, limit):
    shown = printable(text, limit)

    assert shown.isprintable()
    assert len(shown) <= limit
    assert printable(shown, limit) == shown
    assert not text.isprintable() or len(text) > limit or shown == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\x1b[31mb", "a\\x1b[31mb"), ("\u202egnp", "\\u202egnp"), ("\ud800", "\\ud800"), ("a\nb", "a\\nb"), ("x" * 99, "x" * 79 + "…")],
)
def test_printable_escapes(text, shown):
    assert printable(text) == shown


REASONS = {
    "200_random_bytes": "corrupt",
    "all_zero_weights": "zero throughout",
    "conv_wrong_channels": "gets 24 channels",
    "cycle": "cycle",
    "dangling_input": "uses does_not_exist",
    "duplicate_output_name": "produced more than once",
    "empty": "is empty",
    "external_data_absolute_path": "outside the model's folder; got /etc/hostname",
    "external_data_missing_file": "is missing; got no file weights_not_here.bin",
    "external_data_path_traversal": "outside the model's folder; got ../",
    "huge_length_prefix": "claims 4294967295 bytes in a file of 200",
    "inf_weights": "83 infinite values",
    "initializer_dims_2e31": "more than 2^31",
    "initializer_negative_dim": "negative dimension",
    "initializer_short_raw_data": "holds 91 bytes",
    "input_uint8_type_mismatch": "is uint8, which Conv does not take",
    "input_without_shape": "has no shape",
    "ir_9999": "IR version is 9999",
    "lfs_pointer": "git-LFS pointer",
    "missing_initializer": "uses the weight onnx::Conv_767",
    "nan_weights": "83 NaN",
    "no_graph": "holds no graph",
    "no_inputs": "has no inputs",
    "no_nodes": "has no nodes",
    "no_opset": "imports no opset",
    "no_outputs": "has no outputs",
    "not_topologically_sorted": "before it is produced",
    "opset_9999": "opset of ai.onnx is 9999",
    "text": "got text",
    "truncated_01pct": "cut short",
    "truncated_50pct": "cut short",
    "truncated_99pct": "cut short",
    "unknown_domain": "com.example.custom",
    "unknown_op": "NoSuchOp",
    "zip_header": "zip archive",
}
LET_THROUGH = {"hostile_metadata": "hostile-metadata", "hostile_names": "hostile-name", "dynamic_all_axes": "dynamic-axes"}


@pytest.mark.parametrize(("name", "reason"), REASONS.items(), ids=list(REASONS))
def test_every_broken_file_is_refused_for_its_own_reason(test_data, name, reason):
    with pytest.raises(InputError) as caught:
        refuse_unsound(load_model(test_data / "bad" / "onnx" / f"{name}.onnx"))
    assert isinstance(caught.value, ModelError)
    assert reason in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(("name", "code"), LET_THROUGH.items(), ids=list(LET_THROUGH))
def test_a_hostile_but_sound_file_is_let_through_with_findings(test_data, name, code):
    findings = refuse_unsound(load_model(test_data / "bad" / "onnx" / f"{name}.onnx"))

    assert code in {finding.code for finding in findings}


def test_the_tables_cover_every_bad_file(test_data):
    assert {path.stem for path in (test_data / "bad" / "onnx").glob("*.onnx")} == REASONS.keys() | LET_THROUGH.keys()


def test_real_detectors_are_sound(test_data):
    for path in sorted((test_data / "models").glob("*.onnx")):
        codes = {finding.code for finding in refuse_unsound(load_model(path))}
        assert codes <= {"old-opset"}, path.name
