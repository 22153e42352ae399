"""docs/performance.md, rendered from benchmarks/results/*.json: a function a section."""

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgewright.compress.recipes import PLAIN

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"


def render() -> None:
    """Write docs/performance.md from the results."""
    held = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    parts = [HEADER]
    for name, section in SECTIONS.items():
        if name in held:
            parts.append(f"{section(held[name]['result'])}\n\n{_footer(held[name])}")
    PAGE.write_text("\n\n".join(parts) + "\n")


HEADER = """# Performance

Rendered by `make bench` (`benchmarks/performance.py`) from `benchmarks/results/*.json`; nothing here is typed by hand. Read ratios, not
times: they come from one interleaved run in which each model has a process of its own. Model only, batch 1, unless a line says otherwise.
Intervals are 95 %. ONNX Runtime's float32 models compute in float32, its int8 models in 8 bits with 32-bit sums."""


def _fit_section(title: str) -> Callable[[dict[str, Any]], str]:
    def section(r: dict[str, Any]) -> str:
        speed, before, after = r["speedup"]["p50"], r["baseline"], r["fitted"]
        rows = [
            [label, _accuracy(before[key], 4), _accuracy(after[key], 4), _span(r["delta"][key], "+.2f", " points")]
            for label, key in (("mAP50", "map50"), ("mAP50-95", "map50_95"))
        ]
        rows += [
            ["p50 ms", before["latency_ms"]["p50"], after["latency_ms"]["p50"], _span(speed, ".2f", "x")],
            ["p99 ms", before["latency_ms"]["p99"], after["latency_ms"]["p99"], ""],
            ["peak MiB", before["peak_mib"], after["peak_mib"], ""],
            ["MB on disk", before["size_mb"], after["size_mb"], ""],
        ]
        if "threshold" in r:
            threshold, f1 = r["threshold"], r["threshold"]["judging"]
            gained = (f1["f1_after"] - f1["f1_float"]) * 100
            rows.append(["threshold", threshold["float_score"], f"{threshold['score']:.3f}", ""])
            rows.append(["F1 there", f"{f1['f1_float']:.4f}", f"{f1['f1_after']:.4f}", f"**{gained:+.2f} points**"])
        head = (
            f"Verdict **{r['verdict']}** with {after['name']!r}, {r['delta']['images']} images, {before['threads']} thread(s); "
            f"the whole fit took {r['elapsed_s']:.0f} s. {r['reason'][:1].upper()}{r['reason'][1:]}."
        )
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


def _seeds_section(r: dict[str, Any]) -> str:
    fits = zip(r["seeds"], r["fits"], r["against_plain"], strict=True)
    rows = [
        [seed, one["winner"], _span(one["delta"]["map50_95"], "+.2f", " points"), _span(speed, ".3f", "x"), round(one["elapsed_s"])]
        for seed, one, speed in fits
    ]
    mean = statistics.mean(-one["delta"]["map50_95"]["estimate"] for one in r["fits"])
    return (
        "## Five fits, five calibration draws (yolov8n on COCO, `--threads 1`)\n\n"
        f"Mean drop of mAP50-95: **{mean:.2f} points**. Speed is against plain min-max U8S8 over the whole network but its decode.\n\n"
        + _table(("seed", "winner", "change of mAP50-95", f"speed against {PLAIN.name!r}", "seconds"), rows)
    )


def _memory_section(r: dict[str, Any]) -> str:
    (few, before), (many, after) = r["peak_mib"].items()
    return (
        "## Memory of calibration\n\n"
        f"`edgewright quantize` with bias correction, demo detector: {before:.0f} MiB at its peak with {few} pictures, "
        f"{after:.0f} MiB with {many}: **{(after / before - 1) * 100:+.1f} %**."
    )


def _end_to_end_section(r: dict[str, Any]) -> str:
    rows = r["rows"]
    wanted = {row["name"] for row in rows}
    lead = f"`edgewright bench yolov8n.onnx fitted ... --peers --end-to-end {r['clip']}`: YOLOv8n as fitted against Ultralytics' `predict` "
    lead += (
        "on the model as given. Frames a second are what a loop over the boxes sees; stages are timed apart, without overlap, and their "
    )
    lead += "share leaves the decode out. Ultralytics' decode is what is left of its frame beside the stages that it times itself."
    return f"## From a clip's file to boxes\n\n{lead}\n\n" + _frames_table(rows) + "\n\n" + _held_against(r, "end_to_end", wanted)


def _peers_section(r: dict[str, Any]) -> str:
    accuracy = r["map50_95"]
    keys = ("name", "engine", "version", "precision", "p50_ms", "p99_ms", "peak_mib", "size_mb", "peak_share")
    rows = [[*(row[key] for key in keys), _accuracy(accuracy.get(row["name"]))] for row in r["rows"]]
    peaks = ", ".join(f"{peak['macs_per_s'] / 1e9:.0f} G" for peak in r["peaks"])
    names = {row["name"] for row in r["rows"]}
    lead = "`edgewright bench yolov8n.onnx fitted --peers --data coco --threads 1 --peak`. The accuracy is judged on COCO val; Ultralytics "
    lead += "runs the float file. The integer peak of one thread, of which shares are told, is "
    parts = [
        "## Against what people use today (YOLOv8n, 1 thread)",
        f"{lead}{peaks} multiply-accumulates a second.",
        _table((*keys, "mAP50-95"), rows),
        _held_against(r, "p50", names),
        _frames_table(r["rows"]),
        *(f"Left out: {each['name']}: {each['reason']}." for each in r["left_out"]),
    ]
    return "\n\n".join(parts)


def _accuracy(value: float | None, digits: int = 3) -> str:
    """Without labels there is none."""
    return "" if value is None else f"{value:.{digits}f}"


def _frames_table(rows: list[dict[str, Any]]) -> str:
    keys = ("name", "threads", "end_to_end_fps", "decode_ms", "preprocess_ms", "model_ms", "postprocess_ms", "around_share")
    keys = (*keys, "detector_peak_mib", "cold_start_ms")
    return _table(keys, [[row[key] for key in keys] for row in rows])


def _held_against(r: dict[str, Any], what: str, names: set[str]) -> str:
    lines = [
        f"- {each['b']} against {each['a']}, {each['threads'][0]} thread(s): {_span(each[what], '.2f', 'x')}"
        for each in r["ratios"]
        if each["b"].startswith("fitted") and each["a"] in names and each["threads"][0] == each["threads"][1]
    ]
    return "\n".join(lines)


def _arm64_section(r: dict[str, Any]) -> str:
    board, size = r["board"], r["size"]
    rows = [
        [each["name"], each["pictures"], f"{each['map50_95_there']:.4f}", f"{each['map50_95_here']:.4f}",
         _span(each["points_apart"], "+.2f", " points"),
         f"{each['outputs_equal']} of {each['pictures']}",
         f"{each['boxes_equal']} of {max(each['boxes_there'], each['boxes_here'])}",
         f"{each['shown_alike']} of {max(each['shown_there'], each['shown_here'])}"]
        for each in r["artifacts"]
    ]  # fmt: skip
    columns = ("", "pictures", "mAP50-95 there", "here", "there - here", "outputs equal", "boxes equal", "boxes above 0.25 alike")
    largest = [[name, f"{count / 1e6:.1f}"] for name, count in list(size["packages"].items())[:8]]
    rest = (size["bytes"] - sum(list(size["packages"].values())[:8])) / 1e6
    tests = ", ".join(f"{count} {kind}" for kind, count in r["tests"].items() if kind in {"passed", "failed", "error", "skipped"} and count)
    return (
        "## On an emulated Arm board\n\n"
        f"{board['release']} for {board['machine']}, Python {board['python']}, onnxruntime {board['versions']['onnxruntime']}, run by "
        f"{board['emulator']} as a {board['processor']} ({', '.join(board['isa'])}). Nothing here is about speed. The same artifacts and "
        "the same pictures of COCO val, there and here. Outputs, and boxes above a score of 0.001, are equal where every bit is; boxes "
        "are alike where class, score (0.01) and sides (1 pixel) are.\n\n"
        + _table(columns, rows)
        + f"\n\n`import edgewright`, `edgewright --help` and `edgewright detect` run there; tests/engines: {tests}."
        f"\n\n`edgewright[ort]` from wheels takes **{size['bytes'] / 1e6:.1f} MB** of site-packages there (no bytecode, no pip):\n\n"
        + _table(("package", "MB"), [*largest, ["the rest", f"{rest:.1f}"]])
    )


def _recovered_section(title: str) -> Callable[[dict[str, Any]], str]:
    def section(r: dict[str, Any]) -> str:
        parts = [_fit_section(title)(r), _changes_table(r)]
        if "winner" in r:
            parts += [_winner_table(r)]
        if "pruning" in r:
            parts += [_pruning_table(r["pruning"])]
        if "as trained" in r:
            parts += [_as_trained_sentence(r["as trained"])]
        return "\n\n".join(parts)

    return section


def _changes_table(r: dict[str, Any]) -> str:
    """Each network that learned: in float on the judging split, and its fastest integer form on the selection split."""
    rows, given = [], r["floats"]["given"]
    rows.append(["as given", "", "", "", "", f"{given['map50']:.4f}", f"{given['map50_95']:.4f}", f"{given['macs'] / 1e9:.2f}", "", ""])
    for stage in r["recovery"]["stages"]:
        exact = r["floats"][stage["source"]]
        fastest = "" if stage["speedup"] is None else f"{stage['speedup']:.2f}x, {stage['delta_points']:+.2f} points"
        rows.append([
            stage["source"], stage["steps"], f"{stage['seconds'] / 60:.1f}", f"{stage['peak_mib'] / 1024:.2f}",
            f"{stage['agreement']:.3f}", f"{exact['map50']:.4f}",
            f"{exact['map50_95']:.4f}", f"{exact['macs'] / 1e9:.2f}", stage["fastest"] or "", fastest,
        ])  # fmt: skip
    total = sum(stage["seconds"] for stage in r["recovery"]["stages"]) / 60
    frames = r["recovery"]["stages"][0].get("frames")
    lead = (
        f"What each change made of it, learned from {frames} frames without labels in {total:.1f} minutes altogether: the float network on "
        "the judging split, and its fastest integer candidate on the selection split."
    )
    columns = (
        "network",
        "steps",
        "minutes",
        "GiB",
        "agreement",
        "mAP50",
        "mAP50-95",
        "GMAC",
        "fastest in integers",
        "speed and change there",
    )
    return f"{lead}\n\n" + _table(columns, rows)


def _winner_table(r: dict[str, Any]) -> str:
    rows = []
    for where, found in r["winner"].items():
        for each in found["ratios"]:
            gained = (found["map50"] - r["baseline"]["map50"]) * 100, (found["map50_95"] - r["baseline"]["map50_95"]) * 100
            rows.append([where, each["threads"], _span(each, ".2f", "x"), *(f"{points:+.2f}" for points in gained)])
    lead = "The winner against the given model in ONNX Runtime float32, `edgewright bench` and `edgewright eval` on the judging split."
    return f"{lead}\n\n" + _table(("processor", "threads", "speed", "points of mAP50", "points of mAP50-95"), rows)


def _pruning_table(r: dict[str, Any]) -> str:
    rows = [
        [
            row["engine"],
            row["precision"],
            *(f"{ms:.2f}" for ms in row["ms"]),
            _span(row["speedup"], ".2f", "x"),
            f"{row['share_of_macs']:.2f}",
        ]
        for row in r["rows"]
    ]
    lead = (
        f"Pruning takes {r['macs_saved']:.1%} of the multiply-adds. What share of that is saved in time, one thread, integers in the forms "
        "that are deployed:"
    )
    return f"{lead}\n\n" + _table(("engine", "precision", "ms before", "ms after", "speed", "time saved / multiply-adds saved"), rows)


def _as_trained_sentence(r: dict[str, Any]) -> str:
    trained, run = r["accuracy"]["trained"], r["accuracy"]["run"]
    return (
        f"The student as it was trained (rounded in PyTorch, float32) against ONNX Runtime's integer operators: from equal "
        f"integers, of {r['layers']} "
        f"tensors the worst has {r['worst_share']:.1e} of its elements off by one, all together {r['share']:.1e}, none by more than "
        f"{r['most_steps']}. End to end mAP50 {trained['map50']:.4f} and {run['map50']:.4f}, mAP50-95 {trained['map50_95']:.4f} and "
        f"{run['map50_95']:.4f}: **{r['points']:+.3f} points**."
    )


def _taught_section(r: dict[str, Any]) -> str:
    rows = []
    for each in r["lessons"]:
        before, after = each["before"] or {}, each["after"] or {}
        rows.append([
            each["model"], each["data"], each["changes"], each["frames"]["learned_from"], f"{each['elapsed_s'] / 60:.1f}",
            f"{each['peak_mib'] / 1024:.2f}", f"{each['stages'][0]['checks'][0]['agreement']:.3f}", f"{each['agreement']['map50_95']:.3f}",
            _accuracy(before.get("map50"), 3), _accuracy(after.get("map50"), 3),
            _span(each["delta"]["map50_95"], "+.2f", " points" if before else " points of agreement"),
        ])  # fmt: skip
    columns = (
        "network",
        "data",
        "changes",
        "frames",
        "minutes",
        "GiB",
        "agreement at first",
        "at last",
        "mAP50 before",
        "after",
        "change of mAP50-95",
    )
    lead = (
        "`edgewright recover MODEL --data ... --recipe CHANGES`. Agreement is mAP50-95 with the given model's boxes as truth: at the first "
        "look on held-out frames, and at last on the val split. Where there are no labels, that is all there is."
    )
    return f"## Other networks, few frames, no labels\n\n{lead}\n\n" + _table(columns, rows)


def _live_section(r: dict[str, Any]) -> str:
    rows = [
        [what, *(f"{r[key][q]:.1f}" for q in ("p50", "p90", "p99"))]
        for what, key in (
            ("ring to answer (frame age)", "age_ms"),
            ("the model alone", "model_ms"),
            ("what the service adds", "overhead_ms"),
        )
    ]
    rows += [[f"stage: {name}", *(f"{ms[q]:.2f}" for q in ("p50", "p90", "p99"))] for name, ms in r["stages_ms"].items() if name != "model"]
    wide, high = r["size_wh"]
    lead = f"One camera of {wide} x {high}, {r['threads']} thread, {r['frames']} frames of a live clip; milliseconds."
    return f"## What a live service adds to the model's time\n\n{lead}\n\n" + _table(("", "p50", "p90", "p99"), rows)


def _motion_section(r: dict[str, Any]) -> str:
    rows = [
        [
            *(each["clip"], each["frames"], f"{each['spared']:.1%}"),
            *(f"{each['boxes_missed']:.1%} of {each['boxes']}", f"{each['things_missed']} of {each['things']}"),
        ]
        for each in r["rows"]
    ]
    lead = (
        "`[camera.motion]` with its defaults. Boxes missed are those that YOLOv8n shows in frames that it was spared; a thing (a track) is "
        "missed where every frame with it was."
    )
    columns = ("clip", "frames", "spared", "boxes missed", "things missed")
    return f"## What motion gating spares, and what it misses\n\n{lead}\n\n" + _table(columns, rows)


def _bandwidth_section(r: dict[str, Any]) -> str:
    rows = [
        [row["kind"], row["threads"], row["ours_gb_per_s"], row["theirs_gb_per_s"], _span(row["ratio"], ".2f", "x"),
         "" if row["processor_ratio"] is None else _span(row["processor_ratio"], ".2f", "x")]
        for row in r["rows"]
    ]  # fmt: skip
    lead = (
        f"`edgewright board --bandwidth` against `benchmarks/bandwidth.c`, which makes the same passes without Python, in turns: "
        f"{r['rounds']} rounds, arrays of {r['array_bytes'] >> 20} MiB (the last-level cache is {r['cache_bytes'] >> 20} MiB). "
        "A copy counts every byte twice, in and out."
    )
    if r["mbw_copy_gb_per_s"] is not None:
        lead += f" Debian's `mbw`, counted alike, says {r['mbw_copy_gb_per_s']} GB/s of memcpy on one thread."
    columns = ("pass", "threads", "ours GB/s", "C GB/s", "ours / C", "of processor time")
    return f"## The bandwidth of memory, told by Python and by C\n\n{lead}\n\n" + _table(columns, rows)


def _governor_section(r: dict[str, Any]) -> str:
    lead = (
        f"Simulated boards that are not the governor's own model (`testing/plants.py`), {r['seeds']} seeds, the worst of each. The oracle "
        "knows the plant: the best constant way to run that never passes the limit. Where a day begins cooler than it ends, more can be "
        "done than that. *Settled*: of the last third of the time alone. Turns: changes of direction between rungs within ten minutes."
    )
    drawn = r["drawn"]
    names = [*(each["case"] for each in r["feasible"]), f"**{drawn['boards']} boards drawn at random**"]
    rows = [
        [name, f"{each['over_c']:+.2f}", each["reversals"], f"{each['of_oracle']:.1%}", f"{each['settled']:.1%}"]
        for name, each in zip(names, [*r["feasible"], drawn], strict=True)
    ]
    hot = "; ".join(f"{each['case']}: {each['said_after_s']:.0f} s after it crossed its limit" for each in r["too_hot"])
    faults = ", ".join(f"{each['fault']} after {each['noticed_after_s']:.0f} s" for each in r["sensor_faults"])
    over = max(each["over_c"] for each in r["sensor_faults"])
    few = (
        f"Of the drawn boards {drawn['left_out']} were left out, which shed hardly more heat than a frame a second makes; the median "
        f"of the others has {drawn['median_of_oracle']:.1%} of the oracle's work. "
        f"A step takes {r['step_microseconds']:.0f} µs, once a second."
    )
    return "\n\n".join(
        [
            f"## How heat is governed\n\n{lead}",
            _table(("board", "hottest, from the limit (°C)", "turns", "of the oracle's work", "settled"), rows),
            few,
            f"Boards too hot at their lowest rung, and when that was said (the lowest rung was then held): {hot}.",
            f"Sensors that go wrong are noticed: {faults}; the hottest of these boards was {over:+.2f} °C from its limit.",
            f"![{r['charted']}: die temperature and frames a second](../benchmarks/results/{r['chart']})",
        ]
    )


def _serve_section(r: dict[str, Any]) -> str:
    rows = [
        [
            *(each["model"], f"{each['statuses'].get('200', 0)} of {each['requests']}", each["loop_per_s"], each["http_per_s"]),
            *(_span(each["share"], ".3f", ""), f"{each['latency_ms']['p50']:.0f}, {each['latency_ms']['p99']:.0f}"),
            " + ".join(f"{each['cpu_ms'][part]:.1f}" for part in ("server", "model", "clients")),
        ]
        for each in r["rows"]
    ]
    first = r["rows"][0]
    lead = (
        f"{first['clients']} clients, each over one connection, against the same engine called in a loop, in turns; one thread; "
        f"uint8 pictures of 640 x 640 ({first['bytes']['request'] / 1e6:.1f} MB a request, {first['bytes']['answer'] / 1e6:.1f} MB an "
        "answer). CPU is of the server, of the model's process and of all clients, which share the cores with it. Share: of the loop's "
        "throughput."
    )
    columns = ("model", "answered", "loop, a second", "HTTP, a second", "share", "p50, p99 ms", "CPU ms a request")
    return f"## Models over HTTP\n\n{lead}\n\n" + _table(columns, rows)


def _together_section(r: dict[str, Any]) -> str:
    rows = [
        [
            *(each["model"], each["threads"], each["alone_ms"]),
            ", ".join(f"{size}: {share:.2f}" for size, share in each["shares"].items()) or each["apart_why"] or "",
            *(f"{each['together']:.2f}", each["trials"], _span(each["speed"], ".2f", "x")),
            *(f"{each['latency_ms'][most]['p50']:.1f}, {each['latency_ms'][most]['p99']:.1f}" for most in ("1", "8")),
        ]
        for each in r["rows"]
    ]
    lead = (
        "8 clients that ask all the time. Learned: what 2, 4 and 8 take together, divided by what they take one after the other; below "
        "0.95 they are joined. Speed: requests a second against the same server that joins nothing, in turns."
    )
    columns = ("model", "threads", "ms alone", "learned", "a run", "trials", "speed", "p50, p99 ms alone", "joined")
    return f"## Requests computed together\n\n{lead}\n\n" + _table(columns, rows)


def _dashboard_section(r: dict[str, Any]) -> str:
    rows = [
        [
            *(each["size"], each["looks"], f"{each['painted_ms']['p50']:.0f}, {each['painted_ms']['max']:.0f}"),
            *(f"{each['figures_ms']['p50']:.0f}, {each['figures_ms']['max']:.0f}", each["files"], f"{each['bytes'] / 1000:.0f}"),
        ]
        for each in r["rows"]
    ]
    costs = [[name, f"{each['service']:.1f} %", f"{each['front']:.1f} %"] for name, each in r["percent"].items()]
    lead = (
        f"The page of a real service with {r['cameras']} cameras at 10 frames a second, in {r['browser']} on the same two cores, each look "
        "without a cache. Figures: until the first quantile stands there, for which the page needs two statuses a second apart."
    )
    columns = ("", "looks", "first paint: p50, longest (ms)", "figures (ms)", "files", "KB")
    cost = "Of a core, while it is open; pictures: two cameras stream, two show stills."
    return f"## The dashboard\n\n{lead}\n\n{_table(columns, rows)}\n\n{cost}\n\n" + _table(("", "service", "front"), costs)


def _watch_section(r: dict[str, Any]) -> str:
    rows = [
        [
            *(name, f"{each['columns']} x {each['rows']}", f"{each['percent']:.2f} %", f"{each['start_s']:.2f}"),
            *(f"{each['peak_mib']:.0f}", each["bytes_per_s"]),
        ]
        for name in ("ours", "rich, lines", "rich, tables")
        for each in r[name]
    ]
    lead = (
        f"`edgewright watch` once a second for a service with {r['cameras']} cameras, an event every five seconds, on a pseudo-terminal; "
        "and the same page drawn by Rich's `Live`, as lines, or with its tables."
    )
    columns = ("drawn by", "screen", "of a core", "start, s of processor time", "memory, MiB", "bytes a second")
    return f"## `watch` in a terminal\n\n{lead}\n\n" + _table(columns, rows)


SECTIONS: dict[str, Callable[[dict[str, Any]], str]] = {
    "engines": _fit_section("YOLOv8n on COCO, `--max-drop 1.5 --threads 1`, every engine"),
    "engines_threads": _fit_section("The same with two threads"),
    "engines_vnni": _fit_section("One thread, OpenVINO held to AVX-512 VNNI (`ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI`)"),
    "coco": _fit_section("YOLOv8n on COCO, `--max-drop 1.5 --threads 1 --engines onnxruntime`"),
    "line": _fit_section("YOLOv8n fitted to a camera over a line, `--frame 640x360 --threads 1`, no labels"),
    "line_onnxruntime": _fit_section("The same, `--engines onnxruntime`"),
    "tight": _fit_section("YOLOv8n on COCO, `--max-drop 0.5 --threads 1`"),
    "yolov5": _fit_section("YOLOv5n on COCO, `--max-drop 1.5 --threads 1`"),
    "yolox": _fit_section("YOLOX-nano on COCO, `--max-drop 1.5 --threads 1`"),
    "coco_threads": _threads_section,
    "deeppcb": _fit_section("YOLOv8n trained on DeepPCB, official test"),
    "recover": _recovered_section("YOLOv8n trained on DeepPCB, `fit --recover --threads 1`, official test"),
    "recover_coco": _recovered_section("YOLOv8n on COCO, `fit --recover --recipe swap --threads 1`, few frames"),
    "recover_families": _taught_section,
    "live": _live_section,
    "live_motion": _motion_section,
    "governor": _governor_section,
    "serve_http": _serve_section,
    "serve_together": _together_section,
    "dashboard": _dashboard_section,
    "watch": _watch_section,
    "tutorial": _tutorial_section,
    "seeds": _seeds_section,
    "draws": _draws_section,
    "calibration_memory": _memory_section,
    "demo": _demo_section,
    "end_to_end": _end_to_end_section,
    "peers": _peers_section,
    "arm64": _arm64_section,
    "bandwidth": _bandwidth_section,
}
COMMANDS = {  # what is not a case of performance.py
    "arm64": "make arm64",
    "bandwidth": "python benchmarks/bandwidth.py --record",
    "dashboard": "python benchmarks/dashboard.py",
    "watch": "python benchmarks/watch.py",
}


def _footer(document: dict[str, Any]) -> str:
    host = document["host"]
    machine = f"{host['cpu']}, {host['cores']} cores ({', '.join(host['isa'])}), onnxruntime {document['versions']['onnxruntime']}"
    command = COMMANDS.get(document["case"], f"python benchmarks/performance.py {document['case']} render")
    return f"Remake: `{command}`. Commit {document['commit']}, {machine}, {document['seconds']} s."


def _table(columns: tuple[str, ...], rows: list[Any]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _span(interval: dict[str, float], form: str, unit: str) -> str:
    low, high = format(interval["low"], form), format(interval["high"], form)
    return f"**{format(interval['estimate'], form)}{unit}** ({low} to {high})"
