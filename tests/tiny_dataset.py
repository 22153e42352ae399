"""A small labelled data set in the Ultralytics layout, as COCO json or as VOC xml: rectangles of a class's colour on grey noise.

Some pictures hold none. The three formats hold the same pictures and boxes.

`tiny_detector.build_tiny_detector` with the same classes finds most of them.
"""

import json
import shutil
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


def write_tiny_coco_json(folder: Path, train: int = 16, val: int = 8, *, size_wh: tuple[int, int] = (64, 64)) -> Path:
    """`images/train`, `images/val` and `annotations/instances_train.json`, `instances_val.json` with sparse ids; returns the folder."""
    classes = ("red", "green", "blue")
    write_tiny_dataset(folder, train, val, classes, size_wh=size_wh)
    (folder / "annotations").mkdir()
    categories = [{"id": 3 + 7 * at, "name": name, "supercategory": "colour"} for at, name in enumerate(classes)]
    for split in ("train", "val"):
        images, annotations = [], []
        for number, image in enumerate(sorted((folder / "images" / split).iterdir())):
            images.append({"id": 1000 - number, "file_name": image.name, "width": size_wh[0], "height": size_wh[1]})
            for cls, (left, top, right, bottom) in boxes_of(folder, split, image.stem, size_wh):
                box = {"bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top), "iscrowd": 0}
                annotations.append({"id": len(annotations), "image_id": 1000 - number, "category_id": 3 + 7 * cls, **box})
        document = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"annotations/instances_{split}.json").write_text(json.dumps(document))
    _forget_yolo(folder)
    return folder


def write_tiny_voc(folder: Path, train: int = 16, val: int = 8, *, size_wh: tuple[int, int] = (64, 64)) -> Path:
    """`JPEGImages`, `Annotations` and `ImageSets/Main/train.txt`, `val.txt`; returns the folder; pictures are PNG."""
    classes = ("red", "green", "blue")
    write_tiny_dataset(folder, train, val, classes, size_wh=size_wh)
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    for split in ("train", "val"):
        names = []
        for image in sorted((folder / "images" / split).iterdir()):
            name = f"{split}_{image.stem}"
            names.append(name)
            objects = [
                (classes[cls], (left + 1, top + 1, right, bottom))
                for cls, (left, top, right, bottom) in boxes_of(folder, split, image.stem, size_wh)
            ]
            (folder / f"Annotations/{name}.xml").write_text(voc_xml(f"{name}.png", objects, size_wh))
            image.rename(folder / f"JPEGImages/{name}.png")
        (folder / f"ImageSets/Main/{split}.txt").write_text("\n".join(names) + "\n")
    shutil.rmtree(folder / "images")
    _forget_yolo(folder)
    return folder


def voc_xml(
    file_name: str, objects: list[tuple[str, tuple[float, ...]]], size_wh: tuple[int, int] = (64, 64), *, difficult: tuple[int, ...] = ()
) -> str:
    """An annotation as LabelImg writes it; `objects`: name and xmin, ymin, xmax, ymax; `difficult`: the numbers of those that are."""
    rows = "".join(
        f"<object><name>{name}</name><pose>Unspecified</pose><truncated>0</truncated><difficult>{int(at in difficult)}</difficult>"
        f"<bndbox><xmin>{x1:g}</xmin><ymin>{y1:g}</ymin><xmax>{x2:g}</xmax><ymax>{y2:g}</ymax></bndbox></object>"
        for at, (name, (x1, y1, x2, y2)) in enumerate(objects)
    )
    size = f"<size><width>{size_wh[0]}</width><height>{size_wh[1]}</height><depth>3</depth></size>"
    return f"<annotation><folder>x</folder><filename>{file_name}</filename>{size}<segmented>0</segmented>{rows}</annotation>"


def boxes_of(folder: Path, split: str, stem: str, size_wh: tuple[int, int]) -> list[tuple[int, list[int]]]:
    """Class and x1, y1, x2, y2 in whole pixels of each box of a picture that `write_tiny_dataset` wrote."""
    labels = folder / "labels" / split / f"{stem}.txt"
    rows = [line.split() for line in labels.read_text().splitlines()] if labels.is_file() else []
    boxes = []
    for cls, *shares in rows:
        x, y, wide, high = (float(share) * size_wh[at % 2] for at, share in enumerate(shares))
        boxes.append((int(cls), [round(edge) for edge in (x - wide / 2, y - high / 2, x + wide / 2, y + high / 2)]))
    return boxes


def grey_picture(path: Path, level: int = 114, size_wh: tuple[int, int] = (8, 8)) -> Path:
    """A picture of one grey, its folders made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((size_wh[1], size_wh[0], 3), level, np.uint8))
    return path


def _forget_yolo(folder: Path) -> None:
    shutil.rmtree(folder / "labels")
    (folder / "data.yaml").unlink()
