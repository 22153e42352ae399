"""Requests of several clients computed in one run by a real engine: the answers are those of each alone, whatever else is among them."""

import json
import os
import signal
import threading
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bare_models import save, save_table
from edgewright.run.memory import MIB
from edgewright.serve import batching, model_worker
from model_server import ask, asked, floats, infer, served, wait_until, worker_of
from tiny_detector import save_tiny_detector

WIDE = 16
WORDS = np.random.default_rng(0).normal(size=(50, WIDE)).astype(np.float32)
LAYER = np.random.default_rng(1).normal(size=(WIDE, WIDE)).astype(np.float32) / 4


def save_layers(path, count=3, wide=WIDE):
    """Rows through layers of tanh."""
    nodes, at = [], "x"
    for number in range(count):
        nodes += [helper.make_node("MatMul", [at, "w"], [f"m{number}"]), helper.make_node("Tanh", [f"m{number}"], [f"t{number}"])]
        at = f"t{number}"
    nodes.append(helper.make_node("Identity", [at], ["y"]))
    nodes.append(helper.make_node("ArgMax", [at], ["which"], axis=1, keepdims=0))
    layer = LAYER if wide == WIDE else np.random.default_rng(1).normal(size=(wide, wide)).astype(np.float32) / wide**0.5
    graph = helper.make_graph(
        nodes,
        "layers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", wide])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", wide]),
            helper.make_tensor_value_info("which", TensorProto.INT64, ["batch"]),
        ],
        [numpy_helper.from_array(layer, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def layers(x, count=3):
    for _ in range(count):
        x = np.tanh(x @ LAYER)
    return x


def save_words(path):
    """The vectors of words by their number; a number that is none fails."""
    graph = helper.make_graph(
        [helper.make_node("Gather", ["list", "words"], ["vectors"])],
        "words",
        [helper.make_tensor_value_info("words", TensorProto.INT64, ["batch", 4])],
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["batch", 4, WIDE])],
        [numpy_helper.from_array(WORDS, "list")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def save_softmax(path, axis):
    free = {"x": (TensorProto.FLOAT, ["batch", 4])}
    return save(path, [helper.make_node("Softmax", ["x"], ["y"], axis=axis)], free, {"y": (TensorProto.FLOAT, ["batch", 4])})


@pytest.fixture
def eager(monkeypatch):
    """Whatever it costs, those who wait are computed together."""
    monkeypatch.setattr(batching, "WORTH", 1e9)
    monkeypatch.setattr(batching, "LATER", 1e9)
    monkeypatch.setattr(batching, "EVERY", 1)


def clients(count, ask_one, times):
    """`ask_one(client, time)` from so many threads; what they return, in any order."""
    found = []

    def work(client):
        found.extend([ask_one(client, time_) for time_ in range(times)])

    threads = [threading.Thread(target=work, args=(client,)) for client in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def paused(worker, asking):
    """Requests pile up behind a process that is stopped, so that they are together when it goes on."""
    os.kill(worker.pid, signal.SIGSTOP)
    threads = [threading.Thread(target=each) for each in asking]
    for thread in threads:
        thread.start()
    wait_until(lambda: worker.pending == len(asking))
    return threads


def tensor(headers, content, shape, dtype=np.float32):
    raw = content[int(headers["Inference-Header-Content-Length"]) :][: int(np.prod(shape)) * np.dtype(dtype).itemsize]
    return np.frombuffer(raw, dtype).reshape(shape)


def learn(server, name, **tensors):
    """Until it has been learned what a few together take."""
    worker = worker_of(server, name)
    for _ in range(20):
        infer(server, name, **tensors)

    def ask_one():
        infer(server, name, **{key: np.roll(array, 1) for key, array in tensors.items()})

    for _ in range(30):
        threads = paused(worker, [ask_one] * 8)
        os.kill(worker.pid, signal.SIGCONT)
        for thread in threads:
            thread.join()
        known = [policy.shares for _, policy in worker.line.policies()]
        if worker.line.apart_why is not None or any(4 in shares for shares in known):
            return
    raise AssertionError("it never learned")


def test_the_answers_of_many_are_those_of_each(tmp_path, eager):
    with served({"layers": save_layers(tmp_path / "layers.onnx")}) as server:
        learn(server, "layers", x=floats(*range(WIDE))[None] / WIDE)

        def ask_one(client, time_):
            rows = 1 + client % 2
            x = np.random.default_rng((client, time_)).normal(size=(rows, WIDE)).astype(np.float32)
            status, headers, content = infer(server, "layers", x=x)
            entries = json.loads(content[: int(headers["Inference-Header-Content-Length"])])["outputs"]
            assert [(entry["datatype"], entry["shape"]) for entry in entries] == [("FP32", [rows, WIDE]), ("INT64", [rows])]
            y = tensor(headers, content, (rows, WIDE))
            return status, np.allclose(y, layers(x), atol=1e-5)

        worker = worker_of(server, "layers")
        before = worker.figures.executions, worker.figures.success
        assert clients(8, ask_one, 25) == [(200, True)] * 200
        figures = worker.figures
        assert figures.success - before[1] == 200
        assert figures.executions - before[0] < 200
        statistics = asked(server, "/v2/models/layers/stats")[1]["model_stats"][0]
        metrics = dict(line.rsplit(" ", 1) for line in ask(server, "/metrics")[2].decode().splitlines() if not line.startswith("#"))
    assert statistics["inference_count"] == statistics["inference_stats"]["success"]["count"] == figures.success
    assert statistics["execution_count"] == figures.executions
    batches = {entry["batch_size"]: entry["compute_infer"]["count"] for entry in statistics["batch_stats"]}
    assert sum(batches.values()) == figures.executions
    assert sum(size * count for size, count in batches.items()) == figures.success
    assert max(batches) > 1
    assert int(metrics['edgewright_batch_size_count{model="layers"}']) == figures.executions
    assert int(metrics['edgewright_batch_size_sum{model="layers"}']) == figures.success
    assert int(metrics['edgewright_batch_size_bucket{model="layers",le="1"}']) == batches.get(1, 0)
    assert int(metrics['edgewright_batch_trials_total{model="layers"}']) == figures.trials > 0
    assert int(metrics['nv_inference_exec_count{model="layers",version="1"}']) == figures.executions


def test_one_that_is_wrong_costs_the_others_nothing(tmp_path, eager):
    with served({"words": save_words(tmp_path / "words.onnx")}) as server:
        learn(server, "words", words=np.arange(4)[None])
        worker = worker_of(server, "words")
        found = {}

        def ask_one(number):
            words = np.array([[number, 1, 2, 99 if number == 3 else 3]])
            found[number] = words, *infer(server, "words", words=words)

        threads = paused(worker, [lambda number=number: ask_one(number) for number in range(8)])
        os.kill(worker.pid, signal.SIGCONT)
        for thread in threads:
            thread.join()
        for number, (words, status, headers, content) in found.items():
            assert status == (400 if number == 3 else 200)
            if status == 200:
                np.testing.assert_array_equal(tensor(headers, content, (1, 4, WIDE)), WORDS[words])
        assert worker.restarts == 0
        assert worker.line.apart_why is None, "a client's fault is no reason for good"
        assert worker.figures.failures == {"BACKEND": 1}


@pytest.mark.parametrize(("name", "goes"), [("rows", True), ("columns", False), ("table", False), ("tiny", False)])
def test_a_model_whose_rows_depend_on_each_other_computes_each_alone(tmp_path, eager, name, goes):
    make = {
        "rows": lambda path: save_softmax(path, 1),
        "columns": lambda path: save_softmax(path, 0),
        "table": save_table,
        "tiny": save_tiny_detector,
    }[name]
    x = {"rows": floats(1, 2, 3, 4)[None], "columns": floats(1, 2, 3, 4, 4, 3, 2, 2).reshape(2, 4), "table": floats(1, 2, 3)}.get(name)
    given = {"x": x} if x is not None else {"images": np.zeros((1, 3, 64, 64), np.float32)}
    with served({name: make(tmp_path / "model.onnx")}) as server:
        worker = worker_of(server, name)
        if name != "tiny":
            learn(server, name, **given)
        alone = infer(server, name, **given)
        found = clients(6, lambda _client, _time: infer(server, name, **given), 5)
        assert (worker.line.apart_why is None) == goes
        assert worker.restarts == 0
        assert (worker.figures.executions < worker.figures.success) == goes
    assert all(status == 200 and content == alone[2] for status, _, content in found)


def test_a_process_that_ends_with_several_in_hand_costs_none_of_them(tmp_path, eager):
    with served({"layers": save_layers(tmp_path / "layers.onnx")}) as server:
        x = floats(*range(WIDE))[None] / WIDE
        learn(server, "layers", x=x)
        worker, found = worker_of(server, "layers"), []
        threads = paused(worker, [lambda: found.append(infer(server, "layers", x=x)[0])] * 12)
        together = [run.size for run in worker._in_hand.values()]
        os.kill(worker.pid, signal.SIGKILL)
        for thread in threads:
            thread.join()
        assert max(together) > 1
        assert sorted(found) == [200] * (12 - together.count(1)) + [503] * together.count(1)
        assert worker.restarts == 1
        assert "ended" in worker.line.apart_why
        before = worker.figures.executions
        assert clients(4, lambda _client, _time: infer(server, "layers", x=x)[0], 5) == [200] * 20
        assert worker.figures.executions - before == 20


def test_it_can_be_switched_off(tmp_path, eager):
    with served({"layers": save_layers(tmp_path / "layers.onnx")}, host={"most_together": 1}) as server:
        x = floats(*range(WIDE))[None] / WIDE
        assert clients(8, lambda _client, _time: infer(server, "layers", x=x)[0], 10) == [200] * 80
        figures = worker_of(server, "layers").figures
        assert figures.executions == figures.success == 80


def test_where_memory_has_no_room_for_more_each_is_computed_alone(tmp_path, eager, monkeypatch):
    monkeypatch.setattr(model_worker, "LEAST_SLOT", 1 << 12)
    with served({"layers": save_layers(tmp_path / "layers.onnx", 1, 1000)}, host={"memory_bytes": 400 * MIB}) as server:
        worker = worker_of(server, "layers")
        x = np.linspace(0, 1, 1000, dtype=np.float32)[None]
        for _ in range(10):
            assert infer(server, "layers", x=x)[0] == 200
        budget = worker._budget
        budget.admit("another", budget.room_bytes - 5000, "another")
        found = clients(8, lambda _client, _time: infer(server, "layers", x=x)[0], 10)
        assert found == [200] * 80
        assert worker.restarts == 0
        assert worker.figures.executions == worker.figures.success


@pytest.mark.soak
def test_it_learns_what_it_is_good_for(tmp_path):
    """Ten layers of 1000 x 1000: a run reads 40 MB of weights, however many rows."""
    path = save_layers(tmp_path / "layers.onnx", 10, 1000)
    rates = {}
    for most in (1, 8):
        with served({"layers": path}, host={"most_together": most}) as server:
            x = np.linspace(0, 1, 1000, dtype=np.float32)[None]
            began_s = time.monotonic()
            assert clients(8, lambda _c, _t, server=server, x=x: infer(server, "layers", x=x)[0], 200) == [200] * 1600
            rates[most] = 1600 / (time.monotonic() - began_s)
            figures = worker_of(server, "layers").figures
            shares = [policy.shares for _, policy in worker_of(server, "layers").line.policies()]
            print(f"most {most}: {rates[most]:.0f} a second, {figures.success / figures.executions:.2f} together, {shares}")
    assert rates[8] > 0.95 * rates[1]
