"""The story of a fit, told by `fit` below: calibrate, compress, select, measure, judge, report.

Each step is in the journal before the next begins, so a killed fit goes on where it was. What is chosen by looking at accuracy
is chosen on the selection split (train pictures that calibration did not see); the judging split is met by the winner alone.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.accuracy.coco import evaluate
from edgewright.accuracy.compare import POINTS, compare
from edgewright.accuracy.predictions import Predictions, class_translation, predict, pseudo_truth
from edgewright.artifact import Artifact, sha256_of
from edgewright.bench.measure import Job, Measurement, measure, ratio
from edgewright.board.profile import Board, usable_cores
from edgewright.compress.calibrate import TensorStatistics, load_statistics, save_statistics
from edgewright.compress.candidates import (
    FloatForms,
    calibration_feeds,
    check_head_cut,
    describe_candidate,
    make_model,
    prepare_float_forms,
    watch_ranges,
)
from edgewright.compress.recipes import RECIPES, Recipe
from edgewright.data.calibration import CalibrationSet, choose_calibration
from edgewright.data.dataset import Dataset, Sample, open_dataset, part_train_from_val
from edgewright.detector import Detector, artifact_of_model
from edgewright.engines import open_engine
from edgewright.errors import DataError, EngineError, InputError, ModelError
from edgewright.fit.budget import Budget
from edgewright.fit.choose import AGREE_ABOVE, BASELINE, Figures, choose, decide, fallback
from edgewright.fit.evidence import Evidence, Judged, tool_versions
from edgewright.fit.finish import finish
from edgewright.fit.journal import Journal, digest_of
from edgewright.fit.watch import Silent, Watch
from edgewright.fit.workspace import workspace

MOST_SELECTION = 256  # pictures candidates are ranked on; more would cost time and settle little that agreement does not

SELECTION_ROUNDS = 6
FINAL_ROUNDS = 20
CONTEXT_ROUNDS = 8  # of what stands beside the verdict, not under it


@dataclass(frozen=True, slots=True)
class FitRequest:
    """What to fit, to which data, into which folder and budget. `images`: for calibration; `threads`.

    For baseline and candidates alike, 0 all cores.
    """

    model: Path
    data: Path
    out: Path
    budget: Budget = field(default_factory=Budget)
    threads: int = 0
    images: int = 64
    seed: int = 0
    resume: bool = False
    recipes: tuple[Recipe, ...] = RECIPES
    command: str = ""


def fit(request: FitRequest, *, watch: Watch | None = None) -> Evidence:
    """Fit a detector to a budget; the artifact, its evidence and the report are in `request.out` afterwards.

    Raises:
        InputError: the model, the data set or the folder cannot be used.
        HostError: an engine is missing.
    """
    baseline, dataset, warnings = _open(request)
    with workspace(request.out, resume=request.resume) as work:
        run = _Fit(request, baseline, dataset, Journal(work), watch or Silent(), warnings)
        calibration = run.calibrate()
        candidates = run.compress(calibration)
        selection = run.select(candidates, calibration)
        speeds = run.measure(candidates)
        ranking = run.rank(selection, speeds)
        verdict = run.judge(candidates, ranking)
        return finish(run.conclude(calibration, candidates, ranking, selection, verdict), request.out, work, run.watch)


def put_through_gate(request: FitRequest, recipe: Recipe, *, watch: Watch | None = None) -> Judged:
    """Judge one recipe's model as if it had won, whatever the selection split says of it: what would the gate have said?

    Raises:
        InputError: as `fit`.
        EngineError: the recipe's model cannot be made.
    """
    baseline, dataset, warnings = _open(request)
    with workspace(request.out, resume=request.resume) as work:
        run = _Fit(replace(request, recipes=(recipe,)), baseline, dataset, Journal(work), watch or Silent(), warnings)
        calibration = run.calibrate()
        candidates = run.compress(calibration)
        if recipe.name not in candidates:
            raise EngineError(run.warnings[-1])
        ranking = run.rank(run.select(candidates, calibration), run.measure(candidates))
        return run.judge_one(next(figures for figures in ranking if figures.name == recipe.name), candidates)


@dataclass(frozen=True, slots=True)
class Scored:
    """What a candidate said about a split, and its mAP50-95 there as the journal has it."""

    predictions: Predictions
    map50_95: float


class _Fit:
    """What the stages share: the request, the model and data set, the journal."""

    def __init__(
        self, request: FitRequest, baseline: Artifact, dataset: Dataset, journal: Journal, watch: Watch, warnings: Iterable[str]
    ) -> None:
        self.request = request
        self.journal = journal
        self.watch = watch
        self.cores = usable_cores()
        self.threads = request.threads or self.cores
        self.board = Board.detect()
        self.baseline = baseline
        self.dataset = dataset
        self.warnings = list(warnings)
        self.identity = {
            "model": self.baseline.digest,
            "data": digest_of(_listing(self.dataset)),
            "tools": tool_versions(),
            "isa": sorted(self.board.isa),
            "images": request.images,
            "seed": request.seed,
        }
        self._held: dict[str, dict[str, TensorStatistics]] = {}  # statistics by the form they are of; four recipes share one
        self.forms = self._float_forms()

    # --- stages -------------------------------------------------------------------------------------------------------------------------

    def calibrate(self) -> CalibrationSet:
        """Choose the calibration pictures and watch every tensor's range over them."""
        self.watch.stage("calibrate")

        def work() -> tuple[dict[str, Any], list[Path]]:
            chosen = choose_calibration(self.dataset, self.request.images, self.request.seed, progress=self.watch.advance)
            return {**chosen.to_json(), "pictures": [str(s.image) for s in chosen.samples], "sha256": list(chosen.sha256)}, []

        held = self.journal.step("calibrate", self.identity, work).result
        by_path = {str(sample.image): sample for sample in self.dataset.split("train")}
        calibration = CalibrationSet(tuple(by_path[path] for path in held["pictures"]), tuple(held["sha256"]), held["seed"])
        if len(calibration.samples) < self.request.images:
            self.warnings.append(f"only {len(calibration.samples)} train images to calibrate with ({self.request.images} asked for)")
        check_head_cut(self.forms, next(iter(calibration_feeds(self.baseline, calibration))), self.cores)
        return calibration

    def compress(self, calibration: CalibrationSet) -> dict[str, Artifact]:
        """Make every recipe's model; one that cannot be made is noted and left out. The float model as given comes first."""
        self.watch.stage("compress")
        candidates = {BASELINE: self.baseline}
        for done, recipe in enumerate(self.request.recipes, 1):
            artifact = self._candidate(recipe, calibration)
            if artifact is not None:
                candidates[recipe.name] = artifact
            self.watch.advance(done, len(self.request.recipes))
        return candidates

    def select(self, candidates: dict[str, Artifact], calibration: CalibrationSet) -> dict[str, Scored]:
        """What every candidate says about the selection split."""
        self.watch.stage("select")
        samples = self._selection_samples(calibration)
        return {
            name: self._scored("select", name, artifact, samples, at, len(candidates))
            for at, (name, artifact) in enumerate(candidates.items())
        }

    def measure(self, candidates: dict[str, Artifact]) -> dict[str, Measurement]:
        """Time all candidates against each other."""
        self.watch.stage("measure")
        jobs = [self._job(name, artifact, self.threads) for name, artifact in candidates.items()]
        return {m.job.name: m for m in self._measured("measure", jobs, SELECTION_ROUNDS)}

    def rank(self, selection: dict[str, Scored], speeds: dict[str, Measurement]) -> list[Figures]:
        """The candidates' figures on the selection split; a pure function of what is in the journal."""
        truth = pseudo_truth(selection[BASELINE].predictions, AGREE_ABOVE)
        float_map = selection[BASELINE].map50_95
        return [
            Figures(
                name=name,
                precision=speeds[name].job.precision,
                map50_95=found.map50_95,
                delta_points=(found.map50_95 - float_map) * POINTS,
                agreement=evaluate(replace(found.predictions, truth=truth)).report.map50_95,
                p50_ms=speeds[name].latency.p50,
                peak_mib=speeds[name].peak_mib,
                size_mb=speeds[name].size_bytes / 1e6,
            )
            for name, found in selection.items()
        ]

    def judge(self, candidates: dict[str, Artifact], ranking: Sequence[Figures]) -> Judged:
        """The winner meets the judging split; if it fails there, the best float candidate has one try."""
        self.watch.stage("judge")
        judged = self.judge_one(choose(ranking, self.request.budget), candidates)
        if judged.decision.verdict == "ship" or "accuracy" not in judged.decision.binding:
            return judged
        second = fallback(ranking, self.request.budget)
        if second is None or second.name == judged.winner:
            return judged
        self.watch.note(f"{judged.decision.reason}; trying {second.name}")
        other = self.judge_one(second, candidates)
        if other.decision.verdict != "ship":
            return judged
        lost = f"{judged.winner} lost {-judged.delta.map50_95.estimate:.2f} points on the judging split"
        reason = f"{lost}, so the float model ships: {other.decision.reason}"
        return replace(other, decision=replace(other.decision, reason=reason))

    def conclude(
        self,
        calibration: CalibrationSet,
        candidates: dict[str, Artifact],
        ranking: Sequence[Figures],
        selection: dict[str, Scored],
        judged: Judged,
    ) -> Evidence:
        """Everything the report and evidence.json are made from."""
        seen = (selection[BASELINE].predictions, judged.predictions[0])
        broken = sorted({each for found in seen for each in found.broken})
        self.warnings += [f"skipped: {each}" for each in broken]
        if len(judged.predictions[0].pictures) < FEW_IMAGES:
            self.warnings.append(f"only {len(judged.predictions[0].pictures)} images to judge on")
        return Evidence(
            request_budget=self.request.budget,
            board=self.board,
            threads=self.threads,
            baseline=self.baseline,
            fitted=candidates[judged.winner],
            judged=judged,
            ranking=tuple(ranking),
            candidates=candidates,
            calibration=calibration,
            selection_images=selection[BASELINE].predictions.images,
            warnings=tuple(self.warnings),
            elapsed_s=self.journal.seconds,
            command=self.request.command,
        )

    # --- steps --------------------------------------------------------------------------------------------------------------------------

    def _float_forms(self) -> FloatForms:
        folder = self.journal.folder / "float"
        folder.mkdir(exist_ok=True)

        def work() -> tuple[dict[str, Any], list[Path]]:
            forms = prepare_float_forms(self.baseline, folder)
            return {}, [forms.folded, forms.cut]

        self.watch.stage("open")
        self.journal.step("open", self.identity, work)
        return FloatForms.at(self.baseline, folder)

    def _statistics(self, recipe: Recipe, calibration: CalibrationSet) -> dict[str, TensorStatistics]:
        path = self.journal.folder / f"statistics-{'cut' if recipe.head_cut else 'whole'}.npz"

        def work() -> tuple[dict[str, Any], list[Path]]:
            save_statistics(watch_ranges(self.forms, recipe, calibration, path.with_suffix(".onnx"), self.cores, self.watch.advance), path)
            return {}, [path]

        if path.stem not in self._held:
            self.journal.step(path.stem, [self.identity, calibration.digest], work)
            self._held[path.stem] = load_statistics(path)
        return self._held[path.stem]

    def _candidate(self, recipe: Recipe, calibration: CalibrationSet) -> Artifact | None:
        folder = self.journal.folder / "candidates" / _slug(recipe.name)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "model.onnx"
        statistics = self._statistics(recipe, calibration) if recipe.mode == "static" else {}

        def work() -> tuple[dict[str, Any], list[Path]]:
            try:
                make_model(self.forms, recipe, statistics, self.board, path)
                open_engine("onnxruntime", path, threads=1).close()
            except EngineError as error:
                return {"error": str(error)}, []
            return {}, [path]

        entry = self.journal.step(f"compress {recipe.name}", [self.identity, calibration.digest, recipe.to_json()], work)
        if "error" in entry.result:
            self.warnings.append(f"{recipe.name} was left out: {entry.result['error']}")
            return None
        digest = calibration.digest
        return describe_candidate(self.forms, recipe, path, self.board, calibration_digest=digest, tools=tool_versions())

    def _selection_samples(self, calibration: CalibrationSet) -> list[Sample]:
        held = {sample.image for sample in calibration.samples}
        rest = [sample for sample in self.dataset.split("train") if sample.image not in held]
        if not rest:
            raise InputError(
                "every train image went into calibration, none is left to choose on",
                got=f"--images {self.request.images}, {len(held)} train images",
                fix="lower --images to half of them or less",
            )
        drawn = np.random.default_rng(self.request.seed).permutation(len(rest))[:MOST_SELECTION]
        return [rest[at] for at in sorted(drawn)]

    def _scored(self, split: str, name: str, artifact: Artifact, samples: Sequence[Sample], part: int, parts: int) -> Scored:
        path = self.journal.folder / f"{split}-{_slug(name)}.npz"

        def advance(done: int, total: int) -> None:
            self.watch.advance(part * total + done, parts * total)

        def work() -> tuple[dict[str, Any], list[Path]]:
            with Detector(artifact, open_engine(artifact.engine, artifact.model_path, threads=self.cores)) as detector:
                found = predict(detector, self.dataset, samples, progress=advance)
            found.save(path)
            report = evaluate(found).report
            return {"map50": report.map50, "map50_95": report.map50_95, "images": report.images}, [path]

        entry = self.journal.step(f"{split} {name}", [self.identity, artifact.digest, [str(s.image) for s in samples]], work)
        return Scored(Predictions.load(path), entry.result["map50_95"])

    def _measured(self, step: str, jobs: Sequence[Job], rounds: int) -> list[Measurement]:
        def work() -> tuple[dict[str, Any], list[Path]]:
            return {"measurements": [m.to_json() for m in measure(jobs, rounds=rounds, progress=self.watch.advance)]}, []

        described = [[job.name, job.threads, job.engine, sha256_of(job.path)] for job in jobs]
        entry = self.journal.step(step, [self.identity, described, rounds], work)
        return [Measurement.from_json(each) for each in entry.result["measurements"]]

    def judge_one(self, winner: Figures, candidates: dict[str, Artifact]) -> Judged:
        """A candidate meets the judging split, beside the baseline, and is measured once more."""
        samples = self.dataset.split("val")
        pair = (BASELINE, winner.name)
        found = [self._scored("judge", name, candidates[name], samples, at, 2).predictions for at, name in enumerate(pair)]
        self.watch.note(f"{winner.name} meets the judging split: {found[0].images} images")
        baseline, fitted = (evaluate(each) for each in found)
        delta = compare(fitted, baseline, seed=self.request.seed)
        self.watch.stage("bench")
        jobs = [self._job(name, candidates[name], self.threads) for name in dict.fromkeys(pair)]
        paired = self._measured(f"bench {winner.name}", jobs, FINAL_ROUNDS)
        final = paired[-1]
        figures = replace(
            winner,
            map50_95=fitted.report.map50_95,
            delta_points=delta.map50_95.estimate,
            p50_ms=final.latency.p50,
            peak_mib=final.peak_mib,
            size_mb=final.size_bytes / 1e6,
        )
        decision = decide(figures, delta.map50_95, ratio(paired[0], final), self.request.budget)
        return Judged(winner.name, decision, delta, baseline, fitted, (found[0], found[1]), (*paired, *self._by_threads(pair, candidates)))

    def _by_threads(self, pair: Iterable[str], candidates: dict[str, Artifact]) -> Iterator[Measurement]:
        """Baseline, winner and the dynamic model everyone tries first, by the number of threads.

        A count at a time, so that a small board never holds more than three models at once.
        """
        names = dict.fromkeys((*pair, *(name for name, artifact in candidates.items() if _is_dynamic(artifact))))
        for threads in thread_counts(self.threads):
            # At the asked number of threads the pair has just been measured.
            jobs = [self._job(name, candidates[name], threads) for name in names if threads < self.threads or name not in pair]
            if jobs:
                yield from self._measured(f"bench {threads} threads", jobs, CONTEXT_ROUNDS)

    def _job(self, name: str, artifact: Artifact, threads: int) -> Job:
        return Job(
            name, artifact.model_path, artifact.engine, artifact.precision, threads, _scheme_name(artifact), artifact.input.size_wh[0]
        )


FEW_IMAGES = 50


def thread_counts(most: int) -> list[int]:
    """Every number of threads up to four, then doubling, and `most` itself: what a board of that many cores might be given."""
    return sorted({*range(1, min(most, 4) + 1), *(2**power for power in range(3, most.bit_length()) if 2**power < most), most})


def _open(request: FitRequest) -> tuple[Artifact, Dataset, list[str]]:
    """The model, the data set and what to know of them, before anything is written: a wrong input leaves no trace."""
    baseline = _open_float_model(request.model)
    dataset, shared = part_train_from_val(open_dataset(request.data))
    warnings = [f"{shared} images were in train and in val; each is now in one of them, by its digest"] if shared else []
    class_translation(baseline.classes, dataset.classes)
    if not any(sample.class_ids(len(dataset.classes)).size for sample in dataset.split("val")):
        raise DataError(f"no val image of {request.data} has a label", expected="labelled boxes to judge by")
    return baseline, dataset, warnings


def _open_float_model(path: Path) -> Artifact:
    artifact = artifact_of_model(path)
    if artifact.precision.startswith("int8"):
        raise ModelError(
            f"{path} is already quantized",
            got=artifact.precision,
            expected="a float32 model",
            fix="fit the float original it was made from",
        )
    if artifact.precision != "float32":
        raise ModelError(f"{path} is not a float32 model", got=artifact.precision, fix="export it again in float32")
    return artifact


def _listing(dataset: Dataset) -> list[Any]:
    """What the data set's files are, cheaply: path, size and time of change of every picture and label file."""
    return [
        [name, [[str(path), *_stamp(path)] for sample in samples for path in (sample.image, sample.labels)]]
        for name, samples in dataset.splits.items()
    ]


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)


def _is_dynamic(artifact: Artifact) -> bool:
    return artifact.scheme is not None and artifact.scheme["recipe"]["mode"] == "dynamic"


def _scheme_name(artifact: Artifact) -> str | None:
    return None if artifact.scheme is None else str(artifact.scheme["recipe"]["name"])
