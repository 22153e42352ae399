"""A data set as one streamed view, whatever format its labels are in.

`open_dataset` looks at what is there and leaves the reading to the format: an Ultralytics data.yaml (`ultralytics`), a COCO json or a
folder of them (`coco_json`), a folder of VOC xml files (`voc`), or pictures alone (`folder`). What names no splits is split here, by the
pictures' digests.

Pictures are read when they are iterated over, and so are labels that lie in a file of their own.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgewright.artifact import sha256_of
from edgewright.data.coco_json import jsons_in, open_coco, split_of_json
from edgewright.data.folder import MOST_FOLDERS_DEEP, open_folder, shown, split_named
from edgewright.data.images import MOST_BYTES, is_turned, read_image
from edgewright.data.sample import NO_SPLIT, Contents, LabelledImage, Labels, Sample, Truth, Unlabelled
from edgewright.data.ultralytics import YAML_SUFFIXES, YoloText, open_yaml, yaml_in
from edgewright.data.voc import is_voc, open_voc
from edgewright.errors import DataError
from edgewright.printable import brief, printable
from edgewright.regular_file import is_folder, is_regular

__all__ = [
    "ALL",
    "Dataset",
    "LabelledImage",
    "Labels",
    "Sample",
    "Truth",
    "Unlabelled",
    "YoloText",
    "open_dataset",
    "part_train_from_val",
]

ALL = "all"  # every picture of every split
EXPECTED = "an Ultralytics data.yaml, a COCO json, a folder with VOC xml files, or a folder of images"


@dataclass(frozen=True, slots=True)
class Dataset:
    """Names of the classes and the samples of each split, in a fixed order.

    `labelled`: whether it says what is in the pictures (if not, it has no classes either); `warnings`: what was passed over or decided
    when it was opened, a sentence each.
    """

    source: Path
    classes: tuple[str, ...]
    splits: dict[str, tuple[Sample, ...]]
    labelled: bool = True
    warnings: tuple[str, ...] = ()

    def split(self, name: str) -> tuple[Sample, ...]:
        """The samples of a split; of all splits, each once, for "all".

        Raises:
            DataError: there is no such split; those there are are listed.
        """
        if name == ALL:
            return tuple({sample.image: sample for samples in self.splits.values() for sample in samples}.values())
        if name not in self.splits:
            raise DataError(f"{shown(self.source)} has no split {brief(name)}", expected=f"one of {', '.join([*self.splits, ALL])}")
        return self.splits[name]

    def stream(
        self, samples: Sequence[Sample], *, broken: list[str] | None = None, damaged: list[str] | None = None
    ) -> Iterator[LabelledImage]:
        """Picture after picture.

        One that cannot be decoded, or whose labels were drawn on a picture of another size, is named in `broken` and passed over, or
        raised where `broken` is None. One that decodes although its data are damaged is streamed, and named in `damaged`.
        """
        for sample in samples:
            try:
                image_rgb = read_image(sample.image, damaged=damaged)
                size_wh = (image_rgb.shape[1], image_rgb.shape[0])
            except DataError as error:
                _pass_over(error, broken)
                continue
            truth = sample.truth(size_wh, len(self.classes))
            if not _is_of(truth, sample.image, size_wh):
                _pass_over(_drawn_elsewhere(sample, size_wh, truth), broken)
                continue
            yield LabelledImage(sample, image_rgb, truth)


def open_dataset(path: Path) -> Dataset:
    """Open a data set of any format.

    Raises:
        DataError: nothing there is a data set, or it contradicts itself; the sentence says what was found and what was expected.
    """
    if is_folder(path):
        return _open_folder(path)
    if is_regular(path) and path.suffix.lower() in YAML_SUFFIXES:
        return _opened(path, open_yaml(path))
    if is_regular(path) and path.suffix.lower() == ".json":
        return _opened(path, open_coco({split_of_json(path): path}))
    got = f"a {printable(path.suffix) or 'nameless'} file" if os.path.lexists(path) else "no such file"
    raise DataError(f"{shown(path)} is not a data set", got=got, expected=EXPECTED)


def part_train_from_val(dataset: Dataset) -> tuple[Dataset, int]:
    """The data set with a train and a val split that share no picture, and how many they shared (tutorials name one folder for both).

    A set that has only one of the two is divided. Which side a picture is on is decided by its bytes' digest, half and half, so it is the
    same on every machine.
    """
    train, val = dataset.splits.get("train", ()), dataset.splits.get("val", ())
    if not train or not val:
        name = "train" if train else "val"
        halves, note = _halves(dataset.source, f"has only a split {name!r}", train or val)
        return replace(dataset, splits={**dataset.splits, **halves}, warnings=(*dataset.warnings, note)), 0
    shared = {sample.image for sample in train} & {sample.image for sample in val}
    to_train = {image for image in shared if _is_for_train(image)}
    parted = {
        "train": tuple(sample for sample in train if sample.image not in shared or sample.image in to_train),
        "val": tuple(sample for sample in val if sample.image not in to_train),
    }
    return (replace(dataset, splits={**dataset.splits, **parted}) if shared else dataset), len(shared)


def _open_folder(root: Path) -> Dataset:
    for _ in range(MOST_FOLDERS_DEEP):
        inside = [path for path in root.iterdir() if not path.name.startswith((".", "__MACOSX"))]
        if len(inside) != 1 or not is_folder(inside[0]) or split_named(inside[0].name) is not None:
            break
        root = inside[0]  # archives unpack so: NEU-DET/NEU-DET/...
    yaml = yaml_in(root)
    if yaml is not None:
        return _opened(yaml, open_yaml(yaml))
    jsons = jsons_in(root)
    if jsons:
        return _opened(root, open_coco(jsons))
    if is_voc(root):
        return _opened(root, open_voc(root))
    return replace(_opened(root, open_folder(root)), labelled=False)


def _opened(source: Path, contents: Contents) -> Dataset:
    """With a train and a val split, if need be by digest; a test split judges where there is no val."""
    splits, warnings = dict(contents.splits), list(contents.warnings)
    loose = splits.pop(NO_SPLIT, ())
    if loose and not splits:
        splits, note = _halves(source, "names no splits", loose)
        warnings.append(note)
    elif loose:
        warnings.append(
            f"{len(loose)} pictures of {shown(source)} are in no split and were left out, such as {printable(loose[0].image.name)}"
        )
    if "test" in splits and "val" not in splits:
        splits["val"] = splits["test"]
        warnings.append(f"{shown(source)} has no val split: its test split is taken for it")
    return Dataset(source, contents.classes, splits, warnings=tuple(warnings))


def _halves(source: Path, why: str, samples: Iterable[Sample]) -> tuple[dict[str, tuple[Sample, ...]], str]:
    """Train and val by digest, and the sentence that says so."""
    halves: dict[str, list[Sample]] = {"train": [], "val": []}
    for sample in samples:
        halves["train" if _is_for_train(sample.image) else "val"].append(sample)
    note = f"{shown(source)} {why}: by their digests {len(halves['train'])} pictures are in train and {len(halves['val'])} in val"
    return {name: tuple(held) for name, held in halves.items()}, note


def _is_for_train(image: Path) -> bool:
    """A coin that falls the same on every machine; a picture that cannot be read is judged, and so named among the broken."""
    try:
        return image.stat().st_size <= MOST_BYTES and int(sha256_of(image)[0], 16) < 8
    except (OSError, ValueError):
        return False


def _pass_over(error: DataError, broken: list[str] | None) -> None:
    if broken is None:
        raise error
    broken.append(str(error))


def _is_of(truth: Truth, image: Path, size_wh: tuple[int, int]) -> bool:
    """False where the labels were drawn on a picture of another size, so that their boxes are elsewhere.

    Converters often write the height for the width; where the picture itself was never turned and holds all boxes, that is forgiven.
    """
    if truth.drawn_on_wh in (None, size_wh):
        return True
    swapped = truth.drawn_on_wh == size_wh[::-1] and bool((truth.boxes_xyxy <= np.array([*size_wh, *size_wh]) + 1).all())
    return swapped and not is_turned(image)


def _drawn_elsewhere(sample: Sample, size_wh: tuple[int, int], truth: Truth) -> DataError:
    return DataError(
        f"the labels of {shown(sample.image)} were drawn on a picture of another size",
        got=f"{size_wh[0]} x {size_wh[1]} pixels, upright",
        expected="{} x {}".format(*(truth.drawn_on_wh or ())),
    )
