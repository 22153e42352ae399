"""Texts that a stranger might hand us in place of a sound one: a seeded generator that knows what it breaks.

A mutation of a JSON or YAML document changes it as a tree (a value, a key, a row, its order) and then, now and then, as text; XML and TOML
are changed as lines and words; everything is changed as bytes. The same seed gives the same bytes on every machine.

    for number in range(2000):
        mangled = mutated(sound, "json", number)
"""

import copy
import json
import random
from collections.abc import Callable
from typing import Any

import yaml
from hypothesis import strategies as st

# Words that someone, somewhere, took for a number, a name, a path or a command.
NASTY_TEXT = (
    "",
    " ",
    "~",
    "null",
    "true",
    "nan",
    "-0",
    "1e999",
    "0x" + "f" * 5000,
    "1" * 5000,
    "1_0",
    "1:59:59",
    "2020-13-45",
    "../../etc/passwd",
    "/etc/passwd",
    "/dev/zero",
    ".",
    "..",
    "~root",
    "a\0b",
    "\x1b]0;owned\x07\x1b[2J\x1b[31m",
    "\u202egnp.exe",
    "\u2028\u2029\x85\x0b",
    "\ufeffbom",
    "\udcff\ud800",
    "\U0001f600" * 30,
    "<script>alert(1)</script>",
    "&a;&#0;&#x110000;",
    "{{ 7 * 7 }}%s%n{0}",
    "[red]markup[/red]",
    "x" * 300,
    "x" * 70_000,
    "a/" * 3000,
    "con",
    "C:\\x.png",
    "\\\\host\\share",
    "file:///etc/passwd",
    "http://example.invalid/x",
    "__import__('os').abort()",
    "!!python/object/apply:os.abort []",
)
NASTY_NUMBERS = (0, -1, 1, 2, 255, 256, 2**31 - 1, 2**31, 2**63, 2**64, 10**18, -(10**18), 10**400, 0.5, -0.0, 1e-320, 1e300, -1e300)
NASTY_FLOATS = (float("nan"), float("inf"), float("-inf"))
NASTY_YAML = (
    "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nnames: *c",
    "names: &n [*n]",
    "<<: {names: [a]}",
    "names: !!python/object/apply:os.abort []",
    "names: !!binary aGk=",
    "names: !!timestamp never",
    "names: !!int ''",
    "names: !!bool perhaps",
    "names: !!set {a, b}",
    "? [complex, key]\n: value",
    "names: " + "[" * 3000,
    "names: " + "{a: " * 3000,
    "%YAML 9.9\n---",
    "---\n---\n...",
    "names: *nowhere",
    "names: 'open",
    "names: |\n  a",
    "\ttab: x",
    "names: {0: a, 0: b}",
    "names: {0: a, 2: b}",
    "names: {zero: a}",
    "path: [.]",
    "train: {images: train}",
    "val: [[images/val]]",
    "val: images/val\nval: images/train",
    "train: ../../../../../../../../proc/self/fd",
)
NASTY_XML = (
    '<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>',
    '<!DOCTYPE a SYSTEM "file:///etc/passwd">',
    "<!ENTITY x SYSTEM 'file:///etc/passwd'>",
    "&undefined;",
    "<![CDATA[",
    "]]>",
    "<!--",
    "<?xml version='1.0' encoding='utf-7'?>",
    '<?xml version="1.1"?>',
    "<?php echo 1 ?>",
    "<object>",
    "</object>",
    "<object><name>a</name><bndbox/></object>",
    "<a>" * 5000,
    '<a xmlns:x="http://x" x:y="z"/>',
    "<bndbox><xmin>1e308</xmin><ymin>-1e308</ymin><xmax>1e308</xmax><ymax>1e308</ymax></bndbox>",
    "<size><width>1e300</width><height>-5</height></size>",
    "<name>" + "n" * 5000 + "</name>",
)
NASTY_TOML = (
    "a" + ".a" * 2000 + " = 1",
    "[" * 2000,
    "[[x]]\n[x]",
    'name = """',
    "x = 1979-05-27T07:32:00Z",
    "x = 0x" + "f" * 6000,
    "'' = 1",
)
NASTY_BYTES = (b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\x1b[2J", b"\r", b"\n" * 100, b"\x80" * 20, b"\xc0\xaf", b"\x0c")
ENCODINGS = ("utf-16", "utf-16-be", "utf-32", "utf-8-sig", "latin-1", "utf-7", "cp037")

Tree = Any


def mutated(sound: bytes, kind: str, seed: int) -> bytes:
    """A text of `kind` (json, yaml, xml, toml, lines) that was `sound` before one to four changes."""
    rng = random.Random(seed)
    content = sound
    if kind in ("json", "yaml") and rng.random() < 0.75:
        # JSON is YAML.
        content = _changed_json(content if kind == "json" else json.dumps(yaml.safe_load(content)).encode(), rng)
        if rng.random() < 0.7:
            return content
    for _ in range(rng.randint(1, 3)):
        content = rng.choice(TEXT_CHANGES if rng.random() < 0.7 else BYTE_CHANGES)(content, kind, rng)
    return content


def mutations(sound: bytes, kind: str) -> st.SearchStrategy[bytes]:
    """The same for hypothesis, which also draws bytes of its own."""
    return st.one_of(
        st.integers(0, 2**32).map(lambda seed: mutated(sound, kind, seed)),
        st.tuples(st.integers(0, len(sound)), st.integers(0, len(sound)), st.binary(max_size=40)).map(
            lambda cut: sound[: min(cut[:2])] + cut[2] + sound[max(cut[:2]) :]
        ),
        st.binary(max_size=200),
        st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
    )


# --- trees ------------------------------------------------------------------------------------------------------------------------------


def nasty_value(rng: random.Random) -> Tree:
    """A value that a field might hold and no reader expects."""
    return rng.choice(
        (
            lambda: rng.choice(NASTY_TEXT),
            lambda: rng.choice(NASTY_NUMBERS),
            lambda: rng.choice(NASTY_FLOATS),
            lambda: rng.choice((None, True, False, [], {}, [[]], [None], {"": {}}, [{}] * 3)),
            lambda: _nested(rng.choice((3, 40, 150))),
            lambda: [rng.choice(NASTY_NUMBERS) for _ in range(rng.choice((1, 3, 5, 2000)))],
            lambda: {rng.choice(NASTY_TEXT): rng.choice(NASTY_TEXT)},
        )
    )()


def _nested(depth: int) -> Tree:
    found: Tree = "deep"
    for level in range(depth):
        found = [found] if level % 2 else {"a": found}
    return found


def changed_tree(document: Tree, rng: random.Random) -> Tree:
    """A copy of the document with one place of it changed."""
    holder = {"": copy.deepcopy(document)}
    inside, key = rng.choice(_places(holder))
    rng.choice(TREE_CHANGES)(inside, key, rng)
    return holder.get("")


def _places(holder: Tree) -> list[tuple[Tree, Any]]:
    """(container, key or index) of every value; of long lists some, so that rare fields are met as often."""
    found, pending = [], [holder]
    while pending:
        inside = pending.pop()
        keys = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
        keys = keys if len(keys) < 12 else keys[:4] + keys[-2:]
        found += [(inside, key) for key in keys]
        pending += [inside[key] for key in keys if isinstance(inside[key], dict | list)]
    return found


def _replace(inside: Tree, key: Any, rng: random.Random) -> None:
    inside[key] = nasty_value(rng)


def _delete(inside: Tree, key: Any, rng: random.Random) -> None:
    del inside[key]


def _rename(inside: Tree, key: Any, rng: random.Random) -> None:
    if isinstance(inside, dict):
        inside[rng.choice(NASTY_TEXT)] = inside.pop(key)
    else:
        inside.insert(0, inside.pop(key))


def _double(inside: Tree, key: Any, rng: random.Random) -> None:
    if isinstance(inside, list):
        inside += [copy.deepcopy(inside[key])] * rng.choice((1, 2, 500))
    else:
        inside[str(key).upper()] = copy.deepcopy(inside[key])


def _nudge(inside: Tree, key: Any, rng: random.Random) -> None:
    """The right kind of value, and wrong."""
    value = inside[key]
    if isinstance(value, bool) or value is None:
        inside[key] = not value
    elif isinstance(value, int | float):
        inside[key] = rng.choice(
            (-value, value + 1, value * 10**9, value // 3 + 0.5 if abs(value) < 1e300 else 0, str(value), [value], -(2**63))
        )
    elif isinstance(value, str):
        inside[key] = rng.choice((value[:-1], value * 2, value.upper(), "../" + value, "/" + value, value + "\0", "\x1b[2J" + value))
    else:
        inside[key] = rng.choice((list(value), {"a": value}, [value], str(value)[:50]))


def _swap(inside: Tree, key: Any, rng: random.Random) -> None:
    other = rng.choice(list(inside) if isinstance(inside, dict) else range(len(inside)))
    inside[key], inside[other] = inside[other], inside[key]


TREE_CHANGES: tuple[Callable[[Tree, Any, random.Random], None], ...] = (
    _replace,
    _replace,
    _nudge,
    _nudge,
    _delete,
    _rename,
    _double,
    _swap,
)


def _changed_json(content: bytes, rng: random.Random) -> bytes:
    document = json.loads(content)
    for _ in range(rng.randint(1, 2)):
        document = changed_tree(document, rng)
        if not isinstance(document, dict | list):
            break
    text = json.dumps(document, ensure_ascii=rng.random() < 0.5)
    return text.encode("utf-8", "surrogatepass")


# --- words and lines --------------------------------------------------------------------------------------------------------------------

SEPARATORS = {"json": b",", "yaml": b"\n", "xml": b"<", "toml": b"\n", "lines": b"\n"}
NASTY_PIECES = {
    "json": (*map(json.dumps, NASTY_TEXT), "[" * 3000, '{"a":' * 3000, "NaN", "-Infinity", "1" * 5000, "1e999", "\\u0000"),
    "yaml": NASTY_YAML + tuple(f"names: [{json.dumps(text)}, b, c]" for text in NASTY_TEXT),
    "xml": NASTY_XML + NASTY_TEXT,
    "toml": NASTY_TOML + tuple(f"x = {json.dumps(text)}" for text in NASTY_TEXT),
    "lines": (*NASTY_TEXT, "0 .5 .5 .1 .1 .1", "-1 .5 .5 .1 .1", "0 nan inf .1 .1", "9 9 9 9 9", "0 " * 3000, "0.5 .5 .5 .1 .1"),
}


def _drop_piece(content: bytes, kind: str, rng: random.Random) -> bytes:
    pieces = content.split(SEPARATORS[kind])
    del pieces[rng.randrange(len(pieces))]
    return SEPARATORS[kind].join(pieces)


def _repeat_piece(content: bytes, kind: str, rng: random.Random) -> bytes:
    pieces = content.split(SEPARATORS[kind])
    at = rng.randrange(len(pieces))
    pieces[at:at] = [pieces[rng.randrange(len(pieces))]] * rng.choice((1, 1, 2, 300))
    return SEPARATORS[kind].join(pieces)


def _nasty_piece(content: bytes, kind: str, rng: random.Random) -> bytes:
    pieces = content.split(SEPARATORS[kind])
    nasty = rng.choice(NASTY_PIECES[kind]).encode("utf-8", "surrogatepass")
    at = rng.randrange(len(pieces))
    pieces[at : at + rng.randint(0, 1)] = [nasty]
    return SEPARATORS[kind].join(pieces)


def _nasty_word(content: bytes, kind: str, rng: random.Random) -> bytes:
    """A word, which in all these texts ends at a blank, a quote or a bracket, is another."""
    start = rng.randrange(len(content) + 1)
    ends = [at for at in range(start, min(len(content), start + 200)) if content[at] in b" \n\"'<>[]{},:="]
    nasty = rng.choice(NASTY_TEXT) if rng.random() < 0.6 else str(rng.choice(NASTY_NUMBERS))
    return content[:start] + nasty.encode("utf-8", "surrogatepass") + content[ends[0] if ends else len(content) :]


def _other_encoding(content: bytes, kind: str, rng: random.Random) -> bytes:
    return content.decode("utf-8", "replace").encode(rng.choice(ENCODINGS), "replace")


TEXT_CHANGES = (_drop_piece, _repeat_piece, _nasty_piece, _nasty_piece, _nasty_piece, _nasty_word, _nasty_word, _other_encoding)


# --- bytes ------------------------------------------------------------------------------------------------------------------------------


def _flip(content: bytes, kind: str, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 4, 30)) if changed else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(content: bytes, kind: str, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _lose(content: bytes, kind: str, rng: random.Random) -> bytes:
    start = rng.randrange(len(content) + 1)
    return content[:start] + content[start + rng.choice((1, 2, 10, 100)) :]


def _insert(content: bytes, kind: str, rng: random.Random) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + rng.choice((*NASTY_BYTES, rng.randbytes(8))) + content[at:]


def _from_itself(content: bytes, kind: str, rng: random.Random) -> bytes:
    start, at = rng.randrange(len(content) + 1), rng.randrange(len(content) + 1)
    return content[:at] + content[start : start + rng.choice((5, 50, 500))] + content[at:]


def _noise(content: bytes, kind: str, rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice((0, 1, 10, 1000)))


BYTE_CHANGES = (_flip, _flip, _cut, _cut, _lose, _insert, _insert, _from_itself, _noise)
