"""Models that nobody thought of: a detector with a few things changed anywhere in it, or a few bytes of its file.

`mutate(detector, seed)` is the same bytes for the same seed, so that a seed is all one needs to write down of a crash.
"""

import random

import onnx

HOSTILE = (
    "",
    "\x1b[2J",
    "../../x",
    "<script>",
    "x" * 5000,
    "\u202e",
    "0",
    "-1",
    "NaN",
    "Conv",
    "If",
    "Loop",
    "Reshape",
    "ai.onnx",
    "com.microsoft",
)
INTEGERS = (0, 1, -1, 2, 3, 7, 127, 255, 2**15, 2**16, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, -(2**63), -(2**31))
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e38, -1e38, float("inf"), float("-inf"), float("nan"))
NAMED_OFTEN = {"name", "input", "output", "op_type", "domain", "key", "value", "location"}


def mutate(detector: bytes, seed: int) -> bytes:
    """The detector with one to four changes: two times in three in its structure, else in its bytes."""
    rng = random.Random(seed)
    if rng.random() < 1 / 3:
        return _bytes_changed(detector, rng)
    model = onnx.ModelProto.FromString(detector)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        _change_somewhere(model, rng)
    return model.SerializeToString()


# --- in the structure ---------------------------------------------------------------------------------------------------------------------


def _change_somewhere(model: onnx.ModelProto, rng: random.Random) -> None:
    """Messages of a kind are as likely together as those of any other kind, so that the one input is met as often as a thousand names."""
    kinds: dict[str, list] = {}
    for message in _messages(model):
        kinds.setdefault(message.DESCRIPTOR.name, []).append(message)
    same = kinds[rng.choice(sorted(kinds))]
    message = rng.choice(same)
    field = rng.choice(list(message.DESCRIPTOR.fields))
    if field.is_repeated:
        _change_list(getattr(message, field.name), field, same, rng)
    elif field.type == field.TYPE_MESSAGE:
        _change_message(message, field, same, rng)
    else:
        setattr(message, field.name, _other(field, getattr(message, field.name), same, rng))


def _messages(message):
    yield message
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for inner in value if field.is_repeated else (value,):
                yield from _messages(inner)


def _change_list(held, field, same, rng: random.Random) -> None:
    """Drop, double, swap, add or replace an element."""
    how = rng.choice(("drop", "double", "swap", "add", "change", "empty"))
    at = rng.randrange(len(held)) if held else 0
    if how == "empty":
        del held[:]
    elif how == "drop" and held:
        del held[at]
    elif field.type == field.TYPE_MESSAGE:
        _change_messages(held, at, how, field, same, rng)
    elif how == "change" and held:
        held[at] = _other(field, held[at], same, rng)
    elif how == "swap" and held:
        other = rng.randrange(len(held))
        held[at], held[other] = held[other], held[at]
    else:
        held.append(_other(field, held[at] if held else _plain(field), same, rng))


def _change_messages(held, at: int, how: str, field, same, rng: random.Random) -> None:
    elsewhere = [each for message in same for each in getattr(message, field.name)]
    if how == "swap" and held:
        copies = [type(each).FromString(each.SerializeToString()) for each in held]
        copies.insert(rng.randrange(len(copies)), copies.pop(at))
        del held[:]
        held.extend(copies)
    elif how == "change" and held and elsewhere:
        held[at].CopyFrom(rng.choice(elsewhere))
    elif elsewhere:
        held.add().CopyFrom(rng.choice(elsewhere))
    else:
        held.add()


def _change_message(message, field, same, rng: random.Random) -> None:
    """Take it out, or put in one from elsewhere, or an empty one."""
    others = [getattr(other, field.name) for other in same if other.HasField(field.name)]
    if rng.random() < 0.4 or not others:
        if message.HasField(field.name):
            message.ClearField(field.name)
        else:
            getattr(message, field.name).SetInParent()
    else:
        getattr(message, field.name).CopyFrom(rng.choice(others))


def _plain(field):
    kinds = {field.CPPTYPE_STRING: b"" if field.type == field.TYPE_BYTES else "", field.CPPTYPE_FLOAT: 0.0, field.CPPTYPE_DOUBLE: 0.0}
    return kinds.get(field.cpp_type, 0)


def _other(field, value, same, rng: random.Random):
    """Another value of the field's type: an extreme, a neighbour, or what the same field holds elsewhere."""
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return rng.choice(FLOATS)
    if field.type == field.TYPE_BYTES:
        return rng.choice((b"", value[:-1], value + b"\0", value[::-1], bytes(len(value)), b"\xff" * len(value)))
    if field.cpp_type == field.CPPTYPE_STRING:
        values = [
            each for message in same for each in ([getattr(message, field.name)] if not field.is_repeated else getattr(message, field.name))
        ]
        return rng.choice(values) if values and (field.name in NAMED_OFTEN and rng.random() < 0.7) else rng.choice(HOSTILE)
    if field.cpp_type == field.CPPTYPE_ENUM:
        return rng.choice([number.number for number in field.enum_type.values])
    number = rng.choice((*INTEGERS, value + 1, value - 1, value * 2, -value))
    low, high = (
        (-(2**63), 2**63 - 1)
        if field.cpp_type == field.CPPTYPE_INT64
        else (0, 2**64 - 1)
        if field.cpp_type == field.CPPTYPE_UINT64
        else (-(2**31), 2**31 - 1)
    )
    return min(max(number, low), high)


# --- in the bytes -------------------------------------------------------------------------------------------------------------------------


def _bytes_changed(detector: bytes, rng: random.Random) -> bytes:
    data = bytearray(detector)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        at = rng.randrange(len(data))
        how = rng.choice(("set", "flip", "insert", "drop", "splice", "longest", "zero"))
        if how == "set":
            data[at] = rng.randrange(256)
        elif how == "flip":
            data[at] ^= 1 << rng.randrange(8)
        elif how == "insert":
            data[at:at] = rng.randbytes(rng.randrange(1, 8))
        elif how == "drop":
            del data[at : at + rng.randrange(1, 8)]
        elif how == "splice":
            start = rng.randrange(len(data))
            data[at:at] = data[start : start + rng.randrange(1, 200)]
        elif how == "longest":
            data[at : at + 10] = b"\xff" * rng.randrange(1, 10) + b"\x7f"
        else:
            data[at : at + 8] = bytes(8)
        if not data:
            return b"\0"
    return bytes(data)
