"""What the detector is trained on: boards drawn once into a cache, then cut, turned and re-lit afresh for every step.

Batches depend on (seed, step) alone, so a run that was interrupted sees what an uninterrupted one would have seen.
"""

import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edgewright.data.circuit_boards import draw_board
from edgewright.learn.material import LabelledBatch, padded

BOARD_PX: Final = 640
CROP_PX: Final = 320
_SMALLEST_KEPT_SHARE: Final = 0.55  # of a box that the crop's edge cuts
Look = Literal["camera", "binary"]


@dataclass(frozen=True, slots=True)
class Boards:
    """Pictures in one file mapped to memory, and their labels."""

    pixels: NDArray[np.uint8]  # N, H, W, 3
    boxes: list[NDArray[np.float32]]
    class_ids: list[NDArray[np.int64]]

    def __len__(self) -> int:
        return len(self.boxes)


def _draw(job: tuple[int, Look, str, int, int]) -> tuple[list[list[float]], list[int]]:
    seed, look, path, index, total = job
    picture = draw_board(seed, split="train", look=look, size_px=BOARD_PX)
    pixels = np.memmap(path, np.uint8, "r+", shape=(total, BOARD_PX, BOARD_PX, 3))
    pixels[index] = picture.image_rgb
    return picture.boxes_xyxy.tolist(), picture.class_ids.tolist()


def _look(index: int, camera: int) -> Look:
    return "camera" if index < camera else "binary"


def render(cache: Path, *, camera: int, binary: int, first_seed: int, workers: int = 2) -> Boards:
    """Draw the training boards, or take them from the cache when it already holds exactly these."""
    total = camera + binary
    stem = cache / f"boards-{first_seed}-{camera}-{binary}"
    pixel_path, label_path = stem.with_suffix(".u8"), stem.with_suffix(".json")
    shape = (total, BOARD_PX, BOARD_PX, 3)
    if not label_path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        np.memmap(pixel_path, np.uint8, "w+", shape=shape).flush()
        jobs = [(first_seed + i, _look(i, camera), str(pixel_path), i, total) for i in range(total)]
        with ProcessPoolExecutor(workers, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
            labels = list(pool.map(_draw, jobs, chunksize=16))
        partial = label_path.with_suffix(".partial")
        partial.write_text(json.dumps(labels), encoding="utf-8")
        os.replace(partial, label_path)  # noqa: PTH105  # the atomic step: labels exist only once every picture does
    labels = json.loads(label_path.read_text(encoding="utf-8"))
    pixels = np.memmap(pixel_path, np.uint8, "r", shape=shape)
    boxes = [np.array(b, np.float32).reshape(-1, 4) for b, _ in labels]
    return Boards(pixels, boxes, [np.array(c, np.int64) for _, c in labels])


def batch(boards: Boards, *, seed: int, step: int, size: int, crop_px: int = CROP_PX) -> LabelledBatch:
    rng = np.random.default_rng([seed, step])
    samples = [_sample(rng, boards, int(index), crop_px) for index in rng.integers(0, len(boards), size)]
    return LabelledBatch(np.stack([image for image, _, _ in samples]), padded([(boxes, class_ids) for _, boxes, class_ids in samples]))


def _sample(
    rng: np.random.Generator, boards: Boards, index: int, crop_px: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64]]:
    image, boxes, class_ids = boards.pixels[index], boards.boxes[index], boards.class_ids[index]
    side = int(crop_px / rng.uniform(0.62, 1.3)) if rng.random() < 0.6 else crop_px
    side = min(side, image.shape[0])
    left, top = _corner(rng, boxes, side, image.shape[0])
    cut = np.ascontiguousarray(image[top : top + side, left : left + side])
    if side != crop_px:
        how = cv2.INTER_AREA if side > crop_px else cv2.INTER_LINEAR
        cut = np.asarray(cv2.resize(cut, (crop_px, crop_px), interpolation=how), np.uint8)
    boxes, class_ids = _kept((boxes - [left, top, left, top]) * (crop_px / side), class_ids, crop_px)
    cut, boxes = _turned(rng, cut, boxes.astype(np.float32))
    return _relit(rng, cut), boxes, class_ids


def _corner(rng: np.random.Generator, boxes: NDArray[np.float32], side: int, board: int) -> tuple[int, int]:
    """Mostly with a defect in view."""
    if len(boxes) and rng.random() < 0.8:
        x0, y0, x1, y1 = boxes[int(rng.integers(len(boxes)))]
        middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
        corner = middle - rng.uniform(0.08, 0.92, 2) * side
    else:
        corner = rng.uniform(0, board - side + 1, 2)
    left, top = np.clip(corner, 0, board - side).astype(int)
    return int(left), int(top)


def _kept(boxes: NDArray[np.floating], class_ids: NDArray[np.int64], crop_px: int) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    inside = np.clip(boxes, 0, crop_px)
    share = np.prod(inside[:, 2:] - inside[:, :2], 1) / np.maximum(np.prod(boxes[:, 2:] - boxes[:, :2], 1), 1e-6)
    keep = share > _SMALLEST_KEPT_SHARE
    return inside[keep], class_ids[keep]


def _turned(
    rng: np.random.Generator, image: NDArray[np.uint8], boxes: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """One of the square's eight symmetries."""
    side = image.shape[0]
    for _ in range(int(rng.integers(0, 4))):
        image = np.rot90(image)
        boxes = np.stack([boxes[:, 1], side - boxes[:, 2], boxes[:, 3], side - boxes[:, 0]], 1)
    if rng.random() < 0.5:
        image = image[:, ::-1]
        boxes = np.stack([side - boxes[:, 2], boxes[:, 1], side - boxes[:, 0], boxes[:, 3]], 1)
    return np.ascontiguousarray(image), boxes


def _relit(rng: np.random.Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Exposure, colour order, grey, blur: cheap changes that leave the defects where they are."""
    if rng.random() < 0.3:
        image = image[:, :, rng.permutation(3)]
    if rng.random() < 0.1:
        image = np.repeat(image.mean(2, keepdims=True).astype(np.uint8), 3, axis=2)
    if rng.random() < 0.15:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.2))), np.uint8)
    if rng.random() < 0.5:
        gain, lift, gamma = rng.uniform(0.7, 1.25), rng.uniform(-20, 20), rng.uniform(0.75, 1.3)
        curve = np.clip(255 * (np.arange(256) / 255) ** gamma * gain + lift, 0, 255).astype(np.uint8)
        image = curve[image]
    return np.ascontiguousarray(image)
