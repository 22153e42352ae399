"""A picture and what is true about it, wherever that is written: the nouns that every format of labels is turned into."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgewright.detections import Boxes, ClassIds, ImageRgb
from edgewright.errors import DataError
from edgewright.printable import printable

MOST_BOXES = 100_000  # of one picture
MOST_CLASSES = 10_000
LONGEST_NAME = 1000  # characters of a class's name


@dataclass(frozen=True, slots=True)
class Truth:
    """What is in a picture.

    `boxes_xyxy`: N x 4 in its pixels; `class_ids`: N; `crowd`: N, true where a box only says "ignore what is found here"; `areas`: N,
    square pixels, of the mask where the labels know one, else of the box; `drawn_on_wh`: the size of the picture that the labels were
    drawn on, where they say it.
    """

    boxes_xyxy: Boxes
    class_ids: ClassIds
    crowd: NDArray[np.bool_]
    areas: NDArray[np.float32]
    drawn_on_wh: tuple[int, int] | None = None


def plain_truth(boxes_xyxy: Boxes, class_ids: ClassIds) -> Truth:
    """Boxes without masks, none of them a crowd."""
    size = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    return Truth(boxes_xyxy, class_ids, np.zeros(len(boxes_xyxy), bool), size.prod(axis=1))


class Labels(Protocol):
    """Where the truth of one picture is written; small, since a data set holds one a picture."""

    @property
    def files(self) -> tuple[Path, ...]:
        """What it is read from, whether or not it exists."""

    def read(self, size_wh: tuple[int, int], classes: int) -> Truth:
        """The truth of a picture of `size_wh`; raises DataError where it is no truth over that many classes."""

    def class_ids(self, classes: int) -> ClassIds:
        """The classes of its boxes, ignored ones left out, without opening the picture; raises DataError as `read`."""


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """Nothing is written about the picture: it holds nothing, or nobody has looked."""

    @property
    def files(self) -> tuple[Path, ...]:
        return ()

    def read(self, size_wh: tuple[int, int], classes: int) -> Truth:
        _ = size_wh, classes
        return plain_truth(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))

    def class_ids(self, classes: int) -> ClassIds:
        _ = classes
        return np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture and where its labels are."""

    image: Path
    labels: Labels

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything on disk that the picture and its truth depend on."""
        return (self.image, *self.labels.files)

    def truth(self, size_wh: tuple[int, int], classes: int) -> Truth:
        """The labelled boxes in pixels of a picture of `size_wh`.

        Raises:
            DataError: what is written is no box, or a class the data set does not have.
        """
        return self.labels.read(size_wh, classes)

    def class_ids(self, classes: int) -> ClassIds:
        """The classes of its boxes, without opening the picture.

        Raises:
            DataError: as `truth`.
        """
        return self.labels.class_ids(classes)


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """A picture with its truth, as it comes off the stream."""

    sample: Sample
    image_rgb: ImageRgb
    truth: Truth


@dataclass(frozen=True, slots=True)
class Contents:
    """What a format found: class names, the samples of each split, and what a user should know of them.

    Samples that no split was named for are under `NO_SPLIT`.
    """

    classes: tuple[str, ...]
    splits: dict[str, tuple[Sample, ...]]
    warnings: tuple[str, ...] = ()


NO_SPLIT = ""


def usable_names(source: str, names: Sequence[str]) -> tuple[str, ...]:
    """The names of classes as they are, where they are few and short enough to be shown, and text; `source` is printable.

    Raises:
        DataError: they are not.
    """
    if len(names) > MOST_CLASSES:
        raise DataError(f"{source} names too many classes", got=f"{len(names)}", expected=f"at most {MOST_CLASSES}")
    for name in names:
        if len(name) > LONGEST_NAME:
            got = f"{len(name)} characters: {printable(name)}"
            raise DataError(f"{source} has a class whose name is too long", got=got, expected=f"at most {LONGEST_NAME} characters")
        # JSON can write half a pair of surrogates, and no report could write it again.
        if any("\ud800" <= character <= "\udfff" for character in name):
            raise DataError(f"{source} has a class whose name is no text", got=printable(name), expected="Unicode characters")
    return tuple(names)
