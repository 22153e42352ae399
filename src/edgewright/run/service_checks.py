"""What the parts of a service must be to each other: names given once, references that lead somewhere, keys that go together."""

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from edgewright.run.http_layout import check_http
from edgewright.run.secrets import Address
from edgewright.run.settings import (
    CameraSettings,
    FileOutput,
    ModelSettings,
    MqttOutput,
    Output,
    RecordingOutput,
    ServiceSettings,
    StoreOutput,
)
from edgewright.run.source_forms import source_kind
from edgewright.run.toml_lines import Where
from edgewright.run.toml_values import Unfit

# What only some sources have: key, field, the kinds of source, and what those are called.
ONLY_OF = (
    ("transport", "transport", ("rtsp",), "an rtsp:// source"),
    ("size", "size_wh", ("usb", "csi"), "a USB or CSI camera"),
    ("loop", "loop", ("file", "folder"), "a file or folder"),
    ("watch", "watch", ("folder",), "a folder"),
)
UNTOLD = CameraSettings("", Address(""))  # a camera that was told nothing


class _Named(Protocol):
    @property
    def name(self) -> str: ...


def check_together(values: Mapping[str, Any], settings: ServiceSettings) -> None:
    """`settings` as they were made of `values`, the tables of a file in the same order.

    Raises:
        Unfit: something does not go together; where, from `values`.
    """
    sections: dict[str, Sequence[_Named]] = {
        "model": settings.models,
        "camera": settings.cameras,
        "rule": settings.rules,
        "output": settings.outputs,
    }
    for section, named in sections.items():
        _names_differ(section, named)
    cameras, models = [each.name for each in settings.cameras], [each.name for each in settings.models]
    for place, model in enumerate(settings.models):
        _lighter_differ(model, ("model", place, "lighter"))
    for place, camera in enumerate(settings.cameras):
        _known("model", models, camera.models, ("camera", place, "models"))
        _goes_with_source(camera, ("camera", place))
    for place, rule in enumerate(settings.rules):
        _known("camera", cameras, rule.cameras, ("rule", place, "cameras"))
        _known("model", models, rule.models, ("rule", place, "models"))
        untracked = [each.name for each in settings.cameras if not each.tracking and (not rule.cameras or each.name in rule.cameras)]
        if rule.kind == "line" and untracked:
            raise Unfit(said=f'needs tracking, which camera "{untracked[0]}" has switched off', within=("rule", place))
    for place, output in enumerate(settings.outputs):
        _known("camera", cameras, output.cameras, ("output", place, "cameras"))
        _goes_together(values["output"][place], output, ("output", place))
    _write_apart(settings.outputs)
    if settings.http is not None:
        check_http(values["http"], settings.http)


def _names_differ(section: str, named: Iterable[_Named]) -> None:
    seen: set[str] = set()
    for place, each in enumerate(named):
        if each.name in seen:
            raise Unfit(expected=f"a name that no other {section} has", within=(section, place, "name"))
        seen.add(each.name)


def _known(section: str, known: Sequence[str], named: Sequence[str], where: Where) -> None:
    for place, name in enumerate(named):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            expected = f"the name of a {section}: {', '.join(known[:8])}{', ...' if len(known) > 8 else ''}"
            raise Unfit(expected=expected, fix=f"did you mean {near[0]}?" if near else None, within=(*where, place))


def _lighter_differ(model: ModelSettings, where: Where) -> None:
    """Each artifact of a model is another one."""
    seen = {os.path.normpath(model.artifact)}
    for place, lighter in enumerate(model.lighter):
        if os.path.normpath(lighter) in seen:
            raise Unfit(expected="an artifact that the model does not have yet", within=(*where, place))
        seen.add(os.path.normpath(lighter))


def _goes_with_source(camera: CameraSettings, where: Where) -> None:
    kind = source_kind(camera.source.reveal())
    for key, field, kinds, called in ONLY_OF:
        if kind not in kinds and getattr(camera, field) != getattr(UNTOLD, field):
            raise Unfit(said=f"is only for {called}", within=(*where, key))


def _goes_together(table: Mapping[str, Any], output: Output, where: Where) -> None:
    for secret in ("password", "token"):
        if secret in table and f"{secret}_file" in table:
            raise Unfit(said=f"stands beside {secret}", expected="one of the two", within=(*where, f"{secret}_file"))
    if isinstance(output, MqttOutput) and output.password and output.user is None:  # [MQTT-3.1.2-22]
        raise Unfit(said="has a password, but no user", within=where)
    if isinstance(output, FileOutput) and output.rotate_bytes > output.most_bytes:
        raise Unfit(expected=f"no more than most, {output.most_bytes:,} bytes", within=(*where, "rotate" if "rotate" in table else "most"))


def _write_apart(outputs: Iterable[Output]) -> None:
    """No two outputs write to one place."""
    taken: dict[str, str] = {}
    for place, output in enumerate(outputs):
        if isinstance(output, StoreOutput | FileOutput | RecordingOutput):
            key, path = ("path", output.path) if isinstance(output, StoreOutput) else ("folder", output.folder)
            other = taken.setdefault(os.path.normpath(path), output.name)
            if other != output.name:
                raise Unfit(said=f'writes where output "{other}" does', fix=f"give it another {key}", within=("output", place))
