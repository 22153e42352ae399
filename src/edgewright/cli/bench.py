"""`edgewright bench`: how fast and how big, model against model, and against what people use today."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgewright.cli.output import JsonPath, Quiet, Terminal, console_for, write_json
from edgewright.cli.screen import Screen, table
from edgewright.errors import InputError

if TYPE_CHECKING:
    from edgewright.bench.end_to_end import FrameMeasurement
    from edgewright.bench.measure import Job, Measurement
    from edgewright.bench.peak import Peak
    from edgewright.bench.peers.taking_part import Peers

EXAMPLES = """
[bold]Examples[/bold]

  edgewright bench yolov8n.onnx fitted

  edgewright bench yolov8n.onnx fitted --threads 1 --threads 2 --json bench.json

  edgewright bench yolov8n.onnx fitted --end-to-end line.mp4

  edgewright bench yolov8n.onnx fitted --peers --data coco/data.yaml --peer-python .cache/peers/bin/python --end-to-end line.mp4

  edgewright bench yolov8n.onnx fitted --threads 1 --peak
"""
COLUMNS = ("name", "precision", "threads", "load_ms", "first_ms", "p50_ms", "p90_ms", "p99_ms", "fps", "cpu_percent", "peak_mib", "size_mb")
WORK_COLUMNS = ("name", "threads", "macs", "macs_per_s", "peak_share")
FRAME_COLUMNS = (
    "name",
    "threads",
    "end_to_end_fps",
    "decode_ms",
    "preprocess_ms",
    "model_ms",
    "postprocess_ms",
    "around_share",
    "detector_peak_mib",
    "cold_start_ms",
)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("bench", epilog=EXAMPLES)(bench)


def bench(
    models: Annotated[list[Path], typer.Argument(metavar="A [B ...]", help="Fitted folders, or any .onnx models.")],
    threads: Annotated[
        list[int] | None, typer.Option(min=1, max=1024, help="Threads; give it several times to compare.", show_default="all cores")
    ] = None,
    rounds: Annotated[int, typer.Option(min=2, max=1000, help="How often each model has its turn of about a quarter of a second.")] = 12,
    end_to_end: Annotated[
        Path | None, typer.Option(metavar="SOURCE", help="A video or a folder of images: time decode to boxes on it as well.")
    ] = None,
    peers: Annotated[bool, typer.Option("--peers", help="Compare with what people use today; A is the float detector, .onnx.")] = False,
    data: Annotated[Path | None, typer.Option(metavar="DATA", help="Pictures that the peers are calibrated with.")] = None,
    peer_python: Annotated[
        Path | None, typer.Option(metavar="PATH", help="The Python of an environment that has them.", show_default="this one")
    ] = None,
    peak: Annotated[
        bool, typer.Option("--peak", help="Measure this machine's integer peak, and the share of it that each reaches.")
    ] = False,
    json_path: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Time models against each other, interleaved, each in a process of its own: model only, batch 1, on noise; or whole frames as well."""
    from edgewright.bench.jobs import jobs_for  # noqa: PLC0415 - heavy: not for --help
    from edgewright.bench.measure import measure  # noqa: PLC0415
    from edgewright.board.profile import Board, usable_cores  # noqa: PLC0415
    from edgewright.engines.halves import slower_here  # noqa: PLC0415

    if not peers and (data is not None or peer_python is not None):
        raise InputError("--data and --peer-python are for peers", fix="add --peers, or leave them out")
    source = _source(end_to_end)
    counts = threads or [usable_cores()]
    if len({str(path) for path in models}) < len(models) or len(set(counts)) < len(counts):
        raise InputError("the same model is named twice", fix="name each once")
    if peers and models[0].is_dir():
        raise InputError(
            "peers are compared on the float model", got=f"the folder {models[0]} first", fix="name the float .onnx file first"
        )
    with Terminal(quiet=quiet) as terminal:
        jobs = jobs_for(models, counts)
        for job in jobs[: len(models)]:  # each once, however many numbers of threads
            if (slower := slower_here(job.engine, job.precision, Board.detect())) is not None:
                terminal.note(f"warning: {job.name}: {slower}")
        with _peers_of(jobs[0], counts, data, peer_python, source, terminal, wanted=peers) as others:
            terminal.stage("bench")
            measurements = measure([*jobs, *others.jobs], rounds=rounds, progress=terminal.advance)
            frames = _frames(models, counts, source, others, rounds, terminal)
        peaks = _peaks(counts, terminal) if peak else []
    rows = _rows(measurements, frames, peaks)
    ratios = _ratios(measurements, frames, ours=len(jobs), given=models[0])
    document: dict[str, Any] = {"rows": rows, "ratios": ratios}
    if peers:
        document["left_out"] = [each.to_json() for each in others.left_out]
    if peak:
        document["peaks"] = [each.to_json() for each in peaks]
    _show(document, console_for(quiet=quiet, json_path=json_path))
    write_json(document, json_path)


def _source(path: Path | None) -> Path | None:
    """Refused before the work, not after it."""
    if path is not None:
        from edgewright.data.source import open_source  # noqa: PLC0415 - heavy: not for --help

        if open_source(path).frames == 1:
            raise InputError("one picture is too few to time", got=str(path), expected="a video, or a folder of pictures")
    return path


@contextmanager
def _peers_of(
    model: "Job", counts: list[int], data: Path | None, python: Path | None, source: Path | None, terminal: Terminal, *, wanted: bool
) -> Iterator["Peers"]:
    from edgewright.bench.peers.taking_part import Peers  # noqa: PLC0415 - heavy: not for --help

    if not wanted:
        yield Peers()
        return
    from edgewright.cli.peers import open_peers  # noqa: PLC0415 - needs the tools that quantize, which a board has not

    with open_peers(model, counts, data=data, python=python, source=source, watch=terminal) as peers:
        yield peers


def _frames(
    models: list[Path], counts: list[int], source: Path | None, others: "Peers", rounds: int, terminal: Terminal
) -> "list[FrameMeasurement]":
    if source is None:
        return []
    from edgewright.bench.end_to_end import FrameJob, measure_frames  # noqa: PLC0415 - heavy: not for --help

    terminal.stage("end to end")
    jobs = [FrameJob.of_ours(str(path), path, source, count) for count in counts for path in models]
    return measure_frames([*jobs, *others.frame_jobs], rounds=rounds, progress=terminal.advance)


def _peaks(counts: list[int], terminal: Terminal) -> "list[Peak]":
    from edgewright.bench.peak import integer_peak  # noqa: PLC0415 - heavy: not for --help

    terminal.stage("peak")
    return [integer_peak(count, progress=terminal.advance) for count in counts]


def _rows(measurements: "list[Measurement]", frames: "list[FrameMeasurement]", peaks: "list[Peak]") -> list[dict[str, Any]]:
    from edgewright.bench.end_to_end import NOT_TIMED  # noqa: PLC0415 - heavy: not for --help

    peak_of = {peak.threads: peak.macs_per_s for peak in peaks}
    rows = [{**measured.row(peak_of.get(measured.job.threads)), **NOT_TIMED} for measured in measurements]
    for row, frame in zip(rows, frames, strict=False):
        row.update(frame.row())
    return rows


def _ratios(measurements: "list[Measurement]", frames: "list[FrameMeasurement]", *, ours: int, given: Path) -> list[dict[str, Any]]:
    """The first against every other; and every peer against whatever else is ours."""
    from edgewright.bench.end_to_end import frame_ratio  # noqa: PLC0415 - heavy: not for --help
    from edgewright.bench.measure import ratio  # noqa: PLC0415

    everyone = range(len(measurements))
    fitted = [at for at in everyone[1:ours] if measurements[at].job.name != str(given)]
    pairs = [(0, at) for at in everyone[1:]]
    pairs += [(peer, at) for peer in everyone[ours:] for at in fitted if measurements[peer].job.threads == measurements[at].job.threads]
    return [
        {
            "a": measurements[a].job.name,
            "b": measurements[b].job.name,
            "threads": [measurements[a].job.threads, measurements[b].job.threads],
            "p50": ratio(measurements[a], measurements[b]).to_json(),
            "end_to_end": frame_ratio(frames[a], frames[b]).to_json() if frames else None,
        }
        for a, b in pairs
    ]


def _show(document: dict[str, Any], console: Screen) -> None:
    rows = document["rows"]
    console.print(_table("Model only, batch 1", COLUMNS, rows))
    if "peaks" in document:
        console.print(_table("Work, and its share of the integer peak", WORK_COLUMNS, rows))
    if any(row["end_to_end_fps"] for row in rows):
        console.print(_table("From the file to the boxes", FRAME_COLUMNS, rows))
    for each in document["ratios"]:
        for timed, what in ((each["p50"], "runs"), (each["end_to_end"], "goes from file to boxes")):
            if timed is not None:
                a, b = (_called(each[side], count) for side, count in zip("ab", each["threads"], strict=True))
                span = f"95 % {timed['low']:.2f} to {timed['high']:.2f}"
                console.print(f"{b} {what} {timed['estimate']:.2f}x as fast as {a}, {span}")
    for peak in document.get("peaks", ()):
        giga = f"{peak['macs_per_s'] / 1e9:.0f} G multiply-accumulates a second"
        console.print(f"integer peak, {_count(peak['threads'])}: {giga} ({peak['engine']}, {peak['graph']})")
    for missing in document.get("left_out", ()):
        console.print(f"left out: {missing['name']}: {missing['reason']}")


def _table(title: str, columns: Sequence[str], rows: list[dict[str, Any]]) -> Any:
    return table(title, [name.replace("_", " ") for name in columns], [[row[name] for name in columns] for row in rows])


def _called(name: str, threads: int) -> str:
    return f"{name} ({_count(threads)})"


def _count(threads: int) -> str:
    return f"{threads} thread{'s' if threads > 1 else ''}"
