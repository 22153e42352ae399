"""The short form of benchmarks/serving.py: every request is answered, and what is written is what the page shows; no times."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # last: other tests have modules of the same names

import page
from serving import CLIENTS, joining, layers, of_bytes, throughput
from tiny_detector import save_tiny_detector


def test_every_request_of_every_client_is_answered(tmp_path):
    found = throughput(save_tiny_detector(tmp_path / "tiny.onnx"), requests=4, rounds=2)
    assert found["statuses"] == {"200": 4 * CLIENTS}
    assert found["unanswered"] == 0
    assert found["share"]["estimate"] > 0
    assert set(found["cpu_ms"]) == {"server", "model", "clients"}
    assert found["bytes"]["request"] > 64 * 64 * 3
    assert "tiny.onnx | 32 of 32 |" in page.SECTIONS["serve_http"]({"rows": [found]})


def test_joined_and_alone_all_are_answered(tmp_path):
    found = joining({"layers": (layers(tmp_path / "layers.onnx", count=2, wide=64), (1, 64), 20)}, threads=(1,), rounds=2)
    assert found["rows"][0]["apart_why"] is None
    assert found["rows"][0]["speed"]["estimate"] > 0
    assert "| layers | 1 |" in page.SECTIONS["serve_together"](found)


def test_pictures_in_bytes_have_the_shape_of_the_model(tmp_path):
    path, shape = of_bytes(save_tiny_detector(tmp_path / "tiny.onnx", size=(96, 64)), tmp_path / "bytes.onnx")
    assert path.is_file()
    assert shape == (1, 64, 96, 3)
