r"""YAML from a stranger as nothing but text, lists and mappings.

Scalars stay as they are written: `no` is a class's name and not False, and no number, date or base64 is ever computed. The document is put
together from the parser's events on a stack of its own, so that no nesting is deep enough to break anything; an alias is the very object
that its anchor names, so that a billion laughs are one. Tags, merge keys and keys that stand twice are refused.

>>> parse_yaml("names: [no, 0x10, *a]".replace("*a", "2020-01-01"))
{'names': ['no', '0x10', '2020-01-01']}
"""

from typing import Any, TypeAlias

from edgewright.printable import printable

MOST_DEPTH = 16
MOST_DIRECTIVES = 8  # the parser compares each with all before it
NULLS = frozenset({"", "~", "null", "Null", "NULL"})  # YAML 1.1, section on null; only where they are not quoted

Yaml: TypeAlias = "str | list[Any] | dict[str, Any] | None"  # of the same, all the way down; it may hold itself


def parse_yaml(text: str) -> Yaml:
    """The only document in `text`.

    Raises:
        ValueError: it is no YAML, or more than text, lists and mappings; the sentence is printable.
    """
    import yaml  # noqa: PLC0415 - only the fitting host has it

    if sum(line.startswith("%") for line in text.splitlines()) > MOST_DIRECTIVES:
        raise ValueError(f"more than {MOST_DIRECTIVES} directives")
    builder = _Builder()
    try:
        # The loader in C is forty times as fast; both give the same events.
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            builder.take(event)
    except yaml.YAMLError as error:
        if "nesting depth" in str(error):  # libyaml's own limit, which it may meet before we see the first of them
            raise ValueError(f"nested more than {MOST_DEPTH} deep") from error
        raise ValueError(printable(" ".join(str(error).split()), 200)) from error
    return builder.document


class _Builder:
    """Takes event after event; the containers that are open lie on a stack."""

    def __init__(self) -> None:
        self.document: Yaml = None
        self._open: list[list[Any] | dict[str, Any]] = []
        self._keys: list[str | None] = []  # of each open container, the key that waits for its value
        self._anchors: dict[str, Yaml] = {}
        self._documents = 0

    def take(self, event: Any) -> None:
        kind = type(event).__name__
        if kind == "ScalarEvent":
            _refuse_tag(event)
            plain_null = event.style in (None, "") and event.value in NULLS  # the loader in C has "" for None
            self._add(None if plain_null and not self._wants_key else event.value, event.anchor)
        elif kind in ("SequenceStartEvent", "MappingStartEvent"):
            _refuse_tag(event)
            if len(self._open) == MOST_DEPTH:
                raise ValueError(f"nested more than {MOST_DEPTH} deep")
            container: list[Any] | dict[str, Any] = [] if kind == "SequenceStartEvent" else {}
            self._add(container, event.anchor)
            self._open.append(container)
            self._keys.append(None)
        elif kind in ("SequenceEndEvent", "MappingEndEvent"):
            self._open.pop()
            self._keys.pop()
        elif kind == "AliasEvent":
            if event.anchor not in self._anchors:
                raise ValueError(f"an alias to {printable(event.anchor)!r}, which is nowhere")
            self._add(self._anchors[event.anchor], None)
        elif kind == "DocumentStartEvent":
            self._documents += 1
            if self._documents > 1:
                raise ValueError("more than one document")

    @property
    def _wants_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1], dict) and self._keys[-1] is None

    def _add(self, value: Yaml, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = value
        if not self._open:
            self.document = value
            return
        inside = self._open[-1]
        if isinstance(inside, list):
            inside.append(value)
        elif (key := self._keys[-1]) is None:
            self._keys[-1] = _new_key(value, inside)
        else:
            inside[key] = value
            self._keys[-1] = None


def _new_key(value: Yaml, mapping: dict[str, Any]) -> str:
    if not isinstance(value, str):
        raise ValueError("a key that is no text")  # noqa: TRY004 - of the text that is parsed, not of an argument
    if value == "<<":
        raise ValueError("a merge key, <<; write out what it stands for")
    if value in mapping:
        raise ValueError(f"the key {printable(value)!r} twice")
    return value


def _refuse_tag(event: Any) -> None:
    if event.tag not in (None, "!", "tag:yaml.org,2002:str", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"):
        raise ValueError(f"the tag {printable(event.tag)!r}")
