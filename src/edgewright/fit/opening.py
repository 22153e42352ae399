"""What a fit may begin with: a float detector, a data set that suits it, and what to know of both, before anything is written."""

from pathlib import Path
from typing import Any

import numpy as np

from edgewright.accuracy.predictions import class_translation
from edgewright.artifact import Artifact
from edgewright.data.calibration import CalibrationSet
from edgewright.data.dataset import Dataset, Sample, open_dataset, part_train_from_val
from edgewright.door.admission import admit_detector
from edgewright.errors import DataError, InputError, ModelError

MOST_SELECTION = 256  # pictures candidates are ranked on; more would cost time and settle little that agreement does not


def open_material(model: Path, data: Path) -> tuple[Artifact, Dataset, list[str]]:
    """The model, the data set, and warnings about them.

    Raises:
        InputError: either cannot be used, or they do not go together.
    """
    baseline = open_float_model(model)
    dataset, shared = part_train_from_val(open_dataset(data))
    warnings = list(dataset.warnings)
    if shared:
        warnings.append(f"{shared} images were in train and in val; each is now in one of them, by its digest")
    if not dataset.labelled:
        warnings.append("the data set has no labels: accuracy is agreement with the float model, and nothing can be proven")
        return baseline, dataset, warnings
    class_translation(baseline.classes, dataset.classes)
    if not any(sample.class_ids(len(dataset.classes)).size for sample in dataset.split("val")):
        raise DataError(f"no val image of {data} has a label", expected="labelled boxes to judge by")
    return baseline, dataset, warnings


def open_float_model(path: Path) -> Artifact:
    """A detector that nobody has quantized yet.

    Raises:
        ModelError: it is no detector, or no float32 one.
    """
    artifact = admit_detector(path)
    if artifact.precision.startswith("int8"):
        raise ModelError(
            f"{path} is already quantized",
            got=artifact.precision,
            expected="a float32 model",
            fix="fit the float original it was made from",
        )
    if artifact.precision != "float32":
        raise ModelError(f"{path} is not a float32 model", got=artifact.precision, fix="export it again in float32")
    return artifact


def selection_samples(dataset: Dataset, calibration: CalibrationSet, seed: int) -> list[Sample]:
    """Train pictures that calibration did not see, drawn by the seed; what is chosen by looking at accuracy is chosen on these.

    Raises:
        InputError: calibration took them all.
    """
    held = {sample.image for sample in calibration.samples}
    rest = [sample for sample in dataset.split("train") if sample.image not in held]
    if not rest:
        raise InputError(
            "every train image went into calibration, none is left to choose on",
            got=f"--images {len(held)}, as many as there are train images",
            fix="lower --images to half of them or less",
        )
    drawn = np.random.default_rng(seed).permutation(len(rest))[:MOST_SELECTION]
    return [rest[at] for at in sorted(drawn)]


def listing(dataset: Dataset) -> list[Any]:
    """What the data set's files are, cheaply: path, size and time of change of every picture and label file."""
    return [[name, [[str(path), *_stamp(path)] for sample in samples for path in sample.files]] for name, samples in dataset.splits.items()]


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns
