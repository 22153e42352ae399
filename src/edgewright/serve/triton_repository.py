"""A model repository for Triton, and for KServe on top of it: for users who outgrow one board.

    DIR/NAME/config.pbtxt        what the server is told (`triton_config`)
    DIR/NAME/1/model.onnx        or model.xml and model.bin
    DIR/NAME/labels.txt, edgewright.json, README.md, kserve.yaml        what clients and people are told (`triton_papers`)

A new model takes its name in one step, with all that belongs to it. A model that was exported before is replaced as Triton replaces
models: the new one lies beside it as the next version, then config.pbtxt, which says the number of the one version to serve, takes the
place of the old; the old version goes last. So whoever looks, and whenever we are killed, finds a whole model, the old one or the new.
The papers follow config.pbtxt; for a moment they may be those of the older version, whose number edgewright.json says.

DIR may hold other models; nothing is touched but DIR/NAME, and that only where its config.pbtxt is ours and as we left it.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgewright.artifact import Artifact, ArtifactFile, describe_file, sha256_of
from edgewright.door.admission import admit_artifact, admit_detector, admit_model
from edgewright.door.remembered import is_all_there_is
from edgewright.engines import Engine, EngineDescription, TensorSpec, open_engine
from edgewright.engines.noise import invent
from edgewright.errors import ArtifactError, EngineError, InputError, ModelError
from edgewright.printable import printable
from edgewright.regular_file import open_regular, read_regular, why
from edgewright.serve.model_names import MODEL_NAME
from edgewright.serve.triton_config import Backend, ModelConfig, Tensor, is_sealed
from edgewright.serve.triton_papers import PAPERS, Subject, papers
from edgewright.whole_file import (
    SHOWN,
    is_own_file,
    is_own_folder,
    locked,
    make_folder,
    remove,
    sync_folder,
    telling_of_the_disk,
    whole_file,
    write_whole,
)

CONFIG: Final = "config.pbtxt"
MOST_CONFIG_BYTES: Final = 4 << 20
STAGING: Final = ".export"
VERSION: Final = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
# The backends' own default file names (onnxruntime_backend and openvino_backend, README.md).
BACKENDS: Final[dict[str, Backend]] = {"onnxruntime": "onnxruntime", "openvino": "openvino"}
MODEL_FILES: Final = {".onnx": "model.onnx", ".xml": "model.xml", ".bin": "model.bin"}
USUAL_BATCH: Final = 8
MOST_BATCH: Final = 4096
TOGETHER: Final = 3  # pictures on which it is seen that a free first axis is the batch
PIECE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """`model`: an artifact folder or an ONNX file. `name`: by default the model's own. `threads`: by default those that it was fitted for;
    0 is for the server to decide.

    `max_batch`: what one request may hold, and what may be computed together; by default 8 where the model takes any number, else 0.
    """

    model: Path
    out: Path
    name: str | None = None
    threads: int | None = None
    max_batch: int | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """What lies in `folder` now."""

    folder: Path
    config: ModelConfig
    subject: Subject

    def to_json(self) -> dict[str, Any]:
        files = sorted(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file())
        return {"folder": str(self.folder), "files": files, "model": self.subject.to_json(self.config)}


def export_triton(request: ExportRequest) -> Exported:
    """Lay the model down in the repository `request.out`.

    Raises:
        InputError: the model, its engine, the name or the folder cannot be used.
        EngineError: the engine that it needs is not installed here.
        DiskError: something cannot be written; what was served before still is.
    """
    source = _source(request.model)
    backend = _backend(source.engine)
    name = _name(source.name if request.name is None else request.name)
    with locked(request.out), _staging(request.out) as staging:
        folder = request.out / name
        version = _next_version(folder)
        staged = staging / name
        _copy(source, staged / str(version))
        config, subject = _describe(request, source, ModelConfig(name, backend, version, (), ()), staged / str(version))
        for paper, text in papers(subject, config).items():
            write_whole(staged / paper, text.encode())
        write_whole(staged / CONFIG, config.to_text().encode())
        with telling_of_the_disk(folder):
            _publish(staged, folder, version)
    return Exported(folder, config, subject)


@dataclass(frozen=True, slots=True)
class _Source:
    """A model that the door has let in; `artifact` where it is a detector."""

    name: str
    engine: str
    precision: str
    folder: Path
    files: tuple[ArtifactFile, ...]
    artifact: Artifact | None


def _source(path: Path) -> _Source:
    if path.is_dir():
        return _of_artifact(admit_artifact(path))
    try:
        return _of_artifact(admit_detector(path))
    except ModelError:  # a model all the same, or the sentence why not
        inspection = admit_model(path)
    return _Source(path.stem, "onnxruntime", str(inspection["precision"]), path.parent, (describe_file(path, path.parent),), None)


def _of_artifact(artifact: Artifact) -> _Source:
    return _Source(artifact.name, artifact.engine, artifact.precision, artifact.folder, artifact.files, artifact)


def _backend(engine: str) -> Backend:
    found = BACKENDS.get(engine)
    if found is None:
        raise InputError(
            f"Triton has no backend for {printable(engine)}",
            expected="an artifact of onnxruntime or openvino, or an .onnx file",
            fix="fit again with --engines onnxruntime,openvino",
        )
    return found


def _name(name: str) -> str:
    if not MODEL_NAME.fullmatch(name):
        raise InputError(
            "no name for a model",
            got=printable(name),
            expected="letters, digits, _, . and -, at most 100, of which the first is no . or -",
            fix="give one with --name",
        )
    return name


@contextmanager
def _staging(out: Path) -> Iterator[Path]:
    """A folder of ours on the disk of `out`, which is locked; what a killed run left in it is gone, and so is it in the end."""
    folder = out / STAGING
    if os.path.lexists(folder) and not is_own_folder(folder):
        raise InputError(f"{printable(str(folder), SHOWN)} is a link or a file", expected="a folder of ours", fix="remove it")
    remove(folder)
    make_folder(folder)
    try:
        yield folder
    finally:
        remove(folder)


def _next_version(folder: Path) -> int:
    """1, or one more than the model in `folder` has.

    Raises:
        InputError: what is there is not ours, or somebody has worked on it.
    """
    shown = printable(str(folder), SHOWN)
    if not os.path.lexists(folder) or (is_own_folder(folder) and not any(folder.iterdir())):
        return 1
    sealed = None
    if is_own_folder(folder) and is_own_file(folder / CONFIG):
        try:
            sealed = is_sealed(read_regular(folder / CONFIG, MOST_CONFIG_BYTES))
        except OSError as error:
            raise InputError(f"{shown}/{CONFIG} cannot be read", got=why(error), fix="choose another --name") from error
    if sealed is None:
        raise InputError(
            f"{shown} is something that edgewright did not write", expected="an earlier export, or nothing", fix="choose another --name"
        )
    if not sealed:
        raise InputError(
            f"{shown}/{CONFIG} was changed by hand", expected="it as it was written", fix="move it away, or choose another --name"
        )
    return 1 + max((int(path.name) for path in folder.iterdir() if VERSION.fullmatch(path.name)), default=0)


def _copy(source: _Source, target: Path) -> None:
    """The files under the names that the backend looks for, and seen to be those that were admitted."""
    make_folder(target)
    for file in source.files:
        path = source.folder / file.path
        wanted = MODEL_FILES.get(path.suffix)
        if wanted is None or os.path.lexists(target / wanted):
            raise ArtifactError("this artifact holds a file that Triton has no place for", got=printable(file.path), fix="fit again")
        try:
            with open_regular(path) as stream, whole_file(target / wanted, needed_bytes=file.bytes) as copy:
                shutil.copyfileobj(stream, copy, PIECE_BYTES)
        except OSError as error:
            raise InputError(f"{printable(str(path), SHOWN)} cannot be read", got=why(error)) from error
        if sha256_of(target / wanted) != file.sha256:
            raise InputError(f"{printable(str(path), SHOWN)} changed while it was read", fix="try again")


def _describe(request: ExportRequest, source: _Source, config: ModelConfig, folder: Path) -> tuple[ModelConfig, Subject]:
    """The model as the engine has it once it has opened the very file that is exported."""
    path = folder / MODEL_FILES[Path(source.files[0].path).suffix]
    fitted = source.artifact.threads if source.artifact is not None else None
    threads = fitted if request.threads is None else request.threads or None
    with closing(_open(source, path)) as engine:
        described = engine.describe()
        most = _max_batch(request, engine, described, source)
    described_config = ModelConfig(
        config.name,
        config.backend,
        config.version,
        tuple(map(Tensor.of, described.inputs)),
        tuple(map(Tensor.of, described.outputs)),
        most,
        _parameters(source, threads),
    )
    return described_config, Subject(source.name, source.engine, source.precision, source.files, described.version, source.artifact)


def _open(source: _Source, path: Path) -> Engine:
    """In float32 wherever the file leaves the choice: names and shapes are the same, and any processor has that."""
    try:
        return open_engine(source.engine, path, threads=os.cpu_count() or 1)
    except EngineError as error:
        if is_all_there_is(path, tuple(path.parent.iterdir())):
            raise
        raise ModelError(f"{printable(source.name)} keeps weights in files beside it", fix="save it as one file, or fit it") from error


def _parameters(source: _Source, threads: int | None) -> dict[str, str]:
    """Threads and precision, as each backend calls them (their README.md)."""
    if source.engine == "onnxruntime":
        return {} if threads is None else {"intra_op_thread_count": str(threads)}
    found = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}
    if threads is not None:
        found["INFERENCE_NUM_THREADS"] = str(threads)
    if source.precision == "bfloat16":
        found["HINT_BF16"] = "YES"
    return found


def _max_batch(request: ExportRequest, engine: Engine, described: EngineDescription, source: _Source) -> int:
    """How many pictures may be computed together; 0 where the first axis is not the batch, or OpenVINO runs it.

    Its backend makes a model with a batch into one of exactly that batch, and fails on fewer pictures (openvino_backend, README.md).
    """
    if request.max_batch == 0 or (source.engine == "openvino" and request.max_batch is None):
        return 0
    takes_any = source.engine != "openvino" and _takes_any_number(engine, described, source.artifact)
    if takes_any:
        return request.max_batch or USUAL_BATCH
    if request.max_batch is None:
        return 0
    raise InputError(
        f"--max-batch {request.max_batch}",
        got="a model whose first axis is fixed, or no batch",
        expected="0, or a model for onnxruntime that takes any number of pictures",
        fix="`edgewright quantize --batch any` makes one",
    )


def _takes_any_number(engine: Engine, described: EngineDescription, artifact: Artifact | None) -> bool:
    """Seen, not believed: a free first axis may count boxes as well."""
    if not all(spec.shape and spec.shape[0] is None for spec in (*described.inputs, *described.outputs)):
        return False
    feeds = {}
    for spec in described.inputs:
        rest = artifact.input.shape[1:] if artifact is not None and spec.name == artifact.input.name else spec.shape[1:]
        feeds[spec.name] = np.concatenate([invent(TensorSpec(spec.name, (1, *rest), spec.dtype))] * TOGETHER)
    try:
        return all(output.shape[:1] == (TOGETHER,) for output in engine.run(feeds))
    except EngineError:
        return False


def _publish(staged: Path, folder: Path, version: int) -> None:
    """As the module says; `staged` is on the disk, but for its names."""
    sync_folder(staged / str(version))
    sync_folder(staged)
    if not (folder / CONFIG).exists():
        os.rename(staged, folder)  # noqa: PTH104 - in one step: the folder is not there, or is empty
        sync_folder(folder.parent)
        return
    os.rename(staged / str(version), folder / str(version))  # noqa: PTH104 - as above
    sync_folder(folder)
    os.replace(staged / CONFIG, folder / CONFIG)  # noqa: PTH105 - with this the new model counts
    sync_folder(folder)
    for paper in PAPERS:
        if not is_own_folder(folder / paper):  # a folder would be somebody's own
            os.replace(staged / paper, folder / paper)  # noqa: PTH105
    for old in folder.iterdir():
        if VERSION.fullmatch(old.name) and int(old.name) != version and _is_ours(old):
            remove(old)
    sync_folder(folder)


def _is_ours(version: Path) -> bool:
    """Whether a version's folder holds model files only."""
    return is_own_folder(version) and all(path.name in MODEL_FILES.values() and is_own_file(path) for path in version.iterdir())
