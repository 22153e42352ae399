"""From a baseline and a recipe to a model file and the artifact that describes it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray

from edgewright.artifact import Artifact, HeadSpec, InputSpec, describe_file
from edgewright.board.profile import Board
from edgewright.compress.calibrate import TensorStatistics, observe
from edgewright.compress.correct import bias_shifts, with_corrected_biases
from edgewright.compress.head_cut import cut_head, fold, raw_head
from edgewright.compress.integer_outputs import give_integers, outputs_of
from edgewright.compress.quantize import choose_ranges, name_nodes, nodes_kept_float, quantize_dynamic, quantize_static
from edgewright.compress.recipes import Recipe
from edgewright.compress.schemes import BY_TARGET, Scheme, scheme_for, scheme_named
from edgewright.data.calibration import CalibrationSet
from edgewright.detections import ImageRgb
from edgewright.detector import to_tensor
from edgewright.engines import Engine, open_engine
from edgewright.errors import ModelError
from edgewright.graph.camera_input import Bytes, camera_spec, take_camera_frames
from edgewright.graph.head import Head, recognise
from edgewright.graph.input_size import set_input_size
from edgewright.graph.load import load_model
from edgewright.progress import Progress, unseen
from edgewright.whole_file import write_whole

BIAS_IMAGES = 16  # a channel's mean error is a mean over all positions of all pictures: these are many

Shifts: TypeAlias = Mapping[str, NDArray[np.float32]]  # convolution -> mean error of each output channel, [C]


@dataclass(frozen=True, slots=True)
class FloatForms:
    """The float model in the forms that recipes start from: `folded`, its constants computed, and `cut`, without its decode.

    `raw` describes the head of the cut form; None where the decode was not understood and has to stay in the graph (then there
    is no cut form).
    """

    baseline: Artifact
    head: Head
    raw: HeadSpec | None
    folded: Path
    cut: Path

    @classmethod
    def at(cls, baseline: Artifact, folder: Path) -> "FloatForms":
        """The forms as `prepare_float_forms` wrote them into `folder`.

        Raises:
            ModelError: they are not what it wrote.
        """
        forms = cls._of(baseline, folder)
        if forms.raw is not None:
            load_model(forms.cut)
        return forms

    @classmethod
    def _of(cls, baseline: Artifact, folder: Path) -> "FloatForms":
        head = recognise(load_model(baseline.model_path))
        folded = folder / "folded.onnx"
        return cls(baseline, head, _understood(load_model(folded), head), folded, folder / "cut.onnx")

    @property
    def files(self) -> list[Path]:
        """What was written."""
        return [self.folded] if self.raw is None else [self.folded, self.cut]

    def source_of(self, recipe: Recipe) -> Path:
        """The form the recipe starts from."""
        return self.cut if self.cuts(recipe) else self.folded

    def head_of(self, recipe: Recipe) -> HeadSpec:
        """The head that the recipe's model ends in."""
        return self.raw if self.raw is not None and recipe.head_cut else self.head.decoded

    def is_aligned(self, recipe: Recipe) -> bool:
        """Whether the recipe's model and its source answer cell by cell; an end-to-end head that stays in the graph sorts its answers."""
        return self.cuts(recipe) or self.head.family != "end2end"

    def suited(self, recipe: Recipe) -> Recipe:
        """The recipe, where it quantizes ahead of time with its decode in float whenever that stays in the graph.

        A recipe that names the tutorial's scheme is left as it is told. Decoded outputs are no integers.
        """
        if recipe.mode != "static" or self.cuts(recipe) or recipe.scheme == "tutorial":
            return recipe
        parts, forms = dict.fromkeys((*recipe.float_parts, "decode")), tuple(form for form in recipe.forms if form != "integer outputs")
        return replace(recipe, head_cut=False, float_parts=tuple(parts), forms=forms)

    def cuts(self, recipe: Recipe) -> bool:
        """Whether the recipe's model ends at the head convolutions."""
        return recipe.head_cut and self.raw is not None


def prepare_float_forms(baseline: Artifact, folder: Path) -> FloatForms:
    """Write the folded form, and the cut one where the head is understood, into `folder`."""
    head = recognise(load_model(baseline.model_path))
    path = folder / "folded.onnx"
    fold(baseline.model_path, path, head)
    folded = onnx.load(path)
    name_nodes(folded.graph)
    write_whole(path, folded.SerializeToString())
    forms = FloatForms._of(baseline, folder)  # noqa: SLF001 - the cut form is still to be written
    if forms.raw is not None:
        write_whole(forms.cut, cut_head(folded, forms.raw).SerializeToString())
    return forms


def size_forms(forms: FloatForms, size_wh: tuple[int, int], folder: Path) -> FloatForms:
    """The forms for pictures of another size, the cut one written into `folder`; only recipes that cut the head can start from them.

    Raises:
        InputError: the network's grids do not divide that size.
        ModelError: the head is not understood, or something in the graph is bound to the given size.
    """
    if forms.raw is None:
        raise ModelError("only a network whose decode is understood can take another size", fix="export it with that size")
    spec, path = forms.baseline.input, folder / "cut.onnx"
    sized = set_input_size(onnx.load(forms.cut), spec.name, size_wh, max(forms.raw.strides))
    write_whole(path, sized.model.SerializeToString())
    wide, high = size_wh
    return replace(forms, baseline=replace(forms.baseline, input=replace(spec, shape=(*spec.shape[:2], high, wide))), cut=path)


def _understood(folded: onnx.ModelProto, head: Head) -> HeadSpec | None:
    try:
        return raw_head(folded, head)
    except ModelError:
        return None


def watch_ranges(
    forms: FloatForms, recipe: Recipe, calibration: CalibrationSet, scratch: Path, threads: int, progress: Progress
) -> dict[str, TensorStatistics]:
    """Statistics of every tensor of the recipe's source over the calibration pictures."""
    return watch_form(forms, forms.source_of(recipe), calibration, scratch, threads, progress)


def watch_form(
    forms: FloatForms, form: Path, calibration: CalibrationSet, scratch: Path, threads: int, progress: Progress = unseen
) -> dict[str, TensorStatistics]:
    """Statistics of every tensor of one of the float forms over the calibration pictures."""

    def opened(path: Path) -> Engine:
        return open_engine("onnxruntime", path, threads=threads)

    def counted() -> Iterator[dict[str, NDArray[Any]]]:
        for done, feed in enumerate(calibration_feeds(forms.baseline, calibration), 1):
            yield feed
            progress(done, len(calibration.samples))

    return observe(form, counted(), opened, scratch)


def calibration_feeds(artifact: Artifact, calibration: CalibrationSet) -> Iterator[dict[str, NDArray[Any]]]:
    """The calibration pictures, prepared as deployment prepares them."""
    for sample in calibration.samples:
        yield feed_of(artifact, calibration.read(sample))


def feed_of(artifact: Artifact, image_rgb: ImageRgb) -> dict[str, NDArray[Any]]:
    """One picture as the network takes it."""
    return {artifact.input.name: to_tensor(image_rgb, artifact)}


def fed_as(wanted: InputSpec, given: InputSpec, feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """A float feed, made as `given` says, as another form of the network of the same size takes it."""
    tensor = feed[given.name]
    if wanted.dtype == "uint8":
        mean = np.array(given.mean, np.float32).reshape(1, 3, 1, 1)
        tensor = np.ascontiguousarray(np.rint(tensor / np.float32(given.scale) + mean).astype(np.uint8).transpose(0, 2, 3, 1))
    return {wanted.name: tensor}


def watch_shifts(
    forms: FloatForms,
    recipe: Recipe,
    statistics: Mapping[str, TensorStatistics],
    calibration: CalibrationSet,
    board: Board,
    scratch: Path,
    threads: int,
) -> Shifts:
    """What the recipe's way of encoding shifts the mean of each convolution by, whichever of them a recipe then keeps in float."""
    model, everything = onnx.load(forms.source_of(recipe)), forms.suited(replace(recipe, float_parts=(), float_layers=()))
    feeds = islice(calibration_feeds(forms.baseline, calibration), BIAS_IMAGES)
    ranges = choose_ranges(model, forms.head_of(recipe), statistics, recipe)
    kept = nodes_kept_float(model.graph, everything)
    return bias_shifts(
        model, feeds, ranges, scheme_of(recipe, board), kept, lambda path: open_engine("onnxruntime", path, threads=threads), scratch
    )


def make_model(
    forms: FloatForms, recipe: Recipe, statistics: Mapping[str, TensorStatistics], shifts: Shifts, board: Board, target: Path
) -> None:
    """Write the recipe's model file. Only static recipes need `statistics`, and only those that correct biases `shifts`.

    Raises:
        InputError: the recipe asks for what this graph or its scheme does not have.
        EngineError: the quantizer cannot take this graph.
    """
    source = forms.source_of(recipe)
    if recipe.mode == "float":
        write_whole(target, onnx.load(source).SerializeToString())
    elif recipe.mode == "dynamic":
        quantize_dynamic(source, target)
    else:
        model = onnx.load(source)
        if recipe.bias_correction:
            kept = set(nodes_kept_float(model.graph, recipe))
            model = with_corrected_biases(model, {name: shift for name, shift in shifts.items() if name not in kept})
        quantize_static(model, forms.head_of(recipe), statistics, recipe, scheme_of(recipe, board), target)
    if recipe.forms:
        met = in_forms(onnx.load(target), onnx.load(source), forms.head_of(recipe), forms.baseline.input, recipe, statistics, board)
        write_whole(target, met.SerializeToString())


def in_forms(
    model: onnx.ModelProto,
    source: onnx.ModelProto,
    head: HeadSpec,
    spec: InputSpec,
    recipe: Recipe,
    statistics: Mapping[str, TensorStatistics],
    board: Board,
) -> onnx.ModelProto:
    """The recipe's `model`, made of the float `source` that ends in `head` and takes pictures as `spec` says, as it meets the world."""
    if "integer outputs" in recipe.forms:
        ranges = choose_ranges(source, head, statistics, recipe)
        model = give_integers(model, head, ranges, nodes_kept_float(source.graph, recipe), scheme_of(recipe, board)).model
    if "camera frames" in recipe.forms:
        # OpenVINO computes the first convolution in float where it meets bare integers.
        integers: Bytes = "as rounded floats" if recipe.engine == "openvino" else "as integers"
        model = take_camera_frames(model, spec, integers=integers).model
    return model


def scheme_of(recipe: Recipe, board: Board) -> Scheme:
    """The integer encoding the recipe uses on this board."""
    if recipe.scheme == BY_TARGET:
        return scheme_for(board.isa)
    scheme = scheme_named(recipe.scheme)
    # OpenVINO's kernels for AVX2 add two products in 16 bits, like everybody's.
    saturates = recipe.engine == "openvino" and "vnni" not in board.isa
    return replace(scheme, reduce_range=True) if saturates else scheme


def describe_candidate(
    forms: FloatForms,
    recipe: Recipe,
    model_path: Path,
    board: Board,
    *,
    calibration_digest: str | None,
    tools: Mapping[str, str],
    files: Sequence[Path] = (),
) -> Artifact:
    """The artifact of a recipe's model, which lies in a folder of its own: the ONNX file itself, or the `files` an engine's converter made
    of it.
    """
    static, model = recipe.mode == "static", onnx.load(model_path)
    kept_float = nodes_kept_float(onnx.load(forms.source_of(recipe)).graph, recipe) if static else []
    scheme = {"recipe": recipe.to_json(), "encoding": scheme_of(recipe, board).to_json() if static else None, "float_nodes": kept_float}
    held = list(files) or [model_path]
    folder = held[0].parent
    return replace(
        forms.baseline,
        engine=recipe.engine,
        precision=recipe.precision,
        files=tuple(describe_file(path, folder) for path in held),
        folder=folder,
        input=camera_spec(forms.baseline.input) if "camera frames" in recipe.forms else forms.baseline.input,
        head=outputs_of(model, forms.head_of(recipe)),
        scheme=None if recipe.mode == "float" else scheme,
        target={"isa": sorted(board.isa)},
        lineage={
            "source_digest": forms.baseline.lineage["source_digest"],
            "calibration_digest": calibration_digest if static else None,
            "tools": dict(tools),
            **({"recovered": forms.baseline.lineage["recovered"]} if "recovered" in forms.baseline.lineage else {}),
        },
    )
