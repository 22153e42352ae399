"""Frames as a student sees them: a batch for a step, whoever asks and when; and boxes that go where their pictures go."""

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="what learns needs PyTorch: pip install 'edgewright[learn]'")

from edgewright.artifact import InputSpec  # noqa: E402
from edgewright.data.sample import Truth  # noqa: E402
from edgewright.learn.material import ZOOM, Frames, to_input  # noqa: E402
from edgewright.vision.letterbox import GREY, Letterbox  # noqa: E402

INPUT = InputSpec("images", (1, 3, 96, 96))
GROUND, PAINT = 20, 235
BOX = np.array([[30, 20, 90, 60]], np.float32)  # in a picture of 160 x 80
RED = np.zeros(1, np.int64)
STILL = {"zoomed": 0.0, "flipped": 0.0, "through_camera": 0.0}


@dataclass
class Marking:
    """A camera whose pictures are known by their first pixel."""

    seen: list = field(default_factory=list)

    def apply(self, picture, rng):
        self.seen.append(rng.random())
        marked = picture.copy()
        marked[0, 0] = (1, 2, 3)
        return marked


def painted(path, size_wh=(160, 80), box=BOX[0]):
    """A dark picture with one bright rectangle."""
    picture = np.full((size_wh[1], size_wh[0], 3), GROUND, np.uint8)
    x1, y1, x2, y2 = (int(edge) for edge in box)
    picture[y1:y2, x1:x2] = PAINT
    cv2.imwrite(str(path), picture)
    return path


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Twenty pictures, each of a grey of its own."""
    folder = tmp_path_factory.mktemp("frames")
    for at in range(20):
        cv2.imwrite(str(folder / f"{at:02}.png"), np.full((60, 100, 3), 10 * at + 20, np.uint8))
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def rectangle(tmp_path_factory):
    return painted(tmp_path_factory.mktemp("rectangle") / "one.png")


def views(frames, steps):
    return [view for step in range(steps) for view in frames._views(step)]


def bright_in(picture):
    """The rectangle that is bright, x1, y1, x2, y2, and how many pixels are; None where there are none."""
    rows, columns = np.nonzero(picture.mean(axis=2) > (GREY + PAINT) / 2)
    if not rows.size:
        return None, 0
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]), rows.size


# --- which pictures ----------------------------------------------------------------------------------------------------------------------


def test_a_batch_depends_on_seed_and_step_alone(paths):
    first, second = (Frames(paths, INPUT, (64, 64), seed=5, batch=6) for _ in range(2))
    in_order = [first.pictures(step) for step in range(4)]
    backwards = [second.pictures(step) for step in (3, 2, 1, 0)][::-1]

    assert all(np.array_equal(a, b) for a, b in zip(in_order, backwards, strict=True))
    assert not any(np.array_equal(in_order[0], other) for other in in_order[1:])
    assert not np.array_equal(in_order[0], replace(first, seed=6).pictures(0))


def test_every_frame_comes_once_before_any_comes_again(paths):
    frames = Frames(paths, INPUT, (64, 64), batch=6, **STILL)
    order = [view.index for view in views(frames, 20)]
    rounds = [order[at : at + 20] for at in range(0, 120, 20)]

    assert all(sorted(each) == list(range(20)) for each in rounds)
    assert len({tuple(each) for each in rounds}) == len(rounds), "each time in another order"


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_so_many_pictures_are_seen_through_a_camera(paths, share):
    camera = Marking()
    frames = replace(Frames(paths, INPUT, (32, 32), batch=20), through_camera=share, camera=camera)
    marked = sum(tuple(view.picture[0, 0]) == (1, 2, 3) for view in views(frames, 20))

    assert marked == len(camera.seen)
    assert len(set(camera.seen)) == len(camera.seen), "each with chances of its own"
    assert marked == 400 * share if share in (0.0, 1.0) else abs(marked - 100) < 35


def test_half_of_the_pictures_are_mirrored_and_half_zoomed(paths):
    found = views(Frames(paths, INPUT, (32, 32), batch=20, through_camera=0.0), 20)
    sizes = [view.letterbox.input_wh for view in found]
    zoomed = [wide / 96 for wide, high in sizes if (wide, high) != (96, 96)]

    assert abs(sum(view.mirrored for view in found) - 200) < 50
    assert abs(len(zoomed) - 200) < 50
    assert all(wide == high for wide, high in sizes)
    assert ZOOM[0] - 0.01 <= min(zoomed) < 0.85
    assert 1.25 < max(zoomed) <= ZOOM[1] + 0.01


def test_pictures_that_nothing_is_done_to_are_letterboxed_as_they_are_deployed(rectangle):
    frames = Frames([rectangle], INPUT, INPUT.size_wh, batch=1, **STILL)
    picture = cv2.imread(str(rectangle))[..., ::-1]

    np.testing.assert_array_equal(frames.pictures(0)[0], Letterbox.fit((160, 80), (96, 96)).apply(np.ascontiguousarray(picture)))


# --- what is in them ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size_wh", [(96, 96), (64, 64), (64, 32)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_box_follows_its_picture_through_letterbox_cut_and_mirror(rectangle, size_wh):
    frames = Frames([rectangle], INPUT, size_wh, batch=8, through_camera=0.0)
    kept = dropped = 0
    for view in views(frames, 25):
        boxes, kinds = view.boxes(BOX, RED)
        bright, count = bright_in(view.picture)
        whole = np.prod((BOX[0, 2:] - BOX[0, :2]) * view.letterbox.scale)
        if len(boxes):
            kept += 1
            assert kinds.tolist() == [0]
            assert np.abs(boxes[0] - bright).max() <= 1.5
            assert boxes.dtype == np.float32
        else:
            dropped += 1
            assert count < 0.62 * whole, "a cut that leaves most of a box leaves the box"
    assert kept > 20
    assert dropped > 0 or min(size_wh) > 40, "a low window misses some boxes"


def test_boxes_end_where_the_cut_ends(rectangle):
    frames = Frames([rectangle], INPUT, (48, 32), batch=8, through_camera=0.0)
    for view in views(frames, 25):
        boxes, _ = view.boxes(BOX, RED)
        assert ((boxes >= 0) & (boxes <= [48, 32, 48, 32])).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_pictures_smaller_than_the_cut_lie_somewhere_in_grey(rectangle):
    frames = replace(Frames([rectangle], INPUT, (96, 96), batch=8, flipped=0.0, through_camera=0.0), zoomed=1.0)
    corners = set()
    for view in views(frames, 12):
        wide, high = view.letterbox.input_wh
        if wide >= 96:
            continue
        corners.add((-view.x, -view.y))
        outside = np.ones((96, 96), bool)
        outside[-view.y : -view.y + high, -view.x : -view.x + wide] = False
        assert (view.picture[outside] == GREY).all()
        assert (view.picture[~outside] != GREY).any()
    assert len(corners) > 5


def test_what_is_marked_as_a_crowd_is_not_learned(rectangle):
    def truth(index, size_wh):
        assert (index, size_wh) == (0, (160, 80))
        boxes = np.repeat(BOX, 2, axis=0)
        return Truth(boxes, np.array([3, 4]), np.array([True, False]), np.zeros(2, np.float32))

    batch = Frames([rectangle], INPUT, (96, 96), batch=3, **STILL).labelled(0, truth)

    assert batch.pictures.shape == (3, 96, 96, 3)
    assert batch.truth.present.sum() == 3
    assert batch.truth.class_ids[batch.truth.present].tolist() == [4, 4, 4]


def test_labelled_pictures_are_the_ones_without_labels(rectangle):
    frames = Frames([rectangle], INPUT, (64, 64), batch=4)
    labelled = frames.labelled(3, lambda *_: Truth(BOX, RED, np.zeros(1, bool), np.zeros(1, np.float32)))

    np.testing.assert_array_equal(labelled.pictures, frames.pictures(3))


# --- as the network takes them -----------------------------------------------------------------------------------------------------------


def test_pictures_come_in_the_network_s_own_colours_and_scale():
    pictures = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), np.uint8)
    plain = to_input(pictures, INPUT)
    other = to_input(pictures, replace(INPUT, colour="BGR", scale=2.0, mean=(1.0, 2.0, 3.0)))

    np.testing.assert_allclose(plain.numpy(), pictures.transpose(0, 3, 1, 2) / 255, rtol=1e-6)
    np.testing.assert_allclose(other.numpy(), (pictures[..., ::-1].transpose(0, 3, 1, 2) - np.array([1, 2, 3]).reshape(1, 3, 1, 1)) * 2)
    assert plain.dtype == torch.float32
