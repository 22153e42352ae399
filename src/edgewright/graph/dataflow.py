"""Does every name lead somewhere: dangling, duplicate, cyclic and unsorted names, through nested graphs and functions.

A graph inside a node may use the names around it. So each block is examined by itself, and the names it lacks count as used by the
node that holds it; what the outermost block lacks as well exists nowhere.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import onnx

from edgewright.graph.finding import Finding, error
from edgewright.graph.walk import Block, node_label, normal_domain, roots, subblocks
from edgewright.graph.weights import LEARNED, WEIGHTS
from edgewright.printable import printable

RE_EXPORT = "export the model again"
MAX_CALLS = 50_000

_Key = tuple[str, str, str]  # of a function: domain, name, overload


@dataclass(slots=True)
class _Flow:
    """What one block's names come to."""

    findings: list[Finding] = field(default_factory=list)
    free: dict[str, tuple[str, bool]] = field(default_factory=dict)  # name -> (who uses it, as a weight)


def dataflow_findings(model: onnx.ModelProto) -> list[Finding]:
    found = []
    for block in roots(model):
        flow = _examine(block)
        found += flow.findings
        found += [_missing(name, user, as_weight=weight) for name, (user, weight) in flow.free.items()]
    return found


def _missing(name: str, user: str, *, as_weight: bool) -> Finding:
    if as_weight:
        return error("missing-initializer", user, f"uses the weight {printable(name)}, which the model does not hold", RE_EXPORT)
    return error("dangling-input", user, f"uses {printable(name)}, which nothing produces", RE_EXPORT)


def _examine(block: Block) -> _Flow:
    flow = _Flow()
    flow.findings += _duplicates(block)
    given = _given(block)
    producer = {name: index for index, node in enumerate(block.nodes) for name in node.output if name}
    needs: list[set[int]] = []
    late: list[tuple[int, str]] = []
    for index, node in enumerate(block.nodes):
        needs.append(set())
        for name, user, weight in _uses(node, flow):
            if name in given:
                continue
            if name not in producer:
                flow.free.setdefault(name, (user, weight))
                continue
            needs[index].add(producer[name])
            if producer[name] >= index:
                late.append((index, name))
    for name in block.outputs:
        if name not in given and name not in producer:
            flow.free.setdefault(name, (f"output {printable(name)} of {block.where}", False))
    flow.findings += _order(block, needs, late)
    return flow


def _given(block: Block) -> set[str]:
    return {*block.inputs, *(tensor.name for tensor in block.initializers), *(sparse.values.name for sparse in block.sparse)}


def _uses(node: onnx.NodeProto, flow: _Flow) -> Iterator[tuple[str, str, bool]]:
    learned = (*WEIGHTS.get(node.op_type, ()), *LEARNED.get(node.op_type, ()))
    for index, name in enumerate(node.input):
        if name:  # an empty name is an optional input left out
            yield name, node_label(node), index > 0 and index in learned
    for block in subblocks(node):
        inner = _examine(block)
        flow.findings += inner.findings
        yield from ((name, user, weight) for name, (user, weight) in inner.free.items())


def _duplicates(block: Block) -> Iterator[Finding]:
    made = Counter(name for node in block.nodes for name in node.output if name)
    given = _given(block)
    for name, times in made.items():
        if times > 1 or name in given:
            yield error("duplicate-name", f"value {printable(name)}", "is produced more than once", RE_EXPORT)
    held = Counter(tensor.name for tensor in block.initializers)
    # The names of nodes mean nothing in a function, which is inlined; in a graph, ONNX Runtime refuses two that are the same.
    named = Counter(node.name for node in block.nodes if node.name and block.opsets is None)
    for kind, counts in (("input", Counter(block.inputs)), ("initializer", held), ("node", named)):
        yield from (
            error("duplicate-name", f"{kind} {printable(name)}", "is declared more than once", RE_EXPORT)
            for name, times in counts.items()
            if times > 1
        )


def _order(block: Block, needs: list[set[int]], late: list[tuple[int, str]]) -> list[Finding]:
    if not late:
        return []
    stuck = _stuck(needs)
    if stuck:
        cycle = _cycle(needs, stuck)
        where = node_label(block.nodes[min(cycle)])
        return [error("cycle", where, f"is part of a cycle of {len(cycle)} nodes: it waits for its own result", RE_EXPORT)]
    index, name = late[0]
    what = f"uses {printable(name)} before it is produced; nodes must be sorted"
    return [error("unsorted", node_label(block.nodes[index]), what, f"{RE_EXPORT}, or sort its nodes topologically")]


def _stuck(needs: list[set[int]]) -> list[int]:
    """The nodes that never become ready when each runs as soon as its inputs exist."""
    waiting = [len(wanted) for wanted in needs]
    users = defaultdict(list)
    for index, wanted in enumerate(needs):
        for producer in wanted:
            users[producer].append(index)
    ready = [index for index, count in enumerate(waiting) if count == 0]
    while ready:
        for user in users[ready.pop()]:
            waiting[user] -= 1
            if waiting[user] == 0:
                ready.append(user)
    return [index for index, count in enumerate(waiting) if count]


def _cycle(needs: list[set[int]], stuck: list[int]) -> list[int]:
    """Going back from one stuck node to another it waits for must come round."""
    blocked, path, place = set(stuck), [stuck[0]], {stuck[0]: 0}
    while True:
        before = min(needs[path[-1]] & blocked)
        if before in place:
            return path[place[before] :]
        place[before] = len(path)
        path.append(before)


def call_findings(model: onnx.ModelProto) -> list[Finding]:
    """Functions that are there twice, that call themselves, or that are called so often that inlining them would not end."""
    times = Counter(_named(function) for function in model.functions)
    twice = next((key for key, count in times.items() if count > 1), None)
    if twice is not None:
        return [error("duplicate-name", f"function {printable(twice[1])}", "is declared more than once", RE_EXPORT)]
    bodies: dict[_Key, Sequence[onnx.NodeProto]] = {_named(function): function.node for function in model.functions}
    sizes: dict[_Key, int | None] = {}
    whole = 0
    for key in (_key(node) for node in _all_nodes(model.graph.node)):
        whole += _inlined_size(key, bodies, sizes) if key in bodies else 0
    for key in bodies:
        if _inlined_size(key, bodies, sizes) > MAX_CALLS:
            what = f"calls itself, or grows beyond {MAX_CALLS:,} nodes when inlined"
            return [error("endless-function", f"function {printable(key[1])}", what, RE_EXPORT)]
    if whole > MAX_CALLS:
        return [error("endless-function", "graph", f"grows beyond {MAX_CALLS:,} nodes when its functions are inlined", RE_EXPORT)]
    return []


def _inlined_size(root: _Key, bodies: dict[_Key, Sequence[onnx.NodeProto]], sizes: dict[_Key, int | None]) -> int:
    """Nodes of a function with every call replaced; None in `sizes` marks a function whose count is still open.

    A chain of functions may be longer than Python's stack, so the walk keeps its own.
    """
    pending = [root]
    while pending:
        key = pending[-1]
        if sizes.get(key) is not None:
            pending.pop()
            continue
        calls = [_key(node) for node in _all_nodes(bodies[key])]
        callees = [call for call in calls if call in bodies]
        unknown = [call for call in callees if sizes.get(call) is None]
        if key in sizes and unknown:
            return MAX_CALLS + 1
        sizes[key] = None if unknown else min(MAX_CALLS + 1, len(calls) + sum(sizes[call] or 0 for call in callees))
        pending.extend(dict.fromkeys(unknown))
    return sizes[root] or 0


def _all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    pending = list(nodes)
    while pending:
        node = pending.pop()
        yield node
        for block in subblocks(node):
            pending.extend(block.nodes)


def _key(node: onnx.NodeProto) -> _Key:
    return normal_domain(node.domain), node.op_type, node.overload


def _named(function: onnx.FunctionProto) -> _Key:
    return normal_domain(function.domain), function.name, function.overload
