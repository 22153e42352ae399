"""A model that is loaded when it is first asked for: once, however many ask, and not again and again where it is none."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from edgewright.serve import model_host
from model_server import asked, served, wait_until, worker_of
from tiny_detector import save_tiny_detector


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    (folder / "broken.onnx").write_bytes(b"no model")
    return {"tiny": save_tiny_detector(folder / "tiny.onnx"), "broken": folder / "broken.onnx"}


def test_all_who_ask_first_are_answered_by_one_process(models):
    with served(models, at_start=(), host={"on_demand": True}) as server:
        assert asked(server, "/readyz") == (200, {"ready": True}), "nothing is waited for that nobody has asked for"
        with ThreadPoolExecutor(6) as clients:
            found = list(clients.map(lambda _: asked(server, "/v2/models/tiny"), range(6)))
        assert [status for status, _ in found] == [200] * 6
        states = {each["name"]: each["state"] for each in asked(server, "/v2/repository/index", b"")[1]}
        assert states == {"tiny": "READY", "broken": "UNAVAILABLE"}


def test_one_that_is_no_model_is_refused_and_not_tried_again_at_once(models):
    with served(models, at_start=(), host={"on_demand": True}) as server:
        status, first = asked(server, "/v2/models/broken")
        assert status == 400
        began_s = time.monotonic()
        assert asked(server, "/v2/models/broken") == (status, first)
        assert time.monotonic() - began_s < 0.5, "no process was begun for it"
        assert asked(server, "/v2/models/tiny")[0] == 200


def test_one_that_is_refused_while_nobody_waits_is_refused_to_the_next_who_asks_and_then_tried_again(models, monkeypatch):
    monkeypatch.setattr(model_host, "REFUSED_S", 0.0)
    with served(models, at_start=(), host={"on_demand": True, "deadline_s": 0.001}) as server:
        assert asked(server, "/v2/models/broken")[0] == 503
        first = worker_of(server, "broken")
        wait_until(lambda: first.state == "refused")
        assert asked(server, "/v2/models/broken")[0] == 400, "it says why"
        assert asked(server, "/v2/models/broken")[0] == 503, "it is loading once more"
        assert worker_of(server, "broken") is not first


def test_where_nothing_is_loaded_on_demand_it_is_not_there(models):
    with served(models, at_start=(), plane={"may_load": False}) as server:
        assert asked(server, "/v2/models/tiny")[0] == 404
        assert asked(server, "/v2/repository/models/tiny/load", b"")[0] == 403
