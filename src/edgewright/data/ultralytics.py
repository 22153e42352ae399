"""Labels in the Ultralytics layout.

`data.yaml` names the classes and, for each split, a folder of images (or a text file listing them, or several of either). `path` is
resolved against the yaml's own folder or, where nothing is there, the current one. The labels of `images/a.jpg` are in `labels/a.txt`: a
line a box, class number then centre x, centre y, width, height as shares of the picture (or a polygon, whose outline is taken).

Nothing but file names is held in memory.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.data.images import SUFFIXES
from edgewright.data.sample import Contents, Sample, Truth, plain_truth
from edgewright.detections import ClassIds
from edgewright.errors import DataError

MOST_YAML_BYTES = 1 << 20
MOST_LABEL_BYTES = 16 << 20
BOX_FIELDS = 5  # class, centre x, centre y, width, height
YAML_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class YoloText:
    """The boxes of one picture in a text file; where there is no such file, the picture holds nothing."""

    path: Path

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.path,)

    def read(self, size_wh: tuple[int, int], classes: int) -> Truth:
        rows = _read_rows(self.path, classes)
        centre, size = rows[:, 1:3], rows[:, 3:5]
        scale = np.array([*size_wh, *size_wh], np.float32)
        boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1).astype(np.float32) * scale
        return plain_truth(boxes, rows[:, 0].astype(np.int64))

    def class_ids(self, classes: int) -> ClassIds:
        return _read_rows(self.path, classes)[:, 0].astype(np.int64)


def yaml_in(folder: Path) -> Path | None:
    """The data.yaml of a folder: by that name, or the only yaml file there that has names:."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in YAML_SUFFIXES and path.is_file())
    named = [path for path in found if path.stem.lower() == "data"]
    likely = named or [path for path in found if path.stat().st_size <= MOST_YAML_BYTES and b"names:" in path.read_bytes()]
    return likely[0] if named or len(likely) == 1 else None


def open_yaml(path: Path) -> Contents:
    """The splits that a `data.yaml` names.

    Raises:
        DataError: it is not one, or a split it names has no pictures.
    """
    document = _read_yaml(path)
    root = _root(path, str(document.get("path") or "."))
    splits = {name: _samples(root, path, document[name]) for name in ("train", "val", "test") if document.get(name)}
    if "val" not in splits:
        raise DataError(f"{path} names no validation images", got=f"keys {sorted(map(str, document))}", expected="train: and val: folders")
    return Contents(_class_names(path, document), splits)


def _root(yaml_path: Path, entry: str) -> Path:
    """Beside the yaml; else, as Ultralytics has it, below the current folder."""
    beside = _under(yaml_path.parent, entry)
    here = _under(Path.cwd(), entry)
    return here if not beside.is_dir() and here.is_dir() else beside


def _read_yaml(path: Path) -> dict[Any, Any]:
    import yaml  # noqa: PLC0415 - only the fitting host has it

    if path.stat().st_size > MOST_YAML_BYTES:
        raise DataError(f"{path} is too large", got=f"{path.stat().st_size} bytes", expected=f"at most {MOST_YAML_BYTES}")
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is not YAML", got=" ".join(str(error).split())[:200]) from error
    if not isinstance(document, dict):
        raise DataError(f"{path} is not a data set", got=type(document).__name__, expected="keys path:, train:, val: and names:")
    return document


def _class_names(path: Path, document: dict[Any, Any]) -> tuple[str, ...]:
    names = document.get("names")
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str | int | float) for name in names):
        raise DataError(
            f"{path} has no usable names:", got=repr(names)[:100], expected="a list, or a mapping from 0, 1, 2, ... to class names"
        )
    return tuple(str(name) for name in names)


def _samples(root: Path, yaml_path: Path, entry: Any) -> tuple[Sample, ...]:
    entries = entry if isinstance(entry, list) else [entry]
    images = [image for item in entries for image in _images(root, yaml_path, str(item))]
    if not images:
        raise DataError(f"{yaml_path} names {entry!r}, which holds no pictures", expected=f"files ending in {', '.join(sorted(SUFFIXES))}")
    return tuple(Sample(image, YoloText(_labels_of(image))) for image in images)


def _images(root: Path, yaml_path: Path, entry: str) -> list[Path]:
    place = _under(root, entry)
    if not place.exists() and entry.startswith("../"):
        # Roboflow writes ../train/images for what lies beside the yaml.
        place = _under(root, entry.removeprefix("../"))
    if place.is_dir():
        return sorted(p for p in place.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("._") and p.is_file())
    if place.is_file() and place.suffix == ".txt":
        return [_under(place.parent, line.strip()) for line in _read_text(place).splitlines() if line.strip()]
    raise DataError(f"{yaml_path} names {entry!r}", got=f"nothing at {place}", expected="a folder of images or a .txt file listing them")


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no list of images or labels", got="bytes that are no text", expected="text in UTF-8") from error


def _under(folder: Path, entry: str) -> Path:
    if "\0" in entry:
        raise DataError(f"a path holds a null character: {entry!r}"[:200])
    return Path(entry) if Path(entry).is_absolute() else (folder / entry).resolve()


def _labels_of(image: Path) -> Path:
    """Images -> labels in the last such folder of the path, as every trainer of this layout does."""
    parts = list(image.parts)
    for at in range(len(parts) - 2, -1, -1):
        if parts[at] == "images":
            parts[at] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _read_rows(path: Path, classes: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Rows of class, centre x, centre y, width, height; each box once, however often it was written."""
    if not path.is_file():
        return np.zeros((0, BOX_FIELDS))
    if path.stat().st_size > MOST_LABEL_BYTES:
        raise DataError(f"{path} is too large for labels", got=f"{path.stat().st_size} bytes")
    lines = _read_text(path).splitlines()
    rows = [_parse_row(path, number, line, classes) for number, line in enumerate(lines, 1) if line.strip()]
    return np.array(list(dict.fromkeys(rows)), float).reshape(-1, BOX_FIELDS)


def _parse_row(path: Path, number: int, line: str, classes: int) -> tuple[float, ...]:
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        values = []
    sound = len(values) >= BOX_FIELDS and np.isfinite(values).all() and values[0] in range(classes)
    if sound and len(values) > BOX_FIELDS:
        values = _outline(values)
    if not sound or min(values[3:5]) < 0 or max(map(abs, values[1:5])) > 2:
        raise DataError(
            f"{path} line {number} is no box",
            got=repr(line[:80]),
            expected=f"class 0..{classes - 1}, then centre x, centre y, width, height as shares of the picture",
        )
    return tuple(values)


def _outline(values: list[float]) -> list[float]:
    """The box round a polygon: class x1 y1 x2 y2 x3 y3 ... -> class, centre, size."""
    xs, ys = values[1::2], values[2::2]
    left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    return [values[0], (left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
