"""Requests and answers survive the way through bytes; whatever else comes is one clear refusal."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from edgewright.errors import InputError
from edgewright.serve.binary import from_bytes, to_bytes
from edgewright.serve.datatypes import DATATYPES, datatype_named, datatype_of
from edgewright.serve.protocol import (
    JSON_VALUE_BYTES,
    MOST_JSON_VALUES,
    STRING_BYTES,
    InferRequest,
    WantedOutput,
    encode_answer,
    json_values,
    parse_request,
)
from edgewright.serve.refusals import TooLargeError

NUMBERS = [each for each in DATATYPES.values() if not each.is_bytes]


def body_of(tensors, *, binary, **words):
    """A request as a client writes it: (body, header bytes)."""
    entries, blocks = [], []
    for name, array in tensors.items():
        entry = {"name": name, "shape": list(array.shape), "datatype": datatype_of(array).name}
        if binary:
            blocks.append(bytes(to_bytes(array)))
            entry["parameters"] = {"binary_data_size": len(blocks[-1])}
        else:
            entry["data"] = [each.decode() if isinstance(each, bytes) else each for each in array.reshape(-1).tolist()]
        entries.append(entry)
    header = json.dumps({"inputs": entries, **words}).encode()
    return header + b"".join(blocks), len(header) if binary else None


def request_of(**changes):
    entry = {"name": "x", "shape": [2], "datatype": "INT32", "data": [1, 2], **changes}
    return json.dumps({"inputs": [{key: value for key, value in entry.items() if value is not None}]}).encode()


@st.composite
def arrays(draw, *, finite=False):
    shape = draw(npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    if draw(st.integers(0, 4)) == 0:
        count = int(np.prod(shape))
        texts = draw(st.lists(st.text(max_size=5), min_size=count, max_size=count))
        strings = np.empty(count, np.object_)
        strings[:] = [text.encode("utf-8", "replace") for text in texts]
        return strings.reshape(shape)
    dtype = draw(st.sampled_from(NUMBERS)).dtype
    elements = {"allow_nan": False, "allow_infinity": False} if finite and dtype.kind == "f" else None
    return draw(npst.arrays(dtype, shape, elements=npst.from_dtype(dtype, **(elements or {}))))


names = st.text(min_size=1, max_size=8)


@given(st.dictionaries(names, arrays(), min_size=1, max_size=4))
def test_tensors_as_bytes_come_as_they_were_sent(tensors):
    body, header_bytes = body_of(tensors, binary=True)
    found = parse_request(body, header_bytes).inputs
    assert list(found) == list(tensors)
    for name, array in tensors.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@given(st.dictionaries(names, arrays(finite=True), min_size=1, max_size=4))
def test_tensors_as_json_come_as_they_were_sent(tensors):
    body, header_bytes = body_of(tensors, binary=False)
    found = parse_request(body, header_bytes).inputs
    for name, array in tensors.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@given(st.dictionaries(names, arrays(finite=True), min_size=1, max_size=4), st.booleans())
def test_answers_are_read_as_they_were_meant(outputs, binary):
    answer = encode_answer(InferRequest({}, binary=binary, id="7"), "m", "1", outputs)
    body = b"".join(map(bytes, answer.pieces))
    assert answer.total_bytes == len(body)
    assert (answer.header_bytes is not None) == binary
    words = json.loads(body[: answer.header_bytes])
    assert (words["model_name"], words["model_version"], words["id"]) == ("m", "1", "7")
    at = answer.header_bytes
    for entry, (name, array) in zip(words["outputs"], outputs.items(), strict=True):
        assert (entry["name"], entry["shape"]) == (name, list(array.shape))
        if binary:
            size = entry["parameters"]["binary_data_size"]
            found = from_bytes(body[at : at + size], datatype_named(entry["datatype"]), entry["shape"], name)
            at += size
        else:
            again = json.dumps({"inputs": [{**entry}]}).encode()
            found = parse_request(again, None).inputs[name]
        np.testing.assert_array_equal(found, array)


@given(st.binary(max_size=300), st.none() | st.integers(-5, 400))
def test_any_bytes_are_a_request_or_a_refusal(body, header_bytes):
    assert is_answered_or_refused(body, header_bytes)


def mutations(words):
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.just(1 << 70) | st.just(-1),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "shape", "data", "parameters"]), inner),
        max_leaves=6,
    )
    return st.tuples(st.sampled_from(words), anything)


KEYS = ("name", "shape", "datatype", "data", "parameters")
PLACES = ("id", "parameters", "inputs", "outputs", "inputs.0", *(f"inputs.0.{key}" for key in KEYS))


def is_answered_or_refused(body, header_bytes):
    """Nothing else may come out of it than a request, or a sentence of a bearable length."""
    try:
        parse_request(body, header_bytes)
    except InputError as error:
        return error.http_status in (400, 413) and len(str(error)) < 1000
    return True


@given(st.lists(mutations(PLACES), min_size=1, max_size=3), st.booleans(), st.integers(-3, 3), st.binary(max_size=4))
def test_a_request_with_anything_changed_is_answered_or_refused(changes, binary, shift, tail):
    body, header_bytes = body_of({"x": np.arange(6, dtype=np.float32).reshape(2, 3)}, binary=binary)
    words = json.loads(body[:header_bytes])
    rest = b"" if header_bytes is None else body[header_bytes:]
    for place, value in changes:
        *path, last = (int(step) if step.isdecimal() else step for step in place.split("."))
        at = words
        try:
            for step in path:
                at = at[step]
            at[last] = value
        except (KeyError, IndexError, TypeError):
            continue
    header = json.dumps(words).encode()
    assert is_answered_or_refused(header + rest + tail, None if header_bytes is None else len(header) + shift)


@given(st.integers(0, 200), st.binary(min_size=1, max_size=3))
def test_bytes_changed_anywhere_are_answered_or_refused(at, change):
    strings = np.array([b"one", b"", b"three"], np.object_)
    body, header_bytes = body_of({"x": strings, "y": np.ones(3, np.bool_)}, binary=True)
    at = at % len(body)
    assert is_answered_or_refused(body[:at] + change + body[at + len(change) :], header_bytes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": None}, "no name"),
        ({"name": ""}, "no name"),
        ({"name": 3}, "no name"),
        ({"name": "x" * 2000}, "no name"),
        ({"shape": None}, "no shape"),
        ({"shape": [-1]}, "no shape"),
        ({"shape": [True]}, "no shape"),
        ({"shape": [2.0]}, "no shape"),
        ({"shape": [1] * 17}, "no shape"),
        ({"shape": [1 << 40]}, "too many values"),
        ({"shape": [0, 1 << 40, 1 << 40]}, "too many values"),
        ({"shape": [3]}, "values of its shape"),
        ({"datatype": "FLOAT"}, "no such datatype"),
        ({"datatype": None}, "no such datatype"),
        ({"datatype": ["FP32"]}, "no such datatype"),
        ({"datatype": "BF16"}, "no such datatype"),
        ({"data": None}, "neither"),
        ({"data": 7}, "no list"),
        ({"data": [1, "2"]}, "no INT32"),
        ({"data": [1, True]}, "no INT32"),
        ({"data": [1, 2.5]}, "no INT32"),
        ({"data": [1, None]}, "no INT32"),
        ({"data": [1, 1 << 31]}, "a number that INT32 does not"),
        ({"data": [1, 1 << 80]}, "a number that INT32 does not"),
        ({"data": [[1], [2]]}, "nested in another way"),
        ({"data": [[1, 2]]}, "nested in another way"),
        ({"data": [1, [2]]}, "no INT32"),
        ({"datatype": "UINT8", "data": [0, -1]}, "a number that UINT8 does not"),
        ({"datatype": "BOOL", "data": [0, 1]}, "no BOOL"),
        ({"datatype": "FP16", "data": [0, 1e5]}, "a number that FP16 does not"),
        ({"datatype": "FP32", "data": [0, 1e39]}, "a number that FP32 does not"),
        ({"datatype": "FP32", "data": [0, 10**400]}, "a number that FP32 does not"),
        ({"datatype": "BYTES", "data": ["a", 1]}, "no BYTES"),
        ({"parameters": []}, "JSON object"),
        ({"parameters": {"shared_memory_region": "r"}}, "not offered"),
        ({"parameters": {"binary_data_size": 8}}, "both"),
        ({"data": None, "parameters": {"binary_data_size": 8}}, "wrong binary_data_size"),
        ({"data": None, "parameters": {"binary_data_size": -1}}, "wrong binary_data_size"),
        ({"data": None, "parameters": {"binary_data_size": True}}, "wrong binary_data_size"),
        ({"data": None, "parameters": {"binary_data_size": 0}}, "bytes of its shape"),
    ],
)
def test_what_is_wrong_with_an_input_is_said(changes, words):
    with pytest.raises(InputError, match=words):
        parse_request(request_of(**changes), None)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[1]", "JSON object"),
        (b"{}", "inputs are wrong"),
        (b'{"inputs": []}', "inputs are wrong"),
        (b'{"inputs": [1]}', "JSON object"),
        (b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [NaN]}]}', "got NaN"),
        (b'{"inputs": [{"name": "x", "shape": [1], "datatype": "INT8", "data": [%s]}]}' % (b"1" * 5000), "a number that is none"),
        (b"[" * 100_000, "nested too deep"),
        (b"[" * 200_000, "too many lists"),
        (b" " * (17 << 20), "too much JSON"),
        (b'{"inputs": [], "parameters": {"sequence_id": 3}}', "sequences"),
        (b'{"inputs": [], "parameters": {"timeout": -1}}', "timeout"),
        (b'{"inputs": [], "parameters": {"binary_data_output": 1}}', "binary_data_output"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(body, words):
    with pytest.raises(InputError, match=words):
        parse_request(body, None)


@pytest.mark.parametrize("header_bytes", [0, -1, 10**6])
def test_a_header_length_outside_the_body_is_refused(header_bytes):
    with pytest.raises(InputError, match="Inference-Header-Content-Length"):
        parse_request(request_of(), header_bytes)


def test_bytes_of_no_input_are_refused():
    body, header_bytes = body_of({"x": np.zeros(2, np.float32)}, binary=True)
    with pytest.raises(InputError, match="3 bytes too many"):
        parse_request(body + b"abc", header_bytes)


def test_nested_data_is_taken_where_it_is_nested_as_the_shape():
    found = parse_request(request_of(shape=[2, 1, 3], data=[[[1, 2, 3]], [[4, 5, 6]]]), None).inputs["x"]
    np.testing.assert_array_equal(found, np.arange(1, 7).reshape(2, 1, 3))


def test_outputs_are_those_asked_for_and_as_asked():
    outputs = [{"name": "a", "parameters": {"binary_data": False}}, {"name": "b"}]
    words = {"outputs": outputs, "parameters": {"binary_data_output": True, "timeout": 1500}, "id": "q"}
    body, header_bytes = body_of({"x": np.zeros(1, np.float32)}, binary=True, **words)
    request = parse_request(body, header_bytes)
    assert request.outputs == (WantedOutput("a", False), WantedOutput("b", True))
    assert (request.binary, request.id, request.timeout_s) == (True, "q", 0.0015)
    answer = encode_answer(request, "m", "1", {"a": np.zeros(2, np.int8), "b": np.ones(2, np.int8)})
    first, second = json.loads(bytes(answer.pieces[0]))["outputs"]
    assert first["data"] == [0, 0]
    assert second["parameters"] == {"binary_data_size": 2}
    assert bytes(answer.pieces[1]) == b"\x01\x01"


@pytest.mark.parametrize("array", [np.array([np.nan], np.float32), np.array([np.inf], np.float16), np.array([b"\xff"], np.object_)])
def test_what_json_cannot_say_is_offered_as_bytes(array):
    with pytest.raises(InputError, match="binary_data"):
        encode_answer(InferRequest({}), "m", "1", {"a": array})
    assert encode_answer(InferRequest({}, binary=True), "m", "1", {"a": array}).header_bytes


def test_an_answer_is_written_as_json_in_little_memory():
    array = np.random.default_rng(0).random(500_001) * -1e-20
    tracemalloc.start()
    try:
        answer = encode_answer(InferRequest({}), "m", "1", {"a": array})
        assert tracemalloc.get_traced_memory()[1] < JSON_VALUE_BYTES * array.size + (1 << 20)
    finally:
        tracemalloc.stop()
    assert json.loads(answer.pieces[0])["outputs"][0]["data"] == array.tolist()


def test_more_values_than_json_should_have_are_refused():
    large = {"a": np.zeros(MOST_JSON_VALUES, np.int8), "b": np.zeros(1, np.int8)}
    only_bytes, mixed = (InferRequest({}, (WantedOutput("a", binary=True), WantedOutput("b", binary=binary))) for binary in (True, False))
    assert json_values(InferRequest({}, binary=True), large) == json_values(only_bytes, large) == 0
    assert json_values(mixed, large) == 1
    with pytest.raises(TooLargeError, match="as bytes"):
        json_values(InferRequest({}), large)
    with pytest.raises(TooLargeError):
        json_values(InferRequest({}), {"a": np.array([b"x" * (STRING_BYTES * MOST_JSON_VALUES)], np.object_)})


def test_a_hostile_claim_takes_no_memory():
    strings = json.dumps(
        {"inputs": [{"name": "x", "shape": [1 << 27], "datatype": "BYTES", "parameters": {"binary_data_size": 4}}]}
    ).encode()
    tracemalloc.start()
    try:
        for body, header_bytes in ((strings + b"\0\0\0\0", len(strings)), (request_of(shape=[1 << 27]), None)):
            with pytest.raises(InputError):
                parse_request(body, header_bytes)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_too_much_is_told_apart_from_wrong():
    with pytest.raises(TooLargeError):
        parse_request(b" " * 11, None, most_json_bytes=10)
