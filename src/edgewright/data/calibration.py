"""The pictures that activation ranges are read from: chosen for coverage, held by digest.

A set drawn blindly may hold no dark picture and none of a rare class; the ranges then fit what is common. The choice here is
greedy: each next picture is the one that adds most of what is missing so far, classes first, then brightness. The seed decides
among equals, and which pictures are looked at where there are very many.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewright.artifact import sha256_of
from edgewright.data.camera_model import CameraModel, picture_rng
from edgewright.data.dataset import Dataset, Sample
from edgewright.data.folder import shown
from edgewright.data.images import open_picture, read_image
from edgewright.detections import ImageRgb
from edgewright.errors import DataError
from edgewright.progress import Progress, unseen

MOST_CONSIDERED = 2000  # pictures whose brightness is looked at
BRIGHTNESS_BINS = 8
BRIGHTNESS_WEIGHT = 0.5  # a new brightness counts half of a new class


@dataclass(frozen=True, slots=True)
class CalibrationSet:
    """The chosen samples, their files' digests in the same order, and the seed they were chosen with.

    With a `camera`, every picture is read as that camera would have taken it; the seed decides within the camera's ranges as well.
    """

    samples: tuple[Sample, ...]
    sha256: tuple[str, ...]
    seed: int
    camera: CameraModel | None = None

    @property
    def digest(self) -> str:
        """One name for the pictures as they are read, whatever their order or folder."""
        pictures = "\n".join(sorted(self.sha256))
        # A camera that does nothing leaves the pictures, and so their name, as they are.
        seen_through = f"\n{self.camera.digest} {self.seed}" if self.camera and self.camera.steps() else ""
        return "sha256:" + hashlib.sha256((pictures + seen_through).encode()).hexdigest()

    def read(self, sample: Sample) -> ImageRgb:
        """A picture of the set, H x W x 3 RGB, as calibration shall see it; the same whenever it is read.

        Raises:
            DataError: it cannot be decoded.
        """
        image_rgb = read_image(sample.image)
        return image_rgb if self.camera is None else self.camera.apply(image_rgb, picture_rng(self.seed, sha256_of(sample.image)))

    def to_json(self) -> dict[str, Any]:
        camera = None if self.camera is None else self.camera.to_json()
        return {"digest": self.digest, "images": len(self.samples), "seed": self.seed, "camera": camera}


def choose_calibration(
    dataset: Dataset, count: int, seed: int, *, camera: CameraModel | None = None, progress: Progress = unseen
) -> CalibrationSet:
    """`count` pictures of the train split (all of them if it holds fewer), the same for the same seed, to be read through `camera`.

    Raises:
        DataError: there is no train split, or it has no sound picture. Damaged ones that can be decoded are not chosen either.
    """
    if "train" not in dataset.splits:
        raise DataError(
            f"{dataset.source} has no train images to calibrate with", expected="train: in the data.yaml", fix="calibration never uses val"
        )
    rng = np.random.default_rng(seed)
    pool = list(dataset.split("train"))
    if len(pool) > MOST_CONSIDERED:
        pool = [pool[at] for at in sorted(rng.choice(len(pool), MOST_CONSIDERED, replace=False))]
    features, sound = _features(dataset, pool, progress)
    if not sound:
        raise DataError(f"no train image of {shown(dataset.source)} is sound", got=f"{len(pool)} that are broken or damaged")
    chosen = [sound[at] for at in cover(features, min(count, len(sound)), rng)]
    return CalibrationSet(tuple(chosen), tuple(sha256_of(sample.image) for sample in chosen), seed, camera)


def cover(features: NDArray[np.float64], count: int, rng: np.random.Generator) -> list[int]:
    """Indices of `count` rows of `features` [pictures, things]: each next row is the one whose things were seen least so far.

    A thing seen k times before is worth 1 / (1 + k)^2, so the second dark street still counts for something and the tenth hardly.
    """
    seen = np.zeros(features.shape[1])
    tie = rng.random(len(features)) * 1e-6
    left = np.ones(len(features), bool)
    order = []
    for _ in range(count):
        worth = features @ (1 / (1 + seen) ** 2) + tie
        at = int(np.argmax(np.where(left, worth, -np.inf)))
        left[at] = False
        seen += features[at]
        order.append(at)
    return order


def _features(dataset: Dataset, pool: Sequence[Sample], progress: Progress) -> tuple[NDArray[np.float64], list[Sample]]:
    """A row a sound picture: which classes it holds, and which brightness; with those pictures."""
    rows, sound = [], []
    classes = len(dataset.classes)
    for done, sample in enumerate(pool, 1):
        brightness = _brightness(sample)
        progress(done, len(pool))
        if brightness is None:
            continue
        row = np.zeros(classes + BRIGHTNESS_BINS)
        row[np.unique(sample.class_ids(classes))] = 1
        row[classes + min(BRIGHTNESS_BINS - 1, int(brightness / 256 * BRIGHTNESS_BINS))] = BRIGHTNESS_WEIGHT
        rows.append(row)
        sound.append(sample)
    return np.array(rows), sound


def _brightness(sample: Sample) -> float | None:
    """The mean grey of a picture, 0..255, from an eighth of its size (which a JPEG decodes to quickly); None where it is not sound."""
    damaged: list[str] = []
    try:
        picture = open_picture(sample.image)
        # An eighth of a few pixels is none: then the whole.
        grey = picture.decode("GRAY", shrink=8 if min(picture.structure.size_wh) >= 8 else 1, damaged=damaged)
    except DataError:
        return None
    return None if damaged else float(grey.mean())
