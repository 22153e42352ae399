"""`edgewright board`: what this machine is, how it feels, and how fast its memory is."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgewright.cli.output import JsonPath, Quiet, Terminal, console_for, write_json
from edgewright.cli.screen import Screen, table

if TYPE_CHECKING:
    from edgewright.board.bandwidth import Bandwidth
    from edgewright.board.clocks import Clock
    from edgewright.board.control_group import ControlGroup
    from edgewright.board.gpu import Engine
    from edgewright.board.memory import Memory
    from edgewright.board.pressure import Stalls
    from edgewright.board.profile import Board
    from edgewright.board.sensors import Reading
    from edgewright.board.thermal import Fan, Temperature
    from edgewright.board.throttle import Throttle

EXAMPLES = """
[bold]Examples[/bold]

  edgewright board

  edgewright board --bandwidth --json board.json
"""
MIB, GIB = 1 << 20, 1 << 30
Rows = Iterator[tuple[str, str | None]]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("board", epilog=EXAMPLES)(board)


def board(
    bandwidth: Annotated[bool, typer.Option("--bandwidth", help="Measure how fast the memory is as well; some seconds.")] = False,
    root: Annotated[Path, typer.Option(hidden=True, help="Where /proc and /sys are looked for.")] = Path("/"),
    json_path: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Say what this machine is, and how it feels: heat, clocks, throttling, supply, memory, pressure, disk.

    What it does not have, or hides, is "-". A sensor that says nonsense is named. Nothing is changed.
    """
    from edgewright.board.profile import Board  # noqa: PLC0415 - not for --help
    from edgewright.board.sensors import Sensors  # noqa: PLC0415

    profile = Board.detect(root)
    known = profile.in_catalog()
    with Sensors(root) as sensors:
        reading = sensors.read()
    measured = _measure(root, known, reading, quiet=quiet) if bandwidth else None
    console = console_for(quiet=quiet, json_path=json_path)
    _show(console, "What it is", _profile_rows(profile, known))
    _show(console, "Now", _state_rows(reading))
    for doubt in reading.doubtful:
        console.print(f"doubtful: {doubt}")
    if measured is not None:
        _show_bandwidth(console, measured)
    document = {
        "board": profile.to_json(),
        "catalog": None if known is None else known.name,
        "now": reading.to_json(),
        "bandwidth": None if measured is None else measured.to_json(),
    }
    write_json(document, json_path)


def _measure(root: Path, known: "Board | None", reading: "Reading", *, quiet: bool) -> "Bandwidth":
    from edgewright.board.bandwidth import last_level_cache_bytes, measure_bandwidth, suitable_bytes  # noqa: PLC0415 - heavy: numpy
    from edgewright.board.profile import usable_cores  # noqa: PLC0415

    cache_bytes = last_level_cache_bytes(root)
    array_bytes = suitable_bytes(cache_bytes, _available_bytes(reading))
    with Terminal(quiet=quiet) as terminal:
        terminal.stage("bandwidth")
        return measure_bandwidth(
            (1, usable_cores()),
            array_bytes,
            cache_bytes=cache_bytes,
            datasheet_gb_per_s=None if known is None else known.memory_gb_per_s,
            progress=terminal.advance,
        )


def _available_bytes(reading: "Reading") -> int | None:
    """Of the machine, or what the control group leaves of it."""
    machine = None if reading.memory is None else reading.memory.available_bytes
    group = None if reading.control_group is None else reading.control_group.memory_left_bytes
    return min((size for size in (machine, group) if size is not None), default=None)


def _show(console: Screen, title: str, rows: Rows) -> None:
    console.print(table("", [title, ""], [list(row) for row in rows], texts=(0, 1)))


def _profile_rows(profile: "Board", known: "Board | None") -> Rows:
    yield "board", next(iter(profile.models), None)
    yield "in the catalog as", None if known is None else known.name
    yield "processor", profile.cpu
    yield "cores", f"{profile.cores} ({profile.machine})"
    yield "instruction sets", ", ".join(sorted(profile.isa)) or None
    yield "memory", None if profile.memory_mib is None else f"{profile.memory_mib} MiB"


def _state_rows(now: "Reading") -> Rows:
    yield "temperature", None if now.governing_zone is None else _zone(now.governing_zone)
    for zone in now.zones:
        if zone is not now.governing_zone:
            yield "", _zone(zone)
    yield "throttling", None if now.throttle is None else _throttle(now.throttle)
    if now.over_currents is not None:
        yield "over-currents", str(now.over_currents)
    yield from _group("clock", [_clock(clock) for clock in now.clocks])
    yield "fan", None if now.fan is None else _fan(now.fan)
    yield "power", None if now.power_w is None else f"{now.power_w:.2f} W"
    yield "supply", None if now.supply_v is None else f"{now.supply_v:.2f} V"
    for rail in now.rails:
        yield f"  {rail.name}", _joined(_unit(rail.volts, "V", 3), _unit(rail.amperes, "A", 3), _unit(rail.watts, "W", 2))
    yield "memory", None if now.memory is None else _memory(now.memory)
    yield "swap", None if now.memory is None else _swap(now.memory)
    yield "control group", None if now.control_group is None else _limits(now.control_group)
    pressure = now.pressure
    for name, stalls in (("memory", pressure.memory), ("cpu", pressure.cpu), ("io", pressure.io)) if pressure else ():
        yield f"pressure, {name}", None if stalls is None else _stalls(stalls)
    if pressure is None:
        yield "pressure", None
    yield "disk", None if now.disk is None else f"{_size(now.disk.free_bytes)} of {_size(now.disk.total_bytes)} free"
    for name, engine in (("GPU", now.gpu), ("memory controller", now.emc)):
        if engine is not None:
            yield name, _engine(engine)


def _group(name: str, values: list[str | None]) -> Rows:
    """The name once."""
    yield name, values[0] if values else None
    for value in values[1:]:
        yield "", value


def _zone(zone: "Temperature") -> str | None:
    limits = _joined(
        None if zone.passive_c is None else f"slowed down from {zone.passive_c:.0f} C",
        None if zone.critical_c is None else f"off at {zone.critical_c:.0f} C",
    )
    return f"{'-' if zone.temp_c is None else f'{zone.temp_c:.1f} C'}  {zone.name}{f' ({limits})' if limits else ''}"


def _throttle(throttle: "Throttle") -> str:
    now = ", ".join(throttle.now) or "none"
    since = ", ".join(name for name in throttle.since_start if name not in throttle.now)
    return f"{now}; since the start: {since}" if since else now


def _clock(clock: "Clock") -> str | None:
    return _joined(
        None if clock.requested_mhz is None else f"{clock.requested_mhz:.0f} MHz asked for",
        None if clock.true_mhz is None else f"{clock.true_mhz:.0f} MHz true",
        None if clock.allowed_mhz in (None, clock.highest_mhz) else f"{clock.allowed_mhz:.0f} MHz allowed",
        None if clock.highest_mhz is None else f"{clock.highest_mhz:.0f} MHz at most",
    )


def _fan(fan: "Fan") -> str | None:
    return _joined(_unit(fan.rpm, "rpm"), None if fan.duty is None else f"{fan.duty:.0%}")


def _memory(memory: "Memory") -> str | None:
    if memory.available_bytes is None or memory.total_bytes is None:
        return None
    cma = None if memory.cma_free_bytes is None else f"CMA: {_size(memory.cma_free_bytes)} free"
    return _joined(f"{_size(memory.available_bytes)} of {_size(memory.total_bytes)} available", cma)


def _swap(memory: "Memory") -> str | None:
    if not memory.swap_total_bytes or memory.swap_used_bytes is None:
        return None
    zram = None if memory.zram_bytes is None else f"zram takes {_size(memory.zram_bytes)}"
    return _joined(f"{_size(memory.swap_used_bytes)} of {_size(memory.swap_total_bytes)} used", zram)


def _limits(group: "ControlGroup") -> str:
    limit, used = group.memory_limit_bytes, group.memory_used_bytes
    memory = "no memory limit" if limit is None else f"{'?' if used is None else _size(used)} of {_size(limit)}"
    cores = None if group.cpu_cores is None else f"{group.cpu_cores:g} cores"
    kills = f"{group.oom_kills} killed" if group.oom_kills else None
    return f"{_joined(memory, cores, kills)} (version {group.version})"


def _stalls(stalls: "Stalls") -> str | None:
    parts = (("some waited", stalls.some), ("all waited", stalls.full))
    shares = (None if stall is None else f"{name} {stall.avg10_percent:.1f} % of the time" for name, stall in parts)
    return _joined(*shares)


def _engine(engine: "Engine") -> str | None:
    highest = None if engine.highest_mhz is None else f"{engine.highest_mhz:.0f} MHz at most"
    return _joined(None if engine.load is None else f"{engine.load:.0%} busy", _unit(engine.clock_mhz, "MHz"), highest)


def _joined(*parts: str | None) -> str | None:
    return ", ".join(part for part in parts if part is not None) or None


def _unit(value: float | None, unit: str, digits: int = 0) -> str | None:
    return None if value is None else f"{value:.{digits}f} {unit}"


def _size(count: int) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / MIB:.0f} MiB"


def _show_bandwidth(console: Screen, measured: "Bandwidth") -> None:
    columns = ["", "threads", "GB/s", "slowest", "quickest", "of the data sheet", "ns each"]
    rows = [
        [
            each.kind,
            each.threads,
            each.gb_per_s,
            each.slowest,
            each.quickest,
            None if each.share is None else f"{each.share:.0%}",
            each.each_ns,
        ]
        for each in measured.figures
    ]
    console.print(table(f"Memory bandwidth, arrays of {measured.array_bytes // MIB} MiB, {measured.rounds} rounds", columns, rows))
    if measured.beyond_cache is None:
        console.print("the kernel does not say how large the cache is")
    elif not measured.beyond_cache:
        console.print(f"the arrays are not four times the cache ({_size(measured.cache_bytes or 0)}): it took part")
