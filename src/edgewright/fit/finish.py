"""Lay down what the user asked for: artifact.json with its model, evidence.json, report.html."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgewright.artifact import FILE_NAME, Artifact, Threshold, describe_file
from edgewright.bench.report import Example, ReportMaterial, difference, render_report
from edgewright.data.images import read_image
from edgewright.fit.evidence import Evidence
from edgewright.fit.watch import Watch
from edgewright.fit.workspace import tidy
from edgewright.result_folder import publish, staging
from edgewright.whole_file import whole_file, write_whole

EXAMPLES = 12


def finish(evidence: Evidence, out: Path, work: Path, watch: Watch) -> Evidence:
    """Write everything into a staging folder, then move it into `out`. A refused fit leaves evidence and report, and no artifact."""
    watch.stage("report")
    staged = staging(work)
    if evidence.gives_artifact:
        fitted, fitted_threshold = evidence.fitted, evidence.judged.operating_point.threshold
        threshold = replace(fitted.threshold, score=fitted_threshold.score, per_class=fitted_threshold.per_class)
        evidence = replace(evidence, fitted=stage_artifact(fitted, evidence.baseline.name, threshold, staged))
    document = evidence.to_json()
    _write_json(staged / "evidence.json", document)
    write_whole(staged / "report.html", render_report(report_material(evidence, document)).encode("utf-8", "backslashreplace"))
    publish(staged, out)
    tidy(work)
    watch.advance(1, 1)
    return evidence


def report_material(evidence: Evidence, document: dict[str, Any]) -> ReportMaterial:
    """What the report shows."""
    judged = evidence.judged
    return ReportMaterial(
        title=evidence.baseline.name,
        evidence=document,
        latency_samples_ms={"baseline": judged.baseline_cost.samples_ms, "fitted": judged.fitted_cost.samples_ms},
        examples=_examples(evidence),
        command=evidence.command,
    )


def stage_artifact(made: Artifact, name: str, threshold: Threshold, staged: Path) -> Artifact:
    """Copy the model under a name that holds its digest, so that an older artifact.json never points at a newer model."""
    stem = f"model-{(made.files[0].sha256 if len(made.files) == 1 else made.digest.partition(':')[2])[:12]}"
    targets = [staged / f"{stem}{file.path.removeprefix(made.model_path.name.partition('.')[0])}" for file in made.files]
    for source, target, file in zip((made.model_path, *made.beside), targets, made.files, strict=True):
        with source.open("rb") as model, whole_file(target, needed_bytes=file.bytes) as stream:
            shutil.copyfileobj(model, stream)
    artifact = replace(made, name=name, threshold=threshold, files=tuple(describe_file(each, staged) for each in targets), folder=staged)
    _write_json(staged / FILE_NAME, artifact.to_json())
    return artifact


def _examples(evidence: Evidence) -> list[Example]:
    """The judging pictures on which the two models differ most."""
    before, after = evidence.judged.predictions
    score = evidence.fitted.threshold.score
    pairs = [(before.shown(at, score), after.shown(at, score)) for at in range(before.images)]
    apart = [difference(*pair) for pair in pairs]
    # Pictures with nothing on them show nothing; they come last.
    order = sorted(range(len(pairs)), key=lambda at: (-apart[at], -len(pairs[at][0])))[:EXAMPLES]
    return [Example(Path(before.pictures[at]).name, read_image(Path(before.pictures[at])), *pairs[at], apart[at]) for at in order]


def _write_json(path: Path, document: dict[str, Any]) -> None:
    write_whole(path, (json.dumps(document, indent=2) + "\n").encode())
