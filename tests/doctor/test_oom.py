"""`doctor oom` against brute force, under a real limit where one may be made."""

from itertools import pairwise

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.doctor.critical import gallop, halve
from edgewright.doctor.limit import Groups, Watches, choose_limiter
from edgewright.doctor.oom import explain
from edgewright.doctor.trial import Attempt, try_out
from edgewright.doctor.variants import Variants, open_given, smaller_sizes
from edgewright.errors import EngineError, HostError, ModelError
from examined_machines import healthy, machine_of
from tiny_detector import save_tiny_detector

MIB = 1 << 20


def save_convolution(path, *, channels, shape):
    """[N, 3, H, W] -> one map of `channels` channels, of which the mean comes out: what it takes is known beforehand."""
    weights = np.random.default_rng(0).normal(0, 0.1, (channels, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["maps"], pads=[1] * 4, name="conv"),
        helper.make_node("Relu", ["maps"], ["active"], name="relu"),
        helper.make_node("GlobalAveragePool", ["active"], ["means"], name="mean"),
    ]
    graph = helper.make_graph(
        nodes,
        "convolution",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("means", TensorProto.FLOAT, [shape[0], channels, 1, 1])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def limiter():
    found = choose_limiter()
    if not isinstance(found, Groups):
        pytest.skip("no memory control group may be made here: run as root, with the memory controller on")
    return found


@pytest.fixture(scope="module")
def fixed(tmp_path_factory):
    """A map of 16 MiB a picture."""
    return save_convolution(tmp_path_factory.mktemp("model") / "fixed.onnx", channels=64, shape=[1, 3, 256, 256])


def test_the_batch_is_where_brute_force_finds_it(limiter, fixed, tmp_path):
    limit_bytes = 150 * MIB
    variants = Variants(open_given(fixed), tmp_path)

    def fits(batch):
        return try_out(Attempt(variants.make(batch, (256, 256)), "onnxruntime", "float32", 1), limiter, limit_bytes).fits

    truth = max(batch for batch in range(1, 9) if fits(batch))
    found = gallop(64, fits)
    assert 1 < truth < 8
    assert abs(found.fits - truth) <= 1
    assert found.fails == found.fits + 1


@pytest.mark.soak
def test_the_size_is_where_brute_force_finds_it(limiter, tmp_path):
    path = save_convolution(tmp_path / "free.onnx", channels=32, shape=["batch", 3, "height", "width"])
    limit_bytes = 90 * MIB
    variants, sizes = Variants(open_given(path), tmp_path), smaller_sizes((640, 640))

    def fits(step):
        return try_out(Attempt(variants.make(1, sizes[step - 1]), "onnxruntime", "float32", 1), limiter, limit_bytes).fits

    truth = max(step for step in range(1, len(sizes) + 1) if fits(step))
    found = halve(len(sizes), fits)
    print(f"brute force: {sizes[truth - 1]}, found: {sizes[found.fits - 1]} in {found.trials} trials")
    assert 1 < truth < len(sizes)
    assert abs(found.fits - truth) <= 1


@pytest.mark.soak
def test_a_real_detector_under_300_mib(limiter, test_data, tmp_path):
    """YOLOv8n, as `edgewright doctor oom --limit 300MiB --batch 16` has it."""
    limit_bytes, path = 300 * MIB, test_data / "models/yolov8n.onnx"
    found = explain(path, machine_of(healthy(tmp_path)), limiter, limit_bytes=limit_bytes, batch=16, threads=2)
    variants = Variants(open_given(path), tmp_path)

    def fits(batch):
        return try_out(Attempt(variants.make(batch, (640, 640)), "onnxruntime", "float32", 2), limiter, limit_bytes).fits

    truth = max(batch for batch in range(1, 13) if fits(batch))
    print(f"asked for 16: {found.given.outcome}; batch {found.largest_batch} in {found.batch.trials} trials, by force {truth} in 12")
    print(*(f"{each.what}: {'-' if each.saved_bytes is None else each.saved_bytes // MIB} MiB" for each in found.advice), sep="; ")
    assert not found.fits
    assert found.size_wh == (640, 640)
    assert abs(found.largest_batch - truth) <= 1


def test_a_model_that_does_not_fit_is_explained(limiter, fixed, tmp_path):
    """16 MiB a picture, four are wanted: two or three fit, and one picture at once is what helps."""
    machine = machine_of(healthy(tmp_path))
    found = explain(fixed, machine, limiter, limit_bytes=110 * MIB, batch=8, threads=1, most=8)
    assert not found.fits
    assert found.given.outcome == "killed"
    assert found.given.died_at == "opened"
    assert found.size_wh == (256, 256)
    assert 1 <= found.largest_batch < 8
    assert "version" in found.how
    split = found.split
    assert not split.leaks
    assert split.activations_bytes > 12 * MIB * found.largest_batch
    assert split.weights_bytes < 16 * MIB
    one = next(each for each in found.advice if each.what == "one picture at once")
    assert one.saved_bytes > 60 * MIB
    saved = [each.saved_bytes for each in found.advice if each.saved_bytes is not None]
    assert saved == sorted(saved, reverse=True)
    assert found.to_json()["largest"] == {"size_wh": (256, 256), "batch": found.largest_batch}


def test_without_groups_the_watch_kills(tmp_path, fixed):
    trial = try_out(Attempt(fixed, "onnxruntime", "float32", 1), Watches(), 24 * MIB)
    assert trial.outcome == "killed"
    assert not trial.fits


def test_a_trial_tells_where_memory_went(fixed):
    trial = try_out(Attempt(fixed, "onnxruntime", "float32", 1), Watches(), 2000 * MIB)
    assert trial.fits
    assert trial.opened_bytes >= trial.started_bytes > 5 * MIB
    assert trial.fed_bytes == 3 * 256 * 256 * 4
    assert trial.transient_bytes > 12 * MIB
    assert len(trial.held_bytes) == 2


def test_a_model_that_fails_for_another_reason_is_no_answer(tmp_path):
    path = tmp_path / "words.onnx"
    path.write_bytes(b"words")
    with pytest.raises(EngineError, match="does not run in onnxruntime"):
        try_out(Attempt(path, "onnxruntime", "float32", 1), Watches(), 500 * MIB)


def test_a_child_that_takes_too_long_over_a_step_is_given_up(fixed):
    trial = try_out(Attempt(fixed, "onnxruntime", "float32", 1), Watches(), 500 * MIB, patience_s=0.02)  # its start alone takes longer
    assert trial.outcome == "too slow"


def test_a_limit_that_the_machine_does_not_have(tmp_path, fixed):
    with pytest.raises(HostError, match="cannot be tried here"):
        explain(fixed, machine_of(healthy(tmp_path)), Watches(), limit_bytes=1 << 49)


@pytest.mark.parametrize(
    ("size_wh", "expected"),
    [
        ((640, 640), tuple((side, side) for side in range(32, 641, 32))),
        ((128, 64), ((32, 32), (64, 32), (96, 64), (128, 64))),
        ((20, 20), ((20, 20),)),
        ((100, 100), ((64, 64), (96, 96), (100, 100))),
    ],
)
def test_sizes_keep_the_shape(size_wh, expected):
    sizes = smaller_sizes(size_wh)
    assert sizes == expected
    assert all(small[0] <= large[0] and small[1] <= large[1] for small, large in pairwise(sizes))


def test_a_detector_takes_other_sizes_and_batches(tmp_path):
    given = open_given(save_tiny_detector(tmp_path / "tiny.onnx", size=128))
    variants = Variants(given, tmp_path)
    assert (given.batch, given.size_wh) == (1, (128, 128))
    assert variants.make(1, (128, 128)) == given.path
    shapes = {}
    for batch, size_wh in ((1, (64, 64)), (4, (128, 128)), (4, (96, 96))):
        model = onnx.load(variants.make(batch, size_wh))
        shapes[batch, size_wh] = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    assert shapes == {(1, (64, 64)): [1, 3, 64, 64], (4, (128, 128)): [4, 3, 128, 128], (4, (96, 96)): [4, 3, 96, 96]}


def test_free_axes_are_pinned(tmp_path):
    path = save_convolution(tmp_path / "free.onnx", channels=4, shape=["batch", 3, "height", "width"])
    given = open_given(path)
    assert (given.batch, given.size_wh, given.is_free) == (1, (640, 640), True)
    model = onnx.load(Variants(given, tmp_path).make(2, (96, 64)))
    assert [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim] == [2, 3, 64, 96]


def test_what_cannot_be_varied_says_so(tmp_path, fixed):
    path = save_convolution(tmp_path / "two.onnx", channels=4, shape=[2, 3, 64, 64])
    two = Variants(open_given(path), tmp_path)
    assert "takes no other size" in two.why_not(2, (32, 32))
    assert "not one picture" in two.why_not(1, (64, 64))
    one = Variants(open_given(fixed), tmp_path)
    assert "float detector" in one.why_not(1, (128, 128))
    assert one.why_not(3, (256, 256)) is None


def test_a_model_without_inputs_is_refused(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Relu", ["c"], ["y"])],
        "none",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        [numpy_helper.from_array(np.ones(1, np.float32), "c")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "none.onnx")
    with pytest.raises(ModelError):
        open_given(tmp_path / "none.onnx")
