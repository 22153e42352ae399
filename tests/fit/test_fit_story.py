"""What a person gets from a fit: a verdict that follows from the budget, files that agree, and nothing lost when it says no."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import edgewright as ew
from edgewright.compress.quantize import quantize_dynamic
from edgewright.compress.recipes import INT8, RECIPES, TUTORIAL_RECIPE
from edgewright.compress.schemes import ARM
from edgewright.errors import DataError, InputError, ModelError
from edgewright.fit import Budget, FitRequest, fit
from edgewright.fit.search import put_through_gate
from tiny_dataset import write_tiny_dataset
from tiny_detector import save_tiny_detector

MODEL_KEYS = {"engine", "precision", "map50", "map50_95", "latency_ms", "peak_mib", "size_mb", "threads"}
CONTRACT = {
    "verdict": {"schema", "verdict", "binding", "reason", "accuracy_proven", "images_needed", "warnings", "elapsed_s"},
    "what was asked": {"budget", "host", "board", "calibration", "lineage"},
    "what was found": {"baseline", "fitted", "delta", "speedup", "candidates"},
}
ORT = ("onnxruntime",)  # where it does not matter what runs the model
CANDIDATE = {"name", "engine", "precision", "scheme", "threads", "imgsz", "map50_95", "p50_ms", "peak_mib", "verdict"}


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A tiny detector and data it is good at."""
    folder = tmp_path_factory.mktemp("material")
    return save_tiny_detector(folder / "tiny.onnx"), write_tiny_dataset(folder / "data", train=32, val=12)


@pytest.fixture(scope="module")
def shipped(material, tmp_path_factory):
    """A fit that ships; its request and its evidence."""
    request = FitRequest(*material, tmp_path_factory.mktemp("fit") / "fitted", Budget(max_drop=100), threads=1, engines=ORT, images=10)
    return request, fit(request)


def test_the_evidence_has_every_key_of_the_contract(shipped):
    request, _ = shipped
    document = json.loads((request.out / "evidence.json").read_text())
    assert document.keys() >= set().union(*CONTRACT.values())
    assert document["baseline"].keys() >= MODEL_KEYS
    assert document["fitted"].keys() >= MODEL_KEYS | {"scheme", "float_nodes"}
    assert document["delta"].keys() >= {"map50", "map50_95", "images"}
    assert all(candidate.keys() >= CANDIDATE for candidate in document["candidates"])
    assert document["verdict"] == "ship"


def test_the_shipped_artifact_is_the_one_the_evidence_speaks_of(shipped):
    request, _ = shipped
    document = json.loads((request.out / "evidence.json").read_text())
    artifact = ew.Artifact.load(request.out)
    assert artifact.digest == document["lineage"]["artifact_digest"]
    assert document["fitted"]["size_mb"] == pytest.approx(artifact.size_bytes / 1e6, abs=1e-3)
    assert artifact.lineage["source_digest"] == document["lineage"]["source_digest"]
    assert {path.name for path in request.out.iterdir()} == {
        artifact.files[0].path,
        "artifact.json",
        "evidence.json",
        "report.html",
        ".fit",
    }


def test_the_shipped_artifact_finds_what_the_original_finds(shipped, material):
    request, _ = shipped
    picture = str(material[1].parent / "images/val/0000.png")
    with ew.open(request.out) as fitted, ew.open(material[0]) as original:
        a, b = fitted(picture), original(picture)
    assert a.names == b.names
    assert np.abs(a.boxes_xyxy - b.boxes_xyxy).max() < 3


def test_calibration_selection_and_judging_share_no_picture(shipped):
    request, evidence = shipped
    calibrated = {str(sample.image) for sample in evidence.calibration.samples}
    judged = set(evidence.judged.predictions[0].pictures)
    assert len(calibrated) == request.images
    assert not calibrated & judged
    assert all("/train/" in picture for picture in calibrated)
    assert all("/val/" in picture for picture in judged)
    assert evidence.selection_images == 32 - request.images


def test_a_budget_nobody_can_meet_is_refused_with_its_constraint_and_no_artifact(material, tmp_path):
    evidence = fit(FitRequest(*material, tmp_path / "out", Budget(max_drop=100, max_latency_ms=1e-6), threads=1, engines=ORT, images=10))
    document = json.loads((tmp_path / "out/evidence.json").read_text())
    assert (document["verdict"], document["binding"]) == ("refuse", ["latency"])
    assert document["lineage"]["artifact_digest"] is None
    assert not evidence.ships
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".fit", "evidence.json", "report.html"]


def test_a_refusal_keeps_the_artifact_that_was_there(shipped, tmp_path):
    request, _ = shipped
    out = tmp_path / "out"
    shutil.copytree(request.out, out)
    fit(replace(request, out=out, budget=Budget(max_drop=100, max_size_mb=1e-6)))
    assert ew.Artifact.load(out).digest == ew.Artifact.load(request.out).digest


def test_the_float_model_ships_when_every_integer_one_loses_too_much(material, tmp_path):
    # A budget no rounding can meet on data this easy: better than the original.
    recipes = tuple(recipe for recipe in RECIPES if recipe.mode == "float")
    evidence = fit(FitRequest(*material, tmp_path / "out", Budget(max_drop=0), threads=1, engines=ORT, images=10, recipes=recipes))
    assert evidence.ships
    assert evidence.fitted.precision == "float32"
    assert ew.Artifact.load(tmp_path / "out").precision == "float32"


def test_the_same_seed_chooses_the_same_pictures_and_another_seed_others(material, shipped, tmp_path):
    request, evidence = shipped
    again = fit(replace(request, out=tmp_path / "again"))
    other = fit(replace(request, out=tmp_path / "other", seed=3))
    assert again.calibration.digest == evidence.calibration.digest
    assert other.calibration.digest != evidence.calibration.digest


def test_refuses_a_model_that_is_already_quantized(material, tmp_path):
    quantize_dynamic(material[0], tmp_path / "int8.onnx")
    with pytest.raises(ModelError, match=r"already quantized.*float original"):
        fit(FitRequest(tmp_path / "int8.onnx", material[1], tmp_path / "out"))


def test_refuses_a_folder_that_no_fit_wrote_and_touches_nothing(material, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="edgewright did not write"):
        fit(FitRequest(*material, tmp_path, threads=1, engines=ORT))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_refuses_classes_that_are_not_the_models(material, tmp_path):
    data = write_tiny_dataset(tmp_path / "data", train=4, val=2, classes=("red", "green"))
    data.write_text(data.read_text().replace("red", "horse"))
    with pytest.raises(DataError, match="different classes"):
        fit(FitRequest(material[0], data, tmp_path / "out", threads=1, engines=ORT))


def test_asks_for_fewer_calibration_images_when_none_is_left_to_choose_on(material, tmp_path):
    with pytest.raises(InputError, match="lower --images"):
        fit(FitRequest(*material, tmp_path / "out", threads=1, engines=ORT, images=1000))


def test_asked_for_nothing_it_leaves_half_of_a_small_set_to_choose_on(material, tmp_path):
    recipes = tuple(recipe for recipe in RECIPES if recipe.mode == "float")
    evidence = fit(FitRequest(*material, tmp_path / "out", Budget(max_drop=100), threads=1, engines=ORT, recipes=recipes))
    assert (len(evidence.calibration.samples), evidence.selection_images) == (16, 16)
    assert any("only 16 train images" in warning for warning in evidence.warnings)


def test_a_second_fit_on_the_same_folder_says_so_and_the_first_goes_on(material, tmp_path):
    command = [
        sys.executable,
        "-m",
        "edgewright",
        "fit",
        str(material[0]),
        "--engines",
        "onnxruntime",
        "--data",
        str(material[1]),
        "--out",
        str(tmp_path / "out"),
    ]
    options = ["--images", "10", "--max-drop", "100", "--threads", "1"]
    first = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert next(line for line in first.stderr if line.strip() == "calibrate")
    second = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert (second.returncode, "another run of edgewright is at work" in second.stderr) == (2, True)
    first.communicate(timeout=120)
    assert first.returncode == 0
    ew.Artifact.load(tmp_path / "out")


def test_ctrl_c_is_one_sentence_and_resume_goes_on(material, tmp_path):
    command = [
        sys.executable,
        "-m",
        "edgewright",
        "fit",
        str(material[0]),
        "--engines",
        "onnxruntime",
        "--data",
        str(material[1]),
        "--out",
        str(tmp_path / "out"),
    ]
    options = ["--images", "10", "--max-drop", "100", "--threads", "1"]
    process = subprocess.Popen(
        [*command, *options],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Started from a background job, as CI may be, a process would inherit a SIGINT that is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no thread runs here
    )
    for line in process.stderr:
        if line.strip() == "select":
            os.kill(process.pid, signal.SIGINT)
            break
    rest = process.stderr.read()
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in rest
    assert "Traceback" not in rest
    resumed = subprocess.run([*command, *options, "--resume", "--json", "-", "--quiet"], capture_output=True, text=True, check=True)
    assert json.loads(resumed.stdout)["verdict"] == "ship"
    assert resumed.stderr == ""


@pytest.fixture(scope="module")
def unlabelled(material, tmp_path_factory):
    """A fit to a folder of pictures and nothing else."""
    folder = tmp_path_factory.mktemp("unlabelled")
    frames = folder / "frames"
    frames.mkdir()
    for at, picture in enumerate(sorted(material[1].parent.rglob("*.png"))):
        shutil.copyfile(picture, frames / f"{at}.png")
    evidence = fit(FitRequest(material[0], frames, folder / "out", Budget(max_drop=100), threads=1, engines=ORT, images=10))
    return evidence, json.loads((folder / "out/evidence.json").read_text()), folder / "out"


def test_without_labels_accuracy_is_agreement_and_the_verdict_provisional(unlabelled):
    evidence, document, out = unlabelled
    assert (document["verdict"], document["accuracy_proven"]) == ("provisional", False)
    assert "without labels" in document["reason"]
    assert (document["baseline"]["map50"], document["baseline"]["map50_95"]) == (None, None)
    assert all(row["map50_95"] is None and row["agreement"] is not None for row in document["candidates"])
    assert document["delta"]["map50_95"]["estimate"] <= 0  # agreement cannot be better than full
    assert document["threshold"]["judging"]["f1_float"] == 1
    assert not evidence.ships
    assert ew.Artifact.load(out).digest == document["lineage"]["artifact_digest"]


def test_without_labels_the_halves_share_no_picture(unlabelled):
    evidence, _, _ = unlabelled
    calibrated = {str(sample.image) for sample in evidence.calibration.samples}
    judged = set(evidence.judged.predictions[0].pictures)
    assert calibrated
    assert not calibrated & judged


def test_for_another_board_the_scheme_is_its_own_and_the_verdict_provisional(material, tmp_path):
    evidence = fit(
        FitRequest(*material, tmp_path / "out", Budget(max_drop=100), threads=1, engines=ORT, images=10, board="rpi5", recipes=(INT8,))
    )
    document = json.loads((tmp_path / "out/evidence.json").read_text())
    assert document["verdict"] == "provisional"
    assert evidence.candidates["int8"].scheme["encoding"] == ARM.to_json()  # this machine, where it is no Arm, would take another
    assert document["board"]["name"] != "host"
    assert any("integer kernels" in warning for warning in document["warnings"])
    assert evidence.candidates["int8"].target["isa"] == sorted(document["board"]["isa"])


def test_the_exploration_says_what_was_tried(shipped):
    request, evidence = shipped
    document = json.loads((request.out / "evidence.json").read_text())
    ranges = document["exploration"]["ranges"]
    assert [row["chosen"] for row in ranges].count(True) == 1
    chosen = next(row for row in ranges if row["chosen"])
    assert chosen["error"] == min(row["error"] for row in ranges)
    sensitivity = document["exploration"]["sensitivity"]
    assert len(sensitivity["layers"]) == 11  # convolutions of the tiny detector
    assert sum(layer["gain"] for layer in sensitivity["layers"]) == pytest.approx(1)
    names = {row["name"] for row in document["candidates"]}
    assert {each["name"] for each in document["exploration"]["float_sets"]} <= names
    assert evidence.exploration.base in {row["name"] for row in ranges}


def test_the_artifact_carries_the_fitted_threshold(shipped):
    request, _ = shipped
    document = json.loads((request.out / "evidence.json").read_text())
    artifact = ew.Artifact.load(request.out)
    assert (artifact.threshold.score, artifact.threshold.per_class) == (document["threshold"]["score"], document["threshold"]["per_class"])


@pytest.mark.parametrize("family", ["yolov5", "yolox", "end2end"])
def test_other_families_are_fitted_as_well(family, material, tmp_path):
    model = save_tiny_detector(tmp_path / "tiny.onnx", family=family)
    recipes = tuple(recipe for recipe in RECIPES if recipe.name in ("float32, head cut", "int8"))
    evidence = fit(
        FitRequest(model, material[1], tmp_path / "out", Budget(max_drop=100), threads=1, engines=ORT, images=10, recipes=recipes)
    )
    assert evidence.ships
    assert {"float32, head cut", "int8"} <= set(evidence.candidates)
    figures = {each.name: each for each in evidence.ranking}
    assert figures["float32, head cut"].map50_95 == pytest.approx(figures["baseline"].map50_95, abs=1e-3)
    assert figures["baseline"].map50_95 > 0.1
    assert figures["int8"].agreement > 0.8


def test_the_tutorial_recipe_is_refused_on_the_real_detector(test_data, tmp_path):
    """Whole graph, S8S8, reduce_range: one scale for pixels and probabilities rounds every score to nothing."""
    data = _some_of(test_data / "coco", tmp_path / "data.yaml", train=24, val=16)
    request = FitRequest(test_data / "models/yolov8n.onnx", data, tmp_path / "out", Budget(max_drop=1.5), images=12, engines=ORT)
    judged = put_through_gate(request, TUTORIAL_RECIPE)
    assert judged.decision.verdict == "refuse"
    assert "accuracy" in judged.decision.binding
    assert judged.fitted.report.map50_95 < 0.01
    assert "breaks accuracy" in judged.decision.reason


def _some_of(coco: Path, target: Path, *, train: int, val: int) -> Path:
    """A data.yaml over the first few pictures of each split."""
    for split, count in (("train", train), ("val", val)):
        pictures = sorted((coco / "images" / split).iterdir())[:count]
        (target.parent / f"{split}.txt").write_text("\n".join(map(str, pictures)))
    names = (coco / "data.yaml").read_text().split("names:")[1]
    target.write_text(f"path: .\ntrain: train.txt\nval: val.txt\nnames:{names}")
    return target


def test_refuses_to_judge_by_images_without_labels_before_any_work(material, tmp_path):
    data = write_tiny_dataset(tmp_path / "data", train=8, val=4)
    shutil.rmtree(tmp_path / "data/labels/val")
    with pytest.raises(DataError, match="no val image"):
        fit(FitRequest(material[0], data, tmp_path / "out", threads=1, engines=ORT))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("budget", "status", "verdict"), [(("--max-drop", "100"), 0, "ship"), (("--max-drop", "100", "--max-size-mb", "0.001"), 1, "refuse")]
)
def test_the_exit_status_is_the_verdict(material, tmp_path, budget, status, verdict):
    command = [
        sys.executable,
        "-m",
        "edgewright",
        "fit",
        str(material[0]),
        "--engines",
        "onnxruntime",
        "--data",
        str(material[1]),
        "--out",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(
        [*command, *budget, "--images", "10", "--threads", "1", "--json", "-"], capture_output=True, text=True, check=False
    )
    assert done.returncode == status
    assert json.loads(done.stdout)["verdict"] == verdict
    assert f"{verdict.upper()}: " in done.stderr
