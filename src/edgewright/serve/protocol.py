"""The Open Inference Protocol's infer request and answer, as bytes and as arrays. Nothing here knows a model or a socket.

A body is JSON; with the binary tensor extension the first `header_bytes` of it are, and tensors follow as `binary` has them. Sources:
kserve/open-inference-protocol, inference_rest.md; Triton, extension_binary_data.md and extension_parameters.md.

    request = parse_request(body, header_bytes=None)        # InferRequest, or InputError
    answer = encode_answer(request, "yolov8n", "1", {"output0": array})
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NoReturn, TypeGuard

import numpy as np
from numpy.typing import NDArray

from edgewright.errors import InputError
from edgewright.printable import brief, printable
from edgewright.serve.binary import Raw, as_string, from_bytes, to_bytes
from edgewright.serve.datatypes import Datatype, datatype_named, datatype_of
from edgewright.serve.refusals import TooLargeError

MOST_JSON_BYTES = 16 << 20  # Python takes up to 12 bytes for one of JSON
MOST_CONTAINERS = 1 << 17  # lists and objects, which take 60 bytes each, however short they are written
MOST_JSON_VALUES = 1 << 21  # of an answer: a detector of 640 x 640 that also draws masks gives 1.8 million
JSON_VALUE_BYTES = 60  # that one takes while an answer is written: 8 in the tensor, and its text of at most 25 twice
STRING_BYTES = 4  # that count as a value more: each may become six characters
VALUES_AT_ONCE = 1 << 12
MOST_TENSORS = 64
MOST_RANK = 16
MOST_VALUES = 1 << 28
LONGEST_NAME = 1000
LONGEST_ID = 1000
MOST_TIMEOUT_US = 3600 * 10**6
NOT_OFFERED = ("shared_memory_region", "classification")


@dataclass(frozen=True, slots=True)
class WantedOutput:
    """An output that was asked for, and whether as bytes."""

    name: str
    binary: bool


@dataclass(frozen=True, slots=True)
class InferRequest:
    """`inputs`: by name, in their order. `outputs`: None where all are wanted; `binary`: then how. `timeout_s`: the client's patience."""

    inputs: Mapping[str, NDArray[Any]]
    outputs: tuple[WantedOutput, ...] | None = None
    binary: bool = False
    id: str | None = None
    timeout_s: float | None = None

    def is_binary(self, name: str) -> bool:
        """Whether this output is to come as bytes."""
        return next((each.binary for each in self.outputs or () if each.name == name), self.binary)


@dataclass(frozen=True, slots=True)
class EncodedAnswer:
    """A body in pieces. `header_bytes`: how many of it are JSON; None where all are."""

    pieces: tuple[Raw, ...]
    header_bytes: int | None = None

    @property
    def total_bytes(self) -> int:
        return sum(map(len, self.pieces))


def parse_request(body: Raw, header_bytes: int | None, *, most_json_bytes: int = MOST_JSON_BYTES) -> InferRequest:
    """The request in a body; `header_bytes`: what Inference-Header-Content-Length said. Tensors that came as bytes are views of `body`.

    Raises:
        InputError: it is none.
        TooLargeError: its JSON is longer than `most_json_bytes`.
    """
    view = memoryview(body)
    if header_bytes is not None and not 0 < header_bytes <= len(view):
        raise InputError("Inference-Header-Content-Length is wrong", got=f"{header_bytes}", expected=f"1 to {len(view)}, the body's length")
    words = parse_object(view if header_bytes is None else view[:header_bytes], "the request", most_bytes=most_json_bytes)
    parameters = _object(words.get("parameters", {}), "parameters")
    _refuse_sequences(parameters)
    request_id, timeout_s = _id(words.get("id")), _timeout_s(parameters.get("timeout"))
    binary = _flag(parameters, "binary_data_output", default=False)
    outputs = _outputs(words.get("outputs"), binary)
    inputs = _inputs(words.get("inputs"), _Binary(view[len(view) if header_bytes is None else header_bytes :]))
    return InferRequest(inputs, outputs, binary, request_id, timeout_s)


def encode_answer(request: InferRequest, model: str, version: str, outputs: Mapping[str, NDArray[Any]]) -> EncodedAnswer:
    """The answer to a request; `outputs`: those that it wants, by name, in their order.

    Raises:
        InputError: a number cannot be written as JSON, or an element has no name in the protocol.
    """
    words = {"model_name": model, "model_version": version, **({} if request.id is None else {"id": request.id}), "outputs": []}
    text, pieces = [_json(words)[:-2]], list[memoryview]()
    for number, (name, array) in enumerate(outputs.items()):
        entry: dict[str, Any] = {"name": name, "datatype": datatype_of(array).name, "shape": list(array.shape)}
        if number:
            text.append(b",")
        if request.is_binary(name):
            pieces.append(to_bytes(array))
            text.append(_json(entry | {"parameters": {"binary_data_size": len(pieces[-1])}}))
        else:
            text += (_json(entry | {"data": []})[:-2], *_as_json(array, name), b"]}")
    header = b"".join((*text, b"]}"))
    return EncodedAnswer((header, *pieces), len(header) if pieces else None)


def json_values(request: InferRequest, outputs: Mapping[str, NDArray[Any]]) -> int:
    """How many values of an answer are to be written as JSON; long strings count for several.

    Raises:
        TooLargeError: more than anybody should have to write, or to read.
    """
    count = sum(map(_values, (array for name, array in outputs.items() if not request.is_binary(name))))
    if count > MOST_JSON_VALUES:
        raise TooLargeError(
            "the answer has too many values for JSON", got=f"{count}", expected=f"at most {MOST_JSON_VALUES}; ask for outputs as bytes"
        )
    return count


def parse_object(body: Raw, what: str, *, most_bytes: int = MOST_JSON_BYTES) -> dict[str, Any]:
    """A JSON object of a bearable size.

    Raises:
        InputError: it is none.
        TooLargeError: it is longer than `most_bytes`.
    """
    if len(body) > most_bytes:
        raise TooLargeError(f"{what} has too much JSON", got=f"{len(body)} bytes", expected=f"at most {most_bytes}; send tensors as bytes")
    data = bytes(body)
    if data.count(b"[") + data.count(b"{") > MOST_CONTAINERS:
        raise TooLargeError(f"{what} has too many lists", expected=f"at most {MOST_CONTAINERS}; send `data` flat, or as bytes")
    try:
        words = json.loads(data, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise InputError(f"{what} is no JSON", got="bytes that are not UTF-8") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{what} is no JSON", got=f"{error.msg.lower()} at byte {error.pos}") from None
    except RecursionError:
        raise InputError(f"{what} is nested too deep") from None
    except ValueError:  # a number of more digits than Python reads
        raise InputError(f"{what} holds a number that is none", expected="numbers of a few digits") from None
    return _object(words, what)


# --- inputs -----------------------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Binary:
    """What follows the JSON, taken piece by piece."""

    left: memoryview

    def take(self, count: object, what: str) -> memoryview:
        if not _is_count(count) or count > len(self.left):
            raise InputError(f"{what} has a wrong binary_data_size", got=brief(count), expected=f"at most {len(self.left)}, which are left")
        piece, self.left = self.left[:count], self.left[count:]
        return piece


def _inputs(entries: object, binary: _Binary) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for entry in _entries(entries, "inputs", least=1):
        name = _name(entry, "an input")
        what = f"input {printable(name)}"
        if name in found:
            raise InputError(f"{what} is there twice")
        parameters = _object(entry.get("parameters", {}), f"parameters of {what}")
        _refuse_not_offered(parameters, what)
        datatype, shape = datatype_named(entry.get("datatype")), _shape(entry.get("shape"), what)
        size = parameters.get("binary_data_size")
        if (size is None) == ("data" not in entry):
            raise InputError(f"{what} has {'neither' if size is None else 'both'}", expected="data or binary_data_size")
        if size is None:
            found[name] = _of_json(entry["data"], datatype, shape, what)
        else:
            found[name] = from_bytes(binary.take(size, what), datatype, shape, what)
    if binary.left:
        raise InputError("the request has bytes that belong to no input", got=f"{len(binary.left)} bytes too many")
    return found


def _of_json(data: object, datatype: Datatype, shape: tuple[int, ...], what: str) -> NDArray[Any]:
    values = _flat(data, shape, what)
    count = int(np.prod(shape, dtype=np.float64))
    if len(values) != count:
        raise InputError(f"{what} does not have the values of its shape", got=f"{len(values)}", expected=f"{count}")
    _check_kinds(values, datatype, what)
    if datatype.is_bytes:
        strings = np.empty(count, np.object_)
        strings[:] = [value.encode("utf-8", "surrogatepass") for value in values]
        return strings.reshape(shape)
    try:
        if datatype.dtype.kind != "f":
            return np.array(values, datatype.dtype).reshape(shape)
        wide = np.array(values, np.float64)
    except OverflowError:
        raise InputError(f"{what} holds a number that {datatype.name} does not") from None
    with np.errstate(over="ignore"):
        narrow = wide.astype(datatype.dtype)
    if not np.isfinite(narrow).all():
        raise InputError(f"{what} holds a number that {datatype.name} does not")
    return narrow.reshape(shape)


def _check_kinds(values: list[Any], datatype: Datatype, what: str) -> None:
    kinds: dict[str, set[type]] = {"b": {bool}, "O": {str}, "f": {int, float}}
    allowed = kinds.get(datatype.dtype.kind, {int})
    wrong = set(map(type, values)) - allowed
    if wrong:
        got = ", ".join(sorted(kind.__name__ for kind in wrong))
        raise InputError(f"{what} has data that is no {datatype.name}", got=got, expected=" or ".join(sorted(k.__name__ for k in allowed)))


def _flat(data: object, shape: tuple[int, ...], what: str) -> list[Any]:
    """The values row by row; they came so, or in lists as deep as the shape."""
    if not isinstance(data, list):
        raise InputError(f"data of {what} is no list", got=brief(data))
    level, depth = data, 1
    while level and isinstance(level[0], list):
        if depth >= len(shape) or len(level) != int(np.prod(shape[:depth], dtype=np.float64)):
            raise InputError(f"data of {what} is nested in another way than its shape", expected=f"{list(shape)}, or a flat list")
        if not all(isinstance(each, list) and len(each) == shape[depth] for each in level):
            raise InputError(f"data of {what} is nested in another way than its shape", expected=f"{list(shape)}, or a flat list")
        level, depth = list(chain.from_iterable(level)), depth + 1
    return level


def _shape(shape: object, what: str) -> tuple[int, ...]:
    if not isinstance(shape, list) or len(shape) > MOST_RANK or not all(map(_is_count, shape)):
        raise InputError(f"{what} has no shape", got=brief(shape), expected=f"a list of at most {MOST_RANK} whole numbers")
    count = 1
    for side in shape:
        count *= max(side, 1)
        if count > MOST_VALUES:
            raise TooLargeError(f"{what} has too many values", expected=f"at most {MOST_VALUES}")
    return tuple(shape)


# --- outputs ----------------------------------------------------------------------------------------------------------------------------


def _outputs(entries: object, binary: bool) -> tuple[WantedOutput, ...] | None:  # noqa: FBT001 - the request's own word
    """None where none are named: a client that names none, or an empty list, wants all."""
    if entries is None or entries == []:
        return None
    found: dict[str, WantedOutput] = {}
    for entry in _entries(entries, "outputs", least=0):
        name = _name(entry, "an output")
        if name in found:
            raise InputError(f"output {printable(name)} is asked for twice")
        parameters = _object(entry.get("parameters", {}), f"parameters of output {printable(name)}")
        _refuse_not_offered(parameters, f"output {printable(name)}")
        found[name] = WantedOutput(name, _flag(parameters, "binary_data", default=binary))
    return tuple(found.values())


def _as_json(array: NDArray[Any], name: str) -> Iterator[bytes]:
    """The values with commas between, some at a time: as Python's they take 32 bytes each, and while they are written no thread goes on."""
    flat = array.reshape(-1)
    if flat.dtype.kind == "f" and not np.isfinite(flat).all():
        raise InputError(f"output {printable(name)} holds NaN or infinity, which JSON has not", expected="binary_data to be asked for")
    for at in range(0, flat.size, VALUES_AT_ONCE):
        values = flat[at : at + VALUES_AT_ONCE].tolist()
        if _is_text(flat):
            values = _texts(values, name)
        yield (b"," if at else b"") + _json(values)[1:-1]


def _texts(values: list[Any], name: str) -> list[str]:
    try:
        return [as_string(value).decode("utf-8") for value in values]
    except UnicodeDecodeError:
        raise InputError(f"output {printable(name)} holds bytes that are no text", expected="binary_data to be asked for") from None


def _values(array: NDArray[Any]) -> int:
    return array.size + (sum(len(as_string(value)) for value in array.ravel().tolist()) // STRING_BYTES if _is_text(array) else 0)


def _is_text(array: NDArray[Any]) -> bool:
    return array.dtype.kind in "OUS"


def _json(words: Any) -> bytes:
    return json.dumps(words, separators=(",", ":")).encode()


# --- words ------------------------------------------------------------------------------------------------------------------------------


def _entries(entries: object, what: str, *, least: int) -> Sequence[dict[str, Any]]:
    if not isinstance(entries, list) or not least <= len(entries) <= MOST_TENSORS:
        raise InputError(f"{what} are wrong", got=brief(entries), expected=f"a list of {least} to {MOST_TENSORS} objects")
    return [_object(entry, f"an entry of {what}") for entry in entries]


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{what} is wrong", got=brief(value), expected="a JSON object")
    return value


def _name(entry: Mapping[str, Any], what: str) -> str:
    name = entry.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        raise InputError(f"{what} has no name", got=brief(name), expected=f"text of at most {LONGEST_NAME} characters")
    return name


def _id(value: object) -> str | None:
    if value is not None and not (isinstance(value, str) and len(value) <= LONGEST_ID):
        raise InputError("id is wrong", got=brief(value), expected=f"text of at most {LONGEST_ID} characters")
    return value or None


def _flag(parameters: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise InputError(f"parameter {name} is wrong", got=brief(value), expected="true or false")
    return value


def _timeout_s(value: object) -> float | None:
    """Microseconds, of Triton's schedule policy; 0 means none."""
    if value is None:
        return None
    if not _is_count(value) or value > MOST_TIMEOUT_US:
        raise InputError("parameter timeout is wrong", got=brief(value), expected="microseconds, at most an hour")
    return value / 1e6 or None


def _refuse_sequences(parameters: Mapping[str, Any]) -> None:
    if any(parameters.get(name) not in (None, 0, False, "") for name in ("sequence_id", "sequence_start", "sequence_end")):
        raise InputError("sequences of requests are not offered", expected="requests that do not depend on each other")


def _refuse_not_offered(parameters: Mapping[str, Any], what: str) -> None:
    for name in NOT_OFFERED:
        if name in parameters:
            raise InputError(f"{what} asks for {name}, which is not offered", expected="tensors in the request and the answer themselves")


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _refuse_constant(word: str) -> NoReturn:
    raise InputError("the request is no JSON", got=word, expected="numbers")
