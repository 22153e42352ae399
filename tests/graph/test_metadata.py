"""Metadata is a stranger's text: read where it has the expected form, never evaluated, never a crash."""

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from edgewright.graph.metadata import (
    LARGEST_VALUE,
    MAX_NAMES_CHARACTERS,
    MAX_RANGES_CHARACTERS,
    RANGES_KEY,
    class_names,
    declared_stride,
    image_size,
    parse_names,
    parse_size,
    trained_ranges,
)

NASTY = st.sampled_from("{}[]()'\"\\:,0123456789-+*abfor \n\x00\x1b\u202e")


def model_with(**entries):
    model = onnx.ModelProto()
    helper.set_model_props(model, entries)
    return model


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{0: 'person', 1: 'car'}", ("person", "car")),
        ("{1: 'car', 0: 'person'}", ("person", "car")),
        ('{"0": "person", "1": "car"}', ("person", "car")),
        ("['person', 'car']", ("person", "car")),
        ("{0: 'café'}", ("café",)),
        ("{0: 'a\\x1b[31mb'}", ("a\\x1b[31mb",)),
        ("{0: 'a', 2: 'c'}", None),
        ("{0: 'a', True: 'b'}", None),
        ("{0: 1}", None),
        ("{[]: 1}", None),
        ("{}", None),
        ("", None),
        ("'person'", None),
        ("__import__('os').system('echo pwned')", None),
        ("(" * 5000, None),
        ("-" * 50_000 + "1", None),
        ("[" * 150 + "]" * 150, None),
        ("{0: '\\d'}", ("\\d",)),
        ("{0: 'a\x00'}", None),
        ("{" + "9" * 6000 + ": 'a'}", None),
    ],
)
def test_names_are_read_as_a_literal_or_not_at_all(text, names):
    assert parse_names(text) == names


def test_names_longer_than_the_bound_are_not_parsed():
    text = repr({0: "x" * MAX_NAMES_CHARACTERS})

    assert parse_names(text) is None


def test_reading_names_runs_nothing(tmp_path):
    witness = tmp_path / "pwned"

    assert class_names(model_with(names=f"open({str(witness)!r}, 'w')")) is None
    assert not witness.exists()


@given(st.text(NASTY, max_size=200))
def test_any_text_gives_printable_names_or_none(text):
    names = parse_names(text)

    assert names is None or all(name.isprintable() and len(name) <= 80 for name in names)


@given(st.lists(st.text(max_size=30), min_size=1, max_size=40))
def test_what_an_exporter_writes_comes_back_in_order(names):
    read = parse_names(repr(dict(enumerate(names))))

    assert read is not None
    assert len(read) == len(names)
    assert all(shown == name for shown, name in zip(read, names, strict=True) if name.isprintable())


@pytest.mark.parametrize(
    ("text", "size_wh"),
    [
        ("[480, 640]", (640, 480)),
        ("(480,640)", (640, 480)),
        ("[640]", (640, 640)),
        ("640", (640, 640)),
        ("[640", None),
        ("640]", None),
        ("0", None),
        ("-640", None),
        ("[640, 640, 3]", None),
        ("99999", None),
        ("٦٤٠", None),
        ("abc", None),
        ("", None),
    ],
)
def test_size_is_read_as_height_then_width(text, size_wh):
    assert parse_size(text) == size_wh
    assert image_size(model_with(imgsz=text)) == size_wh


@given(st.text(NASTY, max_size=100))
def test_any_text_gives_a_sensible_size_or_none(text):
    size = parse_size(text)

    assert size is None or all(0 < side <= 65_536 for side in size)


def test_stride_is_one_number():
    assert declared_stride(model_with(stride="32")) == 32
    assert declared_stride(model_with(stride="abc")) is None
    assert declared_stride(model_with(stride="[32, 64]")) is None
    assert declared_stride(model_with()) is None


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ('{"a": [-1.5, 2], "b": [0, 0.25]}', {"a": (-1.5, 2.0), "b": (0.0, 0.25)}),
        ("{}", {}),
        ("", {}),
        ('{"a": [NaN, 1]}', {}),
        ('{"a": [-1, Infinity]}', {}),
        ('{"a": [-1, 1e999]}', {}),
        ('{"a": ["-1", "1"]}', {}),
        ('{"a": "-1, 1"}', {}),
        ('{"a": [1, -1]}', {}),
        ('{"a": [0, 0]}', {}),
        ('{"a": [0.5, 1]}', {}),
        ('{"a": [-1, -0.5]}', {}),
        ('{"a": [-1, 0, 1]}', {}),
        ('{"a": null}', {}),
        ('{"a": [-1, 1], "b": [1, -1]}', {}),
        (f'{{"a": [-{LARGEST_VALUE * 10}, 1]}}', {}),
        (f'{{"a": [-1, {"9" * 400}]}}', {}),
        (f'{{"a": [-1, {"9" * 5000}]}}', {}),
        ("[[-1, 1]]", {}),
        ("17", {}),
        ("{'a': (-1, 1)}", {}),
        ("[" * 100_000, {}),
        ('{"a": [-1, 1]}' + " " * MAX_RANGES_CHARACTERS, {}),
    ],
    ids=lambda value: f"{value[:24]}..." if isinstance(value, str) and len(value) > 24 else None,
)
def test_ranges_are_believed_only_where_they_hold_zero_and_make_sense(text, ranges):
    assert trained_ranges(model_with(**{RANGES_KEY: text})) == ranges


def test_without_an_entry_there_are_no_ranges():
    assert trained_ranges(onnx.ModelProto()) == {}


@given(st.text(NASTY, max_size=200) | st.text(st.sampled_from('{}[]",:-+.e0123456789 aNIn'), max_size=200))
def test_no_text_makes_ranges_that_quantization_cannot_use(text):
    for low, high in trained_ranges(model_with(**{RANGES_KEY: text})).values():
        assert -LARGEST_VALUE <= low <= 0 <= high <= LARGEST_VALUE
        assert low < high
