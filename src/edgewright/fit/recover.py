"""`recover`: a detector in ONNX and a folder of frames in, a changed detector out that answers as the given one does.

The student learns in `learn.recover`; here it is opened, judged on pictures that it did not learn from, and laid down with its evidence.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.accuracy.agreement import AGREE_ABOVE, compare_by_agreement, evaluate_agreement
from edgewright.accuracy.coco import evaluate
from edgewright.accuracy.compare import compare
from edgewright.accuracy.predictions import Predictions, predict
from edgewright.artifact import Artifact
from edgewright.board.profile import Board, usable_cores
from edgewright.compress.candidates import FloatForms, prepare_float_forms
from edgewright.compress.schemes import integer_schemes
from edgewright.data.audit import audit
from edgewright.data.calibration import CalibrationSet
from edgewright.data.dataset import Dataset, Sample
from edgewright.detector import Detector
from edgewright.engines import engine_module, open_engine
from edgewright.errors import InputError
from edgewright.fit.evidence import tool_versions
from edgewright.fit.finish import stage_artifact
from edgewright.fit.opening import open_float_model, open_material
from edgewright.fit.watch import Silent, Watch
from edgewright.fit.workspace import workspace
from edgewright.graph.cost import mac_count, parameter_count
from edgewright.graph.load import load_model
from edgewright.learn.extra import need_torch
from edgewright.result_folder import RECOVER, publish, staging
from edgewright.whole_file import make_folder, remove, write_whole

SCHEMA = 1
LOOKED_AT = 64  # frames on which the teacher is asked whether it knows this domain
SEES_SOMETHING = 0.1  # the share of frames in which a detector of this domain finds anything
MOST_JUDGED = 2000
LEARNED_LITTLE = 0.5  # of agreement


@dataclass(frozen=True, slots=True)
class RecoverRequest:
    """What to make of which model, with which frames.

    `data`: a folder of frames or a data set, whose val split only judges; `recipe`: as `learn.recipe` reads it; `teacher`: another detector
    of the same classes (None: the model itself); `engine`: the runtime that the student is for; `scale`: of every change's passes over
    the frames; `labels`: whether the data set's labels may be learned from as well.
    """

    model: Path
    data: Path
    out: Path
    recipe: str = "swap"
    teacher: Path | None = None
    engine: str = "onnxruntime"
    threads: int = 0
    seed: int = 0
    scale: float = 1.0
    labels: bool = False
    resume: bool = False


@dataclass(frozen=True, slots=True)
class Recovered:
    """The artifact in the folder asked for, and everything that is in `recovery.json`."""

    artifact: Artifact
    document: Mapping[str, Any]


def recover(request: RecoverRequest, *, watch: Watch | None = None) -> Recovered:
    """Change a detector as the recipe says, and let it learn its answers back.

    Raises:
        InputError: the model, the frames, the recipe, the teacher or the folder cannot be used.
        HostError: PyTorch or the engine is missing.
    """
    need_torch()
    from edgewright.learn.recipe import parse_recipe  # noqa: PLC0415 - heavy, and an extra
    from edgewright.learn.recover import Material, Recovery  # noqa: PLC0415

    watch = watch or Silent()
    changes = parse_recipe(request.recipe)
    engine_module(request.engine).version()  # or it says which engine is missing, and what to install
    if not integer_schemes(request.engine, Board.detect().isa):
        expected = "onnxruntime, or openvino on x86 with AVX2"
        raise InputError(f"{request.engine} computes in no integers that a network can be trained for here", expected=expected)
    baseline, dataset, warnings = open_material(request.model, request.data)
    if request.labels and not dataset.labelled:
        raise InputError("--labels has no labels to learn from", got=f"{request.data}, pictures alone", fix="leave it out")
    teacher = None if request.teacher is None else open_float_model(request.teacher)
    with workspace(request.out, resume=request.resume, name=RECOVER) as work:
        watch.stage("open")
        forms = _forms(baseline, work / "given")
        taught_by = None if teacher is None else _forms(teacher, work / "teacher")
        watch.stage("look at the frames")
        warnings += _doubts(dataset, teacher or baseline, request.seed, watch)
        recovery = Recovery(
            forms,
            Material(dataset, dataset.split("train"), request.labels),
            work / "stages",
            watch=watch,
            teacher=taught_by,
            engine=request.engine,
            threads=request.threads,
            seed=request.seed,
            scale=request.scale,
        )
        stages = recovery.run(changes)
        made = stages[-1].student.laid_down(baseline, work / "recovered.onnx")
        watch.stage("judge")
        judged = _judge(baseline, made, dataset, watch)
        warnings += _shortfall(judged["agreement"]["map50_95"])
        document = {
            "schema": SCHEMA,
            "model": {"name": baseline.name, "digest": baseline.digest},
            "teacher": {"name": (teacher or baseline).name, "digest": (teacher or baseline).digest},
            "recipe": [stage.name for stage in stages],
            "engine": request.engine,
            "seed": request.seed,
            "frames": {"learned_from": len(recovery.studio.paths), "held_out": len(recovery.held_out), "labels": request.labels},
            "stages": [stage.to_json() for stage in stages],
            **judged,
            "size": {"before": _size(baseline), "after": _size(made)},
            "warnings": warnings,
            "tools": tool_versions() | recovery.tools,
            "peak_mib": max(round(stage.peak_mib, 1) for stage in stages),
            "elapsed_s": round(sum(stage.seconds for stage in stages), 1),
        }
        staged = staging(work)
        lineage = {**baseline.lineage, "recovered": {"recipe": document["recipe"], "seed": request.seed}}
        artifact = stage_artifact(replace(made, lineage=lineage), baseline.name, baseline.threshold, staged)
        write_whole(staged / "recovery.json", (json.dumps(document, indent=2) + "\n").encode())
        publish(staged, request.out)
        for given in ("given", "teacher"):
            remove(work / given)
        return Recovered(replace(artifact, folder=request.out), document)


def _forms(artifact: Artifact, folder: Path) -> FloatForms:
    make_folder(folder)
    return prepare_float_forms(artifact, folder)


def _doubts(dataset: Dataset, teacher: Artifact, seed: int, watch: Watch) -> list[str]:
    """What is odd about the frames: the audit's findings, and a teacher that sees nothing in them."""
    samples = dataset.split("train")
    drawn = np.random.default_rng([seed, 3]).permutation(len(samples))[:LOOKED_AT]
    few = tuple(samples[at] for at in sorted(drawn))
    found = audit(dataset, CalibrationSet(few, (), seed), progress=watch.advance) if few else None
    doubts = [f"frames: {finding.what}" for finding in (found.findings if found else ()) if finding.code.startswith("domain-")]
    said = _predictions(teacher, dataset, few)
    seeing = sum(len(said.shown(at, AGREE_ABOVE)) > 0 for at in range(said.images))
    if said.images and seeing < SEES_SOMETHING * said.images:
        doubts.append(
            f"the teacher finds something in {seeing} of {said.images} frames: it can teach nothing on pictures of another domain"
        )
    return doubts


def _judge(baseline: Artifact, made: Artifact, dataset: Dataset, watch: Watch) -> dict[str, Any]:
    """Both models on the val split, which nobody learned from; without labels, the given model's boxes are the truth there."""
    samples = dataset.split("val")[:MOST_JUDGED]
    before = _predictions(baseline, dataset, samples, watch, 0)
    after = _predictions(made, dataset, samples, watch, 1)
    agreement = evaluate_agreement(after, before).report
    if not dataset.labelled:
        delta = compare_by_agreement(after, before)
        return {
            "accuracy": "agreement with the given model: there are no labels, so this is no mAP",
            "judged_on": before.images,
            "before": None,
            "after": None,
            "agreement": {"map50": agreement.map50, "map50_95": agreement.map50_95},
            "delta": delta.to_json(),
        }
    first, second = evaluate(before), evaluate(after)
    return {
        "accuracy": "mAP on the val split, which nothing was learned from",
        "judged_on": before.images,
        "before": {"map50": first.report.map50, "map50_95": first.report.map50_95},
        "after": {"map50": second.report.map50, "map50_95": second.report.map50_95},
        "agreement": {"map50": agreement.map50, "map50_95": agreement.map50_95},
        "delta": compare(second, first).to_json(),
    }


def _shortfall(agreement: float) -> Iterator[str]:
    """What to do about a student that has not learned what it was to learn."""
    if agreement < LEARNED_LITTLE:
        yield (
            f"the student has not learned the given model's answers (agreement {agreement:.2f} of 1): give it more frames or more passes "
            "(--effort), or change less (swap=hardswish, a smaller prune)"
        )


def _predictions(
    artifact: Artifact, dataset: Dataset, samples: tuple[Sample, ...], watch: Watch | None = None, part: int = 0
) -> Predictions:
    def advance(done: int, total: int) -> None:
        if watch is not None:
            watch.advance(part * total + done, 2 * total)

    with Detector(artifact, open_engine("onnxruntime", artifact.model_path, threads=usable_cores())) as detector:
        return predict(detector, dataset, samples, progress=advance)


def _size(artifact: Artifact) -> dict[str, Any]:
    model = load_model(artifact.model_path)
    return {"macs": mac_count(model), "parameters": parameter_count(model), "bytes": artifact.size_bytes}
