"""A service's settings, from a service.toml or from what a command line names. Every complaint about a file has the line it is about.

>>> read_service(Path("service.toml"), os.environ)  # doctest: +SKIP
Traceback (most recent call last):
edgewright.errors.InputError: service.toml, line 14: camera "belt": fps = -3; expected a number above 0, at most 1,000
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgewright.errors import InputError
from edgewright.printable import printable
from edgewright.regular_file import read_regular, why
from edgewright.run.secret_places import SecretPlaces, literal_password, literal_secret
from edgewright.run.secrets import HIDDEN, hide_in_address
from edgewright.run.service_checks import check_together
from edgewright.run.service_layout import MOST_CAMERAS, MOST_MODELS, MOST_OUTPUTS, MOST_RULES, Layout, read_source
from edgewright.run.settings import (
    STATE,
    CameraSettings,
    FileOutput,
    ModelSettings,
    Output,
    RecordingOutput,
    ServiceSettings,
    StoreOutput,
)
from edgewright.run.toml_lines import Document, Where, read_toml
from edgewright.run.toml_values import Keys, Reader, Unfit, as_written, is_name, one_of, within

MOST_BYTES = 1 << 20
NOWHERE = Path()  # of an output that was told no place
SECRET_KEYS = frozenset({"password", "token", "user"})
TAKEN_FROM = "write ${NAME} in its place, and set NAME in the environment"


def read_service(path: Path, environment: Mapping[str, str]) -> ServiceSettings:
    """The service that a file describes; paths in it are relative to its folder, `${NAME}` is looked up in `environment`.

    Raises:
        InputError: the file cannot be read, or something in it is not as docs/reference/service.md says.
    """
    shown = printable(str(path), 200)
    document = _document(path, shown)
    layout = Layout.around(SecretPlaces(environment, path.parent.absolute()))
    try:
        settings = _service(document.values, layout, path.parent.absolute())
    except Unfit as unfit:
        raise InputError(
            f"{shown}, line {document.line(unfit.within)}: {_complaint(document.values, unfit)}", expected=unfit.expected, fix=unfit.fix
        ) from None  # what a reader was looking at may be secret
    return replace(settings, warnings=tuple(_warnings(document, settings, shown)))


def service_of(
    artifact: Path,
    cameras: Sequence[str],
    environment: Mapping[str, str],
    *,
    state: Path = STATE,
    memory_bytes: int | None = None,
    frames: int | None = None,
) -> ServiceSettings:
    """One model and some cameras, named by their sources; events are kept in an SQLite file and as lines of JSON in the state folder.

    Raises:
        InputError: a source is none, or there are no cameras, or too many.
    """
    if not 1 <= len(cameras) <= MOST_CAMERAS:
        raise InputError(f"{len(cameras)} cameras", expected=f"1 to {MOST_CAMERAS}, a --camera each")
    places = SecretPlaces(environment, Path.cwd())
    taken = []
    for number, source in enumerate(cameras, 1):
        try:
            address = read_source(source, places)
        except Unfit as unfit:
            complaint = f"--camera {as_written(source)}{f' {unfit.said}' if unfit.said else ''}"
            raise InputError(complaint, expected=unfit.expected, fix=unfit.fix) from None
        taken.append(CameraSettings("camera" if len(cameras) == 1 else f"camera-{number}", address))
    outputs = (StoreOutput("store", path=state / "events.sqlite"), FileOutput("events", folder=state / "outputs" / "events"))
    warnings = tuple(
        f"--camera {hide_in_address(source)}: who may list this machine's processes sees its password; {TAKEN_FROM}, in single quotes"
        for source in cameras
        if literal_password(source)
    )
    model = ModelSettings("model", artifact)
    return ServiceSettings(
        (model,), tuple(taken), outputs=outputs, state=state, memory_bytes=memory_bytes, frames=frames, warnings=warnings
    )


def _document(path: Path, shown: str) -> Document:
    try:
        content = read_regular(path, MOST_BYTES)
    except OSError as error:
        raise InputError(f"{shown} cannot be read", got=why(error), expected=f"a service.toml of at most {MOST_BYTES:,} bytes") from error
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{shown}, line {line}: bytes that are no UTF-8 text", fix="save the file as UTF-8") from None
    return read_toml(text, shown)


def _service(values: dict[str, Any], layout: Layout, folder: Path) -> ServiceSettings:
    """Raises Unfit; where, from the whole document."""
    sections: dict[str, tuple[str, Reader]] = {
        "service": ("service", layout.service),
        "govern": ("govern", layout.govern),
        "http": ("http", layout.http),
        "model": ("models", _several("model", layout.model, MOST_MODELS)),
        "camera": ("cameras", _several("camera", layout.camera, MOST_CAMERAS)),
        "rule": ("rules", _several("rule", _of_kind(layout.rules), MOST_RULES)),
        "output": ("outputs", _several("output", _of_kind(layout.outputs), MOST_OUTPUTS)),
    }
    found = Keys("a service.toml", sections, needed=("model", "camera"))(values)
    state = found.get("service", {}).pop("state", folder / STATE)
    outputs = tuple(_placed(output, state) for output in found.pop("outputs", ()))
    settings = ServiceSettings(**found.pop("service", {}), **found, outputs=outputs, state=state)
    check_together(values, settings)
    return settings


def _several(kind: str, reader: Reader, most: int) -> Reader:
    """Tables under [[kind]]."""

    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise Unfit(said="is not a list of tables", fix=f"write [[{kind}]] above the keys of each")
        if not value:
            raise Unfit(said="is empty", fix=f"write [[{kind}]] above the keys of each, or leave it out")
        if len(value) > most:
            raise Unfit(said="is one too many", expected=f"at most {most}", within=(most,))
        found = []
        for place, each in enumerate(value):
            with within(place):
                found.append(reader(each))
        return tuple(found)

    return read


def _of_kind(kinds: Mapping[str, Keys]) -> Reader:
    """A table whose `kind` says which keys it has."""

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise Unfit(expected="a table of keys")
        if "kind" not in value:
            raise Unfit(said="has no kind", expected=f"one of {', '.join(kinds)}")
        with within("kind"):
            kind = one_of(*kinds)(value["kind"])
        for key in value:
            owners = [f'"{other}"' for other, keys in kinds.items() if key in keys.readers]
            if key not in kinds[kind].readers and owners:
                raise Unfit(said=f"is no key of {kinds[kind].what}", fix=f"it belongs to kind = {' or '.join(owners)}", within=(key,))
        return kinds[kind](value)

    return read


def _placed(output: Output, state: Path) -> Output:
    """An output that was not told where to write does so in the state folder."""
    if isinstance(output, StoreOutput) and output.path == NOWHERE:
        return replace(output, path=state / "events.sqlite")
    if isinstance(output, FileOutput) and output.folder == NOWHERE:
        return replace(output, folder=state / "outputs" / output.name)
    if isinstance(output, RecordingOutput) and output.folder == NOWHERE:
        return replace(output, folder=state / "recordings" / output.name)
    return output


def _complaint(values: dict[str, Any], unfit: Unfit) -> str:
    """`camera "belt": fps = -3`, or with what is said instead of the value."""
    subject, rest = _subject(values, unfit.within)
    whose = f"{subject}: {_dotted(rest)}" if rest else subject
    if unfit.said:
        return f"{whose} {unfit.said}"
    value: Any = values
    for key in unfit.within:
        value = value[key]
    return f"{whose} = {HIDDEN if SECRET_KEYS & set(rest) else as_written(value)}"


def _subject(values: dict[str, Any], where: Where) -> tuple[str, Where]:
    """What of the service a place belongs to, and where in it."""
    if not where:
        return "the file", ()
    section = printable(str(where[0]), 64)
    if len(where) == 1 or not isinstance(where[1], int):
        return section, where[1:]
    table = values[section][where[1]]
    named = table.get("name") if isinstance(table, dict) else None
    return (f'{section} "{named}"' if is_name(named) else f"{section} {where[1] + 1}"), where[2:]


def _dotted(where: Where) -> str:
    """`motion.area`, `value 2 of polygon`."""
    found = ""
    for part in where:
        if isinstance(part, int):
            found = f"value {part + 1} of {found}"
        else:
            found = f"{found}.{printable(part, 64)}" if found else printable(part, 64)
    return found


def _warnings(document: Document, settings: ServiceSettings, shown: str) -> Iterator[str]:
    for section in ("camera", "output"):
        for place, table in enumerate(document.values.get(section, ())):
            for key in ("source", "url", "password", "token"):
                is_secret = literal_password if key in ("source", "url") else literal_secret
                if is_secret(table.get(key)):
                    holds = "its password" if key in ("source", "url") else "it"
                    line = document.line((section, place, key))
                    yield f'{shown}, line {line}: {section} "{table["name"]}": {key}: {holds} stands in the file; {TAKEN_FROM}'
    if literal_secret(document.values.get("http", {}).get("token")):
        yield f"{shown}, line {document.line(('http', 'token'))}: http: token: it stands in the file; {TAKEN_FROM}"
    if not settings.outputs:
        yield f"{shown}: there is no [[output]]: what is seen goes nowhere"
