"""What docs/performance.md says of networks that learned: accuracy, what pruning saves, what a desk without AMX makes of it, and whether
the student that is trained for integers is the one that runs.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx
from numpy.typing import NDArray

from edgewright.accuracy.coco import evaluate
from edgewright.accuracy.compare import POINTS
from edgewright.accuracy.predictions import predict
from edgewright.artifact import Artifact
from edgewright.bench.measure import Job, measure, ratio
from edgewright.board.profile import Board, usable_cores
from edgewright.cli.output import Terminal
from edgewright.compress.candidates import FloatForms, feed_of, make_model, prepare_float_forms, watch_ranges
from edgewright.compress.quantize import quantize_static
from edgewright.compress.recipes import INT8, Recipe, deployed
from edgewright.compress.schemes import integer_schemes, scheme_for
from edgewright.data.calibration import choose_calibration
from edgewright.data.dataset import Dataset, open_dataset
from edgewright.detector import Detector
from edgewright.door.admission import admit_detector
from edgewright.engines import open_engine
from edgewright.engines.conversion import convert, has_own_format
from edgewright.fit import Budget, FitRequest, fit
from edgewright.graph.cost import mac_count
from edgewright.progress import unseen

CHANGES = "swap,prune=0.55,qat"
ENGINES = ("onnxruntime", "openvino")
WITHOUT_AMX = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"}  # oneDNN, which OpenVINO computes with, obeys it
CALIBRATION_IMAGES = 32
ROUNDS = 20
FEW_PICTURES = 4


def recovered(model: Path, data: Path, folder: Path, changes: str, max_drop: float) -> dict[str, Any]:
    """`fit --recover`, one thread; every network that learned on the judging split; what pruning saves in each engine; and the winner with
    other threads and without AMX.
    """
    out = folder / f"recovered-{model.stem}"
    request = FitRequest(
        model, data, out, Budget(max_drop=max_drop), threads=1, engines=ENGINES, recover=changes, resume=True, command="edgewright fit"
    )
    with Terminal(quiet=False) as terminal:
        document = fit(request, watch=terminal).to_json()
    dataset = open_dataset(data)
    networks = {stage["source"]: out / ".fit/recover" / stage["file"] for stage in document["recovery"]["stages"]}
    floats = {name: _judged(admit_detector(path), dataset) for name, path in {"given": model, **networks}.items()}
    found = {**document, "rows": document["measurements"], "model": model.name, "data": data.parent.name, "floats": floats}
    if document["verdict"] == "ship":
        found["winner"] = {
            "as it is": _winner(model, out, data, {}),
            "without AMX": _winner(model, out, data, WITHOUT_AMX),
        }
    pruned = next((name for name in networks if "prune" in name.split("+")[-1]), None)
    if pruned is not None and "+" in pruned:
        found["pruning"] = _pruning(networks[pruned.rpartition("+")[0]], networks[pruned], dataset, folder)
    last = next(reversed(networks))
    if last.endswith("qat"):
        found["as trained"] = _as_trained(networks[last], dataset, folder)
    return found


def _judged(artifact: Artifact, dataset: Dataset) -> dict[str, Any]:
    with Detector(artifact, open_engine(artifact.engine, artifact.model_path, threads=usable_cores())) as detector:
        report = evaluate(predict(detector, dataset, dataset.split("val"))).report
    return {"map50": report.map50, "map50_95": report.map50_95, "macs": mac_count(onnx.load(artifact.model_path))}


def _winner(model: Path, out: Path, data: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """The fitted artifact against the given model with one and two threads, and its accuracy, as users elsewhere would see them."""
    held, told = os.environ | environment, out / "told.json"
    rows, ratios = [], []
    for threads in (1, 2):
        words = ["bench", str(model), str(out), "--threads", str(threads), "--rounds", str(ROUNDS), "--json", str(told)]
        document = _told(words, told, held)
        rows += [{**row, "name": name} for row, name in zip(document["rows"], ("given", "fitted"), strict=True)]
        ratios.append({"threads": threads, **document["ratios"][0]["p50"]})
    judged = _told(["eval", str(out), "--data", str(data), "--quiet", "--json", str(told)], told, held)
    return {"rows": rows, "ratios": ratios, "map50": judged["map50"], "map50_95": judged["map50_95"]}


def _told(words: list[str], told: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    subprocess.run([sys.executable, "-m", "edgewright", *words], check=True, env=dict(environment))
    document: dict[str, Any] = json.loads(told.read_text())
    told.unlink()
    return document


# --- what pruning saves -------------------------------------------------------------------------------------------------------------------


def _pruning(before: Path, after: Path, dataset: Dataset, folder: Path) -> dict[str, Any]:
    """Multiply-adds and time saved between two networks: in float32, and in integers as they are deployed in each engine."""
    pairs = {name: _forms_of(path, dataset, folder / f"pruning-{name}") for name, path in (("before", before), ("after", after))}
    macs = {name: mac_count(onnx.load(forms.cut)) or 0 for name, (forms, _) in pairs.items()}
    gone = 1 - macs["after"] / macs["before"]
    rows = []
    for engine in ENGINES:
        for label, recipe in _recipes(engine):
            jobs = [_job(name, forms, statistics, recipe, folder / f"pruning-{name}") for name, (forms, statistics) in pairs.items()]
            for where, environment in (("", {}), (", without AMX", WITHOUT_AMX)) if engine == "openvino" else (("", {}),):
                with patch.dict(os.environ, environment):
                    first, second = measure(jobs, rounds=ROUNDS)
                speed = ratio(first, second)
                ms = [first.latency.p50, second.latency.p50]
                row = {"engine": f"{engine}{where}", "precision": label, "ms": ms, "speedup": speed.to_json()}
                rows.append({**row, "share_of_macs": (1 - 1 / speed.estimate) / gone})
    return {"macs": macs, "macs_saved": gone, "rows": rows}


def _recipes(engine: str) -> list[tuple[str, Recipe]]:
    scheme = integer_schemes(engine, Board.detect().isa)[-1]
    integers = deployed(replace(INT8, engine=engine, scheme=scheme, name=f"{engine} int8"))
    exact = Recipe(f"{engine} float32", "float32", "float", engine=engine)
    return [("float32", exact), ("int8", integers)]


def _forms_of(path: Path, dataset: Dataset, folder: Path) -> tuple[FloatForms, dict[str, Any]]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    forms = prepare_float_forms(admit_detector(path), folder)
    calibration = choose_calibration(dataset, CALIBRATION_IMAGES, 0)
    return forms, watch_ranges(forms, INT8, calibration, folder / "watched.onnx", usable_cores(), unseen)


def _job(name: str, forms: FloatForms, statistics: dict[str, Any], recipe: Recipe, folder: Path) -> Job:
    into = folder / recipe.name.replace(" ", "-")
    into.mkdir(exist_ok=True)
    path = into / "model.onnx"
    make_model(forms, recipe, statistics, {}, Board.detect(), path)
    files = convert(recipe.engine, path, into, precision=recipe.precision) if has_own_format(recipe.engine) else [path]
    return Job(name, files[0], recipe.engine, recipe.precision, 1, beside=tuple(files[1:]))


# --- is the student that was trained the one that runs? -----------------------------------------------------------------------------------


def _as_trained(path: Path, dataset: Dataset, folder: Path) -> dict[str, Any]:
    """The fake-quantized student held against the integer operators that ONNX Runtime runs: layer by layer from equal integers, and end to
    end by accuracy.
    """
    import torch  # noqa: PLC0415 - heavy, and an extra

    from edgewright.learn.rounding import Rounding, encodings_of  # noqa: PLC0415
    from edgewright.learn.trainable import Trainable  # noqa: PLC0415

    forms, statistics = _forms_of(path, dataset, folder / "as-trained")
    scheme, source, head = scheme_for(Board.detect().isa), onnx.load(forms.cut), forms.head_of(INT8)
    written = {}
    for container in ("qdq", "qoperator"):
        target = folder / "as-trained" / f"{container}.onnx"
        quantize_static(source, head, statistics, replace(INT8, container=container), scheme, target)
        written[container] = target
    encodings = encodings_of(onnx.load(written["qdq"]), source)
    student = Trainable(source, [output.name for output in head.outputs])
    integers = _Integers(onnx.load(written["qoperator"]), source, list(encodings.activations))
    rounding, counts = Rounding(encodings), {}

    class Compared(torch.nn.Module):
        """Rounds as the student does, says where ONNX Runtime's integers differ, and goes on from those."""

        def forward(self, name: str, value: Any) -> Any:
            encoding = encodings.activations.get(name)
            if encoding is None:
                return rounding(name, value)
            ours = ((value / np.float32(encoding.scale)).round() + encoding.zero_point).clamp(encoding.low, encoding.high)
            theirs = torch.from_numpy(integers.of(name).astype(np.float32))
            apart = (ours - theirs).abs()
            off, most, seen = counts.get(name, (0, 0, 0))
            counts[name] = (off + int((apart > 0).sum()), max(most, int(apart.max())), seen + apart.numel())
            return (theirs - encoding.zero_point) * np.float32(encoding.scale)

        def ranges(self) -> dict[str, tuple[float, float]]:
            return {}

    student.round = Compared()
    artifact = replace(forms.baseline, head=head)
    for sample in dataset.split("val")[:FEW_PICTURES]:
        feed = feed_of(artifact, next(dataset.stream([sample])).image_rgb)
        integers.run(feed)
        with torch.no_grad():
            student(torch.from_numpy(feed[artifact.input.name]))
    student.round = rounding
    found = {}
    for label, engine in (("trained", _Module(student)), ("run", open_engine("onnxruntime", written["qoperator"], threads=usable_cores()))):
        with closing(engine):
            report = evaluate(predict(Detector(artifact, engine), dataset, dataset.split("val"))).report
        found[label] = {"map50": report.map50, "map50_95": report.map50_95}
    shares = {name: off / seen for name, (off, _, seen) in counts.items()}
    return {
        "layers": len(shares),
        "worst_share": max(shares.values()),
        "share": sum(off for off, _, _ in counts.values()) / sum(seen for _, _, seen in counts.values()),
        "most_steps": max(most for _, most, _ in counts.values()),
        "accuracy": found,
        "points": (found["run"]["map50_95"] - found["trained"]["map50_95"]) * POINTS,
        "points_map50": (found["run"]["map50"] - found["trained"]["map50"]) * POINTS,
    }


class _Integers:
    """What ONNX Runtime's integer operators make of every rounded tensor of the float graph."""

    def __init__(self, model: onnx.ModelProto, source: onnx.ModelProto, names: list[str]) -> None:
        import onnxruntime  # noqa: PLC0415 - heavy

        made = {name for node in model.graph.node for name in node.output}
        before = {name: node.input[0] for node in source.graph.node if node.op_type == "Relu" for name in node.output}
        # A ReLU is part of its convolution there; what carries values about has names of its own.
        ways = {name: (f"{name}_quantized", f"{name}quantized", f"{before.get(name, name)}_quantized") for name in names}
        self._names = {name: next(way for way in ways[name] if way in made) for name in names}
        for name in self._names.values():
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        self._held: dict[str, NDArray[Any]] = {}

    def run(self, feed: dict[str, NDArray[Any]]) -> None:
        self._held = dict(zip([each.name for each in self._session.get_outputs()], self._session.run(None, feed), strict=True))

    def of(self, name: str) -> NDArray[Any]:
        return self._held[self._names[name]]


class _Module:
    """A student behind the engines' seam."""

    def __init__(self, student: Any) -> None:
        self._student = student

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        import torch  # noqa: PLC0415 - heavy, and an extra

        with torch.no_grad():
            return [each.numpy() for each in self._student(torch.from_numpy(next(iter(feeds.values()))))]

    def describe(self) -> Any:
        return None

    def close(self) -> None:
        return None


# --- other networks, as a user would have them learn --------------------------------------------------------------------------------------


def taught(lessons: Sequence[tuple[Path, Path, str]], folder: Path) -> dict[str, Any]:
    """`edgewright recover MODEL --data DATA --recipe CHANGES` for each, in a process of its own."""
    found = []
    for model, data, changes in lessons:
        out, told = folder / f"taught-{len(found)}", folder / "told.json"
        words = ["recover", str(model), "--data", str(data), "--out", str(out), "--recipe", changes, "--json", str(told)]
        document = _told(words, told, os.environ)
        kept = (
            "stages",
            "accuracy",
            "before",
            "after",
            "agreement",
            "delta",
            "frames",
            "judged_on",
            "size",
            "peak_mib",
            "elapsed_s",
            "warnings",
        )
        name = data.name if data.is_dir() else data.parent.name
        found.append({"model": model.name, "data": name, "changes": changes, **{key: document[key] for key in kept}})
    return {"lessons": found}
