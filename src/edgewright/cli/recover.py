"""`edgewright recover`: a detector that is cheaper to run, and answers as it did, learned from frames without labels."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from edgewright.cli.folders import utf8
from edgewright.cli.output import JsonPath, Quiet, Terminal, Threads, console_for, write_json
from edgewright.cli.screen import table

EXAMPLES = """
[bold]Examples[/bold]

  edgewright recover yolov8n.onnx --data frames/ --out recovered

  edgewright recover yolov8n.onnx --data frames/ --out recovered --recipe swap,prune=0.4,qat --engine openvino

  edgewright recover yolov8n.onnx --data frames/ --out recovered --recipe swap@10 --resume        (after Ctrl-C or a power cut)

  edgewright recover yolov8n.onnx --data frames/ --out recovered --teacher yolov8s.onnx

[bold]Changes[/bold]  swap, swap=hardswish, prune=0.4 (of the multiply-adds), prune=0.4t (of the time), shrink=512, qat;
@N behind one: passes over the frames

Then: edgewright fit recovered/model-*.onnx --data ... ; or let `edgewright fit --recover` do all of it.

[bold]Exit codes[/bold]  0 done, 2 the input is wrong, 3 this machine cannot
"""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("recover", epilog=EXAMPLES)(recover)


def recover(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A float detector of the YOLO family, .onnx.")],
    data: Annotated[Path, typer.Option(metavar="DATA", help="A folder of frames, or a data set; labels only judge.")],
    out: Annotated[Path, typer.Option(metavar="DIR", callback=utf8, help="Where artifact.json, the model and recovery.json go.")],
    recipe: Annotated[str, typer.Option(metavar="CHANGES", help="What to change, in this order.")] = "swap",
    teacher: Annotated[
        Path | None, typer.Option(metavar="MODEL", help="Another detector of the same classes to learn from.", show_default="MODEL itself")
    ] = None,
    engine: Annotated[str, typer.Option(metavar="NAME", help="The runtime it is for, in integers.")] = "onnxruntime",
    labels: Annotated[bool, typer.Option("--labels", help="Learn from the train split's labels as well.")] = False,
    effort: Annotated[float, typer.Option(min=0.01, max=100, help="Times as many passes over the frames as are usual.")] = 1.0,
    threads: Threads = 0,
    seed: Annotated[int, typer.Option(min=0, help="Decides what is held out and how frames are varied.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a stopped recovery was.")] = False,
    json_path: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Change MODEL so that integers run it faster, and let it learn its answers back from frames that nobody labelled."""
    from edgewright.fit.recover import RecoverRequest  # noqa: PLC0415 - heavy: not for --help
    from edgewright.fit.recover import recover as run  # noqa: PLC0415

    request = RecoverRequest(
        model=model,
        data=data,
        out=out,
        recipe=recipe,
        teacher=teacher,
        engine=engine,
        threads=threads,
        seed=seed,
        scale=effort,
        labels=labels,
        resume=resume,
    )
    with Terminal(quiet=quiet) as terminal:
        found = run(request, watch=terminal)
    show(dict(found.document), out, console_for(quiet=quiet, json_path=json_path))
    write_json(dict(found.document), json_path)


def show(document: dict[str, Any], out: Path, console: Console) -> None:
    """What each change cost in agreement, and what is left of the accuracy."""
    rows = [
        [stage["change"], str(stage["steps"]), f"{stage['agreement']:.3f}", f"{stage['seconds'] / 60:.1f}"] for stage in document["stages"]
    ]
    console.print(table("changes, and agreement with the teacher on held-out frames", ["change", "steps", "agree", "minutes"], rows))
    before, after, size = document["before"], document["after"], document["size"]
    if before is not None:
        console.print(f"mAP50      {before['map50']:.4f} -> {after['map50']:.4f}, {_points(document['delta']['map50'])}")
        console.print(f"mAP50-95   {before['map50_95']:.4f} -> {after['map50_95']:.4f}, {_points(document['delta']['map50_95'])}")
    else:
        console.print(
            f"agreement  {document['agreement']['map50_95']:.4f} of 1 on {document['judged_on']} frames; no labels, so this is no mAP"
        )
    if size["before"]["macs"] and size["after"]["macs"]:
        console.print(f"GMAC       {size['before']['macs'] / 1e9:.2f} -> {size['after']['macs'] / 1e9:.2f}")
    for warning in document["warnings"]:
        console.print(f"warning: {warning}")
    console.print(f"\nrecovered: {out}")


def _points(interval: dict[str, float]) -> str:
    return f"{interval['estimate']:+.2f} points (95 % {interval['low']:+.2f} to {interval['high']:+.2f})"
