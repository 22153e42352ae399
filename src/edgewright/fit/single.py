"""One configuration, made once and not judged: for those who know what they want, and for other tools. `fit` searches and proves."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import onnx

from edgewright.artifact import Artifact
from edgewright.board.profile import Board, usable_cores
from edgewright.compress.batch_check import check_batch, noise_pictures
from edgewright.compress.candidates import (
    FloatForms,
    Shifts,
    calibration_feeds,
    describe_candidate,
    make_model,
    prepare_float_forms,
    watch_ranges,
    watch_shifts,
)
from edgewright.compress.disagreement import Reference
from edgewright.compress.recipes import Recipe
from edgewright.data.calibration import CalibrationSet, choose_calibration
from edgewright.data.cameras import open_camera
from edgewright.data.dataset import open_dataset, part_train_from_val
from edgewright.engines import open_engine
from edgewright.errors import InputError
from edgewright.fit.evidence import tool_versions
from edgewright.fit.finish import stage_artifact
from edgewright.fit.opening import open_float_model
from edgewright.fit.watch import Silent, Watch
from edgewright.graph.batch import set_batch
from edgewright.result_folder import QUANTIZE, empty, publish, refuse_foreign, staging, working_folder
from edgewright.whole_file import remove, write_whole

FEW_TOGETHER = 2  # pictures on which a model for any number of them is tried
LOOKED_AT = 8  # calibration pictures on which the result is held against the float model


@dataclass(frozen=True, slots=True)
class QuantizeRequest:
    """What to make of which model.

    `data` is needed by static recipes; `board` decides the integer encoding (None: this machine); `batch` is how many pictures the
    model takes at once, or a name for any number of them (None: as given).
    """

    model: Path
    out: Path
    recipe: Recipe
    data: Path | None = None
    images: int = 64
    seed: int = 0
    board: str | None = None
    camera: str | None = None
    batch: int | str | None = None


@dataclass(frozen=True, slots=True)
class Quantized:
    """The artifact in the folder asked for, and how far it is from the float model on a few calibration pictures (None: not known)."""

    artifact: Artifact
    disagreement: float | None

    def to_json(self) -> dict[str, Any]:
        return {"artifact": self.artifact.to_json(), "disagreement": self.disagreement, "proven": False}


def quantize(request: QuantizeRequest, *, watch: Watch | None = None) -> Quantized:
    """Make the recipe's model and lay it down as an artifact; nothing is judged.

    Raises:
        InputError: the model, the data set, the recipe or the folder cannot be used.
        EngineError: the quantizer cannot take this graph.
    """
    watch = watch or Silent()
    baseline = open_float_model(request.model)
    board = Board.detect() if request.board is None else Board.load(request.board)
    with _scratch_in(request.out) as work:
        watch.stage("open")
        forms = prepare_float_forms(baseline, work)
        calibration = _calibration(request, watch)
        watch.stage("compress")
        path = work / "model.onnx"
        recipe = forms.suited(request.recipe)
        statistics = {}
        if recipe.mode == "static" and calibration is not None:
            statistics = watch_ranges(forms, recipe, calibration, work / "watched.onnx", usable_cores(), watch.advance)
        shifts: Shifts = {}
        if recipe.bias_correction and calibration is not None:
            shifts = watch_shifts(forms, recipe, statistics, calibration, board, work / "twin.onnx", usable_cores())
        make_model(forms, recipe, statistics, shifts, board, path)
        apart = None if calibration is None else _disagreement(forms, recipe, path, calibration)
        if request.batch is not None:
            _stack(baseline, path, request.batch, path.with_name("stacked.onnx"))
        digest = None if calibration is None else calibration.digest
        made = describe_candidate(forms, recipe, path, board, calibration_digest=digest, tools=tool_versions())
        if isinstance(request.batch, int):
            made = replace(made, input=replace(made.input, shape=(request.batch, *made.input.shape[1:])))
        staged = staging(work)
        artifact = stage_artifact(made, baseline.name, made.threshold, staged)
        publish(staged, request.out)
        return Quantized(artifact, apart)


def _calibration(request: QuantizeRequest, watch: Watch) -> CalibrationSet | None:
    if request.data is None:
        if request.recipe.mode == "static":
            raise InputError(
                "static quantization reads ranges from pictures", got="no --data", fix="name a data set, or use --mode dynamic"
            )
        return None
    watch.stage("calibrate")
    camera = None if request.camera is None else open_camera(request.camera)
    dataset, _ = part_train_from_val(open_dataset(request.data))
    return choose_calibration(dataset, request.images, request.seed, camera=camera, progress=watch.advance)


def _stack(baseline: Artifact, path: Path, batch: int | str, stacked: Path) -> None:
    """Let the model at `path` take `batch` pictures at once, having seen that it says of each what it says of it alone.

    Raises:
        ModelError: it cannot be rewritten, or answers otherwise then.
    """
    write_whole(stacked, set_batch(onnx.load(path), batch).model.SerializeToString(), sync=False)
    spec = baseline.input
    count = batch if isinstance(batch, int) else FEW_TOGETHER
    check_batch(path, stacked, noise_pictures(spec.name, (1, *spec.shape[1:]), count, highest=255 * spec.scale), threads=usable_cores())
    stacked.replace(path)


def _disagreement(forms: FloatForms, recipe: Recipe, path: Path, calibration: CalibrationSet) -> float | None:
    if not forms.is_aligned(recipe):
        return None
    head, size_wh = forms.head_of(recipe), forms.baseline.input.size_wh
    feeds = list(islice(calibration_feeds(forms.baseline, calibration), LOOKED_AT))
    with closing(open_engine("onnxruntime", forms.source_of(recipe), threads=usable_cores())) as engine:
        reference = Reference.of(head, size_wh, feeds, engine.run)
    with closing(open_engine("onnxruntime", path, threads=usable_cores())) as engine:
        return reference.error(engine.run(feed) for feed in reference.feeds)


@contextmanager
def _scratch_in(out: Path) -> Iterator[Path]:
    """An empty folder to work in, on the disk of `out`, which is locked and made if need be; gone afterwards.

    Raises:
        InputError: `out` is a file, or holds something that is none of ours, or another run is at work in it.
        DiskError: it cannot be written.
    """
    refuse_foreign(out)
    with working_folder(out, QUANTIZE) as work:
        empty(work)
        try:
            yield work
        finally:
            remove(work)
