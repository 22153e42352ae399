"""Models in processes of their own: any sound ONNX model; killed, stopped and too large ones; and their memory is back."""

import json
import os
import signal
import socket
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bare_models import save_sum, save_table
from edgewright.errors import HostError, InputError
from edgewright.graph.describe import describe_detector
from edgewright.run.memory import MIB
from edgewright.run.ring import Ring
from edgewright.serve import connection
from edgewright.serve.model_host import Repository
from edgewright.serve.model_worker import times_said
from model_server import ask, asked, floats, infer, request, served, wait_until, worker_of
from tiny_detector import save_tiny_detector


def budget_of(server):
    return server._server.dataplane.host.budget


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save_sum(folder / "sum.onnx")
    save_table(folder / "table.onnx")
    with served(folder=folder, at_start=("sum", "table")) as server:
        yield server


def test_a_model_that_is_no_detector_is_served(server):
    status, metadata = asked(server, "/v2/models/sum")
    assert status == 200
    assert metadata["inputs"] == [{"name": name, "datatype": "FP32", "shape": [-1]} for name in ("a", "b")]
    assert metadata["outputs"] == [{"name": "sum", "datatype": "FP32", "shape": [-1]}, {"name": "less", "datatype": "BOOL", "shape": [-1]}]
    outputs = [{"name": "less"}, {"name": "sum", "parameters": {"binary_data": False}}]
    body, headers = request(outputs, b=floats(3, 1), a=floats(1, 2))
    status, headers, content = ask(server, "/v2/models/sum/infer", body, headers)
    length = int(headers["Inference-Header-Content-Length"])
    less, total = json.loads(content[:length])["outputs"]
    assert (less["name"], content[length:]) == ("less", b"\x01\x00")
    assert total["data"] == [4, 3]
    assert asked(server, "/detect?model=sum", b"x")[0] == 400


def test_inputs_that_do_not_go_together_are_the_clients_fault(server):
    status, _, content = infer(server, "sum", a=floats(1, 2), b=floats(1, 2, 3))
    assert status == 400
    assert "fails on these inputs" in json.loads(content)["error"]
    status, _, content = infer(server, "sum", a=floats(1))
    assert (status, "missing" in json.loads(content)["error"]) == (400, True)
    assert infer(server, "sum", a=floats(1), b=floats(2))[0] == 200


def test_requests_and_answers_of_many_sizes(server):
    for count in (1, 300, 2000, 5, 1000):
        values = np.arange(count, dtype=np.float32)
        status, headers, content = infer(server, "table", x=values)
        assert status == 200
        table = np.frombuffer(content[int(headers["Inference-Header-Content-Length"]) :], np.float32).reshape(count, count)
        np.testing.assert_array_equal(table, values * values[:, None])
    status, _, content = infer(server, "table", x=np.zeros(8_300, np.float32))
    assert (status, "too large" in json.loads(content)["error"]) == (413, True)
    big = np.arange(3_000_000, dtype=np.float32)
    status, _, content = infer(server, "sum", a=big, b=big)
    assert status == 200
    assert np.frombuffer(content[-len(big) * 5 : -len(big)], np.float32)[-1] == big[-1] * 2


def test_an_answer_that_is_too_large_for_json_is_refused(server, monkeypatch):
    gate = server._server._gate

    def asked_for(count):
        body, headers = request([{"name": "table", "parameters": {"binary_data": False}}], x=np.zeros(count, np.float32))
        return ask(server, "/v2/models/table/infer", body, headers)

    status, _, content = asked_for(1500)
    assert (status, "as bytes" in json.loads(content)["error"]) == (413, True)
    assert asked_for(300)[0] == 200
    with monkeypatch.context() as patched:  # its text has room, what it takes to write it has none
        patched.setattr(gate, "_settings", replace(gate._settings, most_held_bytes=2 << 20))
        status, headers, _ = asked_for(300)
        assert (status, "Retry-After" in headers) == (503, True)
    assert asked_for(300)[0] == 200


def test_memory_that_could_not_be_had_is_not_promised(server, monkeypatch):
    assert infer(server, "table", x=floats(1))[0] == 200
    before = budget_of(server).promises["inputs table"]

    def refuse(*_, **__):
        raise HostError("it does not fit into memory", got="cannot allocate memory")

    with monkeypatch.context() as patched:
        patched.setattr(Ring, "make", refuse)
        status, headers, content = infer(server, "table", x=np.zeros(300_000, np.float32))
    assert (status, "Retry-After" in headers) == (503, True)
    assert "no memory for inputs" in json.loads(content)["error"]
    assert budget_of(server).promises["inputs table"] == before
    assert infer(server, "table", x=floats(2))[0] == 200


def test_many_at_once_are_all_answered(server):
    results = []

    def ask_some(first):
        for value in range(first, first + 25):
            status, _, content = infer(server, "sum", a=floats(value), b=floats(1))
            results.append((status, np.frombuffer(content[-5:-1], np.float32)[0] == value + 1))

    threads = [threading.Thread(target=ask_some, args=(100 * at,)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [(200, True)] * 200


def test_a_process_that_is_killed_costs_what_it_had_in_hand(server):
    worker = worker_of(server, "sum")
    os.kill(worker.pid, signal.SIGSTOP)
    found = []
    asking = threading.Thread(target=lambda: found.append(infer(server, "sum", a=floats(1), b=floats(1))))
    asking.start()
    wait_until(lambda: worker.pending == 1)
    os.kill(worker.pid, signal.SIGKILL)
    asking.join()
    status, headers, content = found[0]
    assert (status, "Retry-After" in headers) == (503, True)
    assert "replaced" in json.loads(content)["error"]
    assert ask(server, "/v2/health/ready")[0] == 503
    assert infer(server, "table", x=floats(1))[0] == 200, "another model does not mind"
    wait_until(lambda: ask(server, "/v2/models/sum/ready")[0] == 200)
    assert infer(server, "sum", a=floats(1), b=floats(1))[0] == 200
    assert b'edgewright_worker_restarts_total{model="sum",of="http"} 1' in ask(server, "/metrics")[2]


def test_a_process_that_hangs_is_replaced(tmp_path):
    with served({"table": save_table(tmp_path / "table.onnx")}, host={"answer_within_s": 2}) as server:
        worker = worker_of(server, "table")
        os.kill(before := worker.pid, signal.SIGSTOP)
        began_s = time.monotonic()
        status, _, content = infer(server, "table", x=floats(1))
        assert status == 503
        assert "replaced" in json.loads(content)["error"]
        assert 1.5 < time.monotonic() - began_s < 20
        wait_until(lambda: infer(server, "table", x=floats(1))[0] == 200)
        assert worker.pid != before


def test_a_deadline_is_kept_and_a_queue_has_an_end(tmp_path):
    with served({"sum": save_sum(tmp_path / "sum.onnx")}, host={"most_waiting": 1, "answer_within_s": 60}) as server:
        worker = worker_of(server, "sum")
        os.kill(worker.pid, signal.SIGSTOP)
        found = []

        def ask_one():
            found.append(infer(server, "sum", parameters={"timeout": 1_500_000}, a=floats(1), b=floats(1)))

        threads = [threading.Thread(target=ask_one) for _ in range(5)]
        for count, thread in enumerate(threads, 1):
            thread.start()
            wait_until(lambda count=count: worker.pending + len(found) >= count)
        for thread in threads:
            thread.join()
        assert sorted(status for status, _, _ in found) == [429, 429, 503, 503, 503]
        assert all("Retry-After" in headers for _, headers, _ in found)
        assert b'nv_inference_request_failure{model="sum",version="1",reason="CANCELED"} 3' in ask(server, "/metrics")[2]
        os.kill(worker.pid, signal.SIGCONT)
        assert infer(server, "sum", a=floats(1), b=floats(1))[0] == 200


def test_an_unloaded_model_has_given_its_memory_back(tmp_path):
    save_sum(tmp_path / "sum.onnx")
    with served(folder=tmp_path, at_start=("sum",)) as server:
        pid = worker_of(server, "sum").pid
        assert infer(server, "sum", a=floats(1), b=floats(1))[0] == 200
        assert budget_of(server).promised_bytes > 10 * MIB
        assert ask(server, "/v2/repository/models/sum/unload", b"")[0] == 200
        assert budget_of(server).promises == {}
        assert not Path(f"/proc/{pid}").exists()
        status, found = asked(server, "/v2/models/sum/infer", b"{}")
        assert (status, "load it" in found["error"]) == (400, False) or status == 404
        assert asked(server, "/v2/repository/index", b"")[1] == [
            {"name": "sum", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"}
        ]
        assert asked(server, "/v2/repository/index", b'{"ready": true}')[1] == []
        assert ask(server, "/v2/repository/models/sum/load", b'{"parameters": {}}')[0] == 200
        assert infer(server, "sum", a=floats(1), b=floats(1))[0] == 200


def test_a_model_that_several_load_and_unload_at_once_has_one_process_at_most(tmp_path):
    save_sum(tmp_path / "sum.onnx")
    with served(folder=tmp_path, at_start=()) as server:
        orders = ["load", "load", "unload", "load", "unload", "load"]
        found = []
        threads = [
            threading.Thread(target=lambda order=order: found.append(ask(server, f"/v2/repository/models/sum/{order}", b"")[0]))
            for order in orders
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(found) <= {200, 404, 503}
        ask(server, "/v2/repository/models/sum/load", b"")
        children = Path(f"/proc/self/task/{server._thread.native_id}/children").read_text().split()
        assert children == [str(worker_of(server, "sum").pid)]


def test_who_does_not_take_the_answer_loses_it(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "SLOWEST_BYTES_PER_S", 1 << 30)
    with served({"table": save_table(tmp_path / "table.onnx")}, write_s=0.3) as server:
        body, headers = request(x=np.zeros(2000, np.float32))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.sendall(f"POST /v2/models/table/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode())
            deaf.sendall(body)
            wait_until(lambda: len(server._server._open) == 1)
            assert infer(server, "table", x=floats(1))[0] == 200
            wait_until(lambda: not server._server._open, 90)


def test_models_no_one_should_run_are_refused_and_nothing_stays(tmp_path):
    (tmp_path / "torn.onnx").write_bytes(save_sum(tmp_path / "sum.onnx").read_bytes()[:-20])
    (tmp_path / "noise.onnx").write_bytes(os.urandom(1000))
    with served({"gone": tmp_path / "gone.onnx"}, folder=tmp_path, at_start=()) as server:
        for name in ("torn", "noise", "gone"):
            status, found = asked(server, f"/v2/repository/models/{name}/load", b"")
            assert status == 400
            assert name in found["error"]
            assert str(tmp_path) not in found["error"], "where it lies is nobody's business"
        assert budget_of(server).promises == {}
        assert server._server.dataplane.host.workers == {}


def test_a_model_that_does_not_fit_is_refused(tmp_path):
    with served({"sum": save_sum(tmp_path / "sum.onnx")}, at_start=(), host={"memory_bytes": 8 * MIB}) as server:
        status, headers, content = ask(server, "/v2/repository/models/sum/load", b"")
        assert (status, "Retry-After" in headers) == (503, True)
        assert "memory budget" in json.loads(content)["error"]
        assert budget_of(server).promises == {}


def test_a_request_that_does_not_fit_is_told_so(tmp_path):
    with served({"sum": save_sum(tmp_path / "sum.onnx")}, host={"memory_bytes": 150 * MIB}) as server:
        big = np.zeros(6_000_000, np.float32)
        status, _, content = infer(server, "sum", a=big, b=big)
        assert (status, "no memory" in json.loads(content)["error"]) == (503, True)
        assert infer(server, "sum", a=floats(1), b=floats(1))[0] == 200


def test_answers_that_nobody_takes_do_not_pile_up(tmp_path):
    with served({"table": save_table(tmp_path / "table.onnx")}, most_held_bytes=40 << 20) as server, ExitStack() as stack:
        body, headers = request(x=np.zeros(1600, np.float32))  # an answer of 10 MB
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        for _ in range(8):
            deaf = stack.enter_context(socket.socket())
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", server.port))
            deaf.sendall(f"POST /v2/models/table/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode())
            deaf.sendall(body)
        wait_until(lambda: b'success{model="table",version="1"} 8' in ask(server, "/metrics")[2])
        assert server._server._gate.held_bytes <= 40 << 20
        assert infer(server, "table", x=floats(1, 2))[0] == 200
        status, headers, _ = infer(server, "table", x=np.zeros(1600, np.float32))
        assert (status, "Retry-After" in headers) == (503, True)
        stack.close()
        wait_until(lambda: infer(server, "table", x=np.zeros(1600, np.float32))[0] == 200)


def test_loading_over_the_network_can_be_switched_off(tmp_path):
    with served({"sum": save_sum(tmp_path / "sum.onnx")}, plane={"may_load": False}) as server:
        assert ask(server, "/v2/repository/models/sum/unload", b"")[0] == 403
        assert ask(server, "/v2/repository/models/sum/load", b"")[0] == 403
        assert infer(server, "sum", a=floats(1), b=floats(1))[0] == 200


def test_an_artifact_folder_is_served_with_its_detector(tmp_path):
    folder = tmp_path / "repository" / "fitted"
    folder.mkdir(parents=True)
    artifact = describe_detector(save_tiny_detector(folder / "tiny.onnx"))
    (folder / "artifact.json").write_text(json.dumps(artifact.to_json()))
    with served(folder=folder.parent, at_start=("fitted",)) as server:
        metadata = asked(server, "/v2/models/fitted")[1]
        assert metadata["parameters"]["classes"] == list(artifact.classes)
        assert [port["name"] for port in metadata["outputs"]] == ["output0"]


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\0b", "x" * 101, "-x", "é"])
def test_a_name_that_could_be_a_path_is_none(tmp_path, name):
    with pytest.raises(InputError, match="no name for a model"):
        Repository({name: tmp_path}, None)


def test_a_folder_offers_what_lies_in_it_and_no_links(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    outside = save_sum(tmp_path / "outside.onnx")
    save_sum(folder / "sum.onnx")
    (folder / "linked.onnx").symlink_to(outside)
    (folder / "linked").symlink_to(tmp_path)
    (folder / "notes.txt").write_text("x")
    (folder / "empty").mkdir()
    (folder / "a b.onnx").write_bytes(b"")
    found = Repository({"other": outside}, folder)
    assert found.names() == ["other", "sum"]
    with pytest.raises(InputError, match="no model"):
        found.find("../outside")


def test_a_machine_that_has_run_for_years_still_tells_the_time():
    began_ns = 10 * 365 * 86_400 * 10**9
    assert times_said([began_ns, 1, 2, 3]) == (began_ns, (1, 2, 3))


@pytest.mark.parametrize("said", [[1, 2, 3], [1, 2, 3, 4, 5], [-1, 2, 3, 4], [1, 2, 3, 1 << 60], [1, 2.5, 3, 4], [1 << 70, 2, 3, 4], 7])
def test_what_are_no_times_is_not_taken_for_times(said):
    with pytest.raises((ValueError, TypeError)):
        times_said(said)
