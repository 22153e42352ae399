"""Labels in the Ultralytics layout.

`data.yaml` names the classes and, for each split, a folder of images (or a text file listing them, or several of either). `path` is
resolved against the yaml's own folder or, where nothing is there, the current one. The labels of `images/a.jpg` are in `labels/a.txt`: a
line a box, class number then centre x, centre y, width, height as shares of the picture (or a polygon, whose outline is taken).

A yaml may name any folder of the machine, as Ultralytics' own do; what lies there is only ever read as pictures and label lines.
Nothing but file names is held in memory.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.data.folder import MOST_FILES, files_under, shown
from edgewright.data.images import SUFFIXES
from edgewright.data.plain_yaml import parse_yaml
from edgewright.data.sample import MOST_BOXES, Contents, Sample, Truth, plain_truth, usable_names
from edgewright.detections import ClassIds
from edgewright.errors import DataError
from edgewright.printable import brief, printable
from edgewright.regular_file import is_folder, is_regular, read_regular, why

MOST_YAML_BYTES = 1 << 20
MOST_LABEL_BYTES = 16 << 20
MOST_LIST_BYTES = 256 << 20
MOST_ENTRIES = 10_000  # folders and lists of a split
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
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in YAML_SUFFIXES and is_regular(path))
    named = [path for path in found if path.stem.lower() == "data"]
    likely = named or [path for path in found if _has_names(path)]
    return likely[0] if named or len(likely) == 1 else None


def open_yaml(path: Path) -> Contents:
    """The splits that a `data.yaml` names.

    Raises:
        DataError: it is not one, or a split it names has no pictures.
    """
    document = _read_yaml(path)
    root = _root(path, _text(path, document, "path") or ".")
    splits = {}
    for name in ("train", "val", "test"):
        entries = _entries(path, document, name)
        if entries:
            splits[name] = _samples(root, path, entries)
    if "val" not in splits:
        keys = printable(", ".join(sorted(document)), 200)
        raise DataError(f"{shown(path)} names no validation images", got=f"keys {keys}", expected="train: and val: folders")
    return Contents(_class_names(path, document.get("names")), splits)


def _has_names(path: Path) -> bool:
    try:
        return b"names:" in read_regular(path, MOST_YAML_BYTES)
    except OSError:
        return False


def _root(yaml_path: Path, entry: str) -> Path:
    """Beside the yaml; else, as Ultralytics has it, below the current folder."""
    beside = _under(yaml_path.parent, entry)
    here = _under(Path.cwd(), entry)
    return here if not is_folder(beside) and is_folder(here) else beside


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        document = parse_yaml(read_regular(path, MOST_YAML_BYTES).decode("utf-8-sig"))
    except OSError as error:
        raise _unreadable(path, error, MOST_YAML_BYTES) from error
    except ValueError as error:
        raise DataError(f"{shown(path)} is not YAML that we read", got=str(error), expected="text, lists and mappings in UTF-8") from error
    if not isinstance(document, dict):
        raise DataError(f"{shown(path)} is not a data set", got=brief(document), expected="keys path:, train:, val: and names:")
    return document


def _unreadable(path: Path, error: OSError, most_bytes: int) -> DataError:
    return DataError(f"{shown(path)} cannot be read", got=why(error), expected=f"a file of at most {most_bytes} bytes")


def _text(path: Path, document: dict[str, Any], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str | None):
        raise DataError(f"{shown(path)} has no usable {key}:", got=brief(value), expected="one line of text")
    return value or ""


def _entries(path: Path, document: dict[str, Any], split: str) -> list[str]:
    """The folders and lists of a split, each once."""
    value = document.get(split) or []
    entries = value if isinstance(value, list) else [value]
    wrong = [entry for entry in entries if not isinstance(entry, str)]
    if wrong or len(entries) > MOST_ENTRIES:
        got = f"{brief(wrong[0])} among them" if wrong else f"{len(entries)} of them"
        raise DataError(
            f"{shown(path)} has no usable {split}:", got=got, expected=f"a folder or .txt file, or at most {MOST_ENTRIES} of them"
        )
    return list(dict.fromkeys(entries))


def _class_names(path: Path, names: Any) -> tuple[str, ...]:
    if isinstance(names, dict):
        numbered = {int(key): name for key, name in names.items() if key.isascii() and key.isdigit() and len(key) <= 6}
        if len(numbered) == len(names) and set(numbered) == set(range(len(names))):
            names = [numbered[number] for number in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        strange = next((name for name in names if not isinstance(name, str)), names) if isinstance(names, list) else names
        got = f"keys such as {brief(next(iter(names)))}" if isinstance(names, dict) and names else brief(strange)
        expected = "a list, or a mapping from 0, 1, 2, ... to class names"
        raise DataError(f"{shown(path)} has no usable names:", got=got, expected=expected)
    return usable_names(shown(path), names)


def _samples(root: Path, yaml_path: Path, entries: list[str]) -> tuple[Sample, ...]:
    images: list[Path] = []
    for entry in entries:
        images += _images(root, yaml_path, entry)
        if len(images) > MOST_FILES:
            raise DataError(f"{shown(yaml_path)} names too many pictures", expected=f"at most {MOST_FILES} a split")
    if not images:
        named = brief(entries[0])
        raise DataError(
            f"{shown(yaml_path)} names {named}, which holds no pictures", expected=f"files ending in {', '.join(sorted(SUFFIXES))}"
        )
    return tuple(Sample(image, YoloText(_labels_of(image))) for image in images)


def _images(root: Path, yaml_path: Path, entry: str) -> list[Path]:
    place = _under(root, entry)
    if not is_folder(place) and not is_regular(place) and entry.startswith("../"):
        # Roboflow writes ../train/images for what lies beside the yaml.
        place = _under(root, entry.removeprefix("../"))
    if is_folder(place):
        return sorted(path for path in files_under(place) if path.suffix.lower() in SUFFIXES and is_regular(path))
    if is_regular(place) and place.suffix == ".txt":
        return list(_listed(place))
    raise DataError(
        f"{shown(yaml_path)} names {printable(repr(entry[:200]), 200)}",
        got=f"nothing at {shown(place)}",
        expected="a folder of images or a .txt file listing them",
    )


def _listed(path: Path) -> Iterator[Path]:
    """The pictures that a text file names, a line each; relative to its own folder."""
    text = _read_text(path, MOST_LIST_BYTES)
    if text.count("\n") > MOST_FILES:
        raise DataError(f"{shown(path)} names too many pictures", expected=f"at most {MOST_FILES}")
    folder = str(path.parent)
    for number, line in enumerate(text.splitlines(), 1):
        name = line.strip()
        # Only by the text: what a link leads to has its labels elsewhere.
        place = os.path.normpath(os.path.join(folder, name))  # noqa: PTH118 - a tenth of the time of Path, for millions of lines
        if "\0" in name or place.endswith("/"):
            raise DataError(f"{shown(path)} line {number} is no file name", got=brief(name))
        if name:
            yield Path(place)


def _read_text(path: Path, most_bytes: int) -> str:
    try:
        return read_regular(path, most_bytes).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{shown(path)} is no list of images or labels", got="bytes that are no text", expected="text in UTF-8") from error
    except OSError as error:
        raise _unreadable(path, error, most_bytes) from error


def _under(folder: Path, entry: str) -> Path:
    path = folder / entry
    try:
        return path if Path(entry).is_absolute() else path.resolve()
    except (OSError, RuntimeError, ValueError):  # a loop of links, or no name a file can have: nothing is there
        return path


def _labels_of(image: Path) -> Path:
    """Images -> labels in the last such folder of the path, as every trainer of this layout does."""
    before, folder, after = str(image).rpartition("/images/")
    place = f"{before}/labels/{after}" if folder else after
    return Path(os.path.splitext(place)[0] + ".txt")  # noqa: PTH122 - as in `_listed`


def _read_rows(path: Path, classes: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Rows of class, centre x, centre y, width, height; each box once, however often it was written."""
    try:
        lines = _read_text(path, MOST_LABEL_BYTES).splitlines()
    except DataError as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            return np.zeros((0, BOX_FIELDS))
        raise
    if len(lines) > MOST_BOXES:
        raise DataError(f"{shown(path)} has too many boxes for a picture", got=f"{len(lines)} lines", expected=f"at most {MOST_BOXES}")
    rows = [_parse_row(path, number, line, classes) for number, line in enumerate(lines, 1) if line.strip()]
    return np.array(list(dict.fromkeys(rows)), float).reshape(-1, BOX_FIELDS)


def _parse_row(path: Path, number: int, line: str, classes: int) -> tuple[float, ...]:
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        values = []
    sound = len(values) >= BOX_FIELDS and all(map(math.isfinite, values)) and values[0].is_integer() and 0 <= values[0] < classes
    if sound and len(values) > BOX_FIELDS:
        values = _outline(values)
    if not sound or min(values[3:5]) < 0 or max(map(abs, values[1:5])) > 2:
        raise DataError(
            f"{shown(path)} line {number} is no box",
            got=printable(repr(line[:80])),
            expected=f"class 0..{classes - 1}, then centre x, centre y, width, height as shares of the picture",
        )
    return tuple(values)


def _outline(values: list[float]) -> list[float]:
    """The box round a polygon: class x1 y1 x2 y2 x3 y3 ... -> class, centre, size."""
    xs, ys = values[1::2], values[2::2]
    left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    return [values[0], (left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
