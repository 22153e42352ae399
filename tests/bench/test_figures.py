"""Numbers as the page shows them: each with where it is from and by which rule it was made."""

import doctest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.bench import figures
from edgewright.bench.figures import DASH, MINUS, Document, Name, how_many, listed, ordinal, plain_text, pointer, visible

DOCUMENT = Document({"a": {"b": [0.12345, 1234567.891, -0.004, None, True, "7", 10**400, float("nan")]}, "c": 2.0, "d": 1.0, "zero": 0})


@pytest.mark.parametrize(
    ("rule", "paths", "text"),
    [
        ("fixed 2", [("a", "b", 0)], "0.12"),
        ("signed 2", [("a", "b", 0)], "+0.12"),
        ("points, fixed 1", [("a", "b", 0)], "12.3"),
        ("negated, signed 2", [("a", "b", 0)], f"{MINUS}0.12"),
        ("negated, signed 2", [("zero",)], "+0.00"),
        ("fixed 1", [("a", "b", 1)], "1,234,567.9"),
        ("fixed 2", [("a", "b", 2)], "0.00"),
        ("signed 2", [("a", "b", 2)], f"{MINUS}0.00"),
        ("plain", [("a", "b", 2)], "-0.004"),
        ("change in percent, signed 0", [("c",), ("d",)], f"{MINUS}50"),
        ("change in percent, signed 0", [("zero",), ("d",)], DASH),
        ("change in points, signed 1", [("c",), ("d",)], f"{MINUS}100.0"),
        ("percent above one, fixed 0", [("c",)], "100"),
        *(("fixed 2", [("a", "b", at)], DASH) for at in range(3, 9)),
        ("plain", [("a", "b", 3)], DASH),
        ("fixed 2", [("nowhere", 3, "at all")], DASH),
        ("change in points, signed 1", [("c",), ("nowhere",)], DASH),
    ],
)
def test_writes_a_number_by_its_rule(rule, paths, text):
    assert str(DOCUMENT.derived(rule, *paths)) == text


def test_marks_where_a_number_is_from():
    document = Document({"per class": {'a/b~c é"<': 0.5}})

    html = document.figure("fixed 1", "per class", 'a/b~c é"<').__html__()

    assert html == '<data value="0.5" data-from="#/per%20class/a~1b~0c%20%C3%A9%22%3C" data-rule="fixed 1">0.5</data>'
    assert DOCUMENT.figure("fixed 1", "nowhere").__html__() == f'<data value="" data-from="#/nowhere" data-rule="fixed 1">{DASH}</data>'


def test_counts_and_numbers_rows():
    assert str(how_many([("a", 0), ("a", 3)])) == "2"
    assert how_many([("a", 0), ("a", 3)]).pointers == ("#/a/0", "#/a/3")
    assert str(ordinal(("a", 3))) == "4"


@pytest.mark.parametrize(
    ("items", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")],
    ids=["none", "one", "two", "more"],
)
def test_lists_names(items, text):
    assert plain_text(listed([(Name(item),) for item in items])) == text


@settings(deadline=None)
@given(st.lists(st.one_of(st.text(), st.integers(0, 99)), min_size=1, max_size=4))
def test_a_pointer_holds_no_spaces_and_nothing_that_ends_an_attribute(path):
    assert pointer(tuple(path)).isascii()
    assert not set(pointer(tuple(path))) & set(" ;\"'<>")


@settings(deadline=None)
@given(st.text())
def test_what_is_shown_obeys_no_command(text):
    assert not any(ord(character) < 0x20 and character not in "\n\t" for character in visible(text))
    assert "\u202e" not in visible(text)


def test_the_example_of_the_module_is_true():
    assert doctest.testmod(figures).failed == 0
