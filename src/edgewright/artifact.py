"""The thing that travels: model files plus `artifact.json`, which says everything needed to run them.

An artifact is a folder. Its json is read once, here, into frozen dataclasses; a field that is missing or of the wrong
type is one clear sentence, never a KeyError three stages later. The keys are the contract (docs/reference/artifact.md).
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from edgewright.errors import ArtifactError

SCHEMA = 1
FILE_NAME = "artifact.json"
MOST_JSON_BYTES = 4 << 20
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
    """What the network eats: `shape` in `layout`, each pixel times `scale` after `mean` is taken off."""

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
    in cells. Of one `stride`, a raw convolution: `box`, `class` or `objectness`, or all of them `combined`.
    """

    name: str
    role: Role
    stride: int | None = None


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
            ArtifactError: no artifact.json, another schema, a wrong field, or a file whose bytes are not the ones promised.
        """
        artifact = _parse(_read_json(folder / FILE_NAME), folder)
        for file in artifact.files:
            _check_file(folder, file)
        return artifact


def sha256_of(path: Path) -> str:
    """The hex digest of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def describe_file(path: Path, folder: Path) -> ArtifactFile:
    """The entry that `path` gets in the artifact of `folder`."""
    return ArtifactFile(path.relative_to(folder).as_posix(), sha256_of(path), path.stat().st_size)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ArtifactError(f"{path.parent} is no artifact", got="no artifact.json in it", expected="a folder that `edgewright fit` wrote")
    if path.stat().st_size > MOST_JSON_BYTES:
        raise ArtifactError(f"{path} is too large", got=f"{path.stat().st_size} bytes", expected=f"at most {MOST_JSON_BYTES}")
    try:
        document = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is not JSON ({error})", fix="run `edgewright fit` again") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        got = document.get("schema") if isinstance(document, dict) else type(document).__name__
        raise ArtifactError(
            f"{path} has another schema", got=repr(got), expected=str(SCHEMA), fix="use the edgewright that wrote it, or fit again"
        )
    return document


def _parse(document: dict[str, Any], folder: Path) -> Artifact:
    try:
        artifact = Artifact(
            name=_text(document, "name"),
            engine=_text(document, "engine"),
            precision=_text(document, "precision"),
            files=tuple(ArtifactFile(_text(f, "path"), _text(f, "sha256"), int(f["bytes"])) for f in _list(document, "files")),
            input=_parse_input(document["input"]),
            head=_parse_head(document["head"]),
            classes=tuple(str(name) for name in _list(document, "classes")),
            folder=folder,
            task=_text(document, "task"),
            threshold=_parse_threshold(document["threshold"]),
            scheme=None if document["scheme"] is None else dict(document["scheme"]),
            target=dict(document["target"]),
            lineage=dict(document["lineage"]),
        )
        promised = _text(document, "digest")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ArtifactError(
            f"{folder / FILE_NAME} lacks or garbles a field",
            got=repr(error),
            expected="the keys of docs/reference/artifact.md",
            fix="fit again",
        ) from error
    if not artifact.files:
        raise ArtifactError(f"{folder / FILE_NAME} names no model file", fix="fit again")
    if promised != artifact.digest:
        raise ArtifactError(
            f"{folder / FILE_NAME} was changed",
            got=f"digest {promised[:80]!r}",
            expected=f"{artifact.digest}, that of its files",
            fix="fit again",
        )
    return artifact


def _parse_input(raw: dict[str, Any]) -> InputSpec:
    shape = tuple(int(n) for n in _list(raw, "shape"))
    if len(shape) != 4 or not all(0 < n <= 1 << 14 for n in shape):
        raise ValueError(f"input shape {shape}")
    red, green, blue = (_finite("mean", each) for each in _list(raw, "mean"))
    letterbox = raw["letterbox"]
    if raw["layout"] not in ("NCHW", "NHWC") or raw["colour"] not in ("RGB", "BGR") or letterbox["centred"] is not True:
        raise ValueError(f"layout {raw['layout']!r}, colour {raw['colour']!r}, letterbox centred {letterbox['centred']!r}")
    if not 0 <= int(letterbox["value"]) <= 255:
        raise ValueError(f"letterbox value {letterbox['value']!r}")
    return InputSpec(
        name=_text(raw, "name"),
        shape=(shape[0], shape[1], shape[2], shape[3]),
        layout=raw["layout"],
        dtype=_text(raw, "dtype"),
        colour=raw["colour"],
        scale=_finite("scale", raw["scale"]),
        mean=(red, green, blue),
        letterbox_value=int(letterbox["value"]),
    )


def _parse_head(raw: dict[str, Any]) -> HeadSpec:
    anchors = raw.get("anchors")  # older artifacts lack the key
    if raw["family"] not in get_args(Family):
        raise ValueError(f"family {str(raw['family'])[:40]!r}, none of {', '.join(get_args(Family))}")
    head = HeadSpec(
        family=raw["family"],
        strides=tuple(int(stride) for stride in _list(raw, "strides")),
        reg_max=None if raw["reg_max"] is None else int(raw["reg_max"]),
        outputs=tuple(
            HeadOutput(_text(o, "name"), o["role"], None if o["stride"] is None else int(o["stride"])) for o in _list(raw, "outputs")
        ),
        anchors=None if anchors is None else tuple(_parse_anchors(raw, at) for at in range(len(_list(raw, "anchors")))),
    )
    _check_head(head)
    return head


def _parse_anchors(raw: dict[str, Any], at: int) -> Anchors:
    sizes = raw["anchors"][at]
    if not isinstance(sizes, list) or not 0 < len(sizes) <= MOST_ANCHORS:
        raise TypeError(f"anchors of a grid are {str(sizes)[:80]}, no list of sizes")
    found = tuple((_finite("anchors", wide), _finite("anchors", high)) for wide, high in sizes)
    if not all(wide > 0 and high > 0 for wide, high in found):
        raise ValueError(f"anchors of a grid are {str(sizes)[:80]}, not all of a size")
    return found


def _check_head(head: HeadSpec) -> None:
    """Refuse what no decode could take apart."""
    grids, roles = len(head.strides), [output.role for output in head.outputs]
    if grids > MOST_GRIDS or not all(0 < stride <= 1 << 12 for stride in head.strides):
        raise ValueError(f"strides {head.strides[:MOST_GRIDS]}")
    if head.reg_max is not None and not 0 < head.reg_max <= MOST_BINS:
        raise ValueError(f"reg_max {head.reg_max}")
    whole = ["decoded"], ["undecoded"] if head.family == "yolox" and grids else ["decoded"]
    raw = list(RAW_ROLES[head.family]) * grids
    if not roles or roles not in (*whole, raw):
        raise ValueError(f"head outputs {roles[: 4 * MOST_GRIDS]} of family {head.family} for strides {head.strides}")
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
    return Threshold(
        score=_finite("score", raw["score"]),
        iou=_finite("iou", raw["iou"]),
        per_class=None if per_class is None else {str(name): _finite(str(name), score) for name, score in per_class.items()},
    )


def _text(raw: dict[str, Any], key: str) -> str:
    if not isinstance(raw[key], str):
        raise TypeError(f"{key} is {raw[key]!r}, no text")
    return str(raw[key])


def _list(raw: dict[str, Any], key: str) -> list[Any]:
    if not isinstance(raw[key], list):
        raise TypeError(f"{key} is {raw[key]!r}, no list")
    return list(raw[key])


def _finite(key: str, value: Any) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{key} is {value!r}, no number")
    return float(value)


def _check_file(folder: Path, file: ArtifactFile) -> None:
    path = folder / file.path
    if "\0" in file.path or not path.resolve().is_relative_to(folder.resolve()):
        raise ArtifactError(f"the artifact names a file outside its folder, {file.path!r}", fix="do not use it; fit again")
    if not path.is_file():
        raise ArtifactError(f"{path} is missing", expected=f"{file.bytes} bytes", fix="copy the whole folder, or fit again")
    if path.stat().st_size != file.bytes or sha256_of(path) != file.sha256:
        raise ArtifactError(f"{path} is not the file that was fitted", got="another size or digest", fix="copy it again, or fit again")
