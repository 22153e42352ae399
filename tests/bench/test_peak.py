"""The integer peak, on graphs of a few kilobytes."""

import numpy as np
import onnx
import pytest

from edgewright.bench import measure as measure_module
from edgewright.bench import peak
from edgewright.bench.peak import integer_peak
from edgewright.engines import open_engine
from edgewright.errors import EngineError
from edgewright.graph.cost import mac_count


@pytest.fixture(autouse=True)
def small_and_short(monkeypatch):
    monkeypatch.setattr(peak, "SIDES", (32,))
    monkeypatch.setattr(peak, "CONVOLUTIONS", ((8, 8, 3),))
    monkeypatch.setattr(peak, "BLOCK_MS", 5.0)
    monkeypatch.setattr(measure_module, "BLOCK_MS", 5.0)


def test_the_best_of_all_graphs_and_engines_counts(monkeypatch):
    monkeypatch.setattr(peak, "installed_engines", lambda: ("onnxruntime",))
    seen = []
    best = integer_peak(1, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]
    assert best.threads == 1
    assert best.engine == "onnxruntime"
    assert best.macs_per_s > 1e6
    assert set(best.to_json()) == {"threads", "macs_per_s", "engine", "graph"}


def test_graphs_do_the_work_that_is_claimed():
    for name, macs, model in peak._graphs():
        assert mac_count(model) == macs, name


def test_a_convolution_s_results_fill_their_8_bits(tmp_path):
    onnx.save(peak._convolution(64, 16, 3), tmp_path / "convolution.onnx")
    engine = open_engine("onnxruntime", tmp_path / "convolution.onnx", threads=1, precision="int8")
    [y] = engine.run({"x": np.random.default_rng(1).integers(0, 256, (1, 64, 16, 16), np.uint8)})
    assert engine.describe().precision == "int8"
    assert len(np.unique(y)) > 100


def test_an_engine_that_has_no_kernel_for_a_graph_is_passed_over(monkeypatch):
    monkeypatch.setattr(peak, "installed_engines", lambda: ())
    with pytest.raises(EngineError, match="no engine here multiplies integers"):
        integer_peak(1)
