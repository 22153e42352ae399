"""One big array into an `.npz`, piece by piece: other tools' calibrators read it, and no more than a picture is ever in memory.

>>> write_archive(Path("calibration.npz"), "images", (1000, 3, 640, 640), "float32", tensors)  # doctest: +SKIP
>>> np.load("calibration.npz")["images"].shape  # doctest: +SKIP
(1000, 3, 640, 640)
"""

import math
import re
import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewright.errors import DiskError
from edgewright.whole_file import named_file

# A model's author names its input, and some unzip archives with the names in them: no way up and no absolute path.
PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,99}(/[A-Za-z0-9_][A-Za-z0-9_.:-]{0,99}){0,9}")
OTHERWISE = "input"


def archive_bytes(shape: tuple[int, ...], dtype: str) -> int:
    """What the array will weigh; the file is some hundred bytes more."""
    return math.prod(shape) * np.dtype(dtype).itemsize


def array_name(input_name: str) -> str:
    """The name of a model's input, if it may stand in an archive."""
    return input_name if PLAIN_NAME.fullmatch(input_name) else OTHERWISE


def write_archive(path: Path, name: str, shape: tuple[int, ...], dtype: str, tensors: Iterable[NDArray[Any]]) -> None:
    """Write `tensors`, which along their first axis make up `shape`, as the array `name` of an uncompressed `.npz` (numpy's own format,
    `numpy.lib.format`). The file appears under its name only when it is whole.

    Raises:
        DiskError: the disk has no room for it.
    """
    needed, free = archive_bytes(shape, dtype), shutil.disk_usage(path.absolute().parent).free
    if needed > free:
        raise DiskError(f"{path} needs {needed / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free", fix="free some, or take fewer images")
    with named_file(path, needed_bytes=needed) as stream:
        # Stored: compressed, it could not be mapped, and float pictures hardly shrink.
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive, archive.open(f"{name}.npy", "w", force_zip64=True) as member:
            header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(member, header)
            for tensor in tensors:
                needed -= member.write(np.ascontiguousarray(tensor, dtype).data.cast("B"))
        if needed:
            raise ValueError(f"the tensors do not make up {shape} of {dtype}")
