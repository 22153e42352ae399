"""The seam between edgewright and the runtimes: one file each, found by name, imported only when asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from edgewright.errors import InputError

ENGINES = ("onnxruntime",)  # modules of this package; each has `open_model(path, threads) -> Engine`


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input as the model declares it; None for an axis it leaves free."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str  # numpy's name


@dataclass(frozen=True, slots=True)
class EngineDescription:
    """Who computes: the runtime, its version, the threads it was given, and what the model wants to be fed."""

    name: str
    version: str
    threads: int
    inputs: tuple[TensorSpec, ...]


class Engine(Protocol):
    """A model opened in a runtime."""

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Outputs in the model's own order."""
        ...

    def describe(self) -> EngineDescription:
        """Who computes, and how."""
        ...

    def close(self) -> None:
        """Give the memory back."""
        ...


def open_engine(name: str, path: Path, *, threads: int) -> Engine:
    """Open `path` in the runtime called `name`, with `threads` threads.

    Raises:
        InputError: no such engine.
        EngineError: it is not installed here, or refuses the model.
    """
    if name not in ENGINES:
        raise InputError(f"there is no engine {name!r}", expected=f"one of {', '.join(ENGINES)}")
    engine: Engine = import_module(f"edgewright.engines.{name}").open_model(path, threads)
    return engine
