"""The tables of a service.toml's outputs: the keys of every kind. docs/reference/service.md says the same in words."""

from collections.abc import Callable
from typing import Any

from edgewright.regular_file import is_regular
from edgewright.run.secret_places import SecretPlaces
from edgewright.run.secrets import Address
from edgewright.run.settings import FileOutput, MqttOutput, RecordingOutput, SpoolSettings, StoreOutput, WebhookOutput
from edgewright.run.source_forms import is_host, is_url
from edgewright.run.toml_values import (
    DAY,
    KIB,
    MIB,
    MINUTE,
    NAMES,
    TIB,
    Keys,
    Reader,
    Unfit,
    duration,
    flag,
    holding,
    listed,
    matching,
    name,
    number,
    one_of,
    size,
    text,
    whole,
)

_topic = matching(r"[^#+/\s$\0][^#+\s\0]{0,126}(?<!/)", "a topic without + # and blanks, and without a / at its ends")  # MQTT 3.1.1, 4.7


def output_kinds(places: SecretPlaces, path: Reader) -> dict[str, Keys]:
    """The keys of an [[output]], by its kind; `path` reads the path of a file or folder."""
    kept = size(MIB, 1024 * TIB)
    files = {"folder": ("folder", path), "rotate": ("rotate_bytes", size(64 * KIB, TIB)), "most": ("most_bytes", kept)}
    mqtt = {
        "host": ("host", holding(text, is_host, "the name or address of a machine, without a port")),
        "port": ("port", whole(1, 65_535)),
        "tls": ("tls", flag),
        "ca_file": ("ca_file", holding(path, is_regular, "a file of certificates that is there")),
        "user": ("user", places.filled),
        "password": ("password", places.secret),
        "password_file": ("password", places.secret_file),
        "prefix": ("prefix", _topic),
        "discovery_prefix": ("discovery_prefix", _discovery),
        "keepalive": ("keepalive_s", duration(5, 65_535)),  # MQTT 3.1.1, 3.1.2.10: 16 bits of seconds
    }
    webhook = {
        "url": ("url", lambda value: _web_address(value, places)),
        "token": ("token", places.secret),
        "token_file": ("token", places.secret_file),
        "batch": ("batch", whole(1, 1000)),
        "timeout": ("timeout_s", duration(0.1, 10 * MINUTE)),
    }
    recording = {
        "folder": ("folder", path),
        "encoder": ("encoder", matching(r"[A-Za-z0-9_-]{1,64}", "auto, or the name of an encoder")),
        "fps": ("fps", number(above=0, most=120)),
        "annotated": ("annotated", flag),
        "segment": ("segment_s", duration(1, DAY)),
        "most": ("most_bytes", kept),
    }
    store = {"path": ("path", path), "keep": ("keep_days", _days), "most": ("most_bytes", kept)}
    return {
        "jsonl": _output("jsonl", files, lambda **fields: FileOutput(format="jsonl", **fields)),
        "csv": _output("csv", files, lambda **fields: FileOutput(format="csv", **fields)),
        "sqlite": _output("sqlite", store, StoreOutput),
        "mqtt": _output("mqtt", mqtt, MqttOutput),
        "webhook": _output("webhook", webhook, WebhookOutput, "url"),
        "recording": _output("recording", recording, RecordingOutput, of_records=False),
    }


def _output(kind: str, own: dict[str, tuple[str, Reader]], made: Callable[..., Any], *needed: str, of_records: bool = True) -> Keys:
    records = listed(one_of("answers", "events"), 1, 2, "words, answers or events or both")
    taken = {"records": ("records", records), "spool": ("spool", _spool)} if of_records else {}
    common = {"name": ("name", name), "cameras": ("cameras", NAMES), **taken}

    def without_kind(**fields: Any) -> Any:
        fields.pop("kind", None)
        return made(**fields)

    return Keys(f'an output of kind = "{kind}"', {"kind": ("kind", text), **common, **own}, needed=("name", *needed), made=without_kind)


def _spool(value: Any) -> SpoolSettings:
    return SpoolSettings(size(64 * KIB, TIB)(value))


def _days(value: Any) -> float:
    return float(duration(MINUTE, 36_500 * DAY)(value)) / DAY


def _discovery(value: Any) -> str | None:
    return None if value is False else str(_topic(value))


def _web_address(value: Any, places: SecretPlaces) -> Address:
    def resolved(url: str) -> str:
        if not is_url(url, "http", "https"):
            raise Unfit(expected="http:// or https:// with a host")
        return url

    return places.address(value, resolved)
