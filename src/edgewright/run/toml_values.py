"""What a value of a TOML file has to be. A reader takes one and gives what we make of it, or says what it would have taken.

Readers are put together as a table of keys: each names the field that it fills, and what is left out keeps its dataclass's default.

>>> Keys("a camera", {"fps": ("fps", number(above=0, most=1000))})({"fps": -3})
Traceback (most recent call last):
edgewright.run.toml_values.Unfit: fps: expected a number above 0, at most 1,000
"""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from edgewright.printable import brief, printable
from edgewright.run.secrets import hide_in_address
from edgewright.run.toml_lines import Where

Reader: TypeAlias = Callable[[Any], Any]

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
LONGEST_TEXT = 1024
SHOWN_VALUES = 4  # of a list; of a longer one, how many it has

_SIZES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": KIB, "mib": MIB, "gib": GIB, "tib": TIB}
_SECONDS = {"ms": 0.001, "s": 1.0, "min": MINUTE, "h": HOUR, "hour": HOUR, "hours": HOUR, "day": DAY, "days": DAY}
_QUANTITY = re.compile(r"(?P<number>[0-9]{1,15}(?:\.[0-9]{1,9})?) ?(?P<unit>[A-Za-z]{1,5})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Unfit(Exception):  # noqa: N818 - of a value; the sentence is made where its line is known
    """A value is not what it has to be.

    `said`: what is wrong, from the verb on, where it is more than the value itself; `within`: where, from the value that was handed in.
    """

    def __init__(self, *, expected: str | None = None, said: str | None = None, fix: str | None = None, within: Where = ()) -> None:
        super().__init__()
        self.expected = expected
        self.said = said
        self.fix = fix
        self.within = within

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.within))}: {self.said or f'expected {self.expected}'}"


@contextmanager
def within(place: str | int) -> Iterator[None]:
    """What is unfit inside the block is so at `place` of what is being read."""
    try:
        yield
    except Unfit as unfit:
        unfit.within = (place, *unfit.within)
        raise


def as_written(value: object) -> str:
    """A value the way TOML writes it, in a few words, and nothing of it that looks like credentials."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return printable(f'"{hide_in_address(value)}"')
    if isinstance(value, list) and len(value) <= SHOWN_VALUES and not any(isinstance(each, dict | list) for each in value):
        return f"[{', '.join(map(as_written, value))}]"
    return "a table" if isinstance(value, dict) else brief(value)


# --- single values ----------------------------------------------------------------------------------------------------------------------


def whole(low: int, high: int) -> Reader:
    """A whole number of this range."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Unfit(expected=f"a whole number from {low:,} to {high:,}")
        return value

    return read


def number(low: float | None = None, most: float = 1.0, *, above: float | None = None) -> Reader:
    """A number from `low`, or above `above`, to `most`."""
    expected = f"a number above {above:g}, at most {most:,g}" if above is not None else f"a number from {low:g} to {most:,g}"

    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not _is_in(value, low, above, most):
            raise Unfit(expected=expected)
        return float(value)

    return read


def _is_in(value: float, low: float | None, above: float | None, most: float) -> bool:
    return value <= most and (value > above if above is not None else low is None or value >= low)


def flag(value: Any) -> bool:
    """A switch: true or false."""
    if not isinstance(value, bool):
        raise Unfit(expected="true or false")
    return value


def one_of(*words: str) -> Reader:
    """One of these words."""

    def read(value: Any) -> str:
        if value not in words:
            near = difflib.get_close_matches(value, words, n=1) if isinstance(value, str) and len(value) <= 64 else []
            raise Unfit(expected=f"one of {', '.join(words)}", fix=f"did you mean {near[0]}?" if near else None)
        return str(value)

    return read


def text(value: Any) -> str:
    """A line of text. Not one with ${NAME}, which means something only where secrets may stand."""
    if not isinstance(value, str) or not value or len(value) > LONGEST_TEXT or not value.isprintable():
        raise Unfit(expected=f"a line of text, at most {LONGEST_TEXT:,} characters")
    if "${" in value:
        raise Unfit(said="cannot be taken from the environment", expected="${NAME} in source, url, user, password or token alone")
    return value


def matching(pattern: str, expected: str) -> Reader:
    """A text of this form."""
    compiled = re.compile(pattern, re.ASCII)

    def read(value: Any) -> str:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise Unfit(expected=expected)
        return value

    return read


def is_name(value: object) -> bool:
    """Whether it may be the name of something: it becomes part of paths and topics."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def name(value: Any) -> str:
    """The name of a camera, a model, a rule, an output or the service."""
    if not is_name(value):
        raise Unfit(expected="letters, digits, - _ and ., at most 64, a letter or digit first")
    return str(value)


def size(low: int, high: int) -> Reader:
    """Bytes, as "64 MiB", "2 GB" or a number."""

    def read(value: Any) -> int:
        found = _quantity(value, _SIZES)
        if found is None or not low <= found <= high:
            raise Unfit(expected=f'a size from {size_text(low)} to {size_text(high)}, such as "64 MiB", "2 GB" or a number of bytes')
        return int(found)

    return read


def duration(low: float, high: float) -> Reader:
    """Seconds, as "20 s", "5 min", "30 days" or a number."""

    def read(value: Any) -> float:
        found = _quantity(value, _SECONDS)
        if found is None or not low <= found <= high:
            least, most = duration_text(low), duration_text(high)
            raise Unfit(expected=f'a time from {least} to {most}, such as "20 s", "5 min", "30 days" or a number of seconds')
        return float(found)

    return read


def _quantity(value: Any, units: Mapping[str, float]) -> float | None:
    if isinstance(value, str):
        found = _QUANTITY.fullmatch(value)
        unit = units.get(found["unit"].lower()) if found else None
        return None if found is None or unit is None else float(found["number"]) * unit
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def size_text(size_bytes: int) -> str:
    """Bytes in the largest binary unit that leaves a whole number."""
    for unit, factor in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor:,} {unit}"
    return f"{size_bytes:,} bytes"


def duration_text(duration_s: float) -> str:
    """Seconds in the largest unit that leaves a whole number."""
    for unit, factor in (("days", DAY), ("h", HOUR), ("min", MINUTE)):
        if duration_s and duration_s % factor == 0:
            return f"{duration_s / factor:,g} {unit}"
    return f"{duration_s:g} s"


# --- values that hold others ------------------------------------------------------------------------------------------------------------


def listed(reader: Reader, least: int, most: int, what: str) -> Reader:
    """A list of `least` to `most` values (`what`: "names") that `reader` takes, as a tuple."""
    count = f"{least}" if least == most else f"{least} to {most:,}"

    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise Unfit(expected=f"a list of {count} {what}")
        read_ones = []
        for place, each in enumerate(value):
            with within(place):
                read_ones.append(reader(each))
        return tuple(read_ones)

    return read


NAMES = listed(name, 1, 64, "names")  # of cameras or models


def holding(reader: Reader, rule: Callable[[Any], bool], expected: str) -> Reader:
    """What `reader` gives, where `rule` holds for it as a whole."""

    def read(value: Any) -> Any:
        found = reader(value)
        if not rule(found):
            raise Unfit(expected=expected)
        return found

    return read


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a table (`what`: "a camera"): key -> the field that it fills, and its reader. Those `needed` have no default."""

    what: str
    readers: Mapping[str, tuple[str, Reader]]
    needed: tuple[str, ...] = ()
    made: Callable[..., Any] = dict

    def __call__(self, value: Any) -> Any:
        """What is made of the fields that the table gives; absent keys are left to `made`.

        Raises:
            Unfit: an unknown key, one that is missing, a value that its reader refuses.
        """
        if not isinstance(value, dict):
            raise Unfit(expected="a table of keys")
        for key in value:
            if key not in self.readers:
                raise Unfit(said=f"is no key of {self.what}", within=(key,), **self._nearest(key))
        for key in self.needed:
            if key not in value:
                raise Unfit(said=f"has no {key}")
        found = {}
        for key, each in value.items():
            field, reader = self.readers[key]
            with within(key):
                found[field] = reader(each)
        return self.made(**found)

    def _nearest(self, key: str) -> dict[str, str]:
        near = difflib.get_close_matches(key[:64], self.readers, n=1)
        return {"fix": f"did you mean {near[0]}?"} if near else {"expected": f"one of {', '.join(self.readers)}"}
