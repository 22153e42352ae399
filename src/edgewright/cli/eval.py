"""`edgewright eval`: COCO accuracy of a detector on a data set."""

from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli.output import JsonPath, Quiet, Terminal, Threads, console_for, write_json
from edgewright.cli.screen import table
from edgewright.errors import DataError
from edgewright.printable import printable

EXAMPLES = """
[bold]Examples[/bold]

  edgewright eval yolov8n.onnx --data coco/data.yaml

  edgewright eval fitted --data coco/data.yaml --split test --json -

  edgewright eval fitted --data instances_val2017.json

  edgewright eval fitted --data VOCdevkit/VOC2007 --split all

  edgewright eval fitted --data coco/data.yaml --camera dim-line      (how much is lost in the dark?)
"""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("eval", epilog=EXAMPLES)(evaluate)


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="ARTIFACT_OR_MODEL", help="A fitted folder, or a YOLO detector, .onnx.")],
    data: Annotated[Path, typer.Option(metavar="DATA", help="An Ultralytics data.yaml, a COCO json, or a folder: COCO, Pascal VOC.")],
    split: Annotated[str, typer.Option(help="Which split to judge on: train, val, test, or all of them.")] = "val",
    camera: Annotated[str | None, typer.Option(metavar="NAME|FILE", help="See the images as this camera would have taken them.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides within the camera's ranges.")] = 0,
    threads: Threads = 0,
    json_path: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Measure mAP by the COCO protocol: score > 0.001, best class a box, NMS at IoU 0.7, at most 300 boxes an image."""
    from edgewright.accuracy import coco  # noqa: PLC0415 - heavy: not for --help
    from edgewright.accuracy.predictions import predict  # noqa: PLC0415
    from edgewright.board.profile import usable_cores  # noqa: PLC0415 - heavy: not for --help
    from edgewright.data.cameras import open_camera, through_camera  # noqa: PLC0415
    from edgewright.data.dataset import ALL, open_dataset  # noqa: PLC0415
    from edgewright.detector import open_detector  # noqa: PLC0415

    through = None if camera is None else open_camera(camera)
    dataset = open_dataset(data)
    if not dataset.labelled:
        raise DataError(
            f"{data} has no labels, and without truth there is no mAP",
            got="; ".join((f"{len(dataset.split(ALL))} pictures alone", *dataset.warnings[:1])),
            expected="a data.yaml, a COCO json or VOC xml files",
            fix="`edgewright fit` judges by agreement with the float model",
        )
    samples = dataset.split(split)
    if through is not None:
        dataset = through_camera(dataset, through, seed)
    with open_detector(model, threads=threads or usable_cores()) as detector, Terminal(quiet=quiet) as terminal:
        terminal.stage("eval")
        for line in dataset.warnings:
            terminal.note(line)
        predictions = predict(detector, dataset, samples, progress=terminal.advance)
        for line in predictions.broken:
            terminal.note(f"skipped: {line}")
        for line in predictions.damaged:
            terminal.note(f"damaged: {line}")
    if not predictions.truth.class_ids.size:
        raise DataError(f"no picture of {split} in {data} has a label", expected="labelled boxes", fix="without truth there is no mAP")
    report = coco.evaluate(predictions).report
    console = console_for(quiet=quiet, json_path=json_path)
    rows = [[name, f"{each.ap50:.4f}", f"{each.ap50_95:.4f}"] for name, each in report.per_class.items()]
    rows.append(["all", f"{report.map50:.4f}", f"{report.map50_95:.4f}"])
    seen = f", seen through {printable(through.name)}" if through else ""
    console.print(table(f"{model} on {split} of {data}{seen}: {report.images} images", ["class", "AP50", "AP50-95"], rows))
    seen_through = None if through is None else {**through.to_json(), "seed": seed}
    said = {"skipped": list(predictions.broken), "damaged": list(predictions.damaged), "warnings": list(dataset.warnings)}
    write_json({**report.to_json(), "camera": seen_through, **said}, json_path)
