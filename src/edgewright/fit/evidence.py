"""What a fit has found, and the document that says so: evidence.json, whose keys are the contract."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from edgewright.accuracy.coco import Evaluation
from edgewright.accuracy.compare import AccuracyDelta
from edgewright.accuracy.predictions import Predictions
from edgewright.accuracy.regressions import Regressions
from edgewright.accuracy.threshold import FittedThreshold
from edgewright.artifact import Artifact
from edgewright.bench.measure import Measurement, ratio
from edgewright.board.profile import Board
from edgewright.data.calibration import CalibrationSet
from edgewright.engines import installed_engines
from edgewright.fit.budget import Budget
from edgewright.fit.choose import ABOUT_AS_FAST, BASELINE, Decision, Figures, violated, why_not
from edgewright.fit.explore import Exploration
from edgewright.fit.recovered import RecoveredStage, recovery_story
from edgewright.fit.survey import Overtaken
from edgewright.stats import units_to_settle
from edgewright.version import __version__

SCHEMA = 1
ENGINE_PACKAGES = {"openvino": "openvino", "mnn": "MNN", "ncnn": "ncnn"}
TOOLS = ("numpy", "onnx", "onnxruntime", "opencv-python-headless", "pycocotools", "simplejpeg")


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """The threshold fitted on the selection split, and what it is worth on the `images` of the judging split.

    F1 (0..1, IoU 0.5) of the float model at `float_score`, of the fitted model there, and of the fitted model at the new threshold.
    """

    threshold: FittedThreshold
    float_score: float
    f1_float: float
    f1_before: float
    f1_after: float
    images: int

    def to_json(self) -> dict[str, Any]:
        return {
            "score": self.threshold.score,
            "per_class": self.threshold.per_class,
            "float_score": self.float_score,
            "selection": self.threshold.to_json(),
            "judging": {"f1_float": self.f1_float, "f1_before": self.f1_before, "f1_after": self.f1_after, "images": self.images},
        }


@dataclass(frozen=True, slots=True)
class Judged:
    """The candidate that met the judging split, beside the baseline, with the final measurement."""

    winner: str
    decision: Decision
    delta: AccuracyDelta
    baseline: Evaluation
    fitted: Evaluation
    predictions: tuple[Predictions, Predictions]  # baseline, fitted
    measurements: tuple[Measurement, ...]  # baseline first; then the winner, unless it is the baseline; then others for context
    operating_point: OperatingPoint

    @property
    def baseline_cost(self) -> Measurement:
        return self.measurements[0]

    @property
    def fitted_cost(self) -> Measurement:
        return next(m for m in self.measurements if m.job.name == self.winner)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything known when a fit is done."""

    request_budget: Budget
    board: Board
    host: Board
    threads: int
    labelled: bool
    baseline: Artifact
    fitted: Artifact
    judged: Judged
    ranking: tuple[Figures, ...]  # on the selection split
    candidates: Mapping[str, Artifact]
    overtaken: tuple[Overtaken, ...]
    calibration: CalibrationSet
    audit: Mapping[str, Any]
    exploration: Exploration
    recovery: tuple[RecoveredStage, ...]
    sources: Mapping[str, str]  # the float network that each candidate is made of, as its recipe names it
    regressions: Regressions
    selection_images: int
    warnings: tuple[str, ...]
    elapsed_s: float
    command: str

    @property
    def ships(self) -> bool:
        """Whether the verdict allows the model out without reserve."""
        return self.judged.decision.verdict == "ship"

    @property
    def gives_artifact(self) -> bool:
        """Whether there is a model to hand over; a provisional one says in its evidence what was not measured."""
        return self.judged.decision.verdict != "refuse"

    def to_json(self) -> dict[str, Any]:
        """The document of `evidence.json`."""
        judged, decision = self.judged, self.judged.decision
        bar = -self.request_budget.max_drop
        delta = judged.delta.map50_95
        scheme = self.fitted.scheme
        return {
            "schema": SCHEMA,
            "verdict": decision.verdict,
            "binding": list(decision.binding),
            "reason": decision.reason,
            "accuracy_proven": decision.accuracy_proven,
            "images_needed": None if decision.accuracy_proven else units_to_settle(delta, bar, judged.delta.images),
            "budget": self.request_budget.to_json(),
            "host": {**self.host.to_json(), "versions": tool_versions()},
            "board": "host" if self.board == self.host else self.board.to_json(),
            "baseline": self._model_block(self.baseline, judged.baseline, judged.baseline_cost, has_truth=self.labelled),
            "fitted": {
                "name": judged.winner,
                **self._model_block(self.fitted, judged.fitted, judged.fitted_cost, has_truth=self.labelled),
                "runs_with_threads": self.fitted.threads,
                "scheme": scheme,
                "float_nodes": [] if scheme is None else scheme["float_nodes"],
            },
            "delta": judged.delta.to_json(),
            "speedup": {"p50": ratio(judged.baseline_cost, judged.fitted_cost).to_json()},
            "candidates": [self._candidate_row(figures) for figures in self.ranking],
            "overtaken": [{**each.to_json(), **self._form_of(each.name)} for each in self.overtaken],
            "calibration": {**self.calibration.to_json(), "selection_images": self.selection_images, "audit": dict(self.audit)},
            "threshold": judged.operating_point.to_json(),
            "regressions": self.regressions.to_json(),
            "exploration": self.exploration.to_json(),
            "recovery": recovery_story(self.recovery, self.ranking, self.sources),
            "measurements": [measurement.row() for measurement in judged.measurements],
            "rules": {"about_as_fast": ABOUT_AS_FAST},
            "lineage": {
                **self.fitted.lineage,
                "artifact_digest": self.fitted.digest if self.gives_artifact else None,
                "command": self.command,
            },
            "warnings": list(self.warnings),
            "elapsed_s": round(self.elapsed_s, 1),
        }

    @staticmethod
    def _model_block(artifact: Artifact, evaluation: Evaluation, cost: Measurement, *, has_truth: bool) -> dict[str, Any]:
        return {
            "engine": artifact.engine,
            "precision": artifact.precision,
            "map50": evaluation.report.map50 if has_truth else None,
            "map50_95": evaluation.report.map50_95 if has_truth else None,
            "latency_ms": cost.latency.to_json(),
            "peak_mib": round(cost.peak_mib, 1),
            "size_mb": round(cost.size_bytes / 1e6, 3),
            "threads": cost.job.threads,
        }

    def _candidate_row(self, figures: Figures) -> dict[str, Any]:
        base, winner = (next(each for each in self.ranking if each.name == name) for name in (BASELINE, self.judged.winner))
        broken = violated(figures, self.request_budget)
        verdict = self.judged.decision.verdict if figures.name == self.judged.winner else "refuse" if broken else "fits"
        return {
            "name": figures.name,
            **self._form_of(figures.name),
            "map50_95": None if figures.map50_95 is None else round(figures.map50_95, 5),
            "p50_ms": figures.p50_ms,
            "peak_mib": round(figures.peak_mib, 1),
            "verdict": verdict,
            "why": why_not(figures, winner, self.request_budget),
            "binding": list(broken),
            "delta_points": round(figures.delta_points, 3),
            "agreement": round(figures.agreement, 5),
            "disagreement": None if figures.disagreement is None else round(figures.disagreement, 5),
            "speedup": round(base.p50_ms / figures.p50_ms, 3),
            "size_mb": round(figures.size_mb, 3),
        }

    def _form_of(self, name: str) -> dict[str, Any]:
        """What a candidate is: where and how it computes, on what."""
        artifact = self.candidates[name]
        wide, high = artifact.input.size_wh
        return {
            "engine": artifact.engine,
            "precision": artifact.precision,
            "scheme": None if artifact.scheme is None else artifact.scheme["recipe"]["mode"],
            "threads": self.threads,
            "imgsz": wide,
            "size_wh": [wide, high],
            "source": self.sources.get(name, ""),
        }


def tool_versions() -> dict[str, str]:
    """Versions of everything that can change a figure."""
    beside = [package for engine, package in ENGINE_PACKAGES.items() if engine in installed_engines()]
    return {"edgewright": __version__, "python": platform.python_version(), **{name: metadata.version(name) for name in (*TOOLS, *beside)}}
