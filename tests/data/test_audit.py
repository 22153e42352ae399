"""The audit speaks where something is wrong with a calibration set, and is silent where nothing is."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from edgewright.data import audit as audit_module
from edgewright.data.audit import (
    FEATURES,
    FEWEST_IMAGES,
    MOST_LISTED,
    SAME_BITS,
    alike_between,
    alike_within,
    audit,
    ks_distance,
    looks_of,
    perceptual_hash,
    pictures_in,
    read_small,
    shifts,
)
from edgewright.data.calibration import CalibrationSet, choose_calibration
from edgewright.data.cameras import PRESETS
from edgewright.data.dataset import Dataset, Sample, YoloText, open_dataset
from edgewright.errors import DataError


def scene(rng: np.random.Generator, mean: float = 120, spread: float = 40, size: int = 96) -> np.ndarray:
    """A picture with shapes of its own: coarse noise made smooth, RGB."""
    noise = cv2.resize(rng.standard_normal((10, 10, 3)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(mean + spread * noise / noise.std(), 0, 255).astype(np.uint8)


def write(path, picture, quality=95):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return path


@pytest.fixture
def world(tmp_path):
    """`world(train, val)` writes pictures and returns the data set; each is (picture, classes)."""

    def build(train, val=(), classes=("a", "b")):
        splits = {}
        for name, pictures in (("train", train), ("val", val)):
            samples = []
            for number, (picture, held) in enumerate(pictures):
                labels = tmp_path / f"labels/{name}/{number:03}.txt"
                labels.parent.mkdir(parents=True, exist_ok=True)
                labels.write_text("".join(f"{cls} 0.5 0.5 0.2 0.2\n" for cls in held))
                samples.append(Sample(write(tmp_path / f"images/{name}/{number:03}.jpg", picture), YoloText(labels)))
            splits[name] = tuple(samples)
        return Dataset(tmp_path / "data.yaml", classes, {name: held for name, held in splits.items() if held})

    return build


def whole(dataset: Dataset, **changes) -> CalibrationSet:
    return replace(choose_calibration(dataset, len(dataset.split("train")), seed=0), **changes)


def codes(found) -> set[str]:
    return {finding.code for finding in found.findings}


def test_a_sound_set_has_no_findings(world):
    rng = np.random.default_rng(0)
    dataset = world([(scene(rng), [n % 2]) for n in range(70)], [(scene(rng), [0]) for _ in range(40)])
    found = audit(dataset, whole(dataset))
    assert found.findings == ()
    assert found.sound
    assert found.considered == {"calibration": 70, "train": 70, "judging": 40, "against": None}
    assert {name: (each.train, each.calibration) for name, each in found.classes.items()} == {"a": (35, 35), "b": (35, 35)}
    assert sum(each.train for each in found.brightness) == 70
    assert [each.low for each in found.brightness] == [0, 32, 64, 96, 128, 160, 192, 224]
    assert json.loads(json.dumps(found.to_json()))["findings"] == []


@pytest.mark.parametrize(("images", "said"), [(FEWEST_IMAGES - 1, True), (FEWEST_IMAGES, False)])
def test_few_images_are_said_with_the_chance_they_miss(world, images, said):
    rng = np.random.default_rng(0)
    dataset = world([(scene(rng), [0]) for _ in range(images)])
    findings = [finding for finding in audit(dataset, whole(dataset)).findings if finding.code == "few-images"]
    assert [finding.what.endswith("chance of 5%") for finding in findings] == [True] * said
    assert 0.95**FEWEST_IMAGES < 0.05 <= 0.95 ** (FEWEST_IMAGES - 1)


def test_copies_and_near_copies_in_the_set(world):
    rng = np.random.default_rng(0)
    pictures = [scene(rng) for _ in range(6)]
    brighter = cv2.convertScaleAbs(cv2.resize(pictures[1], (80, 80)), alpha=0.9)
    dataset = world([(each, [0]) for each in (*pictures, pictures[0], brighter)])
    found = audit(dataset, whole(dataset))
    assert found.duplicate_pairs == 2
    by_names = {frozenset((pair.first[-7:], pair.second[-7:])): pair.bits for pair in found.duplicates}
    assert by_names[frozenset(("000.jpg", "006.jpg"))] is None
    assert 0 <= by_names[frozenset(("001.jpg", "007.jpg"))] <= SAME_BITS
    assert "duplicates" in codes(found)
    assert found.sound


def test_a_judging_picture_in_the_set_is_an_error_and_a_near_one_a_warning(world):
    rng = np.random.default_rng(0)
    pictures = [scene(rng) for _ in range(8)]
    shifted = np.roll(pictures[1], 1, axis=1)
    dataset = world([(each, [0]) for each in pictures], [(pictures[0], [0]), (shifted, [0]), (scene(rng), [0])])
    found = audit(dataset, whole(dataset))
    assert {"leakage", "near-leakage"} <= codes(found)
    assert not found.sound
    assert found.leaking_pairs == len(found.leakage) == 2
    clean = replace(dataset, splits={**dataset.splits, "val": dataset.split("val")[2:]})
    assert not {"leakage", "near-leakage"} & codes(audit(clean, whole(clean)))


def test_flat_pictures_look_like_nothing(world):
    rng = np.random.default_rng(0)
    flat = [np.full((64, 64, 3), level, np.uint8) for level in (100, 150)]
    dataset = world([(each, [0]) for each in (*flat, scene(rng))])
    assert audit(dataset, whole(dataset)).duplicate_pairs == 0


def test_pairs_are_counted_and_only_the_first_held(world):
    picture = scene(np.random.default_rng(0))
    looks = looks_of([write_once(world, picture)] * 40, read_small)
    found = alike_within(looks)
    assert (found.same_pairs, found.near_pairs, found.same_pictures) == (780, 0, 39)
    assert len(found.listed) == MOST_LISTED
    between = alike_between(looks, looks)
    assert (between.same_pairs, between.same_pictures) == (1600, 40)


def write_once(world, picture):
    return world([(picture, [0])]).split("train")[0].image


@pytest.mark.parametrize(
    ("camera", "features"), [(None, set()), ("clean", set()), ("dim-line", {"brightness", "contrast"}), ("fast-line", {"sharpness"})]
)
def test_the_domain_through_a_camera(world, tmp_path, camera, features):
    rng = np.random.default_rng(0)

    def sharp():
        return np.clip(scene(rng, rng.uniform(90, 190), 30, 320).astype(int) + rng.integers(-25, 26, (320, 320, 1)), 0, 255).astype(
            np.uint8
        )

    dataset = world([(sharp(), [0]) for _ in range(40)], [(sharp(), [0]) for _ in range(30)])
    chosen = whole(dataset, camera=None if camera is None else PRESETS[camera])
    frames = [write(tmp_path / f"frames/{n}.jpg", sharp()) for n in range(30)]
    found = audit(dataset, chosen, against=pictures_in(tmp_path / "frames"))
    for name in ("judging", "against"):
        differing = {feature for feature, shift in found.domain[name].items() if shift.differs}
        assert differing >= features
        assert bool(differing) is (f"domain-{name}" in codes(found)) is bool(features)
    assert found.considered["against"] == len(frames)


def test_what_the_set_lacks_of_classes_and_brightness(world):
    rng = np.random.default_rng(0)
    dataset = world(
        [(scene(rng, 60 if n >= 10 else 150), [1 if n == 19 else 0]) for n in range(20)], classes=("a\x1b[31m", "b\x1b[31m", "c")
    )
    bright = CalibrationSet(dataset.split("train")[:10], ("",) * 10, 0)
    found = audit(dataset, bright)
    said = {finding.code: finding.what for finding in found.findings}
    assert said["classes-missing"].startswith("1 of 2 classes are in no picture of the set: b\\x1b[31m")
    assert "32 to 64" in said["brightness-missing"]
    assert found.classes["b\x1b[31m"].train == 1
    assert not {"classes-missing", "brightness-missing"} & codes(audit(dataset, whole(dataset)))


def test_broken_pictures_are_passed_over_and_a_side_without_any_other_is_refused(world, tmp_path):
    rng = np.random.default_rng(0)
    dataset = world([(scene(rng), [0]) for _ in range(5)], [(scene(rng), [0]) for _ in range(2)])
    chosen = whole(dataset)
    dataset.split("val")[0].image.write_bytes(b"no picture")
    assert audit(dataset, chosen).considered["judging"] == 1
    dataset.split("val")[1].image.write_bytes(b"")
    with pytest.raises(DataError, match="no val picture can be decoded"):
        audit(dataset, chosen)
    with pytest.raises(DataError, match="no such folder"):
        pictures_in(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no pictures in it"):
        pictures_in(tmp_path)


def test_broken_and_damaged_pictures_are_reported(world):
    rng = np.random.default_rng(0)
    dataset = world([(scene(rng), [0]) for _ in range(6)], [(scene(rng), [0]) for _ in range(3)])
    coded = cv2.imencode(".jpg", scene(rng))[1].tobytes()
    damaged = coded[: len(coded) // 2] + b"\xff\xd9" + coded[len(coded) // 2 :]  # it ends in the middle
    for sample, content in zip(dataset.split("train"), (b"", b"words", damaged), strict=False):
        sample.image.write_bytes(content)
    dataset.split("val")[0].image.write_bytes(damaged)
    chosen = choose_calibration(dataset, 9, seed=0)
    said = {(finding.code, finding.where): finding.what for finding in audit(dataset, chosen).findings}
    assert len(chosen.samples) == 3
    assert "2 of 6 train pictures cannot be used, and none of them is chosen; the first: " in said["broken-pictures", "train"]
    assert "1 of 6 train pictures are damaged, and none of them is chosen; the first: " in said["damaged-pictures", "train"]
    assert "1 of 3 judging pictures are damaged; the first: " in said["damaged-pictures", "judging"]
    assert ("broken-pictures", "judging") not in said


def test_at_most_so_many_are_considered_and_progress_reaches_the_end(world, monkeypatch):
    rng = np.random.default_rng(0)
    dataset = world([(scene(rng), [0]) for _ in range(12)], [(scene(rng), [0]) for _ in range(9)])
    monkeypatch.setattr(audit_module, "MOST_CONSIDERED", 7)
    seen: list[tuple[int, int]] = []
    found = audit(dataset, whole(dataset), progress=lambda done, total: seen.append((done, total)))
    assert found.considered == {"calibration": 7, "train": 7, "judging": 7, "against": None}
    assert seen == [(done, 21) for done in range(1, 22)]


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (7, 7)])
def test_pictures_too_small_to_reduce_are_looked_at_whole(world, shape):
    dataset = world([(np.full((*shape, 3), 90, np.uint8), [0])])
    found = audit(dataset, whole(dataset))
    assert (found.considered["calibration"], found.brightness[2].calibration) == (1, 1)


def test_a_data_set_without_classes_or_val(world):
    rng = np.random.default_rng(0)
    dataset = world([(scene(rng), []) for _ in range(5)], classes=())
    found = audit(dataset, whole(dataset))
    assert (found.classes, found.domain, found.considered["judging"]) == ({}, {"judging": None, "against": None}, None)


@given(npst.arrays(np.uint8, st.tuples(st.integers(1, 60), st.integers(1, 60))))
def test_a_hash_is_64_bits_of_any_picture(grey):
    assert 0 <= perceptual_hash(grey) < 1 << 64


@given(st.integers(0, 2**32))
def test_a_hash_outlives_brightness_and_size(seed):
    grey = scene(np.random.default_rng(seed))[..., 0]
    other = cv2.resize(cv2.convertScaleAbs(grey, alpha=0.8, beta=10), (150, 150), interpolation=cv2.INTER_LINEAR)
    assert (perceptual_hash(grey) ^ perceptual_hash(other)).bit_count() <= SAME_BITS


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=30), st.lists(st.integers(-50, 50), min_size=1, max_size=30))
def test_ks_distance_is_the_largest_gap_of_the_distributions(ours, theirs):
    gaps = [abs(np.mean(np.array(ours) <= at) - np.mean(np.array(theirs) <= at)) for at in range(-50, 51)]
    distance = ks_distance(np.array(ours, float), np.array(theirs, float))
    assert distance == pytest.approx(max(gaps))
    assert ks_distance(np.array(ours, float), np.array(ours, float)) == 0


@pytest.fixture(scope="module")
def real(test_data):
    """A hundred pictures of COCO and of DeepPCB, looked at."""
    found = {}
    for name in ("coco", "deeppcb"):
        paths = [sample.image for sample in open_dataset(test_data / name / "data.yaml").split("train")]
        found[name] = looks_of([paths[at] for at in sorted(np.random.default_rng(0).permutation(len(paths))[:100])], read_small)
    return found


def part(looks, rows):
    return replace(
        looks,
        paths=tuple(looks.paths[at] for at in rows),
        sha256=tuple(looks.sha256[at] for at in rows),
        hashes=looks.hashes[rows],
        shaped=looks.shaped[rows],
        features=looks.features[rows],
    )


@pytest.mark.parametrize("name", ["coco", "deeppcb"])
def test_random_halves_of_one_set_are_one_domain(real, name):
    for seed in range(30):
        order = np.random.default_rng(seed).permutation(100)
        for first in (8, 50):
            assert not any(shift.differs for shift in shifts(part(real[name], order[:first]), part(real[name], order[first:])).values())


def test_photographs_and_circuit_boards_are_two(real):
    found = shifts(real["coco"], real["deeppcb"])
    assert set(found) == set(FEATURES)
    assert {"contrast", "saturation"} <= {name for name, shift in found.items() if shift.differs}


def test_unrelated_photographs_do_not_look_the_same(real):
    assert alike_within(real["coco"]).pairs == 0


def test_the_same_place_of_the_same_board_does(test_data):
    pair = [test_data / "deeppcb/images" / each for each in ("train/92000016.jpg", "val/92000112.jpg")]
    found = alike_between(*(looks_of([path], read_small) for path in pair))
    assert (found.same_pairs, found.near_pairs) == (0, 1)
