"""`edgewright quantize`: one configuration, for those who know which."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli.folders import utf8
from edgewright.cli.output import JsonPath, Quiet, Terminal, console_for, write_json
from edgewright.errors import InputError

EXAMPLES = """
[bold]Examples[/bold]

  edgewright quantize yolov8n.onnx --data coco/data.yaml --out quantized

  edgewright quantize yolov8n.onnx --data coco/data.yaml --out quantized --ranges entropy --bias-correction --float stem --float head

  edgewright quantize yolov8n.onnx --out quantized --mode dynamic

  edgewright quantize yolov8n.onnx --data coco/data.yaml --out for-tensorrt --scheme tensorrt

  edgewright quantize yolov8n.onnx --data coco/data.yaml --out for-a-server --batch any

Nothing is judged here: `edgewright fit` searches and proves.
"""

PARTS = ("stem", "head")
MOST_AT_ONCE = 64  # pictures: the rewritten model is tried with as many


class Mode(StrEnum):
    """How integers come about."""

    static = "static"
    dynamic = "dynamic"
    float = "float"


class Ranges(StrEnum):
    """How a tensor's range is read from the calibration pictures."""

    percentile = "percentile"
    min_max = "min-max"
    entropy = "entropy"
    least_squares = "least-squares"


class Container(StrEnum):
    """How integers are written down."""

    qdq = "qdq"
    qoperator = "qoperator"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("quantize", epilog=EXAMPLES)(quantize)


def quantize(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A float detector of the YOLO family, .onnx.")],
    out: Annotated[Path, typer.Option(metavar="DIR", callback=utf8, help="Where artifact.json and the model go.")],
    data: Annotated[Path | None, typer.Option(metavar="DATA", help="Pictures to read ranges from; not needed by --mode dynamic.")] = None,
    mode: Annotated[Mode, typer.Option(help="Ranges read ahead of time, or while it runs; float only cuts the head.")] = Mode.static,
    ranges: Annotated[Ranges, typer.Option(help="How ranges are read.")] = Ranges.percentile,
    floors: Annotated[bool, typer.Option(help="Clip from below what a detector's arithmetic makes meaningless.")] = True,
    bias_correction: Annotated[bool, typer.Option("--bias-correction", help="Take the mean error out of every bias.")] = False,
    keep_float: Annotated[
        list[str] | None, typer.Option("--float", metavar="LAYER", help="stem, head, or a node's name; may be given again.")
    ] = None,
    keep_decode: Annotated[bool, typer.Option("--keep-decode", help="Leave the decode in the network (in float).")] = False,
    container: Annotated[Container, typer.Option(help="Q/DQ pairs, or integer operators.")] = Container.qdq,
    scheme: Annotated[
        str | None, typer.Option(metavar="NAME", help="x86-vnni, x86, arm64, tensorrt.", show_default="what suits the board")
    ] = None,
    board: Annotated[str | None, typer.Option(metavar="NAME|FILE", help="The board it is for.", show_default="this machine")] = None,
    batch: Annotated[str | None, typer.Option(metavar="N|any", help="Pictures the model takes at once.", show_default="as given")] = None,
    images: Annotated[int, typer.Option(min=1, max=100_000, help="Train images to calibrate with.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Decides among equal calibration images.")] = 0,
    camera: Annotated[str | None, typer.Option(metavar="NAME|FILE", help="See calibration pictures through this camera.")] = None,
    json_path: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Quantize MODEL one way, as told, into an artifact; nothing is judged."""
    from edgewright.compress.recipes import Recipe  # noqa: PLC0415 - heavy: not for --help
    from edgewright.compress.schemes import BY_TARGET, scheme_named  # noqa: PLC0415
    from edgewright.fit.single import QuantizeRequest  # noqa: PLC0415
    from edgewright.fit.single import quantize as make  # noqa: PLC0415

    if scheme is not None:
        scheme_named(scheme)
    pictures = _batch(batch)
    kept = keep_float or []
    usual = Recipe("quantize", "int8", "static")
    recipe = Recipe(
        name=f"{mode.value}, as told",
        precision="float32" if mode is Mode.float else "int8",
        mode=mode.value,
        head_cut=mode is not Mode.dynamic and not keep_decode,
        ranges=ranges.value.replace("-", "_"),  # type: ignore[arg-type]  # the enum's values are the rules' names
        silu_floor=usual.silu_floor if floors else None,
        class_logit_floor=usual.class_logit_floor if floors else None,
        box_logit_floor=usual.box_logit_floor if floors else None,
        float_parts=tuple(part for part in PARTS if part in kept),  # type: ignore[misc]  # PARTS are names of parts
        float_layers=tuple(name for name in kept if name not in PARTS),
        bias_correction=bias_correction,
        container=container.value,
        scheme=scheme or BY_TARGET,
    )
    with Terminal(quiet=quiet) as terminal:
        made = make(QuantizeRequest(model, out, recipe, data, images, seed, board, camera, pictures), watch=terminal)
    document = made.to_json()
    console = console_for(quiet=quiet, json_path=json_path)
    artifact = made.artifact
    size = f"{artifact.size_bytes / 1e6:.1f} MB"
    console.print(f"{out}: {artifact.precision}, {size}, {len(artifact.head.outputs)} output(s), in {artifact.files[0].path}")
    if made.disagreement is not None:
        console.print(f"disagreement with the float model on calibration pictures: {made.disagreement:.4f} (0 is none)")
    console.print("not judged: `edgewright eval` says how accurate it is, `edgewright fit` proves it")
    write_json(document, json_path)


def _batch(text: str | None) -> int | str | None:
    if text is None or text == "any":
        return None if text is None else "batch"
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_AT_ONCE:
        raise InputError(f"--batch {text}", expected=f"a number from 1 to {MOST_AT_ONCE}, or any")
    return int(text)
