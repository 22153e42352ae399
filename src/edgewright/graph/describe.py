"""A bare ONNX file, described as an artifact."""

from pathlib import Path

from edgewright.artifact import Artifact, describe_file
from edgewright.graph.head import recognise
from edgewright.graph.inspect import precision_of
from edgewright.graph.lint import refuse_unsound
from edgewright.graph.load import load_model
from edgewright.graph.metadata import class_names


def describe_detector(path: Path) -> Artifact:
    """The artifact that consists of the ONNX detector at `path`, untouched.

    Raises:
        ModelError: the file is unsound, or no detector we can decode.
    """
    model = load_model(path)
    refuse_unsound(model)
    head = recognise(model)
    file = describe_file(path, path.parent)
    return Artifact(
        name=path.stem,
        engine="onnxruntime",
        precision=precision_of(model),
        files=(file,),
        input=head.input,
        head=head.decoded,
        classes=_names(class_names(model), head.classes),
        folder=path.parent,
        lineage={"source_digest": f"sha256:{file.sha256}", "calibration_digest": None, "tools": {}},
    )


def _names(declared: tuple[str, ...] | None, count: int) -> tuple[str, ...]:
    return declared if declared is not None and len(declared) == count else tuple(f"class {i}" for i in range(count))
