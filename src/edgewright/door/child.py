"""The process that meets a stranger's model first: it reads, examines and once runs it, within limits, and says what it found.

    python -P -m edgewright.door.child detector yolov8n.onnx

It writes JSON lines: {"doing": "..."} before each step, with its limits, so that whoever reads knows when to give up and at which step it
died; and at last {"admitted": {...}}, {"refused": {...}} or {"missing": "package"}. It writes nothing else and no file.
"""

import argparse
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TextIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgewright.artifact import Artifact
from edgewright.door.limits import MIB, give_up_files_and_parent, limit_cpu, limit_memory, memory_allowance, patience_s
from edgewright.engines import Engine, open_engine
from edgewright.engines.base import engine_module
from edgewright.engines.noise import invent, noise_shape
from edgewright.errors import EdgewrightError, EngineError, ModelError
from edgewright.printable import printable
from edgewright.vision.heads import can_decode, decode

SCORE_ABOVE = 0.001  # the evaluation protocol's floor: whatever decodes above it decodes
OUT_OF_MEMORY = ("bad_alloc", "bad allocation", "failed to allocate", "cannot allocate", "std::bad_array_new_length")
ONNX = ".onnx"
OPENED = "was opened"
NO_KERNEL = "NOT_IMPLEMENTED"  # ONNX Runtime's word for operators and types that its processor here has no code for

Errand: TypeAlias = Callable[[Path, "Examination"], dict[str, Any]]
Feed: TypeAlias = Mapping[str, NDArray[Any]]


def main() -> int:
    """Examine one file or folder; 0 whatever the verdict, which is in what was said."""
    parser = argparse.ArgumentParser()
    parser.add_argument("errand", choices=ERRANDS)
    parser.add_argument("path", type=Path)
    parser.add_argument("--began", type=float, required=True, help="time.monotonic() of whoever asks, when it asked")
    options = parser.parse_args()
    say = _sole_speaker()
    has_graph_tools = importlib.util.find_spec("onnx") is not None
    try:
        load(options.errand, with_graph=has_graph_tools)
    except ModuleNotFoundError as error:
        say({"missing": error.name})
        return 0
    import_s = time.monotonic() - options.began
    give_up_files_and_parent()
    say(_verdict(ERRANDS[options.errand], options.path, Examination(say, import_s, with_graph=has_graph_tools)))
    return 0


def _verdict(errand: Errand, path: Path, examination: "Examination") -> dict[str, Any]:
    # What failed, and the memory it holds on to, is gone when this returns: there must be some left to speak with.
    try:
        return {"admitted": errand(path, examination)}
    except EdgewrightError as error:
        return {"refused": _as_json(examination.blamed_on_memory(error))}
    except MemoryError:
        return {"refused": _as_json(examination.too_large())}
    except Exception as error:  # noqa: BLE001 - what our own examination stumbles over is not let in
        return {"refused": _as_json(examination.stumbled(error))}


class Examination:
    """One file under examination: the limits it has, and the step it is at."""

    def __init__(self, say: Callable[[dict[str, Any]], None], import_s: float, *, with_graph: bool) -> None:
        self.with_graph = with_graph
        self._say = say
        self._import_s = import_s
        self._shown = "the model"
        self._doing = ""
        self._allowance = 0
        self._model_bytes = 0

    def begin(self, path: Path, files: Iterable[Path]) -> None:
        """Limit what reading may take by what lies on the disk."""
        self._shown = printable(path.name or str(path))
        self._model_bytes = sum(_size_of(file) for file in files)
        limit_cpu(patience_s(self._import_s, self._model_bytes) * (os.cpu_count() or 1))
        self._limit(0)
        self.doing("was read")

    def doing(self, what: str) -> None:
        """The step begins; `what` completes the sentence "x.onnx ... while it"."""
        self._doing = what
        self._say({"doing": what, "seconds": patience_s(self._import_s, self._model_bytes), "mib": self._allowance // MIB})

    def run(self, path: Path, engine_name: str, precision: str, feed: Feed | None = None) -> list[NDArray[Any]]:
        """The model's answer to one feed (None: noise on every input), in one thread.

        Raises:
            ModelError: the runtime refuses it, or fails on it.
            EngineError: the runtime is not installed, or lacks what the model, sound as it may be, asks for.
        """
        self.doing(OPENED)
        try:
            with closing(open_engine(engine_name, path, threads=1, precision=precision)) as engine:
                self._limit(_input_bytes(engine))
                self.doing("was run once")
                return engine.run(feed or {spec.name: invent(spec) for spec in engine.describe().inputs})
        except EngineError as error:
            if isinstance(error.__cause__, ImportError):
                raise
            if NO_KERNEL in (error.got or ""):
                raise EngineError(f"{self._shown} does not run: {error.what}", got=error.got, fix="try another engine") from error
            fix = "export it again with fixed sizes, or with an older opset"
            fails = "cannot be opened" if self._doing == OPENED else "does not run on noise of the shape it declares"
            raise ModelError(f"{self._shown} {fails}", got=error.got, fix=fix) from error

    def blamed_on_memory(self, error: EdgewrightError) -> EdgewrightError:
        """The error, unless it is what a runtime says when it has no memory left."""
        said = str(error).lower()
        return self.too_large() if any(words in said for words in OUT_OF_MEMORY) else error

    def too_large(self) -> ModelError:
        return ModelError(
            f"{self._shown} asks for too much memory",
            got=f"more than {self._allowance // MIB} MiB while it {self._doing}",
            expected=f"less, for a file of {self._model_bytes / 1e6:.1f} MB",
            fix="do not use it, or export it again with a smaller input or batch",
        )

    def stumbled(self, error: Exception) -> ModelError:
        return ModelError(
            f"{self._shown} could not be examined",
            got=f"{type(error).__name__} while it {self._doing}: {printable(str(error), 160)}",
            fix="do not use it; if it is sound, this is a fault of ours: please report it",
        )

    def _limit(self, input_bytes: int) -> None:
        self._allowance = memory_allowance(self._model_bytes, input_bytes)
        limit_memory(self._allowance)


def inspect(path: Path, examination: Examination) -> dict[str, Any]:
    """What the file is; it is not run."""
    from edgewright.graph.head import family_of  # noqa: PLC0415 - onnx, which a board does not have
    from edgewright.graph.inspect import inspect_model  # noqa: PLC0415

    _begin_with_data(path, examination)
    return inspect_model(path, recognise=family_of).to_json()


def model(path: Path, examination: Examination) -> dict[str, Any]:
    """What the file is; it has answered noise."""
    inspection = inspect(path, examination)
    examination.run(path, "onnxruntime", "float32")
    return inspection


def detector(path: Path, examination: Examination) -> dict[str, Any]:
    """The bare detector as an artifact; it has answered noise with boxes."""
    from edgewright.graph.describe import describe_detector  # noqa: PLC0415

    _begin_with_data(path, examination)
    described = describe_detector(path)
    _answers(described, examination)
    return described.to_json()


def artifact(path: Path, examination: Examination) -> dict[str, Any]:
    """An artifact folder, all its digests right; its model is sound, as far as this machine can tell, and has answered noise with boxes."""
    described = Artifact.load(path)
    with suppress(EdgewrightError):  # if it is not there, opening it says what to install
        engine_module(described.engine).version()  # imported before memory is limited
    examination.begin(path, [described.folder / file.path for file in described.files])
    if examination.with_graph and described.model_path.suffix == ONNX:
        from edgewright.graph.lint import refuse_unsound  # noqa: PLC0415
        from edgewright.graph.load import load_model  # noqa: PLC0415

        refuse_unsound(load_model(described.model_path))
    _answers(described, examination)
    return described.to_json()


ERRANDS: dict[str, Errand] = {"inspect": inspect, "model": model, "detector": detector, "artifact": artifact}


def load(errand: str, *, with_graph: bool) -> None:
    """Import what the errand needs before memory is limited and the clock runs."""
    if errand != "artifact" or with_graph:
        import edgewright.graph.head  # noqa: PLC0415
        import edgewright.graph.inspect  # noqa: F401, PLC0415
    if errand in {"model", "detector"}:
        with suppress(ImportError):  # opening it says what to install
            import onnxruntime  # noqa: F401, PLC0415


def _begin_with_data(path: Path, examination: Examination) -> None:
    """Begin, with more room where the model names data beside it: how large that is, only reading the model itself tells."""
    from edgewright.graph.load import data_files  # noqa: PLC0415

    examination.begin(path, [path])
    beside = data_files(path)
    if beside:
        examination.begin(path, [path, *beside])


def _answers(described: Artifact, examination: Examination) -> None:
    """See that the detector answers noise with finite numbers that decode.

    Raises:
        ModelError: it does not.
    """
    spec, shown = described.input, printable(described.name)
    noise = (np.random.default_rng(0).random(spec.shape, np.float32) * np.float32(255 * spec.scale)).astype(spec.dtype)
    outputs = examination.run(described.model_path, described.engine, described.precision, {spec.name: noise})
    if any(output.dtype.kind == "f" and np.isnan(output).any() for output in outputs):
        fix = "export it again from a checkpoint that works"
        raise ModelError(f"{shown} answers a picture of noise with NaN", expected="numbers", fix=fix)
    examination.doing("was decoded")
    if not _decodes(described, outputs):
        raise ModelError(
            f"{shown} does not answer as a {described.head.family} detector of {len(described.classes)} classes",
            got="outputs of " + ", ".join(str(list(output.shape)) for output in outputs[:8]),
            fix="export it again",
        )


def _decodes(described: Artifact, outputs: list[NDArray[Any]]) -> bool:
    if not can_decode(described.head, outputs, len(described.classes)):
        return False
    try:
        decode(described.head, outputs, SCORE_ABOVE, size_wh=described.input.size_wh)
    except (ValueError, IndexError):
        return False
    return True


def _input_bytes(engine: Engine) -> int:
    inputs = engine.describe().inputs
    return sum(int(np.prod(noise_shape(spec), dtype=np.float64)) * np.dtype(np.float32).itemsize for spec in inputs)


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0  # the reader says what is wrong with it


def _as_json(error: EdgewrightError) -> dict[str, Any]:
    return {"kind": type(error).__name__, "what": error.what, "got": error.got, "expected": error.expected, "fix": error.fix}


def _sole_speaker() -> Callable[[dict[str, Any]], None]:
    """A way to speak that libraries which print cannot disturb: their standard output becomes standard error."""
    stream: TextIO = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)

    def say(message: dict[str, Any]) -> None:
        stream.write(json.dumps(message) + "\n")
        stream.flush()

    return say


if __name__ == "__main__":
    sys.exit(main())
