"""The demo detector's recipe: its material, its network, its export, and the two scripts. Skips where torch is not installed."""

import ast
import copy
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch learns and nothing else: pip install 'edgewright[learn]'")
TRAINING = Path(__file__).parents[2] / "training"
sys.path.insert(0, str(TRAINING))

from demo_detector import CHECKPOINT  # noqa: E402
from demo_detector.lesson import BoardLesson  # noqa: E402
from demo_detector.material import Boards, _kept, _turned, batch  # noqa: E402
from demo_detector.model import HEAD, REG_MAX, DemoDetector, Width, decode  # noqa: E402
from edgewright.data.circuit_boards import CLASS_NAMES, draw_board  # noqa: E402
from edgewright.learn.checkpoint import Checkpoint  # noqa: E402
from edgewright.learn.loop import Schedule, Training  # noqa: E402

TINY = Width(stem=8, stages=(8, 16, 16, 16), repeats=(1, 1, 1, 1), box=16, score=16)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def test_turning_a_crop_turns_its_boxes():
    for seed in range(12):
        image = np.zeros((40, 40, 3), np.uint8)
        image[5:12, 20:33] = 255
        turned, boxes = _turned(np.random.default_rng(seed), image, np.array([[20, 5, 33, 12]], np.float32))
        ys, xs = np.nonzero(turned[:, :, 0])

        assert boxes.tolist() == [[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]]


def test_boxes_cut_to_less_than_half_are_not_asked_for():
    boxes, kinds = _kept(np.array([[-4.0, 0, 6, 10], [-8, 0, 2, 10], [90, 90, 110, 100]]), np.array([1, 2, 3]), 100)

    assert kinds.tolist() == [1]
    assert boxes.tolist() == [[0, 0, 6, 10]]


@pytest.fixture(scope="module")
def boards():
    pictures = [draw_board(seed, look="binary" if seed % 2 else "camera", size_px=320) for seed in range(6)]
    return Boards(np.stack([p.image_rgb for p in pictures]), [p.boxes_xyxy for p in pictures], [p.class_ids for p in pictures])


def test_batches_depend_on_seed_and_step_alone(boards):
    one, again, other = (batch(boards, seed=0, step=step, size=3, crop_px=128) for step in (4, 4, 5))

    assert np.array_equal(one.pictures, again.pictures)
    assert torch.equal(one.truth.boxes_xyxy, again.truth.boxes_xyxy)
    assert not np.array_equal(one.pictures, other.pictures)
    assert one.pictures.shape == (3, 128, 128, 3)
    assert one.truth.boxes_xyxy.shape[:2] == one.truth.present.shape == one.truth.class_ids.shape


def test_the_network_gives_what_its_head_names():
    maps = DemoDetector(6, TINY)(torch.zeros(2, 3, 128, 96))
    channels = {"box": 4 * REG_MAX, "class": 6}

    assert [tuple(each.shape) for each in maps] == [
        (2, channels[each.role], 128 // each.stride, 96 // each.stride) for each in HEAD.outputs
    ]


def test_the_detector_learns_from_boards(boards, tmp_path):
    class TwoBatches(BoardLesson):
        def batch(self, step):
            return super().batch(step % 2)

    losses = []
    torch.manual_seed(3)
    schedule = Schedule(steps=40, warmup_steps=4, bfloat16=False)
    training = Training(DemoDetector(6, TINY), schedule, TwoBatches(boards, seed=0, size=4, crop_px=128))
    training.train(checkpoint=tmp_path / "c", report=lambda _, loss, __: losses.append(float(loss.total.detach())))

    assert np.mean(losses[-6:]) < 0.8 * np.mean(losses[:6])


def _shaken(model):
    """Statistics and weights that a folding mistake would show on."""
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.3, 0.3)
    return model.eval()


def test_the_export_computes_what_the_module_computes():
    ort = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from demo_detector.export import to_onnx

    model = _shaken(DemoDetector(6, TINY))
    exported = to_onnx(copy.deepcopy(model), CLASS_NAMES, size_px=128)
    images = torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        expected = decode(model(images)).numpy()
    session = ort.InferenceSession(exported.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": images.numpy()})

    assert found.shape == expected.shape == (1, 10, 336)
    np.testing.assert_allclose(found[:, :4], expected[:, :4], atol=1e-3)  # pixels
    np.testing.assert_allclose(found[:, 4:], expected[:, 4:], atol=1e-4)


def test_the_export_reads_as_a_yolov8_export():
    pytest.importorskip("onnx")
    from demo_detector.export import to_onnx

    exported = to_onnx(DemoDetector(6, TINY), CLASS_NAMES, size_px=128)
    metadata = {p.key: p.value for p in exported.metadata_props}
    kinds = {node.op_type for node in exported.graph.node}
    arange = [i for i in exported.graph.initializer if list(i.dims) == [1, REG_MAX, 1, 1]]

    assert [exported.graph.input[0].name, exported.graph.output[0].name] == ["images", "output0"]
    assert exported.opset_import[0].version == 17
    assert ast.literal_eval(metadata["names"]) == dict(enumerate(CLASS_NAMES))
    assert (metadata["task"], metadata["stride"], metadata["imgsz"], metadata["license"]) == ("detect", "32", "[128, 128]", "Apache-2.0")
    assert "BatchNormalization" not in kinds
    assert len(arange) == 1
    assert exported.graph.node[-1].op_type == "Concat"


@pytest.fixture(scope="module")
def environment():
    source = str(Path(__file__).parents[2] / "src")
    return os.environ | {"PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])}


def _script(name, *arguments):
    return [sys.executable, str(TRAINING / name), *map(str, arguments)]


def _train(out, *, steps):
    few = ("--camera-boards", 2, "--binary-boards", 2, "--batch", 1, "--threads", 1, "--save-every", 2)
    return _script("train_demo_detector.py", "--out", out, *few, "--steps", steps)


def test_a_killed_training_goes_on_and_its_average_is_exported(tmp_path, environment):
    out = tmp_path / "out"
    with subprocess.Popen(_train(out, steps=100_000), stdout=subprocess.PIPE, env=environment, text=True) as process:
        for line in process.stdout:
            if line.startswith("step 5 "):
                break
        process.send_signal(signal.SIGKILL)
    killed_at = Checkpoint.read(out / CHECKPOINT).facts["step"]
    done = subprocess.run(_train(out, steps=killed_at + 2), capture_output=True, env=environment, text=True, check=True, timeout=120)
    export = _script("export_demo_detector.py", "--out", out, "--onnx", tmp_path / "exported.onnx")
    facts = json.loads(subprocess.run(export, capture_output=True, env=environment, check=True, timeout=120).stdout)

    assert f"going on from step {killed_at} " in done.stdout
    assert f"done: {killed_at + 2} steps" in done.stdout
    assert facts["steps"] == killed_at + 2
    assert facts["bytes"] == (tmp_path / "exported.onnx").stat().st_size
    assert facts["parameters"] == 947_650


@pytest.mark.parametrize("name", ["train_demo_detector.py", "export_demo_detector.py"])
def test_a_checkpoint_that_is_none_is_said_in_a_sentence(tmp_path, environment, name):
    (tmp_path / CHECKPOINT).write_bytes(b"not a checkpoint")
    command = _train(tmp_path, steps=1) if name.startswith("train") else _script(name, "--out", tmp_path)
    done = subprocess.run(command, capture_output=True, env=environment, text=True, check=False, timeout=120)

    assert done.returncode == 1
    assert "is no checkpoint; got" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "--resume" not in done.stderr
