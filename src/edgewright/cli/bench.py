"""`edgewright bench`: how fast and how big, model against model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgewright.cli.output import JsonPath, Quiet, Terminal, console_for, write_json
from edgewright.cli.screen import table
from edgewright.errors import InputError

if TYPE_CHECKING:
    from edgewright.bench.measure import Job

EXAMPLES = """
[bold]Examples[/bold]

  edgewright bench yolov8n.onnx fitted

  edgewright bench yolov8n.onnx fitted --threads 1 --threads 2 --json bench.json
"""
COLUMNS = ("name", "precision", "threads", "load_ms", "first_ms", "p50_ms", "p90_ms", "p99_ms", "fps", "cpu_percent", "peak_mib", "size_mb")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("bench", epilog=EXAMPLES)(bench)


def bench(
    models: Annotated[list[Path], typer.Argument(metavar="A [B ...]", help="Fitted folders, or any .onnx models.")],
    threads: Annotated[
        list[int] | None, typer.Option(min=1, max=1024, help="Threads; give it several times to compare.", show_default="all cores")
    ] = None,
    rounds: Annotated[int, typer.Option(min=2, max=1000, help="How often each model has its turn of about a quarter of a second.")] = 12,
    json_path: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Time models against each other, interleaved, each in a process of its own: model only, batch 1, on noise."""
    from edgewright.bench.jobs import job_for  # noqa: PLC0415 - heavy: not for --help
    from edgewright.bench.measure import measure, ratio  # noqa: PLC0415
    from edgewright.board.profile import usable_cores  # noqa: PLC0415

    jobs = [job_for(path, count) for count in threads or [usable_cores()] for path in models]
    if len({(job.name, job.threads) for job in jobs}) < len(jobs):
        raise InputError("the same model is named twice", fix="name each once")
    with Terminal(quiet=quiet) as terminal:
        terminal.stage("bench")
        measurements = measure(jobs, rounds=rounds, progress=terminal.advance)
    rows = [m.row() for m in measurements]
    first = measurements[0]
    ratios = [ratio(first, m) for m in measurements[1:]]
    console = console_for(quiet=quiet, json_path=json_path)
    console.print(
        table("Model only, batch 1", [name.replace("_", " ") for name in COLUMNS], [[row[name] for name in COLUMNS] for row in rows])
    )
    for other, faster in zip(measurements[1:], ratios, strict=True):
        console.print(
            f"{_called(other.job)} runs {faster.estimate:.2f}x as fast as {_called(first.job)}, 95 % {faster.low:.2f} to {faster.high:.2f}",
        )
    named = [{"a": first.job.name, "b": m.job.name, "threads": [first.job.threads, m.job.threads]} for m in measurements[1:]]
    write_json({"rows": rows, "ratios": [{**names, "p50": each.to_json()} for names, each in zip(named, ratios, strict=True)]}, json_path)


def _called(job: "Job") -> str:
    return f"{job.name} ({job.threads} thread{'s' if job.threads > 1 else ''})"
