"""The seam between edgewright and the runtimes: one file each, found by name, imported only when asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, cast

from numpy.typing import NDArray

from edgewright.artifact import Artifact
from edgewright.errors import EngineError, InputError

Precision: TypeAlias = Literal["float32", "float16", "bfloat16", "int8"]

# Modules of this package, each an `EngineModule`; those whose format is not ONNX are a `Converter` as well. The first is what everything is
# measured against; the last answers slowly, to hold the others against.
ENGINES = ("onnxruntime", "openvino", "mnn", "ncnn", "reference")


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output as the model declares it; None for an axis it leaves free."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str  # numpy's name


@dataclass(frozen=True, slots=True)
class EngineDescription:
    """Who computes: the runtime, its version, the threads it was given, and what the model wants to be fed.

    `precision`: in what most of the convolutions and matrix products really compute, as far as the runtime tells, whatever the file is
    called: tables of "FP32" rows that ran in half precision are why it is asked. `outputs`: in the order of what `run` returns; empty where
    the runtime does not tell.
    """

    name: str
    version: str
    threads: int
    inputs: tuple[TensorSpec, ...]
    precision: str
    outputs: tuple[TensorSpec, ...] = ()


class Engine(Protocol):
    """A model opened in a runtime."""

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Outputs in the model's own order; they are the caller's to keep. Contiguous inputs are read where they lie."""
        ...

    def describe(self) -> EngineDescription:
        """Who computes, and how."""
        ...

    def close(self) -> None:
        """Give the memory back."""
        ...


class EngineModule(Protocol):
    """What a module of this package offers."""

    PACKAGE: str  # what it imports
    SUFFIX: str  # of the file that it opens

    def version(self) -> str:
        """The runtime's own version; the package is imported for it.

        Raises:
            EngineError: it is not installed.
        """
        ...

    def float_precisions(self) -> tuple[Precision, ...]:
        """What a float graph can be computed in on this processor, float32 first.

        Raises:
            EngineError: it is not installed.
        """
        ...

    def open_model(self, path: Path, threads: int, precision: Precision) -> Engine:
        """The model at `path`, of the engine's own format, computing in `precision` wherever the file leaves the choice."""
        ...


class Converter(EngineModule, Protocol):
    """An engine with a format of its own; `convert` runs in a child process (`conversion`)."""

    def convert(self, source: Path, folder: Path, precision: Precision) -> list[Path]:
        """Write the ONNX model at `source` into `folder`; the files, the one to open first."""
        ...


def open_engine(name: str, path: Path, *, threads: int, precision: str = "float32") -> Engine:
    """Open `path` in the runtime called `name`, with `threads` threads.

    `precision`, as artifacts and `inspect` name it, is for what the file leaves open: float graphs in half precision, where a runtime and
    a processor can. An integer graph's few float operators compute in float32.

    Raises:
        InputError: no such engine.
        EngineError: it is not installed here, refuses the model, or cannot compute in that precision here.
    """
    return engine_module(name).open_model(path, threads, _precision(precision))


def open_artifact(artifact: Artifact, *, threads: int) -> Engine:
    """Open an artifact's model in the engine and precision that it was made for.

    Raises:
        InputError: there is no such engine.
        EngineError: as `open_engine`.
    """
    return open_engine(artifact.engine, artifact.model_path, threads=threads, precision=artifact.precision)


def engine_module(name: str) -> EngineModule:
    """The module of the engine called `name`.

    Raises:
        InputError: no such engine.
    """
    if name not in ENGINES:
        raise InputError(f"there is no engine {name!r}", expected=f"one of {', '.join(ENGINES)}")
    return cast("EngineModule", import_module(f"edgewright.engines.{name}"))


def is_installed(name: str) -> bool:
    """Whether the engine's package is there; nothing is imported.

    Raises:
        InputError: no such engine.
    """
    return find_spec(engine_module(name).PACKAGE) is not None


def installed_engines() -> tuple[str, ...]:
    """The engines that a detector could run in here; the reference, which nobody deploys, is not among them."""
    return tuple(name for name in ENGINES if name != "reference" and is_installed(name))


def _precision(label: str) -> Precision:
    """int8 (QDQ) -> int8; what nobody computes in (float64, int4 weights) is left to the runtime."""
    known: tuple[Precision, ...] = ("int8", "float16", "bfloat16")
    return next((each for each in known if label.startswith(each)), "float32")


def missing(what: str, extra: str) -> EngineError:
    """The error of an engine whose package is not there."""
    return EngineError(f"{what} is not installed", fix=f"run: pip install 'edgewright[{extra}]'")
