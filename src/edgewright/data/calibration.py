"""The pictures that activation ranges are read from: chosen for coverage, held by digest.

A set drawn blindly may hold no dark picture and none of a rare class; the ranges then fit what is common. The choice here is
greedy: each next picture is the one that adds most of what is missing so far, classes first, then brightness. The seed decides
among equals, and which pictures are looked at where there are very many.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgewright.artifact import sha256_of
from edgewright.data.camera_model import CameraModel, picture_rng
from edgewright.data.dataset import Dataset, Sample
from edgewright.data.images import read_image
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
        DataError: there is no train split, or it has no picture that can be decoded.
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
        raise DataError(f"no train image of {dataset.source} can be decoded")
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
    """A row a picture that can be decoded: which classes it holds, and which brightness; with those pictures."""
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
    """The mean grey of a picture, 0..255, from an eighth of its size (which a JPEG decodes to quickly); None where it cannot be decoded."""
    try:
        encoded = np.fromfile(sample.image, np.uint8)
    except OSError:
        return None
    # An eighth of a few pixels is none: then the whole.
    grey = decode(encoded, cv2.IMREAD_REDUCED_GRAYSCALE_8)
    grey = decode(encoded, cv2.IMREAD_GRAYSCALE) if grey is None else grey
    return None if grey is None else float(grey.mean())


def decode(encoded: NDArray[np.uint8], how: int) -> NDArray[np.uint8] | None:
    """The picture as one of OpenCV's imread modes has it; None where it cannot be decoded so."""
    try:
        pixels = cv2.imdecode(encoded, how) if encoded.size else None
    except cv2.error:
        return None
    return None if pixels is None else pixels.astype(np.uint8, copy=False)
