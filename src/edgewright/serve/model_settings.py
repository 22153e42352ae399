"""Which models are served, and within which limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class ServedModelSettings:
    """A model and its limits. `path`: an artifact folder, or an ONNX file. `most_waiting`: requests beyond are told to come again.

    `most_together`: requests that may be computed in one run, where that is learned to help; 1 switches it off.
    """

    name: str
    path: Path
    threads: int | None = None  # default: those it was fitted for, else all cores
    most_waiting: int = 64
    answer_within_s: float = 30.0  # for one request; a process that is silent for longer is replaced
    most_slot_bytes: int = 256 * MIB  # all inputs, or all outputs, of one run
    most_together: int = 8


@dataclass(frozen=True, slots=True)
class HostSettings:
    """`models`: by name. `folder`: where more of them lie, as NAME.onnx or as artifact folders NAME; its links are not followed.

    `at_start`: which are loaded when the server starts (default: all of `models`). `on_demand`: one of `models` that is not loaded is when
    it is first asked for. `own_threads`: of models that do not have `threads`. `memory_bytes`: for all their processes together (default:
    80 % of what is available). `deadline_s`: how long a request waits when its client does not say.
    """

    models: Mapping[str, Path] = field(default_factory=dict)
    folder: Path | None = None
    at_start: tuple[str, ...] | None = None
    on_demand: bool = False
    threads: int | None = None
    own_threads: Mapping[str, int | None] = field(default_factory=dict)
    memory_bytes: int | None = None
    deadline_s: float = 30.0
    most_waiting: int = 64
    answer_within_s: float = 30.0
    most_together: int = 8
    most_models: int = 32  # loaded at once
