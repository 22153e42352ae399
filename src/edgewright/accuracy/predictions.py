"""What a detector said about every picture of a split, beside what is true: the raw material of all accuracy figures.

Boxes are kept as flat arrays with an offset an image, so that thousands of pictures cost megabytes, and a whole evaluation can be
written down (`.npz`) and read back after an interruption.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgewright.data.array_file import read_arrays, write_arrays
from edgewright.data.dataset import Dataset, Sample, Truth
from edgewright.detections import Boxes, ClassIds, Detections, Scores
from edgewright.detector import Detector
from edgewright.errors import DataError
from edgewright.printable import printable
from edgewright.progress import Progress, unseen

SCORE_ABOVE = 0.001  # the evaluation protocol's floor


@dataclass(frozen=True, slots=True)
class Boxed:
    """Boxes of many images: image i owns rows offsets[i] to offsets[i + 1]."""

    boxes_xyxy: Boxes
    class_ids: ClassIds
    offsets: NDArray[np.int64]
    scores: Scores = field(default_factory=lambda: np.zeros(0, np.float32))
    crowd: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    areas: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))  # where the truth has masks; else of the boxes

    @property
    def images(self) -> int:
        return len(self.offsets) - 1

    def rows(self, image: int) -> slice:
        """The rows of an image."""
        return slice(int(self.offsets[image]), int(self.offsets[image + 1]))

    @property
    def image_of(self) -> NDArray[np.int64]:
        """The image of each row."""
        return np.repeat(np.arange(self.images), np.diff(self.offsets))


@dataclass(frozen=True, slots=True)
class Predictions:
    """Found and true boxes of the same images, in source pixels."""

    found: Boxed
    truth: Boxed
    classes: tuple[str, ...]
    pictures: tuple[str, ...] = ()  # where each image lies
    broken: tuple[str, ...] = ()  # pictures that could not be decoded, and why
    damaged: tuple[str, ...] = ()  # pictures that were decoded although their data are damaged

    @property
    def images(self) -> int:
        return self.truth.images

    def shown(self, image: int, score_above: float) -> Detections:
        """What was found in an image, above a score."""
        rows = self.found.rows(image)
        return Detections(self.found.boxes_xyxy[rows], self.found.scores[rows], self.found.class_ids[rows], self.classes).above(score_above)

    def save(self, path: Path) -> None:
        """Write as `.npz` (plain arrays, nothing pickled)."""
        arrays = {
            f"{side}_{name}": getattr(getattr(self, side), name) for side in ("found", "truth") for name in Boxed.__dataclass_fields__
        }
        write_arrays(path, {**arrays, **{name: np.array(getattr(self, name), str) for name in SAID}})

    @classmethod
    def load(cls, path: Path) -> "Predictions":
        """Read what `save` wrote.

        Raises:
            DataError: it is not that.
        """
        wanted = {f"{side}_{name}": kind for side in ("found", "truth") for name, kind in COLUMNS.items()}
        held = read_arrays(path, {**wanted, **dict.fromkeys(SAID, ("U", 1))})
        found, truth = (Boxed(**{name: held[f"{side}_{name}"] for name in COLUMNS}) for side in ("found", "truth"))
        read = cls(found, truth, *(tuple(held[name].tolist()) for name in SAID))
        if not _is_whole(read):
            raise DataError(f"{path.name} holds no predictions of ours")
        return read


COLUMNS = {  # of a `Boxed`: kind and axes
    "boxes_xyxy": ("f", 2),
    "class_ids": ("i", 1),
    "offsets": ("i", 1),
    "scores": ("f", 1),
    "crowd": ("b", 1),
    "areas": ("f", 1),
}
SAID = ("classes", "pictures", "broken", "damaged")


def _is_whole(read: Predictions) -> bool:
    """Whether rows, offsets, classes and pictures go together."""
    images, classes = len(read.pictures), len(read.classes)
    for side in (read.found, read.truth):
        rows, offsets = len(side.boxes_xyxy), side.offsets
        aligned = side.boxes_xyxy.shape[1] == 4 and len(side.class_ids) == rows and len(offsets) == images + 1
        if not aligned or offsets[0] != 0 or offsets[-1] != rows or (np.diff(offsets) < 0).any():
            return False
        if rows and not 0 <= side.class_ids.min() <= side.class_ids.max() < classes:
            return False
        if any(len(column) not in (0, rows) for column in (side.crowd, side.areas)):
            return False
    return len(read.found.scores) == len(read.found.boxes_xyxy) and len(read.truth.scores) in (0, len(read.truth.boxes_xyxy))


def predict(detector: Detector, dataset: Dataset, samples: Sequence[Sample], *, progress: Progress = unseen) -> Predictions:
    """Run the detector over the samples by the evaluation protocol; pictures are read one at a time.

    Raises:
        DataError: the model's classes are not the data set's, or no picture can be used.
    """
    translate = class_translation(detector.artifact.classes, dataset.classes)
    found, truth, pictures, broken, damaged = _Rows(), _Rows(), list[str](), list[str](), list[str]()
    for done, picture in enumerate(dataset.stream(samples, broken=broken, damaged=damaged), 1):
        detections = detector.detect(picture.image_rgb, score_above=SCORE_ABOVE)
        class_ids = translate[detections.class_ids]
        known = class_ids >= 0
        found.add(detections.boxes_xyxy[known], class_ids[known], detections.scores[known])
        truth.add_truth(picture.truth)
        pictures.append(str(picture.sample.image))
        progress(done + len(broken), len(samples))
    if not truth.boxes:
        raise DataError(f"no picture of {printable(str(dataset.source), 300)} can be used", got=broken[0] if broken else "no pictures")
    classes = dataset.classes or detector.artifact.classes
    return Predictions(found.boxed(), truth.boxed(), classes, tuple(pictures), tuple(broken), tuple(damaged))


def class_translation(model_classes: Sequence[str], data_classes: Sequence[str]) -> NDArray[np.int64]:
    """For each class of the model its number in the data set, -1 where the data set does not label it.

    Names decide where the data set's all occur in the model, whatever their case and punctuation; else the order decides, if there are
    equally many and no name stands at two places. A data set that names no classes (pictures without labels) takes the model's.

    Raises:
        DataError: neither fits.
    """
    if not data_classes:
        return np.arange(len(model_classes))
    for spelled in (str, _bare):
        model, data = [spelled(name) for name in model_classes], [spelled(name) for name in data_classes]
        if len(set(model)) == len(model) and len(set(data)) == len(data) and set(data) <= set(model):
            number = {name: i for i, name in enumerate(data)}
            return np.array([number.get(name, -1) for name in model], np.int64)
    moved = [name for name, other in zip(model_classes, data_classes, strict=False) if name != other and name in data_classes]
    if len(model_classes) == len(data_classes) and not (moved and len(set(model_classes)) == len(model_classes)):
        return np.arange(len(model_classes))
    raise DataError(
        "the model and the data set have different classes",
        got=f"{len(model_classes)} in the model{_some(model_classes)}, {len(data_classes)} in the data set{_some(data_classes)}",
        expected="data set names that all occur in the model, or as many in the same order",
    )


def _bare(name: str) -> str:
    """Rolled-in_scale, Rolled in Scale: letters and digits alone, in lower case."""
    return "".join(character for character in name.casefold() if character.isalnum())


def _some(names: Sequence[str]) -> str:
    return printable(f" ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''})", 160)


@dataclass(slots=True)
class _Rows:
    """Grows image by image into a `Boxed`."""

    boxes: list[Boxes] = field(default_factory=list)
    class_ids: list[ClassIds] = field(default_factory=list)
    scores: list[Scores] = field(default_factory=list)
    crowd: list[NDArray[np.bool_]] = field(default_factory=list)
    areas: list[NDArray[np.float32]] = field(default_factory=list)

    def add_truth(self, truth: Truth) -> None:
        self.add(truth.boxes_xyxy, truth.class_ids)
        self.crowd.append(truth.crowd)
        self.areas.append(truth.areas)

    def add(self, boxes_xyxy: Boxes, class_ids: ClassIds, scores: Scores | None = None) -> None:
        self.boxes.append(boxes_xyxy)
        self.class_ids.append(class_ids)
        if scores is not None:
            self.scores.append(scores)

    def boxed(self) -> Boxed:
        offsets = np.cumsum([0, *map(len, self.boxes)]).astype(np.int64)
        scores, areas = (np.concatenate(held) if held else np.zeros(0, np.float32) for held in (self.scores, self.areas))
        crowd = np.concatenate(self.crowd) if self.crowd else np.zeros(0, bool)
        return Boxed(np.concatenate(self.boxes), np.concatenate(self.class_ids), offsets, scores, crowd, areas)


def pseudo_truth(predictions: Predictions, score_above: float) -> Boxed:
    """The found boxes above `score_above` taken as truth: how far another model agrees with this one is then its accuracy."""
    found = predictions.found
    keep = found.scores > score_above
    counts = np.bincount(found.image_of[keep], minlength=found.images)
    return Boxed(found.boxes_xyxy[keep], found.class_ids[keep], np.cumsum([0, *counts.tolist()]).astype(np.int64))
