"""The story of a fit, told by `fit` below: calibrate, explore, compress, select, measure, judge, report.

Each step is in the journal before the next begins, so a killed fit goes on where it was. What is chosen by looking at accuracy
is chosen on the selection split (train pictures that calibration did not see); the judging split is met by the winner alone.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgewright.accuracy.agreement import AGREE_ABOVE, compare_by_agreement, evaluate_agreement
from edgewright.accuracy.coco import Evaluation, evaluate
from edgewright.accuracy.compare import POINTS, AccuracyDelta, compare
from edgewright.accuracy.predictions import Predictions, pseudo_truth
from edgewright.accuracy.regressions import find_regressions
from edgewright.accuracy.threshold import f1_at, refit
from edgewright.artifact import Artifact
from edgewright.bench.measure import GLANCE_MS, Job, Measurement, ratio
from edgewright.board.profile import Board
from edgewright.compress.recipes import INT8, Recipe
from edgewright.errors import EngineError
from edgewright.fit.choose import BASELINE, Figures, best_threads, choose, contenders, decide, fallback
from edgewright.fit.evidence import Evidence, Judged, OperatingPoint
from edgewright.fit.explore import (
    LOOK_IMAGES,
    MOST_HALVINGS,
    NEARLY_FREE,
    Exploration,
    FloatSet,
    Look,
    at_size,
    candidates_from,
    closest,
    float_sets,
    growing_set,
    range_trials,
    recovered_recipes,
    with_bias_correction,
)
from edgewright.fit.finish import finish
from edgewright.fit.journal import Journal
from edgewright.fit.opening import open_material
from edgewright.fit.recovered import FEW_FRAMES, RecoveredStage, check_changes
from edgewright.fit.request import USUAL_IMAGES, FitRequest
from edgewright.fit.survey import ROUNDS, Overtaken, Point, exactness, overtaken
from edgewright.fit.watch import Silent, Watch
from edgewright.fit.workshop import Workshop
from edgewright.fit.workspace import workspace

SELECTION_ROUNDS = 6
FINAL_ROUNDS = 20
CONTEXT_ROUNDS = 8  # of what stands beside the verdict, not under it
QUESTIONED = "int8, as questioned"  # the model whose layers are asked for: without the forms that are deployed
MOST_AT_ONCE = 6  # models held in memory to be timed against each other; the baseline is one of them
FEW_IMAGES = 50


def fit(request: FitRequest, *, watch: Watch | None = None) -> Evidence:
    """Fit a detector to a budget; the artifact, its evidence and the report are in `request.out` afterwards.

    Raises:
        InputError: the model, the data set or the folder cannot be used.
        HostError: an engine is missing.
    """
    if request.recover is not None:
        check_changes(request.recover)
    baseline, dataset, warnings = open_material(request.model, request.data)
    board = Board.detect() if request.board is None else Board.load(request.board)
    with workspace(request.out, resume=request.resume) as work:
        run = _Fit(request, Workshop(request, baseline, dataset, board, Journal(work), watch or Silent()), warnings)
        run.explore()
        run.recover()
        run.compress()
        run.survey()
        run.select()
        run.spare_layers()
        ranking = run.rank(run.measure())
        judged = run.judge(ranking)
        return finish(run.conclude(ranking, judged), request.out, work, run.watch)


def put_through_gate(request: FitRequest, recipe: Recipe, *, watch: Watch | None = None) -> Judged:
    """Judge one recipe's model as if it had won, whatever the selection split says of it: what would the gate have said?

    Raises:
        InputError: as `fit`.
        EngineError: the recipe's model cannot be made.
    """
    baseline, dataset, warnings = open_material(request.model, request.data)
    with workspace(request.out, resume=request.resume) as work:
        told = replace(request, recipes=(recipe,))
        run = _Fit(told, Workshop(told, baseline, dataset, Board.detect(), Journal(work), watch or Silent()), warnings)
        run.compress()
        if recipe.name not in run.candidates:
            raise EngineError(run.shop.left_out[-1])
        run.select()
        ranking = run.rank(run.measure())
        return run.judge_one(next(figures for figures in ranking if figures.name == recipe.name))


@dataclass(frozen=True, slots=True)
class Scored:
    """What a candidate said about a split; its mAP50-95 there, None without labels, and its agreement with the float model (0..1)."""

    predictions: Predictions
    map50_95: float | None
    agreement: float

    def points_over(self, baseline: "Scored") -> float:
        """The change against the baseline in points; without labels, of agreement."""
        if self.map50_95 is None or baseline.map50_95 is None:
            return (self.agreement - 1) * POINTS
        return (self.map50_95 - baseline.map50_95) * POINTS


class _Fit:
    """The stages of a fit, in the order in which `fit` calls them, and what they have found so far."""

    def __init__(self, request: FitRequest, shop: Workshop, warnings: Iterable[str]) -> None:
        self.request = request
        self.shop = shop
        self.watch = shop.watch
        self.labelled = shop.dataset.labelled
        self.warnings = list(warnings)
        self.exploration = Exploration()
        self.recovery: tuple[RecoveredStage, ...] = ()
        self.candidates: dict[str, Artifact] = {BASELINE: shop.baseline}  # the float model as given comes first
        self.recipes: dict[str, Recipe] = {}  # what the others were made by
        self.glanced_ms: dict[str, float] = {}  # p50 by the survey
        self.overtaken: dict[str, Overtaken] = {}  # candidates that never met the selection split, because faster ones compute as exactly
        self.selection: dict[str, Scored] = {}  # what each candidate did on the selection split

    # --- stages -------------------------------------------------------------------------------------------------------------------------

    def explore(self) -> None:
        """How should ranges be read, and which layers does quantization hurt? Asked of a few selection pictures."""
        if self.request.recipes is not None or not self.shop.forms.is_aligned(INT8):
            return
        self.watch.stage("explore")
        scales, kept_float = self.shop.scales()
        looks = self._looks(range_trials(kept_float))
        if not looks:
            return
        looks += self._looks([with_bias_correction(closest(looks))])
        closest_look = closest(looks).recipe.name
        images = min(LOOK_IMAGES, len(self.shop.selection))
        self.watch.note(f"{closest_look} is closest to the float model on {images} pictures")
        self.exploration = Exploration(images, tuple(scales), tuple(looks), closest_look)
        self.watch.stage("question")
        base = replace(self.exploration.base_recipe, name=QUESTIONED)
        made = self.shop.candidate(base)
        if made is not None:
            self.exploration = replace(self.exploration, sensitivity=self.shop.sensitivity(base, made))

    def recover(self) -> None:
        """Let changed networks learn the given one's answers, where that was asked for."""
        if self.request.recover is not None:
            self.recovery = self.shop.recover(self.request.recover, self.request.effort, self.request.seed)

    def compress(self) -> None:
        """Make every recipe's model for every engine; one that cannot be made is noted and left out."""
        self.watch.stage("compress")
        recipes = self.request.recipes
        if recipes is None:
            base, isa = self.exploration.base_recipe, self.shop.board.isa
            recipes = candidates_from(base, self.shop.engines, isa)
            recipes += tuple(
                each for stage in self.recovery for each in recovered_recipes(stage.source, stage.size_wh, self.shop.engines, isa)
            )
        for done, recipe in enumerate(recipes, 1):
            self._add(recipe)
            self.watch.advance(done, len(recipes))

    def survey(self) -> None:
        """Time everything at a glance, and leave behind what something faster computes at least as exactly; then the same for other sizes.

        With one engine and one size there is little to leave behind, and nothing is.
        """
        if self.request.recipes is not None or not (self.shop.sizes_wh or len(self.shop.engines) > 1 or self.recovery):
            return
        self.watch.stage("survey")
        self._leave_behind()
        fewer = [recipe for name, recipe in self.recipes.items() if name not in self.overtaken]
        for size_wh in self.shop.sizes_wh:
            for recipe in fewer:
                self._add(at_size(recipe, size_wh))
        if self.shop.sizes_wh:
            self._leave_behind()

    def _leave_behind(self) -> None:
        standing = [name for name in self.candidates if name not in self.overtaken]
        for rounds, block_ms, slower in ROUNDS:
            speeds = self._timed("survey", standing, rounds, block_ms)
            points = [self._point(name, speeds[name].latency.p50) for name in standing]
            lost, p50s = overtaken(points, slower), {point.name: point.p50_ms for point in points}
            self.glanced_ms |= p50s
            for name, other in lost.items():
                if name != BASELINE:
                    self.overtaken[name] = Overtaken(name, other.name, p50s[name], other.p50_ms, p50s[BASELINE])
            standing = [name for name in standing if name not in self.overtaken]

    def _point(self, name: str, p50_ms: float) -> Point:
        artifact = self.candidates[name]
        network = self.recipes[name].source if name in self.recipes else ""
        return Point(name, network, exactness(artifact), artifact.input.size_wh[0] * artifact.input.size_wh[1], p50_ms)

    def select(self) -> None:
        """What every candidate says about the selection split."""
        self.watch.stage("select")
        standing = [name for name in self.candidates if name not in self.overtaken]
        for at, name in enumerate(standing):
            self._score(name, at, len(standing))

    def spare_layers(self) -> None:
        """Find the smallest set of layers to keep in float; the models tried on the way become candidates.

        Where integers alone keep the accuracy budget, only sets that cost next to nothing are tried: they may agree better. Where they
        do not, sets grow until one keeps it, and the gap to the last that did not is halved a few times.
        """
        base, sensitivity = self._integers_alone(), self.exploration.sensitivity
        if sensitivity is None or base is None:
            return
        self.watch.stage("spare")
        enough = self._keeps_accuracy(base.name)
        tried: list[FloatSet] = []
        few = many = 0
        for trial in float_sets(base, sensitivity):
            if enough and trial.charge > NEARLY_FREE:
                break
            tried += self._tried(trial, len(tried))
            if tried and tried[-1].within and not enough:
                many = trial.ranked
                break
            few = trial.ranked
        for _ in range(MOST_HALVINGS):
            if many - few < 2:
                break
            middle = (few + many) // 2
            tried += self._tried(growing_set(base, sensitivity, middle), len(tried))
            few, many = (few, middle) if tried[-1].within else (middle, many)
        self.exploration = replace(self.exploration, float_sets=tuple(tried))

    def measure(self) -> dict[str, Measurement]:
        """Time all candidates that met the selection split against the baseline."""
        self.watch.stage("measure")
        return self._timed("measure", list(self.selection), SELECTION_ROUNDS, GLANCE_MS)

    def _timed(self, step: str, names: Sequence[str], rounds: int, block_ms: float) -> dict[str, Measurement]:
        """The named candidates against the baseline, a handful at a time so that a small board can hold them."""
        others = [name for name in names if name != BASELINE]
        measured: dict[str, Measurement] = {}
        for at in range(0, max(len(others), 1), MOST_AT_ONCE - 1):
            jobs = [self._job(name, self.shop.threads) for name in (BASELINE, *others[at : at + MOST_AT_ONCE - 1])]
            found = self.shop.measurements(step, jobs, rounds, block_ms)
            for each in found:
                measured.setdefault(each.job.name, _at_the_pace_of(measured.get(BASELINE), found[0], each))
        return measured

    def rank(self, speeds: dict[str, Measurement]) -> list[Figures]:
        """The candidates' figures on the selection split, and of those that may win how far they are from the float model."""
        figures = [
            Figures(
                name=name,
                precision=speeds[name].job.precision,
                map50_95=found.map50_95,
                delta_points=found.points_over(self.selection[BASELINE]),
                agreement=found.agreement,
                p50_ms=speeds[name].latency.p50,
                peak_mib=speeds[name].peak_mib,
                size_mb=speeds[name].size_bytes / 1e6,
            )
            for name, found in self.selection.items()
        ]
        self.watch.stage("rank")
        rivals = contenders(figures, self.request.budget)
        pictures = self.selection[BASELINE].predictions.pictures
        apart = {}
        for done, each in enumerate(rivals, 1):
            apart[each.name] = self.shop.closeness(self.candidates[each.name], each.name, pictures)
            self.watch.advance(done, len(rivals))
        return [replace(each, disagreement=apart.get(each.name)) for each in figures]

    def judge(self, ranking: Sequence[Figures]) -> Judged:
        """The winner meets the judging split; if it fails there, the best float candidate has one try."""
        self.watch.stage("judge")
        judged = self.judge_one(choose(ranking, self.request.budget))
        if judged.decision.verdict != "refuse" or "accuracy" not in judged.decision.binding:
            return judged
        second = fallback(ranking, self.request.budget)
        if second is None or second.name == judged.winner:
            return judged
        self.watch.note(f"{judged.decision.reason}; trying {second.name}")
        other = self.judge_one(second)
        if other.decision.verdict == "refuse":
            return judged
        lost = f"{judged.winner} lost {-judged.delta.map50_95.estimate:.2f} points on the judging split"
        reason = f"{lost}, so the float model ships: {other.decision.reason}"
        return replace(other, decision=replace(other.decision, reason=reason))

    def judge_one(self, winner: Figures) -> Judged:
        """A candidate meets the judging split, beside the baseline, and is measured once more."""
        samples = self.shop.dataset.split("val")
        pair = (BASELINE, winner.name)
        found = [self.shop.predictions("judge", name, self.candidates[name], samples, at, 2) for at, name in enumerate(pair)]
        self.watch.note(f"{winner.name} meets the judging split: {found[0].images} images")
        baseline, fitted, delta = self._compared(found[0], found[1])
        self.watch.stage("bench")
        jobs = [self._job(name, self.shop.threads) for name in dict.fromkeys(pair)]
        paired = self.shop.measurements(f"bench {winner.name}", jobs, FINAL_ROUNDS)
        final = paired[-1]
        figures = replace(
            winner,
            map50_95=fitted.report.map50_95 if self.labelled else None,
            delta_points=delta.map50_95.estimate,
            p50_ms=final.latency.p50,
            peak_mib=final.peak_mib,
            size_mb=final.size_bytes / 1e6,
        )
        decision = decide(figures, delta.map50_95, ratio(paired[0], final), self.request.budget, assumed=self._assumed)
        point = self._operating_point(winner.name, found[0], found[1])
        return Judged(winner.name, decision, delta, baseline, fitted, (found[0], found[1]), (*paired, *self._by_threads(pair)), point)

    def conclude(self, ranking: Sequence[Figures], judged: Judged) -> Evidence:
        """Everything the report and evidence.json are made from."""
        audit = self.shop.audit()
        return Evidence(
            request_budget=self.request.budget,
            board=self.shop.board,
            host=Board.detect(),
            threads=self.shop.threads,
            labelled=self.labelled,
            baseline=self.shop.baseline,
            fitted=self._with_threads(self.candidates[judged.winner], judged),
            judged=judged,
            ranking=tuple(ranking),
            candidates=self.candidates,
            overtaken=tuple(self.overtaken.values()),
            calibration=self.shop.calibration,
            audit=audit,
            exploration=self.exploration,
            recovery=self.recovery,
            sources={name: recipe.source for name, recipe in self.recipes.items()},
            regressions=find_regressions(judged.fitted, judged.baseline, seed=self.request.seed),
            selection_images=self.selection[BASELINE].predictions.images,
            warnings=tuple(self._all_warnings(judged, audit)),
            elapsed_s=self.shop.seconds,
            command=self.request.command,
        )

    def _with_threads(self, winner: Artifact, judged: Judged) -> Artifact:
        """The winner, told with how many threads to run: those it was measured with, or fewer where fewer do. Left open where all cores
        are best, so that a board with more of them uses them, and where another board will run it.
        """
        mine = [each for each in judged.measurements if each.job.name == judged.winner]
        best = best_threads({each.job.threads: each.latency.p50 for each in mine})
        if self.request.board is not None or (not self.request.threads and best == self.shop.cores):
            return winner
        return replace(winner, target={**winner.target, "threads": best})

    # --- parts of stages ----------------------------------------------------------------------------------------------------------------

    def _looks(self, recipes: Sequence[Recipe]) -> list[Look]:
        """Each recipe with the disagreement that it leaves, where its model can be made."""
        looks = []
        for done, recipe in enumerate(recipes, 1):
            made = self.shop.candidate(recipe)
            if made is not None:
                looks.append(Look(recipe, self.shop.disagreement(made, recipe.name)))
            self.watch.advance(done, len(recipes))
        return looks

    def _add(self, recipe: Recipe) -> bool:
        """Make the recipe's model a candidate, if it can be made."""
        made = self.shop.candidate(recipe)
        if made is not None:
            self.candidates[recipe.name] = made
            self.recipes[recipe.name] = recipe
        return made is not None

    def _integers_alone(self) -> Recipe | None:
        """The recipe all in integers, at the model's own size, whose model met the selection split and is fastest by the survey: layers are
        brought back to float in it. ONNX Runtime's, where there was no survey.
        """
        asked = self.exploration.base_recipe
        met = (self.recipes[name] for name in self.selection if name in self.recipes and not self.recipes[name].source)
        wanted = [each for each in met if (each.mode, each.ranges, each.silu_floor) == (asked.mode, asked.ranges, asked.silu_floor)]
        wanted = [each for each in wanted if not each.float_parts and each.size_wh is None and each.container == asked.container]
        return min(wanted, key=lambda each: self.glanced_ms.get(each.name, 0.0), default=None)

    def _score(self, name: str, part: int, parts: int) -> None:
        """Let a candidate meet the selection split; its agreement is with what the baseline, the first to come, said there."""
        found = self.shop.predictions("select", name, self.candidates[name], self.shop.selection, part, parts)
        baseline = found if name == BASELINE else self.selection[BASELINE].predictions
        agreement = evaluate_agreement(found, baseline).report.map50_95
        self.selection[name] = Scored(found, evaluate(found).report.map50_95 if self.labelled else None, agreement)

    def _tried(self, trial: FloatSet, part: int) -> list[FloatSet]:
        """The set with what its model did on the selection split; nothing where the model cannot be made."""
        name = trial.recipe.name
        if not self._add(trial.recipe):
            return []
        self._score(name, part, part + 1)
        return [replace(trial, delta_points=self.selection[name].points_over(self.selection[BASELINE]), within=self._keeps_accuracy(name))]

    def _keeps_accuracy(self, name: str) -> bool:
        return self.selection[name].points_over(self.selection[BASELINE]) >= -self.request.budget.max_drop

    def _compared(self, baseline: Predictions, fitted: Predictions) -> tuple[Evaluation, Evaluation, AccuracyDelta]:
        """Both evaluations and the change; without labels, the float model's boxes are the truth."""
        if self.labelled:
            before, after = evaluate(baseline), evaluate(fitted)
            return before, after, compare(after, before, seed=self.request.seed)
        before, after = (evaluate_agreement(each, baseline) for each in (baseline, fitted))
        return before, after, compare_by_agreement(fitted, baseline, seed=self.request.seed)

    def _operating_point(self, winner: str, baseline: Predictions, fitted: Predictions) -> OperatingPoint:
        """The threshold fitted on the selection split, and what it is worth on the judging split."""
        before = self.shop.baseline.threshold.score
        threshold = refit(self.selection[BASELINE].predictions, self.selection[winner].predictions, before)
        truth = baseline.truth if self.labelled else pseudo_truth(baseline, AGREE_ABOVE)
        baseline, fitted = replace(baseline, truth=truth), replace(fitted, truth=truth)
        return OperatingPoint(
            threshold,
            float_score=before,
            f1_float=f1_at(baseline, before),
            f1_before=f1_at(fitted, before),
            f1_after=f1_at(fitted, threshold.score, threshold.per_class),
            images=baseline.images,
        )

    @property
    def _assumed(self) -> tuple[str, ...]:
        """What the verdict would rest on without having been measured."""
        elsewhere = [] if self.request.board is None else [f"nothing was measured on {self.shop.board.name}"]
        return (*elsewhere, *([] if self.labelled else ["without labels accuracy is agreement with the float model"]))

    def _all_warnings(self, judged: Judged, audit: Mapping[str, Any]) -> Iterator[str]:
        yield from self.warnings
        yield from dict.fromkeys(self.shop.left_out)  # a recipe may be asked for more than once
        if self.shop.forms.raw is None:
            yield "the decode of this head was not understood, so it stays in the network, in float"
        asked, held = self.request.images or USUAL_IMAGES, len(self.shop.calibration.samples)
        if held < asked:
            yield f"only {held} train images to calibrate with ({asked} {'asked for' if self.request.images else 'are usual'})"
        if self.recovery and (learned_from := self.recovery[0].told["frames"]) < FEW_FRAMES:
            yield f"--recover learned from {learned_from} frames, those of train that nothing is chosen on; some hundreds are better"
        yield from (f"calibration: {finding['what']}" for finding in audit["findings"] if finding["severity"] != "info")
        seen = (self.selection[BASELINE].predictions, judged.predictions[0])
        yield from (f"skipped: {line}" for line in sorted({line for found in seen for line in found.broken}))
        yield from (f"damaged: {line}" for line in sorted({line for found in seen for line in found.damaged}))
        if len(judged.predictions[0].pictures) < FEW_IMAGES:
            yield f"only {len(judged.predictions[0].pictures)} images to judge on"
        if self.request.board is not None:
            yield f"fitted for {self.shop.board.name}, measured on this machine: latency and memory are this machine's"
            differences = self.shop.board.differs_from(Board.detect())
            if differences:
                yield f"accuracy was measured with other integer kernels than the board's: {'; '.join(differences)}"

    def _by_threads(self, pair: Iterable[str]) -> Iterator[Measurement]:
        """Baseline, winner and the dynamic model everyone tries first, by the number of threads.

        A count at a time, so that a small board never holds more than three models at once.
        """
        names = dict.fromkeys((*pair, *(name for name, artifact in self.candidates.items() if _is_dynamic(artifact))))
        for threads in thread_counts(self.shop.threads):
            # At the asked number of threads the pair has just been measured.
            jobs = [self._job(name, threads) for name in names if threads < self.shop.threads or name not in pair]
            if jobs:
                yield from self.shop.measurements(f"bench {threads} threads", jobs, CONTEXT_ROUNDS, GLANCE_MS)

    def _job(self, name: str, threads: int) -> Job:
        artifact = self.candidates[name]
        path, size = artifact.model_path, artifact.input.size_wh[0]
        return Job(name, path, artifact.engine, artifact.precision, threads, _scheme_name(artifact), size, artifact.beside)


def thread_counts(most: int) -> list[int]:
    """Every number of threads up to four, then doubling, and `most` itself: what a board of that many cores might be given."""
    return sorted({*range(1, min(most, 4) + 1), *(2**power for power in range(3, most.bit_length()) if 2**power < most), most})


def _at_the_pace_of(first: Measurement | None, baseline: Measurement, each: Measurement) -> Measurement:
    """A measurement from a later group, its times scaled as if the baseline had run as fast as it did in the first group."""
    if first is None:
        return each
    pace = first.latency.p50 / baseline.latency.p50
    return replace(each, rounds_ms=tuple(tuple(sample * pace for sample in block) for block in each.rounds_ms))


def _is_dynamic(artifact: Artifact) -> bool:
    return artifact.scheme is not None and artifact.scheme["recipe"]["mode"] == "dynamic"


def _scheme_name(artifact: Artifact) -> str | None:
    return None if artifact.scheme is None else str(artifact.scheme["recipe"]["name"])
