"""Where one scale has to serve ranges that are far apart, so that the small one drowns: found from the graph and what was seen in it.

The best known case is the last Concat of a detector: boxes in pixels (0..640) beside probabilities (0..1). 256 steps over 640 are 2.5 each,
and every score becomes 0 (ultralytics/ultralytics#25045, microsoft/onnxruntime#14233). No node is named: an operator that joins
tensors gives its output one scale, whatever its inputs hold.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx

from edgewright.compress.calibrate import Range, TensorStatistics
from edgewright.graph.finding import Finding, Severity
from edgewright.printable import printable

FAR_APART = 16.0  # 256 steps over the larger range leave the smaller one 16: four bits
# Which inputs of an operator end up in its one output, side by side.
JOINS = {"Concat": slice(None), "Where": slice(1, None)}
# What only moves values about: its output has the scale of its input, and passes it on.
MOVES = {"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"}
WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul"}


@dataclass(frozen=True, slots=True)
class ScaleFinding:
    """One scale over ranges `ratio` times apart: of the inputs that `node` joins, or of the channels of `tensor`, which it makes.

    `ranges` are those of the inputs, by name, or of the narrowest and widest channel; `keep_float` are the nodes that must stay in float
    so that no integer tensor spans them.
    """

    code: Literal["joined-scale", "channel-scale"]
    severity: Severity
    node: str
    tensor: str
    ranges: tuple[tuple[str, Range], ...]
    ratio: float
    count: int
    keep_float: tuple[str, ...]

    def to_finding(self) -> Finding:
        """In words."""
        (narrow, a), (wide, b) = self.ranges[0], self.ranges[-1]
        what = f"one scale for ranges {self.ratio:.0f} times apart: {printable(narrow)} {_show(a)} and {printable(wide)} {_show(b)}"
        if self.code == "channel-scale":
            what = f"{what}; {self.count} channels are more than {FAR_APART:.0f} times narrower than the widest"
        fix = f"keep {_named(self.keep_float)} in float, or cut the head" if self.keep_float else "watch its sensitivity; nothing to do yet"
        return Finding(self.code, self.severity, printable(self.node), what, fix)

    def to_json(self) -> dict[str, Any]:
        return {
            **self.to_finding().to_json(),
            "ratio": self.ratio,
            "ranges": [[printable(name), list(found)] for name, found in self.ranges],
            "keep_float": [printable(name) for name in self.keep_float],
        }


def scale_findings(graph: onnx.GraphProto, statistics: Mapping[str, TensorStatistics]) -> list[ScaleFinding]:
    """Every place where one scale covers ranges more than 16 times apart, worst first; the graph's nodes have names.

    An error where an output of the network is made of it, with no convolution between that could rescale it; else a warning where tensors
    are joined, and information where channels of one tensor differ: that is common, and per-channel weights take up most of it.
    """
    producer = {name: node for node in graph.node for name in node.output}
    flow = _Flow(graph)
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    found = [_joined(node, statistics, held, flow) for node in graph.node if node.op_type in JOINS]
    found += [_channels(producer[name], name, stats, flow) for name, stats in statistics.items() if name in producer]
    return sorted((each for each in found if each is not None), key=lambda each: (SEVERITIES.index(each.severity), -each.ratio))


SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


def nodes_to_keep_float(findings: Iterable[ScaleFinding]) -> list[str]:
    """The smallest set of nodes without which no scale spans what the errors and warnings among the findings complain of."""
    return list(dict.fromkeys(name for each in findings if each.severity != "info" for name in each.keep_float))


class _Flow:
    """Who reads a tensor, and what becomes of it."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.outputs = {output.name for output in graph.output}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def bound_to(self, name: str) -> list[str]:
        """All nodes that would give these values, as they are, an integer form: what reads the tensor, and what reads it once moved."""
        nodes, pending = [], [name]
        while pending:
            for node in self.readers.get(pending.pop(), ()):
                nodes.append(node.name)
                pending += node.output if node.op_type in MOVES else ()
        return list(dict.fromkeys(nodes))

    def ends_in_output(self, name: str) -> bool:
        """Whether it reaches an output of the network without passing through weights."""
        seen, pending = {name}, [name]
        while pending:
            at = pending.pop()
            if at in self.outputs:
                return True
            fresh = {out for node in self.readers.get(at, ()) if node.op_type not in WEIGHTED for out in node.output} - seen
            seen |= fresh
            pending += fresh
        return False


def _joined(
    node: onnx.NodeProto, statistics: Mapping[str, TensorStatistics], held: Mapping[str, np.ndarray[Any, Any]], flow: _Flow
) -> ScaleFinding | None:
    ranges = {name: _range_of(name, statistics, held) for name in node.input[JOINS[node.op_type]]}
    reaching = sorted(
        ((name, each) for name, each in ranges.items() if each and _magnitude(each) > 0), key=lambda pair: _magnitude(pair[1])
    )
    if len(reaching) < 2:
        return None
    ratio = _magnitude(reaching[-1][1]) / _magnitude(reaching[0][1])
    if ratio <= FAR_APART:
        return None
    tensor = node.output[0]
    severity: Severity = "error" if flow.ends_in_output(tensor) else "warning"
    return ScaleFinding(
        "joined-scale", severity, node.name, tensor, tuple(reaching), ratio, len(reaching), (node.name, *flow.bound_to(tensor))
    )


def _channels(node: onnx.NodeProto, tensor: str, stats: TensorStatistics, flow: _Flow) -> ScaleFinding | None:
    if stats.channel_low is None or stats.channel_high is None:
        return None
    magnitude = np.maximum(-stats.channel_low, stats.channel_high)
    alive = np.flatnonzero(magnitude > 0)  # a dead channel is exact at any scale
    if alive.size < 2:
        return None
    narrow, wide = (int(alive[at]) for at in (np.argmin(magnitude[alive]), np.argmax(magnitude[alive])))
    ratio = float(magnitude[wide]) / float(magnitude[narrow])
    if ratio <= FAR_APART:
        return None
    is_output = tensor in flow.outputs
    ranges = tuple((f"channel {at}", (float(stats.channel_low[at]), float(stats.channel_high[at]))) for at in (narrow, wide))
    count = int((magnitude[alive] * FAR_APART < magnitude[wide]).sum())
    keep = (node.name, *flow.bound_to(tensor)) if is_output else ()
    return ScaleFinding("channel-scale", "error" if is_output else "info", node.name, tensor, ranges, ratio, count, keep)


def _range_of(name: str, statistics: Mapping[str, TensorStatistics], held: Mapping[str, np.ndarray[Any, Any]]) -> Range | None:
    if name in statistics:
        return statistics[name].low, statistics[name].high
    values = held.get(name)
    if values is None or values.dtype.kind != "f" or not values.size:
        return None
    return float(values.min()), float(values.max())


def _magnitude(found: Range) -> float:
    return max(-found[0], found[1])


def _show(found: Range) -> str:
    return f"{found[0]:.3g}..{found[1]:.3g}"


def _named(names: tuple[str, ...]) -> str:
    shown = ", ".join(printable(name) for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
