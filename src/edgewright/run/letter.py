"""A record on its way out: what a spool keeps of it and a sink sends, with what every sink would otherwise read out of it again."""

import json
import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from urllib.parse import quote

import numpy as np

from edgewright.run.records import Answer, Event, Record

Kind: TypeAlias = Literal["answer", "event"]
LONGEST_ID = 300  # characters


@dataclass(frozen=True, slots=True)
class Letter:
    """`id`: unique, printable ASCII, the same however often it is sent. `body`: a JSON object, UTF-8, without a newline."""

    id: str
    kind: Kind
    camera: str | None
    body: bytes

    def encode(self) -> bytes:
        """As a spool keeps it."""
        return json.dumps([self.id, self.kind, self.camera]).encode() + b"\n" + self.body

    @classmethod
    def decode(cls, data: bytes) -> "Letter | None":
        """What `encode` made of a letter, or nothing: a file is not believed to be what we wrote."""
        head, newline, body = data.partition(b"\n")
        try:
            number, kind, camera = json.loads(head)
        except (TypeError, ValueError, RecursionError):
            return None
        sound = isinstance(number, str) and number.isascii() and number.isprintable() and len(number) <= LONGEST_ID
        if not newline or not sound or kind not in ("answer", "event") or not (camera is None or isinstance(camera, str)):
            return None
        return cls(number, kind, camera, body)

    def to_json(self) -> dict[str, Any]:
        """The body, read.

        Raises:
            ValueError: it is no JSON object.
        """
        try:
            found = json.loads(self.body)
        except RecursionError:
            raise ValueError("nested too deep") from None
        if not isinstance(found, dict):
            raise ValueError("no JSON object")  # noqa: TRY004 - to the caller it is one: a body that cannot be read
        return found


def letter_of(record: Record) -> Letter:
    """The record as it leaves the house: its own JSON, begun with `record` (what it is) and `id`.

    An answer has no id of its own; who made it, when and of which frame names it, across restarts too.
    """
    if isinstance(record, Event):
        return _letter(_in_ascii(record.id), "event", record.camera, record.to_json())
    return _letter(_id_of(record), "answer", record.camera, record.to_json())


def _letter(number: str, kind: Kind, camera: str | None, document: dict[str, Any]) -> Letter:
    whole = {"record": kind, "id": number} | {key: value for key, value in document.items() if key != "id"}
    try:
        body = json.dumps(whole, ensure_ascii=False, allow_nan=False, default=_plain)
    except ValueError:  # NaN, which half the world's JSON readers refuse
        body = json.dumps(_finite(json.loads(json.dumps(whole, default=_plain))), ensure_ascii=False)
    return Letter(number, kind, camera, body.encode("utf-8", "replace"))


def _plain(value: Any) -> Any:
    """What JSON has no word for: a number of numpy's, or in words."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)


def _finite(value: Any) -> Any:
    """The same without NaN and infinities."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _id_of(answer: Answer) -> str:
    return _in_ascii(f"{answer.camera}.{answer.model}.{answer.frame}.{round(answer.captured_s * 1000)}")


def _in_ascii(text: str) -> str:
    """It goes into headers of HTTP."""
    return quote(text, safe="-._~:", errors="replace")[-LONGEST_ID:]
