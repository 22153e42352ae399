"""Read an untrusted ONNX file: bounded, parsed as data only, and nothing outside its own folder touched.

A checkpoint (.pt) is a pickle, and opening a pickle runs it; it is refused by name, unopened. Data kept beside the model is checked whole
before the first byte is loaded: inside the folder, a regular file, as long as the tensor's dims ask for.
"""

import codecs
import hashlib
import os
import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import onnx
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]  # has no stubs

from edgewright.errors import InputError, ModelError
from edgewright.graph.tensors import byte_count, claim_finding
from edgewright.graph.walk import tensors
from edgewright.graph.wire import CORRUPT, MAX_BYTES, complaint_of
from edgewright.printable import printable
from edgewright.regular_file import is_regular, open_regular, why

CHECKPOINTS = {".pt", ".pth"}
MAX_LOCATION = 1024
START = 4096  # bytes that tell what a file is
TAKE_ANOTHER = "copy or export the model again"

# First bytes -> what the file is, for those that are given a wrong suffix most often.
SIGNATURES = {
    b"version https://git-lfs": ("a git-LFS pointer, not the model itself", "fetch the model with `git lfs pull`"),
    b"PK\x03\x04": ("a zip archive (a PyTorch checkpoint or a package)", "unpack it, or export the model to ONNX"),
    **{bytes([0x80, protocol]): ("a Python pickle", "export the model to ONNX; a pickle is never opened here") for protocol in range(2, 6)},
    b"\x1f\x8b": ("a gzip archive", "unpack it"),
    b"BZh": ("a bzip2 archive", "unpack it"),
    b"\xfd7zXZ": ("an xz archive", "unpack it"),
    b"\x28\xb5\x2f\xfd": ("a zstandard archive", "unpack it"),
    b"7z\xbc\xaf": ("a 7-Zip archive", "unpack it"),
    b"\x89HDF": ("an HDF5 file", "export the model to ONNX"),
    b"\x93NUMPY": ("a NumPy array", "export the model to ONNX"),
    b"\x7fELF": ("a program", "export the model to ONNX"),
    b"\x89PNG": ("a picture", "check the path"),
    b"\xff\xd8\xff": ("a picture", "check the path"),
}
PAGE = ("a web page", "download the file itself, not the page that shows it")


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


def data_files(path: Path) -> list[Path]:
    """The files beside the model at `path` that it keeps its data in, none of them read yet.

    Raises:
        InputError: there is no such file.
        ModelError: it cannot be read safely.
    """
    return sorted({chunk.file for chunk in _chunks(_parse(_read(path), _shown(path)), path)})


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
    shown = _shown(path)
    try:
        with open_regular(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            start = stream.read(START)
            # Before the rest is read: gigabytes that are no model, or too many, cost us nothing.
            _refuse_known_kinds(start, shown)
            _refuse_too_large(size, shown)
            # Asked for more than there is, read() first sets aside as much as it was asked for.
            data = start + stream.read(max(size - len(start), 0) + 1)
    except FileNotFoundError as reason:
        raise InputError(f"there is no file {printable(str(path), 200)}", fix="check the path") from reason
    except OSError as reason:
        raise ModelError(
            f"{shown} cannot be read", got=printable(why(reason)), expected="a readable file", fix="check the path"
        ) from reason
    _refuse_too_large(len(data), shown)
    return data


def _refuse_too_large(size: int, shown: str) -> None:
    if size > MAX_BYTES:
        fix = "export it with its weights in a file beside it"
        raise ModelError(f"{shown} is too large", got="more than 2 GiB", expected="an ONNX file of at most 2 GiB", fix=fix)


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


def _parse(data: bytes, shown: str) -> onnx.ModelProto:
    complaint = complaint_of(data)
    if complaint is not None and complaint.excess:
        raise ModelError(f"{shown} is no model that anyone would make", got=complaint.got, fix="do not use it, or export it again")
    if complaint is not None:
        raise _damaged(shown, complaint.got)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as reason:
        raise _damaged(shown, CORRUPT) from reason
    _refuse_broken_text(model, shown)
    return model


def _damaged(shown: str, got: str) -> ModelError:
    return ModelError(f"{shown} is damaged", got=got, expected="a whole ONNX file", fix=TAKE_ANOTHER)


def _refuse_known_kinds(start: bytes, shown: str) -> None:
    if not start:
        raise ModelError(f"{shown} is empty", got="0 bytes", expected="an ONNX model", fix=TAKE_ANOTHER)
    kind = next((kind for signature, kind in SIGNATURES.items() if start.startswith(signature)), None)
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        kind = PAGE
    if not start.strip(b"\0"):
        kind = "nothing but zeros at its start: a download that was never finished", "fetch the model again"
    if kind is None and (text := _as_text(start[:512])) is not None:
        kind = f"text: {printable(text[:60])}", TAKE_ANOTHER
    if kind is not None:
        raise ModelError(f"{shown} is not an ONNX model", got=kind[0], expected="an ONNX model", fix=kind[1])


def _as_text(start: bytes) -> str | None:
    """The text that `start` is, or None: a model begins with the tag of its IR version, a control character that no text holds."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(start)  # a character cut in two at the end is no fault
    except UnicodeDecodeError:
        return None
    return text if all(character.isprintable() or character in "\t\r\n\ufeff" for character in text) else None


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
    if not is_regular(file):
        raise ModelError(f"the data file of {where} is missing", got=f"no file {shown}", **refusal)
    return file


def _slice(chunk: _Chunk) -> bytes:
    try:
        with open_regular(chunk.file) as stream:
            stream.seek(chunk.offset)
            data = stream.read(chunk.length)
    except OSError as reason:
        raise ModelError(
            f"the data file {printable(chunk.file.name)} cannot be read", got=printable(why(reason)), fix="check the file"
        ) from reason
    if len(data) != chunk.length:
        raise ModelError(f"the data file {printable(chunk.file.name)} shrank while it was read", fix="load the model again")
    return data
