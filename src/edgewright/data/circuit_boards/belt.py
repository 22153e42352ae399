"""Boards on a conveyor belt under a camera: a film for demonstrations, drawn once as a strip and played by sliding along it."""

from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edgewright.data.circuit_boards.picture import draw_board

Image = NDArray[np.uint8]
_MAGNIFICATION: Final = 1.4  # the camera hangs low, so that a detector's 640 px input still shows the defects at their trained size
_SHARE_OF_HEIGHT: Final = 0.84
_STEP_PX: Final = 6
_CANDIDATES: Final = 6
_GRAIN: Final = 3  # grey levels of a camera's noise; twice that doubles the film's size and the time to encode it


def conveyor_frames(seed: int, *, frames: int, size_wh: tuple[int, int] = (960, 540), boards: int = 4) -> Iterator[Image]:
    """RGB frames of `boards` held-out boards passing from right to left, round and round."""
    width, height = size_wh
    strip = _strip(seed, height, width, max(boards, 1))
    endless = np.concatenate([strip, strip[:, :width]], axis=1)
    rng = np.random.default_rng([seed, 1])
    grain = rng.integers(0, _GRAIN, (height + 64, width + 64, 1), np.uint8)
    for index in range(frames):
        left = (index * _STEP_PX) % strip.shape[1]
        y, x = rng.integers(0, 64, 2)
        sheet = np.repeat(grain[y : y + height, x : x + width], 3, axis=2)
        yield np.asarray(cv2.add(np.ascontiguousarray(endless[:, left : left + width]), sheet), np.uint8)


def _strip(seed: int, height: int, width: int, boards: int) -> Image:
    side = int(height * _SHARE_OF_HEIGHT)
    spacing = int(side * 1.25)
    strip = _rubber(np.random.default_rng([seed, 0]), height, max(boards * spacing, width))
    top = (height - side) // 2
    for index in range(boards):
        drawn = _worth_showing(seed * 1000 + index * _CANDIDATES, int(side / _MAGNIFICATION))
        board = cv2.resize(drawn, (side, side), interpolation=cv2.INTER_CUBIC)
        left = index * spacing + (spacing - side) // 2
        _shadow(strip, left, top, side)
        strip[top : top + side, left : left + side] = board
        cv2.rectangle(strip, (left, top), (left + side - 1, top + side - 1), (28, 30, 26), 2)
    return strip


def _worth_showing(first_seed: int, size_px: int) -> Image:
    """Of a few boards the one with most defects: a film of bare boards would be honest and dull."""
    pictures = [draw_board(first_seed + k, split="held_out", size_px=size_px) for k in range(_CANDIDATES)]
    return max(pictures, key=lambda picture: len(picture.class_ids)).image_rgb


def _rubber(rng: np.random.Generator, height: int, length: int) -> Image:
    """Dark ribbed rubber between two steel rails."""
    ribs = 52 + 7 * np.sign(np.sin(np.arange(length) * 2 * np.pi / 36)) * (np.arange(length) % 36 < 4)
    belt = np.tile(ribs[None, :, None], (height, 1, 3)) + rng.normal(0, 2.5, (height, length, 1))
    rail = max(height // 40, 4)
    for rows in (slice(0, rail), slice(height - rail, height)):
        belt[rows] = 128 + np.linspace(-26, 26, rail)[:, None, None]
    return np.asarray(np.clip(belt, 0, 255), np.uint8)


def _shadow(strip: Image, left: int, top: int, side: int) -> None:
    reach = 10
    rows = slice(max(top, 0), min(top + side + reach, strip.shape[0]))
    columns = slice(max(left, 0), min(left + side + reach, strip.shape[1]))
    dark = np.zeros(strip[rows, columns].shape[:2], np.float32)
    dark[: side + reach // 2, : side + reach // 2] = 0.55
    soft = cv2.GaussianBlur(dark, (0, 0), reach / 2)
    strip[rows, columns] = (strip[rows, columns] * (1 - soft[:, :, None])).astype(np.uint8)
