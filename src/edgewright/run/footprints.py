"""What models were measured to take, kept in the state folder from one service to the next."""

import json
from contextlib import suppress
from pathlib import Path

from edgewright.artifact import FILE_NAME as ARTIFACT
from edgewright.errors import DiskError
from edgewright.regular_file import read_regular
from edgewright.run.memory import Footprint
from edgewright.run.settings import ModelSettings
from edgewright.whole_file import write_whole

FILE = "footprints.json"
MOST_BYTES = 1 << 20
MOST_KEPT = 200


def key_of(model: ModelSettings) -> str:
    """The model as it is now: another one at the same place is measured anew."""
    path = model.artifact
    with suppress(OSError):
        state = (path / ARTIFACT if path.is_dir() else path).stat()
        return f"{path} {state.st_size} {state.st_mtime_ns} {model.threads}"
    return f"{path} {model.threads}"


class RememberedFootprints:
    """A small file; one that is missing or damaged is as good as none."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._known = self._read()

    def recall(self, key: str) -> Footprint | None:
        return self._known.get(key)

    def remember(self, key: str, footprint: Footprint) -> None:
        """The larger of what was measured now and before; written only where that is new."""
        before = self._known.pop(key, None)
        kept = footprint if before is None else max(before, footprint, key=lambda each: each.total_bytes)
        self._known[key] = kept
        while len(self._known) > MOST_KEPT:
            del self._known[next(iter(self._known))]
        if kept != before:
            with suppress(DiskError):  # it is measured again next time
                write_whole(self._path, json.dumps({name: each.to_json() for name, each in self._known.items()}).encode())

    def _read(self) -> dict[str, Footprint]:
        try:
            fields = json.loads(read_regular(self._path, MOST_BYTES))
            return {str(name): Footprint.from_json(each) for name, each in fields.items()}
        except (OSError, ValueError, AttributeError, RecursionError):
            return {}
