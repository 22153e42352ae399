"""A small labelled data set in the Ultralytics layout: rectangles of a class's colour on grey noise, some pictures with none.

`tiny_detector.build_tiny_detector` with the same classes finds most of them.
"""

from pathlib import Path

import cv2
import numpy as np

from tiny_detector import COLOURS


def write_tiny_dataset(
    folder: Path,
    train: int = 16,
    val: int = 8,
    classes: tuple[str, ...] = ("red", "green", "blue"),
    seed: int = 0,
    *,
    size_wh: tuple[int, int] = (64, 64),
) -> Path:
    """Write pictures, labels and data.yaml under `folder`; returns the yaml's path. The same arguments give the same bytes."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", train), ("val", val)):
        images, labels = folder / "images" / split, folder / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for number in range(count):
            # Every class in turn, so that even a handful of pictures holds all; every eighth picture holds nothing.
            picture, rows = draw_picture(rng, classes, number % len(classes), size_wh, empty=number % 8 == 7)
            cv2.imwrite(str(images / f"{number:04d}.png"), picture[..., ::-1])
            if rows:
                (labels / f"{number:04d}.txt").write_text("\n".join(rows) + "\n")
    names = "".join(f"  {at}: {name}\n" for at, name in enumerate(classes))
    path = folder / "data.yaml"
    path.write_text(f"path: .\ntrain: images/train\nval: images/val\nnames:\n{names}")
    return path


def draw_picture(
    rng: np.random.Generator, classes: tuple[str, ...], first: int, size_wh: tuple[int, int], *, empty: bool = False
) -> tuple[np.ndarray, list[str]]:
    """RGB pixels and label lines: one or two rectangles that do not touch, the first of class `first`."""
    wide, high = size_wh
    picture = rng.integers(90, 140, (high, wide, 3)).astype(np.uint8)
    rows: list[str] = []
    taken = np.zeros((high, wide), bool)
    for _attempt in range(0 if empty else 6):
        box_wide, box_high = rng.integers(20, 29, 2).tolist()
        left, top = int(rng.integers(0, wide - box_wide + 1)), int(rng.integers(0, high - box_high + 1))
        place = (slice(top, top + box_high), slice(left, left + box_wide))
        cls = int(rng.integers(len(classes))) if rows else first
        if taken[place].any() or len(rows) == 2:
            continue
        taken[max(0, top - 2) : top + box_high + 2, max(0, left - 2) : left + box_wide + 2] = True
        colour = np.array(list(COLOURS.values())[cls % len(COLOURS)])
        picture[place] = np.clip(colour + rng.integers(-20, 21, (box_high, box_wide, 3)), 0, 255)
        values = ((left + box_wide / 2) / wide, (top + box_high / 2) / high, box_wide / wide, box_high / high)
        rows.append(" ".join([str(cls), *(f"{value:.6f}" for value in values)]))
    return picture, rows
