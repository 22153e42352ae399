"""The story of a recovery: the given network teaches what has been made of it, on frames that nobody labelled.

Change after change (`changes`), each is taught by the loop and written down before the next begins: `NN-name.onnx` with its facts beside
it, so that a recovery which was killed goes on in the middle of an exercise (its checkpoint) or at the next one. Held-out frames say when
to stop: a student that no longer comes nearer to its teacher there has learned what it can, and its best state is what is kept.
"""

import hashlib
import json
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # has no stubs
from torch.nn import functional

from edgewright.accuracy.agreement import evaluate_agreement
from edgewright.accuracy.coco import evaluate
from edgewright.accuracy.predictions import Predictions, class_translation, predict
from edgewright.artifact import Artifact
from edgewright.board.profile import Board, usable_cores
from edgewright.compress.candidates import FloatForms
from edgewright.data.dataset import Dataset, Sample, Truth
from edgewright.detector import Detector
from edgewright.engines import open_engine
from edgewright.errors import InputError
from edgewright.learn.cells import read_cells
from edgewright.learn.changes import Change, Exercise
from edgewright.learn.checkpoint import AGAIN
from edgewright.learn.curve import Check, Curve, best_of, checks_of
from edgewright.learn.loop import Schedule, Training
from edgewright.learn.losses import Loss, boxes_said, label_loss, teacher_loss
from edgewright.learn.material import Frames, LabelledBatch, to_input
from edgewright.learn.student import Student, check_teacher
from edgewright.learn.studio import CUT_STEP, Studio
from edgewright.learn.trainable import Trainable
from edgewright.printable import printable
from edgewright.regular_file import read_regular
from edgewright.whole_file import make_folder, write_whole

FEWEST_FRAMES = 32
FEWEST_A_PASS = 1536  # pictures: a pass over fewer frames goes over them more than once
BEST = ".best.onnx"
HELD_OUT_SHARE, FEWEST_HELD_OUT, MOST_HELD_OUT = 0.06, 8, 48
CUT = 0.65  # of the input's side: a convolution learns from cuts what it learns from the whole, in less than half of the time
PIXELS_A_BATCH = 16 * 416 * 416  # with 16 bits about 2 GB for YOLOv8n
FEWEST_IN_BATCH, MOST_IN_BATCH = 4, 32
CHECKS = 6  # of an exercise on the held-out frames
SHORTEST_WARMUP, LONGEST_WARMUP = 5, 30
MOST_FACTS_BYTES = 4 << 20
AVERAGED_OVER = 0.998


class Watch(Protocol):
    """Told of each stage, its steps, what is worth a line, and the figure that the stage is about, as it is now."""

    def stage(self, name: str) -> None: ...
    def advance(self, done: int, total: int) -> None: ...
    def note(self, text: str) -> None: ...
    def figure(self, text: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Material:
    """What to learn from: samples of `dataset`, whose labels are learned from only where `labels` says so."""

    dataset: Dataset
    frames: Sequence[Sample]
    labels: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """What one change made: the student, the curve of its exercise, what it decided and how long it took."""

    name: str
    student: Student
    path: Path
    checks: tuple[Check, ...]
    said: Mapping[str, Any]
    steps: int
    seconds: float
    peak_mib: float

    @property
    def agreement(self) -> float:
        """With the teacher, of what was kept."""
        return best_of(self.checks).agreement

    def to_json(self) -> dict[str, Any]:
        return {
            "change": self.name,
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            "peak_mib": round(self.peak_mib, 1),
            "agreement": self.agreement,
            "checks": [asdict(check) for check in self.checks],
            "size_wh": list(self.student.input.size_wh),
            "said": dict(self.said),
        }


class Recovery:
    """A network, its teacher, the frames, and a folder in which what is done is found again.

    Raises:
        InputError: too few frames, a teacher of another kind, or a network that cannot be trained.
    """

    def __init__(
        self,
        forms: FloatForms,
        material: Material,
        folder: Path,
        *,
        watch: Watch,
        teacher: FloatForms | None = None,
        engine: str = "onnxruntime",
        threads: int = 0,
        seed: int = 0,
        scale: float = 1.0,
    ) -> None:
        self.watch, self.folder, self.seed, self.scale = watch, folder, seed, scale
        make_folder(folder)
        self.baseline = forms.baseline
        self.lecturer = (teacher or forms).baseline
        self.student = Student.of(forms)
        taught_by = forms if teacher is None else teacher
        check_teacher(taught_by.baseline, forms.baseline)
        board, cores = Board.detect(), usable_cores()
        self.material, self.held_out = _hold_out(material, seed)
        size_wh, batch = _batch_of(self.student.input.size_wh)
        frames = Frames([sample.image for sample in self.material.frames], self.student.input, size_wh, seed=seed, batch=batch)
        lecturer = Student.of(taught_by)
        torch.set_num_threads(cores)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.bfloat16 = device.type == "cuda" or bool({"bf16", "amx_int8"} & board.isa)
        self.studio = Studio(
            baseline=forms.baseline,
            teacher=_laid_out(lecturer.trainable(size_wh), device).requires_grad_(False),
            teacher_head=lecturer.head,
            student_head=self.student.head,
            frames=frames,
            paths=frames.paths,
            folder=folder,
            engine=engine,
            board=board,
            threads=threads or cores,
            cores=cores,
            device=device,
        )
        self._taught: Predictions | None = None
        self._identity = _digest([
            forms.baseline.digest, taught_by.baseline.digest, [str(path) for path in frames.paths], seed, scale, engine,
            torch.__version__, cores, device.type, self.bfloat16, material.labels,
        ])  # fmt: skip

    def run(self, changes: Sequence[Change]) -> list[Stage]:
        """Change after change, as `_run` says; numbers too small to matter count as zero meanwhile, which spares processors a slow path."""
        torch.set_flush_denormal(True)
        try:
            return self._run(changes)
        finally:
            torch.set_flush_denormal(False)  # it holds for all that this process computes

    def _run(self, changes: Sequence[Change]) -> list[Stage]:
        """Change after change; each stage as it was left, those that an earlier run had finished recalled.

        Raises:
            InputError: none of the changes changes anything.
        """
        stages: list[Stage] = []
        student, before = self.student, self._identity
        for change in changes:
            if (why := change.needless(student)) is not None:
                self.watch.note(f"{change.name} is left out: {why}")
                continue
            before = _digest([before, repr(change)])
            stem = self.folder / f"{len(stages) + 1:02}-{_slug(change.name)}-{before[:8]}"
            stage = self._recalled(stem, change) or self._taught_stage(stem, change, student)
            stages.append(stage)
            student = stage.student
        if not stages:
            names = ", ".join(change.name for change in changes)
            raise InputError(f"nothing in this network is changed by {names}", fix="name other changes")
        return stages

    @property
    def tools(self) -> dict[str, str]:
        """What it was computed with: the same tools, seed and threads give the same weights on the same machine."""
        return {
            "torch": torch.__version__,
            "threads": str(self.studio.cores),
            "precision": "bfloat16" if self.bfloat16 else "float32",
            "device": self.studio.device.type,
        }

    # --- a stage ------------------------------------------------------------------------------------------------------------------------

    def _taught_stage(self, stem: Path, change: Change, student: Student) -> Stage:
        torch.manual_seed(self.seed)
        began = time.monotonic()
        self.watch.stage(f"{change.name}: prepare")
        exercise = change.begin(student, self.studio, self.watch.advance)
        prepared_s = time.monotonic() - began
        pictures = max(len(self.studio.paths), FEWEST_A_PASS)
        steps = max(1, round(change.epochs * self.scale * pictures / self.studio.frames.batch))
        warmup = int(np.clip(steps // 20, SHORTEST_WARMUP, LONGEST_WARMUP))
        schedule = Schedule(
            steps, change.learning_rate, 0.0, warmup, AVERAGED_OVER, save_every=max(1, steps // (2 * CHECKS)), bfloat16=self.bfloat16
        )
        lesson = _Lesson(self.studio, exercise, steps, self.material, student)
        training = Training(_laid_out(exercise.model, self.studio.device), schedule, lesson)
        checkpoint = stem.with_suffix(".safetensors")
        curve = Curve.read(stem.with_suffix(".curve.json"))
        if checkpoint.exists():
            training.resume(checkpoint)
            self.watch.note(f"{change.name}: going on from step {training.step} of {steps}")
        self.watch.stage(change.name)
        every = max(1, -(-steps // CHECKS))
        while True:
            # A run that was killed between its checkpoint and this look looks now: what is kept is what would have been.
            if training.step and (training.step % every == 0 or training.is_done) and not curve.has(training.step):
                self._look(exercise, training, curve, stem)
            if training.is_done or curve.is_over:
                break
            training.train(checkpoint=checkpoint, report=self._report(steps), stop_after=every - training.step % every)
        best = stem.with_suffix(BEST)
        learned = exercise.finish(training.average).with_weights_of(_kept_in(best))
        path = stem.with_suffix(".onnx")
        write_whole(path, learned.with_ranges().SerializeToString())
        seconds = prepared_s + training.elapsed_s + curve.seconds
        stage = Stage(change.name, learned, path, tuple(curve.checks), exercise.said, training.step, seconds, _peak_mib())
        write_whole(stem.with_suffix(".json"), json.dumps(stage.to_json()).encode())
        for leftover in (checkpoint, stem.with_suffix(".curve.json"), best):
            leftover.unlink(missing_ok=True)
        return stage

    def _look(self, exercise: Exercise, training: Training[Trainable, LabelledBatch], curve: Curve, stem: Path) -> None:
        """Hold the averaged student against its teacher on frames that it does not learn from, and keep it if it is the best so far."""
        began = time.monotonic()
        average = training.average
        exercise.at(average, 1.0)
        student = exercise.finish(average)
        check = self._checked(student, training.step, stem.with_suffix(".trial.onnx"))
        curve.checks.append(check)
        curve.seconds += time.monotonic() - began
        if check is best_of(curve.checks):
            write_whole(stem.with_suffix(BEST), student.with_ranges().SerializeToString())
        curve.write(stem.with_suffix(".curve.json"))
        figures = "" if check.map50 is None else f", mAP50 {check.map50:.3f}"
        self.watch.figure(f"agreement {check.agreement:.3f}{figures}")
        self.watch.note(f"step {check.step} of {training.schedule.steps}: agreement with the teacher {check.agreement:.3f}{figures}")

    def _checked(self, student: Student, step: int, path: Path) -> Check:
        artifact = student.laid_down(self.baseline, path)
        try:
            found = self._predictions(artifact)
        finally:
            path.unlink()
        if self._taught is None:
            self._taught = self._predictions(self.lecturer)
        agreement = evaluate_agreement(found, self._taught).report.map50_95
        if not self.material.dataset.labelled:
            return Check(step, agreement)
        report = evaluate(found).report
        return Check(step, agreement, report.map50, report.map50_95)

    def _predictions(self, artifact: Artifact) -> Predictions:
        """What a student, or the teacher, says of the held-out frames."""
        with Detector(artifact, open_engine("onnxruntime", artifact.model_path, threads=self.studio.cores)) as detector:
            return predict(detector, self.material.dataset, self.held_out)

    def _report(self, steps: int) -> Callable[[int, Loss, float], None]:
        return lambda step, _loss, _seconds: self.watch.advance(step, steps)

    def _recalled(self, stem: Path, change: Change) -> Stage | None:
        """A stage that an earlier run finished with the very same inputs."""
        path, told = stem.with_suffix(".onnx"), stem.with_suffix(".json")
        if not (path.is_file() and told.is_file()):
            return None
        try:
            facts = json.loads(read_regular(told, MOST_FACTS_BYTES))
            wide, high = (int(side) for side in facts["size_wh"])
            student = self.student.of_size((wide, high)).with_weights_of(onnx.load(path))
            checks = tuple(checks_of(facts["checks"]))
            return Stage(
                change.name,
                student,
                path,
                checks,
                dict(facts["said"]),
                int(facts["steps"]),
                float(facts["seconds"]),
                float(facts["peak_mib"]),
            )
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError, DecodeError):
            return None


class _Lesson:
    """Frames, and what the teacher says of them; with labels, those as well."""

    def __init__(self, studio: Studio, exercise: Exercise, steps: int, material: Material, student: Student) -> None:
        self._studio, self._exercise, self._steps = studio, exercise, steps
        self._material = material
        self._size_wh = studio.size_of_cuts(exercise.input or student.input)
        of_model = class_translation(studio.baseline.classes, material.dataset.classes)  # the model's classes, as the data set numbers them
        self._of_data = {int(number): at for at, number in enumerate(of_model) if number >= 0}

    def batch(self, step: int) -> LabelledBatch:
        frames = self._studio.frames
        return frames.labelled(step, self._truth) if self._material.labels else LabelledBatch(frames.pictures(step))

    def _truth(self, index: int, size_wh: tuple[int, int]) -> Truth:
        """What is in a frame, its classes as the network numbers them."""
        found = self._material.frames[index].truth(size_wh, len(self._material.dataset.classes))
        return replace(found, class_ids=np.array([self._of_data[int(number)] for number in found.class_ids], np.int64))

    def loss(self, model: Trainable, batch: LabelledBatch, step: int) -> Loss:
        self._exercise.at(model, step / self._steps)
        images = to_input(batch.pictures, self._studio.frames.input).to(self._studio.device)
        truth = None if batch.truth is None else batch.truth.to(self._studio.device)
        taught = self._studio.taught(images)
        if self._size_wh == self._studio.frames.size_wh:
            cells = read_cells(self._studio.student_head, model(images))
            loss = teacher_loss(cells, taught)
            return loss if truth is None else loss + label_loss(cells, truth)
        # A student that sees less pixels has other cells than its teacher, and learns from its boxes.
        wide, high = self._size_wh
        cells = read_cells(self._studio.student_head, model(functional.interpolate(images, (high, wide), mode="area")))
        factor = wide / self._studio.frames.size_wh[0]
        loss = label_loss(cells, boxes_said(taught).scaled(factor))
        return loss if truth is None else loss + label_loss(cells, truth.scaled(factor))


def _kept_in(path: Path) -> onnx.ModelProto:
    """The best student so far.

    Raises:
        InputError: it is not there any more, or no network.
    """
    try:
        return onnx.load(path)
    except (OSError, DecodeError) as error:
        raise InputError(f"{printable(str(path), 300)} is not the network that was kept there", fix=AGAIN) from error


def _peak_mib() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _hold_out(material: Material, seed: int) -> tuple[Material, list[Sample]]:
    """The frames to learn from, and a few to say when to stop.

    Raises:
        InputError: there are too few.
    """
    samples = list(material.frames)
    if len(samples) < FEWEST_FRAMES:
        raise InputError(
            "too few frames to learn from",
            got=f"{len(samples)}",
            expected=f"at least {FEWEST_FRAMES}, better some hundreds",
            fix="record more",
        )
    count = int(np.clip(round(len(samples) * HELD_OUT_SHARE), FEWEST_HELD_OUT, MOST_HELD_OUT))
    drawn = set(np.random.default_rng([seed, 2]).permutation(len(samples))[:count].tolist())
    kept = tuple(sample for at, sample in enumerate(samples) if at not in drawn)
    return replace(material, frames=kept), [samples[at] for at in sorted(drawn)]


def _batch_of(input_wh: tuple[int, int]) -> tuple[tuple[int, int], int]:
    """The size of cuts, and how many make a batch: as many pixels, whatever the network's input."""
    wide, high = (min(side, -(-round(side * CUT) // CUT_STEP) * CUT_STEP) for side in input_wh)
    return (wide, high), int(np.clip(PIXELS_A_BATCH // (wide * high), FEWEST_IN_BATCH, MOST_IN_BATCH))


def _laid_out(model: Trainable, device: torch.device) -> Trainable:
    """There, in the memory layout that convolutions run fastest in."""
    model.to(device)
    for weight in model.parameters():
        if weight.ndim == 4:  # a graph may hold constants of five axes, which have no such layout
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return model


def _digest(document: Any) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)
