"""What a service and its front say to each other that is more than a message holds: a document of JSON, cut into pieces.

    {"piece": text, "of": [which, how many]}

Pieces come in order and whole, for the channel keeps both; one of another document begins that.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from edgewright.run.front_settings import FrontSettings
from edgewright.run.secrets import Secret
from edgewright.run.settings import ServiceSettings

PIECE: Final = 24 << 10  # characters: as JSON within JSON at most twice as many bytes, and no more than a message holds
MOST_PIECES: Final = 4096


def pieces(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The document as messages."""
    text = json.dumps(document, separators=(",", ":"))
    cut = [text[at : at + PIECE] for at in range(0, len(text), PIECE)]
    return [{"piece": each, "of": [number, len(cut)]} for number, each in enumerate(cut)]


@dataclass(slots=True)
class Gathered:
    """The pieces that have come."""

    _parts: list[str] = field(default_factory=list)

    def take(self, words: Mapping[str, Any]) -> dict[str, Any] | None:
        """The document that is whole with this piece; None until then.

        Raises:
            KeyError, TypeError, ValueError: this is no piece, or not the next one.
        """
        number, count = words["of"]
        if number == 0:
            self._parts.clear()
        if number != len(self._parts) or not number < count <= MOST_PIECES:
            raise ValueError("not the next piece")
        self._parts.append(str(words["piece"]))
        if number + 1 < count:
            return None
        document = json.loads("".join(self._parts))
        self._parts.clear()
        if not isinstance(document, dict):
            raise TypeError("no document")
        return document


@dataclass(frozen=True, slots=True)
class FrontOrder:
    """What a front is to be. It holds a secret: it goes through the channel, never through arguments or the environment."""

    settings: FrontSettings
    service: str
    state: Path
    models: tuple[tuple[str, Path, int | None], ...]  # name, where, threads
    room_bytes: int

    @classmethod
    def of(cls, service: ServiceSettings, room_bytes: int) -> "FrontOrder":
        models = tuple((model.name, model.artifact.absolute(), model.threads) for model in service.models)
        return cls(service.http or FrontSettings(), service.name, service.state.absolute(), models, room_bytes)

    def to_json(self) -> dict[str, Any]:
        own = self.settings
        plain = asdict(own) | {
            "token": None if own.token is None else own.token.reveal(),
            **{name: None if path is None else str(path.absolute()) for name, path in (("certificate", own.certificate), ("key", own.key))},
        }
        models = [[name, str(path), threads] for name, path, threads in self.models]
        return {"settings": plain, "service": self.service, "state": str(self.state), "models": models, "room_bytes": self.room_bytes}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "FrontOrder":
        """What `to_json` gave."""
        plain = dict(fields["settings"])
        made = {
            "token": None if plain["token"] is None else Secret(plain["token"]),
            "names": tuple(plain["names"]),
            **{name: None if plain[name] is None else Path(plain[name]) for name in ("certificate", "key")},
        }
        models = tuple((name, Path(path), threads) for name, path, threads in fields["models"])
        return cls(FrontSettings(**(plain | made)), fields["service"], Path(fields["state"]), models, int(fields["room_bytes"]))
