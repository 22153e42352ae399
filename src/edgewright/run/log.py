"""The service's log: an event a line, for people or as JSON; journald and docker keep it. Credentials never reach it."""

import json
import sys
from datetime import UTC, datetime
from typing import Any, Literal, TextIO, TypeAlias

from edgewright.printable import printable
from edgewright.run.records import Answer, Event, Record
from edgewright.run.secrets import hide_credentials

LogFormat: TypeAlias = Literal["text", "json"]
LONGEST_TEXT = 2000  # characters
MARKS = {"info": " ", "warning": "!", "error": "E"}


class Log:
    """Writes every event, and no answers: those are what outputs are for."""

    def __init__(self, log_format: LogFormat = "text", stream: TextIO | None = None) -> None:
        self._format = log_format
        self._stream = stream or sys.stderr

    def offer(self, record: Record) -> None:
        """Never fails: a log that cannot be written must not stop a line."""
        if isinstance(record, Answer):
            return
        line = json.dumps(_hidden(record.to_json())) if self._format == "json" else _line(record)
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except (OSError, ValueError):
            return


def _line(event: Event) -> str:
    when = datetime.fromtimestamp(event.time_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    text = printable(hide_credentials(f"{event.kind} {event.name}: {event.text}"), LONGEST_TEXT)
    words = [printable(hide_credentials(str(word)), 300) for word in event.data.get("last_words", ())]
    return "\n".join([f"{when} {MARKS[event.severity]} {text}", *(f"{'':24}   | {word}" for word in words)])


def _hidden(value: Any) -> Any:
    if isinstance(value, str):
        return printable(hide_credentials(value), LONGEST_TEXT)
    if isinstance(value, dict):
        return {_hidden(str(key)): _hidden(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_hidden(each) for each in value]
    return value if value is None or isinstance(value, bool | int | float) else _hidden(str(value))
