"""`edgewright calibrate`: choose the pictures that activation ranges are read from, audit them, show them, hand them on."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from edgewright.cli.output import JsonPath, Quiet, Terminal, console_for, write_json
from edgewright.cli.screen import table
from edgewright.errors import InputError
from edgewright.printable import printable
from edgewright.result_folder import CALIBRATE, empty, publish, staging, working_folder
from edgewright.whole_file import remove, write_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgewright.artifact import Artifact
    from edgewright.data.calibration import CalibrationSet

SHOWN = 64  # pictures on the contact sheet
TENSORS = "calibration.npz"
TENSOR_TYPES = ("float32", "float16", "uint8")

EXAMPLES = """
[bold]Examples[/bold]

  edgewright calibrate coco/data.yaml --out calibration

  edgewright calibrate boards/data.yaml --out calibration --images 256 --camera dim-line --against frames/

  edgewright calibrate coco/data.yaml --out calibration --model yolov8n.onnx      (writes calibration.npz for other tools)

[bold]Exit codes[/bold]  0 done, 1 the audit holds an error, 2 the input is wrong, 3 this machine cannot
"""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("calibrate", epilog=EXAMPLES)(calibrate)


def calibrate(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="An Ultralytics data.yaml, a COCO json, or a folder: COCO, Pascal VOC, images alone. Only train images are taken.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where calibration.json, the contact sheet and the tensors go.")],
    model: Annotated[Path | None, typer.Option(metavar="MODEL", help="Prepare the tensors for this detector.")] = None,
    images: Annotated[int, typer.Option(min=1, max=100_000, help="Train images to choose.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Decides among equal images, and within the camera's ranges.")] = 0,
    camera: Annotated[str | None, typer.Option(metavar="NAME|FILE", help="See the images as this camera would have taken them.")] = None,
    against: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Frames of the deployed camera to compare with.")] = None,
    npz: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the tensors go.", show_default="DIR/calibration.npz with --model")
    ] = None,
    json_path: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Choose calibration images of DATA for coverage, audit them and show them; with --model, export them as it wants them."""
    from edgewright.data.audit import audit, pictures_in  # noqa: PLC0415 - heavy: not for --help
    from edgewright.data.calibration import choose_calibration  # noqa: PLC0415
    from edgewright.data.cameras import open_camera  # noqa: PLC0415
    from edgewright.data.dataset import open_dataset, part_train_from_val  # noqa: PLC0415

    target = _target(out, model, npz)
    through = None if camera is None else open_camera(camera)
    frames = () if against is None else pictures_in(against)
    artifact = None if model is None else _open_model(model)
    dataset, shared = part_train_from_val(open_dataset(data))
    with Terminal(quiet=quiet) as terminal, _staging_in(out) as staged:
        if shared:
            terminal.note(f"{shared} images were in train and in val; each is now in one of them, by its digest")
        for line in dataset.warnings:
            terminal.note(line)
        terminal.stage("choose")
        chosen = choose_calibration(dataset, images, seed, camera=through, progress=terminal.advance)
        terminal.stage("audit")
        found = audit(dataset, chosen, against=frames, progress=terminal.advance)
        terminal.stage("show")
        _write_sheet(chosen, staged / "calibration.jpg", terminal)
        written = staged / TENSORS if target == out / TENSORS else target
        exported = None if artifact is None else _export(artifact, chosen, written, terminal)
        document = {
            "schema": 1,
            "data": str(data),
            **chosen.to_json(),
            "pictures": [{"path": str(sample.image), "sha256": sha} for sample, sha in zip(chosen.samples, chosen.sha256, strict=True)],
            "audit": found.to_json(),
            "contact_sheet": "calibration.jpg",
            "npz": None if exported is None else {"path": str(target), **exported},
            "warnings": list(dataset.warnings),
        }
        write_whole(staged / "calibration.json", (json.dumps(document, indent=2) + "\n").encode())
        publish(staged, out)
    show(document, out, console_for(quiet=quiet, json_path=json_path))
    write_json(document, json_path)
    raise typer.Exit(0 if found.sound else 1)


def show(document: dict[str, Any], out: Path, console: Console) -> None:
    """What was chosen, how it covers and compares, what is wrong with it, and where it lies."""
    found, camera = document["audit"], document["camera"]
    seen = f", seen through {printable(camera['name'])}" if camera else ""
    rows = [[f"{each['low']:.0f} to {each['high']:.0f}", each["train"], each["calibration"]] for each in found["brightness"]]
    held = [each for each in found["classes"].values() if each["train"]]
    rows += [["classes", len(held), sum(each["calibration"] > 0 for each in held)]] if held else []
    considered = found["considered"]
    console.print(f"{document['images']} pictures of {document['data']}{seen}\n")
    console.print(table("", ["mean grey", f"train ({considered['train']})", f"chosen ({considered['calibration']})"], rows))
    for name, other in (("judging", "judging split"), ("against", "given frames")):
        if found["domain"][name] is not None:
            console.print()
            console.print(_comparison(found["domain"][name], f"{other} ({considered[name]})"))
    console.print()
    for finding in found["findings"]:
        console.print(f"{finding['severity']}: {finding['what']}; {finding['fix']}")
    if not found["findings"]:
        console.print("the audit found nothing wrong")
    console.print(f"\n{document['digest']}")
    console.print(f"look:  {out / 'calibration.jpg'}")
    if document["npz"]:
        shape = ", ".join(map(str, document["npz"]["shape"]))
        console.print(f"npz:   {document['npz']['path']}, {document['npz']['dtype']} [{shape}]")


def _comparison(shifts: dict[str, dict[str, Any]], other: str) -> Any:
    rows = [
        [
            name,
            f"{each['calibration_median']:.3g}",
            f"{each['other_median']:.3g}",
            f"{each['distance']:.2f}",
            "differs" if each["differs"] else "",
        ]
        for name, each in shifts.items()
    ]
    return table("", ["median", "chosen", other, "distance", ""], rows)


def _target(out: Path, model: Path | None, npz: Path | None) -> Path:
    """Where the tensors would go; refused before the work what could not be written after it."""
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file", expected="a folder")
    if npz is None:
        return out / TENSORS
    if model is None:
        raise InputError("--npz needs --model", fix="tensors are prepared for one detector: name it")
    if npz.is_dir() or not npz.absolute().parent.is_dir():
        raise InputError(f"--npz {npz} cannot be written", got="a folder" if npz.is_dir() else "a folder that is not there")
    return npz


def _open_model(model: Path) -> "Artifact":
    from edgewright.door.admission import admit_artifact, admit_detector  # noqa: PLC0415

    artifact = admit_artifact(model) if model.is_dir() else admit_detector(model)
    if artifact.input.layout != "NCHW" or artifact.input.dtype not in TENSOR_TYPES:
        got = f"{artifact.input.layout} {artifact.input.dtype}"
        raise InputError(f"{model} wants tensors we do not export", got=got, expected=f"NCHW of {', '.join(TENSOR_TYPES)}")
    return artifact


def _write_sheet(chosen: "CalibrationSet", path: Path, terminal: Terminal) -> None:
    from edgewright.data.contact_sheet import contact_sheet  # noqa: PLC0415
    from edgewright.data.images import encode_jpeg  # noqa: PLC0415

    count = min(SHOWN, len(chosen.samples))
    pictures = _counted((chosen.read(sample) for sample in islice(chosen.samples, count)), count, terminal)
    write_whole(path, encode_jpeg(contact_sheet(pictures, count)))


def _export(artifact: "Artifact", chosen: "CalibrationSet", path: Path, terminal: Terminal) -> dict[str, Any]:
    from edgewright.data.tensor_archive import archive_bytes, array_name, write_archive  # noqa: PLC0415

    spec, count = artifact.input, len(chosen.samples)
    name, shape = array_name(spec.name), (count, *spec.shape[1:])
    terminal.stage("export")
    terminal.note(f"{path.name}: {archive_bytes(shape, spec.dtype) / 1e6:.0f} MB")
    write_archive(path, name, shape, spec.dtype, _counted(_tensors(artifact, chosen), count, terminal))
    return {"array": name, "shape": list(shape), "dtype": spec.dtype, "bytes": path.stat().st_size}


def _tensors(artifact: "Artifact", chosen: "CalibrationSet") -> "Iterator[NDArray[Any]]":
    """Each picture as deployment prepares it, [1, 3, H, W]."""
    from edgewright.detector import to_tensor  # noqa: PLC0415

    for sample in chosen.samples:
        image_rgb = chosen.read(sample)
        tensor = to_tensor(image_rgb, artifact)
        # To whole numbers by rounding, not by cutting off.
        yield tensor.round() if artifact.input.dtype == "uint8" else tensor


def _counted(things: Iterator[Any], total: int, terminal: Terminal) -> Iterator[Any]:
    for done, thing in enumerate(things, 1):
        yield thing
        terminal.advance(done, total)


@contextmanager
def _staging_in(out: Path) -> Iterator[Path]:
    """An empty folder on the disk of `out`, which is locked, for what is to be published there; gone afterwards."""
    with working_folder(out, CALIBRATE) as work:
        empty(work)
        try:
            yield staging(work)
        finally:
            remove(work)
