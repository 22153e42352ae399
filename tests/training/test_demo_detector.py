"""The training recipe: its arithmetic by table, its loop by story. Skips where torch is not installed."""

import ast
import copy
import math
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch trains the demo detector and nothing else: pip install 'edgewright[learn]'")
sys.path.insert(0, str(Path(__file__).parents[2] / "training"))

from demo_detector.loop import Recipe, Run  # noqa: E402
from demo_detector.losses import Truth, assign, detection_loss, distribution_focal, iou  # noqa: E402
from demo_detector.material import Boards, _kept, _turned, batch  # noqa: E402
from demo_detector.model import REG_MAX, DemoDetector, Width, anchor_points, decode, expected_distances  # noqa: E402
from edgewright.data.circuit_boards import CLASS_NAMES, draw_board  # noqa: E402

TINY = Width(stem=8, stages=(8, 16, 16, 16), repeats=(1, 1, 1, 1), box=16, score=16)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("a", "b", "plain", "complete"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0, 1.0),
        ((0, 0, 10, 10), (5, 0, 15, 10), 1 / 3, 1 / 3 - 25 / 325),
        ((0, 0, 10, 10), (20, 0, 30, 10), 0.0, -400 / 1000),
        ((0, 0, 10, 10), (0, 0, 10, 5), 0.5, None),
    ],
)
def test_overlap_by_hand(a, b, plain, complete):
    a, b = torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)
    if complete is None:  # concentric in x, 2.5 apart in y; the shapes differ by atan(2) - atan(1)
        shape = 4 / math.pi**2 * (math.atan(2) - math.atan(1)) ** 2
        complete = 0.5 - 2.5**2 / 200 - shape**2 / (0.5 + shape)

    assert iou(a, b).item() == pytest.approx(plain, abs=1e-6)
    assert iou(a, b, complete=True).item() == pytest.approx(complete, abs=1e-6)


@pytest.mark.parametrize(("distance", "bins"), [(3.0, {3: 1.0}), (3.25, {3: 0.75, 4: 0.25}), (0.0, {0: 1.0}), (99.0, {14: 0.01, 15: 0.99})])
def test_focal_loss_pulls_towards_the_two_neighbouring_bins(distance, bins):
    logits = torch.linspace(-1, 1, REG_MAX).repeat(1, 4, 1)
    log_likely = logits[0, 0].log_softmax(-1)
    expected = -sum(weight * float(log_likely[k]) for k, weight in bins.items())

    assert distribution_focal(logits, torch.full((1, 4), distance)).item() == pytest.approx(expected, rel=1e-4)


def test_a_sharp_distribution_means_its_bin():
    logits = torch.full((1, 4, REG_MAX), -50.0)
    for side, bin_ in enumerate((0, 3, 7, 15)):
        logits[0, side, bin_] = 50.0

    assert expected_distances(logits)[0].tolist() == pytest.approx([0, 3, 7, 15])


def test_cells_lie_at_their_centres_finest_level_first():
    points, strides = anchor_points([(2, 3), (1, 2), (1, 1)])

    assert points.tolist() == [[0.5, 0.5], [1.5, 0.5], [2.5, 0.5], [0.5, 1.5], [1.5, 1.5], [2.5, 1.5], [0.5, 0.5], [1.5, 0.5], [0.5, 0.5]]
    assert strides.flatten().tolist() == [8.0] * 6 + [16.0] * 2 + [32.0]


def _assigned(cells, truth_boxes, truth_classes, present=None):
    present = present or [True] * len(truth_boxes)
    truth = Truth(torch.tensor([truth_boxes], dtype=torch.float32), torch.tensor([truth_classes]), torch.tensor([present]))
    scores, boxes, points = (torch.tensor(cells[name], dtype=torch.float32) for name in ("scores", "boxes", "points"))
    return assign(scores[None], boxes[None], points, truth)


TWO = {"points": [[10.0, 10], [50.0, 10]], "boxes": [[0, 0, 20, 20], [40, 0, 60, 20]], "scores": [[0.8, 0.1], [0.1, 0.4]]}


@pytest.mark.parametrize(
    ("truth_boxes", "truth_classes", "present", "answers", "rows"),
    [
        ([[0, 0, 20, 20]], [0], None, [True, False], [0, None]),
        ([[0, 0, 20, 20], [40, 0, 60, 20]], [0, 1], None, [True, True], [0, 1]),
        ([[40, 0, 60, 20], [0, 0, 20, 20]], [1, 0], None, [True, True], [1, 0]),
        ([[0, 0, 20, 20], [0, 0, 0, 0]], [0, 0], [True, False], [True, False], [0, None]),
        ([[100, 100, 120, 120]], [0], None, [False, False], [None, None]),
        ([[0, 0, 24, 24], [0, 0, 20, 20]], [0, 0], None, [True, False], [1, None]),  # wanted by both: the better overlap has it
    ],
)
def test_cells_answer_for_the_box_they_lie_in(truth_boxes, truth_classes, present, answers, rows):
    given = _assigned(TWO, truth_boxes, truth_classes, present)

    assert given.answers[0].tolist() == answers
    assert [row if yes else None for row, yes in zip(given.row[0].tolist(), answers, strict=True)] == rows


def test_the_best_cell_is_asked_for_the_overlap_and_others_for_less():
    points = [[10.0, 10], [12.0, 10], [90.0, 90]]
    boxes = [[0, 0, 20, 20], [2, 0, 22, 20], [80, 80, 100, 100]]
    given = _assigned({"scores": [[0.5, 0.5]] * 3, "boxes": boxes, "points": points}, [[0, 0, 20, 20]], [1])

    best, second, none = given.score[0].tolist()
    assert best == pytest.approx([0, 1.0], abs=1e-4)
    assert 0 < second[1] < (18 / 22)
    assert none == [0, 0]


def test_at_most_ten_cells_answer_for_one_box():
    points = [[x + 0.5, y + 0.5] for x in range(8) for y in range(8)]
    given = _assigned({"scores": [[0.5]] * 64, "boxes": [[0, 0, 8, 8]] * 64, "points": points}, [[0, 0, 8, 8]], [0])

    assert int(given.answers.sum()) == 10


def test_a_picture_without_defects_has_a_loss_too():
    maps = [torch.zeros(1, 4 * REG_MAX + 6, n, n, requires_grad=True) for n in (8, 4, 2)]
    loss = detection_loss(maps, Truth(torch.zeros(1, 1, 4), torch.zeros(1, 1, dtype=torch.long), torch.zeros(1, 1, dtype=torch.bool)))
    loss.total.backward()

    assert (loss.box, loss.focal) == (0, 0)
    assert loss.score == pytest.approx(84 * 6 * math.log(2), rel=1e-5)


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


def _run(recipe):
    torch.manual_seed(3)
    return Run(DemoDetector(6, TINY), DemoDetector(6, TINY), recipe)


def test_batches_depend_on_seed_and_step_alone(boards):
    one, again, other = (batch(boards, seed=0, step=step, size=3, crop_px=128) for step in (4, 4, 5))

    assert np.array_equal(one.images, again.images)
    assert np.array_equal(one.boxes, again.boxes)
    assert not np.array_equal(one.images, other.images)
    assert one.images.shape == (3, 128, 128, 3)
    assert one.boxes.shape[:2] == one.present.shape == one.class_ids.shape


def test_the_loss_falls(boards, tmp_path):
    losses = []
    run = _run(Recipe(steps=40, warmup_steps=4, bfloat16=False))
    run.train(
        lambda step: batch(boards, seed=0, step=step % 2, size=4, crop_px=128),
        checkpoint=tmp_path / "c.pt",
        report=lambda _, loss, __: losses.append(float(loss.total.detach())),
    )

    assert len(losses) == 40
    assert np.mean(losses[-6:]) < 0.8 * np.mean(losses[:6])


def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(boards, tmp_path):
    recipe = Recipe(steps=6, warmup_steps=2, save_every=2, bfloat16=False)

    def batches(step):
        return batch(boards, seed=0, step=step, size=2, crop_px=96)

    whole = _run(recipe)
    whole.train(batches, checkpoint=tmp_path / "whole.pt", report=lambda *_: None)

    def killed(step, *_):
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _run(recipe).train(batches, checkpoint=tmp_path / "part.pt", report=killed)
    (tmp_path / "part.partial").write_bytes(b"a write that was cut off")
    second = _run(recipe)
    second.resume(tmp_path / "part.pt")
    assert second.step == 4
    before_s = second.elapsed_s
    second.train(batches, checkpoint=tmp_path / "part.pt", report=lambda *_: None)

    assert second.elapsed_s > before_s > 0
    for part in ("model", "average"):
        for (name, a), b in zip(getattr(whole, part).state_dict().items(), getattr(second, part).state_dict().values(), strict=True):
            assert torch.equal(a, b), name


@pytest.mark.parametrize(("step", "share"), [(0, 0.1), (9, 1.0), (10, 1.0), (55, 0.505), (100, 0.01)])
def test_the_learning_rate_warms_up_and_cools_down(step, share):
    assert Recipe(steps=100, warmup_steps=10, learning_rate=1.0).rate(step) == pytest.approx(share)


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
