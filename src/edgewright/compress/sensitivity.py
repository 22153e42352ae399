"""Which layers does quantization hurt, and what would each cost in float? Measured, not guessed.

One layer at a time goes back to float in the finished integer network: how much of the disagreement with the float network
goes away is its gain, how much longer the network then takes is its charge. Both come from the same runs, so a layer that the
runtime handles better in float (a stem of three channels, mostly) shows itself with a negative charge.

Where integers meet float the runtime converts, and neighbours share that price: a few regions (the first layers together, the
head's convolutions together) are therefore measured as one, before the single layers. The best region that costs next to nothing is
kept in float while these are questioned, because beside one large error nothing else can be seen. Gains do not quite add up either; so
layers are only put in an order here, and the sets that begin that order are judged as whole models by whoever asks (`fit`).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgewright.compress.disagreement import Reference
from edgewright.progress import Progress, unseen

CARRIERS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}  # what has weights, or multiplies features with features
# A handful of activations that belong to the layer before them: what stays between the two would be rounded once more for nothing.
ACTIVATIONS = {"Sigmoid", "Mul", "Relu", "LeakyRelu", "HardSwish", "HardSigmoid", "Clip", "Tanh", "PRelu", "Elu", "Softplus", "Mish"}
QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
MOST_BEGINNING = 6  # layers: channels are few there, and what is few in channels gains least from integers
WARM_RUNS = 2  # before a model is timed
NEXT_TO_NOTHING = 0.01  # of the network's time: what eight alternating runs can tell from nothing
SMALLEST_GAIN = 1e-9  # keeps a layer without gain and without charge from dividing by nothing


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution or matrix product with the activation behind it: what goes to float together."""

    name: str
    nodes: tuple[str, ...]
    layers: int = 1  # more for a region


@dataclass(frozen=True, slots=True)
class LayerSensitivity:
    """What one layer, or a region of several `layers`, in float would change.

    `gain`: the share of the integer network's disagreement that goes away (may be below 0). `charge`: how much longer the whole
    network then takes, as a share of its time (below 0: it is faster).
    """

    layer: str
    nodes: tuple[str, ...]
    gain: float
    charge: float
    layers: int = 1

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Regions, held against the integer network as it is (`error`: its disagreement); and all layers, in the order of the network, held
    against the integer network with the region called `start` in float (None: as it is).
    """

    error: float
    regions: tuple[LayerSensitivity, ...]
    start: str | None
    layers: tuple[LayerSensitivity, ...]

    @property
    def start_region(self) -> LayerSensitivity | None:
        """The region that is in float in any case."""
        return next((region for region in self.regions if region.layer == self.start), None)

    def to_json(self) -> dict[str, Any]:
        measured = {"regions": self.regions, "layers": self.layers}
        return {"error": self.error, "start": self.start, **{name: [each.to_json() for each in found] for name, found in measured.items()}}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Sensitivity":
        """What `to_json` wrote."""
        return cls(document["error"], _parsed(document["regions"]), document["start"], _parsed(document["layers"]))


def _parsed(rows: list[dict[str, Any]]) -> tuple[LayerSensitivity, ...]:
    return tuple(LayerSensitivity(**{**row, "nodes": tuple(row["nodes"])}) for row in rows)


def layers_of(graph: onnx.GraphProto) -> list[Layer]:
    """The layers of a float graph whose nodes have names, in its order."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return [Layer(node.name, (node.name, *_activation(node.output[0], readers))) for node in graph.node if node.op_type in CARRIERS]


def regions_of(graph: onnx.GraphProto) -> list[Layer]:
    """The first few layers together, and the layers that end the network together."""
    layers = layers_of(graph)
    ends = {node.name for node in graph.node if {output.name for output in graph.output}.intersection(node.output)}
    beginnings = [(f"the first {count} layers", layers[:count]) for count in range(2, MOST_BEGINNING + 1) if count < len(layers)]
    last = [layer for layer in layers if layer.name in ends]
    groups = [*beginnings, *([("the head's last layers", last)] if len(last) > 1 else [])]
    return [Layer(name, tuple(node for layer in group for node in layer.nodes), len(group)) for name, group in groups]


def _activation(tensor: str, readers: dict[str, list[onnx.NodeProto]]) -> list[str]:
    """The nodes that read nothing but `tensor` and one another: its activation, as one node or as several (x * sigmoid(x))."""
    own, names = {tensor}, []
    for _ in range(2):
        for node in [node for name in sorted(own) for node in readers.get(name, ())]:
            if node.op_type in ACTIVATIONS and node.name not in names and _reads_only(node, own):
                names.append(node.name)
                own.add(node.output[0])
    return names


def _reads_only(node: onnx.NodeProto, own: AbstractSet[str]) -> bool:
    # Clip and PRelu read constants as well; what decides is that every *feature* comes from this layer, and Mul has two of those.
    features = node.input if node.op_type == "Mul" else node.input[:1]
    return all(name in own for name in features)


def revert(quantized: onnx.ModelProto, source: onnx.GraphProto, nodes: AbstractSet[str]) -> onnx.ModelProto:
    """A copy of a Q/DQ network in which `nodes` read float again: their features before rounding, their weights from `source`.

    What they give is still rounded where an integer layer reads it. The same as quantizing anew without these nodes, in a
    twentieth of the time.
    """
    reverted = onnx.ModelProto()
    reverted.CopyFrom(quantized)
    producer = {name: node for node in reverted.graph.node for name in node.output}
    floats = {tensor.name: tensor for tensor in source.initializer}
    originals = {node.name: node for node in source.node}
    added: set[str] = set()
    for node in reverted.graph.node:
        if node.name not in nodes:
            continue
        for at, name in enumerate(node.input):
            original = originals[node.name].input[at]
            if original in floats:
                node.input[at] = f"{original}/float"  # the quantizer has given the old name to what it dequantizes
                if original not in added:
                    added.add(original)
                    reverted.graph.initializer.add().CopyFrom(floats[original])
                    reverted.graph.initializer[-1].name = node.input[at]
            else:
                node.input[at] = _before_rounding(name, producer)
    _end_in_float(reverted.graph, producer, nodes)
    _drop_dead(reverted.graph)
    return reverted


def _end_in_float(graph: onnx.GraphProto, producer: dict[str, onnx.NodeProto], nodes: AbstractSet[str]) -> None:
    """Let the network's outputs be what float nodes give, not what is left of it after rounding."""
    for output in graph.output:
        last = producer[output.name]
        before = _before_rounding(output.name, producer)
        if before != output.name and producer[before].name in nodes:
            last.op_type = "Identity"
            last.input[:] = [before]
            del last.attribute[:]


def _drop_dead(graph: onnx.GraphProto) -> None:
    """Remove nodes that lead nowhere: ONNX Runtime would run them."""
    wanted = {output.name for output in graph.output}
    live = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            live.append(node)
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(live)]
    del graph.node[:]
    graph.node.extend(kept)


def _before_rounding(name: str, producer: dict[str, onnx.NodeProto]) -> str:
    """The tensor that a Q/DQ pair rounds into `name`; `name` itself where there is no such pair."""
    dequantize = producer.get(name)
    quantize = producer.get(dequantize.input[0]) if dequantize is not None and dequantize.op_type == DEQUANTIZE else None
    return quantize.input[0] if quantize is not None and quantize.op_type == QUANTIZE else name


def measure_sensitivity(
    quantized: onnx.ModelProto,
    source: onnx.GraphProto,
    reference: Reference,
    open_model: Callable[[Path], Any],
    scratch: Path,
    *,
    clock: Callable[[], float] = time.perf_counter,
    progress: Progress = unseen,
) -> Sensitivity:
    """Gain and charge of the regions and of every layer of `source` in its Q/DQ form `quantized`, on the reference's pictures.

    `open_model` opens a file in the engine and with the threads that the charge is meant for; `scratch` is a file to write models to.
    Runs of the two networks alternate, so that what slows the machine for a moment slows both.
    """
    regions, layers = regions_of(source), layers_of(source)

    def question(model: onnx.ModelProto, parts: Sequence[Layer], begun: int) -> tuple[float, tuple[LayerSensitivity, ...]]:
        with _opened(model, open_model, scratch) as whole:
            error = reference.error(whole.run(feed) for feed in reference.feeds)
            found = []
            for done, part in enumerate(parts, begun + 1):
                with _opened(revert(model, source, set(part.nodes)), open_model, scratch) as other:
                    left, ratio = _side_by_side(whole, other, reference, clock)
                found.append(LayerSensitivity(part.name, part.nodes, (error - left) / error if error > 0 else 0.0, ratio - 1, part.layers))
                progress(done, len(regions) + len(layers))
        return error, tuple(found)

    error, by_region = question(quantized, regions, 0)
    start = best_start(by_region)
    begun_from = quantized if start is None else revert(quantized, source, set(start.nodes))
    rest = [layer for layer in layers if start is None or layer.name not in start.nodes]
    _, by_layer = question(begun_from, rest, len(regions))
    return Sensitivity(error, by_region, None if start is None else start.layer, by_layer)


@contextmanager
def _opened(model: onnx.ModelProto, open_model: Callable[[Path], Any], scratch: Path) -> Iterator[Any]:
    onnx.save(model, scratch)
    try:
        engine = open_model(scratch)
    finally:
        scratch.unlink(missing_ok=True)
    try:
        yield engine
    finally:
        engine.close()


def best_start(regions: Sequence[LayerSensitivity]) -> LayerSensitivity | None:
    """The region that gains most of those that cost next to nothing; None where none gains."""
    cheap = [region for region in regions if region.charge <= NEXT_TO_NOTHING and region.gain > SMALLEST_GAIN]
    return max(cheap, key=lambda region: region.gain, default=None)


def _side_by_side(whole: Any, other: Any, reference: Reference, clock: Callable[[], float]) -> tuple[float, float]:
    """The other network's disagreement, and the median of how many times longer it takes on the same picture."""
    for _ in range(WARM_RUNS):
        other.run(reference.feeds[0])
        whole.run(reference.feeds[0])
    ratios, outputs = [], []
    for turn, feed in enumerate(reference.feeds):
        # Whoever runs second finds the other's data in the caches: they take turns at that too.
        took: dict[bool, float] = {}
        for is_other in (turn % 2 == 1, turn % 2 == 0):
            started = clock()
            answer = (other if is_other else whole).run(feed)
            took[is_other] = clock() - started
            if is_other:
                outputs.append(answer)
        ratios.append(took[True] / max(took[False], 1e-9))
    return reference.error(outputs), float(np.median(ratios))


def by_gain_for_charge(sensitivity: Sensitivity) -> list[LayerSensitivity]:
    """The layers worth having in float, most accuracy for the time first.

    Charges below `NEXT_TO_NOTHING` count as that much: else a lucky run would put a useless layer at the front.
    """
    useful = [layer for layer in sensitivity.layers if layer.gain > SMALLEST_GAIN]
    return sorted(useful, key=lambda layer: -layer.gain / max(layer.charge, NEXT_TO_NOTHING))
