"""Small graphs made on the spot: one sound classifier, and what tests change about it."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def tensor(name, values, dtype=np.float32):
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def random(name, *shape, seed=0):
    return tensor(name, np.random.default_rng(seed).normal(size=shape))


def value(name, shape, elem_type=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, elem_type, shape)


def model_of(nodes, inputs, outputs, initializers=(), *, opset=17, domains=(), functions=()):
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    graph = helper.make_graph(nodes, "net", inputs, outputs, list(initializers))
    return helper.make_model(graph, opset_imports=imports, ir_version=8, functions=list(functions))


def sound_model() -> onnx.ModelProto:
    """Conv with a zero bias, Relu, pool, Gemm: 8*3*3*3 + 8 + 8*10 + 10 = 314 parameters."""
    nodes = [
        helper.make_node("Conv", ["image", "w", "b"], ["features"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["features"], ["active"], name="relu"),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], name="flatten"),
        helper.make_node("Gemm", ["flat", "m", "c"], ["scores"], name="gemm"),
    ]
    weights = [random("w", 8, 3, 3, 3), tensor("b", np.zeros(8)), random("m", 8, 10), random("c", 10)]
    return model_of(nodes, [value("image", [1, 3, 16, 16])], [value("scores", [1, 10])], weights)


def initializer(model, name):
    return next(held for held in model.graph.initializer if held.name == name)


def replace_initializer(model, new):
    initializer(model, new.name).CopyFrom(new)


def node(model, name):
    return next(held for held in model.graph.node if held.name == name)
