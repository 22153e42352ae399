"""Calibration pictures: the same for the same seed, of every kind there is, and never from val."""

import tracemalloc
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.data.calibration import choose_calibration, cover
from edgewright.data.cameras import PRESETS
from edgewright.data.dataset import Dataset, Sample, YoloText, open_dataset
from edgewright.data.images import read_image
from edgewright.errors import DataError
from tiny_dataset import write_tiny_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return open_dataset(write_tiny_dataset(tmp_path_factory.mktemp("calibration"), train=24, val=4))


def test_the_same_seed_chooses_the_same_pictures(dataset):
    first, second = (choose_calibration(dataset, 6, seed=3) for _ in range(2))
    assert first == second
    assert len(first.samples) == 6
    assert first.to_json() == {"digest": first.digest, "images": 6, "seed": 3, "camera": None}


def test_another_seed_may_choose_others(dataset):
    assert len({choose_calibration(dataset, 6, seed=seed).digest for seed in range(4)}) > 1


def test_the_digest_names_the_pictures_not_their_order_or_place(dataset, tmp_path):
    chosen = choose_calibration(dataset, 5, seed=0)
    turned = replace(chosen, samples=chosen.samples[::-1], sha256=chosen.sha256[::-1])
    assert turned.digest == chosen.digest
    moved = write_tiny_dataset(tmp_path / "moved", train=24, val=4)
    assert choose_calibration(open_dataset(moved), 5, seed=0).digest == chosen.digest
    assert replace(chosen, sha256=chosen.sha256[1:]).digest != chosen.digest


def test_a_camera_changes_the_pictures_and_so_their_digest(dataset):
    clean = choose_calibration(dataset, 4, seed=0)
    dark = choose_calibration(dataset, 4, seed=0, camera=PRESETS["dim-line"])
    assert dark.samples == clean.samples
    sample = clean.samples[0]
    assert (clean.read(sample) == read_image(sample.image)).all()
    assert dark.read(sample).mean() < 0.8 * clean.read(sample).mean()
    assert (dark.read(sample) == dark.read(sample)).all()
    assert (dark.read(sample) != replace(dark, seed=1).read(sample)).any()
    others = [dark, replace(dark, seed=1), replace(dark, camera=PRESETS["clean"]), replace(dark, sha256=dark.sha256[1:])]
    assert len({each.digest for each in (clean, *others)}) == 5
    assert replace(dark, camera=PRESETS["none"]).digest == clean.digest
    assert dark.to_json()["camera"]["name"] == "dim-line"


def test_a_folder_without_labels_is_covered_by_brightness(tmp_path):
    dataset = grey_dataset(tmp_path, [5 if n == 11 else 128 for n in range(20)], [[]] * 20)
    unlabelled = replace(dataset, classes=())
    assert unlabelled.split("train")[11] in choose_calibration(unlabelled, 2, seed=0).samples


def test_only_train_pictures_are_chosen(dataset):
    chosen = choose_calibration(dataset, 1000, seed=0)
    assert set(chosen.samples) == set(dataset.split("train"))
    assert not set(chosen.samples) & set(dataset.split("val"))


def test_without_train_pictures_val_is_not_taken(dataset):
    only_val = replace(dataset, splits={"val": dataset.split("val")})
    with pytest.raises(DataError, match="calibration never uses val"):
        choose_calibration(only_val, 4, seed=0)


def grey_dataset(folder, levels, classes_of):
    samples = []
    for number, (level, classes) in enumerate(zip(levels, classes_of, strict=True)):
        image, labels = folder / f"{number}.png", folder / f"{number}.txt"
        cv2.imwrite(str(image), np.full((32, 32, 3), level, np.uint8))
        labels.write_text("".join(f"{cls} 0.5 0.5 0.5 0.5\n" for cls in classes))
        samples.append(Sample(image, YoloText(labels)))
    return Dataset(folder / "data.yaml", ("common", "rare", "rarest"), {"train": tuple(samples)})


@pytest.mark.parametrize("seed", range(4))
def test_a_class_of_a_single_picture_is_covered(tmp_path, seed):
    dataset = grey_dataset(tmp_path, [128] * 30, [[1] if n == 17 else [2, 0] if n == 5 else [0] for n in range(30)])
    chosen = choose_calibration(dataset, 3, seed).samples
    assert {17, 5} <= {dataset.split("train").index(sample) for sample in chosen}


@pytest.mark.parametrize("seed", range(4))
def test_the_one_dark_picture_is_covered(tmp_path, seed):
    dataset = grey_dataset(tmp_path, [5 if n == 11 else 128 for n in range(20)], [[0]] * 20)
    assert dataset.split("train")[11] in choose_calibration(dataset, 2, seed).samples


def test_pictures_that_cannot_be_decoded_are_not_chosen(tmp_path):
    dataset = grey_dataset(tmp_path, [100] * 4, [[0]] * 4)
    for sample in dataset.split("train")[:3]:
        sample.image.write_bytes(b"no picture")
    dataset.split("train")[1].image.unlink()
    assert choose_calibration(dataset, 4, seed=0).samples == (dataset.split("train")[3],)
    dataset.split("train")[3].image.write_bytes(b"")
    with pytest.raises(DataError, match="no train image"):
        choose_calibration(dataset, 4, seed=0)


def test_damaged_pictures_are_not_chosen(tmp_path):
    dataset = grey_dataset(tmp_path, [100] * 4, [[0]] * 4)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    whole = cv2.imencode(".jpg", noise)[1].tobytes()
    for sample in dataset.split("train")[:2]:
        sample.image.write_bytes(whole[:2000] + b"\xff\xd9" + whole[2000:])  # it ends in the middle
    assert set(choose_calibration(dataset, 4, seed=0).samples) == set(dataset.split("train")[2:])
    for sample in dataset.split("train")[2:]:
        sample.image.write_bytes(whole[:2000])
    with pytest.raises(DataError, match=r"no train image of .* is sound; got 4 that are broken or damaged"):
        choose_calibration(dataset, 4, seed=0)


def test_memory_does_not_grow_with_the_pictures(tmp_path):
    side = 400
    data = write_tiny_dataset(tmp_path, train=40, val=1, size_wh=(side, side))
    dataset = open_dataset(data)

    def peak_bytes(count):
        tracemalloc.start()
        chosen = choose_calibration(dataset, count, seed=0, camera=PRESETS["cheap-usb"])
        for sample in chosen.samples:
            chosen.read(sample)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak_bytes(1)  # what is made once, at the first picture
    assert peak_bytes(40) < peak_bytes(4) + 0.25 * side * side * 3


def test_progress_reaches_the_end(dataset):
    seen: list[tuple[int, int]] = []
    choose_calibration(dataset, 3, seed=0, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 24) for done in range(1, 25)]


@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 6), st.data())
@settings(deadline=None)
def test_cover_orders_rows_without_repeating_and_meets_every_thing_it_has_room_for(seed, pictures, things, data):
    features = np.random.default_rng(seed).integers(0, 2, (pictures, things)).astype(float)
    count = data.draw(st.integers(0, pictures))
    order = cover(features, count, np.random.default_rng(seed))
    assert len(order) == len(set(order)) == count
    if count >= things:
        assert ((features[order].sum(axis=0) > 0) == (features.sum(axis=0) > 0)).all()
