"""`edgewright fit`: one command from a detector to a proven INT8 model."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from edgewright.cli.folders import utf8
from edgewright.cli.output import JsonPath, Quiet, Terminal, Threads, console_for, write_json
from edgewright.cli.screen import table
from edgewright.errors import InputError
from edgewright.printable import printable

LARGEST_SIDE = 8192
USUAL_CHANGES = "swap,prune=0.4,qat"
FEW_LEFT_BEHIND = 3  # a sentence each; more make a table

EXAMPLES = """
[bold]Examples[/bold]

  edgewright fit yolov8n.onnx --data coco/data.yaml --out fitted

  edgewright fit yolov8n.onnx --data coco/data.yaml --out fitted --max-drop 0.5 --max-latency-ms 30 --threads 1

  edgewright fit yolov8n.onnx --data coco/data.yaml --out fitted --resume      (after Ctrl-C, a crash or a power cut)

  edgewright fit yolov8n.onnx --data line/ --out fitted --engines onnxruntime,openvino --frame 1280x720 --sizes 512,416

  edgewright fit yolov8n.onnx --data frames/ --out fitted --recover           (swaps SiLU, prunes, and lets it learn its answers back)

  edgewright fit yolov8n.onnx --data frames/ --out fitted --board rpi5        (no labels, another board: provisional at best)

[bold]Exit codes[/bold]  0 ship, 1 refuse or provisional, 2 the input is wrong, 3 this machine cannot
"""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("fit", epilog=EXAMPLES)(fit)


def fit(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A float detector of the YOLO family, .onnx.")],
    data: Annotated[Path, typer.Option(metavar="DATA", help="A data.yaml, COCO json, VOC folder, or folder of images without labels.")],
    out: Annotated[
        Path, typer.Option(metavar="DIR", callback=utf8, help="Where artifact.json, the model, evidence.json and report.html go.")
    ],
    max_drop: Annotated[float, typer.Option(min=0, max=100, help="Points of mAP50-95 that may be lost.")] = 1.0,
    max_latency_ms: Annotated[float | None, typer.Option(min=0, help="p50 of the model alone, batch 1.")] = None,
    max_memory_mib: Annotated[float | None, typer.Option(min=0, help="Peak memory of the process that runs the model.")] = None,
    max_size_mb: Annotated[float | None, typer.Option(min=0, help="Size of the model file.")] = None,
    threads: Threads = 0,
    board: Annotated[str | None, typer.Option(metavar="NAME|FILE", help="The board it is for.", show_default="this machine")] = None,
    camera: Annotated[str | None, typer.Option(metavar="NAME|FILE", help="See calibration images as this camera would.")] = None,
    images: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="Train images to calibrate with.", show_default="64, or half of them")
    ] = None,
    engines: Annotated[
        str, typer.Option(metavar="A,B|all", help="Runtimes to try: onnxruntime, openvino, mnn, ncnn; all that are installed.")
    ] = "all",
    sizes: Annotated[
        str | None, typer.Option(metavar="N,WxH", help="Input sizes to try beside the model's own, as 512,416 or 640x384.")
    ] = None,
    frame: Annotated[
        str | None, typer.Option(metavar="WxH", help="The camera's pictures, as 1280x720: try the input shape they fill.")
    ] = None,
    recover: Annotated[bool, typer.Option("--recover", help="Try changed networks that learn the model's answers.")] = False,
    recipe: Annotated[
        str | None, typer.Option(metavar="CHANGES", help="What --recover changes; see `edgewright recover`.", show_default=USUAL_CHANGES)
    ] = None,
    effort: Annotated[float, typer.Option(min=0.01, max=100, help="Times as many passes of --recover over the frames.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Decides among equal calibration images, and the bootstrap.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a stopped fit was.")] = False,
    json_path: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Fit MODEL to a budget: quantize it, prove what it lost and gained, and say whether it may ship."""
    from edgewright.fit import Budget, FitRequest  # noqa: PLC0415 - heavy: not for --help
    from edgewright.fit import fit as run_fit  # noqa: PLC0415

    request = FitRequest(
        model=model,
        data=data,
        out=out,
        budget=Budget(max_drop, max_latency_ms, max_memory_mib, max_size_mb),
        threads=threads,
        board=board,
        camera=camera,
        images=images,
        engines=None if engines == "all" else tuple(engines.split(",")),
        sizes_wh=parse_sizes(sizes, "--sizes"),
        frame_wh=parse_frame(frame),
        recover=changes_of(recover=recover, recipe=recipe),
        effort=effort,
        seed=seed,
        resume=resume,
        command=shlex.join(["edgewright", *sys.argv[1:]]),
    )
    with Terminal(quiet=quiet) as terminal:
        evidence = run_fit(request, watch=terminal)
    document = evidence.to_json()
    show(document, out, console_for(quiet=quiet, json_path=json_path))
    write_json(document, json_path)
    raise typer.Exit(0 if evidence.ships else 1)


def changes_of(*, recover: bool, recipe: str | None) -> str | None:
    """The changes to try, None for none.

    Raises:
        InputError: changes are named, and not asked for.
    """
    if recipe is not None and not recover:
        raise InputError("--recipe says what --recover changes", got="no --recover", fix="add it, or leave --recipe out")
    return (recipe or USUAL_CHANGES) if recover else None


def parse_sizes(text: str | None, option: str) -> tuple[tuple[int, int], ...]:
    """Sizes as people write them: 512 is a square, 640x384 width and height.

    Raises:
        InputError: what is there is no size.
    """
    found = []
    for word in (text or "").split(",") if text else ():
        sides = word.lower().split("x")
        if len(sides) > 2 or not all(side.isdecimal() and 0 < int(side) <= LARGEST_SIDE for side in sides):
            raise InputError(
                f"{option} {printable(text or '', 80)} is no list of sizes", got=printable(word, 40), expected="512, or 640x384"
            )
        found.append((int(sides[0]), int(sides[-1])))
    return tuple(found)


def parse_frame(text: str | None) -> tuple[int, int] | None:
    """The one size of a camera's pictures.

    Raises:
        InputError: it is none, or several.
    """
    found = parse_sizes(text, "--frame")
    if len(found) > 1:
        raise InputError("--frame names several sizes", got=printable(text or "", 80), expected="one, as 1280x720; --sizes takes several")
    return next(iter(found), None)


def show(evidence: dict[str, Any], out: Path, console: Console) -> None:
    """The table, the figures that matter, and where the rest lies."""
    rows = [
        [
            c["name"],
            _map(c["map50_95"]),
            f"{c['delta_points']:+.2f}",
            f"{c['agreement']:.3f}",
            _ms(c["p50_ms"]),
            f"{c['speedup']:.2f}x",
            f"{c['peak_mib']:.0f}",
            f"{c['size_mb']:.1f}",
            c["verdict"],
        ]
        for c in evidence["candidates"]
    ]
    images = evidence["calibration"]["selection_images"]
    columns = ["candidate", "mAP", "points", "agree", "p50 ms", "speed", "MiB", "MB", ""]
    console.print(table(f"mAP50-95 on the selection split ({images} images), {evidence['baseline']['threads']} thread(s)", columns, rows))
    _show_overtaken(evidence.get("overtaken") or [], console)
    delta, speedup = evidence["delta"]["map50_95"], evidence["speedup"]["p50"]
    before, after = evidence["baseline"], evidence["fitted"]
    for name, text in (
        ("mAP50-95", f"{_map(before['map50_95'])} -> {_map(after['map50_95'])}, {_points(delta)} on {evidence['delta']['images']} images"),
        ("engine", f"{_computing(evidence, 'baseline')} -> {_computing(evidence, 'fitted')}"),
        ("p50", f"{_ms(before['latency_ms']['p50'])} -> {_ms(after['latency_ms']['p50'])} ms, {_times(speedup)}"),
        ("memory", f"{before['peak_mib']:.0f} -> {after['peak_mib']:.0f} MiB"),
        ("size", f"{before['size_mb']:.1f} -> {after['size_mb']:.1f} MB"),
        ("threshold", _threshold(evidence["threshold"])),
    ):
        console.print(f"{name:<10} {text}")
    if not evidence["accuracy_proven"] and evidence["images_needed"]:
        console.print(f"The interval still allows more than the budget; about {evidence['images_needed']} images would settle it.")
    for warning in evidence["warnings"]:
        console.print(f"warning: {warning}")
    console.print(f"\n{evidence['verdict'].upper()}: {evidence['reason']}", style="bold")
    console.print(f"report: {out / 'report.html'}")


def _show_overtaken(overtaken: list[dict[str, Any]], console: Console) -> None:
    """What was timed and never judged: why in a sentence each, or for many in a table what each was left behind by."""
    if len(overtaken) <= FEW_LEFT_BEHIND:
        for each in overtaken:
            console.print(f"{each['name']}: {_ms(each['p50_ms'])} ms, not judged: {each['why']}")
        return
    rows = [
        [each["name"], _ms(each["p50_ms"]), f"{each['speedup']:.2f}x", each["by"]]
        for each in sorted(overtaken, key=lambda each: each["p50_ms"])
    ]
    title = f"{len(rows)} timed and not judged: something faster computes at least as exactly"
    console.print(table(title, ["point", "p50 ms", "speed", "faster"], rows, texts=(0, 3)))


def _computing(evidence: dict[str, Any], kind: str) -> str:
    """Where the baseline or the fitted model runs, and in what, as the engine itself says."""
    block = evidence[kind]
    name = block.get("name", kind)
    told = next((row.get("computes_in") for row in evidence["measurements"] if row["name"] == name), None)
    asked = block["precision"]
    return f"{block['engine']} in {told or asked}" + (f" (asked for {asked})" if told not in (None, asked) else "")


def _map(value: float | None) -> str:
    """Without labels there is none."""
    return "-" if value is None else f"{value:.4f}"


def _threshold(found: dict[str, Any]) -> str:
    own = f" ({len(found['per_class'])} classes have their own)" if found["per_class"] else ""
    f1 = found["judging"]
    return f"{found['float_score']:.3f} -> {found['score']:.3f}{own}, F1 {f1['f1_float']:.4f} -> {f1['f1_after']:.4f}"


def _ms(value: float) -> str:
    """One decimal is what a measurement repeats; below ten milliseconds it would hide the difference."""
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _points(interval: dict[str, float]) -> str:
    return f"{interval['estimate']:+.2f} points (95 % {interval['low']:+.2f} to {interval['high']:+.2f})"


def _times(interval: dict[str, float]) -> str:
    return f"{interval['estimate']:.2f}x (95 % {interval['low']:.2f} to {interval['high']:.2f})"
