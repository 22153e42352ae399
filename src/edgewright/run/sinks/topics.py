"""Which MQTT topics there are, and how Home Assistant is told of them. Pure: names in, topics and payloads out.

Under `PREFIX/SERVICE`: `status` (online, offline; retained), `events` (of no camera); under `PREFIX/SERVICE/CAMERA`: `events`, `answers`,
`last_event` (retained), `status` (online, offline; retained, once it is known).

Home Assistant: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery. A retained message a sensor on
`homeassistant/COMPONENT/NODE/OBJECT/config`, which every version understands.
"""

import json
import re
import zlib
from dataclasses import dataclass
from typing import Any, Final

from edgewright.printable import printable
from edgewright.run.letter import Letter
from edgewright.version import __version__

ONLINE: Final = b"online"
OFFLINE: Final = b"offline"
LONGEST_LEVEL = 100
_NOT_A_LEVEL: Final = re.compile(r"[/+#\x00-\x1f\x7f]")  # MQTT 3.1.1, 4.7.1 and 1.5.3
_NOT_AN_ID: Final = re.compile(r"[^a-zA-Z0-9_-]")


@dataclass(frozen=True, slots=True)
class Message:
    """What is published."""

    topic: str
    payload: bytes
    retain: bool = False


@dataclass(frozen=True, slots=True)
class Topics:
    """Those of one service. `prefix` may have several levels."""

    prefix: str
    service: str

    @property
    def base(self) -> str:
        levels = [_level(each) for each in self.prefix.split("/") if each]
        return "/".join([*levels, _level(self.service)])

    @property
    def status(self) -> str:
        return f"{self.base}/status"

    def of_camera(self, camera: str, what: str) -> str:
        return f"{self.base}/{_level(camera)}/{what}"

    def of_letter(self, letter: Letter) -> Message:
        """Where the letter goes."""
        what = f"{letter.kind}s"
        return Message(f"{self.base}/{what}" if letter.camera is None else self.of_camera(letter.camera, what), letter.body)

    def kept(self, letters: list[Letter]) -> list[Message]:
        """What is retained of these: each camera's last event, and whether it is there, where an event of it says so (`data.online`)."""
        last: dict[str, Message] = {}
        for letter in letters:
            if letter.kind != "event" or letter.camera is None:
                continue
            topic = self.of_camera(letter.camera, "last_event")
            last[topic] = Message(topic, letter.body, retain=True)
            online = _is_online(letter)
            if online is not None:
                topic = self.of_camera(letter.camera, "status")
                last[topic] = Message(topic, ONLINE if online else OFFLINE, retain=True)
        return list(last.values())


def discovery(topics: Topics, prefix: str, cameras: tuple[str, ...], *, answers: bool) -> list[Message]:
    """A device a camera: its last event, whether it is there, and, if answers are sent, how many boxes and how old they are."""
    messages = []
    for camera in cameras:
        for component, name, config in _sensors(topics, camera, answers=answers):
            node = f"edgewright_{_identity(topics.service)}_{_identity(camera)}"
            document = {
                "name": name.replace("_", " ").capitalize(),
                "unique_id": f"{node}_{name}",
                "availability_topic": topics.status,
                "device": {
                    "identifiers": [node],
                    "name": printable(f"{topics.service} {camera}"),
                    "manufacturer": "edgewright",
                    "model": "camera",
                    "sw_version": __version__,
                },
                "qos": 1,
                **config,
            }
            messages.append(Message(f"{prefix}/{component}/{node}/{name}/config", json.dumps(document).encode(), retain=True))
    return messages


def _sensors(topics: Topics, camera: str, *, answers: bool) -> list[tuple[str, str, dict[str, Any]]]:
    """Component, name, and what is particular to it."""
    event, status, answer = (topics.of_camera(camera, what) for what in ("last_event", "status", "answers"))
    about_events: list[tuple[str, str, dict[str, Any]]] = [
        # A state has at most 255 characters there, so it is the event's name; the whole event is in the attributes.
        ("sensor", "last_event", {"state_topic": event, "value_template": "{{ value_json.name[:255] }}", "json_attributes_topic": event}),
        (
            "binary_sensor",
            "camera",
            {"state_topic": status, "payload_on": "online", "payload_off": "offline", "device_class": "connectivity"},
        ),
    ]
    if not answers:
        return about_events
    return [
        *about_events,
        ("sensor", "objects", {"state_topic": answer, "value_template": "{{ value_json.scores | length }}", "state_class": "measurement"}),
        (
            "sensor",
            "frame_age",
            {
                "state_topic": answer,
                "value_template": "{{ value_json.age_ms }}",
                "unit_of_measurement": "ms",
                "state_class": "measurement",
                "entity_category": "diagnostic",
            },
        ),
    ]


def _level(name: str) -> str:
    """A name as one level of a topic. `$` at the very beginning is the broker's own."""
    level = _NOT_A_LEVEL.sub("_", name)[:LONGEST_LEVEL].encode("utf-8", "replace").decode()
    return f"_{level[1:]}" if level.startswith("$") else level or "_"


def _identity(name: str) -> str:
    """A name in the characters that Home Assistant allows; two that differ stay apart."""
    plain = _NOT_AN_ID.sub("_", name)
    return plain if plain == name else f"{plain[:40]}_{zlib.crc32(name.encode('utf-8', 'replace')):08x}"


def _is_online(letter: Letter) -> bool | None:
    try:
        event = letter.to_json()
    except ValueError:
        return None
    data = event.get("data")
    online = data.get("online") if event.get("kind") == "camera" and isinstance(data, dict) else None
    return online if isinstance(online, bool) else None
