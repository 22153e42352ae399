"""Every value of a TOML document is found on the line that it stands on."""

import json
import time
import tomllib
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgewright.errors import InputError
from edgewright.run.toml_lines import LONGEST_BARE, MOST_DEEP, MOST_PARTS, MOST_VALUES, read_toml

EVERYTHING = r'''# a comment with = and [brackets]
title = "x" # line 2
'quoted key' = 1
"esc\u0061ped" = 2
a . b = 3
a.c = """
[not.a.table]
key = "no" \"""
""" # line 6 to 9
literal = \'\'\'
it''s = 'no' key
\'\'\'
list = [ # line 13
  1, 1979-05-27 07:32:00Z, # a comma , ]
  "]", [
    2,
  ],
  { x = 1, y.z = [
    5] },
]
inline = { one = 1, "two" = { three = "}" } }

[table]
key = -1e3
[table.below]
key = nan
[above.it]  # declares above as well
[above]
own = true
[[array]]
name = "first"
[array.nested]
key = 1
[[array.inner]]
deep = 1
[[array.inner]]
deep = 2
[[ array ]]
name = "second"
[[array."inner"]]
deep = 3
[array.inner.'below']
lowest = 4
'''.replace(r"\'", "'")

WHERE = {
    ("title",): 2,
    ("quoted key",): 3,
    ("escaped",): 4,
    ("a",): 5,
    ("a", "b"): 5,
    ("a", "c"): 6,
    ("literal",): 10,
    ("list",): 13,
    ("list", 0): 14,
    ("list", 1): 14,
    ("list", 2): 15,
    ("list", 3): 15,
    ("list", 3, 0): 16,
    ("list", 4): 18,
    ("list", 4, "x"): 18,
    ("list", 4, "y"): 18,
    ("list", 4, "y", "z"): 18,
    ("list", 4, "y", "z", 0): 19,
    ("inline",): 21,
    ("inline", "one"): 21,
    ("inline", "two"): 21,
    ("inline", "two", "three"): 21,
    ("table",): 23,
    ("table", "key"): 24,
    ("table", "below"): 25,
    ("table", "below", "key"): 26,
    ("above",): 28,
    ("above", "it"): 27,
    ("above", "own"): 29,
    ("array",): 30,
    ("array", 0): 30,
    ("array", 0, "name"): 31,
    ("array", 0, "nested"): 32,
    ("array", 0, "nested", "key"): 33,
    ("array", 0, "inner"): 34,
    ("array", 0, "inner", 0): 34,
    ("array", 0, "inner", 0, "deep"): 35,
    ("array", 0, "inner", 1): 36,
    ("array", 0, "inner", 1, "deep"): 37,
    ("array", 1): 38,
    ("array", 1, "name"): 39,
    ("array", 1, "inner"): 40,
    ("array", 1, "inner", 0): 40,
    ("array", 1, "inner", 0, "deep"): 41,
    ("array", 1, "inner", 0, "below"): 42,
    ("array", 1, "inner", 0, "below", "lowest"): 43,
}


def places(value, where=()):
    """Where something is in a document."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield (*where, key)
        yield from places(item, (*where, key))


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_key_and_value_has_its_line(newline):
    document = read_toml(EVERYTHING.replace("\n", newline), "x.toml")
    assert document.lines == WHERE
    assert repr(document.values) == repr(tomllib.loads(EVERYTHING))  # nan is not equal to itself
    assert set(places(document.values)) == set(WHERE)


def test_what_is_not_there_is_on_the_line_of_what_it_would_be_in():
    document = read_toml(EVERYTHING, "x.toml")
    assert document.line(("array", 1, "colour")) == 38
    assert document.line(("table", "key", 3, "more")) == 24
    assert document.line(("nothing",)) == document.line(()) == 1


# --- documents that are made up ---------------------------------------------------------------------------------------------------------

bare_keys = st.text("abcXYZ019_-", min_size=1, max_size=4)
keys = st.one_of(bare_keys, st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
newlines = st.sampled_from(["", "\n", " # ]}\"'''\n", "\n\n\t"])


def basic(text):
    return json.dumps(text, ensure_ascii=True).replace("\x7f", "\\u007f")


def written_key(key):
    return st.sampled_from([key, basic(key), f"'{key}'"] if key and set(key) <= set("abcXYZ019_-") else [json_key(key)])


def json_key(key):
    return '"' + "".join(f"\\U{ord(character):08x}" for character in key) + '"'


scalars = st.one_of(
    st.integers(-(10**9), 10**9).map(str),
    st.floats(allow_nan=False).map(lambda x: repr(x) if "inf" not in repr(x) else "-inf"),
    st.sampled_from(["true", "false", "1979-05-27T07:32:00-08:00", "1979-05-27 07:32:00", "07:32:00", "0xdead", "1_000", "nan"]),
    st.sampled_from(["''", '""', "''''''", '""""""', '"""""a"""', "'''a'''''", '"""\\\\"""', '"""\\""""', "'\\'", '"#"', "'''\n[x]\n'''"]),
    texts.map(lambda text: "".join(f"\\U{ord(character):08x}" for character in text)).map('"{}"'.format),
    st.text("a\"\\\n #=[]'", max_size=10).map(lambda text: '"""' + text.replace("\\", "\\\\").replace('"', '\\"') + '"""'),
    st.text('a"\\\n #=[]', max_size=10).map("'''{}'''".format),
)


@st.composite
def lists(draw, values):
    items = draw(st.lists(values, max_size=3))
    return "[" + ",".join(draw(newlines) + item + draw(newlines) for item in items) + "]"


@st.composite
def inline_tables(draw, values):
    held = draw(st.dictionaries(keys, values, max_size=3))
    return "{" + ", ".join(f"{draw(written_key(key))} = {value}" for key, value in held.items()) + "}"


values = st.recursive(scalars, lambda inner: st.one_of(lists(inner), inline_tables(inner)), max_leaves=6)


@st.composite
def documents(draw):
    """Texts that are TOML, but for names that are given twice."""
    lines = []
    for _ in range(draw(st.integers(0, 6))):
        what = draw(st.sampled_from(["pair", "pair", "pair", "table", "array", "comment"]))
        parts = [draw(written_key(key)) for key in draw(st.lists(st.one_of(st.sampled_from("abc"), keys), min_size=1, max_size=3))]
        name = draw(st.sampled_from([".", " . ", "\t."])).join(parts)
        made = {"pair": f"{name} = {draw(values)}", "table": f"[{name}]", "array": f"[[ {name} ]]", "comment": "# [a] = '''"}[what]
        lines.append(draw(st.sampled_from(["", "  "])) + made + draw(st.sampled_from(["", ' # """', "\n"])))
    return "\n".join(lines)


@settings(max_examples=150, deadline=None)
@given(documents())
@example("[[a]]\n[a.b]\n[[a]]\n[a.b]")
def test_places_are_those_of_tomllib(text):
    try:
        held = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        with pytest.raises(InputError, match=r"x\.toml, line "):
            read_toml(text, "x.toml")
        return
    document = read_toml(text, "x.toml")
    assert repr(document.values) == repr(held)
    assert set(document.lines) == set(places(held))
    assert all(1 <= line <= text.count("\n") + 1 for line in document.lines.values())


@settings(max_examples=100, deadline=None)
@given(documents(), st.data())
def test_a_line_more_above_moves_what_is_below(text, data):
    """Were a line wrong, it would not move by one with all that follows."""
    try:
        before = read_toml(text, "x.toml").lines
    except InputError:
        return
    assert read_toml("# above\n\n" + text, "x.toml").lines == {where: line + 2 for where, line in before.items()}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), values), min_size=1, max_size=8))
def test_keys_are_on_the_lines_that_they_were_written_on(written):
    """Numbered keys, blank lines and values of any number of lines between them."""
    text, expected = "", {}
    for number, (blank, value) in enumerate(written):
        text += "\n" * blank
        expected[f"k{number}",] = text.count("\n") + 1
        text += f"k{number} = {value}\n"
    lines = read_toml(text, "x.toml").lines
    assert {where: lines[where] for where in expected} == expected


# --- what is no TOML, or too much of it -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = 1\nb = belt\n", "x.toml, line 2, column 5: no TOML: invalid value; text stands in double quotes"),
        ("a\n", "x.toml, line 1, column 2: no TOML: expected '=' after a key in a key/value pair"),
        ("\n[a\n", "x.toml, line 2, column 3: no TOML: expected ']' at the end of a table declaration"),
        ("a = 1\na = 2\n", "x.toml, line 2, column 6: no TOML: cannot overwrite a value"),
        ('a = "x\n', "x.toml, line 1, column 7: no TOML: illegal character '\\n'"),
        ('a = 1\nb = """x\n', "x.toml, line 3: no TOML: unterminated string"),
        ("[a]\n[a]\n", "x.toml, line 2, column 3: no TOML: cannot declare ('a',) twice"),
        (
            "\na" + ".a" * MOST_PARTS + " = 1",
            "x.toml, line 2: a key of more than 8 parts; nothing that is read here needs so much; look for a slip",
        ),
        ("\na = " + "[" * 500_000, f"x.toml, line 2: brackets nested more than {MOST_DEEP} deep; nothing that is read"),
        ("\na = " + "{a=" * 300_000, f"x.toml, line 2: brackets nested more than {MOST_DEEP} deep; nothing that is read"),
        ("a = [\n" + "1," * 500_000 + "]", f"x.toml, line 2: more than {MOST_VALUES:,} keys and values"),
        ("a = 1\nb = 1" + "0" * 10_000, f"x.toml, line 2: a number or word of more than {LONGEST_BARE} characters"),
        ("\0", "x.toml, line 1, column 1: no TOML: invalid statement"),
    ],
)
def test_one_sentence_says_where(text, said):
    with pytest.raises(InputError) as caught:
        read_toml(text, "x.toml")
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    "text",
    [
        "a" + ".a" * 500_000 + " = 1",
        "[a" + ".a" * 500_000 + "]",
        "[[a]]\n" * 170_000,
        "[a.b.c.d.e]\n" * 80_000,
        "a.b.c.d.e.f = {}\n" * 60_000,
        "a = '''" + "'" * 1_000_000,
        'a = """' + '\\"' * 500_000,
        'a = "' + "\\n" * 500_000 + '"',
        '"' + "\\n" * 500_000 + '" = 1',
        "a = [" + "[],\n" * 250_000,
        "#" * 1_000_000,
        "# \n" * 340_000,
        "a = " + "\t" * 1_000_000,
        "\n".join(f"k{number} = 1" for number in range(100_000)),
    ],
    ids=range(14),
)
def test_a_megabyte_takes_no_time(text):
    began = time.process_time()
    with suppress(InputError):
        read_toml(text, "x.toml")
    assert time.process_time() - began < 5  # the longest took one second


@settings(max_examples=100, deadline=None)
@given(st.text("ab.=[]{}\"'\\\n#, 1-", max_size=40))
def test_any_text_is_read_or_refused(text):
    try:
        held = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        with pytest.raises(InputError):
            read_toml(text, "x.toml")
    else:
        assert set(read_toml(text, "x.toml").lines) == set(places(held))
