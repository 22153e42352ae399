"""The arithmetic of the losses, by hand and by table."""

import math

import pytest

torch = pytest.importorskip("torch", reason="PyTorch learns and nothing else: pip install 'edgewright[learn]'")

from edgewright.learn.cells import Cells  # noqa: E402
from edgewright.learn.losses import (  # noqa: E402
    BOX_GAIN,
    SCORE_GAIN,
    SIDE_GAIN,
    BoxesInBatch,
    assign,
    distribution_focal,
    iou,
    label_loss,
    teacher_loss,
)

BINS, CLASSES = 16, 6


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
    logits = torch.linspace(-1, 1, BINS).repeat(1, 4, 1)
    log_likely = logits[0, 0].log_softmax(-1)
    expected = -sum(weight * float(log_likely[k]) for k, weight in bins.items())

    assert distribution_focal(logits, torch.full((1, 4), distance)).item() == pytest.approx(expected, rel=1e-4)


def truth_of(boxes, class_ids, present=None):
    present = present or [True] * len(boxes)
    return BoxesInBatch(torch.tensor([boxes], dtype=torch.float32), torch.tensor([class_ids]), torch.tensor([present]))


def assigned(cells, truth):
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
    given = assigned(TWO, truth_of(truth_boxes, truth_classes, present))

    assert given.answers[0].tolist() == answers
    assert [row if yes else None for row, yes in zip(given.row[0].tolist(), answers, strict=True)] == rows


def test_the_best_cell_is_asked_for_the_overlap_and_others_for_less():
    points = [[10.0, 10], [12.0, 10], [90.0, 90]]
    boxes = [[0, 0, 20, 20], [2, 0, 22, 20], [80, 80, 100, 100]]
    given = assigned({"scores": [[0.5, 0.5]] * 3, "boxes": boxes, "points": points}, truth_of([[0, 0, 20, 20]], [1]))

    best, second, none = given.score[0].tolist()
    assert best == pytest.approx([0, 1.0], abs=1e-4)
    assert 0 < second[1] < (18 / 22)
    assert none == [0, 0]


def test_at_most_ten_cells_answer_for_one_box():
    points = [[x + 0.5, y + 0.5] for x in range(8) for y in range(8)]
    given = assigned({"scores": [[0.5]] * 64, "boxes": [[0, 0, 8, 8]] * 64, "points": points}, truth_of([[0, 0, 8, 8]], [0]))

    assert int(given.answers.sum()) == 10


def cells_of(class_logits, boxes, points, *, sides=None, objectness=None, stride=8.0):
    """Cells of one picture."""
    points = torch.tensor(points, dtype=torch.float32)
    sides = None if sides is None else sides[None]
    objectness = None if objectness is None else objectness[None]
    return Cells(class_logits[None], objectness, sides, boxes[None], points, torch.full_like(points[:, :1], stride))


def random_cells(seed=0, *, with_objectness=False, with_sides=False, count=20):
    generator = torch.Generator().manual_seed(seed)
    corner, size = 90 * torch.rand(count, 2, generator=generator), 5 + 20 * torch.rand(count, 2, generator=generator)
    return cells_of(
        torch.randn(count, CLASSES, generator=generator).requires_grad_(),
        torch.cat([corner, corner + size], -1).requires_grad_(),
        (corner + size / 2).tolist(),
        sides=torch.randn(count, 4, BINS, generator=generator).requires_grad_() if with_sides else None,
        objectness=torch.randn(count, generator=generator).requires_grad_() if with_objectness else None,
    )


def test_a_picture_with_nothing_in_it_has_a_loss_too():
    logits = torch.zeros(84, CLASSES, requires_grad=True)
    sides = torch.zeros(84, 4, BINS, requires_grad=True)
    found = cells_of(logits, torch.zeros(84, 4, requires_grad=True), [[0.0, 0.0]] * 84, sides=sides)
    loss = label_loss(found, BoxesInBatch(torch.zeros(1, 1, 4), torch.zeros(1, 1, dtype=torch.long), torch.zeros(1, 1, dtype=torch.bool)))
    loss.total.backward()

    assert (loss.box, loss.side) == (0, 0)
    assert loss.score == pytest.approx(84 * CLASSES * math.log(2), rel=1e-5)
    assert torch.isfinite(logits.grad).all()


def test_right_answers_cost_next_to_nothing_and_wrong_ones_much():
    box = [40.0, 24.0, 56.0, 56.0]
    certain = torch.full((2, 2), -20.0)
    certain[0, 1] = 20.0
    boxes, points = torch.tensor([box, [0.0, 0.0, 16.0, 16.0]]), [[48.0, 40.0], [8.0, 8.0]]
    sides = torch.full((2, 4, BINS), -30.0)
    for side, cells in enumerate((1, 2, 1, 2)):  # 8, 16, 8 and 16 px from the centre, in strides of 8
        sides[:, side, cells] = 30.0
    right = label_loss(cells_of(certain, boxes, points, sides=sides), truth_of([box], [1]))
    shifted = label_loss(cells_of(certain, boxes + 6, points, sides=sides.roll(1, -1)), truth_of([box], [1]))
    silent = label_loss(cells_of(-certain, boxes, points, sides=sides), truth_of([box], [1]))

    assert right.total.item() == pytest.approx(0, abs=1e-3)
    assert shifted.box > 0.2
    assert shifted.side > 10
    assert silent.score > 20


def test_the_total_is_the_weighed_sum_of_its_parts():
    found = random_cells(with_sides=True)
    loss = label_loss(found, truth_of(found.boxes_xyxy[0, :3].tolist(), [0, 1, 2]))

    assert loss.box > 0 or loss.side > 0
    assert loss.total.item() == pytest.approx(BOX_GAIN * loss.box + SCORE_GAIN * loss.score + SIDE_GAIN * loss.side, rel=1e-5)


def test_an_objectness_is_asked_for_the_score_too():
    found = random_cells(with_objectness=True)
    found.objectness.retain_grad()
    truth = truth_of(found.boxes_xyxy[0, :1].tolist(), [2])
    answers = assign(found.scores(), found.boxes_xyxy, found.points_xy, truth).answers
    label_loss(found, truth).total.backward()

    assert answers[0, 0]
    assert found.objectness.grad[0, 0] < 0  # up
    assert (found.objectness.grad[~answers] > 0).all()  # down


HEADS = pytest.mark.parametrize(
    "kind", [{}, {"with_sides": True}, {"with_objectness": True}], ids=["boxes alone", "distributions", "objectness"]
)


@HEADS
def test_a_student_that_says_what_its_teacher_says_has_nothing_to_learn(kind):
    found, taught = random_cells(**kind), random_cells(**kind)
    loss = teacher_loss(found, taught)
    found.class_logits.retain_grad()
    found.boxes_xyxy.retain_grad()
    loss.total.backward()

    assert loss.total.item() == pytest.approx(0, abs=1e-4)
    assert found.class_logits.grad.abs().max() < 1e-5
    assert found.boxes_xyxy.grad.abs().max() < 1e-3


@HEADS
def test_a_student_that_says_otherwise_goes_towards_its_teacher(kind):
    found, taught = random_cells(1, **kind), random_cells(0, **kind)
    found.class_logits.retain_grad()
    loss = teacher_loss(found, taught)
    loss.total.backward()

    assert min(loss.box, loss.score) > 0
    assert (loss.side > 0) == ("with_sides" in kind)
    apart = found.class_logits.sigmoid() - taught.class_logits.sigmoid()
    assert (found.class_logits.grad.sign() == apart.sign()).all()


def test_where_a_teacher_sees_nothing_its_boxes_mean_nothing():
    taught = random_cells()
    blind = Cells(torch.full_like(taught.class_logits, -9.0), None, None, taught.boxes_xyxy, taught.points_xy, taught.strides)

    assert teacher_loss(random_cells(1), blind).box == 0
