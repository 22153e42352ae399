"""A few named arrays in an `.npz`, written whole, and read back as if a stranger had written them: nothing unpickled, nothing unbounded.

numpy's own reader sets aside whatever a header asks for; here an array is as large as its bytes in the archive, or the file is refused.
"""

import io
import math
import struct
import sys
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewright.errors import DataError
from edgewright.printable import printable
from edgewright.regular_file import open_regular
from edgewright.whole_file import write_whole

MOST_BYTES = 1 << 29  # of all arrays together, unpacked; a hundred thousand pictures' boxes are a few hundred megabytes
MOST_FILE_BYTES = 1 << 28
VERSION = (1, 0)  # of numpy's array format: what numpy writes for plain arrays
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write plain arrays under their names, compressed.

    Raises:
        DiskError: they cannot be written; what was there before still is.
    """
    # In memory first: numpy's own writing to a full disk leaves an archive half open.
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **arrays)
    write_whole(path, packed.getvalue())


def read_arrays(path: Path, wanted: Mapping[str, tuple[str, int]]) -> dict[str, NDArray[Any]]:
    """The arrays of these names, each of the kind (numpy's letter: f, i, b, U) and with the number of axes that is `wanted`.

    Raises:
        DataError: one is missing, damaged, of another kind, or too large.
    """
    try:
        with open_regular(path) as stream, zipfile.ZipFile(stream) as archive:
            if stream.seek(0, io.SEEK_END) > MOST_FILE_BYTES:
                raise ValueError(f"more than {MOST_FILE_BYTES} bytes")  # noqa: TRY301 - said of the file below, like all that follows
            claimed = sum(archive.getinfo(f"{name}.npy").file_size for name in wanted)
            if claimed > MOST_BYTES:
                raise ValueError(f"it claims {claimed} bytes")  # noqa: TRY301 - as above
            return {name: _array(archive, f"{name}.npy", *kind) for name, kind in wanted.items()}
    except (ArithmeticError, EOFError, LookupError, MemoryError, OSError, RuntimeError, SyntaxError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error
    except (struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error, Warning) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{printable(path.name)} is damaged", got=printable(str(error)) or type(error).__name__, expected="arrays as we wrote them"
    )


def _array(archive: zipfile.ZipFile, name: str, kind: str, axes: int) -> NDArray[Any]:
    info = archive.getinfo(name)
    if info.compress_type not in PACKED:
        raise ValueError(f"{name} is packed in another way")
    with archive.open(info) as member:
        if np.lib.format.read_magic(member) != VERSION:
            raise ValueError(f"{name} is of another version")
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy tries what a stranger's header might have meant, and says so
            shape, by_columns, dtype = np.lib.format.read_array_header_1_0(member)
        content = member.read()
    # Text of no characters would be any number of them in no bytes.
    whole = dtype.itemsize > 0 and math.prod(shape) * dtype.itemsize == len(content)
    if dtype.kind != kind or len(shape) != axes or (by_columns and axes > 1) or not whole:
        raise ValueError(f"{name} is {dtype} of shape {shape} in {len(content)} bytes")
    if not content:
        return np.zeros(shape, dtype)
    if kind == "U" and np.frombuffer(content, np.dtype("u4").newbyteorder(dtype.byteorder)).max() > sys.maxunicode:
        raise ValueError(f"{name} holds what is no character")
    return np.frombuffer(content, dtype).reshape(shape).copy()
