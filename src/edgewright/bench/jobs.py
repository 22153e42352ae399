"""What to measure, from a path: an artifact folder as it says, any ONNX model as it is."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgewright.artifact import Artifact
from edgewright.bench.measure import Job
from edgewright.door.admission import admit_artifact, admit_model, inspect_model_safely

ONNX = ".onnx"


def jobs_for(paths: Sequence[Path], threads: Sequence[int]) -> list[Job]:
    """The jobs of measuring each of `paths` with each number of threads; the paths beside each other.

    Raises:
        InputError: one of them is neither artifact nor model, or unsound.
    """
    macs_of: dict[str, int] = {}
    jobs = [job_for(path, threads[0], macs_of) for path in paths]
    return [replace(job, threads=count) for count in threads for job in jobs]


def job_for(path: Path, threads: int, macs_of: dict[str, int] | None = None) -> Job:
    """The job of measuring an artifact folder or an ONNX file with `threads` threads.

    `macs_of`, the work by digest of the models met so far, fills; an artifact in another format than ONNX does the work of the model that
    it was made of, where that one was met.

    Raises:
        InputError: it is neither, or unsound.
    """
    known = {} if macs_of is None else macs_of
    if path.is_dir():
        artifact = admit_artifact(path)
        scheme = None if artifact.scheme is None else str(artifact.scheme["recipe"]["mode"])
        size = artifact.input.size_wh[0]
        macs = _macs_of(artifact, known)
        return Job(str(path), artifact.model_path, artifact.engine, artifact.precision, threads, scheme, size, artifact.beside, macs)
    found = admit_model(path)
    if found["macs"] is not None:
        known[found["digest"]] = found["macs"]
    return Job(str(path), path, "onnxruntime", found["precision"], threads, macs=found["macs"])


def _macs_of(artifact: Artifact, known: dict[str, int]) -> int | None:
    if artifact.model_path.suffix == ONNX:
        try:
            macs: int | None = inspect_model_safely(artifact.model_path)["macs"]
        except ModuleNotFoundError:
            return None  # a board measures without the tools that read graphs
        return macs
    return known.get(str(artifact.lineage["source_digest"]))
