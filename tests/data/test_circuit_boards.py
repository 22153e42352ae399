"""The board generator: same seed same board, labels that are true, and a held-out split that shares nothing but the manner."""

import itertools
from collections import Counter

import cv2
import numpy as np
import pytest

from edgewright.data.circuit_boards import CLASS_NAMES, conveyor_frames, draw_board, draw_flawless_board, write_dataset
from edgewright.data.circuit_boards.defects import add_defects, boxes_of
from edgewright.data.circuit_boards.parameters import RANGES
from edgewright.data.circuit_boards.picture import board_parameters

CORNERS = list(itertools.product(("train", "held_out"), ("camera", "binary")))


def test_names_the_six_kinds_in_deeppcb_order():
    assert CLASS_NAMES == ("open", "short", "mousebite", "spur", "copper", "pin-hole")


@pytest.mark.parametrize(("split", "look"), CORNERS)
def test_equal_seeds_give_equal_boards_and_other_seeds_others(split, look):
    once, again, other = (draw_board(seed, split=split, look=look) for seed in (5, 5, 6))

    assert np.array_equal(once.image_rgb, again.image_rgb)
    assert np.array_equal(once.boxes_xyxy, again.boxes_xyxy)
    assert np.array_equal(once.class_ids, again.class_ids)
    assert not np.array_equal(once.image_rgb, other.image_rgb)


def test_the_splits_draw_different_boards_from_the_same_seed():
    assert not np.array_equal(draw_board(5, split="train").image_rgb, draw_board(5, split="held_out").image_rgb)


@pytest.mark.parametrize(("split", "look"), CORNERS)
@pytest.mark.parametrize("size_px", [320, 640])
def test_pictures_and_boxes_are_well_formed(split, look, size_px):
    for seed in range(4):
        picture = draw_board(seed, split=split, look=look, size_px=size_px)
        wide_high = picture.boxes_xyxy[:, 2:] - picture.boxes_xyxy[:, :2]

        assert picture.image_rgb.shape == (size_px, size_px, 3)
        assert (picture.image_rgb.dtype, picture.boxes_xyxy.dtype, picture.class_ids.dtype) == (np.uint8, np.float32, np.int64)
        assert picture.boxes_xyxy.shape == (len(picture.class_ids), 4)
        assert picture.boxes_xyxy.min(initial=0) >= 0
        assert picture.boxes_xyxy.max(initial=0) <= size_px
        assert wide_high.min(initial=99) >= 12
        assert wide_high.max(initial=0) <= 170
        assert set(picture.class_ids.tolist()) <= set(range(6))


def test_every_kind_occurs_about_as_often_and_some_boards_have_none():
    boards = [draw_board(seed, look="binary") for seed in range(60)]
    kinds = Counter(int(k) for board in boards for k in board.class_ids)

    assert set(kinds) == set(range(6))
    assert max(kinds.values()) < 2 * min(kinds.values())
    assert any(len(board.class_ids) == 0 for board in boards)


@pytest.mark.parametrize("look", ["camera", "binary"])
def test_a_defect_changes_pixels_inside_its_box_and_only_there(look):
    for seed in range(6):
        flawed, flawless = (draw(seed, look=look) for draw in (draw_board, draw_flawless_board))
        change = np.abs(flawed.image_rgb.astype(int) - flawless.image_rgb).max(2)
        labelled = np.zeros(change.shape, bool)
        for x0, y0, x1, y1 in flawed.boxes_xyxy.astype(int):
            inside = change[y0:y1, x0:x1]
            assert (inside > 12).sum() >= 8, f"seed {seed}: nothing to see in the box at {x0}, {y0}"
            labelled[max(y0 - 8, 0) : y1 + 8, max(x0 - 8, 0) : x1 + 8] = True  # JPEG spreads a change over its block

        assert len(flawless.class_ids) == 0
        assert change[~labelled].max(initial=0) <= 12


def _pieces(solid):
    """How many pieces there are; the crumbs of a ragged brush are none."""
    stats = cv2.connectedComponentsWithStats(solid.astype(np.uint8), connectivity=4)[2]
    return int((stats[1:, cv2.CC_STAT_AREA] > 8).sum())


@pytest.mark.parametrize(
    ("kind", "copper_more", "space_more"),
    [("open", 1, 0), ("short", -1, None), ("mousebite", 0, 0), ("spur", 0, 0), ("copper", 1, 0), ("pin-hole", 0, 1)],
)
def test_a_defect_is_what_its_label_says(kind, copper_more, space_more):
    """On unconnected horizontal traces the whole picture's number of pieces tells the kinds apart."""
    for seed in range(40):
        metal = np.zeros((400, 400), np.uint8)
        for y in range(40, 400, 60):
            metal[y : y + 24, 60:340] = 255
        before = metal.copy()
        rng = np.random.default_rng(seed)
        found = add_defects(rng, metal, count=6, border_px=32, keep_clear=np.zeros_like(metal))
        wanted = [d for d in found if CLASS_NAMES[d.class_id] == kind]
        for defect in wanted:
            xs, ys = defect.changed_xy.astype(int).T
            alone = before.copy()
            alone[ys, xs] = metal[ys, xs]
            copper = _pieces(alone > 127) - _pieces(before > 127)
            space = _pieces(alone <= 127) - _pieces(before <= 127)
            assert copper == copper_more, f"seed {seed}"
            assert space_more is None or space == space_more, f"seed {seed}"


def test_the_box_stands_ten_pixels_off_the_change():
    metal = np.zeros((300, 300), np.uint8)
    metal[100:200, 60:240] = 255
    before = metal.copy()
    (defect,) = add_defects(np.random.default_rng(1), metal, count=1, border_px=32, keep_clear=np.zeros_like(metal))
    ys, xs = np.nonzero(np.abs(metal.astype(int) - before) > 127)

    assert boxes_of((defect,), 300).tolist() == [[xs.min() - 10, ys.min() - 10, xs.max() + 11, ys.max() + 11]]


def test_keeps_clear_of_what_must_stay_readable():
    metal = np.zeros((300, 300), np.uint8)
    metal[:, 100:200] = 255

    assert add_defects(np.random.default_rng(0), metal, count=8, border_px=32, keep_clear=np.full_like(metal, 255)) == ()


def test_an_empty_board_has_no_defect_to_show_but_spurious_copper():
    metal = np.zeros((300, 300), np.uint8)
    found = add_defects(np.random.default_rng(0), metal, count=12, border_px=32, keep_clear=np.zeros_like(metal))

    assert {CLASS_NAMES[d.class_id] for d in found} <= {"copper", "spur"}  # a spur may grow from spurious copper
    assert found


@pytest.mark.parametrize("name", sorted(RANGES["train"]))
def test_held_out_ranges_share_nothing_with_training_ranges(name):
    for (low, high), (other_low, other_high) in itertools.product(RANGES["train"][name], RANGES["held_out"][name]):
        assert high < other_low or other_high < low


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_boards_are_made_with_their_own_splits_ranges(split):
    for seed in range(50):
        parameters = board_parameters(seed, split)
        for name, bands in RANGES[split].items():
            assert any(low <= getattr(parameters, name) <= high for low, high in bands), f"{name} of seed {seed}"


def test_the_binary_look_is_black_and_white_with_both_in_plenty():
    shares = []
    for seed in range(20):
        image = draw_board(seed, look="binary").image_rgb
        assert set(np.unique(image).tolist()) <= {0, 255}
        shares.append((image == 0).mean())
    assert 0.1 < np.mean(shares) < 0.6


def test_writes_a_folder_that_ultralytics_reads(tmp_path):
    seen = []
    yaml_path = write_dataset(tmp_path / "a", train=3, val=2, seed=4, look="mixed", size_px=320, progress=lambda *at: seen.append(at))

    assert yaml_path == tmp_path / "a" / "data.yaml"
    assert "path: .\ntrain: images/train\nval: images/val\nnc: 6\n" in yaml_path.read_text()
    assert "  5: pin-hole\n" in yaml_path.read_text()
    assert seen == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    for part, count in (("train", 3), ("val", 2)):
        images = sorted((tmp_path / "a" / "images" / part).iterdir())
        labels = sorted((tmp_path / "a" / "labels" / part).iterdir())
        assert [p.stem for p in images] == [p.stem for p in labels]
        assert len(images) == count
        rows = np.array([line.split() for path in labels for line in path.read_text().splitlines()], float)
        assert rows.shape[1] == 5
        assert rows[:, 1:].min() >= 0
        assert rows[:, 1:].max() <= 1


def test_the_same_arguments_write_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_dataset(tmp_path / name, train=1, val=1, look="mixed", size_px=320)
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()]

    assert len(files) == 5
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_boards_pass_by_on_the_belt():
    frames = list(conveyor_frames(2, frames=3, size_wh=(480, 270), boards=1))
    again = list(conveyor_frames(2, frames=3, size_wh=(480, 270), boards=1))

    assert [frame.shape for frame in frames] == [(270, 480, 3)] * 3
    assert all(frame.dtype == np.uint8 for frame in frames)
    assert all(np.array_equal(a, b) for a, b in zip(frames, again, strict=True))
    moved = np.abs(frames[1][:, :-6].astype(int) - frames[0][:, 6:]).mean()
    stood = np.abs(frames[1].astype(int) - frames[0]).mean()
    assert moved < stood


@pytest.mark.parametrize(("split", "look"), CORNERS)
def test_every_labelled_defect_is_in_view(split, look):
    """A box cut by the picture's edge may lose margin, never the defect: ten pixels of margin a side stay at most outside."""
    for seed in range(12):
        for x0, y0, x1, y1 in draw_board(seed, split=split, look=look).boxes_xyxy:
            assert x1 > 10
            assert y1 > 10
            assert x0 < 630
            assert y0 < 630
