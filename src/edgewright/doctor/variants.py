"""The same model for other batches and sizes of picture, each an ONNX file: what is tried in place of the given one.

Batches are rewritten by `graph.batch`; sizes by `graph.input_size`, which needs a detector whose decode is understood, and leaves that out:
what it takes is little beside the first layers. Where axes are free already, both are only pinned. What cannot be varied says why.
"""

from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

import onnx

from edgewright.artifact import Artifact
from edgewright.compress.candidates import FloatForms, prepare_float_forms, size_forms
from edgewright.door.admission import inspect_model_safely
from edgewright.engines.noise import USUAL_PICTURE
from edgewright.errors import EdgewrightError, EngineError, InputError, ModelError
from edgewright.graph.batch import MOST_PICTURES, set_batch
from edgewright.graph.describe import describe_detector
from edgewright.graph.input_size import set_input_size
from edgewright.graph.load import load_model
from edgewright.graph.shapes import fix_input_shape
from edgewright.graph.values import value_of
from edgewright.graph.walk import real_inputs
from edgewright.whole_file import write_whole

LARGEST_STRIDE = 32
ONNX = ".onnx"

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Given:
    """The model that does not fit: what opens it, and how it is fed. `size_wh`: None where its input is no picture."""

    path: Path
    engine: str
    precision: str
    batch: int
    size_wh: Size | None
    artifact: Artifact | None
    is_free: bool  # whether its axes may be pinned to any numbers


def open_given(path: Path) -> Given:
    """An artifact folder or an ONNX model; it is read and not run.

    Raises:
        InputError: it is neither, or unsound.
    """
    if path.is_dir():
        artifact = Artifact.load(path)
        size_wh, batch = artifact.input.size_wh, artifact.input.shape[0]
        return Given(artifact.model_path, artifact.engine, artifact.precision, batch, size_wh, artifact, is_free=False)
    found = inspect_model_safely(path)
    inputs = found["inputs"]
    if not inputs:
        raise ModelError("this model has no input", fix="export it again")
    shape = inputs[0]["shape"] or []
    is_picture = len(inputs) == 1 and len(shape) == len(USUAL_PICTURE)
    # A free axis has a name, or none.
    dims = [axis if isinstance(axis, int) else guess for axis, guess in zip(shape, USUAL_PICTURE, strict=True)] if is_picture else []
    is_free = is_picture and not all(isinstance(axis, int) for axis in shape[2:])
    batch = dims[0] if dims else next((axis for axis in shape[:1] if isinstance(axis, int)), 1)
    return Given(path, "onnxruntime", str(found["precision"]), batch, (dims[3], dims[2]) if dims else None, _detector(path), is_free)


def _detector(path: Path) -> Artifact | None:
    try:
        return describe_detector(path)
    except EdgewrightError:
        return None


def smaller_sizes(size_wh: Size, stride: int = LARGEST_STRIDE) -> tuple[Size, ...]:
    """Sizes of about the same shape in whole strides, the smallest first, the given one last: a step is one stride of the longer side."""
    steps = max(1, max(size_wh) // stride)
    found = [
        (ceil(size_wh[0] * step / steps / stride) * stride, ceil(size_wh[1] * step / steps / stride) * stride) for step in range(1, steps)
    ]
    return (*dict.fromkeys(found), size_wh)


@dataclass(slots=True)
class Variants:
    """Makes them in `folder`, each once."""

    given: Given
    folder: Path
    _made: dict[tuple[int, Size | None], Path] = field(default_factory=dict)
    _forms: FloatForms | None = None

    def make(self, batch: int, size_wh: Size | None) -> Path:
        """The model for that many pictures of that size at once.

        Raises:
            ModelError: it cannot be rewritten; the message says what is in the way.
            InputError: its grids do not divide the size.
        """
        if (batch, size_wh) == (self.given.batch, self.given.size_wh):
            return self.given.path
        if (batch, size_wh) not in self._made:
            path = self.folder / "-".join(["model", *map(str, (batch, *(size_wh or ())))])
            path = path.with_name(f"{path.name}{ONNX}")
            write_whole(path, self._model(batch, size_wh).SerializeToString())
            self._made[batch, size_wh] = path
        return self._made[batch, size_wh]

    def why_not(self, batch: int, size_wh: Size | None) -> str | None:
        """Why there is no such variant; None where there is one."""
        try:
            self.make(batch, size_wh)
        except (InputError, EngineError) as error:
            return str(error)
        return None

    def float_forms(self) -> FloatForms:
        """The float detector in the forms that recipes start from.

        Raises:
            ModelError: it is none, or its decode is not understood.
        """
        artifact = self.given.artifact
        if artifact is None or artifact.precision != "float32" or self.given.path.suffix != ONNX:
            raise ModelError("only a float detector in ONNX can be taken apart", fix="export it with the size you want")
        if self._forms is None:
            folder = self.folder / "float"
            folder.mkdir(exist_ok=True)
            self._forms = prepare_float_forms(artifact, folder)
        if self._forms.raw is None:
            raise ModelError("only a network whose decode is understood can take another size", fix="export it with that size")
        return self._forms

    def _model(self, batch: int, size_wh: Size | None) -> onnx.ModelProto:
        if self.given.path.suffix != ONNX:
            raise ModelError(f"a model of {self.given.engine} cannot be varied", fix="give the ONNX file that it was made of")
        if self.given.is_free and size_wh is not None:
            model = load_model(self.given.path)
            name = real_inputs(model.graph)[0].name
            channels = value_of(real_inputs(model.graph)[0]).dims
            return fix_input_shape(model, name, (batch, _number(channels, 1), size_wh[1], size_wh[0]))
        model = load_model(self.given.path) if size_wh == self.given.size_wh else self._sized(size_wh)
        return model if batch == self.given.batch else set_batch(model, batch).model

    def _sized(self, size_wh: Size | None) -> onnx.ModelProto:
        artifact = self.given.artifact
        if size_wh is None or self.given.batch != 1:
            raise ModelError("a model for several pictures at once takes no other size", fix="export it for one picture")
        if artifact is not None and artifact.head.is_raw and artifact.input.layout == "NCHW":
            return set_input_size(load_model(self.given.path), artifact.input.name, size_wh, max(artifact.head.strides)).model
        folder = self.folder / "sized"
        folder.mkdir(exist_ok=True)
        return onnx.load(size_forms(self.float_forms(), size_wh, folder).cut)


def most_batch(wanted: int) -> int:
    """As many pictures as are tried at most."""
    return max(1, min(wanted, MOST_PICTURES))


def _number(dims: object, at: int) -> int:
    value = dims[at] if isinstance(dims, tuple) and len(dims) > at else None
    return value if isinstance(value, int) else USUAL_PICTURE[at]
