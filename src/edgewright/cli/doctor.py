"""`edgewright doctor`: what is wrong with this machine, and the line that mends it; `doctor oom`: why a model does not fit."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgewright.cli.output import JsonPath, Quiet, Terminal, Threads, console_for, write_json
from edgewright.cli.screen import Screen, table
from edgewright.errors import InputError
from edgewright.printable import printable

if TYPE_CHECKING:
    from edgewright.doctor.checks import Report
    from edgewright.doctor.finding import Finding
    from edgewright.doctor.kernel_log import Kills
    from edgewright.doctor.oom import Explained

EXAMPLES = """
[bold]Examples[/bold]

  edgewright doctor

  edgewright doctor --json doctor.json

  edgewright doctor oom yolov8n.onnx --limit 300MiB

  edgewright doctor oom yolov8n.onnx --limit 300MiB --batch 8 --threads 4

[bold]Exit codes[/bold]  0 nothing is wrong (oom: the model fits as it is), 1 something is (oom: it does not), 2 the input is wrong,
3 this machine cannot
"""
OOM = "oom"
MIB = 1 << 20
LEAST_BYTES, MOST_BYTES = 16 * MIB, 1 << 50


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("doctor", epilog=EXAMPLES)(doctor)


def doctor(
    words: Annotated[list[str] | None, typer.Argument(metavar="[oom MODEL]", help="A model that does not fit, to be explained.")] = None,
    limit: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="oom: the memory it may take, such as 300MiB.", show_default="nine tenths of what is available"),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, max=4096, help="oom: pictures wanted at once.", show_default="as the model has it")
    ] = None,
    threads: Threads = 0,
    root: Annotated[Path, typer.Option(hidden=True, help="Where /proc and /sys are looked for.")] = Path("/"),
    json_path: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Say what this machine lacks or hides, with the exact line that mends it, and what is unproven on it. Nothing is changed.

    `doctor oom MODEL`: try MODEL under a real memory limit, find the largest batch and picture that fit, and what to change.
    """
    model = _model(words or [])
    if model is None and (limit is not None or batch is not None):
        raise InputError("--limit and --batch are for a model", fix="say `edgewright doctor oom MODEL`, or leave them out")
    if model is None:
        _examine(root, json_path, quiet=quiet)
    else:
        _explain(model, None if limit is None else bytes_in(limit), batch, threads, json_path, quiet=quiet)


def _model(words: list[str]) -> Path | None:
    if not words:
        return None
    if words[0] != OOM or len(words) != 2:
        raise InputError("this is nothing that doctor can do", got=printable(" ".join(words), 80), expected="nothing, or oom MODEL")
    return Path(words[1])


def bytes_in(text: str) -> int:
    """300MiB, "0.5 GB", 268435456.

    Raises:
        InputError: it is no size, or smaller than what a bare Python takes.
    """
    from edgewright.run.toml_values import Unfit, size  # noqa: PLC0415 - not for --help

    try:
        found: int = size(LEAST_BYTES, MOST_BYTES)(int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else text)
    except Unfit as unfit:
        raise InputError("--limit is no size that can be tried", got=printable(text, 40), expected=unfit.expected) from unfit
    return found


def _examine(root: Path, json_path: Path | None, *, quiet: bool) -> None:
    from edgewright.doctor.checks import examine  # noqa: PLC0415 - heavy: not for --help
    from edgewright.doctor.machine import Machine  # noqa: PLC0415

    machine = Machine(root)
    with Terminal(quiet=quiet) as terminal:
        terminal.stage("looking")
        report = examine(machine)
    machine.close()
    console = console_for(quiet=quiet, json_path=json_path)
    _show_report(console, report)
    write_json(report.to_json(), json_path)
    raise typer.Exit(0 if report.is_well else 1)


def _show_report(console: Screen, report: "Report") -> None:
    for finding in report.findings:
        _show_finding(console, finding)
    errors = sum(finding.severity == "error" for finding in report.findings)
    warnings = sum(finding.severity == "warning" for finding in report.findings)
    console.print(f"{len(report.looked)} checks: {_count(errors, 'error')}, {_count(warnings, 'warning')}")
    if report.unproven:
        console.print("\nNobody has tried on a machine like this:")
    for line in report.unproven:
        console.print(f"  {line.what}: {line.unknown}")


def _show_finding(console: Screen, finding: "Finding") -> None:
    console.print(f"{finding.severity}: {finding.what} [{finding.code}]")
    console.print(f"    {finding.why_it_matters}")
    for line in finding.fix:
        console.print(f"    $ {line}" if not line.startswith("#") else f"    {line}")
    console.print(f"    ({finding.source})\n")


def _explain(model: Path, limit_bytes: int | None, batch: int | None, threads: int, json_path: Path | None, *, quiet: bool) -> None:
    from edgewright.board.profile import usable_cores  # noqa: PLC0415 - heavy: not for --help
    from edgewright.doctor.limit import choose_limiter  # noqa: PLC0415
    from edgewright.doctor.machine import Machine  # noqa: PLC0415
    from edgewright.doctor.oom import explain  # noqa: PLC0415

    machine = Machine()
    with Terminal(quiet=quiet) as terminal:
        found = explain(
            model,
            machine,
            choose_limiter(),
            limit_bytes=limit_bytes,
            threads=threads or usable_cores(),
            batch=batch,
            stage=terminal.stage,
            progress=terminal.advance,
        )
    machine.close()
    console = console_for(quiet=quiet, json_path=json_path)
    _show_explained(console, found)
    write_json(found.to_json(), json_path)
    raise typer.Exit(0 if found.fits else 1)


def _show_explained(console: Screen, found: "Explained") -> None:
    console.print(f"{found.model} in {found.engine}, {_count(found.threads, 'thread')}: {_verdict(found)}")
    console.print(f"the limit, {_mib(found.limit_bytes)}, is {found.how}")
    for line in _killed_before(found.kills):
        console.print(line)
    console.print(f"\nlargest picture that fits: {_size(found.size_wh)}{_steps(found)}")
    if found.fixed_size:
        console.print(f"    the size cannot be varied: {found.fixed_size}")
    console.print(f"largest batch at that size: {found.largest_batch or 'none'}{_end_of_batches(found)}")
    if found.fixed_batch:
        console.print(f"    the batch cannot be varied: {found.fixed_batch}")
    if found.split is not None:
        rows = [[name, value] for name, value in _split_rows(found)]
        console.print("")
        console.print(table("Where the memory goes", ["", "MiB"], rows))
        console.print(_leak(found))
    if found.advice:
        advised: list[list[str | None]] = [
            [each.what, _mib(each.peak_bytes), _saved(each.saved_bytes), each.why_not or each.note] for each in found.advice
        ]
        console.print("")
        console.print(table("What to change, most effective first", ["", "peak", "saves", ""], advised, texts=(0, 3)))


def _verdict(found: "Explained") -> str:
    if found.fits:
        return f"it fits as it is, with {_mib(found.given.peak_bytes)} at most"
    where = {"started": "while it was opened", "opened": "in its first run", "ran": "after its first run"}.get(
        found.given.died_at or "", "at its start"
    )
    how = {"killed": "was killed", "refused": "got no memory", "too slow": "came to no end"}[found.given.outcome]
    return f"it does not fit: it {how} {where}"


def _killed_before(kills: "Kills") -> list[str]:
    lines = []
    for kill in kills.logged:
        when = "" if kill.since_start_s is None else f", {kill.since_start_s:.0f} s after the start of the machine"
        limit = "by a control group's limit" if kill.by_limit else "for want of memory in the whole machine"
        lines.append(f"killed before, {limit}{when}: {kill.name} (process {kill.process}), which held {_mib(kill.anonymous_bytes)}")
    if not kills.log_readable:
        lines.append("the kernel's log cannot be read (run as root, or: sudo sysctl kernel.dmesg_restrict=0)")
    lines += [f"{_count(group.kills, 'process', 'processes')} killed under {group.group}" for group in kills.counted]
    return lines


def _steps(found: "Explained") -> str:
    if found.size is None or found.size.fails is None:
        return ", the size it has" if found.size_wh is not None else ""
    return f"; {_size(found.sizes_wh[found.size.fails - 1])} does not"


def _end_of_batches(found: "Explained") -> str:
    if found.batch is None:
        return ""
    return f"; {found.batch.fails} does not fit" if found.batch.fails is not None else ", as many as were tried"


def _split_rows(found: "Explained") -> list[tuple[str, str]]:
    split = found.split
    assert split is not None  # noqa: S101 - asked by the caller
    return [
        ("Python and the engine", f"{split.started_bytes / MIB:.1f}"),
        (f"weights, opened (the file has {split.file_bytes / MIB:.1f})", f"{split.weights_bytes / MIB:.1f}"),
        ("what it is fed", f"{split.fed_bytes / MIB:.1f}"),
        ("activations, while it runs", f"{split.activations_bytes / MIB:.1f}"),
    ]


def _leak(found: "Explained") -> str:
    split = found.split
    assert split is not None  # noqa: S101 - asked by the caller
    kib = split.leak_bytes_a_run.scaled(1 / 1024)
    figures = f"{kib.estimate:.1f} KiB a run (95 %: {kib.low:.1f} to {kib.high:.1f}, {split.runs} runs)"
    return f"it takes more with every run: {figures}" if split.leaks else f"no leak is shown: {figures}"


def _mib(count: int | None) -> str:
    return "-" if count is None else f"{count / MIB:.0f} MiB"


def _saved(count: int | None) -> str | None:
    return None if count is None else f"{count / MIB:+.0f} MiB"


def _size(size_wh: tuple[int, int] | None) -> str:
    return "none" if size_wh is None else "{}x{}".format(*size_wh)


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or f'{one}s'}"
