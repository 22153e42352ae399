"""What docs/performance.md says of models over HTTP: what clients get of the engine's own throughput, and what joining requests changes.

Everything that computes is a process of its own, started once: the server (`serving_server.py`), which has the model in another one; the
same engine called in a loop (`serving_loop.py`); and each client (`serving_client.py`). They take turns, round by round.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgewright.stats import Latency, paired_ratio

HERE = Path(__file__).parent
CLIENTS = 8
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PICTURES = 8  # different ones; each client sends its own


@dataclass
class Helper:
    """A process that is told a line and answers with a line of JSON."""

    process: "subprocess.Popen[str]"

    def tell(self, **words: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"{self.process.args} has ended"
        words: dict[str, Any] = json.loads(line)
        return words

    def ask(self, **words: Any) -> dict[str, Any]:
        self.tell(**words)
        return self.hear()


@contextmanager
def helper_process(script: str, *arguments: object) -> Iterator[Helper]:
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Helper(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()  # it ends by itself, and so does what it started
            process.wait(60)


def throughput(model: Path, *, requests: int, rounds: int) -> dict[str, Any]:
    """`requests` of each of 8 clients, a picture in uint8 each, against the same engine called as often in a loop; one thread."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        path, shape = of_bytes(model, folder / "pictures.onnx")
        write_bodies(folder, "pictures", shape)
        loop = stack.enter_context(helper_process("serving_loop.py", path, folder, 1))
        server = stack.enter_context(helper_process("serving_server.py", path, 1, 1))
        told = server.hear()
        clients = [
            stack.enter_context(helper_process("serving_client.py", told["port"], folder / f"{at % PICTURES}.body"))
            for at in range(CLIENTS)
        ]
        pids = {"server": [told["pid"]], "model": [told["model_pid"]], "clients": [client.process.pid for client in clients]}
        each = requests // rounds
        served(clients, 2)
        loop.ask(count=4)
        loop_s, http_s, latencies, statuses = [], [], [], Counter[str]()
        cpu_s = dict.fromkeys(pids, 0.0)
        for turn in range(rounds):
            for what in ("loop", "http") if turn % 2 == 0 else ("http", "loop"):
                if what == "loop":
                    loop_s.append(loop.ask(count=each * CLIENTS)["seconds"] / (each * CLIENTS))
                    continue
                before = cpu_of(pids)
                found = served(clients, each)
                for part, seconds in cpu_of(pids).items():
                    cpu_s[part] += seconds - before[part]
                http_s.append(found["seconds"] / (each * CLIENTS))
                latencies += found["latencies_ms"]
                statuses.update(found["statuses"])
            print(f"round {turn + 1} of {rounds}: {loop_s[-1] / http_s[-1]:.3f}", flush=True)
        asked = each * CLIENTS * rounds
        share = paired_ratio([[seconds * 1e3] for seconds in loop_s], [[seconds * 1e3] for seconds in http_s])
        return {
            "model": model.name,
            "clients": CLIENTS,
            "requests": asked,
            "statuses": dict(statuses),
            "unanswered": asked - statuses.total(),
            "share": share.to_json(),
            "loop_per_s": round(1 / float(np.median(loop_s)), 2),
            "http_per_s": round(1 / float(np.median(http_s)), 2),
            "latency_ms": Latency.of(latencies).to_json(),
            "cpu_ms": {part: round(seconds / asked * 1e3, 2) for part, seconds in cpu_s.items()},
            "bytes": {"request": (folder / "0.body").stat().st_size, "answer": clients_answer_bytes(clients)},
        }


def joining(models: dict[str, tuple[Path, tuple[int, ...], int]], *, threads: tuple[int, ...], rounds: int) -> dict[str, Any]:
    """Each model asked by 8 clients, joined where that was learned to help, against each alone. Models with the shape of a request, and how
    many of them each client sends.
    """
    rows = []
    for name, (path, shape, requests) in models.items():
        for count in threads:
            rows.append({"model": name, "threads": count, **_joined(path, shape, count, requests, rounds)})
            print(f"{name}, {count} thread(s): {rows[-1]['speed']}, {rows[-1]['shares']}", flush=True)
    return {"rows": rows}


def _joined(path: Path, shape: tuple[int, ...], threads: int, requests: int, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        write_bodies(folder, "x" if len(shape) == 2 else "pictures", shape)
        sides: dict[int, tuple[Helper, list[Helper]]] = {}
        for most in (1, 8):
            server = stack.enter_context(helper_process("serving_server.py", path, threads, most))
            port = server.hear()["port"]
            sides[most] = (
                server,
                [stack.enter_context(helper_process("serving_client.py", port, folder / f"{at % PICTURES}.body")) for at in range(CLIENTS)],
            )
        for _, clients in sides.values():
            served(clients, max(1, requests // rounds))  # it learns
        taken: dict[int, list[list[float]]] = {1: [], 8: []}
        latencies: dict[int, list[float]] = {1: [], 8: []}
        for turn in range(rounds):
            for most in (1, 8) if turn % 2 == 0 else (8, 1):
                found = served(sides[most][1], max(1, requests // rounds))
                assert set(found["statuses"]) == {"200"}, found["statuses"]
                taken[most].append([found["seconds"] * 1e3])
                latencies[most] += found["latencies_ms"]
        learned = sides[8][0].ask(figures=True)
        return {
            "speed": paired_ratio(taken[1], taken[8]).to_json(),
            "alone_ms": learned["alone_ms"],
            "shares": learned["shares"],
            "apart_why": learned["apart_why"],
            "together": round(learned["success"] / learned["executions"], 2),
            "trials": learned["trials"],
            "latency_ms": {str(most): Latency.of(samples).to_json() for most, samples in latencies.items()},
        }


def served(clients: list[Helper], each: int) -> dict[str, Any]:
    """All clients ask so often, at the same time: from the first to begin until the last is answered."""
    for client in clients:
        client.tell(count=each)
    found = [client.hear() for client in clients]
    statuses = Counter[str]()
    for one in found:
        statuses.update(one["statuses"])
    return {
        "seconds": max(one["ended_s"] for one in found) - min(one["began_s"] for one in found),
        "latencies_ms": [ms for one in found for ms in one["latencies_ms"]],
        "statuses": statuses,
    }


def clients_answer_bytes(clients: list[Helper]) -> int:
    return int(clients[0].ask(count=1)["answer_bytes"])


def cpu_of(pids: dict[str, list[int]]) -> dict[str, float]:
    """User and system time so far (s)."""
    found = {}
    for part, of in pids.items():
        fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in of]
        found[part] = sum(int(each[11]) + int(each[12]) for each in fields) / TICKS_PER_S
    return found


# --- models and requests ----------------------------------------------------------------------------------------------------------------


def of_bytes(model: Path, path: Path) -> tuple[Path, tuple[int, ...]]:
    """The detector behind a cast: uint8 pictures, 1 x high x wide x 3, as cameras give them; and that shape."""
    found = onnx.load(model)
    graph = found.graph
    given = graph.input[0]
    batch, _, high, wide = [axis.dim_param or axis.dim_value for axis in given.type.tensor_type.shape.dim]
    assert isinstance(high, int)
    assert isinstance(wide, int)
    graph.initializer.append(numpy_helper.from_array(np.float32(1 / 255), "one_of_255"))
    nodes = [
        helper.make_node("Transpose", ["pictures"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["numbers", "one_of_255"], [given.name]),
    ]
    for at, node in enumerate(nodes):
        graph.node.insert(at, node)
    graph.input.remove(given)
    graph.input.append(helper.make_tensor_value_info("pictures", TensorProto.UINT8, [batch, high, wide, 3]))
    onnx.save(found, path)
    return path, (1, high, wide, 3)


def of_any_batch(model: Path, path: Path) -> Path:
    """The same network with its first axis left free, as an export with a dynamic batch has it."""
    found = onnx.load(model)
    for value in (*found.graph.input, *found.graph.output):
        value.type.tensor_type.shape.dim[0].Clear()
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del found.graph.value_info[:]
    reshapes = {node.input[1] for node in found.graph.node if node.op_type == "Reshape"}
    for tensor in found.graph.initializer:
        if tensor.name in reshapes:
            shape = numpy_helper.to_array(tensor).copy()
            assert shape[0] == 1, tensor.name
            shape[0] = 0  # as it comes
            tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))
    onnx.save(found, path)
    return path


def layers(path: Path, *, count: int, wide: int) -> Path:
    """A plain network of so many layers of wide x wide: its weights are read once, however many rows it computes."""
    rng = np.random.default_rng(0)
    nodes, held, at = [], [], "x"
    for number in range(count):
        held.append(numpy_helper.from_array((rng.normal(size=(wide, wide)) / wide**0.5).astype(np.float32), f"w{number}"))
        nodes.append(helper.make_node("MatMul", [at, f"w{number}"], [f"m{number}"]))
        nodes.append(helper.make_node("Relu", [f"m{number}"], [at := f"r{number}"]))
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", wide]) for name in ("x", at)]
    graph = helper.make_graph(nodes, "layers", ports[:1], ports[1:], held)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def write_bodies(folder: Path, name: str, shape: tuple[int, ...]) -> None:
    """`N.body`: a whole HTTP request, head and all; `N.npy`: its tensor."""
    for at in range(PICTURES):
        rng = np.random.default_rng(at)
        is_picture = len(shape) == 4
        tensor = rng.integers(0, 256, shape, np.uint8) if is_picture else rng.normal(size=shape).astype(np.float32)
        raw = tensor.tobytes()
        described = {
            "name": name,
            "shape": shape,
            "datatype": "UINT8" if is_picture else "FP32",
            "parameters": {"binary_data_size": len(raw)},
        }
        words = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}}).encode()
        head = (
            "POST /v2/models/model/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/octet-stream\r\n"
            f"Inference-Header-Content-Length: {len(words)}\r\nContent-Length: {len(words) + len(raw)}\r\n\r\n"
        )
        (folder / f"{at}.body").write_bytes(head.encode() + words + raw)
        np.save(folder / f"{at}.npy", tensor)
