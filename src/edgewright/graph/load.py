"""Read an untrusted ONNX file: bounded, parsed as data only, and nothing outside its own folder touched.

A checkpoint (.pt) is a pickle, and opening a pickle runs it; it is refused by name, unopened. Data kept beside the model is checked whole
before the first byte is loaded: inside the folder, a regular file, as long as the tensor's dims ask for.
"""

import hashlib
import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import onnx
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]  # has no stubs

from edgewright.errors import InputError, ModelError
from edgewright.graph.finding import printable
from edgewright.graph.tensors import byte_count, claim_finding
from edgewright.graph.walk import tensors

MAX_BYTES = 2 * 1024**3  # what a protobuf message can hold
CHECKPOINTS = {".pt", ".pth"}
MAX_LOCATION = 1024
LENGTH_DELIMITED = 2
FIXED_WIDTHS = {1: 8, 5: 4}
TAKE_ANOTHER = "copy or export the model again"

# First bytes -> what the file is, for those that are given a wrong suffix most often.
SIGNATURES = {
    b"version https://git-lfs": ("a git-LFS pointer, not the model itself", "fetch the model with `git lfs pull`"),
    b"PK\x03\x04": ("a zip archive (a PyTorch checkpoint or a package)", "unpack it, or export the model to ONNX"),
    b"\x80\x02": ("a Python pickle", "export the model to ONNX; a pickle is never opened here"),
    b"\x1f\x8b": ("a gzip archive", "unpack it"),
    b"\x89HDF": ("an HDF5 file", "export the model to ONNX"),
    b"<!DOCTYPE": ("a web page", "download the file itself, not the page that shows it"),
    b"<html": ("a web page", "download the file itself, not the page that shows it"),
}


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Where one tensor's bytes lie beside the model."""

    tensor: onnx.TensorProto
    file: Path
    offset: int
    length: int


def load_model(path: Path) -> onnx.ModelProto:
    """The model at `path`, with the data files it keeps beside it.

    Raises:
        InputError: there is no such file.
        ModelError: it is not an ONNX model that can be read safely; the message says what it is.
    """
    model = _parse(_read(path), _shown(path))
    chunks = _chunks(model, path)
    for chunk in chunks:
        chunk.tensor.raw_data = _slice(chunk)
        chunk.tensor.data_location = onnx.TensorProto.DEFAULT
        del chunk.tensor.external_data[:]
    return model


def model_digest(path: Path) -> str:
    """`sha256:...` of the file; where data lies beside it, of the file followed by a line for each data file.

    Raises:
        InputError: there is no such file.
        ModelError: it cannot be read safely.
    """
    data = _read(path)
    digest = hashlib.sha256(data)
    folder = path.parent.resolve()
    for file in sorted({chunk.file for chunk in _chunks(_parse(data, _shown(path)), path)}):
        with file.open("rb") as stream:
            digest.update(f"{hashlib.file_digest(stream, 'sha256').hexdigest()}  {file.relative_to(folder).as_posix()}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def _shown(path: Path) -> str:
    return printable(path.name or str(path))


def _read(path: Path) -> bytes:
    _check_suffix(path)
    try:
        with _open_regular(path) as stream:
            # Asked for more than there is, read() first sets aside as much as it was asked for.
            data = stream.read(min(os.fstat(stream.fileno()).st_size, MAX_BYTES) + 1)
    except FileNotFoundError as reason:
        raise InputError(f"there is no file {printable(str(path), 200)}", fix="check the path") from reason
    except (OSError, ValueError) as reason:
        raise ModelError(
            f"{_shown(path)} cannot be read", got=_reason(reason), expected="a readable file", fix="check the path"
        ) from reason
    if len(data) > MAX_BYTES:
        fix = "export it with its weights in a file beside it"
        raise ModelError(f"{_shown(path)} is too large", got="more than 2 GiB", expected="an ONNX file of at most 2 GiB", fix=fix)
    return data


def _check_suffix(path: Path) -> None:
    suffix = path.suffix.lower()
    if suffix in CHECKPOINTS:
        command = f"yolo export model={shlex.quote(printable(str(path), 200))} format=onnx"
        raise ModelError(
            f"{_shown(path)} is a PyTorch checkpoint and is never opened", expected="an ONNX file", fix=f"export it: {command}"
        )
    if suffix != ".onnx":
        got = f"the suffix {printable(suffix, 20)}" if suffix else "no suffix"
        raise ModelError(f"{_shown(path)} is not named as an ONNX file", got=got, expected=".onnx", fix="export the model to ONNX")


def _open_regular(path: Path) -> BinaryIO:
    # Without O_NONBLOCK, opening a pipe would wait for a writer that never comes.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("not a regular file")
    return os.fdopen(descriptor, "rb")


def _reason(reason: Exception) -> str:
    text = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
    return printable(text.lower())


def _parse(data: bytes, shown: str) -> onnx.ModelProto:
    _refuse_known_kinds(data, shown)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as reason:
        raise ModelError(f"{shown} is damaged", got=_damage(data), expected="a whole ONNX file", fix=TAKE_ANOTHER) from reason
    _refuse_broken_text(model, shown)
    return model


def _refuse_known_kinds(data: bytes, shown: str) -> None:
    if not data:
        raise ModelError(f"{shown} is empty", got="0 bytes", expected="an ONNX model", fix=TAKE_ANOTHER)
    for signature, (kind, fix) in SIGNATURES.items():
        if data.startswith(signature):
            raise ModelError(f"{shown} is not an ONNX model", got=kind, expected="an ONNX model", fix=fix)
    if _is_text(data[:512]):
        raise ModelError(
            f"{shown} is not an ONNX model", got=f"text: {printable(data[:60].decode('ascii'))}", expected="an ONNX model", fix=TAKE_ANOTHER
        )


def _is_text(start: bytes) -> bool:
    # A model begins with the tag of its IR version, a control character that no text holds.
    return start.isascii() and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start)


def _damage(data: bytes) -> str:
    """Where the outermost fields go wrong: cut short, absurd, or sound outside and corrupt within."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        kind = tag & 7
        if kind == LENGTH_DELIMITED:
            length, position = _varint(data, position)
        else:
            length = FIXED_WIDTHS.get(kind, 0)
            position = _varint(data, position)[1] if kind == 0 else position
        if length > MAX_BYTES:
            return f"a field that claims {length} bytes in a file of {len(data)}"
        if position + length > len(data):
            return f"{len(data)} bytes of at least {position + length}: the file is cut short"
        position += length
    return "bytes inside that are not ONNX: the content is corrupt"


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift, byte in enumerate(data[position : position + 10]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, position + shift + 1
    return value, max(position + 1, len(data))


def _refuse_broken_text(model: onnx.ModelProto, shown: str) -> None:
    """Names that are not UTF-8 come out of protobuf as bytes, and every later stage takes them for text."""
    pending: list[Message] = [model]
    while pending:
        for field, value in pending.pop().ListFields():
            values: Any = value if field.is_repeated else (value,)
            if field.type == field.TYPE_MESSAGE:
                pending.extend(values)
            elif field.type == field.TYPE_STRING and not all(isinstance(text, str) for text in values):
                got = f"a {field.name.replace('_', ' ')} that is not UTF-8"
                raise ModelError(f"{shown} is damaged", got=got, expected="text in UTF-8", fix=TAKE_ANOTHER)


def _chunks(model: onnx.ModelProto, path: Path) -> list[_Chunk]:
    """The data kept beside the model, all of it checked."""
    chunks = list(_checked_chunks(model, path))
    if sum(chunk.length for chunk in chunks) > MAX_BYTES:
        raise ModelError(
            f"{_shown(path)} is too large", got="more than 2 GiB beside it", expected="at most 2 GiB", fix="use a smaller model"
        )
    return chunks


def _checked_chunks(model: onnx.ModelProto, path: Path) -> Iterator[_Chunk]:
    for where, tensor in tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            yield _chunk(tensor, where, path)


def _chunk(tensor: onnx.TensorProto, where: str, path: Path) -> _Chunk:
    said = {entry.key: entry.value for entry in tensor.external_data}
    file = _inside(said.get("location", ""), where, path)
    wanted = _wanted_bytes(tensor, where)
    offset, length = _number(said.get("offset", "0")), _number(said.get("length", str(wanted)))
    size = file.stat().st_size
    if offset is None or length != wanted or offset + wanted > size:
        said_length = printable(said.get("length", "unsaid"), 24)
        got = f"offset {printable(said.get('offset', '0'), 24)}, length {said_length} in a file of {size} bytes"
        raise ModelError(
            f"the data of {where} does not fit", got=got, expected=f"{wanted} bytes inside the file", fix="export the model again"
        )
    return _Chunk(tensor, file, offset, wanted)


def _wanted_bytes(tensor: onnx.TensorProto, where: str) -> int:
    claim = onnx.TensorProto(dims=tensor.dims, data_type=tensor.data_type, raw_data=b"")
    finding = claim_finding(claim, where)
    wanted = byte_count(tensor) if finding is None or finding.code == "data-length" else None
    if wanted is None:
        what = finding.what if finding is not None else "is of strings, which cannot lie outside"
        raise ModelError(f"the model is unsound: {where} {what}", fix="export the model again")
    return wanted


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else None


def _inside(location: str, where: str, path: Path) -> Path:
    """The data file, which must be a regular one in the model's own folder, links included."""
    shown = printable(location) or "nowhere"
    refusal = {"expected": "a file inside the model's folder", "fix": "put the data file beside the model and export again"}
    pure = PurePosixPath(location)
    if not location or len(location) > MAX_LOCATION or pure.is_absolute() or ".." in pure.parts or "\\" in location or "\0" in location:
        raise ModelError(f"{where} keeps its data outside the model's folder", got=shown, **refusal)
    folder = path.parent.resolve()
    file = folder / pure
    with suppress(RuntimeError):  # a loop of links leads nowhere, and is refused as missing below
        file = file.resolve()
    if not file.is_relative_to(folder):
        raise ModelError(f"{where} keeps its data outside the model's folder", got=f"a link: {shown}", **refusal)
    if not _is_file(file):
        raise ModelError(f"the data file of {where} is missing", got=f"no file {shown}", **refusal)
    return file


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:  # a name too long for the file system, a folder closed to us
        return False


def _slice(chunk: _Chunk) -> bytes:
    try:
        with _open_regular(chunk.file) as stream:
            stream.seek(chunk.offset)
            data = stream.read(chunk.length)
    except OSError as reason:
        raise ModelError(
            f"the data file {printable(chunk.file.name)} cannot be read", got=_reason(reason), fix="check the file"
        ) from reason
    if len(data) != chunk.length:
        raise ModelError(f"the data file {printable(chunk.file.name)} shrank while it was read", fix="load the model again")
    return data
