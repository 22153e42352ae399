"""What to measure, from a path: an artifact folder as it says, any ONNX model as it is."""

from pathlib import Path

from edgewright.bench.measure import Job
from edgewright.door.admission import admit_artifact, admit_model


def job_for(path: Path, threads: int) -> Job:
    """The job of measuring an artifact folder or an ONNX file with `threads` threads.

    Raises:
        InputError: it is neither, or unsound.
    """
    if path.is_dir():
        artifact = admit_artifact(path)
        scheme = None if artifact.scheme is None else str(artifact.scheme["recipe"]["mode"])
        size = artifact.input.size_wh[0]
        return Job(str(path), artifact.model_path, artifact.engine, artifact.precision, threads, scheme, size, artifact.beside)
    return Job(str(path), path, "onnxruntime", admit_model(path)["precision"], threads)
