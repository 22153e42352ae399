"""Lines that fit: columns are counted, and what does not fit is cut or left out, in an order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.watch.page import allotted, shortened
from edgewright.watch.spans import Span, clipped, columns_of, cut, drawn, ends, line, padded, plain, width_of
from edgewright.watch.table import Column, table

TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("", 0),
        ("belt", 4),
        ("Förderband", 10),
        ("Fo\u0308rderband", 10),  # a mark over a letter takes no column
        ("検査", 4),  # wide letters take two
        ("▁▂▃", 3),
    ],
)
def test_columns_of_text(text, columns):
    assert columns_of(text) == columns


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        ("belt", 4, "belt"),
        ("belt-2", 4, "bel…"),
        ("belt", 1, "…"),
        ("belt", 0, ""),
        ("検査機", 4, "検…"),  # half of a wide letter is none
    ],
)
def test_cut(text, columns, expected):
    assert cut(text, columns) == expected


@given(st.lists(TEXTS, max_size=5), st.integers(0, 60))
def test_a_clipped_line_is_never_too_long(texts, columns):
    spans = tuple(map(Span, texts))
    found = clipped(spans, columns)
    assert width_of(found) <= columns
    assert found == spans or width_of(spans) > columns


@given(TEXTS, TEXTS, st.integers(0, 60))
def test_both_ends_fit(left, right, columns):
    assert width_of(ends(line(left), line(right), columns)) <= columns


@given(TEXTS, st.integers(1, 20), st.booleans())
def test_a_padded_piece_is_as_wide_as_its_column(text, columns, right):
    assert columns_of(padded(Span(text), columns, right=right).text) == columns


def test_the_right_end_stays():
    assert plain(ends(line("a service with a long name"), line("14:03:07"), 20)) == "a service … 14:03:07"


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (40, ["name     fps  restarts  why     ", "belt    10.0         0  it rests", "gate-2     -         3          "]),
        (24, ["name     fps  why     ", "belt    10.0  it rests", "gate-2     -          "]),
        (16, ["name     fps", "belt    10.0", "gate-2     -"]),
        (10, ["name   fps", "belt  10.0", "gat…     -"]),
    ],
)
def test_a_table_gives_up_what_matters_least(width, expected):
    columns = [
        Column("name", (Span("belt"), Span("gate-2")), right=False, cuts_to=6),
        Column("fps", (Span("10.0"), Span("-"))),
        Column("restarts", (Span("0"), Span("3")), rank=2),
        Column("why", (Span("it rests"), Span("")), rank=1, right=False, cuts_to=6),
    ]
    assert [plain(row) for row in table(columns, width)] == expected


@pytest.mark.parametrize(
    ("wishes", "rows", "expected"),
    [
        ([(2, 5), (1, 1), (1, 9)], 20, [5, 1, 9]),
        ([(2, 5), (1, 1), (1, 9)], 10, [5, 1, 4]),
        ([(2, 5), (1, 1), (1, 9)], 5, [3, 1, 1]),
        ([(2, 5), (1, 1), (1, 9)], 3, [2, 1, 0]),
        ([(2, 5), (4, 4), (1, 9)], 4, [3, 0, 1]),  # what does not fit leaves its room to the next
        ([(2, 5)], 0, [0]),
    ],
)
def test_rows_go_to_the_first_parts_first(wishes, rows, expected):
    assert allotted(wishes, rows) == expected


def test_a_table_that_is_cut_says_so():
    rows = [line(text) for text in ("title", "a", "b", "c")]
    assert shortened(rows, 4) == rows
    assert [plain(each) for each in shortened(rows, 3)] == ["title", "a", "  and 2 more"]
    assert [plain(each) for each in shortened(rows, 1)] == ["title"]


def test_no_colour_where_none_is_wanted():
    spans = line("state ", Span("up", "good"), Span(" now", "bad"))
    assert drawn(spans, colour=True) == "state \x1b[32mup\x1b[0m\x1b[1;31m now\x1b[0m"
    assert drawn(spans, colour=False) == "state up\x1b[1m now\x1b[0m"
