"""Labels as COCO writes them: one json for many pictures (https://cocodataset.org/#format-data, "Object Detection").

`images`, `annotations` with `bbox` [x, y, width, height] in pixels, and `categories`, whose ids may be any numbers: classes come in the
order of the ids. `iscrowd` and `area` are kept. Boxes without any width or height are left out and counted, as are boxes of pictures that
the json does not list; a NaN, a negative size or a category that is not listed is refused.

Pictures are looked for in the folders round the json and nowhere else: a `file_name` that is absolute or climbs with `..` counts by its
last part alone. The json is parsed once; what stays is a few numbers a box, in arrays that its samples share.
"""

import json
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from edgewright.data.folder import MOST_FILES, by_split, shown, split_named
from edgewright.data.images import SUFFIXES
from edgewright.data.sample import MOST_BOXES, NO_SPLIT, Contents, Sample, Truth, usable_names
from edgewright.detections import Boxes, ClassIds
from edgewright.errors import DataError
from edgewright.printable import brief, printable
from edgewright.regular_file import is_folder, is_regular, read_regular, why

MOST_JSON_BYTES = 512 << 20  # COCO's own largest has 448 MB
# What a parser makes of three bytes may take a hundred, and a microsecond: so these are counted before it is asked. COCO's own largest
# has a million objects, four million lists and fifty million numbers.
MOST_OF = {b"{": 2_000_000, b"[": 16_000_000, b",": 64_000_000}
MOST_PX = 1e9  # a coordinate beyond this is none
PARTS = ("images", "annotations", "categories")
ROBOFLOW = "_annotations.coco.json"
ENDINGS = tuple(SUFFIXES)
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
    roboflow = [folder / ROBOFLOW for folder in folders if is_regular(folder / ROBOFLOW)]
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
                f"{shown(root)} holds two COCO jsons for the same split",
                got=f"{printable(other.name)} and {printable(path.name)}",
                expected="one a split, with train, val or test in its name",
                fix="give --data one of the json files",
            )
    return jsons


def _looks_like_coco(path: Path) -> bool:
    """True where it is an object that names images and annotations; read whole only where it is not huge."""
    try:
        document = _parse(read_regular(path, MOST_JSON_BYTES))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and all(isinstance(document.get(part), list) for part in PARTS[:2])


def _read(path: Path, split: str) -> _Document:
    try:
        document = _parse(read_regular(path, MOST_JSON_BYTES))
    except OSError as error:
        expected = f"a file of at most {MOST_JSON_BYTES} bytes"
        raise DataError(f"{shown(path)} cannot be read", got=why(error), expected=expected) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{shown(path)} is not JSON that we read", got=printable(str(error), 160)) from error
    missing = [part for part in PARTS if not isinstance(document, dict) or not isinstance(document.get(part), list)]
    if missing or not all(isinstance(row, dict) for part in PARTS for row in document[part]):
        got = f"no list of {missing[0]}" if missing and isinstance(document, dict) else f"a {type(document).__name__} of other things"
        raise DataError(
            f"{shown(path)} is not a COCO detection json", got=got, expected="an object with images, annotations and categories"
        )
    return _Document(path, split, document["images"], document["annotations"], _categories(path, document["categories"]))


def _parse(content: bytes) -> Any:
    """Raises ValueError or RecursionError; a number of thousands of digits is such an error too."""
    for sign, most in MOST_OF.items():
        if content.count(sign) > most:
            raise ValueError(f"more than {most} of {sign.decode()}")
    return json.loads(content, object_pairs_hook=_without_masks)


def _without_masks(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Outlines are most of a COCO json; they go as soon as they are parsed."""
    row = dict(pairs)
    if len(row) != len(pairs):
        raise ValueError("a key stands twice in an object")
    row.pop("segmentation", None)
    return row


def _categories(path: Path, rows: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    categories: dict[int, dict[str, Any]] = {}
    for row in rows:
        number, name = row.get("id"), row.get("name")
        if not _is_whole(number) or not isinstance(name, str | int):
            raise DataError(f"{shown(path)} has a category without a number or name", got=_row(row))
        if number in categories and categories[number].get("name") != name:
            got = f"{brief(categories[number]['name'])} and {brief(name)}"
            raise DataError(f"{shown(path)} has two categories with the id {brief(number)}", got=got)
        categories[number] = row
    if not categories:
        raise DataError(f"{shown(path)} names no categories", expected="categories with id and name")
    return dict(sorted(categories.items()))


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _class_names(documents: Sequence[_Document]) -> tuple[str, ...]:
    """In the order of ids, json after json, each name once; less what only heads the others (Roboflow's category 0)."""
    used = {row.get("category_id") for document in documents for row in document.annotations if _is_whole(row.get("category_id"))}
    names: dict[str, None] = {}
    for document in documents:
        under = Counter(head for row in document.categories.values() if isinstance(head := row.get("supercategory"), str | int))
        for number, row in document.categories.items():
            others, name = len(document.categories) - 1, row["name"]
            below = under[name] - (row.get("supercategory") == name)
            if number in used or not others or below != others:
                names.setdefault(str(name))
    return usable_names(shown(documents[0].path), list(names))


def _row(row: dict[str, Any]) -> str:
    return printable(", ".join(f"{key[:20]}: {brief(held)}" for key, held in list(row.items())[:8]), 160)


def _samples(document: _Document, names: tuple[str, ...], warnings: list[str]) -> list[Sample]:
    """A sample for every picture that is found; what was passed over is told in `warnings`."""
    picture_of, listed = _listed(document, warnings)
    table = _table(document, names, picture_of, listed, warnings)
    places = _Places(document.path, document.split)
    found = [(at, places.find(name)) for at, (name, _size) in enumerate(listed)]
    samples = [Sample(path, CocoRows(table, at)) for at, path in found if path is not None]
    absent = [listed[at][0] for at, path in found if path is None]
    source = shown(document.path)
    if not samples:
        raise DataError(
            f"none of the {len(listed)} pictures that {source} lists is found" if listed else f"{source} lists no pictures",
            got=f"no {printable(absent[0])}" if absent else None,
            expected="them beside the json, in its parent, in images/ or in a folder named like the json",
        )
    if absent:
        warnings.append(f"{len(absent)} of {len(listed)} pictures that {source} lists are not there, such as {printable(absent[0])}")
    return samples


def _listed(document: _Document, warnings: list[str]) -> tuple[dict[int | str, int], list[tuple[str, tuple[int, int]]]]:
    """The picture of each image id, and each picture's file name and stated size, once."""
    pictures: dict[str, tuple[int, tuple[int, int]]] = {}
    picture_of: dict[int | str, int] = {}
    twice = 0
    for row in document.images:
        number, name = row.get("id"), row.get("file_name")
        if not isinstance(number, int | str) or not isinstance(name, str) or not name:
            raise DataError(f"{shown(document.path)} has an image without an id or file_name", got=_row(row))
        twice += number in picture_of or name in pictures
        at, _ = pictures.setdefault(name, (len(pictures), (_side(row.get("width")), _side(row.get("height")))))
        if picture_of.setdefault(number, at) != at:
            raise DataError(f"{shown(document.path)} gives the image id {brief(number)} to two pictures", got=printable(name))
    if twice:
        warnings.append(f"{twice} pictures are listed twice in {shown(document.path)}; each counts once")
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
    xywh = _boxes(document.path, known)
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
    if len(kept) and np.bincount(pictures[kept]).max() > MOST_BOXES:
        raise DataError(f"{shown(document.path)} has too many boxes for a picture", expected=f"at most {MOST_BOXES}")
    for count, what in (
        (stray, "belong to no picture that the json lists"),
        (int(np.count_nonzero(~full)), "have no width or no height"),
        (int(np.count_nonzero(full)) - len(kept), "are written twice"),
    ):
        if count:
            warnings.append(f"{count} boxes of {shown(document.path)} {what} and were left out")
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
            f"{shown(path)} has an annotation of a category it does not list",
            got=f"category_id {brief(number)} in annotation {brief(row.get('id'))}",
            expected=f"one of {printable(', '.join(str(known) for known in list(class_of)[:40]))}",
        )
    return class_of[number]


def _boxes(path: Path, rows: list[dict[str, Any]]) -> NDArray[np.float64]:
    """N x 4: x, y, width, height."""
    boxes: list[Any] = [row.get("bbox") for row in rows]
    # Four plain numbers a box is what nearly all files hold, and it is seen at a tenth of the time that looking at each takes.
    if set(map(type, boxes)) == {list} and set(map(len, boxes)) == {4} and set(map(type, chain.from_iterable(boxes))) <= {int, float}:
        with suppress(OverflowError):  # a whole number that is none of theirs
            found = np.array(boxes, float)
            if (np.abs(found) < MOST_PX).all() and (found[:, 2:] >= 0).all():
                return found
    return np.array([_box(path, row) for row in rows], float).reshape(-1, 4)


def _box(path: Path, row: dict[str, Any]) -> list[float]:
    box = row.get("bbox")
    sides = box if isinstance(box, list) and len(box) == 4 and all(isinstance(side, int | float) for side in box) else [math.nan] * 4
    if not all(abs(side) < MOST_PX for side in sides) or min(sides[2:]) < 0:
        raise DataError(
            f"annotation {brief(row.get('id'))} of {shown(path)} has no usable bbox",
            got=_sides(box) if "bbox" in row else f"only {printable(', '.join(list(row)[:8]))}",
            expected="[x, y, width, height] in pixels",
        )
    return [float(side) for side in sides]


def _sides(box: object) -> str:
    return f"[{', '.join(map(brief, box))}]" if isinstance(box, list) and len(box) <= 8 else brief(box)


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
        inner = [folder / "images" for folder in named if is_folder(folder / "images")]
        self._likely = [str(folder) for folder in dict.fromkeys([*roots, *named, *inner])]
        self._listings: dict[str, _Listing] = {}
        self._index: dict[str, list[Path]] | None = None

    def find(self, file_name: str) -> Path | None:
        """The picture of that name; by its last part alone where the folders before it are of another machine."""
        clean = file_name.replace("\\", "/")
        parts = [part for part in clean.split("/") if part not in ("", ".")]
        if not parts or parts[-1] == "..":
            return None
        inside = parts if not clean.startswith("/") and ".." not in parts else parts[-1:]
        for names in (inside, parts[-1:]) if len(inside) > 1 else (inside,):
            for at, folder in enumerate(self._likely):
                if self._holds(folder, names):
                    self._likely.insert(0, self._likely.pop(at))
                    return Path(folder, *names)
        return self._elsewhere(parts[-1])

    def _holds(self, folder: str, names: list[str]) -> bool:
        """Whether a file lies there. Folders are listed once: a look at the disk for each of a million names would take minutes."""
        *folders, name = names
        for inner in folders:
            if inner not in self._listing(folder).folders:
                return False
            folder = f"{folder}/{inner}"
        return name in self._listing(folder).files

    def _listing(self, folder: str) -> "_Listing":
        if folder not in self._listings:
            self._listings[folder] = _list(folder)
        return self._listings[folder]

    def _elsewhere(self, name: str) -> Path | None:
        if self._index is None:
            self._index = defaultdict(list)
            for folder in dict.fromkeys(self._below):
                for each in self._listing(str(folder)).files:
                    if each.lower().endswith(ENDINGS):
                        self._index[each].append(folder / each)
        found = self._index.get(name, [])
        if len(found) > 1:
            raise DataError(
                f"{printable(name)} of {shown(self.source)} is in several folders",
                got=" and ".join(shown(path.parent) for path in found[:2]),
                fix="put the json beside its pictures",
            )
        return found[0] if found else None


@dataclass(frozen=True, slots=True)
class _Listing:
    """The names in a folder; links count as what they lead to."""

    files: frozenset[str]
    folders: frozenset[str]


def _list(folder: str) -> _Listing:
    files, folders = set[str](), set[str]()
    with suppress(OSError), os.scandir(folder) as entries:  # gone, or not ours to read
        for entry in entries:
            with suppress(OSError):  # a loop of links
                (folders if entry.is_dir() else files if entry.is_file() else set()).add(entry.name)
            if len(files) + len(folders) > MOST_FILES:
                raise DataError(f"{printable(folder, 300)} holds more than {MOST_FILES} files", fix="put the json beside its pictures")
    return _Listing(frozenset(files), frozenset(folders))


def _jsons(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.suffix.lower() == ".json" and not path.name.startswith(".") and is_regular(path)]


def _folders_in(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if is_folder(path) and not path.name.startswith(".")]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
