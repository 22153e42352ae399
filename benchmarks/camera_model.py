"""Remake docs/camera.md: what do cameras cost a detector, and does calibrating through the camera help its INT8 model?

    python benchmarks/camera_model.py              # measure (about 10 minutes on 2 quiet cores), then render
    python benchmarks/camera_model.py coco render  # one case, then the page from benchmarks/results/camera.json

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
from edgewright.data.audit import Looks, looks_of, shifts
from edgewright.data.calibration import CalibrationSet, choose_calibration
from edgewright.data.cameras import PRESETS, through_camera
from edgewright.data.dataset import Dataset, LabelledImage, Sample, open_dataset
from edgewright.data.images import read_image
from edgewright.detector import Detector
from edgewright.door.admission import admit_detector
from edgewright.engines import open_engine
from edgewright.fit.evidence import tool_versions
from edgewright.progress import unseen

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("EDGEWRIGHT_TEST_DATA", ROOT.parent / "shared" / "data"))
RESULT = ROOT / "benchmarks" / "results" / "camera.json"
PAGE = ROOT / "docs" / "camera.md"
CAMERAS = ("dim-line", "cheap-usb", "fast-line")
CLEAN = "none"
CALIBRATION_IMAGES = 64
SEED = 0
# Model, data set, and how many of its val pictures: drawn, since the harder ones of DeepPCB lie at the end of the list.
CASES = {"coco": ("yolov8n.onnx", "coco", 128), "deeppcb": ("pcb_yolov8n.onnx", "deeppcb", 150)}
TITLES = {"coco": "YOLOv8n on COCO", "deeppcb": "YOLOv8n trained on DeepPCB"}


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


def measure(model: Path, dataset: Dataset, most: int) -> Iterator[dict[str, Any]]:
    """Float and INT8 models, calibrated clean and through each camera, judged clean and through it: the case as far as it is, camera by
    camera.
    """
    val = dataset.split("val")
    drawn = np.random.default_rng(SEED).permutation(len(val))[:most]
    samples = [val[at] for at in sorted(drawn.tolist())]
    chosen = choose_calibration(dataset, CALIBRATION_IMAGES, SEED)
    chosen_looks = looks_of([sample.image for sample in chosen.samples], read_image)
    case: dict[str, Any] = {"images": len(samples), "float": {}, "audit": {}, "rows": []}
    with tempfile.TemporaryDirectory() as folder:
        baseline = admit_detector(model)
        forms = prepare_float_forms(baseline, Path(folder))
        clean_models: dict[str, Artifact] = {}
        for camera in (CLEAN, *CAMERAS):
            judge = Judge(baseline, hold(dataset, samples, camera), samples)
            case["float"][camera] = judge.reference.report.map50_95
            case["audit"][camera] = judge.unlike(chosen_looks)
            models = quantized(forms, chosen if camera == CLEAN else replace(chosen, camera=PRESETS[camera]), Path(folder) / camera)
            if camera == CLEAN:
                clean_models, clean_judge = models, judge
                clean_seen = {name: clean_judge.look(artifact) for name, artifact in models.items()}
                case["rows"] += [judge.row(name, CLEAN, CLEAN, seen, seen) for name, seen in clean_seen.items()]
            else:
                for name, artifact in models.items():
                    beside = judge.look(clean_models[name])
                    case["rows"].append(judge.row(name, camera, CLEAN, beside, beside))
                    case["rows"].append(judge.row(name, camera, camera, judge.look(artifact), beside))
                astray = clean_judge.look(models[INT8.name])
                case["rows"].append(clean_judge.row(INT8.name, CLEAN, camera, astray, clean_seen[INT8.name]))
            yield case


@dataclass(frozen=True, slots=True)
class Seen:
    """What a model says of the pictures, against the truth and against the float model."""

    true: Evaluation
    agreed: Evaluation


class Judge:
    """Pictures seen through one camera, and what the float model says of them."""

    def __init__(self, baseline: Artifact, data: Held, samples: Sequence[Sample]) -> None:
        self.data, self.samples = data, samples
        found = self._predict(baseline)
        self.reference = evaluate(found)
        self.truth = pseudo_truth(found, AGREE_ABOVE)

    def unlike(self, chosen: Looks) -> list[str]:
        """The features in which the audit finds these pictures unlike the calibration pictures as they are."""
        images = {picture.sample.image: picture.image_rgb for picture in self.data.pictures}
        return [name for name, shift in shifts(chosen, looks_of(list(images), images.__getitem__)).items() if shift.differs]

    def look(self, artifact: Artifact) -> Seen:
        """Let a model look at the pictures."""
        found = self._predict(artifact)
        return Seen(evaluate(found), evaluate(replace(found, truth=self.truth)))

    def row(self, recipe: str, judged: str, calibrated: str, seen: Seen, clean: Seen) -> dict[str, Any]:
        """The figures of one INT8 model, beside the one calibrated on clean pictures."""
        row = {
            "recipe": recipe,
            "judged": judged,
            "calibrated": calibrated,
            "map50_95": seen.true.report.map50_95,
            "against_float": compare(seen.true, self.reference).map50_95.to_json(),
            "against_clean": compare(seen.true, clean.true).map50_95.to_json(),
            "agreement": seen.agreed.report.map50_95,
            "agreement_against_clean": compare(seen.agreed, clean.agreed).map50_95.to_json(),
        }
        print(json.dumps(row), flush=True)
        return row

    def _predict(self, artifact: Artifact) -> Predictions:
        with Detector(artifact, open_engine("onnxruntime", artifact.model_path, threads=usable_cores())) as detector:
            return predict(detector, self.data, self.samples)


def quantized(forms: FloatForms, calibration: CalibrationSet, folder: Path) -> dict[str, Artifact]:
    """The INT8 models calibrated on a set, by recipe."""
    board, cores, models = Board.detect(), usable_cores(), {}
    folder.mkdir(exist_ok=True)
    statistics = watch_ranges(forms, INT8, calibration, folder / "scratch.onnx", cores, unseen)
    for recipe in (INT8, PLAIN):
        path = folder / recipe.name / "model.onnx"
        path.parent.mkdir()
        make_model(forms, recipe, statistics, {}, board, path)
        models[recipe.name] = describe_candidate(forms, recipe, path, board, calibration_digest=calibration.digest, tools=tool_versions())
    return models


def record(name: str) -> None:
    """Measure a case; the result is written as it grows."""
    began = time.monotonic()
    model, data, most = CASES[name]
    for case in measure(DATA / "models" / model, open_dataset(DATA / data / "data.yaml"), most):
        document = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
        document[name] = {
            **case,
            "commit": _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain", "--", "src") else ""),
            "host": Board.detect().to_json(),
            "versions": tool_versions(),
            "seconds": round(time.monotonic() - began),
            "calibration_images": CALIBRATION_IMAGES,
            "seed": SEED,
        }
        RESULT.write_text(json.dumps({each: document[each] for each in CASES if each in document}, indent=1) + "\n")


def render() -> None:
    """Write docs/camera.md from the results."""
    # A case that was stopped before its first camera says nothing yet.
    cases = {name: case for name, case in json.loads(RESULT.read_text()).items() if len(case["float"]) > 1}
    PAGE.write_text("\n\n".join([HEADER, summary(cases), *(section(*each) for each in cases.items())]) + "\n")


HEADER = """# Calibrating through the camera: when it helps

Rendered by `benchmarks/camera_model.py` from `benchmarks/results/camera.json`; the figures and the sentences that hold them are not
typed by hand. `edgewright calibrate --camera` and `edgewright eval --camera` see pictures as a described camera would take them
([what a camera is](reference/calibrate.md#a-camera)). Here each detector is judged on val pictures as they are and through presets;
its INT8 models are calibrated on the same 64 train pictures, as they are or through the camera they are judged through. Points of
mAP50-95; intervals are 95 % (paired bootstrap over pictures)."""


def summary(cases: dict[str, Any]) -> str:
    """What the tables say, counted."""
    rows = [each for case in cases.values() for each in case["rows"]]
    counted = []
    for recipe in (INT8, PLAIN):
        of_recipe = [each for each in rows if each["recipe"] == recipe.name]
        right = [each for each in of_recipe if each["judged"] == each["calibrated"] != CLEAN]
        wrong = [each for each in of_recipe if each["judged"] == CLEAN != each["calibrated"]]
        for what, each in (("the camera it is judged through", right), ("a camera that is not there, judged clean", wrong)):
            if each:
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
        f"{_table(columns, counted)}\n\n{_camera_costs(cases)}"
    )


def _told(rows: Sequence[dict[str, Any]], key: str) -> tuple[str, str]:
    better, worse = sum(each[key]["low"] > 0 for each in rows), sum(each[key]["high"] < 0 for each in rows)
    mean = sum(each[key]["estimate"] for each in rows) / len(rows)
    return f"{better} / {worse} / {len(rows) - better - worse}", f"{mean:+.2f}"


def _camera_costs(cases: dict[str, Any]) -> str:
    losses = [
        (100 * (case["float"][CLEAN] - value), camera, TITLES[name])
        for name, case in cases.items()
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
        f"## {TITLES[name]}, {case['images']} val pictures\n\nThe float model, and in which features the audit (`calibrate --against`) "
        "finds clean calibration pictures unlike these:\n\n"
        f"{_table(('judged through', 'mAP50-95', 'points', 'audit: differs in'), seen)}\n\n"
        f"The INT8 models; agreement takes the float model's boxes above {AGREE_ABOVE} on the same pictures as truth:\n\n"
        f"{_table(columns, figures)}\n\n{_footer(name, case)}"
    )


def _footer(name: str, case: dict[str, Any]) -> str:
    machine = f"{case['host']['cpu']}, {case['host']['cores']} cores, onnxruntime {case['versions']['onnxruntime']}"
    return (
        f"Remake: `python benchmarks/camera_model.py {name} render`. Commit {case['commit']}, {machine}, {case['seconds']} s; "
        f"{case['calibration_images']} calibration images, seed {case['seed']}."
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
    parser.add_argument("cases", nargs="*", help=f"{', '.join(CASES)}, render (default: all)")
    for name in parser.parse_args().cases or [*CASES, "render"]:
        if name == "render":
            render()
        else:
            record(name)


if __name__ == "__main__":
    main()
