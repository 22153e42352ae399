"""Boards from the command line: `python -m edgewright.data.circuit_boards --contact-sheet OUT.jpg`, or `--dataset FOLDER`."""

import argparse
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edgewright.data.circuit_boards.dataset import write_dataset
from edgewright.data.circuit_boards.defects import CLASS_NAMES
from edgewright.data.circuit_boards.parameters import Look, Split
from edgewright.data.circuit_boards.picture import draw_board
from edgewright.data.images import encode_jpeg
from edgewright.whole_file import write_named

COLOURS_RGB: Final = ((255, 70, 70), (255, 170, 0), (255, 80, 220), (60, 200, 255), (90, 255, 90), (170, 120, 255))
_CORNERS: Final[tuple[tuple[Split, Look], ...]] = (("train", "camera"), ("train", "binary"), ("held_out", "camera"), ("held_out", "binary"))


def _tile(seed: int, split: Split, look: Look, side_px: int) -> NDArray[np.uint8]:
    picture = draw_board(seed, split=split, look=look)
    image = picture.image_rgb.copy()
    for class_id, box in zip(picture.class_ids, picture.boxes_xyxy.round().astype(int), strict=True):
        x0, y0, x1, y1 = (int(v) for v in box)
        cv2.rectangle(image, (x0, y0), (x1, y1), COLOURS_RGB[class_id], 3)
        _caption(image, CLASS_NAMES[class_id], (x0, max(y0 - 4, 14)), COLOURS_RGB[class_id])
    _caption(image, f"{seed} {split}", (6, 632), (255, 0, 0))
    return np.asarray(cv2.resize(image, (side_px, side_px), interpolation=cv2.INTER_AREA), np.uint8)


def _caption(image: NDArray[np.uint8], text: str, at_xy: tuple[int, int], colour_rgb: tuple[int, int, int]) -> None:
    cv2.putText(image, text, at_xy, cv2.FONT_HERSHEY_SIMPLEX, 0.6, colour_rgb, 2, cv2.LINE_AA)


def contact_sheet(*, seed: int, boards: int, columns: int, side_px: int) -> NDArray[np.uint8]:
    """Boards side by side, looks and splits in turn, each with its labels."""
    tiles = [_tile(seed + index, *_CORNERS[index % len(_CORNERS)], side_px) for index in range(boards)]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    return np.concatenate([np.concatenate(tiles[row : row + columns], axis=1) for row in range(0, len(tiles), columns)])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m edgewright.data.circuit_boards", description="Draw circuit boards with labelled defects."
    )
    verbs = parser.add_mutually_exclusive_group(required=True)
    verbs.add_argument("--contact-sheet", type=Path, metavar="OUT", help="picture file to write")
    verbs.add_argument("--dataset", type=Path, metavar="FOLDER", help="folder to write in Ultralytics' layout")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--boards", type=int, default=50, help="how many on the contact sheet")
    parser.add_argument("--train", type=int, default=200, help="how many training boards in the data set")
    parser.add_argument("--val", type=int, default=100, help="how many held-out boards in the data set")
    parser.add_argument("--look", choices=("camera", "binary", "mixed"), default="camera", help="of the data set")
    args = parser.parse_args()
    if args.dataset:
        print(write_dataset(args.dataset, train=args.train, val=args.val, seed=args.seed, look=args.look))  # noqa: T201 - a command's answer
    else:
        sheet = contact_sheet(seed=args.seed, boards=args.boards, columns=10, side_px=256)
        write_named(args.contact_sheet, encode_jpeg(sheet, quality=78))


if __name__ == "__main__":
    main()
