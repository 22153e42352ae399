"""From a baseline and a recipe to a model file and the artifact that describes it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgewright.artifact import Artifact, describe_file
from edgewright.board.profile import Board
from edgewright.compress.calibrate import TensorStatistics, observe
from edgewright.compress.head_cut import cut_head, fold
from edgewright.compress.quantize import float_nodes, name_nodes, quantize_dynamic, quantize_static
from edgewright.compress.recipes import Recipe
from edgewright.compress.schemes import TUTORIAL, Scheme, scheme_for
from edgewright.data.calibration import CalibrationSet
from edgewright.data.images import read_image
from edgewright.detector import Detector, letterbox_for, to_tensor
from edgewright.engines import Engine, open_engine
from edgewright.errors import ModelError
from edgewright.graph.head import YoloHead, recognise
from edgewright.graph.load import load_model
from edgewright.progress import Progress

# How far the whole and the cut network may be apart: float sums in another order, no more.
SAME_PX = 0.05
SAME_SCORE = 1e-3
EVERY_CELL = -1.0  # no probability is below


@dataclass(frozen=True, slots=True)
class FloatForms:
    """The float model in the forms that recipes start from: constants folded, and with the head cut off."""

    baseline: Artifact
    head: YoloHead
    folded: Path
    cut: Path

    @classmethod
    def at(cls, baseline: Artifact, folder: Path) -> "FloatForms":
        """The forms as `prepare_float_forms` writes them into `folder`."""
        return cls(baseline, recognise(load_model(baseline.model_path)), folder / "folded.onnx", folder / "cut.onnx")

    def source_of(self, recipe: Recipe) -> Path:
        return self.cut if recipe.head_cut else self.folded


def prepare_float_forms(baseline: Artifact, folder: Path) -> FloatForms:
    """Write the folded and the cut form into `folder`.

    Raises:
        ModelError: the head is not one we can cut.
    """
    forms = FloatForms.at(baseline, folder)
    fold(baseline.model_path, forms.folded, forms.head)
    folded = onnx.load(forms.folded)
    name_nodes(folded.graph)
    onnx.save(folded, forms.folded)
    onnx.save(cut_head(folded, forms.head), forms.cut)
    return forms


def check_head_cut(forms: FloatForms, feed: Mapping[str, NDArray[Any]], threads: int) -> None:
    """Hold the cut network, decoded by us, against the whole one, cell by cell.

    Raises:
        ModelError: they do not say the same, so the head was not understood.
    """
    whole = Detector(forms.baseline, open_engine("onnxruntime", forms.folded, threads=threads))
    cut = Detector(replace(forms.baseline, head=forms.head.raw), open_engine("onnxruntime", forms.cut, threads=threads))
    with whole, cut:
        boxes, scores, _ = whole.candidates(whole.engine.run(feed), EVERY_CELL)
        cut_boxes, cut_scores, _ = cut.candidates(cut.engine.run(feed), EVERY_CELL)
    worst_px = float(np.abs(boxes - cut_boxes).max()) if boxes.shape == cut_boxes.shape else np.inf
    worst_score = float(np.abs(scores - cut_scores).max()) if scores.shape == cut_scores.shape else np.inf
    if worst_px > SAME_PX or worst_score > SAME_SCORE:
        raise ModelError(
            "the head of this model was not understood",
            got=f"boxes that differ by up to {worst_px:.3g} pixels and scores by {worst_score:.3g} once its decode was taken out",
            expected=f"at most {SAME_PX} and {SAME_SCORE}: a YOLOv8-type head",
        )


def watch_ranges(
    forms: FloatForms, recipe: Recipe, calibration: CalibrationSet, scratch: Path, threads: int, progress: Progress
) -> dict[str, TensorStatistics]:
    """Statistics of every tensor of the recipe's source over the calibration pictures."""

    def opened(path: Path) -> Engine:
        return open_engine("onnxruntime", path, threads=threads)

    def counted() -> Iterator[dict[str, NDArray[Any]]]:
        for done, feed in enumerate(calibration_feeds(forms.baseline, calibration), 1):
            yield feed
            progress(done, len(calibration.samples))

    return observe(forms.source_of(recipe), counted(), opened, scratch)


def calibration_feeds(artifact: Artifact, calibration: CalibrationSet) -> Iterator[dict[str, NDArray[Any]]]:
    """The calibration pictures, prepared as deployment prepares them."""
    for sample in calibration.samples:
        image_rgb = read_image(sample.image)
        yield {artifact.input.name: to_tensor(image_rgb, letterbox_for(image_rgb, artifact), artifact)}


def make_model(forms: FloatForms, recipe: Recipe, statistics: Mapping[str, TensorStatistics], board: Board, target: Path) -> None:
    """Write the recipe's model file.

    Raises:
        EngineError: the quantizer cannot take this graph.
    """
    source = forms.source_of(recipe)
    if recipe.mode == "float":
        onnx.save(onnx.load(source), target)
    elif recipe.mode == "dynamic":
        quantize_dynamic(source, target)
    else:
        head = forms.head.raw if recipe.head_cut else forms.head.decoded
        quantize_static(onnx.load(source), head, statistics, recipe, scheme_of(recipe, board), target)


def scheme_of(recipe: Recipe, board: Board) -> Scheme:
    """The integer encoding the recipe uses on this board."""
    return TUTORIAL if recipe.scheme == "tutorial" else scheme_for(board.isa)


def describe_candidate(
    forms: FloatForms, recipe: Recipe, model_path: Path, board: Board, *, calibration_digest: str | None, tools: Mapping[str, str]
) -> Artifact:
    """The artifact of a recipe's model file, which lies in a folder of its own."""
    static = recipe.mode == "static"
    kept_float = float_nodes(onnx.load(forms.source_of(recipe)).graph, recipe.float_parts) if static else []
    scheme = {"recipe": recipe.to_json(), "encoding": scheme_of(recipe, board).to_json() if static else None, "float_nodes": kept_float}
    return replace(
        forms.baseline,
        precision=recipe.precision,
        files=(describe_file(model_path, model_path.parent),),
        folder=model_path.parent,
        head=forms.head.raw if recipe.head_cut else forms.head.decoded,
        scheme=None if recipe.mode == "float" else scheme,
        target={"isa": sorted(board.isa)},
        lineage={
            "source_digest": forms.baseline.lineage["source_digest"],
            "calibration_digest": calibration_digest if static else None,
            "tools": dict(tools),
        },
    )
