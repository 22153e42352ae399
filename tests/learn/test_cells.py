"""What a raw head says at every cell, held against the decoding that ships."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch learns and nothing else: pip install 'edgewright[learn]'")

from edgewright.artifact import RAW_ROLES, HeadOutput, HeadSpec  # noqa: E402
from edgewright.errors import ModelError  # noqa: E402
from edgewright.learn.cells import expected_distances, read_cells  # noqa: E402
from edgewright.vision.heads import decode  # noqa: E402

STRIDES = (8, 16, 32)
SIZE_WH = (96, 64)  # unequal, so that rows taken for columns would show
CLASSES = 3
ANCHORS = (((10.0, 13.0), (16.0, 30.0)), ((30.0, 61.0), (62.0, 45.0)), ((116.0, 90.0), (156.0, 198.0)))
EVERYTHING = -1.0  # a score that every cell is above


def head(family, reg_max=None, anchors=None):
    outputs = tuple(HeadOutput(f"{role}{stride}", role, stride) for stride in STRIDES for role in RAW_ROLES[family])
    return HeadSpec(family, STRIDES, reg_max, outputs, anchors)


def random_maps(spec, seed=0, pictures=1):
    generator = torch.Generator().manual_seed(seed)
    channels = {"box": 4 * (spec.reg_max or 1), "class": CLASSES, "objectness": 1, "combined": 2 * (5 + CLASSES)}
    return [
        torch.randn(pictures, channels[each.role], SIZE_WH[1] // each.stride, SIZE_WH[0] // each.stride, generator=generator)
        for each in spec.outputs
    ]


@pytest.mark.parametrize(
    "spec",
    [head("yolov8", 16), head("yolov8", 1), head("yolov5", anchors=ANCHORS), head("yolox")],
    ids=["yolov8", "yolov8 of plain distances", "yolov5", "yolox"],
)
def test_every_cell_says_what_the_decoding_says(spec):
    maps = random_maps(spec)
    boxes, scores, class_ids = decode(spec, [each.numpy() for each in maps], EVERYTHING, size_wh=SIZE_WH)
    cells = read_cells(spec, maps)
    best = cells.scores()[0].max(-1)

    assert len(boxes) == (96 * 64) // 64 * (1 + 1 / 4 + 1 / 16) * (2 if spec.anchors else 1)
    np.testing.assert_allclose(cells.boxes_xyxy[0].numpy(), boxes, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(best.values.numpy(), scores, atol=1e-6)
    assert best.indices.tolist() == class_ids.tolist()


def test_pairs_of_an_end_to_end_head_are_cells_and_classes():
    spec = head("end2end", 1)
    maps = random_maps(spec)
    boxes, scores, class_ids = decode(spec, [each.numpy() for each in maps], EVERYTHING, size_wh=SIZE_WH)
    cells = read_cells(spec, maps)
    likely = cells.scores()[0].flatten()
    order = likely.argsort(descending=True)[: len(scores)]

    assert len(scores) == 300
    np.testing.assert_allclose(likely[order].numpy(), scores, atol=1e-6)
    assert (order % CLASSES).tolist() == class_ids.tolist()
    np.testing.assert_allclose(cells.boxes_xyxy[0][order // CLASSES].numpy(), boxes, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(
    "spec", [head("yolov8", 4), head("yolov5", anchors=ANCHORS), head("yolox")], ids=["yolov8", "yolov5 with anchors", "yolox"]
)
def test_pictures_of_a_batch_are_read_apart(spec):
    maps = random_maps(spec, pictures=2)
    together, second = read_cells(spec, maps), read_cells(spec, [each[1:] for each in maps])

    assert torch.allclose(together.boxes_xyxy[1:], second.boxes_xyxy)
    assert torch.allclose(together.scores()[1:], second.scores())


def test_cells_lie_at_their_centres_finest_grid_first():
    spec = head("yolov8", 4)
    cells = read_cells(spec, [torch.zeros(1, channels, *size) for size in ((2, 3), (1, 2), (1, 1)) for channels in (16, CLASSES)])

    assert cells.points_xy.tolist() == [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12], [8, 8], [24, 8], [16, 16]]
    assert cells.strides.flatten().tolist() == [8] * 6 + [16] * 2 + [32]


def test_a_sharp_distribution_means_its_bin():
    logits = torch.full((1, 4, 16), -50.0)
    for side, bin_ in enumerate((0, 3, 7, 15)):
        logits[0, side, bin_] = 50.0

    assert expected_distances(logits)[0].tolist() == pytest.approx([0, 3, 7, 15])


@pytest.mark.parametrize("spec", [head("yolov8", 4), head("yolov5", anchors=ANCHORS), head("yolox")], ids=lambda spec: spec.family)
def test_gradients_reach_every_map_and_stay_finite_where_logits_do_not_make_sense(spec):
    maps = [(each * 1000).requires_grad_() for each in random_maps(spec)]
    cells = read_cells(spec, maps)
    (cells.boxes_xyxy.sum() + cells.scores().sum()).backward()

    assert all(torch.isfinite(each.grad).all() for each in maps)


@pytest.mark.parametrize("role", ["decoded", "undecoded"])
def test_a_head_whose_decode_lies_in_the_graph_is_refused(role):
    spec = HeadSpec("yolox", STRIDES, None, (HeadOutput("rows", role),))

    with pytest.raises(ModelError, match="cannot be trained"):
        read_cells(spec, [torch.zeros(1, 126, 8)])
