"""What an exporter says about a detector beside the graph: class names, picture size, stride.

Ultralytics writes Python literals (`{0: 'person'}`) where JSON would do. The text is a stranger's, so it is bounded first, parsed as a
literal and never evaluated, and believed only where it has the expected form; otherwise there is no answer.
"""

import ast
import json
import math
import re
import warnings

import onnx

from edgewright.printable import printable

MAX_NAMES_CHARACTERS = 64 * 1024
MAX_SIDE = 65_536
RANGES_KEY = "edgewright.ranges"  # what quantization-aware training leaves for whoever quantizes: tensor -> [low, high]
MAX_RANGES_CHARACTERS = 4 << 20
LARGEST_VALUE = 1e6
SIDE = re.compile(r"\s*(\d{1,5})\s*", re.ASCII)
SIDES = re.compile(r"\s*[\[(]\s*(\d{1,5})\s*(?:,\s*(\d{1,5})\s*)?,?\s*[\])]\s*", re.ASCII)


def metadata_value(model: onnx.ModelProto, key: str) -> str | None:
    """The first entry of that key."""
    return next((entry.value for entry in model.metadata_props if entry.key == key), None)


def class_names(model: onnx.ModelProto) -> tuple[str, ...] | None:
    """The classes in order of their number, printable; None where there are none that can be read."""
    return parse_names(metadata_value(model, "names") or "")


def image_size(model: onnx.ModelProto) -> tuple[int, int] | None:
    """Width and height of the picture, which the metadata gives as [height, width] or as one side."""
    return parse_size(metadata_value(model, "imgsz") or "")


def trained_ranges(model: onnx.ModelProto) -> dict[str, tuple[float, float]]:
    """The ranges that the network was trained to be quantized with, by tensor; empty where it was not, or says so in no way we know."""
    text = metadata_value(model, RANGES_KEY) or ""
    try:
        parsed = json.loads(text) if 0 < len(text) <= MAX_RANGES_CHARACTERS else {}
        return {name: _range(values) for name, values in parsed.items()}
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return {}


def _range(values: object) -> tuple[float, float]:
    if not isinstance(values, list) or len(values) != 2 or not all(isinstance(each, int | float) for each in values):
        raise TypeError("no range")
    low, high = float(values[0]), float(values[1])
    if not (math.isfinite(low) and math.isfinite(high) and -LARGEST_VALUE <= low <= 0 <= high <= LARGEST_VALUE and low < high):
        raise ValueError("no range that holds zero")
    return low, high


def declared_stride(model: onnx.ModelProto) -> int | None:
    """The coarsest stride of the head."""
    size = parse_size(metadata_value(model, "stride") or "")
    return size[0] if size is not None and size[0] == size[1] else None


def parse_names(text: str) -> tuple[str, ...] | None:
    """Names from a literal dict, numbered 0 to n - 1, or from a literal list."""
    return _listed(_literal(text)) if 0 < len(text) <= MAX_NAMES_CHARACTERS else None


def parse_size(text: str) -> tuple[int, int] | None:
    """Width and height from `[height, width]` or `side`."""
    found = (SIDE.fullmatch(text) or SIDES.fullmatch(text)) if len(text) <= 64 else None
    if found is None:
        return None
    sides = [int(side) for side in found.groups() if side is not None]
    high, wide = sides[0], sides[-1]
    return (wide, high) if 0 < wide <= MAX_SIDE and 0 < high <= MAX_SIDE else None


def _literal(text: str) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a stray backslash in a name is a SyntaxWarning of our process otherwise
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None


def _listed(parsed: object) -> tuple[str, ...] | None:
    if isinstance(parsed, dict):
        numbered = {_number(key): name for key, name in parsed.items()}
        if set(numbered) != set(range(len(parsed))):
            return None
        parsed = [numbered[index] for index in range(len(parsed))]
    if not isinstance(parsed, list | tuple) or not parsed or not all(isinstance(name, str) for name in parsed):
        return None
    return tuple(printable(name) for name in parsed)


def _number(key: object) -> int | None:
    """Class numbers are ints, or strings where the literal was JSON; True is an int to Python, not to us."""
    if isinstance(key, str) and key.isascii() and key.isdigit() and len(key) <= 6:
        return int(key)
    return key if isinstance(key, int) and not isinstance(key, bool) else None
