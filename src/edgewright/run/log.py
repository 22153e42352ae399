"""The service's log: an event a line, for people or as JSON; journald and docker keep it. Credentials never reach it."""

import io
import json
import os
import select
import sys
from datetime import UTC, datetime
from typing import Any, Literal, TextIO, TypeAlias

from edgewright.printable import printable
from edgewright.run.records import Answer, Event, Record
from edgewright.run.secrets import hide_credentials

LogFormat: TypeAlias = Literal["text", "json"]
LONGEST_TEXT = 2000  # characters
PIECE = select.PIPE_BUF  # bytes that a pipe which can be written to takes without waiting: pipe(7)
MARKS = {"info": " ", "warning": "!", "error": "E"}


class Log:
    """Writes every event, and no answers: those are what outputs are for."""

    def __init__(self, log_format: LogFormat = "text", stream: TextIO | None = None) -> None:
        self._format = log_format
        self._stream = stream or sys.stderr
        self._is_torn = False
        self.left_out = 0  # events of which no line, or no whole one, was written

    def offer(self, record: Record) -> None:
        """Never fails and never waits: a log that nobody takes must not stop a line."""
        if isinstance(record, Answer):
            return
        line = json.dumps(_hidden(record.to_json())) if self._format == "json" else _line(record)
        try:
            is_whole = self._write(f"{line}\n")
        except (OSError, ValueError):
            is_whole = False
        self.left_out += not is_whole

    def _write(self, line: str) -> bool:
        """Whether all of it was taken."""
        try:
            descriptor = self._stream.fileno()
        except io.UnsupportedOperation:  # no file, and so nothing that waits
            self._stream.write(line)
            return True
        self._stream.flush()
        data = (f"\n{line}" if self._is_torn else line).encode(errors="backslashreplace")
        for at in range(0, len(data), PIECE):
            if not select.select([], [descriptor], [], 0)[1]:
                self._is_torn = self._is_torn or at > 0
                return False
            os.write(descriptor, data[at : at + PIECE])
        self._is_torn = False
        return True


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
