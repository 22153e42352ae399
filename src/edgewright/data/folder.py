"""A folder of pictures, and what the names in it say: which files are pictures, which folder is which split.

Without any labels there is no accuracy, only agreement with another model; such a data set has no classes of its own.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from edgewright.data.images import SUFFIXES
from edgewright.data.sample import NO_SPLIT, Contents, Sample, Unlabelled
from edgewright.errors import DataError
from edgewright.printable import printable

MOST_FILES = 2_000_000  # under one folder; a disk's root is no data set
MOST_FOLDERS_DEEP = 64
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
NO_PICTURES_IN = frozenset({"segmentationclass", "segmentationobject", "masks", "mask", "ground_truth"})  # maps of classes, not photographs


def shown(path: Path) -> str:
    """A path as a message has it: whoever packed the data set chose the names in it."""
    return printable(str(path), 300)


def open_folder(root: Path) -> Contents:
    """Pictures alone: split by folder names (train, val, valid, validation, test) where there are such, unlabelled.

    Raises:
        DataError: there are no pictures, or there are labels that only a data.yaml could explain.
    """
    files = list(files_under(root))
    images, warnings = without_masks(pictures(files))
    if not images:
        raise DataError(
            f"{shown(root)} is not a data set",
            got=f"{len(files)} files" + (f", such as {printable(files[0].name)}" if files else ""),
            expected=f"a data.yaml, a COCO json, VOC xml files, or pictures ({', '.join(sorted(SUFFIXES))})",
        )
    _refuse_labels_without_names(root, files, images)
    strange = [path for path in files if path.suffix.lower() in (".json", ".csv", ".xml")]
    if strange:
        such = f"{printable(strange[0].name)} in {shown(root)} is no label file we know ({len(strange)} such)"
        warnings += (f"{such}: the pictures count as unlabelled",)
    return Contents((), by_split((split_of(root, image), Sample(image, Unlabelled())) for image in images), warnings)


def files_under(root: Path) -> Iterator[Path]:
    """Every file below `root` in a fixed order; hidden ones (.git, macOS's ._a.jpg) and __MACOSX are passed over.

    Raises:
        DataError: there are more than `MOST_FILES`, or folders in folders more than `MOST_FOLDERS_DEEP` deep.
    """
    seen, start = 0, str(root).rstrip("/").count("/")
    for folder, folders, names in os.walk(root):
        if folder.count("/") - start > MOST_FOLDERS_DEEP:
            raise DataError(f"{shown(root)} has folders more than {MOST_FOLDERS_DEEP} deep", fix="name the data set's own folder")
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for name in sorted(names):
            seen += 1
            if seen > MOST_FILES:
                raise DataError(f"{shown(root)} holds more than {MOST_FILES} files", fix="name the data set's own folder")
            if not name.startswith("."):
                yield Path(folder, name)


def pictures(files: Iterable[Path]) -> list[Path]:
    """Those that look like photographs by their name and folder."""
    return [path for path in files if path.suffix.lower() in SUFFIXES and path.parent.name.lower() not in NO_PICTURES_IN]


def without_masks(images: list[Path]) -> tuple[list[Path], tuple[str, ...]]:
    """Where every JPEG has a PNG of the same name beside it, the PNGs are masks (magnetic tiles come so); they are left out, and said."""
    jpegs = {path.with_suffix("") for path in images if path.suffix.lower() in (".jpg", ".jpeg")}
    masks = {path for path in images if path.suffix.lower() == ".png" and path.with_suffix("") in jpegs}
    if not masks or len(masks) < len(jpegs):
        return images, ()
    rest = [path for path in images if path not in masks]
    return rest, (f"{len(masks)} PNG files that lie beside a JPEG of the same name were taken for masks and left out",)


def split_named(name: str) -> str | None:
    """Train, val or test where a folder's or file's name says so, also with figures or words around it; None where it says two or none.

    >>> split_named("val2017"), split_named("instances_train2017"), split_named("trainval"), split_named("portrait")
    ('val', 'train', None, None)
    """
    letters = "".join(character if character.isalpha() else " " for character in name.lower())
    said = {SPLIT_NAMES[word] for word in letters.split() if word in SPLIT_NAMES}
    return said.pop() if len(said) == 1 else None


def split_of(root: Path, path: Path) -> str:
    """The split that the folders between `root` and a file name; the outermost decides. `NO_SPLIT` where none does."""
    named = (split_named(part) for part in path.relative_to(root).parts[:-1])
    return next((split for split in named if split), NO_SPLIT)


def by_split(samples: Iterable[tuple[str, Sample]]) -> dict[str, tuple[Sample, ...]]:
    """Samples with their split, grouped; train, val, test first."""
    grouped: dict[str, list[Sample]] = {"train": [], "val": [], "test": [], NO_SPLIT: []}
    for split, sample in samples:
        grouped[split].append(sample)
    return {split: tuple(held) for split, held in grouped.items() if held}


def _refuse_labels_without_names(root: Path, files: list[Path], images: list[Path]) -> None:
    stems = {path.stem for path in images}
    labels = [path for path in files if path.suffix.lower() == ".txt" and path.stem in stems]
    if labels:
        raise DataError(
            f"{shown(root)} holds pictures and label files, but nothing says what the classes are called",
            got=f"{len(labels)} .txt files, such as {shown(labels[0].relative_to(root))}",
            expected="a data.yaml with path:, train:, val: and names:",
        )
