"""A machine: the one we are on, read from the files the kernel keeps under a root that a test can replace, or one from a file.

The catalog beside this module holds the boards we know, a TOML file each, with the source of every figure in it.
"""

import os
import platform
import sys
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgewright.errors import InputError
from edgewright.printable import brief
from edgewright.regular_file import read_regular, why

HOST = "host"
CATALOG = Path(__file__).with_name("catalog")
MOST_TOML_BYTES = 16 << 10  # the time that tomllib takes over dotted keys grows with the square of their number
MOST_CORES = 1024
MOST_MEMORY_MIB = 1 << 24
MOST_GB_PER_S = 10_000
LONGEST_TEXT = 100

# The instruction sets that decide which integer scheme is fast, by the flag the kernel prints (x86: flags, Arm: Features).
ISA_FLAGS = {
    "avx2": "avx2",
    "avx512f": "avx512f",
    "avx512_vnni": "vnni",
    "avx_vnni": "vnni",
    "avx512_bf16": "bf16",
    "amx_int8": "amx_int8",
    "asimd": "neon",
    "asimddp": "dotprod",
    "i8mm": "i8mm",
    "fphp": "fp16",
    "bf16": "bf16",
}


@dataclass(frozen=True, slots=True)
class Board:
    """A device: its processor, how many cores we may use, instruction sets, memory. Unknown is None.

    `accelerators` are what runs networks beside the processor, by the name of the scheme it wants (compress/schemes.py).
    `memory_gb_per_s` is the memory's bandwidth as its data sheet has it. `models`: what a board calls itself in its device tree; of a board
    of the catalog, how that begins.
    """

    machine: str
    cpu: str | None
    cores: int
    isa: frozenset[str]
    memory_mib: int | None
    name: str = HOST
    accelerators: tuple[str, ...] = ()
    memory_gb_per_s: float | None = None
    models: tuple[str, ...] = ()

    @classmethod
    def detect(cls, root: Path = Path("/")) -> "Board":
        """This machine, from `root`/proc."""
        cpuinfo = _read(root / "proc/cpuinfo")
        model = _model(root)
        return cls(
            platform.machine(),
            _cpu_name(root, cpuinfo),
            usable_cores(),
            _isa(cpuinfo),
            _memory_mib(root),
            models=() if model is None else (model[:LONGEST_TEXT],),
        )

    @classmethod
    def load(cls, name_or_file: str) -> "Board":
        """The board of this name in the catalog, or described in this TOML file.

        Raises:
            InputError: no such board or file, or the file is not a board's description.
        """
        if name_or_file in known_boards():
            return _parse(CATALOG / f"{name_or_file}.toml")
        path = Path(name_or_file)
        if path.suffix != ".toml":
            raise InputError(
                f"there is no board {ascii(name_or_file)[:LONGEST_TEXT]}",
                expected=f"one of {', '.join(known_boards())}, or a .toml file made like theirs",
            )
        return _parse(path)

    def in_catalog(self) -> "Board | None":
        """The board of the catalog that it calls itself; None if it is none of them."""
        boards = map(Board.load, known_boards())
        return next((board for board in boards for model in self.models if board.models and model.startswith(board.models)), None)

    def differs_from(self, host: "Board") -> tuple[str, ...]:
        """In what respects a figure measured on `host` may not hold here, a sentence each; none where the instruction sets are the same."""
        lacking, beyond = sorted(self.isa - host.isa), sorted(host.isa - self.isa)
        here = "this machine" if host.name == HOST else host.name
        sentences = []
        if lacking:
            sentences.append(f"{self.name} has {', '.join(lacking)}, which {here} lacks")
        if beyond:
            sentences.append(f"{here} has {', '.join(beyond)}, which {self.name} lacks")
        return tuple(sentences)

    def to_json(self) -> dict[str, Any]:
        """What is known of it; of this machine also what runs on it."""
        found = {**asdict(self), "isa": sorted(self.isa), "accelerators": list(self.accelerators), "models": list(self.models)}
        return {**found, "os": platform.platform(), "python": sys.version.split()[0]} if self.name == HOST else found


def known_boards() -> tuple[str, ...]:
    """The names in the catalog."""
    return tuple(sorted(path.stem for path in CATALOG.glob("*.toml")))


def usable_cores() -> int:
    """The cores this process may run on, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _parse(path: Path) -> Board:
    fields = _toml(path)
    try:
        return _board(fields)
    except KeyError as error:
        raise _garbled(path, f"no field {error}") from error
    except ValueError as error:
        raise _garbled(path, str(error)) from error


def _board(fields: dict[str, Any]) -> Board:
    """Raises ValueError or KeyError for what is not a board."""
    unknown = sorted(set(fields) - FIELDS)
    isa = frozenset(_texts(fields["isa"], "isa"))
    foreign = sorted(isa - set(ISA_FLAGS.values()))
    if unknown:
        raise ValueError(f"a field {brief(unknown[0])} that no board has")
    if foreign:
        raise ValueError(f"isa {brief(foreign[0])}, not among {', '.join(sorted(set(ISA_FLAGS.values())))}")
    if fields["name"] == HOST:
        raise ValueError(f"the name {HOST!r}, which is kept for the machine we are on")
    return Board(
        machine=_text(fields["machine"], "machine"),
        cpu=_text(fields["cpu"], "cpu") if "cpu" in fields else None,
        cores=_count(fields["cores"], "cores", MOST_CORES),
        isa=isa,
        memory_mib=_count(fields["memory_mib"], "memory_mib", MOST_MEMORY_MIB) if "memory_mib" in fields else None,
        name=_text(fields["name"], "name"),
        accelerators=_texts(fields.get("accelerators", []), "accelerators"),
        memory_gb_per_s=_rate(fields["memory_gb_per_s"], "memory_gb_per_s") if "memory_gb_per_s" in fields else None,
        models=_texts(fields.get("models", []), "models"),
    )


FIELDS = {"name", "machine", "cpu", "cores", "isa", "memory_mib", "accelerators", "memory_gb_per_s", "models"}


def _toml(path: Path) -> dict[str, Any]:
    shown = ascii(str(path))[:200]
    try:
        data = read_regular(path, MOST_TOML_BYTES)
    except OSError as error:
        fix = "give a .toml file that describes one board, or the name of a known one"
        raise InputError(f"the board file {shown} cannot be read", got=why(error), fix=fix) from error
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _garbled(path, ascii(str(error))[:200]) from error


def _garbled(path: Path, got: str) -> InputError:
    return InputError(
        f"{ascii(str(path))[:200]} does not describe a board",
        got=got,
        expected="name, machine, cores, isa and, where known, cpu, memory_mib, memory_gb_per_s, accelerators, models",
        fix=f"copy {CATALOG / 'rpi5.toml'} and change it",
    )


def _text(value: object, key: str) -> str:
    if not isinstance(value, str) or not value or len(value) > LONGEST_TEXT or not value.isprintable():
        raise ValueError(f"{key} = {brief(value)}, not one short line of text")
    return value


def _texts(values: object, key: str) -> tuple[str, ...]:
    if not isinstance(values, list) or len(values) > LONGEST_TEXT:
        raise ValueError(f"{key} = {brief(values)}, not a list")
    return tuple(_text(value, key) for value in values)


def _count(value: object, key: str, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ValueError(f"{key} = {brief(value)}, not a whole number from 1 to {most}")
    return value


def _rate(value: object, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MOST_GB_PER_S:
        raise ValueError(f"{key} = {brief(value)}, not a number above 0, up to {MOST_GB_PER_S}")
    return float(value)


def _cpu_name(root: Path, cpuinfo: str) -> str | None:
    named = _field(cpuinfo, "model name") or _field(cpuinfo, "Model")
    # Arm boards say who they are in the device tree.
    return named or _model(root)


def _model(root: Path) -> str | None:
    return _read(root / "proc/device-tree/model").rstrip("\0").strip() or None


def _isa(cpuinfo: str) -> frozenset[str]:
    words = (_field(cpuinfo, "flags") or _field(cpuinfo, "Features") or "").split()
    return frozenset(ISA_FLAGS[word] for word in words if word in ISA_FLAGS)


def _memory_mib(root: Path) -> int | None:
    total = _field(_read(root / "proc/meminfo"), "MemTotal")
    return int(total.split()[0]) // 1024 if total else None


def _field(text: str, key: str) -> str | None:
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip() == key:
            return value.strip()
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""
