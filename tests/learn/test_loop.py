"""The loop's promises: it learns, it can be killed, and the average follows. With a network that takes milliseconds."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch learns and nothing else: pip install 'edgewright[learn]'")

from edgewright.artifact import HeadOutput, HeadSpec  # noqa: E402
from edgewright.errors import InputError  # noqa: E402
from edgewright.learn.cells import read_cells  # noqa: E402
from edgewright.learn.checkpoint import Checkpoint  # noqa: E402
from edgewright.learn.loop import PREPARED_AHEAD, Schedule, Training  # noqa: E402
from edgewright.learn.losses import BoxesInBatch, label_loss  # noqa: E402

HEAD = HeadSpec("yolov8", (8,), 8, (HeadOutput("box", "box", 8), HeadOutput("class", "class", 8)))
CLASSES = 2


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


class TinyDetector(torch.nn.Module):
    def __init__(self, width=8):
        super().__init__()
        layers = [layer for inputs in (3, width, width) for layer in self._layer(inputs, width)]
        self.body = torch.nn.Sequential(*layers)
        self.box = torch.nn.Conv2d(width, 4 * HEAD.reg_max, 1)
        self.score = torch.nn.Conv2d(width, CLASSES, 1)

    @staticmethod
    def _layer(inputs, width):
        return torch.nn.Conv2d(inputs, width, 3, 2, 1, bias=False), torch.nn.BatchNorm2d(width), torch.nn.ReLU()

    def forward(self, images):
        found = self.body(images)
        return [self.box(found), self.score(found)]


class Squares:
    """A bright square a picture: a large one is of class 0, a small one of class 1."""

    def __init__(self, different_batches=1000):
        self.different_batches = different_batches
        self.asked = []

    def batch(self, step):
        self.asked.append(step)
        rng = np.random.default_rng(step % self.different_batches)
        images, boxes = rng.uniform(0, 0.2, (4, 3, 64, 64)).astype(np.float32), np.zeros((4, 1, 4), np.float32)
        class_ids = rng.integers(0, CLASSES, (4, 1))
        for image, box, kind in zip(images, boxes[:, 0], class_ids[:, 0], strict=True):
            side = (36, 16)[kind]
            x, y = rng.integers(0, 64 - side, 2)
            box[:] = x, y, x + side, y + side
            image[:, y : y + side, x : x + side] += 0.7
        present = torch.ones(4, 1, dtype=torch.bool)
        return torch.from_numpy(images), BoxesInBatch(torch.from_numpy(boxes), torch.from_numpy(class_ids), present)

    def loss(self, model, batch, step):
        images, truth = batch
        return label_loss(read_cells(HEAD, model(images.contiguous(memory_format=torch.channels_last))), truth)


def training_of(schedule, lesson=None, width=8):
    torch.manual_seed(3)
    return Training(TinyDetector(width).to(memory_format=torch.channels_last), schedule, lesson or Squares())


def silent(*_):
    pass


def same(a, b):
    """Names of what two trainings hold otherwise."""
    return [
        f"{part}.{name}"
        for part in ("model", "average")
        for (name, one), other in zip(getattr(a, part).state_dict().items(), getattr(b, part).state_dict().values(), strict=True)
        if not torch.equal(one, other)
    ]


@pytest.mark.parametrize("bfloat16", [False, True])
def test_the_loss_falls(tmp_path, bfloat16):
    losses = []
    training = training_of(Schedule(steps=60, warmup_steps=4, learning_rate=1e-2, bfloat16=bfloat16), Squares(different_batches=2))
    training.train(checkpoint=tmp_path / "c", report=lambda _, loss, __: losses.append(float(loss.total.detach())))

    assert len(losses) == 60
    assert training.is_done
    assert np.mean(losses[-6:]) < 0.7 * np.mean(losses[:6])


@pytest.mark.parametrize("bfloat16", [False, True])
def test_an_interrupted_training_ends_where_an_uninterrupted_one_does(tmp_path, bfloat16):
    schedule = Schedule(steps=7, warmup_steps=2, save_every=2, bfloat16=bfloat16)
    whole = training_of(schedule)
    whole.train(checkpoint=tmp_path / "whole", report=silent)

    def killed(step, *_):
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training_of(schedule).train(checkpoint=tmp_path / "part", report=killed)
    second = training_of(schedule)
    second.resume(tmp_path / "part")
    assert second.step == 4
    before_s = second.elapsed_s
    second.train(checkpoint=tmp_path / "part", report=silent)

    assert second.elapsed_s > before_s > 0
    assert same(whole, second) == []
    assert Checkpoint.read(tmp_path / "part").tensors.keys() == Checkpoint.read(tmp_path / "whole").tensors.keys()


def test_a_training_can_go_on_bit_by_bit(tmp_path):
    schedule = Schedule(steps=5, warmup_steps=2, bfloat16=False)
    whole, parts, lesson = training_of(schedule), training_of(schedule), Squares()
    parts.lesson = lesson
    whole.train(checkpoint=tmp_path / "whole", report=silent)
    while not parts.is_done:
        parts.train(checkpoint=tmp_path / "parts", report=silent, stop_after=2)

    assert lesson.asked == [0, 1, 2, 3, 4]  # nothing is prepared that is not learned from
    assert same(whole, parts) == []


def test_batches_are_prepared_ahead_and_not_all_at_once(tmp_path):
    ahead, lesson = [], Squares()
    training = training_of(Schedule(steps=9, bfloat16=False), lesson)
    training.train(checkpoint=tmp_path / "c", report=lambda step, *_: ahead.append(len(lesson.asked) - step))

    assert lesson.asked == list(range(9))
    assert max(ahead) <= PREPARED_AHEAD


def test_statistics_are_learned_and_the_average_follows(tmp_path):
    schedule = Schedule(steps=1, bfloat16=False)
    training = training_of(schedule)
    first = copy.deepcopy(training.model.state_dict())
    training.train(checkpoint=tmp_path / "c", report=silent)
    model, average = training.model.state_dict(), training.average.state_dict()
    keep = schedule.decay(0)

    assert training.model.training
    assert not torch.equal(model["body.1.running_mean"], first["body.1.running_mean"])
    for name in ("body.0.weight", "body.1.running_mean", "body.1.running_var"):
        torch.testing.assert_close(average[name], keep * first[name] + (1 - keep) * model[name])
    assert average["body.1.num_batches_tracked"] == model["body.1.num_batches_tracked"] == 1
    assert not any(each.requires_grad for each in training.average.parameters())


@pytest.mark.parametrize(("step", "share"), [(0, 0.1), (9, 1.0), (10, 1.0), (55, 0.505), (100, 0.01)])
def test_the_learning_rate_warms_up_and_cools_down(step, share):
    assert Schedule(steps=100, warmup_steps=10, learning_rate=1.0).rate(step) == pytest.approx(share)


def test_the_average_forgets_fast_at_first():
    keeps = [Schedule(steps=100).decay(step) for step in (0, 100, 1000, 100_000)]

    assert keeps == sorted(keeps)
    assert keeps[0] < 0.01
    assert keeps[-1] == pytest.approx(0.999)


def saved(folder, change=None):
    """A checkpoint of two steps, changed."""
    training = training_of(Schedule(steps=2, bfloat16=False))
    training.train(checkpoint=folder / "c", report=silent)
    found = Checkpoint.read(folder / "c")
    tensors, facts = dict(found.tensors), dict(found.facts)
    if change:
        change(tensors, facts)
    Checkpoint(tensors, facts).write(folder / "c")
    return folder / "c"


@pytest.mark.parametrize(
    ("change", "got"),
    [
        (lambda tensors, _: tensors.pop("model.body.0.weight"), 'Missing key(s) in state_dict: "body.0.weight"'),
        (lambda tensors, _: tensors.pop("average.body.1.running_mean"), '"body.1.running_mean"'),
        (lambda tensors, _: tensors.update({"model.\x1b[31m": torch.zeros(1)}), "Unexpected key(s)"),
        (lambda tensors, _: tensors.update({"model.score.weight": torch.zeros(3, 8, 1, 1)}), "size mismatch for score.weight"),
        (lambda tensors, _: tensors.update({"optimizer.0.exp_avg": torch.zeros(2)}), "what the optimizer held of parameter 0"),
        (lambda tensors, _: tensors.pop("optimizer.0.exp_avg_sq"), "what the optimizer held of parameter 0"),
        (lambda tensors, _: tensors.update({"optimizer.99.step": torch.zeros(())}), "out of range"),
        (lambda tensors, _: tensors.update({"optimizer.first.step": torch.zeros(())}), "first"),
        (lambda _, facts: facts.pop("step"), "'step'"),
        (lambda _, facts: facts.update(step="many"), "many"),
        (lambda _, facts: facts.update(step=float("inf")), "infinity"),
        (lambda _, facts: facts.update(step=-1), "step -1"),
        (lambda _, facts: facts.update(elapsed_s=None), "NoneType"),
    ],
    ids=lambda value: None,
)
def test_a_checkpoint_that_does_not_fit_is_refused_in_a_sentence(tmp_path, change, got):
    with pytest.raises(InputError, match="is of another model") as refusal:
        training_of(Schedule(steps=2)).resume(saved(tmp_path, change))

    assert got in refusal.value.got
    assert str(refusal.value).isprintable()


def test_a_checkpoint_of_a_wider_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="is of another model"):
        training_of(Schedule(steps=2), width=12).resume(saved(tmp_path))
