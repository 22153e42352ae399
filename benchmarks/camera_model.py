"""Remake docs/camera.md: what do cameras cost a detector, and does calibrating through the camera help its INT8 model?

    python benchmarks/camera_model.py          # measure (about 8 minutes on 2 cores), then render
    python benchmarks/camera_model.py render   # the page only, from benchmarks/results/camera.json

It needs the test data (EDGEWRIGHT_TEST_DATA, default ../shared/data).
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.accuracy.agreement import AGREE_ABOVE
from edgewright.accuracy.coco import Evaluation, evaluate
from edgewright.accuracy.compare import compare
from edgewright.accuracy.predictions import Predictions, predict, pseudo_truth
from edgewright.artifact import Artifact
from edgewright.board.profile import Board, usable_cores
from edgewright.compress.candidates import FloatForms, describe_candidate, make_model, prepare_float_forms, watch_ranges
from edgewright.compress.recipes import INT8, PLAIN
from edgewright.data.audit import looks_of, shifts
from edgewright.data.calibration import CalibrationSet, choose_calibration
from edgewright.data.cameras import PRESETS, through_camera
from edgewright.data.dataset import Dataset, LabelledImage, Sample, open_dataset
from edgewright.data.images import read_image
from edgewright.detector import Detector, artifact_of_model
from edgewright.engines import open_engine
from edgewright.fit.evidence import tool_versions
from edgewright.progress import unseen

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("EDGEWRIGHT_TEST_DATA", ROOT.parent / "shared" / "data"))
RESULT = ROOT / "benchmarks" / "results" / "camera.json"
PAGE = ROOT / "docs" / "camera.md"
CAMERAS = ("dim-line", "fast-line", "cheap-usb")
CLEAN = "none"
CALIBRATION_IMAGES = 64
SEED = 0
# Model, data set, and how many of its val pictures: drawn, since the harder ones of DeepPCB lie at the end of the list.
CASES = {
    "YOLOv8n on COCO": ("yolov8n.onnx", "coco", 128),
    "YOLOv8n trained on DeepPCB": ("pcb_yolov8n.onnx", "deeppcb", 150),
}


@dataclass(frozen=True, slots=True)
class Held(Dataset):
    """A data set whose pictures of one split have been through the camera once, for every model to look at."""

    pictures: tuple[LabelledImage, ...] = ()

    def stream(self, samples: Sequence[Sample], *, broken: list[str] | None = None) -> Iterator[LabelledImage]:
        del samples, broken
        return iter(self.pictures)


def hold(dataset: Dataset, samples: Sequence[Sample], camera: str) -> Held:
    """The samples as the camera sees them."""
    seen = through_camera(dataset, PRESETS[camera], SEED)
    return Held(**{each.name: getattr(dataset, each.name) for each in fields(dataset)}, pictures=tuple(seen.stream(samples)))


def measure(model: Path, dataset: Dataset, most: int) -> dict[str, Any]:
    """Float and INT8 models, calibrated clean and through each camera, judged clean and through it."""
    val = dataset.split("val")
    drawn = np.random.default_rng(SEED).permutation(len(val))[:most]
    samples = [val[at] for at in sorted(drawn.tolist())]
    chosen = choose_calibration(dataset, CALIBRATION_IMAGES, SEED)
    sets = {camera: chosen if camera == CLEAN else replace(chosen, camera=PRESETS[camera]) for camera in (CLEAN, *CAMERAS)}
    clean_looks = looks_of([s.image for s in chosen.samples], read_image)
    float_map, audit, rows = {}, {}, []
    with tempfile.TemporaryDirectory() as folder:
        baseline = artifact_of_model(model)
        forms = prepare_float_forms(baseline, Path(folder))
        models = quantized(forms, sets, Path(folder))
        for judged in (CLEAN, *CAMERAS):
            data = hold(dataset, samples, judged)
            images = {picture.sample.image: picture.image_rgb for picture in data.pictures}
            seen = shifts(clean_looks, looks_of(list(images), images.__getitem__))
            audit[judged] = [name for name, shift in seen.items() if shift.differs]
            reference = look(baseline, data, samples)
            float_map[judged] = evaluate(reference).report.map50_95
            truth = pseudo_truth(reference, AGREE_ABOVE)
            for recipe in (INT8, PLAIN):
                by_set = {}
                for calibrated in (CLEAN, *(CAMERAS if judged == CLEAN else (judged,))):
                    by_set[calibrated] = look(models[recipe.name, calibrated], data, samples)
                rows += [row(recipe.name, judged, calibrated, by_set, evaluate(reference), truth) for calibrated in by_set]
                print(json.dumps(rows[-1]), flush=True)
    return {"images": len(samples), "float": float_map, "audit": audit, "rows": rows}


def quantized(forms: FloatForms, sets: dict[str, CalibrationSet], folder: Path) -> dict[tuple[str, str], Artifact]:
    """The INT8 models by recipe and by what they were calibrated through."""
    board, cores, models = Board.detect(), usable_cores(), {}
    for camera, calibration in sets.items():
        statistics = watch_ranges(forms, INT8, calibration, folder / "scratch.onnx", cores, unseen)
        for recipe in (INT8, PLAIN):
            path = folder / camera / recipe.name / "model.onnx"
            path.parent.mkdir(parents=True)
            make_model(forms, recipe, statistics, {}, board, path)
            models[recipe.name, camera] = describe_candidate(
                forms, recipe, path, board, calibration_digest=calibration.digest, tools=tool_versions()
            )
    return models


def look(artifact: Artifact, dataset: Dataset, samples: Sequence[Sample]) -> Predictions:
    """What the model says about the pictures."""
    with Detector(artifact, open_engine("onnxruntime", artifact.model_path, threads=usable_cores())) as detector:
        return predict(detector, dataset, samples)


def row(recipe: str, judged: str, calibrated: str, by_set: dict[str, Predictions], reference: Evaluation, truth: Any) -> dict[str, Any]:
    """The figures of one INT8 model on one kind of picture."""
    found, clean = by_set[calibrated], by_set[CLEAN]
    agreed, agreed_clean = (evaluate(replace(each, truth=truth)) for each in (found, clean))
    return {
        "recipe": recipe,
        "judged": judged,
        "calibrated": calibrated,
        "map50_95": evaluate(found).report.map50_95,
        "against_float": compare(evaluate(found), reference).map50_95.to_json(),
        "against_clean": compare(evaluate(found), evaluate(clean)).map50_95.to_json(),
        "agreement": agreed.report.map50_95,
        "agreement_against_clean": compare(agreed, agreed_clean).map50_95.to_json(),
    }


def record() -> None:
    """Measure every case and write the result."""
    began = time.monotonic()
    cases = {}
    for name, (model, data, most) in CASES.items():
        print(name, flush=True)
        cases[name] = measure(DATA / "models" / model, open_dataset(DATA / data / "data.yaml"), most)
    document = {
        "commit": _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain", "--", "src") else ""),
        "host": Board.detect().to_json(),
        "versions": tool_versions(),
        "seconds": round(time.monotonic() - began),
        "calibration_images": CALIBRATION_IMAGES,
        "seed": SEED,
        "cases": cases,
    }
    RESULT.write_text(json.dumps(document, indent=1) + "\n")


def render() -> None:
    """Write docs/camera.md from the result."""
    document = json.loads(RESULT.read_text())
    host = document["host"]
    footer = (
        f"Remake: `python benchmarks/camera_model.py`. Commit {document['commit']}, {host['cpu']}, {host['cores']} cores, "
        f"onnxruntime {document['versions']['onnxruntime']}, {document['seconds']} s; {document['calibration_images']} calibration images, "
        f"seed {document['seed']}."
    )
    PAGE.write_text("\n\n".join([HEADER, summary(document), *(section(*each) for each in document["cases"].items()), footer]) + "\n")


HEADER = """# Calibrating through the camera: when it helps

Rendered by `benchmarks/camera_model.py` from `benchmarks/results/camera.json`; the figures and the sentences that hold them are not
typed by hand. `edgewright calibrate --camera` and `edgewright eval --camera` see pictures as a described camera would take them
([what a camera is](reference/calibrate.md#a-camera)). Here each detector is judged on val pictures as they are and through three cameras;
its INT8 models are calibrated on the same 64 train pictures, as they are or through the camera they are judged through. Points of
mAP50-95; intervals are 95 % (paired bootstrap over pictures)."""


def summary(document: dict[str, Any]) -> str:
    """What the tables say, counted."""
    rows = [each for case in document["cases"].values() for each in case["rows"]]
    counted = []
    for recipe in (INT8, PLAIN):
        of_recipe = [each for each in rows if each["recipe"] == recipe.name]
        right = [each for each in of_recipe if each["judged"] == each["calibrated"] != CLEAN]
        wrong = [each for each in of_recipe if each["judged"] == CLEAN != each["calibrated"]]
        for what, each in (("the camera it is judged through", right), ("a camera that is not there, judged clean", wrong)):
            counted.append([recipe.name, what, *_told(each, "against_clean"), *_told(each, "agreement_against_clean")])
    columns = (
        "recipe",
        "calibrated through",
        "mAP50-95: better / worse / not told",
        "mean",
        "agreement: better / worse / not told",
        "mean",
    )
    return (
        "## In short\n\nAgainst the same recipe calibrated on the pictures as they are, in points; better and worse are those whose "
        "interval leaves out zero (of forty such intervals one does so by chance on either side):\n\n"
        f"{_table(columns, counted)}\n\n{_camera_costs(document)}"
    )


def _told(rows: Sequence[dict[str, Any]], key: str) -> tuple[str, str]:
    better, worse = sum(each[key]["low"] > 0 for each in rows), sum(each[key]["high"] < 0 for each in rows)
    mean = sum(each[key]["estimate"] for each in rows) / len(rows)
    return f"{better} / {worse} / {len(rows) - better - worse}", f"{mean:+.2f}"


def _camera_costs(document: dict[str, Any]) -> str:
    losses = [
        (100 * (case["float"][CLEAN] - value), camera, name)
        for name, case in document["cases"].items()
        for camera, value in case["float"].items()
        if camera != CLEAN
    ]
    (most, *worst), (least, *mildest) = max(losses), min(losses)
    return (
        f"The camera itself costs the float model from {least:.1f} points ({', '.join(mildest)}) to {most:.1f} ({', '.join(worst)}): "
        "calibration cannot bring back what a picture does not hold. Train on such pictures, or mend the light."
    )


def section(name: str, case: dict[str, Any]) -> str:
    """The tables of a detector."""
    seen = [
        [camera, f"{value:.4f}", f"{(value - case['float'][CLEAN]) * 100:+.1f}", ", ".join(case["audit"][camera]) or "nothing"]
        for camera, value in case["float"].items()
    ]
    figures = [
        [
            each["recipe"], each["judged"], each["calibrated"], f"{each['map50_95']:.4f}", _span(each["against_float"]),
            "" if each["calibrated"] == CLEAN else _span(each["against_clean"]), f"{each['agreement']:.3f}",
            "" if each["calibrated"] == CLEAN else _span(each["agreement_against_clean"]),
        ]
        for each in case["rows"]
    ]  # fmt: skip
    columns = (
        "recipe",
        "judged through",
        "calibrated through",
        "mAP50-95",
        "against float",
        "against clean calibration",
        "agreement",
        "its change",
    )
    return (
        f"## {name}, {case['images']} val pictures\n\nThe float model, and in which features the audit (`calibrate --against`) finds "
        "clean calibration pictures unlike these:\n\n"
        f"{_table(('judged through', 'mAP50-95', 'points', 'audit: differs in'), seen)}\n\n"
        f"The INT8 models; agreement takes the float model's boxes above {AGREE_ABOVE} on the same pictures as truth:\n\n"
        f"{_table(columns, figures)}"
    )


def _span(interval: dict[str, float]) -> str:
    return f"{interval['estimate']:+.2f} ({interval['low']:+.2f} to {interval['high']:+.2f})"


def _table(columns: Sequence[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S607


def main() -> None:
    """Measure if asked, then render."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("all", "render"), default="all")
    if parser.parse_args().what == "all":
        record()
    render()


if __name__ == "__main__":
    main()
