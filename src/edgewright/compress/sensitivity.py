"""Which layers does quantization hurt, and what would each cost in float? Measured, not guessed.

What a layer does is measured with that layer alone in integers and everything else in float: the disagreement with the float network is
then its own. Errors of many layers add up like noise, in squares, so a layer's share of the sum of squares is what it would bring to put
it back into float (its gain). The other way round, one layer in float and everything else in integers, tells nothing: any change rolls
the rounding of all other layers anew, which moves the disagreement by a tenth, and a layer's own part is a hundredth.

What a layer costs in float (its charge) is measured that other way round, because the price is paid where integers meet float:
runs of the network with and without it in float alternate. A layer that the runtime handles better in float (a stem of three channels,
mostly) shows itself with a negative charge. Neighbours share the price of converting, so a few regions (the first layers together, the
head's last layers together) are timed first; the one that is worth most stays in float while the others are timed.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgewright.compress.disagreement import Feed, Reference
from edgewright.progress import Progress, unseen
from edgewright.whole_file import write_whole

CARRIERS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}  # what has weights, or multiplies features with features
# A handful of activations that belong to the layer before them: what stays between the two would be rounded once more for nothing.
ACTIVATIONS = {"Sigmoid", "Mul", "Relu", "LeakyRelu", "HardSwish", "HardSigmoid", "Clip", "Tanh", "PRelu", "Elu", "Softplus", "Mish"}
QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
MOST_BEGINNING = 6  # layers: channels are few there, and what is few in channels gains least from integers
ALONE_IMAGES = 4  # the shares of the worst layers on four pictures and on four others differ by a tenth to a fifth
WARM_RUNS = 2  # before a model is timed
NEXT_TO_NOTHING = 0.01  # of the network's time: what six alternating runs can tell from nothing
GAIN_FOR_TIME = 2.0  # what the better single layers gain for their charge: YOLOv8n's, about two percent for each percent of the time
SMALLEST_GAIN = 1e-3  # a share below is not worth a question of what it costs


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution or matrix product with the activation behind it: what goes to float together."""

    name: str
    nodes: tuple[str, ...]
    layers: int = 1  # more for a region


@dataclass(frozen=True, slots=True)
class LayerSensitivity:
    """What one layer, or a region of several `layers`, in float would change.

    `gain`: its share (0..1) of the squared disagreement that all layers cause, each alone. `charge`: how much longer the whole
    network takes with it in float, as a share of its time (below 0: it is faster); None where it gains too little to be asked.
    """

    layer: str
    nodes: tuple[str, ...]
    gain: float
    charge: float | None
    layers: int = 1

    @property
    def price(self) -> float:
        """What having it in float is reckoned at: its charge, though a lucky run must not put a useless layer at the front."""
        return math.inf if self.charge is None else max(self.charge, NEXT_TO_NOTHING)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """All layers, in the order of the network, and some regions of it; `error`: the disagreement of the network all in integers.

    Charges of regions, and of the layers in the region called `start`, are against the network all in integers; those of the other layers
    against the network with `start` in float (None: no region is).
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
    """A copy of a Q/DQ network in which `nodes` compute in float: their weights from `source`, and what a float node gives a float node
    unrounded. What comes from an integer node, or goes to one, stays rounded.

    The same as quantizing anew without these nodes, in a twentieth of the time.
    """
    reverted = onnx.ModelProto()
    reverted.CopyFrom(quantized)
    _bring_back_activations(reverted.graph, source, nodes)
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
                continue
            before = _before_rounding(name, producer)
            if before not in producer or producer[before].name in nodes:
                node.input[at] = before
    _end_in_float(reverted.graph, producer, nodes)
    _drop_dead(reverted.graph)
    return reverted


def _bring_back_activations(graph: onnx.GraphProto, source: onnx.GraphProto, nodes: AbstractSet[str]) -> None:
    """Put back what the quantizer has left to the rounding: it lets the layer before a ReLU or Clip give that one's output, because the
    range it is rounded to begins at 0. Without rounding the activation is needed.
    """
    there = {node.name for node in graph.node}
    missing = {node.output[0]: node for node in source.node if node.name in nodes and node.name not in there}
    brought_back = []
    for node in graph.node:
        brought_back.append(onnx.NodeProto.FromString(node.SerializeToString()))
        left_out = missing.get(node.output[0])
        if left_out is not None:
            brought_back[-1].output[0] = f"{node.output[0]}/before"
            brought_back.append(onnx.NodeProto.FromString(left_out.SerializeToString()))
            brought_back[-1].input[0] = brought_back[-2].output[0]
    del graph.node[:]
    graph.node.extend(brought_back)


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
    """Gain and charge of every layer of `source`, and of some regions, in its Q/DQ form `quantized`, on the reference's pictures.

    `open_model` opens a file in the engine and with the threads that the charge is meant for; `scratch` is a file to write models to.
    """
    layers, regions = layers_of(source), regions_of(source)
    steps = _Steps(2 * len(layers) + len(regions), progress)
    opened = partial(_opened, open_model=open_model, scratch=scratch)
    shares = _shares(layers, quantized, source, reference.first(ALONE_IMAGES), opened, steps)

    def timed(parts: Sequence[Layer], whole: Any, begun: AbstractSet[str] = frozenset()) -> Iterator[LayerSensitivity]:
        for part in parts:
            gain = sum(share for layer, share in zip(layers, shares, strict=True) if layer.name in part.nodes)
            charge = None
            if gain > SMALLEST_GAIN:
                with opened(revert(quantized, source, {*part.nodes, *begun})) as other:
                    charge = _side_by_side(whole, other, reference.feeds, clock) - 1
            steps.done()
            yield LayerSensitivity(part.name, part.nodes, gain, charge, part.layers)

    with opened(quantized) as whole:
        error = reference.error(whole.run(feed) for feed in reference.feeds)
        by_region = tuple(timed(regions, whole))
        start = best_start(by_region)
        within = list(timed([layer for layer in layers if start is not None and layer.name in start.nodes], whole))
    begun = set(start.nodes) if start is not None else set()
    with opened(revert(quantized, source, begun)) as whole:
        whole.run(reference.feeds[0])
        without = list(timed([layer for layer in layers if layer.name not in begun], whole, begun))
    return Sensitivity(error, by_region, None if start is None else start.layer, (*within, *without))


def _shares(
    layers: Sequence[Layer],
    quantized: onnx.ModelProto,
    source: onnx.GraphProto,
    reference: Reference,
    opened: Callable[[onnx.ModelProto], AbstractContextManager[Any]],
    steps: "_Steps",
) -> list[float]:
    """Each layer's share of the squared disagreement that they cause when each is alone in integers."""
    every = {node.name for node in source.node}
    squares = []
    for layer in layers:
        with opened(revert(quantized, source, every - set(layer.nodes))) as alone:
            squares.append(reference.error(alone.run(feed) for feed in reference.feeds) ** 2)
        steps.done()
    total = sum(squares)
    return [square / total if total > 0 else 0.0 for square in squares]


class _Steps:
    """Counts up to a known number, and says so."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._total, self._progress, self._done = total, progress, 0

    def done(self) -> None:
        self._done += 1
        self._progress(self._done, self._total)


@contextmanager
def _opened(model: onnx.ModelProto, *, open_model: Callable[[Path], Any], scratch: Path) -> Iterator[Any]:
    write_whole(scratch, model.SerializeToString(), sync=False)
    try:
        engine = open_model(scratch)
    finally:
        scratch.unlink(missing_ok=True)
    try:
        yield engine
    finally:
        engine.close()


def best_start(regions: Sequence[LayerSensitivity]) -> LayerSensitivity | None:
    """The region that is worth most: its gain, less what single layers would gain for its charge; None where none is worth its time."""
    worth = {
        region.layer: region.gain - GAIN_FOR_TIME * region.charge
        for region in regions
        if region.charge is not None and region.gain > SMALLEST_GAIN
    }
    return max((region for region in regions if worth.get(region.layer, 0) > 0), key=lambda region: worth[region.layer], default=None)


def _side_by_side(whole: Any, other: Any, feeds: Sequence[Feed], clock: Callable[[], float]) -> float:
    """The median of how many times longer the other network takes on the same picture."""
    for _ in range(WARM_RUNS):
        other.run(feeds[0])  # the whole one has run before
    ratios = []
    for turn, feed in enumerate(feeds):
        # Whoever runs second finds the other's data in the caches: they take turns at that too.
        took: dict[bool, float] = {}
        for is_other in (turn % 2 == 1, turn % 2 == 0):
            started = clock()
            (other if is_other else whole).run(feed)
            took[is_other] = clock() - started
        ratios.append(took[True] / max(took[False], 1e-9))
    return float(np.median(ratios))


def by_gain_for_charge(sensitivity: Sensitivity) -> list[LayerSensitivity]:
    """The layers worth having in float, most accuracy for the time first."""
    start = sensitivity.start_region
    held = start.nodes if start is not None else ()
    useful = [layer for layer in sensitivity.layers if layer.gain > SMALLEST_GAIN and layer.layer not in held]
    return sorted(useful, key=lambda layer: -layer.gain / layer.price)
