"""From a baseline and a recipe to a model file and the artifact that describes it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray

from edgewright.artifact import Artifact, HeadSpec, describe_file
from edgewright.board.profile import Board
from edgewright.compress.calibrate import TensorStatistics, observe
from edgewright.compress.correct import bias_shifts, with_corrected_biases
from edgewright.compress.head_cut import cut_head, fold, raw_head
from edgewright.compress.quantize import choose_ranges, name_nodes, nodes_kept_float, quantize_dynamic, quantize_static
from edgewright.compress.recipes import BY_TARGET, Recipe
from edgewright.compress.schemes import Scheme, scheme_for, scheme_named
from edgewright.data.calibration import CalibrationSet
from edgewright.detections import ImageRgb
from edgewright.detector import to_tensor
from edgewright.engines import Engine, open_engine
from edgewright.errors import ModelError
from edgewright.graph.head import Head, recognise
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

        A recipe that names a scheme of its own is left as it is told.
        """
        if recipe.mode != "static" or self.cuts(recipe) or recipe.scheme == "tutorial":
            return recipe
        return replace(recipe, head_cut=False, float_parts=tuple(dict.fromkeys((*recipe.float_parts, "decode"))))

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
    ranges = choose_ranges(model.graph, forms.head_of(recipe), statistics, recipe)
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


def scheme_of(recipe: Recipe, board: Board) -> Scheme:
    """The integer encoding the recipe uses on this board."""
    return scheme_for(board.isa) if recipe.scheme == BY_TARGET else scheme_named(recipe.scheme)


def describe_candidate(
    forms: FloatForms, recipe: Recipe, model_path: Path, board: Board, *, calibration_digest: str | None, tools: Mapping[str, str]
) -> Artifact:
    """The artifact of a recipe's model file, which lies in a folder of its own."""
    static = recipe.mode == "static"
    kept_float = nodes_kept_float(onnx.load(forms.source_of(recipe)).graph, recipe) if static else []
    scheme = {"recipe": recipe.to_json(), "encoding": scheme_of(recipe, board).to_json() if static else None, "float_nodes": kept_float}
    return replace(
        forms.baseline,
        precision=recipe.precision,
        files=(describe_file(model_path, model_path.parent),),
        folder=model_path.parent,
        head=forms.head_of(recipe),
        scheme=None if recipe.mode == "float" else scheme,
        target={"isa": sorted(board.isa)},
        lineage={
            "source_digest": forms.baseline.lineage["source_digest"],
            "calibration_digest": calibration_digest if static else None,
            "tools": dict(tools),
        },
    )
