"""Where things are made and measured, each once: every method is a step of the journal, done now or recalled from an earlier run."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import onnx

from edgewright.accuracy.predictions import Predictions, predict
from edgewright.artifact import Artifact, describe_file, sha256_of
from edgewright.bench.measure import Job, Measurement, measure, run_once
from edgewright.board.profile import HOST, Board, usable_cores
from edgewright.compress.calibrate import TensorStatistics, load_statistics, save_statistics
from edgewright.compress.candidates import (
    FloatForms,
    Shifts,
    describe_candidate,
    fed_as,
    feed_of,
    make_model,
    prepare_float_forms,
    size_forms,
    watch_form,
    watch_ranges,
    watch_shifts,
)
from edgewright.compress.disagreement import Feed, Reference
from edgewright.compress.recipes import INT8, Recipe
from edgewright.compress.scale_lint import nodes_to_keep_float, scale_findings
from edgewright.compress.sensitivity import Sensitivity, measure_sensitivity
from edgewright.data.array_file import read_arrays, write_arrays
from edgewright.data.audit import audit
from edgewright.data.calibration import CalibrationSet, choose_calibration
from edgewright.data.camera_model import CameraModel
from edgewright.data.cameras import open_camera
from edgewright.data.dataset import Dataset, Sample
from edgewright.data.images import read_image
from edgewright.detector import Detector
from edgewright.engines import Precision, engine_module, installed_engines, open_artifact, open_engine
from edgewright.engines.conversion import convert, has_own_format
from edgewright.errors import EngineError, InputError, ModelError
from edgewright.fit.evidence import tool_versions
from edgewright.fit.explore import FLOORS, LOOK_IMAGES
from edgewright.fit.journal import Journal, Step, digest_of
from edgewright.fit.opening import listing, selection_samples
from edgewright.fit.recovered import RecoveredStage
from edgewright.fit.request import FitRequest
from edgewright.fit.watch import Watch
from edgewright.fit.workspace import LEARNED
from edgewright.graph.input_size import camera_size
from edgewright.learn.extra import need_torch
from edgewright.whole_file import make_folder

CLOSENESS_IMAGES = 32  # of the selection split, on which candidates that are about as fast are told apart
USUAL_STRIDE = 32
HALVES = {"float16": "fp16", "bfloat16": "bf16"}  # by the instructions that a board needs for them
SCALE_IMAGES = 8  # ranges that are 16 times apart are so on any few pictures
SENSITIVITY_IMAGES = 6  # of the look pictures: sixty layers are run on each


class Workshop:
    """The model and data set of a fit, its board, its calibration set, and the journal of what has been done with them."""

    def __init__(self, request: FitRequest, baseline: Artifact, dataset: Dataset, board: Board, journal: Journal, watch: Watch) -> None:
        self.baseline = baseline
        self.dataset = dataset
        self.board = board
        self.watch = watch
        self.cores = usable_cores()
        self.threads = request.threads or self.cores
        self.engines = engines_for(request.engines, board)
        self.sizes_wh = sizes_for(request, baseline)
        self.left_out: list[str] = []  # recipes whose model could not be made, and why
        self._journal = journal
        self._folder = journal.folder
        if journal.lost:
            watch.note(f"lines of the journal that are not as they were written: {journal.lost}; their steps are done again")
        self._held: dict[str, dict[str, TensorStatistics]] = {}  # statistics by the form they are of; most recipes share one
        self._sized: dict[tuple[str, tuple[int, int]], FloatForms] = {}
        self._recovered: dict[str, FloatForms] = {}  # the float forms of networks that have learned, by a recipe's source
        self._look_word: Reference | None = None
        self._selection_word: Reference | None = None
        camera = None if request.camera is None else open_camera(request.camera)
        images = request.calibration_images(len(dataset.split("train")))
        self._identity = {
            "model": baseline.digest,
            "data": digest_of(listing(dataset)),
            "tools": tool_versions(),
            "isa": sorted(board.isa),
            "images": images,
            "seed": request.seed,
            "camera": None if camera is None else camera.digest,
        }
        self.forms = self._float_forms()
        self.calibration = self._calibrate(images, request.seed, camera)
        self.selection = selection_samples(dataset, self.calibration, request.seed)

    @property
    def seconds(self) -> float:
        """What the steps of this run took, whichever process did them."""
        return self._journal.seconds

    def candidate(self, recipe: Recipe) -> Artifact | None:
        """The recipe's model as an artifact in its engine's own format; None, and a line in `left_out`, where it cannot be made or does not
        run.
        """
        try:
            forms = self.forms_for(recipe)
        except (InputError, EngineError) as error:
            self._leave_out(recipe, str(error))
            return None
        recipe = forms.suited(recipe)
        folder = self._folder / "candidates" / slug(recipe.name)
        converted = folder / "converted"
        make_folder(converted)
        path = folder / "model.onnx"
        statistics = self._statistics(recipe) if recipe.mode == "static" else {}
        shifts = self._shifts(recipe) if recipe.bias_correction else {}

        def work() -> Step:
            try:
                make_model(forms, recipe, statistics, shifts, self.board, path)
                files = self._converted(recipe, path, converted)
            except (EngineError, ModelError) as error:  # a graph that one form or engine cannot take ends no search
                return {"error": str(error)}, []
            return {"files": [each.name for each in files]}, [path, *files]

        inputs = [self._identity, self.calibration.digest, recipe.to_json()]
        made = self._journal.step(f"compress {recipe.name}", inputs, work, _read_made)
        if isinstance(made, str):
            self._leave_out(recipe, made)
            return None
        files = [converted / name for name in made]
        digest, tools = self.calibration.digest, tool_versions()
        return describe_candidate(forms, recipe, path, self.board, calibration_digest=digest, tools=tools, files=files)

    def forms_for(self, recipe: Recipe) -> FloatForms:
        """The float forms of the network that the recipe starts from, for pictures of its size.

        Raises:
            InputError: the model cannot take them.
        """
        forms, size_wh = self._recovered[recipe.source] if recipe.source else self.forms, recipe.size_wh
        if size_wh is None or size_wh == self.baseline.input.size_wh:
            return forms
        key = (recipe.source, size_wh)
        if key not in self._sized:
            folder = self._folder / f"float-{slug(recipe.source)}{size_wh[0]}x{size_wh[1]}"
            make_folder(folder)
            self._sized[key] = size_forms(forms, size_wh, folder)
        return self._sized[key]

    def recover(self, changes: str, effort: float, seed: int) -> tuple[RecoveredStage, ...]:
        """Change the given network, change after change, and let each learn the given one's answers on the train pictures that nothing is
        chosen on.

        Raises:
            InputError: the changes cannot be read, the pictures are too few, or the network cannot be trained.
            HostError: PyTorch is not installed.
        """
        need_torch()
        from edgewright.learn.recipe import parse_recipe  # noqa: PLC0415 - heavy, and an extra
        from edgewright.learn.recover import Material, Recovery  # noqa: PLC0415

        folder = self._folder / LEARNED
        chosen_on = {sample.image for sample in self.selection}
        frames = tuple(sample for sample in self.dataset.split("train") if sample.image not in chosen_on)
        engine = "openvino" if "openvino" in self.engines and "avx2" in self.board.isa else "onnxruntime"
        names = [change.name for change in parse_recipe(changes)]

        def work() -> Step:
            material = Material(self.dataset, frames)
            recovery = Recovery(
                self.forms, material, folder, watch=self.watch, engine=engine, threads=self.threads, seed=seed, scale=effort
            )
            stages, learned_from = recovery.run(parse_recipe(changes)), len(recovery.studio.paths)
            told = [{**stage.to_json(), "file": stage.path.name, "tools": recovery.tools, "frames": learned_from} for stage in stages]
            return {"stages": told}, [stage.path for stage in stages]

        def read(result: dict[str, Any]) -> tuple[RecoveredStage, ...]:
            made = [stage["change"] for stage in result["stages"]]
            if not set(made) <= set(names):
                raise ValueError("other changes")
            sources = ["+".join(made[: at + 1]) for at in range(len(made))]
            told = tuple(RecoveredStage(source, stage) for source, stage in zip(sources, result["stages"], strict=True))
            for stage in told:
                self._recovered[stage.source] = self._forms_of(stage, folder / Path(_text(stage.told["file"])).name, seed)
            return told

        inputs = [self._identity, changes, effort, engine, self.threads, [str(sample.image) for sample in frames]]
        return self._journal.step("recover", inputs, work, read)

    def _forms_of(self, stage: RecoveredStage, path: Path, seed: int) -> FloatForms:
        """The float forms of a network that has learned."""
        lineage = {**self.baseline.lineage, "recovered": {"changes": stage.source.split("+"), "seed": seed, "tools": stage.told["tools"]}}
        taught = replace(self.baseline, folder=path.parent, files=(describe_file(path, path.parent),), lineage=lineage)
        folder = self._folder / f"float-{slug(stage.source)}"
        make_folder(folder)
        return prepare_float_forms(taught, folder)

    def _converted(self, recipe: Recipe, path: Path, folder: Path) -> list[Path]:
        """The model in its engine's own format, having answered once in a process that may die of it; nothing where that is ONNX.

        Raises:
            EngineError: it cannot be converted, or does not run.
        """
        if not has_own_format(recipe.engine):
            open_engine(recipe.engine, path, threads=1).close()
            return []
        files = convert(recipe.engine, path, folder, precision=recipe.precision)
        run_once(Job(recipe.name, files[0], recipe.engine, recipe.precision, threads=1))
        return files

    def _leave_out(self, recipe: Recipe, why: str) -> None:
        self.left_out.append(f"{recipe.name} was left out: {why}")

    def scales(self) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
        """Where the float model would force one scale on ranges far apart, how each place is mended, and the nodes that therefore stay
        in float in the form that is quantized.
        """

        def work() -> Step:
            whole, source = onnx.load(self.forms.folded).graph, onnx.load(self.forms.source_of(INT8)).graph
            few = CalibrationSet(self.calibration.samples[:SCALE_IMAGES], (), self.calibration.seed, self.calibration.camera)
            kept = nodes_to_keep_float(scale_findings(source, self._statistics(INT8)))
            left = {node.name for node in source.node}
            rows = []
            for finding in scale_findings(whole, watch_form(self.forms, self.forms.folded, few, self._folder / "scales.onnx", self.cores)):
                if finding.severity != "info":
                    mended = "kept in float" if finding.node in left else "cut off with the head"
                    rows.append({**finding.to_json(), "mended": mended})
            return {"rows": rows, "kept_float": kept}, []

        return self._journal.step("scales", [self._identity, self.calibration.digest], work, self._read_scales)

    def disagreement(self, artifact: Artifact, name: str) -> float:
        """How far a candidate is from the float model on the look pictures."""

        def work() -> Step:
            return {"error": self._error_of(artifact, self._float_word())}, []

        return self._journal.step(f"look {name}", [self._identity, self.calibration.digest, artifact.digest], work, _read_error)

    def closeness(self, artifact: Artifact, name: str, pictures: Sequence[str]) -> float | None:
        """How far a candidate is from the float model on pictures of the selection split; None where cells cannot be compared."""
        if artifact.digest == self.baseline.digest:
            return 0.0
        raw = self.forms.head_of(INT8)
        same_cells = artifact.input.size_wh == self.baseline.input.size_wh and artifact.head.is_raw == raw.is_raw
        if not self.forms.is_aligned(INT8) or not same_cells:
            return None
        spread = [pictures[at] for at in np.linspace(0, len(pictures) - 1, min(CLOSENESS_IMAGES, len(pictures))).astype(int)]

        def work() -> Step:
            if self._selection_word is None:
                self._selection_word = self._asked_float(Feeds(self.baseline, spread))
            return {"error": self._error_of(artifact, self._selection_word)}, []

        return self._journal.step(f"closeness {name}", [self._identity, artifact.digest, spread], work, _read_error)

    def sensitivity(self, recipe: Recipe, artifact: Artifact) -> Sensitivity:
        """Gain and charge of every layer of the recipe's model in float, at the threads the fit is for."""

        def work() -> Step:
            found = measure_sensitivity(
                onnx.load(artifact.model_path),
                onnx.load(self.forms.source_of(recipe)).graph,
                self._float_word().first(SENSITIVITY_IMAGES),
                lambda path: open_engine("onnxruntime", path, threads=self.threads),
                self._folder / "question.onnx",
                progress=self.watch.advance,
            )
            return found.to_json(), []

        inputs = [self._identity, self.calibration.digest, artifact.digest, self.threads]
        return self._journal.step("question", inputs, work, lambda result: _read_sensitivity(result, self._nodes_of(recipe)))

    def predictions(self, split: str, name: str, artifact: Artifact, samples: Sequence[Sample], part: int, parts: int) -> Predictions:
        """What a model says about the pictures of a split; `part` of `parts` tells the progress how much of the stage this is."""
        path = self._folder / f"{split}-{slug(name)}.npz"

        def advance(done: int, total: int) -> None:
            self.watch.advance(part * total + done, parts * total)

        def work() -> Step:
            with Detector(artifact, open_artifact(artifact, threads=self.cores)) as detector:
                found = predict(detector, self.dataset, samples, progress=advance)
            found.save(path)
            return {"images": found.images, "boxes": len(found.found.scores)}, [path]

        pictures = [str(sample.image) for sample in samples]
        inputs = [self._identity, artifact.digest, pictures]
        return self._journal.step(f"{split} {name}", inputs, work, lambda _result: _read_predictions(path, pictures))

    def measurements(self, step: str, jobs: Sequence[Job], rounds: int, block_ms: float | None = None) -> list[Measurement]:
        """The jobs, timed against each other."""

        def work() -> Step:
            return {"measurements": [m.to_json() for m in measure(jobs, rounds=rounds, block_ms=block_ms, progress=self.watch.advance)]}, []

        described = [[job.name, job.threads, job.engine, sha256_of(job.path)] for job in jobs]
        return self._journal.step(
            step, [self._identity, described, rounds, block_ms], work, lambda result: _read_measurements(result, jobs)
        )

    def audit(self) -> dict[str, Any]:
        """What is odd about the calibration set, as `edgewright calibrate` would say it."""

        def work() -> Step:
            return audit(self.dataset, self.calibration, progress=self.watch.advance).to_json(), []

        return self._journal.step("audit", [self._identity, self.calibration.digest], work, _read_audit)

    # --- what these rest on -------------------------------------------------------------------------------------------------------------

    def _float_forms(self) -> FloatForms:
        folder = self._folder / "float"
        make_folder(folder)

        def work() -> Step:
            return {}, prepare_float_forms(self.baseline, folder).files

        self.watch.stage("open")
        return self._journal.step("open", self._identity, work, lambda _result: FloatForms.at(self.baseline, folder))

    def _calibrate(self, images: int, seed: int, camera: CameraModel | None) -> CalibrationSet:
        def work() -> Step:
            chosen = choose_calibration(self.dataset, images, seed, progress=self.watch.advance)
            return {"pictures": [str(sample.image) for sample in chosen.samples], "sha256": list(chosen.sha256)}, []

        def read(result: dict[str, Any]) -> CalibrationSet:
            held = tuple(by_path[path] for path in result["pictures"])
            if not 0 < len(held) == len(set(result["pictures"])) == len(result["sha256"]) <= images:
                raise ValueError("not the pictures that were asked for")
            return CalibrationSet(held, tuple(_text(sha) for sha in result["sha256"]), seed, camera)

        self.watch.stage("calibrate")
        by_path = {str(sample.image): sample for sample in self.dataset.split("train")}
        return self._journal.step("calibrate", self._identity, work, read)

    def _statistics(self, recipe: Recipe) -> dict[str, TensorStatistics]:
        forms = self.forms_for(recipe)
        path = self._folder / f"statistics-{'cut' if forms.cuts(recipe) else 'whole'}{_suffix(recipe)}.npz"

        def work() -> Step:
            watched = watch_ranges(forms, recipe, self.calibration, path.with_suffix(".onnx"), self.cores, self.watch.advance)
            save_statistics(watched, path)
            return {}, [path]

        if path.stem not in self._held:
            inputs = [self._identity, self.calibration.digest]
            self._held[path.stem] = self._journal.step(path.stem, inputs, work, lambda _result: load_statistics(path))
        return self._held[path.stem]

    def _shifts(self, recipe: Recipe) -> Shifts:
        """What this way of reading ranges shifts each convolution's mean by; recipes that read them alike share it."""
        reading = [
            recipe.ranges,
            recipe.scheme,
            *(getattr(recipe, floor) for floor in FLOORS),
            self.forms.cuts(recipe),
            recipe.size_wh,
            recipe.source,
        ]
        forms = self.forms_for(recipe)
        path = self._folder / f"shifts-{digest_of(reading)[:8]}.npz"

        def work() -> Step:
            statistics, scratch = self._statistics(recipe), path.with_suffix(".onnx")
            found = watch_shifts(forms, recipe, statistics, self.calibration, self.board, scratch, self.cores)
            columns = {f"shift{at}": shift for at, shift in enumerate(found.values())}
            write_arrays(path, {"names": np.array(list(found), str), **columns})
            return {}, [path]

        inputs = [self._identity, self.calibration.digest, reading]
        return self._journal.step(path.stem, inputs, work, lambda _result: self._read_shifts(path, recipe))

    def _read_scales(self, result: dict[str, Any]) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
        kept = tuple(result["kept_float"])
        if not self._nodes_of(INT8).issuperset(kept):
            raise ValueError("no nodes of this model")
        return [dict(row) for row in result["rows"]], kept

    def _read_shifts(self, path: Path, recipe: Recipe) -> Shifts:
        names = read_arrays(path, {"names": ("U", 1)})["names"].tolist()
        held = read_arrays(path, {f"shift{at}": ("f", 1) for at in range(len(names))})
        graph = onnx.load(self.forms_for(recipe).source_of(recipe)).graph
        widths = {tensor.name: tensor.dims[0] for tensor in graph.initializer if tensor.dims}
        convs = {node.name: widths.get(node.input[1]) for node in graph.node if node.op_type == "Conv"}
        found = {name: held[f"shift{at}"] for at, name in enumerate(names)}
        if any(convs.get(name) != len(shift) for name, shift in found.items()):
            raise ValueError("no convolutions of this model")
        return found

    def _nodes_of(self, recipe: Recipe) -> set[str]:
        return {node.name for node in onnx.load(self.forms.source_of(recipe)).graph.node}

    def _float_word(self) -> Reference:
        """What the float model says about the look pictures: a few of the selection split, spread over it."""
        if self._look_word is None:
            spread = np.linspace(0, len(self.selection) - 1, min(LOOK_IMAGES, len(self.selection))).astype(int)
            sound = self.dataset.stream([self.selection[at] for at in spread], broken=[])
            self._look_word = self._asked_float([feed_of(self.baseline, picture.image_rgb) for picture in sound])
        return self._look_word

    def _error_of(self, artifact: Artifact, reference: Reference) -> float:
        with closing(open_artifact(artifact, threads=self.cores)) as engine:
            feeds = (fed_as(artifact.input, self.baseline.input, feed) for feed in reference.feeds)
            return reference.error((engine.run(feed) for feed in feeds), artifact.head)

    def _asked_float(self, feeds: Sequence[Feed]) -> Reference:
        with closing(open_engine("onnxruntime", self.forms.source_of(INT8), threads=self.cores)) as engine:
            return Reference.of(self.forms.head_of(INT8), self.baseline.input.size_wh, feeds, engine.run)


# --- results of steps, as they are read: from this run or, with --resume, from files of an earlier one that are not simply believed ------


def _number(value: Any) -> float:
    if not isinstance(value, int | float):
        raise TypeError("no number")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _read_made(result: dict[str, Any]) -> list[str] | str:
    """The names of converted files, or why there are none."""
    if "error" in result:
        return _text(result["error"])
    if any(Path(_text(name)).name != name for name in result["files"]):
        raise ValueError("no file names")
    return list(result["files"])


def _suffix(recipe: Recipe) -> str:
    source = f"-{slug(recipe.source)}" if recipe.source else ""
    return source if recipe.size_wh is None else source + "-{}x{}".format(*recipe.size_wh)


def _read_error(result: dict[str, Any]) -> float:
    return _number(result["error"])


def _read_sensitivity(result: dict[str, Any], known: set[str]) -> Sensitivity:
    found = Sensitivity.from_json(result)
    _number(found.error)
    for each in (*found.regions, *found.layers):
        _text(each.layer), _number(each.gain), _number(each.charge or 0.0), _number(each.layers)
        if not known.issuperset(each.nodes):
            raise ValueError("no layers of this model")
    if found.start is not None and found.start_region is None:
        raise ValueError("it starts with a region that was not looked at")
    return found


def _read_predictions(path: Path, pictures: Sequence[str]) -> Predictions:
    """Of these pictures alone: the report shows some of them."""
    found = Predictions.load(path)
    if not set(pictures).issuperset(found.pictures) or len(set(found.pictures)) < len(found.pictures):
        raise ValueError("predictions on other pictures")
    return found


def _read_measurements(result: dict[str, Any], jobs: Sequence[Job]) -> list[Measurement]:
    found = [Measurement.from_json(each) for each in result["measurements"]]
    rounds = {len(each.rounds_ms) for each in found}
    if [each.job.name for each in found] != [job.name for job in jobs] or len(rounds) != 1:
        raise ValueError("measurements of other models")
    for each in found:
        (
            _text(each.version),
            _text(each.computes_in),
            *map(_number, (each.load_ms, each.first_ms, each.cpu_percent, each.peak_mib, each.size_bytes)),
        )
        if not each.rounds_ms or not all(block and all(_number(ms) > 0 for ms in block) for block in each.rounds_ms):
            raise ValueError("rounds without runs")
    return [replace(each, job=job) for each, job in zip(found, jobs, strict=True)]


def _read_audit(result: dict[str, Any]) -> dict[str, Any]:
    for finding in result["findings"]:
        _text(finding["severity"]), _text(finding["what"])
    return result


class Feeds(Sequence[Feed]):
    """Pictures as a network takes them, read whenever they are asked for: many cost no memory."""

    def __init__(self, artifact: Artifact, pictures: Sequence[str]) -> None:
        self._artifact, self._pictures = artifact, pictures

    @overload
    def __getitem__(self, at: int) -> Feed: ...
    @overload
    def __getitem__(self, at: slice) -> "Feeds": ...
    def __getitem__(self, at: int | slice) -> "Feed | Feeds":
        if isinstance(at, slice):
            return Feeds(self._artifact, self._pictures[at])
        return feed_of(self._artifact, read_image(Path(self._pictures[at])))

    def __len__(self) -> int:
        return len(self._pictures)


def engines_for(wanted: Sequence[str] | None, board: Board) -> dict[str, tuple[Precision, ...]]:
    """The engines to try, and what each computes float graphs in, here and, if that is another, on the board too; None is every engine that
    is installed.

    Raises:
        InputError: no such engine.
        EngineError: one that was named is not installed.
    """
    names = installed_engines() if wanted is None else wanted
    return {name: tuple(each for each in engine_module(name).float_precisions() if _has(board, each)) for name in names}


def _has(board: Board, precision: Precision) -> bool:
    """Whether it multiplies in that precision; of this machine the engines know better than the kernel's flags."""
    return board.name == HOST or HALVES.get(precision) is None or HALVES[precision] in board.isa


def sizes_for(request: FitRequest, baseline: Artifact) -> tuple[tuple[int, int], ...]:
    """Width and height of the inputs to try beside the model's own: those asked for, and the one that the camera's frames fill."""
    stride = max(baseline.head.strides, default=USUAL_STRIDE)
    fitted = [] if request.frame_wh is None else [camera_size(request.frame_wh, baseline.input.size_wh, stride)]
    return tuple(dict.fromkeys(size for size in (*request.sizes_wh, *fitted) if size != baseline.input.size_wh))


def slug(name: str) -> str:
    """A name as a file name."""
    return "".join(c if c.isalnum() else "-" for c in name)
