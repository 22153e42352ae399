"""What to do to a network, as people write it: `swap,prune=0.4,qat`.

A word a change, in the order in which they are made; each may have a value behind `=`, and how many passes over the frames it takes to
learn behind `@`.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from edgewright.errors import InputError
from edgewright.learn.changes import Change, PruneChannels, QuantizeAware, Shrink, SwapActivation
from edgewright.printable import printable

MOST_EPOCHS = 1000.0
MOST_CHANGES = 16
LARGEST_SIDE = 8192
KNOWN = "swap, swap=hardswish, prune=0.4 (share of multiply-adds), prune=0.4t (share of time), shrink=512 (pixels of width), qat"
EXPECTED = f"changes separated by commas: {KNOWN}; @4 behind one trains it for 4 passes over the frames"


def parse_recipe(text: str) -> tuple[Change, ...]:
    """The changes that `text` names.

    Raises:
        InputError: a word is none that we know, or its value is none that it takes.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not 0 < len(words) <= MOST_CHANGES:
        raise InputError("--recipe names no changes", got=printable(text, 80) or "nothing", expected=EXPECTED)
    return tuple(_change(word) for word in words)


def _change(word: str) -> Change:
    told, _, epochs = word.partition("@")
    name, _, value = told.partition("=")
    if name not in MAKERS:
        raise InputError(f"--recipe names a change that does not exist: {printable(word, 40)}", expected=EXPECTED)
    try:
        change = MAKERS[name](value)
        return change if not epochs else replace(change, epochs=_number(epochs, 0.01, MOST_EPOCHS))  # type: ignore[type-var]
    except ValueError as error:
        raise InputError(f"--recipe cannot be read at {printable(word, 40)}", got=str(error), expected=EXPECTED) from error


def _swap(value: str) -> Change:
    if value not in ("", "relu", "hardswish"):
        raise ValueError(f"no activation {printable(value, 40)!r}")
    return SwapActivation("hardswish" if value == "hardswish" else "relu")


def _prune(value: str) -> Change:
    by_time = value.endswith("t")
    return PruneChannels(_number(value.removesuffix("t") or "0.4", 0.01, 0.95), by_time=by_time)


def _shrink(value: str) -> Change:
    if not (value.isascii() and value.isdecimal() and 0 < int(value) <= LARGEST_SIDE):
        raise ValueError(f"no width {printable(value, 40)!r}")
    return Shrink(int(value))


def _qat(value: str) -> Change:
    if value:
        raise ValueError("qat takes no value")
    return QuantizeAware()


def _number(text: str, least: float, most: float) -> float:
    try:
        found = float(text)
    except ValueError:
        raise ValueError(f"no number {printable(text, 40)!r}") from None
    if not least <= found <= most:
        raise ValueError(f"{found:g}, which is not between {least:g} and {most:g}")
    return found


MAKERS: Mapping[str, Callable[[str], Change]] = {"swap": _swap, "prune": _prune, "shrink": _shrink, "qat": _qat}
