"""`edgewright detect`: look at what a detector sees."""

import os
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli.output import JsonPath, Quiet, Terminal, printer_for, write_json
from edgewright.errors import InputError

EXAMPLES = """
[bold]Examples[/bold]

  edgewright detect fitted board.jpg --out seen/

  edgewright detect fitted line.mp4 --out line.webm --jsonl line.jsonl

  edgewright detect yolov8n.onnx photos/ --jsonl -
"""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("detect", epilog=EXAMPLES)(detect)


def detect(
    model: Annotated[Path, typer.Argument(metavar="ARTIFACT_OR_MODEL", help="A fitted folder, or a YOLO detector, .onnx.")],
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="An image, a folder of images, or a video file.")],
    out: Annotated[Path | None, typer.Option(metavar="OUT", help="A .webm for a video, or a folder for pictures with boxes drawn.")] = None,
    jsonl: Annotated[Path | None, typer.Option(metavar="FILE", help="A line of JSON a frame; - is standard output.")] = None,
    score: Annotated[float | None, typer.Option(min=0, max=1, help="Show boxes above this score.", show_default="the artifact's")] = None,
    threads: Annotated[
        int | None, typer.Option(min=0, max=1024, help="Threads of the engine; 0 is all cores.", show_default="as fitted, else all cores")
    ] = None,
    json_path: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Run a detector over pictures or a video; draw the boxes, or write them down."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy would start threads for matrices, of which there are none here
    from edgewright.board.profile import Board  # noqa: PLC0415 - heavy: not for --help
    from edgewright.cli.sinks import open_sinks  # noqa: PLC0415
    from edgewright.data.ahead import ahead  # noqa: PLC0415
    from edgewright.data.source import open_source  # noqa: PLC0415
    from edgewright.detector import open_detector  # noqa: PLC0415
    from edgewright.engines.halves import slower_here  # noqa: PLC0415

    if str(jsonl) == str(json_path) == "-":
        raise InputError("--jsonl and --json both ask for standard output", fix="give one of them a file")
    frames = boxes = 0
    pictures = open_source(source)
    with (
        open_detector(model, threads=os.cpu_count() if threads == 0 else threads) as detector,
        open_sinks(pictures, out=out, jsonl=jsonl) as write,
        Terminal(quiet=quiet) as terminal,
        closing(ahead(iter(pictures))) as coming,
    ):
        terminal.stage("detect")
        if (slower := slower_here(detector.artifact.engine, detector.artifact.precision, Board.detect())) is not None:
            terminal.note(f"warning: {model}: {slower}")
        for name, frame in coming:
            found = detector.detect(frame.image_rgb, score_above=score)
            write(name, frame, found)
            frames, boxes = frames + 1, boxes + len(found)
            terminal.advance(frames, pictures.frames or frames)
        for line in pictures.broken:
            terminal.note(line if pictures.is_video else f"skipped: {line}")
        for line in pictures.damaged:
            terminal.note(line if pictures.is_video else f"damaged: {line}")
    printer_for(quiet=quiet, stderr="-" in (str(jsonl), str(json_path))).print(f"{boxes} boxes in {frames} frames")
    document = {
        "frames": frames,
        "boxes": boxes,
        "skipped": pictures.broken,
        "damaged": pictures.damaged,
        "clip": None if pictures.reading is None else pictures.reading.to_json(),
        "out": None if out is None else str(out),
    }
    write_json(document, json_path)
