"""Remake docs/performance.md: each case is measured here, written to benchmarks/results/, and the page is rendered from those files.

    python benchmarks/first_light.py                 # everything, about half an hour on 2 quiet cores
    python benchmarks/first_light.py coco render     # one case, then the page

It needs the test data (EDGEWRIGHT_TEST_DATA, default ../shared/data). A result carries the commit it was measured on.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewright.accuracy.coco import evaluate, mean_average_precision
from edgewright.accuracy.compare import POINTS
from edgewright.accuracy.predictions import predict, pseudo_truth
from edgewright.bench.measure import Job, measure, ratio
from edgewright.board.profile import Board, usable_cores
from edgewright.cli.output import Terminal
from edgewright.compress.candidates import describe_candidate, make_model, prepare_float_forms, watch_ranges
from edgewright.compress.recipes import PLAIN, RECIPES, TUTORIAL_RECIPE
from edgewright.data.calibration import choose_calibration
from edgewright.data.circuit_boards import write_dataset
from edgewright.data.dataset import Dataset, open_dataset
from edgewright.demo import demo_model
from edgewright.detector import Detector, artifact_of_model, open_detector
from edgewright.engines import open_engine
from edgewright.fit import Budget, FitRequest, fit
from edgewright.fit.choose import AGREE_ABOVE
from edgewright.fit.evidence import tool_versions
from edgewright.fit.search import put_through_gate
from edgewright.progress import unseen
from edgewright.stats import resample_counts

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("EDGEWRIGHT_TEST_DATA", ROOT.parent / "shared" / "data"))
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"
SEEDS = range(5)


def coco() -> dict[str, Any]:
    """YOLOv8n on COCO, one thread, 64 calibration images, default seed."""
    return _fitted(DATA / "models/yolov8n.onnx", DATA / "coco/data.yaml", Budget(max_drop=1.5), threads=1)


def coco_threads() -> dict[str, Any]:
    """The same with all cores: float, dynamic and static at every number of threads."""
    return _fitted(DATA / "models/yolov8n.onnx", DATA / "coco/data.yaml", Budget(max_drop=1.5), threads=usable_cores())


def deeppcb() -> dict[str, Any]:
    """A YOLOv8n trained on DeepPCB, judged on its official test split."""
    return _fitted(DATA / "models/pcb_yolov8n.onnx", DATA / "deeppcb/data.yaml", Budget(max_drop=1.0), threads=1)


def tutorial() -> dict[str, Any]:
    """The recipe most tutorials give, put through the gate."""
    with tempfile.TemporaryDirectory() as folder, Terminal(quiet=False) as terminal:
        request = FitRequest(DATA / "models/yolov8n.onnx", DATA / "coco/data.yaml", Path(folder), Budget(max_drop=1.5), threads=1)
        judged = put_through_gate(request, TUTORIAL_RECIPE, watch=terminal)
    decision = judged.decision
    return {
        "verdict": decision.verdict,
        "binding": list(decision.binding),
        "reason": decision.reason,
        "map50_95": judged.fitted.report.map50_95,
        "speedup": ratio(judged.baseline_cost, judged.fitted_cost).to_json(),
    }


def draws() -> dict[str, Any]:
    """Every recipe on five calibration draws of YOLOv8n, judged on COCO val: what holds over seeds."""
    return _draws(DATA / "models/yolov8n.onnx", open_dataset(DATA / "coco/data.yaml"))


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


CASES: dict[str, Callable[[], dict[str, Any]]] = {case.__name__: case for case in (coco, coco_threads, deeppcb, tutorial, draws, demo)}


def _fitted(model: Path, data: Path, budget: Budget, threads: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, Terminal(quiet=False) as terminal:
        evidence = fit(FitRequest(model, data, Path(folder), budget, threads=threads), watch=terminal)
        document = evidence.to_json()
        rows = [{**m.row(), "name": m.job.name} for m in evidence.judged.measurements]
    return {**document, "rows": rows, "model": model.name, "data": data.parent.name}


def _draws(model: Path, dataset: Dataset) -> dict[str, Any]:
    board, cores = Board.detect(), usable_cores()
    baseline = artifact_of_model(model)
    val = dataset.split("val")
    recipes = [recipe for recipe in RECIPES if recipe.mode == "static"]
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
            statistics_of = watch_ranges(forms, recipes[0], calibration, folder / "scratch.onnx", cores, unseen)
            for recipe in recipes:
                path = folder / "model.onnx"
                make_model(forms, recipe, statistics_of, board, path)
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
            make_model(forms, recipe, statistics_of, board, folder / f"{at}.onnx")
            jobs.append(Job(recipe.name, folder / f"{at}.onnx", "onnxruntime", "int8", 1))
        measured = measure(jobs, rounds=20)
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


def record(name: str) -> None:
    """Measure a case and write its result."""
    began = time.monotonic()
    result = CASES[name]()
    document = {
        "case": name,
        "commit": _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain", "--", "src") else ""),
        "host": Board.detect().to_json(),
        "versions": tool_versions(),
        "seconds": round(time.monotonic() - began),
        "result": result,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")


def render() -> None:
    """Write docs/performance.md from the results."""
    held = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    parts = [HEADER]
    for name, section in SECTIONS.items():
        if name in held:
            parts.append(f"{section(held[name]['result'])}\n\n{_footer(held[name])}")
    PAGE.write_text("\n\n".join(parts) + "\n")


HEADER = """# Performance

Rendered by `make bench` (`benchmarks/first_light.py`) from `benchmarks/results/*.json`; nothing here is typed by hand. Read ratios, not
times: they come from one interleaved run in which each model has a process of its own. Model only, batch 1, unless a line says otherwise.
Intervals are 95 %. ONNX Runtime's float32 models compute in float32, its int8 models in 8 bits with 32-bit sums."""


def _fit_section(title: str) -> Callable[[dict[str, Any]], str]:
    def section(r: dict[str, Any]) -> str:
        speed, before, after = r["speedup"]["p50"], r["baseline"], r["fitted"]
        rows = [
            [label, f"{before[key]:.4f}", f"{after[key]:.4f}", _span(r["delta"][key], "+.2f", " points")]
            for label, key in (("mAP50", "map50"), ("mAP50-95", "map50_95"))
        ]
        rows += [
            ["p50 ms", before["latency_ms"]["p50"], after["latency_ms"]["p50"], _span(speed, ".2f", "x")],
            ["p99 ms", before["latency_ms"]["p99"], after["latency_ms"]["p99"], ""],
            ["peak MiB", before["peak_mib"], after["peak_mib"], ""],
            ["MB on disk", before["size_mb"], after["size_mb"], ""],
        ]
        head = f"Verdict **{r['verdict']}** with {after['name']!r}, {r['delta']['images']} images, {before['threads']} thread(s)."
        return f"## {title}\n\n{head}\n\n" + _table(("", "float32", "fitted", "change"), rows)

    return section


def _threads_section(r: dict[str, Any]) -> str:
    keys = ("name", "precision", "threads", "load_ms", "first_ms", "p50_ms", "p90_ms", "p99_ms", "cpu_percent", "peak_mib", "size_mb")
    return f"## Float, dynamic and static INT8 by threads ({r['model']})\n\n" + _table(
        keys, [[row[key] for key in keys] for row in r["rows"]]
    )


def _tutorial_section(r: dict[str, Any]) -> str:
    speed = f"{r['speedup']['estimate']:.2f}x the speed of float32"
    return (
        "## The tutorial recipe, put through the gate (yolov8n on COCO)\n\n"
        f"Whole graph, S8S8, per channel, reduce_range: mAP50-95 {r['map50_95']:.3f}, {speed}. "
        f"Verdict **{r['verdict']}**, binding: {', '.join(r['binding'])}."
    )


def _draws_section(r: dict[str, Any]) -> str:
    rows = [
        [name, f"{statistics.mean(drops):.2f}", f"{min(drops):.2f} to {max(drops):.2f}",
         f"{statistics.mean(r['agreement'][name]):.3f}",
         _span(r["speedups"][name], ".2f", "x")]
        for name, drops in r["drops"].items()
    ]  # fmt: skip
    return (
        f"## What holds over calibration draws (yolov8n, COCO val 128, 64 images, {len(r['seeds'])} seeds, 1 thread)\n\n"
        "Points of mAP50-95 lost; agreement is mAP50-95 with the float model's boxes above 0.25 as truth.\n\n"
        + _table(("recipe", "mean loss", "range", "agreement", "speed-up"), rows)
        + f"\n\nHow clearly these images tell 'int8' from '{PLAIN.name}' (mean of the paired bootstrap difference over its standard "
        f"deviation, first draw): {r['separation_sd']['map']:.1f} by mAP50-95, {r['separation_sd']['agreement']:.1f} by agreement."
    )


def _demo_section(r: dict[str, Any]) -> str:
    rows = [[name, f"{each['map50']:.3f}", f"{each['map50_95']:.3f}", each["images"]] for name, each in r.items()]
    gap = " and per class (AP50): "
    synthetic, real = r["held-out boards, binary look"], r["DeepPCB official test, zero-shot"]
    classes = [f"{name} {synthetic['per_class'][name]['ap50']:.2f} -> {each['ap50']:.2f}" for name, each in real["per_class"].items()]
    return (
        "## The demo detector\n\nTrained on drawn boards only (recipe and time: `src/edgewright/demo_model/MODEL_CARD.md`).\n\n"
        + _table(("judged on", "mAP50", "mAP50-95", "images"), rows)
        + f"\n\nSynthetic to real, same look{gap}{', '.join(classes)}."
    )


SECTIONS: dict[str, Callable[[dict[str, Any]], str]] = {
    "coco": _fit_section("YOLOv8n on COCO, `--max-drop 1.5 --threads 1`"),
    "coco_threads": _threads_section,
    "deeppcb": _fit_section("YOLOv8n trained on DeepPCB, official test"),
    "tutorial": _tutorial_section,
    "draws": _draws_section,
    "demo": _demo_section,
}


def _footer(document: dict[str, Any]) -> str:
    host = document["host"]
    machine = f"{host['cpu']}, {host['cores']} cores ({', '.join(host['isa'])}), onnxruntime {document['versions']['onnxruntime']}"
    command = f"python benchmarks/first_light.py {document['case']} render"
    return f"Remake: `{command}`. Commit {document['commit']}, {machine}, {document['seconds']} s."


def _table(columns: tuple[str, ...], rows: list[Any]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _span(interval: dict[str, float], form: str, unit: str) -> str:
    low, high = format(interval["low"], form), format(interval["high"], form)
    return f"**{format(interval['estimate'], form)}{unit}** ({low} to {high})"


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S607


def main() -> None:
    """Measure what was asked for, then render."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help=f"{', '.join(CASES)}, render (default: all)")
    wanted = parser.parse_args().cases or [*CASES]
    for name in wanted:
        if name != "render":
            record(name)
    render()


if __name__ == "__main__":
    main()
