"""What docs/performance.md shows, measured: a function a case, which returns what is written to benchmarks/results/."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewright.accuracy.agreement import AGREE_ABOVE
from edgewright.accuracy.coco import evaluate, mean_average_precision
from edgewright.accuracy.compare import POINTS
from edgewright.accuracy.predictions import predict, pseudo_truth
from edgewright.artifact import Artifact
from edgewright.bench.jobs import job_for
from edgewright.bench.measure import Job, measure, ratio
from edgewright.board.profile import Board, usable_cores
from edgewright.cli.output import Terminal
from edgewright.cli.peers import open_peers
from edgewright.compress.candidates import describe_candidate, make_model, prepare_float_forms, watch_ranges, watch_shifts
from edgewright.compress.recipes import INT8, PLAIN, RECIPES, TUTORIAL_RECIPE
from edgewright.data.calibration import choose_calibration
from edgewright.data.circuit_boards import write_dataset
from edgewright.data.dataset import Dataset, open_dataset
from edgewright.data.images import encode_jpeg
from edgewright.data.video import read_frames
from edgewright.demo import demo_model
from edgewright.detector import Detector, open_detector
from edgewright.door.admission import admit_detector
from edgewright.engines import open_engine
from edgewright.fit import Budget, FitRequest, fit
from edgewright.fit.search import put_through_gate
from edgewright.progress import unseen
from edgewright.stats import resample_counts
from governor import governed
from live import motion, overhead
from recovery import CHANGES, recovered, taught
from serving import joining, layers, of_any_batch, of_bytes, throughput

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("EDGEWRIGHT_TEST_DATA", ROOT.parent / "shared" / "data"))
SEEDS = range(5)
ROUNDS = 20
FEW_BOARDS, MANY_BOARDS = 200, 2000
REQUESTS, REQUEST_ROUNDS = 1000, 10  # of each client, in so many turns
ORT = ("onnxruntime",)
WITHOUT_AMX = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"}  # oneDNN, which OpenVINO computes with, obeys it
EVERY = 10  # frames of the clip: 119 of them
LINE_DROP = 5.0  # points of agreement; the clip has no labels
CLIP = DATA / "video/bottle-detection.mp4"
PEER_PYTHON = "EDGEWRIGHT_PEER_PYTHON"
FITTED: dict[FitRequest, dict[str, Any]] = {}  # by what was asked for
SCRATCH = tempfile.TemporaryDirectory(prefix="edgewright-benchmarks-")  # for fits that go on where another was; gone at exit


def coco() -> dict[str, Any]:
    """YOLOv8n on COCO in ONNX Runtime, one thread, 64 calibration images, default seed."""
    return _fitted(DATA / "models/yolov8n.onnx", DATA / "coco/data.yaml", Budget(max_drop=1.5), threads=1)


def engines() -> dict[str, Any]:
    """YOLOv8n on COCO, one thread, every engine that is installed."""
    return _fitted(DATA / "models/yolov8n.onnx", DATA / "coco/data.yaml", Budget(max_drop=1.5), threads=1, engines=None)


def engines_threads() -> dict[str, Any]:
    """The same with all cores."""
    return _fitted(DATA / "models/yolov8n.onnx", DATA / "coco/data.yaml", Budget(max_drop=1.5), threads=usable_cores(), engines=None)


def engines_vnni() -> dict[str, Any]:
    """One thread, OpenVINO kept from what few boards have: AMX and AVX-512's halves. ONNX Runtime's float32 uses neither."""
    model, data = DATA / "models/yolov8n.onnx", DATA / "coco/data.yaml"
    told, out = Path(SCRATCH.name) / "vnni.json", Path(SCRATCH.name) / "vnni"
    command = [sys.executable, "-m", "edgewright", "fit", str(model), "--data", str(data), "--out", str(out), "--max-drop", "1.5"]
    done = subprocess.run([*command, "--threads", "1", "--json", str(told)], check=False, env=os.environ | WITHOUT_AMX)
    if done.returncode not in {0, 1}:
        raise SystemExit(done.returncode)
    document = json.loads(told.read_text())
    return {**document, "rows": document["measurements"], "model": model.name, "data": data.parent.name}


def line() -> dict[str, Any]:
    """YOLOv8n fitted to a camera over a line: every tenth frame of a clip of 640x360, no labels, the input shape that its frames fill."""
    return _fitted_to_line(None)


def line_onnxruntime() -> dict[str, Any]:
    """The same in ONNX Runtime alone, which is smaller in memory and starts sooner."""
    return _fitted_to_line(ORT)


def coco_threads() -> dict[str, Any]:
    """The same with all cores: float, dynamic and static at every number of threads."""
    return _fitted(DATA / "models/yolov8n.onnx", DATA / "coco/data.yaml", Budget(max_drop=1.5), threads=usable_cores())


def deeppcb() -> dict[str, Any]:
    """A YOLOv8n trained on DeepPCB, judged on its official test split."""
    return _fitted(DATA / "models/pcb_yolov8n.onnx", DATA / "deeppcb/data.yaml", Budget(max_drop=1.0), threads=1)


def tight() -> dict[str, Any]:
    """YOLOv8n on COCO with half a point to lose."""
    return _fitted(DATA / "models/yolov8n.onnx", DATA / "coco/data.yaml", Budget(max_drop=0.5), threads=1)


def yolov5() -> dict[str, Any]:
    """YOLOv5n on COCO: anchors and objectness."""
    return _fitted(DATA / "models/yolov5n.onnx", DATA / "coco/data.yaml", Budget(max_drop=1.5), threads=1)


def yolox() -> dict[str, Any]:
    """YOLOX-nano on COCO: depthwise convolutions, opset 11."""
    return _fitted(DATA / "models/yolox_nano.onnx", DATA / "coco/data.yaml", Budget(max_drop=1.5), threads=1)


def tutorial() -> dict[str, Any]:
    """The recipe most tutorials give, put through the gate."""
    with tempfile.TemporaryDirectory() as folder, Terminal(quiet=False) as terminal:
        request = FitRequest(
            DATA / "models/yolov8n.onnx", DATA / "coco/data.yaml", Path(folder), Budget(max_drop=1.5), threads=1, engines=ORT
        )
        judged = put_through_gate(request, TUTORIAL_RECIPE, watch=terminal)
    decision = judged.decision
    return {
        "verdict": decision.verdict,
        "binding": list(decision.binding),
        "reason": decision.reason,
        "map50_95": judged.fitted.report.map50_95,
        "speedup": ratio(judged.baseline_cost, judged.fitted_cost).to_json(),
    }


def seeds() -> dict[str, Any]:
    """Five fits of YOLOv8n, each with a calibration draw of its own; the winners timed against each other and plain all-integer U8S8."""
    fits, jobs = [], []
    with tempfile.TemporaryDirectory() as name, Terminal(quiet=False) as terminal:
        for seed in SEEDS:
            out = Path(name) / str(seed)
            request = FitRequest(
                DATA / "models/yolov8n.onnx", DATA / "coco/data.yaml", out, Budget(max_drop=1.5), threads=1, seed=seed, engines=ORT
            )
            document = fit(request, watch=terminal).to_json()
            kept = {key: document[key] for key in ("verdict", "delta", "threshold", "elapsed_s")}
            fits.append({**kept, "winner": document["fitted"]["name"]})
            jobs.append(Job(f"seed {seed}", Artifact.load(out).model_path, "onnxruntime", "int8", 1))
        plain = Path(name) / "plain.onnx"
        _write_plain(plain, Path(name))
        measured = measure([Job(PLAIN.name, plain, "onnxruntime", "int8", 1), *jobs], rounds=ROUNDS)
    return {"seeds": list(SEEDS), "fits": fits, "against_plain": [ratio(measured[0], each).to_json() for each in measured[1:]]}


def draws() -> dict[str, Any]:
    """Every recipe on five calibration draws of YOLOv8n, judged on COCO val: what holds over seeds."""
    return _draws(DATA / "models/yolov8n.onnx", open_dataset(DATA / "coco/data.yaml"))


def calibration_memory() -> dict[str, Any]:
    """The most memory that `edgewright quantize` takes for few and for many calibration pictures."""
    peaks = {}
    with tempfile.TemporaryDirectory() as name:
        data = write_dataset(Path(name) / "boards", train=MANY_BOARDS, val=1)
        for count in (FEW_BOARDS, MANY_BOARDS):
            command = ["quantize", str(demo_model()), "--data", str(data), "--out", str(Path(name) / f"quantized-{count}")]
            peaks[str(count)] = _peak_mib([*command, "--images", str(count), "--bias-correction", "--quiet"])
    return {"peak_mib": peaks}


def demo() -> dict[str, Any]:
    """The demo detector: held-out drawn boards in both looks, and DeepPCB's official test, which it has never seen."""
    with tempfile.TemporaryDirectory() as folder, open_detector(demo_model()) as detector:
        rows = {}
        for look in ("camera", "binary"):
            data = open_dataset(write_dataset(Path(folder) / look, train=1, val=200, seed=1, look=look))
            rows[f"held-out boards, {look} look"] = evaluate(predict(detector, data, data.split("val"))).report.to_json()
        data = open_dataset(DATA / "deeppcb/data.yaml")
        rows["DeepPCB official test, zero-shot"] = evaluate(predict(detector, data, data.split("val"))).report.to_json()
    return rows


def end_to_end() -> dict[str, Any]:
    """From a clip's file to boxes: what was fitted against Ultralytics' `predict` on the model as given, with one thread and all."""
    counts = sorted({1, usable_cores()})
    for make in (engines, line, line_onnxruntime):
        make()
    model = DATA / "models/yolov8n.onnx"
    fitted = {
        "fitted": _out_of(model, DATA / "coco/data.yaml", 1, None),
        "fitted to the line": _line_folder(None),
        "fitted to the line, ONNX Runtime": _line_folder(ORT),
    }
    return {"clip": CLIP.name, **_bench(fitted, "--peers", "--peer-python", _peer_python(), "--end-to-end", str(CLIP), threads=counts)}


def peers() -> dict[str, Any]:
    """The fitted YOLOv8n against what people use today, model only and whole frames, with the accuracy of what can be judged."""
    model, data = DATA / "models/yolov8n.onnx", DATA / "coco/data.yaml"
    words = ("--peers", "--peer-python", _peer_python(), "--data", str(data), "--end-to-end", str(CLIP), "--peak")
    engines()
    fitted = _out_of(model, data, 1, None)
    measured = _bench({"fitted": fitted}, *words, threads=[1])
    dataset = open_dataset(data)
    accuracy = {}
    with (
        Terminal(quiet=False) as terminal,
        open_peers(job_for(model, 1), [1], data=data, python=Path(_peer_python()), source=None, watch=terminal) as others,
    ):
        for name, path in {"yolov8n": model, "fitted": fitted, **others.artifacts}.items():
            with open_detector(path) as detector:
                accuracy[name] = evaluate(predict(detector, dataset, dataset.split("val"))).report.map50_95
    return {**measured, "map50_95": accuracy}


def recover() -> dict[str, Any]:
    """`fit --recover` of the YOLOv8n that was trained on DeepPCB, one thread; its train pictures are frames without labels here."""
    return recovered(DATA / "models/pcb_yolov8n.onnx", DATA / "deeppcb/data.yaml", Path(SCRATCH.name), CHANGES, max_drop=1.0)


def recover_coco() -> dict[str, Any]:
    """The same of YOLOv8n on COCO's 80 classes, with 128 pictures to learn from, from which calibration and selection take theirs."""
    return recovered(DATA / "models/yolov8n.onnx", DATA / "coco/data.yaml", Path(SCRATCH.name), "swap", max_drop=1.5)


def recover_families() -> dict[str, Any]:
    """Other networks whose activations are swapped, with the same command; and 1,000 pictures that have no labels, in a folder."""
    models, coco, deeppcb = DATA / "models", DATA / "coco/data.yaml", DATA / "deeppcb/data.yaml"
    lessons = (
        (models / "yolov5n.onnx", coco, "swap"),
        (models / "yolox_nano.onnx", coco, "swap"),
        (models / "pcb320_yolo11n.onnx", deeppcb, "swap"),
        (models / "pcb_yolov8n.onnx", DATA / "deeppcb/images/train", CHANGES),
    )
    return taught(lessons, Path(SCRATCH.name))


def live() -> dict[str, Any]:
    """YOLOv8n on one camera of 640 x 360, in a service: what is added to the model's own time."""
    return overhead(DATA / "models/yolov8n.onnx", DATA / "video/car-detection.mp4")


def live_motion() -> dict[str, Any]:
    """What motion gating spares YOLOv8n on three clips, and what it does not see for it."""
    names = ("car-detection.mp4", "one-by-one-person-detection.mp4", "bottle-detection.mp4")
    return motion(DATA / "models/yolov8n.onnx", [DATA / "video" / name for name in names])


def governor() -> dict[str, Any]:
    """The governor of heat on simulated boards."""
    return governed()


def serve_http() -> dict[str, Any]:
    """8 clients x 1,000 requests over HTTP against the engine in a loop: uint8 pictures of 640 x 640, one thread."""
    return {"rows": [throughput(DATA / "models/yolov8n.onnx", requests=REQUESTS, rounds=REQUEST_ROUNDS)]}


def serve_together() -> dict[str, Any]:
    """What joining the requests of 8 clients changes, and what was learned: a detector, and a network that reads more than it computes."""
    folder = Path(SCRATCH.name)
    detector, shape = of_bytes(of_any_batch(DATA / "models/yolov8n.onnx", folder / "any.onnx"), folder / "any-pictures.onnx")
    models = {
        "YOLOv8n, uint8 640 x 640": (detector, shape, 40),
        "ten layers of 1000 x 1000": (layers(folder / "layers.onnx", count=10, wide=1000), (1, 1000), 2000),
    }
    return joining(models, threads=tuple(sorted({1, usable_cores()})), rounds=REQUEST_ROUNDS)


CASES: dict[str, Callable[[], dict[str, Any]]] = {
    case.__name__: case
    for case in (
        *(engines, engines_threads, engines_vnni, coco, tight, yolov5, yolox, coco_threads, deeppcb, line, line_onnxruntime),
        *(
            recover,
            recover_coco,
            recover_families,
            live,
            live_motion,
            governor,
            serve_http,
            serve_together,
            seeds,
            draws,
            tutorial,
            calibration_memory,
            demo,
            end_to_end,
            peers,
        ),
    )
}
NEED_PEERS = frozenset({"end_to_end", "peers"})


def has_peers() -> bool:
    """Whether EDGEWRIGHT_PEER_PYTHON names the Python of an environment as `peer_environment.py` builds it."""
    return PEER_PYTHON in os.environ


def _peer_python() -> str:
    if not has_peers():
        raise SystemExit(f"{PEER_PYTHON} is not set: run python benchmarks/peer_environment.py, and set it to what that prints")
    return os.environ[PEER_PYTHON]


def _bench(fitted: dict[str, Path], *words: str, threads: list[int]) -> dict[str, Any]:
    """`edgewright bench` of YOLOv8n and what was fitted, as a user runs it, under short names."""
    named = {"yolov8n": DATA / "models/yolov8n.onnx", **fitted}
    told = Path(SCRATCH.name) / "bench.json"
    counts = [word for count in threads for word in ("--threads", str(count))]
    command = [sys.executable, "-m", "edgewright", "bench", *map(str, named.values()), *words, *counts, "--rounds", str(ROUNDS)]
    subprocess.run([*command, "--json", str(told)], check=True)
    text = told.read_text()
    for name, path in named.items():
        text = text.replace(json.dumps(str(path)), json.dumps(name))
    document: dict[str, Any] = json.loads(text)
    return document


def _fitted_to_line(wanted: tuple[str, ...] | None) -> dict[str, Any]:
    frames = Path(SCRATCH.name) / "line"
    frames.mkdir(exist_ok=True)
    for frame in read_frames(CLIP):
        if frame.index % EVERY == 0:
            (frames / f"{frame.index:05d}.jpg").write_bytes(encode_jpeg(frame.image_rgb, quality=95))
            frame_wh = (frame.image_rgb.shape[1], frame.image_rgb.shape[0])
    request = FitRequest(
        DATA / "models/yolov8n.onnx", frames, _line_folder(wanted), Budget(max_drop=LINE_DROP), threads=1, engines=wanted, frame_wh=frame_wh
    )
    return _run(request)


def _line_folder(wanted: tuple[str, ...] | None) -> Path:
    return Path(SCRATCH.name) / f"line-{'-'.join(wanted or ('all',))}"


def _fitted(model: Path, data: Path, budget: Budget, threads: int, engines: tuple[str, ...] | None = ("onnxruntime",)) -> dict[str, Any]:
    """A fit; two that differ in their budget alone share what the first has made and measured."""
    out = _out_of(model, data, threads, engines)
    return _run(FitRequest(model, data, out, budget, threads=threads, engines=engines))


def _run(request: FitRequest) -> dict[str, Any]:
    """What the fit found; one that an earlier case has made is not made again."""
    if request not in FITTED:
        with Terminal(quiet=False) as terminal:
            document = fit(replace(request, resume=True), watch=terminal).to_json()
        FITTED[request] = document
    document = FITTED[request]
    return {**document, "rows": document["measurements"], "model": request.model.name, "data": request.data.parent.name}


def _out_of(model: Path, data: Path, threads: int, engines: tuple[str, ...] | None) -> Path:
    return Path(SCRATCH.name) / f"{model.stem}-{data.parent.name}-{threads}-{'-'.join(engines or ('all',))}"


def _write_plain(path: Path, folder: Path) -> None:
    """Plain min-max over the whole network but its decode: what a good tutorial would give."""
    forms = prepare_float_forms(admit_detector(DATA / "models/yolov8n.onnx"), folder)
    calibration = choose_calibration(open_dataset(DATA / "coco/data.yaml"), 64, 0)
    watched = watch_ranges(forms, PLAIN, calibration, folder / "scratch.onnx", usable_cores(), unseen)
    make_model(forms, PLAIN, watched, {}, Board.detect(), path)


def _peak_mib(arguments: list[str]) -> float:
    """The peak of the resident memory of one edgewright command, in a process of its own."""
    child = subprocess.Popen([sys.executable, "-m", "edgewright", *arguments])
    _, status, usage = os.wait4(child.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, arguments
    return usage.ru_maxrss / 1024


def _draws(model: Path, dataset: Dataset) -> dict[str, Any]:
    board, cores = Board.detect(), usable_cores()
    baseline = admit_detector(model)
    val = dataset.split("val")
    stem = replace(INT8, name="int8, float stem", float_parts=("stem",))
    corrected = [replace(each, name=f"{each.name}, bias corrected", bias_correction=True) for each in (INT8, stem)]
    recipes = [*(recipe for recipe in RECIPES if recipe.mode == "static" and recipe.container == "qdq"), stem, *corrected]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        forms = prepare_float_forms(baseline, folder)
        with open_detector(model) as detector:
            reference = predict(detector, dataset, val)
        float_map = evaluate(reference).report.map50_95
        truth = pseudo_truth(reference, AGREE_ABOVE)
        drops: dict[str, list[float]] = {recipe.name: [] for recipe in recipes}
        agreement: dict[str, list[float]] = {recipe.name: [] for recipe in recipes}
        replicates: dict[str, list[NDArray[np.float64]]] = {}
        counts = resample_counts(reference.images, seed=0)
        for seed in SEEDS:
            calibration = choose_calibration(dataset, 64, seed)
            statistics_of = watch_ranges(forms, INT8, calibration, folder / "scratch.onnx", cores, unseen)
            shifts = watch_shifts(forms, INT8, statistics_of, calibration, board, folder / "scratch.onnx", cores)
            for recipe in recipes:
                path = folder / "model.onnx"
                make_model(forms, recipe, statistics_of, shifts, board, path)
                artifact = describe_candidate(forms, recipe, path, board, calibration_digest=calibration.digest, tools={})
                with Detector(artifact, open_engine("onnxruntime", path, threads=cores)) as detector:
                    found = predict(detector, dataset, val)
                judged, agreed = evaluate(found), evaluate(replace(found, truth=truth))
                agreement[recipe.name].append(agreed.report.map50_95)
                drops[recipe.name].append((float_map - judged.report.map50_95) * POINTS)
                if seed == SEEDS[0]:
                    replicates[recipe.name] = [mean_average_precision(each.matches, counts)[1] for each in (judged, agreed)]
                print(f"seed {seed} {recipe.name}: drop {drops[recipe.name][-1]:.2f}, agreement {agreement[recipe.name][-1]:.3f}")
        jobs = [Job("float32", model, "onnxruntime", "float32", 1)]
        for at, recipe in enumerate(recipes):
            make_model(forms, recipe, statistics_of, shifts, board, folder / f"{at}.onnx")
            jobs.append(Job(recipe.name, folder / f"{at}.onnx", "onnxruntime", "int8", 1))
        measured = measure(jobs, rounds=ROUNDS)
    speedups = {m.job.name: ratio(measured[0], m).to_json() for m in measured[1:]}
    separation = [a - b for a, b in zip(replicates["int8"], replicates[PLAIN.name], strict=True)]
    map_sd, agreement_sd = (float(each.mean() / each.std()) for each in separation)
    return {
        "float_map50_95": float_map,
        "drops": drops,
        "agreement": agreement,
        "speedups": speedups,
        "seeds": list(SEEDS),
        "separation_sd": {"map": map_sd, "agreement": agreement_sd},
    }
