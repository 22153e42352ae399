"""The thing that travels: model files plus `artifact.json`, which says everything needed to run them.

An artifact is a folder. Its json is read once, here, into frozen dataclasses; a field that is missing or of the wrong
type is one clear sentence, never a KeyError three stages later. The keys are the contract (docs/reference/artifact.md).

Whoever hands us an artifact may have changed it: before `Artifact.load` gives an artifact, every file that it names has been seen to lie
in its folder and to have the size and digest it must have.
"""

import hashlib
import json
import math
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeAlias, get_args

from edgewright.errors import ArtifactError
from edgewright.printable import brief, printable
from edgewright.regular_file import open_regular, read_regular, why

SCHEMA = 1
FILE_NAME = "artifact.json"
MOST_JSON_BYTES = 4 << 20
MOST_FILES = 16
MOST_FILE_BYTES = 4 << 30  # of all files together; an ONNX file ends at 2 GiB
LONGEST_PATH = 255  # characters
LONGEST_NAME = 1000  # characters of a class or of the artifact
LONGEST_TENSOR_NAME = 1 << 16
LONGEST_WORD = 40  # characters of what has no meaning of its own but to be one of a few: engine, precision, dtype
MOST_CLASSES = 1 << 16
MOST_INPUT_VALUES = 1 << 28  # 1 GiB of float32
MOST_SIZE = 1e12  # of any figure: more is none, and squares of it still are numbers
MOST_THREADS = 1024
MOST_DEEP = 16  # scheme, target and lineage
SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
MOST_GRIDS = 16  # real heads have two to five
MOST_BINS = 256  # real heads have 1, 16 or 17
MOST_ANCHORS = 64  # a cell; real heads have three

Family: TypeAlias = Literal["yolov8", "yolov5", "yolox", "end2end"]
Role: TypeAlias = Literal["decoded", "undecoded", "box", "class", "objectness", "combined"]
Anchors: TypeAlias = tuple[tuple[float, float], ...]  # width and height in input pixels of each anchor of a grid
# What a head cut at its convolutions gives for each grid.
RAW_ROLES: dict[str, tuple[Role, ...]] = {
    "yolov8": ("box", "class"),
    "yolov5": ("combined",),
    "yolox": ("box", "objectness", "class"),
    "end2end": ("box", "class"),
}


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """A file of the artifact: its path inside the folder, the digest and size it must have."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What the network eats: `shape` in `layout`, each pixel times `scale` after `mean` is taken off; as it is where `dtype` is uint8."""

    name: str
    shape: tuple[int, int, int, int]
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    dtype: str = "float32"
    colour: Literal["RGB", "BGR"] = "RGB"
    scale: float = 1 / 255
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    letterbox_value: int = 114

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of the picture it expects."""
        high, wide = self.shape[2:] if self.layout == "NCHW" else self.shape[1:3]
        return wide, high

    def to_json(self) -> dict[str, Any]:
        found = asdict(self)
        found["letterbox"] = {"value": found.pop("letterbox_value"), "centred": True}
        return found


@dataclass(frozen=True, slots=True)
class HeadOutput:
    """One output tensor, by what it holds.

    Of all cells: `decoded`, boxes in pixels and probabilities; `undecoded`, YOLOX's, where scores are probabilities but boxes are offsets
    in cells. Of one `stride`, a raw convolution: `box`, `class` or `objectness`, or all of them `combined`. Where `scale` is not None the
    tensor holds integers, each worth `scale` times its distance from `zero_point`.
    """

    name: str
    role: Role
    stride: int | None = None
    scale: float | None = None
    zero_point: int = 0


@dataclass(frozen=True, slots=True)
class HeadSpec:
    """How outputs become boxes.

    `reg_max`: the bins of a box side, 1 where it is a plain distance, None where a box is no four sides. `anchors`: of each stride,
    where a raw head has them.
    """

    family: Family
    strides: tuple[int, ...]
    reg_max: int | None
    outputs: tuple[HeadOutput, ...]
    anchors: tuple[Anchors, ...] | None = None

    @property
    def is_raw(self) -> bool:
        """Whether the decode happens outside the network."""
        return self.outputs[0].role != "decoded"

    @property
    def needs_nms(self) -> bool:
        """Whether several candidates may mean the same object; an end-to-end head was trained, or exported, to give one."""
        return self.family != "end2end"


@dataclass(frozen=True, slots=True)
class Threshold:
    """What `detect` shows: score above `score`, boxes overlapping by more than `iou` suppressed.

    `per_class`: class name -> the score it needs instead of `score`.
    """

    score: float = 0.25
    iou: float = 0.7
    per_class: dict[str, float] | None = None

    def of_classes(self, classes: tuple[str, ...]) -> tuple[float, ...]:
        """The score each class needs."""
        own = self.per_class or {}
        return tuple(own.get(name, self.score) for name in classes)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A detector ready to run: files, input, head, classes and where it came from."""

    name: str
    engine: str
    precision: str
    files: tuple[ArtifactFile, ...]
    input: InputSpec
    head: HeadSpec
    classes: tuple[str, ...]
    folder: Path
    task: str = "detect"
    threshold: Threshold = field(default_factory=Threshold)
    scheme: dict[str, Any] | None = None
    target: dict[str, Any] = field(default_factory=lambda: {"isa": []})
    lineage: dict[str, Any] = field(default_factory=dict)

    @property
    def model_path(self) -> Path:
        """The file the engine opens."""
        return self.folder / self.files[0].path

    @property
    def threads(self) -> int | None:
        """With how many threads it ran fastest where it was fitted; None where that was left open."""
        found = self.target.get("threads")
        return found if isinstance(found, int) and 1 <= found <= MOST_THREADS else None

    @property
    def beside(self) -> tuple[Path, ...]:
        """The other files, which the engine finds beside that one by its name."""
        return tuple(self.folder / file.path for file in self.files[1:])

    @property
    def size_bytes(self) -> int:
        """What the model files weigh on disk."""
        return sum(file.bytes for file in self.files)

    @property
    def digest(self) -> str:
        """One name for the bytes: the digest over the files' digests, in order."""
        return "sha256:" + hashlib.sha256("\n".join(f"{f.path} {f.sha256}" for f in self.files).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The document of `artifact.json`."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "task": self.task,
            "digest": self.digest,
            "engine": self.engine,
            "precision": self.precision,
            "files": [asdict(file) for file in self.files],
            "input": self.input.to_json(),
            "head": asdict(self.head),
            "classes": list(self.classes),
            "threshold": asdict(self.threshold),
            "scheme": self.scheme,
            "target": self.target,
            "lineage": self.lineage,
        }

    @classmethod
    def from_json(cls, document: dict[str, Any], folder: Path) -> "Artifact":
        """The artifact that `document` describes, in `folder`; its files are not looked at.

        Raises:
            ArtifactError: a field is missing or wrong.
        """
        return _parse(document, folder)

    @classmethod
    def load(cls, folder: Path) -> "Artifact":
        """Read and check the artifact in `folder`.

        Raises:
            ArtifactError: no artifact.json, another schema, a wrong field, a file that is not one of the folder, or whose bytes are not
                the ones promised.
        """
        artifact = _parse(_read_json(folder / FILE_NAME), folder)
        _check_places(artifact)
        for file in artifact.files:
            _check_bytes(folder, file)
        return artifact


def sha256_of(path: Path) -> str:
    """The hex digest of a regular file, read in pieces.

    Raises:
        OSError: it is none, or cannot be read.
    """
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def describe_file(path: Path, folder: Path) -> ArtifactFile:
    """The entry that `path` gets in the artifact of `folder`."""
    return ArtifactFile(path.relative_to(folder).as_posix(), sha256_of(path), path.stat().st_size)


def _read_json(path: Path) -> dict[str, Any]:
    shown = _shown(path)
    try:
        content = read_regular(path, MOST_JSON_BYTES)
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{_shown(path.parent)} is no artifact", got="no artifact.json in it", expected="a folder that `edgewright fit` wrote"
        ) from error
    except OSError as error:
        raise ArtifactError(f"{shown} cannot be read", got=why(error), expected=f"a file of at most {MOST_JSON_BYTES} bytes") from error
    try:
        document = json.loads(content.decode("utf-8"), object_pairs_hook=_once)
        # What could not be written again cannot be meant: no half of a pair of surrogates, no NaN, no infinity.
        json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{shown} is not JSON that we read", got=printable(str(error), 160), fix="run `edgewright fit` again"
        ) from error
    if not isinstance(document, dict) or _is_other_schema(document.get("schema")):
        got = brief(document.get("schema") if isinstance(document, dict) else document)
        raise ArtifactError(
            f"{shown} has another schema", got=got, expected=str(SCHEMA), fix="use the edgewright that wrote it, or fit again"
        )
    return document


def _shown(path: Path) -> str:
    return printable(str(path), 300)


def _is_other_schema(schema: object) -> bool:
    return schema != SCHEMA or isinstance(schema, bool)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in an object")
    return found


def _parse(document: dict[str, Any], folder: Path) -> Artifact:
    try:
        artifact = Artifact(
            name=_text(document, "name", LONGEST_NAME),
            engine=_text(document, "engine"),
            precision=_text(document, "precision"),
            files=tuple(_parse_file(file) for file in _list(document, "files", MOST_FILES)),
            input=_parse_input(_mapping(document, "input")),
            head=_parse_head(_mapping(document, "head")),
            classes=_parse_classes(document),
            folder=folder,
            task=_one_of(document, "task", ("detect",)),
            threshold=_parse_threshold(_mapping(document, "threshold")),
            scheme=None if document["scheme"] is None else _parse_scheme(document),
            target=_tools_own(document, "target"),
            lineage=_tools_own(document, "lineage"),
        )
        promised = _text(document, "digest", 80)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ArtifactError(
            f"{_shown(folder / FILE_NAME)} lacks or garbles a field",
            got=printable(f"no {error}" if isinstance(error, KeyError) else str(error), 200),
            expected="the keys of docs/reference/artifact.md",
            fix="fit again",
        ) from error
    if not artifact.files:
        raise ArtifactError(f"{_shown(folder / FILE_NAME)} names no model file", fix="fit again")
    if promised != artifact.digest:
        raise ArtifactError(
            f"{_shown(folder / FILE_NAME)} was changed",
            got=f"digest {brief(promised)}",
            expected=f"{artifact.digest}, that of its files",
            fix="fit again",
        )
    return artifact


def _parse_file(raw: Any) -> ArtifactFile:
    file = ArtifactFile(_text(raw, "path", LONGEST_PATH), _text(raw, "sha256", 64), _whole("bytes", raw["bytes"], 0, MOST_FILE_BYTES))
    if not SHA256.fullmatch(file.sha256):
        raise ValueError(f"sha256 {brief(file.sha256)}")
    return file


def _parse_classes(document: dict[str, Any]) -> tuple[str, ...]:
    names = _list(document, "classes", MOST_CLASSES)
    if not names:
        raise ValueError("classes are none")
    for name in names:
        if not isinstance(name, str) or len(name) > LONGEST_NAME:
            raise TypeError(f"classes hold {brief(name)}, no text of at most {LONGEST_NAME} characters")
    return tuple(names)


def _parse_input(raw: dict[str, Any]) -> InputSpec:
    shape = tuple(_whole("shape", side, 1, 1 << 14) for side in _list(raw, "shape", 4))
    if len(shape) != 4 or math.prod(shape) > MOST_INPUT_VALUES:
        raise ValueError(f"shape {shape}, not four sides of at most {MOST_INPUT_VALUES} values together")
    red, green, blue = (_finite("mean", each) for each in _list(raw, "mean", 3))
    letterbox = _mapping(raw, "letterbox")
    if letterbox["centred"] is not True:
        raise ValueError(f"letterbox centred {brief(letterbox['centred'])}")
    dtype = _one_of(raw, "dtype", ("float32", "uint8"))
    if dtype == "uint8" and (raw["scale"] != 1 or any(raw["mean"])):
        raise ValueError("scale and mean of an input that takes pixels as they are")
    return InputSpec(
        name=_text(raw, "name", LONGEST_TENSOR_NAME),
        shape=(shape[0], shape[1], shape[2], shape[3]),
        layout=_one_of(raw, "layout", ("NCHW", "NHWC")),  # type: ignore[arg-type]  # it is one of the two
        dtype=dtype,
        colour=_one_of(raw, "colour", ("RGB", "BGR")),  # type: ignore[arg-type]  # it is one of the two
        scale=_finite("scale", raw["scale"]),
        mean=(red, green, blue),
        letterbox_value=_whole("letterbox value", letterbox["value"], 0, 255),
    )


def _parse_head(raw: dict[str, Any]) -> HeadSpec:
    anchors = raw.get("anchors")  # older artifacts lack the key
    head = HeadSpec(
        family=_one_of(raw, "family", get_args(Family)),  # type: ignore[arg-type]  # it is one of them
        strides=tuple(_whole("strides", stride, 1, 1 << 12) for stride in _list(raw, "strides", MOST_GRIDS)),
        reg_max=None if raw["reg_max"] is None else _whole("reg_max", raw["reg_max"], 1, MOST_BINS),
        outputs=tuple(_parse_output(output) for output in _list(raw, "outputs", 4 * MOST_GRIDS)),
        anchors=None if anchors is None else tuple(map(_parse_anchors, _list(raw, "anchors", MOST_GRIDS))),
    )
    _check_head(head)
    return head


def _parse_output(raw: Any) -> HeadOutput:
    role = _one_of(raw, "role", get_args(Role))
    stride = None if raw["stride"] is None else _whole("stride", raw["stride"], 1, 1 << 12)
    scale = raw.get("scale")  # older artifacts lack both keys
    if scale is not None and not _finite("scale", scale) > 0:
        raise ValueError(f"scale is {brief(scale)}, nothing that an integer can be worth")
    return HeadOutput(
        name=_text(raw, "name", LONGEST_TENSOR_NAME),
        role=role,  # type: ignore[arg-type]  # it is one of the roles
        stride=stride,
        scale=None if scale is None else float(scale),
        zero_point=_whole("zero_point", raw.get("zero_point", 0), -128, 255),
    )


def _parse_anchors(sizes: Any) -> Anchors:
    if not isinstance(sizes, list) or not 0 < len(sizes) <= MOST_ANCHORS:
        raise TypeError(f"anchors of a grid are {brief(sizes)}, no list of sizes")
    if not all(isinstance(size, list) and len(size) == 2 for size in sizes):
        raise TypeError("anchors of a grid are no list of widths and heights")
    found = tuple((_finite("anchors", wide), _finite("anchors", high)) for wide, high in sizes)
    if not all(wide > 0 and high > 0 for wide, high in found):
        raise ValueError(f"anchors of a grid are {', '.join(map(str, found[:4]))}, not all of a size")
    return found


def _check_head(head: HeadSpec) -> None:
    """Refuse what no decode could take apart."""
    grids, roles = len(head.strides), [output.role for output in head.outputs]
    whole = ["decoded"], ["undecoded"] if head.family == "yolox" and grids else ["decoded"]
    raw = list(RAW_ROLES[head.family]) * grids
    if not roles or roles not in (*whole, raw):
        raise ValueError(f"head outputs {roles} of family {head.family} for strides {head.strides}")
    if roles != raw:
        return
    if [output.stride for output in head.outputs] != [stride for stride in head.strides for _ in RAW_ROLES[head.family]]:
        raise ValueError(f"head outputs of strides {[output.stride for output in head.outputs]} for strides {head.strides}")
    if head.family in ("yolov8", "end2end") and head.reg_max is None:
        raise ValueError(f"no reg_max for raw outputs of family {head.family}")
    if head.family == "yolov5" and (head.anchors is None or len(head.anchors) != grids):
        raise ValueError(f"anchors of {len(head.anchors or ())} grids for strides {head.strides}")


def _parse_threshold(raw: dict[str, Any]) -> Threshold:
    per_class = raw["per_class"]
    if not isinstance(per_class, dict | None):
        raise TypeError(f"per_class is {brief(per_class)}, no mapping")
    return Threshold(
        score=_share("score", raw["score"]),
        iou=_share("iou", raw["iou"]),
        per_class=None if per_class is None else {name: _share(f"per_class {brief(name)}", score) for name, score in per_class.items()},
    )


def _text(raw: Any, key: str, longest: int = LONGEST_WORD) -> str:
    value = raw[key]
    if not isinstance(value, str) or len(value) > longest:
        raise TypeError(f"{key} is {brief(value)}, no text of at most {longest} characters")
    return value


def _one_of(raw: dict[str, Any], key: str, known: tuple[str, ...]) -> str:
    if raw[key] not in known:
        raise ValueError(f"{key} is {brief(raw[key])}, none of {', '.join(known)}")
    return str(raw[key])


def _list(raw: dict[str, Any], key: str, most: int) -> list[Any]:
    value = raw[key]
    if not isinstance(value, list) or len(value) > most:
        raise TypeError(f"{key} is {brief(value)}, no list of at most {most}")
    return value


def _mapping(raw: dict[str, Any], key: str) -> dict[str, Any]:
    value = raw[key]
    if not isinstance(value, dict):
        raise TypeError(f"{key} is {brief(value)}, no mapping")
    return value


def _tools_own(raw: dict[str, Any], key: str) -> dict[str, Any]:
    """What the tools wrote for people to read: only seen not to be too deep for whoever walks it."""
    value = _mapping(raw, key)
    level: list[Any] = [value]
    for _ in range(MOST_DEEP):
        level = [inner for held in level for inner in (held.values() if isinstance(held, dict) else held) if isinstance(inner, dict | list)]
    if level:
        raise ValueError(f"{key} is nested more than {MOST_DEEP} deep")
    return value


def _parse_scheme(document: dict[str, Any]) -> dict[str, Any]:
    scheme = _tools_own(document, "scheme")
    _text(_mapping(scheme, "recipe"), "mode")  # what tables name a candidate by
    return scheme


def _whole(key: str, value: Any, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{key} is {brief(value)}, no whole number from {least} to {most}")
    return value


def _finite(key: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= MOST_SIZE:
        raise TypeError(f"{key} is {brief(value)}, no number")
    return float(value)


def _share(key: str, value: Any) -> float:
    found = _finite(key, value)
    if not 0 <= found <= 1:
        raise ValueError(f"{key} is {found}, not from 0 to 1")
    return found


def _check_places(artifact: Artifact) -> None:
    """Each file is a path of its own inside the folder, links included; nothing is opened."""
    inside = Path(os.path.realpath(artifact.folder))
    seen = set[str]()
    for file in artifact.files:
        pure = PurePosixPath(file.path)
        plain = file.path == str(pure) and not pure.is_absolute() and ".." not in pure.parts and pure.name
        if not plain or "\0" in file.path or "\\" in file.path or not Path(os.path.realpath(inside / pure)).is_relative_to(inside):
            raise ArtifactError(f"the artifact names a file outside its folder, {brief(file.path)}", fix="do not use it; fit again")
        if file.path in seen or file.path == FILE_NAME:
            raise ArtifactError(f"the artifact names {brief(file.path)} twice, or as its model", fix="do not use it; fit again")
        seen.add(file.path)
    if artifact.size_bytes > MOST_FILE_BYTES:
        raise ArtifactError(
            f"{_shown(artifact.folder)} is too large", got=f"{artifact.size_bytes} bytes", expected=f"at most {MOST_FILE_BYTES}"
        )


def _check_bytes(folder: Path, file: ArtifactFile) -> None:
    path = folder / file.path
    try:
        with open_regular(path) as stream:
            # The size first: what is too large is not read to its end.
            size = os.fstat(stream.fileno()).st_size
            digest = hashlib.file_digest(stream, "sha256").hexdigest() if size == file.bytes else None
    except FileNotFoundError as error:
        fix = "copy the whole folder, or fit again"
        raise ArtifactError(f"{_shown(path)} is missing", expected=f"{file.bytes} bytes", fix=fix) from error
    except OSError as error:
        raise ArtifactError(f"{_shown(path)} cannot be read", got=why(error), fix="copy the whole folder, or fit again") from error
    if digest != file.sha256:
        got = "another size or digest"
        raise ArtifactError(f"{_shown(path)} is not the file that was fitted", got=got, fix="copy it again, or fit again")
