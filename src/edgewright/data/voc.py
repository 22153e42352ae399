"""Labels as Pascal VOC writes them: an xml file a picture.

`Annotations/a.xml` belongs to `JPEGImages/a.jpg`, wherever below the folder the two lie and however it is spelled (`ANNOTATIONS` and
`IMAGES`, `train/annotations` and `train/images/<class>`, side by side): they are paired by name, the nearest first. Splits come from
`ImageSets/Main/*.txt`, else from folders called train, val, valid, validation or test. A picture without an xml holds nothing.

Boxes are in pixels counted from 1, both corners inside (VOC2012 devkit, section 4.2 and its `VOCevaldet.m`, which adds 1 to every
width): x1 - 1, y1 - 1, x2, y2 is the same box in our edges. An object marked `difficult` is neither to be found nor a mistake when found:
it becomes a crowd, COCO's word for that.

The xml is a stranger's: DOCTYPE and so entities are refused, its size is bounded. Boxes are not held in memory: a file is
read again when it is needed.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from xml.parsers import expat

import numpy as np

from edgewright.data.folder import MOST_FILES, by_split, files_under, pictures, shown, split_of, without_masks
from edgewright.data.sample import MOST_BOXES, Contents, Sample, Truth, Unlabelled, usable_names
from edgewright.detections import ClassIds
from edgewright.errors import DataError
from edgewright.printable import printable
from edgewright.regular_file import open_regular, read_regular, why

MOST_XML_BYTES = 4 << 20
MOST_LIST_BYTES = 256 << 20
MOST_DEPTH = 32
MOST_PX = 1e9  # a coordinate beyond this is none
CORNERS = ("xmin", "ymin", "xmax", "ymax")
OBJECT = ("annotation", "object")
LISTED = ("train", "val", "trainval", "test")  # files of ImageSets/Main


@dataclass(frozen=True, slots=True)
class VocXml:
    """The objects of one picture in an xml file. `class_names` is one tuple for the whole set."""

    path: Path
    class_names: tuple[str, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.path,)

    def read(self, size_wh: tuple[int, int], classes: int) -> Truth:
        _ = size_wh, classes
        annotation = read_xml(self.path)
        objects = annotation.usable
        corners = np.array([each.corners for each in objects], float).reshape(-1, 4)
        boxes = np.maximum(corners - (1, 1, 0, 0), 0).astype(np.float32)
        size = boxes[:, 2:] - boxes[:, :2]
        difficult = np.array([each.difficult for each in objects], bool)
        return Truth(boxes, self._ids(objects), difficult, size.prod(axis=1), annotation.size_wh)

    def class_ids(self, classes: int) -> ClassIds:
        _ = classes
        return self._ids([each for each in read_xml(self.path).usable if not each.difficult])

    def _ids(self, objects: "Iterable[VocObject]") -> ClassIds:
        number = {name: at for at, name in enumerate(self.class_names)}
        try:
            return np.array([number[each.name] for each in objects], np.int64)
        except KeyError as error:
            got = f"the new class {printable(str(error))}"
            raise DataError(f"{shown(self.path)} has changed since the data set was opened", got=got) from error


@dataclass(frozen=True, slots=True)
class VocObject:
    """One object as it is written: corners counted from 1, both inside."""

    name: str
    corners: tuple[float, ...]
    difficult: bool

    @property
    def is_empty(self) -> bool:
        left, top, right, bottom = self.corners
        return right <= left - 1 or bottom <= top - 1


@dataclass(frozen=True, slots=True)
class Annotation:
    """What an xml says: the picture's file name and size where they are known, and the objects."""

    file_name: str | None
    size_wh: tuple[int, int] | None
    objects: tuple[VocObject, ...]

    @property
    def usable(self) -> list[VocObject]:
        """Each object once, however often it was written, and none without width or height."""
        return list(dict.fromkeys(each for each in self.objects if not each.is_empty))


def is_voc(root: Path) -> bool:
    """True where some xml below the folder is an annotation (or would be, were it not broken in the middle)."""
    return any(_begins_annotation(path) for path in files_under(root) if path.suffix.lower() == ".xml")


def open_voc(root: Path) -> Contents:
    """Pictures and xml files below a folder, paired and split.

    Raises:
        DataError: an xml is broken, hostile or no annotation; or no picture belongs to any.
    """
    files = list(files_under(root))
    images, warnings = without_masks(pictures(files))
    stems = {image.stem for image in images}
    xmls = [path for path in files if path.suffix.lower() == ".xml"]
    annotations = {path: read_xml(path) for path in xmls if path.stem in stems or _begins_annotation(path)}
    xml_of, homeless = _pair(root, images, annotations)
    if not xml_of:
        raise DataError(
            f"{shown(root)} holds {len(annotations)} xml annotations, but no picture that belongs to one",
            got=f"{len(images)} pictures" + (f", such as {printable(images[0].name)}" if images else ""),
            expected="pictures named like the xml files, for instance Annotations/a.xml and JPEGImages/a.jpg",
        )
    classes = usable_names(shown(root), sorted({each.name for annotation in annotations.values() for each in annotation.objects}))
    empty = sum(each.is_empty for annotation in annotations.values() for each in annotation.objects)
    if homeless:
        warnings += (f"{len(homeless)} xml files of {shown(root)} belong to no picture there, such as {printable(homeless[0].name)}",)
    if empty:
        warnings += (f"{empty} boxes of {shown(root)} without any width or height were left out",)
    samples = {image: Sample(image, VocXml(xml_of[image], classes) if image in xml_of else Unlabelled()) for image in images}
    listed, more = _listed(root, files, samples)
    found = listed or by_split(
        (split_of(root, image) or split_of(root, xml_of.get(image, image)), sample) for image, sample in samples.items()
    )
    return Contents(classes, found, warnings + more)


def read_xml(path: Path) -> Annotation:
    """One VOC annotation.

    Raises:
        DataError: it is too large, no file, no XML, declares a document type or entities, or an object in it has no name or no box.
    """
    reader = _Reader(path)
    _parse(path, _content(path, MOST_XML_BYTES), reader.begin, reader.text, reader.end)
    return reader.annotation()


@dataclass(slots=True)
class _Reader:
    """Collects what matters of the elements as they come by; `place` is the names of those now open."""

    path: Path
    place: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    about: dict[tuple[str, ...], str] = field(default_factory=dict)  # of the picture, by place
    now: dict[tuple[str, ...], str] = field(default_factory=dict)  # of the object that is open
    objects: list[VocObject] = field(default_factory=list)

    def begin(self, name: str, _attributes: dict[str, str]) -> None:
        self.place.append(name.lower())
        self.words.clear()
        if len(self.place) > MOST_DEPTH:
            raise DataError(f"{shown(self.path)} is nested too deeply for an annotation", expected=f"at most {MOST_DEPTH} levels")
        if self.place[0] != "annotation":
            raise DataError(f"{shown(self.path)} is no VOC annotation", got=printable(f"<{name}>"), expected="<annotation>")
        if tuple(self.place) == OBJECT:
            self.now = {}
            if len(self.objects) == MOST_BOXES:
                raise DataError(f"{shown(self.path)} has too many objects for a picture", expected=f"at most {MOST_BOXES}")

    def text(self, words: str) -> None:
        self.words.append(words)

    def end(self, _name: str) -> None:
        place, said = tuple(self.place), "".join(self.words).strip()
        self.words.clear()
        self.place.pop()
        if place == OBJECT:
            self.objects.append(self._object())
        elif place[:2] == OBJECT:
            self.now.setdefault(place[2:], said)
        else:
            self.about.setdefault(place[1:], said)

    def annotation(self) -> Annotation:
        size_wh = tuple(_number(self.about.get(("size", side), "")) for side in ("width", "height"))
        known = all(1 <= side < MOST_PX for side in size_wh)
        return Annotation(self.about.get(("filename",)) or None, (int(size_wh[0]), int(size_wh[1])) if known else None, tuple(self.objects))

    def _object(self) -> VocObject:
        name = self.now.get(("name",), "")
        corners = tuple(_number(self.now.get(("bndbox", corner), "")) for corner in CORNERS)
        if not name or not all(abs(edge) < MOST_PX for edge in corners) or corners[2] < corners[0] - 1 or corners[3] < corners[1] - 1:
            raise DataError(
                f"object {len(self.objects) + 1} of {shown(self.path)} is no box",
                got=printable(f"name {name!r}, corners {', '.join(self.now.get(('bndbox', corner), 'none') for corner in CORNERS)}", 160),
                expected="a name and a bndbox with xmin <= xmax and ymin <= ymax in pixels",
            )
        return VocObject(name, corners, self.now.get(("difficult",), "0").lower() in ("1", "true"))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _parse(
    path: Path, content: bytes, begin: Callable[[str, dict[str, str]], None], text: Callable[[str], None], end: Callable[[str], None]
) -> None:
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.CharacterDataHandler, parser.EndElementHandler = begin, text, end
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(content, True)
    except _DoctypeError:
        raise DataError(f"{shown(path)} declares a document type, which labels have no use for", got="<!DOCTYPE", fix="remove it") from None
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise DataError(f"{shown(path)} is not XML", got=printable(str(error), 160)) from error


class _DoctypeError(Exception):
    """Raised out of expat: entities, and so billions of laughs, can only be declared in a document type."""


def _refuse_doctype(*_declared: object) -> None:
    raise _DoctypeError


class _SeenError(Exception):
    """The outermost element has come by."""


def _begins_annotation(path: Path) -> bool:
    """True where the outermost element is `annotation`; a broken file counts where nothing before that is broken."""
    first: list[str] = []

    def begin(name: str, _attributes: dict[str, str]) -> None:
        first.append(name.lower())
        raise _SeenError

    try:
        with open_regular(path) as stream:
            content = stream.read(4096)
    except OSError:
        return False
    parser = expat.ParserCreate()
    parser.StartElementHandler = begin
    parser.StartDoctypeDeclHandler = lambda name, *_: begin(name, {})
    with suppress(_SeenError, expat.ExpatError, LookupError, ValueError):
        parser.Parse(content, False)
    return first == ["annotation"]


def _pair(root: Path, images: list[Path], annotations: dict[Path, Annotation]) -> tuple[dict[Path, Path], list[Path]]:
    """The xml of each picture, and the xml files that belong to none. By the xml's own name, else by the file name it gives."""
    by_name: defaultdict[str, list[Path]] = defaultdict(list)
    for image in images:
        by_name[image.stem].append(image)
        by_name[image.name].append(image)
    xml_of: dict[Path, Path] = {}
    homeless = []
    for xml, annotation in annotations.items():
        named = (annotation.file_name or "").replace("\\", "/").rpartition("/")[2]
        free = [image for name in (xml.stem, named) for image in by_name.get(name, ()) if image not in xml_of]
        if free:
            xml_of[max(free, key=lambda image: _nearness(root, image, xml))] = xml
        else:
            homeless.append(xml)
    return xml_of, homeless


def _nearness(root: Path, image: Path, xml: Path) -> tuple[bool, bool, int]:
    """Higher is nearer: the xml's own name, the same split by folder names, more folders shared."""
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(image.parts, xml.parts, strict=False)))
    return image.stem == xml.stem, split_of(root, image) == split_of(root, xml), shared


def _listed(root: Path, files: list[Path], samples: dict[Path, Sample]) -> tuple[dict[str, tuple[Sample, ...]], tuple[str, ...]]:
    """The splits that ImageSets/Main names, and what to say about them; nothing where there are no such lists."""
    lists = [path for path in files if path.suffix.lower() == ".txt" and path.stem.lower() in LISTED and _is_image_set(root, path)]
    found: dict[str, dict[Path, Sample]] = {name: {} for name in LISTED}
    absent = 0
    for path in lists:
        year = path.parents[1] if path.parent.name.lower() == "imagesets" else path.parents[2]  # VOC2007 and VOC2012 side by side
        by_stem = {image.stem: image for image in samples if image.is_relative_to(year)}
        for stem in _lines(path):
            image = by_stem.get(stem) or by_stem.get(Path(stem).stem)
            if image is None:
                absent += 1
            else:
                found[path.stem.lower()][image] = samples[image]
    train = found["train"] or {image: sample for image, sample in found["trainval"].items() if image not in found["val"]}
    val = found["val"] or {image: sample for image, sample in found["trainval"].items() if image not in train}
    splits = {name: tuple(held.values()) for name, held in (("train", train), ("val", val), ("test", found["test"])) if held}
    warnings = (f"{absent} pictures that the lists in ImageSets of {shown(root)} name are not there",) if absent else ()
    return splits, warnings


def _is_image_set(root: Path, path: Path) -> bool:
    parts = [part.lower() for part in path.relative_to(root).parts[:-1]]
    return parts[-1:] == ["imagesets"] or parts[-2:] == ["imagesets", "main"]


def _lines(path: Path) -> list[str]:
    """The first word of each line (VOC's lists of one class have a second)."""
    content = _content(path, MOST_LIST_BYTES)
    if content.count(b"\n") > MOST_FILES:
        raise DataError(f"{shown(path)} names too many pictures", expected=f"at most {MOST_FILES}")
    try:
        return [line.split()[0] for line in content.decode("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise DataError(f"{shown(path)} is no list of pictures", got="bytes that are no text", expected="a name a line") from error


def _content(path: Path, most_bytes: int) -> bytes:
    try:
        return read_regular(path, most_bytes)
    except OSError as error:
        expected = f"a file of at most {most_bytes} bytes"
        raise DataError(f"{shown(path)} cannot be read", got=why(error), expected=expected) from error
