"""Labels as COCO writes them: one json for many pictures (https://cocodataset.org/#format-data, "Object Detection").

`images`, `annotations` with `bbox` [x, y, width, height] in pixels, and `categories`, whose ids may be any numbers: classes come in the
order of the ids. `iscrowd` and `area` are kept. Boxes without any width or height are left out and counted, as are boxes of pictures that
the json does not list; a NaN, a negative size or a category that is not listed is refused.

The json is parsed once; what stays is a few numbers a box, in arrays that its samples share.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from edgewright.data.folder import by_split, split_named
from edgewright.data.images import SUFFIXES
from edgewright.data.sample import NO_SPLIT, Contents, Sample, Truth
from edgewright.detections import Boxes, ClassIds
from edgewright.errors import DataError
from edgewright.graph.finding import printable

MOST_JSON_BYTES = 1 << 30
MOST_PX = 1e9  # a coordinate beyond this is none
PARTS = ("images", "annotations", "categories")
ROBOFLOW = "_annotations.coco.json"
ANNOTATIONS = ("annotations", "annotation", "labels", "json")  # folders that hold jsons beside images/


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class BoxTable:
    """Every box of a json, picture by picture: picture i owns rows offsets[i] to offsets[i + 1].

    `boxes_xyxy` N x 4 float32, `class_ids` N, `crowd` N, `areas` N in square pixels, `sizes_wh` of the pictures as stated (0 where not).
    """

    source: Path
    boxes_xyxy: Boxes
    class_ids: ClassIds
    crowd: NDArray[np.bool_]
    areas: NDArray[np.float32]
    offsets: NDArray[np.int64]
    sizes_wh: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CocoRows:
    """The boxes of one picture: its rows of the table."""

    table: BoxTable
    picture: int

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.table.source,)

    def read(self, size_wh: tuple[int, int], classes: int) -> Truth:
        _ = size_wh, classes
        table, rows = self.table, self._rows
        wide, high = table.sizes_wh[self.picture].tolist()
        drawn_on_wh = (wide, high) if wide and high else None
        return Truth(table.boxes_xyxy[rows], table.class_ids[rows], table.crowd[rows], table.areas[rows], drawn_on_wh)

    def class_ids(self, classes: int) -> ClassIds:
        _ = classes
        return self.table.class_ids[self._rows][~self.table.crowd[self._rows]]

    @property
    def _rows(self) -> slice:
        return slice(int(self.table.offsets[self.picture]), int(self.table.offsets[self.picture + 1]))


@dataclass(frozen=True, slots=True)
class _Document:
    """One json as parsed, and the split it is of."""

    path: Path
    split: str
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: dict[int, dict[str, Any]]  # by id, in the order of ids


def jsons_in(root: Path) -> dict[str, Path]:
    """The COCO json of each split of a folder: Roboflow's, those in `annotations/`, in the folder itself, or in `train/`, `val/`, `test/`.

    Empty where there is none.

    Raises:
        DataError: two are of the same split.
    """
    folders = [root, *_folders_in(root)]
    roboflow = [folder / ROBOFLOW for folder in folders if (folder / ROBOFLOW).is_file()]
    if roboflow:
        return _one_a_split(root, [(split_named(path.parent.name) if path.parent != root else None, path) for path in roboflow])
    for folder in [folder for folder in folders[1:] if folder.name.lower() in ANNOTATIONS] + [root]:
        jsons = _jsons(folder)
        instances = [path for path in jsons if path.name.lower().startswith("instances")]
        chosen = instances or [path for path in jsons if split_named(path.stem) or "coco" in path.stem.lower()] or jsons
        if chosen and (instances or all(map(_looks_like_coco, chosen))):
            return _one_a_split(root, [(split_named(path.stem), path) for path in chosen])
    in_splits = [(split_named(folder.name), path) for folder in folders[1:] if split_named(folder.name) for path in _jsons(folder)]
    if in_splits and all(_looks_like_coco(path) for _split, path in in_splits):
        return _one_a_split(root, in_splits)
    return {}


def open_coco(jsons: dict[str, Path]) -> Contents:
    """The pictures and boxes of one json, or of one a split.

    Raises:
        DataError: a json is too large, no COCO detection json or contradicts itself, or none of its pictures is found.
    """
    documents = [_read(path, split) for split, path in jsons.items()]
    names = _class_names(documents)
    warnings: list[str] = []
    samples = [(document.split, sample) for document in documents for sample in _samples(document, names, warnings)]
    return Contents(names, by_split(samples), tuple(warnings))


def split_of_json(path: Path) -> str:
    """The split that a json's own name says it is of; `NO_SPLIT` where it says none."""
    return split_named(path.stem) or NO_SPLIT


def _one_a_split(root: Path, found: Iterable[tuple[str | None, Path]]) -> dict[str, Path]:
    jsons: dict[str, Path] = {}
    for split, path in found:
        other = jsons.setdefault(split or NO_SPLIT, path)
        if other != path:
            raise DataError(
                f"{root} holds two COCO jsons for the same split",
                got=f"{printable(other.name)} and {printable(path.name)}",
                expected="one a split, with train, val or test in its name",
                fix="give --data one of the json files",
            )
    return jsons


def _looks_like_coco(path: Path) -> bool:
    """True where it is an object that names images and annotations; read whole only where it is not huge."""
    try:
        document = json.loads(path.read_bytes(), object_hook=_without_masks) if path.stat().st_size <= MOST_JSON_BYTES else None
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and all(isinstance(document.get(part), list) for part in PARTS[:2])


def _read(path: Path, split: str) -> _Document:
    size = path.stat().st_size
    if size > MOST_JSON_BYTES:
        raise DataError(f"{path} is too large", got=f"{size} bytes", expected=f"at most {MOST_JSON_BYTES}")
    try:
        document = json.loads(path.read_bytes(), object_hook=_without_masks)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON", got=printable(str(error), 160)) from error
    missing = [part for part in PARTS if not isinstance(document, dict) or not isinstance(document.get(part), list)]
    if missing or not all(isinstance(row, dict) for part in PARTS for row in document[part]):
        got = f"no list of {missing[0]}" if missing and isinstance(document, dict) else f"a {type(document).__name__} of other things"
        raise DataError(f"{path} is not a COCO detection json", got=got, expected="an object with images, annotations and categories")
    return _Document(path, split, document["images"], document["annotations"], _categories(path, document["categories"]))


def _without_masks(row: dict[str, Any]) -> dict[str, Any]:
    """Outlines are most of a COCO json; they go as soon as they are parsed."""
    row.pop("segmentation", None)
    return row


def _categories(path: Path, rows: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    categories: dict[int, dict[str, Any]] = {}
    for row in rows:
        number, name = row.get("id"), row.get("name")
        if not _is_whole(number) or not isinstance(name, str | int):
            raise DataError(f"{path} has a category without a number or name", got=printable(repr(row)))
        if number in categories and categories[number].get("name") != name:
            got = printable(f"{categories[number]['name']!r} and {name!r}", 160)
            raise DataError(f"{path} has two categories with the id {number}", got=got)
        categories[number] = row
    if not categories:
        raise DataError(f"{path} names no categories", expected="categories with id and name")
    return dict(sorted(categories.items()))


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _class_names(documents: Sequence[_Document]) -> tuple[str, ...]:
    """In the order of ids, json after json, each name once; less what only heads the others (Roboflow's category 0)."""
    used = {row.get("category_id") for document in documents for row in document.annotations if _is_whole(row.get("category_id"))}
    names: dict[str, None] = {}
    for document in documents:
        for number, row in document.categories.items():
            others = [other for at, other in document.categories.items() if at != number]
            only_heads = number not in used and bool(others) and all(other.get("supercategory") == row["name"] for other in others)
            if not only_heads:
                names.setdefault(str(row["name"]))
    return tuple(names)


def _samples(document: _Document, names: tuple[str, ...], warnings: list[str]) -> list[Sample]:
    """A sample for every picture that is found; what was passed over is told in `warnings`."""
    picture_of, listed = _listed(document, warnings)
    table = _table(document, names, picture_of, listed, warnings)
    places = _Places(document.path, document.split)
    found = [(at, places.find(name)) for at, (name, _size) in enumerate(listed)]
    samples = [Sample(path, CocoRows(table, at)) for at, path in found if path is not None]
    absent = [listed[at][0] for at, path in found if path is None]
    if not samples:
        raise DataError(
            f"none of the {len(listed)} pictures that {document.path} lists is found" if listed else f"{document.path} lists no pictures",
            got=f"no {printable(absent[0])}" if absent else None,
            expected="them beside the json, in its parent, in images/ or in a folder named like the json",
        )
    if absent:
        warnings.append(f"{len(absent)} of {len(listed)} pictures that {document.path} lists are not there, such as {printable(absent[0])}")
    return samples


def _listed(document: _Document, warnings: list[str]) -> tuple[dict[int | str, int], list[tuple[str, tuple[int, int]]]]:
    """The picture of each image id, and each picture's file name and stated size, once."""
    pictures: dict[str, tuple[int, tuple[int, int]]] = {}
    picture_of: dict[int | str, int] = {}
    twice = 0
    for row in document.images:
        number, name = row.get("id"), row.get("file_name")
        if not isinstance(number, int | str) or not isinstance(name, str) or not name:
            raise DataError(f"{document.path} has an image without an id or file_name", got=printable(repr(row)))
        twice += number in picture_of or name in pictures
        at, _ = pictures.setdefault(name, (len(pictures), (_side(row.get("width")), _side(row.get("height")))))
        if picture_of.setdefault(number, at) != at:
            raise DataError(f"{document.path} gives the image id {printable(repr(number))} to two pictures", got=printable(name))
    if twice:
        warnings.append(f"{twice} pictures are listed twice in {document.path}; each counts once")
    return picture_of, [(name, size) for name, (_at, size) in pictures.items()]


def _side(value: object) -> int:
    return value if _is_whole(value) and 0 < value < MOST_PX else 0


def _table(
    document: _Document,
    names: tuple[str, ...],
    picture_of: dict[int | str, int],
    listed: Sequence[tuple[str, tuple[int, int]]],
    warnings: list[str],
) -> BoxTable:
    known = [row for row in document.annotations if _picture(row, picture_of) is not None]
    stray = len(document.annotations) - len(known)
    number = {name: at for at, name in enumerate(names)}
    class_of = {at: number[str(row["name"])] for at, row in document.categories.items() if str(row["name"]) in number}
    xywh = np.array([_box(document.path, row) for row in known], float).reshape(-1, 4)
    pictures = np.array([_picture(row, picture_of) for row in known], np.int64)
    class_ids = np.array([_class(document.path, row, class_of) for row in known], np.int64)
    crowd = np.array([row.get("iscrowd") in (1, True) for row in known], bool)
    areas = np.array([_area(row, box) for row, box in zip(known, xywh.tolist(), strict=True)], np.float32)

    full = xywh[:, 2:].min(axis=1, initial=np.inf) > 0
    # In the order of the pictures, and each box once, however often it was written.
    rows = np.column_stack([pictures, class_ids, crowd, xywh])
    first = np.sort(np.unique(rows, axis=0, return_index=True)[1]) if len(rows) else np.zeros(0, np.int64)
    kept = first[full[first]]
    kept = kept[np.argsort(pictures[kept], kind="stable")]
    for count, what in (
        (stray, "belong to no picture that the json lists"),
        (int(np.count_nonzero(~full)), "have no width or no height"),
        (int(np.count_nonzero(full)) - len(kept), "are written twice"),
    ):
        if count:
            warnings.append(f"{count} boxes of {document.path} {what} and were left out")
    return BoxTable(
        source=document.path,
        boxes_xyxy=np.concatenate([xywh[kept, :2], xywh[kept, :2] + xywh[kept, 2:]], axis=1).astype(np.float32),
        class_ids=class_ids[kept],
        crowd=crowd[kept],
        areas=areas[kept],
        offsets=np.searchsorted(pictures[kept], np.arange(len(listed) + 1)).astype(np.int64),
        sizes_wh=np.array([size for _name, size in listed], np.int64).reshape(-1, 2),
    )


def _picture(row: dict[str, Any], picture_of: dict[int | str, int]) -> int | None:
    number = row.get("image_id")
    return picture_of.get(number) if isinstance(number, int | str) else None


def _class(path: Path, row: dict[str, Any], class_of: dict[int, int]) -> int:
    number = row.get("category_id")
    if not _is_whole(number) or number not in class_of:
        raise DataError(
            f"{path} has an annotation of a category it does not list",
            got=printable(f"category_id {number!r} in annotation {row.get('id')!r}"),
            expected=f"one of {printable(', '.join(map(str, class_of)))}",
        )
    return class_of[number]


def _box(path: Path, row: dict[str, Any]) -> list[float]:
    box = row.get("bbox")
    sides = box if isinstance(box, list) and len(box) == 4 and all(isinstance(side, int | float) for side in box) else [math.nan] * 4
    if not all(abs(side) < MOST_PX for side in sides) or min(sides[2:]) < 0:
        raise DataError(
            f"annotation {printable(repr(row.get('id')))} of {path} has no usable bbox",
            got=printable(repr(box)) if "bbox" in row else f"only {printable(', '.join(map(str, row)))}",
            expected="[x, y, width, height] in pixels",
        )
    return [float(side) for side in sides]


def _area(row: dict[str, Any], box: list[float]) -> float:
    """Of the mask, where the json knows it; else of the box."""
    area = row.get("area")
    usable = isinstance(area, int | float) and 0 < area < 1e18 and math.isfinite(area)
    return float(area) if usable and area is not None else box[2] * box[3]


class _Places:
    """Where the pictures of a json may lie; looked for in the likeliest folder first."""

    def __init__(self, source: Path, split: str) -> None:
        self.source = source
        self.split = split or split_of_json(source)
        here, above = source.absolute().parent, source.absolute().parent.parent
        roots = [here, above, above / "images", here / "images"]
        stem = source.stem.lower()
        below = [folder for root in roots for folder in _folders_in(root)]
        self._below = [folder for folder in below if split_named(folder.name) in (None, self.split or None) or not self.split]
        named = [folder for folder in self._below if folder.name.lower() in stem or (self.split and split_named(folder.name) == self.split)]
        named.sort(key=lambda folder: folder.name.lower() not in stem)
        inner = [folder / "images" for folder in named if (folder / "images").is_dir()]
        self._likely = [*dict.fromkeys([*roots, *named, *inner])]
        self._index: dict[str, list[Path]] | None = None

    def find(self, file_name: str) -> Path | None:
        """The picture of that name; by its last part alone where the folders before it are of another machine."""
        clean = file_name.replace("\\", "/")
        last = clean.rpartition("/")[2]
        inside = clean if not clean.startswith("/") and ".." not in clean.split("/") else last
        for name in dict.fromkeys((inside, last)):
            for at, folder in enumerate(self._likely):
                path = folder / name
                if _is_file(path):
                    self._likely.insert(0, self._likely.pop(at))
                    return path
        return self._elsewhere(last)

    def _elsewhere(self, name: str) -> Path | None:
        if self._index is None:
            self._index = defaultdict(list)
            for folder in dict.fromkeys(self._below):
                for path in _entries(folder):
                    if path.suffix.lower() in SUFFIXES:
                        self._index[path.name].append(path)
        found = self._index.get(name, [])
        if len(found) > 1:
            raise DataError(
                f"{printable(name)} of {self.source} is in several folders",
                got=" and ".join(str(path.parent) for path in found[:2]),
                fix="put the json beside its pictures",
            )
        return found[0] if found else None


def _jsons(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.suffix.lower() == ".json" and not path.name.startswith(".") and path.is_file()]


def _folders_in(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_dir() and not path.name.startswith(".")]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, or with a null character
        return False
