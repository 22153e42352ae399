"""What strangers hand in: a sound detector, changed in one way that makes it broken, hostile or merely odd.

    for name, mutation in MUTATIONS.items():
        path = mutation.write(detector_bytes, folder)      # `folder` is empty; the model is `path`, what belongs to it lies around it

`mutation.refused` is a pattern that the one sentence of the refusal must hold, the reason that is this mutation's own. Where it is None the
file is sound: `mutation.found` are the codes of the findings it must earn, and `mutation.not_a_detector` what `recognise` says
where it is no detector any more. The first 38 carry the names of the files they were found in, a collection of broken ONNX files.
"""

import gzip
import os
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Edit = Callable[[onnx.ModelProto], None]
Write = Callable[[bytes, Path], None]
NAME = "model.onnx"
GRAPH, NODE, INITIALIZER, METADATA = 7, 1, 5, 14  # field numbers: of the model, of the graph, of the graph, of the model


@dataclass(frozen=True, slots=True)
class Mutation:
    """How to make the file, and what must be said of it."""

    make: Write
    refused: str | None = None
    found: tuple[str, ...] = ()
    not_a_detector: str | None = None

    def write(self, detector: bytes, folder: Path) -> Path:
        path = folder / NAME
        self.make(detector, path)
        return path


# --- three ways to change a file ----------------------------------------------------------------------------------------------------------


def edited(edit: Edit, refused: str | None = None, **said) -> Mutation:
    """The model parsed, changed in place, written again."""

    def make(detector: bytes, path: Path) -> None:
        model = onnx.ModelProto.FromString(detector)
        edit(model)
        path.write_bytes(model.SerializeToString())

    return Mutation(make, refused, **said)


def rewritten(change: Callable[[bytes], bytes], refused: str | None = None, **said) -> Mutation:
    """The bytes changed."""
    return Mutation(lambda detector, path: path.write_bytes(change(detector)) and None, refused, **said)


def beside(data: Callable[[onnx.TensorProto, Path], dict[str, str]], refused: str | None = None, **said) -> Mutation:
    """One weight kept outside the model; `data` puts the file where it likes and returns what the model says of it."""

    def make(detector: bytes, path: Path) -> None:
        model = onnx.ModelProto.FromString(detector)
        tensor = weight(model)
        entries = data(tensor, path.parent)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)
        path.write_bytes(model.SerializeToString())

    return Mutation(make, refused, **said)


# --- where to change it -------------------------------------------------------------------------------------------------------------------


def convolutions(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    held = {tensor.name for tensor in model.graph.initializer}
    return [node for node in model.graph.node if node.op_type == "Conv" and node.input[1] in held]


def conv(model: onnx.ModelProto) -> onnx.NodeProto:
    """A convolution from the middle of the network."""
    found = convolutions(model)
    return found[len(found) // 2]


def tensor_named(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def weight(model: onnx.ModelProto) -> onnx.TensorProto:
    return tensor_named(model, conv(model).input[1])


def values(tensor: onnx.TensorProto) -> np.ndarray:
    return numpy_helper.to_array(tensor).copy()


def replace(tensor: onnx.TensorProto, array: np.ndarray) -> None:
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def activation(model: onnx.ModelProto) -> onnx.NodeProto:
    """A node of one input, from the middle of the network."""
    kinds = {"Relu", "Sigmoid", "LeakyRelu", "HardSwish"}
    found = [node for node in model.graph.node if node.op_type in kinds]
    return found[len(found) // 2]


def image(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    held = {tensor.name for tensor in model.graph.initializer}
    return next(value for value in model.graph.input if value.name not in held)


def image_dims(model: onnx.ModelProto):
    return image(model).type.tensor_type.shape.dim


def is_for(model: onnx.ModelProto, name: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if name in node.input]


def reorder(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> None:
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def add_node(model: onnx.ModelProto, node: onnx.NodeProto, *held: onnx.TensorProto, first: bool = True) -> None:
    """A node that depends on nothing but constants, and a place where its result is used, so that no one optimises it away."""
    model.graph.initializer.extend(held)
    nodes = list(model.graph.node)
    reorder(model, [node, *nodes] if first else [*nodes, node])


def give_out(model: onnx.ModelProto, name: str, elem_type: int = TensorProto.FLOAT) -> None:
    model.graph.output.append(helper.make_tensor_value_info(name, elem_type, None))


# --- weights ------------------------------------------------------------------------------------------------------------------------------


def poison(value: float, share: float = 0.15) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        tensor = weight(model)
        array = values(tensor)
        chosen = np.random.default_rng(0).random(array.shape) < share
        chosen.flat[0] = True
        array[chosen] = value
        replace(tensor, array)

    return edit


def poison_one(model: onnx.ModelProto) -> None:
    tensor = weight(model)
    array = values(tensor)
    array.flat[array.size // 2] = np.nan
    replace(tensor, array)


def zero_all(model: onnx.ModelProto) -> None:
    for node in convolutions(model):
        replace(tensor_named(model, node.input[1]), np.zeros_like(values(tensor_named(model, node.input[1]))))


def zero_one(model: onnx.ModelProto) -> None:
    replace(weight(model), np.zeros_like(values(weight(model))))


def poison_bias(model: onnx.ModelProto) -> None:
    bias = tensor_named(model, next(node.input[2] for node in convolutions(model) if len(node.input) > 2))
    array = values(bias)
    array.flat[0] = np.inf
    replace(bias, array)


def insert_normalisation(index: int, value: float) -> Edit:
    """Behind a convolution, a BatchNormalization that changes nothing but for one number of operand `index`."""

    def edit(model: onnx.ModelProto) -> None:
        node = conv(model)
        channels = weight(model).dims[0]
        operands = [np.ones(channels), np.zeros(channels), np.zeros(channels), np.ones(channels)]
        operands[index][0] = value
        held = [numpy_helper.from_array(array.astype(np.float32), f"bn_{at}") for at, array in enumerate(operands)]
        model.graph.initializer.extend(held)
        target = node.output[0]
        node.output[0] = f"{target}_raw"
        fresh = helper.make_node("BatchNormalization", [node.output[0], *(one.name for one in held)], [target], name="bn")
        nodes = list(model.graph.node)
        at = next(index for index, one in enumerate(nodes) if one.output[0] == node.output[0])
        reorder(model, [*nodes[: at + 1], fresh, *nodes[at + 1 :]])

    return edit


def in_a_constant(model: onnx.ModelProto) -> None:
    tensor = weight(model)
    array = values(tensor)
    array.flat[0] = np.nan
    node = helper.make_node("Constant", [], [tensor.name], name="kept", value=numpy_helper.from_array(array))
    model.graph.initializer.remove(tensor)
    add_node(model, node)


def in_constant_floats(model: onnx.ModelProto) -> None:
    node = helper.make_node("Constant", [], ["numbers"], name="numbers", value_floats=[1.0, float("nan"), 3.0])
    add_node(model, node)
    give_out(model, "numbers")


def in_half(model: onnx.ModelProto) -> None:
    """One weight stored in float16 behind a Cast, with a NaN."""
    tensor = weight(model)
    array = values(tensor).astype(np.float16)
    array.flat[0] = np.nan
    name = tensor.name
    replace(tensor, array)
    tensor.name = f"{name}_half"
    add_node(model, helper.make_node("Cast", [tensor.name], [name], name="widen", to=TensorProto.FLOAT))


def nan_quantization(model: onnx.ModelProto) -> None:
    """One weight stored in int8 behind a DequantizeLinear whose scale is NaN."""
    tensor = weight(model)
    name, codes = tensor.name, np.ones(tensor.dims, np.int8)
    model.graph.initializer.append(numpy_helper.from_array(np.array(np.nan, np.float32), "scale"))
    replace(tensor, codes)
    tensor.name = f"{name}_codes"
    add_node(model, helper.make_node("DequantizeLinear", [tensor.name, "scale"], [name], name="dequantize"))


def sparse_dims(model: onnx.ModelProto) -> None:
    given, indices = helper.make_tensor("s", TensorProto.FLOAT, [1], [1.0]), helper.make_tensor("", TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(given, indices, [2**40, 2**40]))


# --- shapes and types ---------------------------------------------------------------------------------------------------------------------


def dims(*shape: int) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        del weight(model).dims[:]
        weight(model).dims.extend(shape)

    return edit


def dims_of_weight(change: Callable[[list[int]], list[int]]) -> Edit:
    """Another shape, with data that fits it."""

    def edit(model: onnx.ModelProto) -> None:
        tensor = weight(model)
        shape = change(list(tensor.dims))
        replace(tensor, np.random.default_rng(0).normal(0, 0.01, shape).astype(np.float32))

    return edit


def longer_bias(model: onnx.ModelProto) -> None:
    bias = tensor_named(model, next(node.input[2] for node in convolutions(model) if len(node.input) > 2))
    replace(bias, np.concatenate([values(bias), np.zeros(3, np.float32)]))


def attribute(name: str, value: object) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        node = conv(model)
        kept = [each for each in node.attribute if each.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, value)])

    return edit


def shorten_data(model: onnx.ModelProto) -> None:
    weight(model).raw_data = weight(model).raw_data[:-5]


def input_type(elem_type: int) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        image(model).type.tensor_type.elem_type = elem_type

    return edit


def input_shape(*shape: int | str) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        image(model).CopyFrom(helper.make_tensor_value_info(image(model).name, TensorProto.FLOAT, shape))
        del model.graph.value_info[:]
        for value in model.graph.output:
            value.type.tensor_type.ClearField("shape")

    return edit


def without_shape(model: onnx.ModelProto) -> None:
    image(model).type.tensor_type.ClearField("shape")


def of_kind(kind: str) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        value = image(model)
        inner = helper.make_tensor_type_proto(TensorProto.FLOAT, [1, 3, 64, 64])
        made = {
            "sequence": helper.make_sequence_type_proto,
            "optional": helper.make_optional_type_proto,
            "map": partial(helper.make_map_type_proto, TensorProto.INT64),
        }[kind](inner)
        value.type.CopyFrom(made)

    return edit


def text_weight(model: onnx.ModelProto) -> None:
    name = weight(model).name
    weight(model).CopyFrom(helper.make_tensor(name, TensorProto.STRING, [2], [b"one", b"two"]))


# --- structure ----------------------------------------------------------------------------------------------------------------------------


def cleared(field: str) -> Edit:
    return lambda model: model.graph.ClearField(field)


def no_graph(model: onnx.ModelProto) -> None:
    model.ClearField("graph")


def no_opset(model: onnx.ModelProto) -> None:
    del model.opset_import[:]


def opset(version: int) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = version

    return edit


def ir(version: int) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        model.ir_version = version

    return edit


def close_cycle(model: onnx.ModelProto) -> None:
    """A convolution reads what is made from its own result."""
    node = conv(model)
    node.input[0] = is_for(model, node.output[0])[0].output[0]


def eat_itself(model: onnx.ModelProto) -> None:
    node = activation(model)
    node.input[0] = node.output[0]


def dangle(model: onnx.ModelProto) -> None:
    activation(model).input[0] = "does_not_exist"


def unmade_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "nobody_makes_this"


def drop_bias(model: onnx.ModelProto) -> None:
    name = next(node.input[2] for node in convolutions(model) if len(node.input) > 2)
    model.graph.initializer.remove(tensor_named(model, name))


def shuffle(model: onnx.ModelProto) -> None:
    nodes = list(model.graph.node)
    random.Random(0).shuffle(nodes)
    reorder(model, nodes)


def backwards(model: onnx.ModelProto) -> None:
    reorder(model, list(model.graph.node)[::-1])


def make_twice(model: onnx.ModelProto) -> None:
    conv(model).output[0] = activation(model).output[0]


def hold_twice(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(weight(model))


def declare_twice(model: onnx.ModelProto) -> None:
    model.graph.input.append(image(model))


def hold_the_image(model: onnx.ModelProto) -> None:
    """An initializer of the image's name: nobody feeds anything any more."""
    model.graph.initializer.append(numpy_helper.from_array(np.ones((1, 3, 8, 8), np.float32), image(model).name))


def list_the_weights(model: onnx.ModelProto) -> None:
    """As exporters did up to IR version 3: every initializer is an input as well."""
    model.ir_version = 3
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))


def operator(kind: str, domain: str = "") -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        node = activation(model)
        node.op_type, node.domain = kind, domain

    return edit


def contributed(kind: str, **attributes: object) -> Edit:
    """A com.microsoft operator in place of an activation."""

    def edit(model: onnx.ModelProto) -> None:
        operator(kind, "com.microsoft")(model)
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        node = activation_of(model, kind)
        node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())

    return edit


def activation_of(model: onnx.ModelProto, kind: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == kind)


# --- functions, loops, and what allocates -------------------------------------------------------------------------------------------------


def function(name: str, *calls: str) -> onnx.FunctionProto:
    nodes = [helper.make_node(call, ["a"], [f"t{at}"], domain="local") for at, call in enumerate(calls)]
    nodes.append(helper.make_node("Relu", ["a"], ["b"]))
    return helper.make_function("local", name, ["a"], ["b"], nodes, [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)])


def calling(*functions: onnx.FunctionProto) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        model.opset_import.append(helper.make_opsetid("local", 1))
        model.functions.extend(functions)
        operator(functions[0].name, "local")(model)

    return edit


def int64(name: str, *numbers: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(numbers, np.int64), name)


def scalar(name: str, number: int, dtype: type = np.int64) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(number, dtype), name)


def making(kind: str, inputs: list[str], *held: onnx.TensorProto, elem_type: int = TensorProto.FLOAT, **attributes: object) -> Edit:
    """One more node, made of constants alone, whose result is an output."""

    def edit(model: onnx.ModelProto) -> None:
        add_node(model, helper.make_node(kind, inputs, ["made"], name="maker", **attributes), *held)
        give_out(model, "made", elem_type)

    return edit


def looping(trips: str, going: str, *held: onnx.TensorProto) -> Edit:
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["still"]), helper.make_node("Add", ["x", "x"], ["y"])],
        "body",
        [
            helper.make_tensor_value_info("at", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]),
        ],
        [helper.make_tensor_value_info("still", TensorProto.BOOL, []), helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    start = numpy_helper.from_array(np.ones(1, np.float32), "start")
    return making("Loop", [trips, going, "start"], start, *held, body=body)


def scanning(model: onnx.ModelProto) -> None:
    body = helper.make_graph(
        [helper.make_node("Add", ["state", "each"], ["next"]), helper.make_node("Identity", ["next"], ["given"])],
        "body",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("state", "each")],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("next", "given")],
    )
    start = numpy_helper.from_array(np.ones(1, np.float32), "start")
    add_node(model, helper.make_node("Scan", ["start", "many"], ["last", "made"], name="scan", num_scan_inputs=1, body=body), start)
    add_node(model, helper.make_node("ConstantOfShape", ["long"], ["many"], name="maker"), int64("long", 2**33, 1))
    give_out(model, "made")


def resize_the_image(model: onnx.ModelProto) -> None:
    scales = numpy_helper.from_array(np.array([1, 1, 5e4, 5e4], np.float32), "scales")
    making("Resize", [image(model).name, "", "scales"], scales, mode="nearest")(model)


def tile_the_image(model: onnx.ModelProto) -> None:
    making("Tile", [image(model).name, "often"], int64("often", 1, 1, 2**20, 2**20))(model)


def pad_the_image(model: onnx.ModelProto) -> None:
    making("Pad", [image(model).name, "by"], int64("by", 0, 0, 2**20, 2**20, 0, 0, 2**20, 2**20))(model)


def expand_a_number(model: onnx.ModelProto) -> None:
    making("Expand", ["one", "to"], scalar("one", 1, np.float32), int64("to", 2**20, 2**20, 2**10))(model)


def many_classes(model: onnx.ModelProto) -> None:
    """The metadata name a million classes."""
    kept = [entry for entry in model.metadata_props if entry.key != "names"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key="names", value=repr({index: f"class {index}" for index in range(1_000_000)}))


# --- text ---------------------------------------------------------------------------------------------------------------------------------


def metadata(**entries: str) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        kept = [entry for entry in model.metadata_props if entry.key not in entries]
        del model.metadata_props[:]
        model.metadata_props.extend(kept)
        for key, value in entries.items():
            model.metadata_props.add(key=key, value=value)

    return edit


def hostile_names(model: onnx.ModelProto) -> None:
    model.graph.node[0].name = "../../x/<script>\x00\u202e"
    model.graph.name = "a" * 100_000


def hostile_tensors(model: onnx.ModelProto) -> None:
    """The image and the output are named to reach a terminal and a page."""
    fresh = {image(model).name: "\x1b[2J\x1b[31m<img src=x onerror=alert(1)>", model.graph.output[0].name: "../../../etc/passwd\x07"}
    for node in model.graph.node:
        node.input[:] = [fresh.get(name, name) for name in node.input]
        node.output[:] = [fresh.get(name, name) for name in node.output]
    image(model).name, model.graph.output[0].name = fresh.values()


def hostile_description(model: onnx.ModelProto) -> None:
    model.doc_string = "\x1b]0;owned\x07<script>alert(1)</script>"
    model.producer_name = "\x1b[31mnobody"
    model.domain = "../../x"
    activation(model).doc_string = "\x1b[31m" * 1000


def hostile_axes(model: onnx.ModelProto) -> None:
    for index, name in enumerate(("\x1b[2J", None, "<b>h</b>", "w\u202e")):
        if name is not None:
            image_dims(model)[index].dim_param = name


# --- bombs, byte by byte ------------------------------------------------------------------------------------------------------------------


def varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def with_graph_fields(content: bytes) -> Callable[[bytes], bytes]:
    """More of the graph behind the model: a parser merges the two."""
    return lambda detector: detector + field(GRAPH, content)


def nested_graphs(depth: int) -> bytes:
    """A node whose attribute is a graph whose node's attribute is a graph ..."""
    graph = b""
    for _ in range(depth):
        attribute = field(1, b"body") + field(6, graph) + varint(20 << 3) + varint(5)
        graph = field(NODE, field(2, b"y") + field(4, b"If") + field(5, attribute))
    return graph


def random_bytes(detector: bytes, count: int = 200, seed: int = 0) -> bytes:
    rng = random.Random(seed)
    changed = bytearray(detector)
    for _ in range(count):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def random_structure(detector: bytes) -> bytes:
    """200 random bytes in the first and last 2,000, where names and nodes lie."""
    return random_bytes(detector[:2000], 100, 1) + detector[2000:-2000] + random_bytes(detector[-2000:], 100, 2)


def truncated(share: float) -> Callable[[bytes], bytes]:
    return lambda detector: detector[: max(int(len(detector) * share), 1)]


def zipped(detector: bytes) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", detector[:10_000])
    return out.getvalue()


def huge_prefix(detector: bytes) -> bytes:
    return b"\x08\x06\x3a\xff\xff\xff\xff\x0f" + detector[8:200]


# --- what lies there instead of a model ---------------------------------------------------------------------------------------------------


def as_link(detector: bytes, path: Path) -> None:
    """The model itself, behind a symbolic link: sound."""
    (path.parent / "real.onnx").write_bytes(detector)
    path.symlink_to("real.onnx")


def as_loop(_detector: bytes, path: Path) -> None:
    path.symlink_to(path.name)


def as_folder(_detector: bytes, path: Path) -> None:
    path.mkdir()


def as_pipe(_detector: bytes, path: Path) -> None:
    os.mkfifo(path)


def as_device(_detector: bytes, path: Path) -> None:
    path.symlink_to("/dev/zero")


def as_hole(size: int) -> Write:
    """A file of nothing but a hole: it takes no place on disk and reads as zeros."""

    def make(_detector: bytes, path: Path) -> None:
        with path.open("wb") as stream:
            stream.truncate(size)

    return make


def as_padded(detector: bytes, path: Path) -> None:
    """The model, then a hole."""
    path.write_bytes(detector)
    os.truncate(path, 256 * 2**20)


# --- data beside the model ----------------------------------------------------------------------------------------------------------------


def said(location: str, offset: int | str = 0, length: int | str | None = None) -> Callable[[onnx.TensorProto, Path], dict[str, str]]:
    """Nothing is put anywhere; the model only says it is."""

    def put(tensor: onnx.TensorProto, _folder: Path) -> dict[str, str]:
        return {"location": location, "offset": str(offset), "length": str(len(tensor.raw_data) if length is None else length)}

    return put


def laid(change: Callable[[bytes], bytes] = bytes, **entries: str) -> Callable[[onnx.TensorProto, Path], dict[str, str]]:
    """The data in weights.bin, changed; `entries` override what the model says of it."""

    def put(tensor: onnx.TensorProto, folder: Path) -> dict[str, str]:
        (folder / "weights.bin").write_bytes(change(tensor.raw_data))
        return {"location": "weights.bin", "offset": "0", "length": str(len(tensor.raw_data)), **entries}

    return put


def linked_out(tensor: onnx.TensorProto, folder: Path) -> dict[str, str]:
    (folder / "weights.bin").symlink_to("/etc/hostname")
    return said("weights.bin")(tensor, folder)


def linked_folder(tensor: onnx.TensorProto, folder: Path) -> dict[str, str]:
    (folder / "data").symlink_to("/etc")
    return said("data/hostname")(tensor, folder)


def piped(tensor: onnx.TensorProto, folder: Path) -> dict[str, str]:
    os.mkfifo(folder / "weights.bin")
    return said("weights.bin")(tensor, folder)


def poisoned(data: bytes) -> bytes:
    array = np.frombuffer(data, np.float32).copy()
    array[:] = np.nan
    return array.tobytes()


LFS = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)
OUTSIDE = "outside the model's folder"
ALREADY_FOUND: dict[str, Mutation] = {
    "200_random_bytes": rewritten(random_bytes, "is damaged|unsound"),
    "all_zero_weights": edited(zero_all, "zero throughout"),
    "conv_wrong_channels": edited(dims_of_weight(lambda s: [s[0], s[1] * 2, *s[2:]]), r"gets \d+ channels, but its weight"),
    "cycle": edited(close_cycle, "is part of a cycle"),
    "dangling_input": edited(dangle, "uses does_not_exist, which nothing produces"),
    "duplicate_output_name": edited(make_twice, "is produced more than once"),
    "dynamic_all_axes": edited(input_shape("n", "c", "h", "w"), found=("dynamic-axes",)),
    "empty": rewritten(lambda _: b"", "is empty"),
    "external_data_absolute_path": beside(said("/etc/hostname"), f"{OUTSIDE}; got /etc/hostname"),
    "external_data_missing_file": beside(said("weights_not_here.bin"), "is missing; got no file weights_not_here.bin"),
    "external_data_path_traversal": beside(said("../../../../etc/hostname"), rf"{OUTSIDE}; got \.\./"),
    "hostile_metadata": edited(
        metadata(names="__import__('os').system('echo pwned')", stride="abc", imgsz="[640"),
        found=("hostile-metadata", "unreadable-metadata"),
    ),
    "hostile_names": edited(hostile_names, found=("hostile-name",)),
    "huge_length_prefix": rewritten(huge_prefix, "claims 4294967295 bytes in a file of 200"),
    "inf_weights": edited(poison(np.inf), "0 NaN and [0-9]+ infinite values"),
    "initializer_dims_2e31": edited(dims(2**31, 48, 1, 1), r"claims \[2147483648 x 48 x 1 x 1\] elements, more than 2\^31"),
    "initializer_negative_dim": edited(dims(-24), r"has a negative dimension: \[-24\]"),
    "initializer_short_raw_data": edited(shorten_data, r"holds \d+ bytes, but float32 \[.*\] takes \d+"),
    "input_uint8_type_mismatch": edited(input_type(TensorProto.UINT8), "is uint8, which Conv does not take"),
    "input_without_shape": edited(without_shape, "input .* has no shape"),
    "ir_9999": edited(ir(9999), "IR version is 9999"),
    "lfs_pointer": rewritten(lambda _: LFS, "a git-LFS pointer"),
    "missing_initializer": edited(drop_bias, "uses the weight .*, which the model does not hold"),
    "nan_weights": edited(poison(np.nan), "[0-9]+ NaN and 0 infinite values"),
    "no_graph": edited(no_graph, "holds no graph"),
    "no_inputs": edited(cleared("input"), "has no inputs"),
    "no_nodes": edited(cleared("node"), "has no nodes"),
    "no_opset": edited(no_opset, "imports no opset"),
    "no_outputs": edited(cleared("output"), "has no outputs"),
    "not_topologically_sorted": edited(shuffle, "before it is produced; nodes must be sorted"),
    "opset_9999": edited(opset(9999), "opset of ai.onnx is 9999"),
    "text": rewritten(lambda _: b"this is not a model\n", "got text: this is not a model"),
    "truncated_01pct": rewritten(truncated(0.01), "cut short"),
    "truncated_50pct": rewritten(truncated(0.5), "cut short"),
    "truncated_99pct": rewritten(truncated(0.99), "cut short"),
    "unknown_domain": edited(operator("Relu", "com.example.custom"), "belongs to the domain com.example.custom"),
    "unknown_op": edited(operator("NoSuchOp"), "NoSuchOp .* is an operator that does not exist in ONNX"),
    "zip_header": rewritten(lambda _: b"PK\x03\x04" + bytes(100), "a zip archive"),
}
MORE: dict[str, Mutation] = {
    # weights
    "one_nan": edited(poison_one, "holds 1 NaN and 0 infinite values"),
    "minus_inf": edited(poison(-np.inf), "0 NaN and [0-9]+ infinite values"),
    "inf_bias": edited(poison_bias, "0 NaN and 1 infinite values"),
    "absurd_weights": edited(poison(1e30), "no training gives"),
    "nan_running_mean": edited(insert_normalisation(2, np.nan), "tensor bn_2 holds 1 NaN"),
    "inf_running_variance": edited(insert_normalisation(3, np.inf), "tensor bn_3 holds 0 NaN and 1 infinite"),
    "negative_running_variance": edited(insert_normalisation(3, -1.0), "negative variance"),
    "nan_in_a_constant_node": edited(in_a_constant, "holds 1 NaN"),
    "nan_in_constant_floats": edited(in_constant_floats, "holds 1 NaN|does not have in opset"),
    "nan_in_float16": edited(in_half, "holds 1 NaN"),
    "nan_quantization_scale": edited(nan_quantization, "tensor scale holds 1 NaN"),
    "nan_weights_beside": beside(laid(poisoned), "NaN and 0 infinite values"),
    "one_zero_weight": edited(zero_one, "zero throughout"),
    "zero_weights_beside": beside(laid(lambda data: bytes(len(data))), "zero throughout"),
    "text_weight": edited(text_weight, "is string, which Conv does not take"),
    # shapes
    "wrong_bias": edited(longer_bias, r"bias of \[\d+\] for \d+ filters"),
    "wrong_group": edited(attribute("group", 7), "with group 7|into 7 groups"),
    "no_group": edited(attribute("group", 0), "0 groups"),
    "negative_group": edited(attribute("group", -1), "-1 groups"),
    "no_stride": edited(attribute("strides", [0, 0]), "strides"),
    "negative_dilation": edited(attribute("dilations", [-1, 1]), "dilations"),
    "negative_pads": edited(attribute("pads", [-5000, -5000, 0, 0]), "pads"),
    "endless_pads": edited(attribute("pads", [2**40, 2**40, 2**40, 2**40]), "pads"),
    "wrong_kernel": edited(attribute("kernel_shape", [5, 7]), "kernel_shape"),
    "too_many_strides": edited(attribute("strides", [1] * 1000), "strides"),
    "attribute_of_another_kind": edited(attribute("strides", "two"), "strides"),
    "weight_rank_3": edited(dims_of_weight(lambda s: s[:3]), "the ranks differ"),
    "weight_of_no_filters": edited(dims_of_weight(lambda s: [0, *s[1:]]), "holds no elements"),
    "product_beyond_2e64": edited(dims(2**32, 2**32, 2, 2), r"more than 2\^31"),
    "zero_hides_2e62": edited(dims(0, 2**62, 2**62), r"more than 2\^31"),
    "rank_40": edited(dims(*[1] * 40), "32 axes"),
    "sparse_2e80": edited(sparse_dims, r"more than 2\^31"),
    "input_rank_3": edited(input_shape(3, 64, 64), "the ranks differ|contradict each other"),
    "input_rank_1000": edited(input_shape(*["n"] * 1000), "32 axes|the ranks differ"),
    "input_of_no_pixels": edited(input_shape(1, 3, 0, 0), "has no elements"),
    "input_negative": edited(input_shape(1, 3, -64, 64), "negative dimension"),
    "input_1x1": edited(input_shape(1, 3, 1, 1), "contradict each other"),
    "input_65535": edited(input_shape(1, 3, 65535, 65535), r"more than 2\^31|GiB"),
    "batch_2e20": edited(input_shape(2**20, 3, 640, 640), r"more than 2\^31|GiB"),
    "input_int64": edited(input_type(TensorProto.INT64), "is int64, which Conv does not take"),
    "input_string": edited(input_type(TensorProto.STRING), "is string, which Conv does not take"),
    "input_type_999": edited(input_type(999), "element type 999, which ONNX does not know"),
    "input_sequence": edited(of_kind("sequence"), "of the kind sequence, which"),
    "input_optional": edited(of_kind("optional"), "of the kind optional, which"),
    "input_map": edited(of_kind("map"), "of the kind map, which"),
    # structure
    "output_nobody_makes": edited(unmade_output, "output nobody_makes_this of graph"),
    "node_that_waits_for_itself": edited(eat_itself, "is part of a cycle of 1 nodes"),
    "backwards": edited(backwards, "before it is produced"),
    "initializer_twice": edited(hold_twice, "is declared more than once"),
    "input_twice": edited(declare_twice, "is declared more than once"),
    "initializer_shadows_the_image": edited(hold_the_image, "has no inputs"),
    "initializers_listed_as_inputs": edited(list_the_weights),
    "no_ir": edited(ir(0), "IR version is 0"),
    "negative_ir": edited(ir(-1), "IR version is -1"),
    "opset_0": edited(opset(0), "opset of ai.onnx is 0"),
    "opset_min": edited(opset(-(2**63)), "opset of ai.onnx is -9223372036854775808"),
    "hostile_operator": edited(operator("\x1b[31mEvil\n" * 100), r"\\x1b\[31mEvil"),
    "hostile_domain": edited(operator("Relu", "\x1b[2J" + "d" * 10_000), r"belongs to the domain \\x1b\[2J"),
    "hostile_contributed": edited(contributed("NoSuchContribution", depth=2**62), found=("unlisted-operator",), not_a_detector="."),
    "function_that_calls_itself": edited(calling(function("f", "f")), "calls itself"),
    "functions_that_call_each_other": edited(calling(function("f", "g"), function("g", "f")), "calls itself"),
    "functions_that_double": edited(
        calling(*(function(f"f{n}", f"f{n + 1}", f"f{n + 1}") for n in range(60)), function("f60")), "when inlined"
    ),
    "function_twice": edited(calling(function("f"), function("f", "f")), "is declared more than once"),
    # what would never end, or take all memory there is
    "endless_loop": edited(looping("", ""), "never ends"),
    "loop_of_2e62": edited(looping("trips", "", scalar("trips", 2**62)), "runs 4611686018427387904 times"),
    "scan_of_2e33": edited(scanning, r"more than 2\^31|GiB"),
    "constant_of_shape_of_terabytes": edited(making("ConstantOfShape", ["to"], int64("to", 2**20, 2**20)), r"more than 2\^31|GiB"),
    "expand_to_terabytes": edited(expand_a_number, r"more than 2\^31|GiB"),
    "tile_to_terabytes": edited(tile_the_image, r"more than 2\^31|GiB"),
    "resize_to_terabytes": edited(resize_the_image, r"more than 2\^31|GiB"),
    "pad_to_terabytes": edited(pad_the_image, r"more than 2\^31|GiB"),
    "range_of_terabytes": edited(
        making("Range", ["a", "b", "c"], scalar("a", 0), scalar("b", 2**50), scalar("c", 1), elem_type=TensorProto.INT64),
        r"more than 2\^31|GiB",
    ),
    "random_terabytes": edited(making("RandomNormal", [], shape=[2**20, 2**20]), r"more than 2\^31|GiB"),
    "five_gibibytes": edited(making("ConstantOfShape", ["to"], int64("to", 5, 2**28)), "would need 5 GiB"),
    # what is said
    "metadata_of_100_mb": edited(metadata(note="a" * 100_000_000), found=("hostile-metadata",)),
    "metadata_slow_to_search": edited(metadata(note="lambda " * 9000, more="< " * 30_000), found=()),
    "metadata_deep_literal": edited(metadata(names="[" * 30_000), found=("unreadable-metadata",)),
    "metadata_long_sum": edited(metadata(names="1" + "+1" * 30_000), found=("unreadable-metadata",)),
    "metadata_long_minus": edited(metadata(names="-" * 60_000 + "1"), found=("unreadable-metadata",)),
    "metadata_million_classes": edited(many_classes, found=("unreadable-metadata",)),
    "metadata_image_size": edited(metadata(imgsz="[99999, 99999]"), found=("unreadable-metadata",)),
    "metadata_page": edited(metadata(author="<script>alert(1)</script>", **{"\x1b[2J": "../../x"}), found=("hostile-metadata",)),
    "hostile_class_names": edited(metadata(names="{0: '\\x1b[2J<script>', 1: '../../x'}"), found=("hostile-metadata",)),
    "hostile_tensor_names": edited(hostile_tensors, found=("hostile-name",)),
    "hostile_description": edited(hostile_description, found=("hostile-name",)),
    "hostile_axis_names": edited(hostile_axes, found=("dynamic-axes", "hostile-name")),
    # bytes
    "truncated_after_1_byte": rewritten(lambda data: data[:1], "is damaged"),
    "truncated_10pct": rewritten(truncated(0.1), "cut short"),
    "truncated_last_byte": rewritten(lambda data: data[:-1], "cut short"),
    "random_structure": rewritten(random_structure, "is damaged|unsound"),
    "random_noise": rewritten(lambda data: random.Random(0).randbytes(len(data)), "is damaged"),
    "zeros": rewritten(lambda data: bytes(len(data)), "nothing but zeros"),
    "doubled": rewritten(lambda data: data + data, "more than once"),
    "no_utf8": rewritten(lambda data: data.replace(b"Conv", b"Co\xffv", 1), "that is not UTF-8"),
    "zip": rewritten(zipped, "a zip archive"),
    "gzip": rewritten(lambda data: gzip.compress(data[:100_000]), "a gzip archive"),
    "page": rewritten(lambda _: b"\n\n<!doctype html>\n<html><head><title>Sign in</title>", "a web page"),
    "pickle": rewritten(lambda _: b"\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00cposix\nsystem\n", "a Python pickle"),
    "text_of_another_script": rewritten(lambda _: "不是模型。\n".encode() * 40, "got text: 不是模型"),
    "five_million_empty_nodes": rewritten(with_graph_fields(b"\x0a\x00" * 5_000_000), "more than 50,000 nodes"),
    "five_million_empty_weights": rewritten(with_graph_fields(b"\x2a\x00" * 5_000_000), "more than 100,000 initializers"),
    "ten_million_axes": rewritten(
        with_graph_fields(field(INITIALIZER, b"\x0a\x80\xad\xe2\x04" + b"\x01" * 10_000_000)), "more than|axes|element type 0"
    ),
    "ten_million_attributes": rewritten(with_graph_fields(field(NODE, b"\x2a\x00" * 10_000_000)), "more than [0-9,]+"),
    "million_metadata": rewritten(lambda data: data + field(METADATA, field(1, b"a")) * 1_000_000, "more than [0-9,]+"),
    "million_opsets": rewritten(lambda data: data + b"\x42\x00" * 1_000_000, "more than [0-9,]+"),
    "million_functions": rewritten(lambda data: data + field(25, b"") * 1_000_000, "more than [0-9,]+"),
    "million_outputs": rewritten(with_graph_fields(field(12, field(1, b"y")) * 1_000_000), "more than [0-9,]+"),
    "two_hundred_thousand_nodes": rewritten(
        with_graph_fields(field(NODE, field(1, b"x") + field(2, b"y") + field(4, b"Relu")) * 199_000), "more than [0-9,]+ nodes"
    ),
    "million_ir_versions": rewritten(lambda data: data + b"\x08\x08" * 5_000_000, "more than [0-9,]+"),
    "graphs_in_graphs": rewritten(with_graph_fields(nested_graphs(40)), "deep"),
    "graphs_in_graphs_1000": rewritten(with_graph_fields(nested_graphs(1000)), "deep"),
    # data beside the model
    "data_link_out": beside(linked_out, f"{OUTSIDE}; got a link"),
    "data_folder_link_out": beside(linked_folder, f"{OUTSIDE}; got a link"),
    "data_pipe": beside(piped, "is missing|not a regular file"),
    "data_device": beside(said("/dev/zero"), OUTSIDE),
    "data_backslash": beside(said("..\\w.bin"), OUTSIDE),
    "data_empty_name": beside(said(""), OUTSIDE),
    "data_is_the_model": beside(said(NAME), "no training gives|NaN"),
    "data_offset_beyond": beside(laid(offset=str(2**40)), "does not fit"),
    "data_offset_negative": beside(laid(offset="-4"), "does not fit"),
    "data_offset_text": beside(laid(offset="1e9"), "does not fit"),
    "data_length_2e62": beside(laid(length=str(2**62)), "does not fit"),
    "data_longer_than_the_file": beside(laid(lambda data: data[:-1]), "does not fit"),
    # what lies there instead of a model
    "symbolic_link": Mutation(as_link),
    "link_to_itself": Mutation(as_loop, "cannot be read|too many"),
    "folder": Mutation(as_folder, "not a regular file"),
    "pipe": Mutation(as_pipe, "not a regular file"),
    "device": Mutation(as_device, "not a regular file"),
    "hole_of_1_9_gib": Mutation(as_hole(int(1.9 * 2**30)), "nothing but zeros"),
    "hole_of_3_gib": Mutation(as_hole(3 * 2**30), "nothing but zeros"),
    "padded_to_256_mib": Mutation(as_padded, "is damaged|corrupt"),
}
MUTATIONS: dict[str, Mutation] = {**ALREADY_FOUND, **MORE}
