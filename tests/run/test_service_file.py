"""A service.toml is what its page says, or one sentence with the line."""

import os
import re
import sys
import time
import tomllib
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import edgewright
from edgewright.errors import InputError
from edgewright.run.secret_places import SecretPlaces
from edgewright.run.secrets import Address, Secret
from edgewright.run.service_file import read_service, service_of
from edgewright.run.service_layout import Layout
from edgewright.run.settings import (
    GIB,
    MIB,
    CameraSettings,
    FileOutput,
    GovernSettings,
    ModelSettings,
    MotionSettings,
    MqttOutput,
    RecordingOutput,
    RuleSettings,
    ServiceSettings,
    SpoolSettings,
    StoreOutput,
    WebhookOutput,
)

sys.path.append(str(Path(__file__).parents[1] / "data"))
from text_mutations import mutated  # found in another folder of tests

PAGE = Path(edgewright.__file__).parents[2] / "docs/reference/service.md"
ENVIRONMENT = {"BELT_PASSWORD": "p@ss/w:rd", "HOOK": "T0/xyzzy"}
SMALLEST = '[[model]]\nname = "m"\nartifact = "fitted"\n[[camera]]\nname = "c"\nsource = 0\n'


def page_example() -> str:
    return re.search(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[1]


@pytest.fixture
def place(tmp_path):
    """A folder with what files of services name."""
    (tmp_path / "fitted").mkdir()
    (tmp_path / "yolo.onnx").touch()
    (tmp_path / "line.mp4").touch()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "ca.pem").touch()
    (tmp_path / "mqtt.password").write_text("hunter2\nsecond line\n")
    (tmp_path / "mqtt.password").chmod(0o600)
    return tmp_path


def read(place, text, environment=ENVIRONMENT):
    path = place / "service.toml"
    path.write_text(text) if isinstance(text, str) else path.write_bytes(text)
    return read_service(path, environment)


def refusal(place, text, environment=ENVIRONMENT):
    """The sentence, without the folder."""
    with pytest.raises(InputError) as caught:
        read(place, text, environment)
    error = caught.value
    assert error.exit_code == 2
    assert error.__cause__ is None or not isinstance(error.__cause__, ValueError) or "TOML" in type(error.__cause__).__name__
    return str(error).replace(f"{place}/", "")


# --- what is read -----------------------------------------------------------------------------------------------------------------------


def test_the_example_of_the_page(place):
    found = read(place, page_example())
    state = Path("/var/lib/edgewright")
    assert found == ServiceSettings(
        name="line-3",
        state=state,
        memory_bytes=600 * MIB,
        disk_bytes_a_day=2 * 10**9,
        models=(ModelSettings("defects", place / "fitted"),),
        cameras=(
            CameraSettings(
                "belt",
                Address("rtsp://viewer:p%40ss%2Fw%3Ard@10.0.0.9:554/stream2", "rtsp://viewer:${BELT_PASSWORD}@10.0.0.9:554/stream2"),
                fps=10.0,
                region=(0.1, 0.0, 0.9, 1.0),
                motion=MotionSettings(area=0.005, at_least_every_s=5.0),
            ),
            CameraSettings("gate", Address("0"), size_wh=(1280, 720), models=("defects",)),
        ),
        rules=(
            RuleSettings(
                "scratch",
                "zone",
                cameras=("belt",),
                classes=("scratch", "dent"),
                score=0.4,
                polygon=((0.2, 0.1), (0.8, 0.1), (0.8, 0.9), (0.2, 0.9)),
                frames_of=(3, 5),
                again_after_s=30.0,
            ),
            RuleSettings("parts", "line", cameras=("gate",), line=((0.5, 0.0), (0.5, 1.0))),
        ),
        outputs=(
            StoreOutput("store", path=state / "events.sqlite", keep_days=90.0, most_bytes=GIB),
            MqttOutput(
                "broker",
                host="mqtt.plant.example",
                port=8883,
                tls=True,
                user="edgewright",
                password=Secret("hunter2"),
                spool=SpoolSettings(128 * MIB),
            ),
            WebhookOutput("shift-lead", url=Address("https://hooks.example/T0/xyzzy", "https://hooks.example/${HOOK}"), cameras=("belt",)),
            RecordingOutput("film", folder=state / "recordings/film", cameras=("gate",), segment_s=600.0, most_bytes=8 * GIB),
        ),
    )
    assert not re.search("hunter2|xyzzy|p@ss|p%40ss", repr(found))


def test_a_model_and_a_camera_are_enough(place):
    found = read(place, SMALLEST)
    expected = ServiceSettings(
        (ModelSettings("m", place / "fitted"),), (CameraSettings("c", Address("0")),), state=place / "edgewright-state"
    )
    assert replace(found, warnings=()) == expected
    assert found.warnings == (f"{place}/service.toml: there is no [[output]]: what is seen goes nowhere",)


@pytest.mark.parametrize(
    ("written", "source"),
    [
        ("0", "0"),
        ('"12"', "12"),
        ('"/dev/video0"', "/dev/video0"),
        ('"/dev/v4l/by-id/usb-046d_HD-video-index0"', "/dev/v4l/by-id/usb-046d_HD-video-index0"),
        ('"csi:1"', "csi:1"),
        ('"rtsp://cam/"', "rtsp://cam/"),
        ('"RTSPS://user:p@ss:w@[fe80::1]:8554/a?b#c"', "RTSPS://user:p@ss:w@[fe80::1]:8554/a?b#c"),
        ('"http://cam_1.local:8080/video.mjpg"', "http://cam_1.local:8080/video.mjpg"),
        ('"${SOURCE}"', "rtsp://u:a/b@cam"),
        ('"rtsp://${HOST}/${PATH}?k=${KEY}"', "rtsp://cam:554/a/b?k=a%26b"),
        ('"rtsp://${KEY}:x${KEY}y@cam/"', "rtsp://a%26b:xa%26by@cam/"),
        ('"line.mp4"', "PLACE/line.mp4"),
        ('"./pictures"', "PLACE/pictures"),
        ('"../{here}/pictures/"', "PLACE/../{here}/pictures"),
        ('"${FILE}"', "PLACE/line.mp4"),
    ],
)
def test_sources(place, written, source):
    environment = {"SOURCE": "rtsp://u:p@cam", "HOST": "cam:554", "PATH": "a/b", "KEY": "a&b", "FILE": "line.mp4"}
    source = source.replace("rtsp://u:a/b@cam", "rtsp://u:p@cam").replace("PLACE", str(place)).replace("{here}", place.name)
    text = SMALLEST.replace("source = 0", f"source = {written.replace('{here}', place.name)}")
    assert read(place, text, environment).cameras[0].source.reveal() == source


@pytest.mark.parametrize(
    ("key", "written", "field", "value"),
    [
        ("stall", "5", "stall_s", 5.0),
        ("stall", "1.5", "stall_s", 1.5),
        ("stall", '"1500 ms"', "stall_s", 1.5),
        ("stall", '"20s"', "stall_s", 20.0),
        ("stall", '"5 min"', "stall_s", 300.0),
        ("stall", '"0.5 h"', "stall_s", 1800.0),
        ("stall", '"1 day"', "stall_s", 86400.0),
        ("motion", "true", "motion", MotionSettings()),
        ("motion", "false", "motion", None),
        ("motion", "{ change = 30 }", "motion", MotionSettings(change=30)),
        ("motion.area", "1", "motion", MotionSettings(area=1.0)),
        ("live", "false", "live", False),
        ("tracking", "false", "tracking", False),
        ("reader", '"ffmpeg"', "reader", "ffmpeg"),
        ("transport", '"tcp"', "transport", "tcp"),
        ("loop", "false", "loop", False),
        ("fps", "0.1", "fps", 0.1),
    ],
)
def test_ways_to_write_a_value(place, key, written, field, value):
    assert getattr(read(place, f"{SMALLEST}{key} = {written}\n").cameras[0], field) == value


@pytest.mark.parametrize(
    ("written", "size_bytes"),
    [('"64 MiB"', 64 * MIB), ('"2 GB"', 2 * 10**9), ('"1.5gib"', 3 * GIB // 2), ("67108864", 64 * MIB), ('"70000 kB"', 70_000_000)],
)
def test_sizes(place, written, size_bytes):
    assert read(place, f"[service]\nmemory = {written}\n{SMALLEST}").memory_bytes == size_bytes


def test_every_kind_of_output(place):
    outputs = "".join(f'[[output]]\nkind = "{kind}"\nname = "{kind}"\n{own}\n' for kind, own in OUTPUTS.items())
    found = read(place, SMALLEST + outputs)
    state = place / "edgewright-state"
    assert found.outputs == (
        FileOutput("jsonl", format="jsonl", folder=state / "outputs/jsonl"),
        FileOutput("csv", format="csv", folder=place / "here", records=("answers", "events"), rotate_bytes=MIB, most_bytes=MIB),
        StoreOutput("sqlite", path=place / "a.sqlite", keep_days=0.5),
        MqttOutput(
            "mqtt",
            ca_file=place / "ca.pem",
            user="u",
            password=Secret("pw"),
            prefix="a/b",
            discovery_prefix=None,
            keepalive_s=60.0,
        ),
        WebhookOutput("webhook", url=Address("http://h:1/"), token=Secret("hunter2"), batch=5, timeout_s=1.0),
        RecordingOutput("recording", folder=state / "recordings/recording", encoder="libx264", fps=5.0, annotated=False),
    )
    assert found.warnings == (
        (
            f'{place}/service.toml, line 32: output "mqtt": password: it stands in the file; write ${{NAME}} in its place, and set NAME '
            "in the environment"
        ),
    )


def test_how_a_service_is_governed(place):
    text = SMALLEST.replace("[[camera]]", 'lighter = ["yolo.onnx"]\nbest_effort = true\n[[camera]]')
    found = read(place, f"{text}[govern]\nlimit_c = 70\nlowest_fps = 2.5\nfewest_threads = 2\n")
    assert found.models == (ModelSettings("m", place / "fitted", lighter=(place / "yolo.onnx",), best_effort=True),)
    assert found.govern == GovernSettings(limit_c=70.0, lowest_fps=2.5, fewest_threads=2)
    assert not read(place, f"{SMALLEST}[govern]\nenabled = false\n").govern.enabled


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("[govern]\nlimit_c = 20", "line 8: govern: limit_c = 20; expected a number from 30 to 120"),
        ("[govern]\nlimit = 70", "line 8: govern: limit is no key of [govern]; did you mean limit_c?"),
        ("[govern]\nlowest_fps = 0", "line 8: govern: lowest_fps = 0; expected a number above 0, at most 1,000"),
        ('[[model]]\nname = "n"\nartifact = "yolo.onnx"\nlighter = ["gone"]', 'line 10: model "n": value 1 of lighter = "gone"'),
        (
            '[[model]]\nname = "n"\nartifact = "yolo.onnx"\nlighter = ["fitted", "./yolo.onnx"]',
            'line 10: model "n": value 2 of lighter = "./yolo.onnx"; expected an artifact that the model does not have yet',
        ),
    ],
)
def test_what_is_wrong_with_how_it_is_governed(place, written, said):
    assert said in refusal(place, f"{SMALLEST}{written}\n")


OUTPUTS = {
    "jsonl": "",
    "csv": 'records = ["answers", "events"]\nfolder = "here"\nrotate = "1 MiB"\nmost = "1 MiB"',
    "sqlite": 'path = "a.sqlite"\nkeep = "12 h"',
    "mqtt": 'host = "localhost"\nca_file = "ca.pem"\nuser = "u"\nprefix = "a/b"\ndiscovery_prefix = false\nkeepalive = 60\npassword = "pw"',
    "webhook": 'url = "http://h:1/"\ntoken_file = "mqtt.password"\nbatch = 5\ntimeout = 1',
    "recording": 'encoder = "libx264"\nfps = 5\nannotated = false',
}


def test_every_key_is_on_the_page_and_every_field_has_a_key(place):
    page = PAGE.read_text("utf-8")
    layout = Layout.around(SecretPlaces({}, place))
    tables = [layout.service, layout.govern, layout.model, layout.camera, *layout.rules.values(), *layout.outputs.values()]
    for table in tables:
        for key in table.readers:
            assert re.search(rf"^\|.*`{key}`.*\|", page, re.MULTILINE), f"{key} of {table.what}"
    filled = {field for table in tables for field, _ in table.readers.values()}
    kinds = (
        ModelSettings,
        GovernSettings,
        CameraSettings,
        RuleSettings,
        FileOutput,
        StoreOutput,
        MqttOutput,
        WebhookOutput,
        RecordingOutput,
    )
    assert {each.name for kind in kinds for each in fields(kind)} - {"format"} <= filled


# --- made-up services are read as they were written -------------------------------------------------------------------------------------

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
shares = st.floats(0, 1).map(lambda share: round(share, 4))
cameras = st.builds(
    CameraSettings,
    name=names,
    source=st.sampled_from(["0", "/dev/video1", "rtsp://u:p@h/", "http://h/?pwd=x"]).map(Address),
    live=st.sampled_from([None, True, False]),
    reader=st.sampled_from(["auto", "opencv", "ffmpeg"]),
    fps=st.none() | st.floats(0.01, 1000),
    region=st.none() | st.sampled_from([(0.0, 0.0, 0.5, 1.0), (0.25, 0.1, 1.0, 0.2)]),
    motion=st.none() | st.builds(MotionSettings, area=shares, change=st.integers(1, 255), at_least_every_s=st.floats(0.1, 86400)),
    stall_s=st.floats(1, 86400),
    tracking=st.booleans(),
)
rules = st.builds(
    RuleSettings,
    name=names,
    kind=st.just("zone"),
    classes=st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=9), max_size=3).map(tuple),
    score=shares,
    polygon=st.lists(st.tuples(shares, shares), max_size=6).map(lambda more: ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), *more, (0.0, 1.0))),
    anchor=st.sampled_from(["foot", "centre"]),
    frames_of=st.tuples(st.integers(1, 5), st.integers(5, 1000)),
)
KEY_OF = {"stall_s": "stall", "at_least_every_s": "at_least_every", "size_wh": "size", "again_after_s": "again_after"}


def written(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | Address):
        text = value if isinstance(value, str) else value.reveal()
        return '"' + "".join(f"\\U{ord(character):08x}" for character in text) + '"'
    if isinstance(value, tuple):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, MotionSettings):
        return "{ " + ", ".join(pairs(value)) + " }"
    return repr(value)


def pairs(value):
    for each in fields(value):
        found = getattr(value, each.name)
        if found not in (None, ()):
            yield f"{KEY_OF.get(each.name, each.name)} = {written(found)}"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(cameras, min_size=1, max_size=4, unique_by=lambda camera: camera.name),
    st.lists(rules, max_size=3, unique_by=lambda rule: rule.name),
)
def test_what_is_written_is_read(place, some_cameras, some_rules):
    tables = [("[[camera]]", each) for each in some_cameras] + [("[[rule]]", each) for each in some_rules]
    text = '[[model]]\nname = "m"\nartifact = "fitted"\n' + "\n".join("\n".join((head, *pairs(each))) for head, each in tables)
    found = read(place, text)
    assert found.cameras == tuple(some_cameras)
    assert [replace(rule, polygon=()) for rule in found.rules] == [replace(rule, polygon=()) for rule in some_rules]
    assert [rule.polygon for rule in found.rules] == [rule.polygon for rule in some_rules]


# --- what is wrong ----------------------------------------------------------------------------------------------------------------------

FORMS = (
    "expected a camera's number, /dev/video0, csi:0, rtsp://, rtsps://, http:// or https:// with a host, or a file or folder that is there"
)
ENCODE = "in a user or password write %40 for @, %2F for /, %3A for :, %23 for #, or take it from ${NAME}"
NAMES = "expected letters, digits, - _ and ., at most 64, a letter or digit first"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("fps = -3", 'camera "c": fps = -3; expected a number above 0, at most 1,000'),
        ("fps = nan", 'camera "c": fps = nan; expected a number above 0, at most 1,000'),
        ("fps = true", 'camera "c": fps = true; expected a number above 0, at most 1,000'),
        ('fps = "ten"', 'camera "c": fps = "ten"; expected a number above 0, at most 1,000'),
        ("fps = 1979-05-27", 'camera "c": fps = a date; expected a number above 0, at most 1,000'),
        ("fsp = 3", 'camera "c": fsp is no key of a camera; did you mean fps?'),
        (
            "zzz = 3",
            (
                'camera "c": zzz is no key of a camera; expected one of name, source, models, live, reader, transport, fps, size, region, '
                "motion, stall, loop, watch, tracking"
            ),
        ),
        (
            '"\\u001b[2J" = 3',
            (
                'camera "c": \\x1b[2J is no key of a camera; expected one of name, source, models, live, reader, transport, fps, size, '
                "region, motion, stall, loop, watch, tracking"
            ),
        ),
        ("live = 1", 'camera "c": live = 1; expected true or false'),
        ('reader = "ffmepg"', 'camera "c": reader = "ffmepg"; expected one of auto, opencv, ffmpeg; did you mean ffmpeg?'),
        ('transport = "udp"', 'camera "c": transport is only for an rtsp:// source'),
        ("loop = true", 'camera "c": loop is only for a file or folder'),
        ("watch = true", 'camera "c": watch is only for a folder'),
        ("size = [640]", 'camera "c": size = [640]; expected a list of 2 whole numbers, width and height'),
        ("size = [640, 8]", 'camera "c": value 2 of size = 8; expected a whole number from 16 to 16,384'),
        ("region = [0, 0, 1, 2]", 'camera "c": value 4 of region = 2; expected a number from 0 to 1'),
        ("region = [0.5, 0, 0.5, 1]", 'camera "c": region = [0.5, 0, 0.5, 1]; expected x1, y1, x2, y2 with x1 < x2 and y1 < y2'),
        ("motion = 3", 'camera "c": motion = 3; expected true, false, or a table [camera.motion]'),
        ("motion.area = 30", 'camera "c": motion.area = 30; expected a number from 0 to 1'),
        ("motion = { aera = 0.1 }", 'camera "c": motion.aera is no key of motion; did you mean area?'),
        (
            'stall = "20 parsec"',
            (
                'camera "c": stall = "20 parsec"; expected a time from 1 s to 1 days, such as "20 s", "5 min", "30 days" or a '
                "number of seconds"
            ),
        ),
        (
            "stall = 0",
            'camera "c": stall = 0; expected a time from 1 s to 1 days, such as "20 s", "5 min", "30 days" or a number of seconds',
        ),
        ('models = ["n"]', 'camera "c": value 1 of models = "n"; expected the name of a model: m'),
        ("models = []", 'camera "c": models = []; expected a list of 1 to 64 names'),
        ('models = "m"', 'camera "c": models = "m"; expected a list of 1 to 64 names'),
        ("[camera.emotion]", 'camera "c": emotion is no key of a camera; did you mean motion?'),
        ("[cameras]", "cameras is no key of a service.toml; did you mean camera?"),
        ("[[service]]", "service = a list of 1; expected a table of keys"),
        (
            "[service]\nmemory = 3",
            'service: memory = 3; expected a size from 64 MiB to 16 TiB, such as "64 MiB", "2 GB" or a number of bytes',
        ),
        (
            '[service]\nmemory = "600 M"',
            'service: memory = "600 M"; expected a size from 64 MiB to 16 TiB, such as "64 MiB", "2 GB" or a number of bytes',
        ),
        ('[service]\nname = "line 3"', f'service: name = "line 3"; {NAMES}'),
        (
            '[service]\nstate = "${HOME}/x"',
            "service: state cannot be taken from the environment; expected ${NAME} in source, url, user, password or token alone",
        ),
        ('[service]\nstate = "a\\u0000b"', 'service: state = "a\\x00b"; expected a line of text, at most 1,024 characters'),
        ("[output]", "output is not a list of tables; write [[output]] above the keys of each"),
        ("[[rule]]", "rule 1 has no kind; expected one of zone, line, seen"),
        ('[[rule]]\nkind = "zoen"', 'rule 1: kind = "zoen"; expected one of zone, line, seen; did you mean zone?'),
        ('[[rule]]\nkind = "seen"\n', "rule 1 has no name"),
        ('[[rule]]\nkind = "zone"\nname = "z"', 'rule "z" has no polygon'),
        (
            '[[rule]]\nkind = "line"\nname = "l"\npolygon = []',
            'rule "l": polygon is no key of a rule of kind = "line"; it belongs to kind = "zone"',
        ),
        ('[[rule]]\nkind = "line"\nname = "l"\nline = [[0, 0], [0, 0]]', 'rule "l": line = a list of 2; expected two points apart'),
        (
            '[[rule]]\nkind = "zone"\nname = "z"\npolygon = [[0, 0], [0.5, 0.5], [1, 1]]',
            'rule "z": polygon = a list of 3; expected points around an area',
        ),
        (
            '[[rule]]\nkind = "zone"\nname = "z"\npolygon = [[0, 0], [0.5, 50],\n[1, 1]]',
            'rule "z": value 2 of value 2 of polygon = 50; expected a number from 0 to 1',
        ),
        (
            '[[rule]]\nkind = "seen"\nname = "s"\nframes_of = [5, 3]',
            'rule "s": frames_of = [5, 3]; expected [k, n]: on k of the last n frames',
        ),
        ('[[rule]]\nkind = "seen"\nname = "s"\ncameras = ["C"]', 'rule "s": value 1 of cameras = "C"; expected the name of a camera: c'),
        (
            '[[output]]\nkind = "mqtt"\nname = "o"\npasword = "hunter2"',
            'output "o": pasword is no key of an output of kind = "mqtt"; did you mean password?',
        ),
        (
            '[[output]]\nkind = "mqtt"\nname = "o"\npassword = 12345',
            'output "o": password = ***; expected a line of text, at most 1,024 characters',
        ),
        ('[[output]]\nkind = "mqtt"\nname = "o"\npassword = "hunter2"', 'output "o" has a password, but no user'),
        (
            '[[output]]\nkind = "mqtt"\nname = "o"\nuser = "u"\npassword = "hunter2"\npassword_file = "mqtt.password"',
            'output "o": password_file stands beside password; expected one of the two',
        ),
        (
            '[[output]]\nkind = "mqtt"\nname = "o"\nhost = "u:hunter2@h"',
            'output "o": host = "***@h"; expected the name or address of a machine, without a port',
        ),
        (
            '[[output]]\nkind = "mqtt"\nname = "o"\nprefix = "a/#"',
            'output "o": prefix = "a/#"; expected a topic without + # and blanks, and without a / at its ends',
        ),
        ('[[output]]\nkind = "mqtt"\nname = "o"\nport = 65536', 'output "o": port = 65536; expected a whole number from 1 to 65,535'),
        ('[[output]]\nkind = "webhook"\nname = "o"', 'output "o" has no url'),
        (
            '[[output]]\nkind = "webhook"\nname = "o"\nurl = "ftp://u:hunter2@h/"',
            'output "o": url = "ftp://***@h/"; expected http:// or https:// with a host',
        ),
        (
            '[[output]]\nkind = "csv"\nname = "o"\nurl = "x"',
            'output "o": url is no key of an output of kind = "csv"; it belongs to kind = "webhook"',
        ),
        (
            '[[output]]\nkind = "csv"\nname = "o"\nrotate = "1 GB"',
            'output "o": rotate = "1 GB"; expected no more than most, 268,435,456 bytes',
        ),
        (
            '[[output]]\nkind = "csv"\nname = "o"\nrecords = ["frames"]',
            'output "o": value 1 of records = "frames"; expected one of answers, events',
        ),
        (
            '[[output]]\nkind = "recording"\nname = "o"\nspool = 0',
            (
                'output "o": spool is no key of an output of kind = "recording"; it belongs to kind = '
                '"jsonl" or "csv" or "sqlite" or "mqtt" or "webhook"'
            ),
        ),
        ('[[output]]\nname = "../../etc"\nkind = "csv"', f'output 1: name = "../../etc"; {NAMES}'),
        ('[[output]]\nname = ".."\nkind = "csv"', f'output 1: name = ".."; {NAMES}'),
    ],
)
def test_one_sentence_with_the_line(place, line, sentence):
    """Of the last line that is added to the smallest file; of what is missing or too much as a whole, the first."""
    first = SMALLEST.count("\n") + 1
    found = refusal(place, f"{SMALLEST}{line}\n")
    where, _, said = found.partition(": ")
    assert said == sentence
    lines = line.rstrip("\n").split("\n")
    wrong = re.search(r"^[^:=;]*: (?:value \d of )*([a-z_]+)[ .]", said)
    expected = next((number for number, each in enumerate(lines) if wrong and each.startswith(wrong[1])), 0)
    assert where == f"service.toml, line {first + expected}"


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ('"nothing.mp4"', f'source = "nothing.mp4"; {FORMS}'),
        ('""', 'source = ""; expected a line of text, at most 1,024 characters'),
        ("-1", f"source = -1; {FORMS}"),
        ("true", f"source = true; {FORMS}"),
        ("[0]", f"source = [0]; {FORMS}"),
        ('["rtsp://u:hunter2@h"]', f'source = ["rtsp://***@h"]; {FORMS}'),
        ('"csi:x"', f'source = "csi:x"; {FORMS}'),
        ('"/dev/../etc/passwd2"', f'source = "/dev/../etc/passwd2"; {FORMS}'),
        ('"rtsp:/u:hunter2@h/"', f'source = "rtsp:/***@h/"; {FORMS}'),
        ('"rtsp//u:hunter2@h/"', f'source = "***@h/"; {FORMS}'),
        ('"rstp://u:hunter2@h/"', f'source = "rstp://***@h/"; {FORMS}; {ENCODE}'),
        ('"rtsp://u:hunter2/3@h/"', f'source = "rtsp://***@h/"; {FORMS}; {ENCODE}'),
        ('"rtsp://u:hunt er2@h/"', f'source = "***@h/"; {FORMS}; {ENCODE}'),
        ('"rtsp://:554/"', f'source = "rtsp://:554/"; {FORMS}; {ENCODE}'),
        ('"rtsp://h:99999/"', f'source = "rtsp://h:99999/"; {FORMS}; {ENCODE}'),
        ('"rtsp://[::1/"', f'source = "rtsp://[::1/"; {FORMS}; {ENCODE}'),
        ('"rtsp://u:' + "hunter2" * 40 + '@h:x/"', f'source = "rtsp://***@h:x/"; {FORMS}; {ENCODE}'),
        (
            '"rtsp://u:${NONE}@h/"',
            "source takes ${NONE}, which is not set; expected NONE in the environment, or a credential of systemd of that name",
        ),
        ('"rtsp://u:${EMPTY}@h/"', "source takes ${EMPTY}, which is empty"),
        ('"rtsp://u:${LINES}@h/"', "source takes ${LINES}, which holds a line end, or another character that cannot be printed"),
        ('"rtsp://u:${LONG}@h/"', "source takes ${LONG}, which is too long; expected at most 4,096 characters"),
        ('"${BLANK}"', f'source = "${{BLANK}}"; {FORMS}; {ENCODE}'),
        ('"rtsp://u:${no-name}@h/"', "source has a ${ that begins no ${NAME}; expected letters, digits and _ between the braces"),
        ('"rtsp://u:${NONE@h/"', "source has a ${ that begins no ${NAME}; expected letters, digits and _ between the braces"),
    ],
)
def test_sources_that_are_none(place, source, sentence):
    environment = {"EMPTY": "", "LINES": "hunter2\r\nX: y", "LONG": "hunter2" * 1000, "BLANK": "rtsp://u:hunter2@h x/"}
    found = refusal(place, SMALLEST.replace("source = 0", f"source = {source}"), environment)
    assert found == f'service.toml, line 6: camera "c": {sentence}'
    assert "hunter2" not in found
    assert "hunt er2" not in found


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "service.toml, line 1: the file has no model"),
        ('[[model]]\nname = "m"\nartifact = "fitted"\n', "service.toml, line 1: the file has no camera"),
        ("model = []\ncamera = []", "service.toml, line 1: model is empty; write [[model]] above the keys of each, or leave it out"),
        ("model = [5]\ncamera = []", "service.toml, line 1: model 1 = 5; expected a table of keys"),
        (SMALLEST.replace('name = "c"\n', ""), "service.toml, line 4: camera 1 has no name"),
        (
            SMALLEST.replace('name = "c"', f'name = "{"c" * 65}"'),
            f'service.toml, line 5: camera 1: name = "{"c" * 65}"; {NAMES}',
        ),
        (
            SMALLEST.replace('"fitted"', '"lost"'),
            'service.toml, line 3: model "m": artifact = "lost"; expected an artifact\'s folder, or an .onnx file, that is there',
        ),
        (
            SMALLEST.replace('"fitted"', '"line.mp4"'),
            'service.toml, line 3: model "m": artifact = "line.mp4"; expected an artifact\'s folder, or an .onnx file, that is there',
        ),
        (
            f'{SMALLEST}[[camera]]\nsource = 1\nname = "c"\n',
            'service.toml, line 9: camera "c": name = "c"; expected a name that no other camera has',
        ),
        (
            SMALLEST + "".join(f'[[camera]]\nname = "c{number}"\nsource = 1\n' for number in range(65)),
            'service.toml, line 196: camera "c63" is one too many; expected at most 64',
        ),
        (
            f'{SMALLEST}tracking = false\n[[rule]]\nname = "r"\nkind = "line"\nline = [[0, 0], [1, 1]]',
            'service.toml, line 8: rule "r" needs tracking, which camera "c" has switched off',
        ),
        (
            SMALLEST + '[[output]]\nname = "a"\nkind = "sqlite"\n[[output]]\nname = "b"\nkind = "sqlite"\n',
            'service.toml, line 10: output "b" writes where output "a" does; give it another path',
        ),
        (
            SMALLEST
            + '[[output]]\nname = "a"\nkind = "jsonl"\nfolder = "x/../y"\n[[output]]\nname = "b"\nkind = "recording"\nfolder = "y/"\n',
            'service.toml, line 11: output "b" writes where output "a" does; give it another folder',
        ),
        (b'# \xc3\xa9\n[service]\nname = "\xff"', "service.toml, line 3: bytes that are no UTF-8 text; save the file as UTF-8"),
        ("[service]\nname = x", "service.toml, line 2, column 8: no TOML: invalid value; text stands in double quotes"),
        (
            "#" * ((1 << 20) + 1),
            "service.toml cannot be read; got more than 1048576 bytes; expected a service.toml of at most 1,048,576 bytes",
        ),
    ],
    ids=range(16),
)
def test_whole_files_that_are_none(place, text, sentence):
    assert refusal(place, text) == sentence


def test_what_is_no_file(place):
    os.mkfifo(place / "pipe")
    for name, why in (
        ("pipe", "not a regular file"),
        ("lost", "no such file or directory"),
        ("pictures", "not a regular file"),
        ("a\0b", "not a name"),
    ):
        with pytest.raises(InputError, match=f"cannot be read; got {why}"):
            read_service(place / name, {})


def test_sentences_of_the_page_are_true(place):
    """Those under "When something is wrong" are what its example says when it is spoiled."""
    said = PAGE.read_text("utf-8").partition("## When something is wrong")[2].split("```")[1].strip().split("\n")
    example = page_example()
    assert said == [
        refusal(place, example.replace("fps = 10", "fps = -3")),
        refusal(place, example.replace("fps = 10", "frps = 10")),
        refusal(place, example.replace("source = 0 ", "# source = 0 ")),
        refusal(place, example, {"HOOK": "x"}),
        refusal(place, example.replace('cameras = ["belt"]', 'cameras = ["bolt"]', 1)),
        refusal(place, example.replace('"defects"', "defects", 1)),
    ]


# --- where secrets come from ------------------------------------------------------------------------------------------------------------

BROKER = SMALLEST + '[[output]]\nname = "o"\nkind = "mqtt"\nuser = "u"\n'


def test_credentials_of_systemd(place):
    credentials = place / "credentials"
    credentials.mkdir()
    (credentials / "MQTT").write_bytes(b"from systemd\r\nmore")
    environment = {"CREDENTIALS_DIRECTORY": str(credentials)}
    text = BROKER + 'password = "${MQTT}"\n'
    assert read(place, text, environment).outputs[0].password == Secret("from systemd")
    assert read(place, text, {**environment, "MQTT": "nearer"}).outputs[0].password == Secret("nearer")
    assert read(place, text, environment).warnings == ()
    (credentials / "MQTT").unlink()
    assert "takes ${MQTT}, which is not set" in refusal(place, text, environment)
    (credentials / "MQTT").mkdir()
    assert "takes ${MQTT}, a credential that cannot be read: not a regular file" in refusal(place, text, environment)


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (b"hunter2\n", 0o604, "names FILE, which everybody on this machine may open; chmod 600 FILE"),
        (b"hunter2\n", 0o602, "names FILE, which everybody on this machine may open; chmod 600 FILE"),
        (b"", 0o600, "names FILE, whose first line is empty"),
        (b"\nhunter2", 0o600, "names FILE, whose first line is empty"),
        (b"hunter2\xff", 0o600, "names FILE, whose first line is no UTF-8 text"),
        (b"hunter2\0", 0o640, "names FILE, whose first line holds a line end, or another character that cannot be printed"),
        (b"hunter2" * 1000, 0o600, "names FILE, whose first line is too long; expected at most 4,096 bytes"),
        (
            None,
            0,
            (
                "names FILE, which cannot be read: no such file or directory; "
                "expected a file whose first line is the secret, of at most 4,096 bytes"
            ),
        ),
    ],
)
def test_files_of_secrets_that_are_none(place, content, mode, said):
    path = place / "secret"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    found = refusal(place, BROKER + 'password_file = "secret"\n')
    assert found == f'service.toml, line 11: output "o": password_file {said.replace("FILE", "secret")}'


def test_passwords_that_stand_in_the_file_are_warned_of(place):
    text = (
        SMALLEST.replace("source = 0", 'source = "rtsp://u:hunter2@h/"')
        + '[[camera]]\nname = "d"\nsource = "rtsp://u:${PW}@h/"\n'
        + '[[camera]]\nname = "e"\nsource = "rtsp://viewer@h/"\n'
        + '[[output]]\nname = "o"\nkind = "webhook"\nurl = "http://u:hunter2@h/"\ntoken = "hunter2"\n'
    )
    found = read(place, text, {"PW": "hunter2"})
    assert [warning.replace(f"{place}/", "").partition(";")[0] for warning in found.warnings] == [
        'service.toml, line 6: camera "c": source: its password stands in the file',
        'service.toml, line 16: output "o": url: its password stands in the file',
        'service.toml, line 17: output "o": token: it stands in the file',
    ]
    assert "hunter2" not in repr(found)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(min_size=1, max_size=20),
    st.sampled_from(["rtsp://u:${S}@h/", "http://h/?pwd=${S}", "${S}", "rtsp://${S}:${S}@h:x/", "http://h/${S}"]),
)
def test_no_secret_of_the_environment_is_in_a_sentence_or_setting(place, secret, source):
    marked = "".join(f"Ω{character}" for character in secret) + "Ω"
    text = SMALLEST.replace("source = 0", f'source = "{source}"')
    try:
        found = repr(read(place, text, {"S": marked}))
    except InputError as error:
        found = f"{error!r}{error}{error.__cause__!r}"
    assert "Ω" not in found
    assert "%CE%A9" not in found


MISPLACED = (
    '"rtsp://u:hunter2@h:x/"',
    '"u:hunter2@h"',
    '"rtsp://u:hun/hunter2@h"',
    '"http://h:x/?pwd=hunter2"',
    '["rtsp://u:hunter2@h:x/"]',
)
IN_ITS_PLACE = ('"hunter2\\n"', '["hunter2"]', "{ hunter = 'hunter2' }", '"${hunter2"', '"hunter2" extra', "hunter2", "'''\nhunter2")


@pytest.mark.parametrize("value", [*MISPLACED, *IN_ITS_PLACE])
def test_no_sentence_shows_a_password_wherever_it_was_put_by_mistake(place, value):
    lines = page_example().replace("password_file =", "password =").split("\n")
    keys = {number: line.partition(" = ")[0] for number, line in enumerate(lines) if " = " in line}
    for number, key in keys.items():
        if value in MISPLACED or key == "password":
            said = sentence_of(place, "\n".join([*lines[:number], f"{key} = {value}", *lines[number + 1 :]]))
            assert "hunter2" not in said


# --- from a command line ----------------------------------------------------------------------------------------------------------------


def test_a_model_and_cameras_of_a_command_line(place, monkeypatch):
    monkeypatch.chdir(place)
    found = service_of(place / "fitted", ["0"], {})
    state = Path("edgewright-state")
    assert found == ServiceSettings(
        (ModelSettings("model", place / "fitted"),),
        (CameraSettings("camera", Address("0")),),
        outputs=(StoreOutput("store", path=state / "events.sqlite"), FileOutput("events", folder=state / "outputs/events")),
    )
    found = service_of(
        place / "fitted",
        ["line.mp4", "rtsp://u:${PW}@h/", "rtsp://u:hunter2@h/"],
        {"PW": "a b"},
        state=place / "s",
        memory_bytes=5,
        frames=9,
    )
    assert [camera.name for camera in found.cameras] == ["camera-1", "camera-2", "camera-3"]
    assert [camera.source.reveal() for camera in found.cameras] == [str(place / "line.mp4"), "rtsp://u:a%20b@h/", "rtsp://u:hunter2@h/"]
    assert (found.memory_bytes, found.frames, found.outputs[0].path) == (5, 9, place / "s/events.sqlite")
    assert found.warnings == (
        (
            "--camera rtsp://***@h/: who may list this machine's processes sees its password; write ${NAME} in its place, and set "
            "NAME in the environment, in single quotes"
        ),
    )


@pytest.mark.parametrize(
    ("cameras", "sentence"),
    [
        ([], "0 cameras; expected 1 to 64, a --camera each"),
        (["0"] * 65, "65 cameras; expected 1 to 64, a --camera each"),
        (["webcam"], f'--camera "webcam"; {FORMS}'),
        (["rtsp//u:hunter2@h"], f'--camera "***@h"; {FORMS}'),
        (
            ["rtsp://u:${NONE}@h"],
            (
                '--camera "rtsp://***@h" takes ${NONE}, which is not set; expected NONE in the environment, or a credential of systemd of '
                "that name"
            ),
        ),
    ],
)
def test_cameras_of_a_command_line_that_are_none(place, cameras, sentence):
    with pytest.raises(InputError) as caught:
        service_of(place / "fitted", cameras, {})
    assert str(caught.value) == sentence


# --- files that somebody has spoiled ----------------------------------------------------------------------------------------------------


def sentence_of(place, content):
    """Why a file is refused; nothing where it is read."""
    try:
        read(place, content)
    except InputError as error:
        return str(error)
    return ""


def spoiled_files(place, first, count):
    """How many of `count` spoiled examples were refused; anything but a setting or an InputError with one short line fails."""
    sound, refused = page_example().encode(), 0
    for seed in range(first, first + count):
        content = mutated(sound, "toml", seed)
        said = sentence_of(place, content)
        assert len(said) < 1000, seed
        assert said.isprintable(), seed
        assert not said or ", line " in said, (seed, said)
        refused += bool(said)
    return refused


def test_spoiled_files_are_refused_in_a_sentence(place):
    began = time.process_time()
    refused = spoiled_files(place, 0, 150)
    assert 100 < refused < 150
    assert time.process_time() - began < 2


@pytest.mark.soak
def test_two_thousand_spoiled_files(place):
    print(f"service.toml: 2000 spoiled, {spoiled_files(place, 1000, 2000)} refused, 0 crashes")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_value_anywhere_is_a_setting_or_a_sentence(place, data):
    """One value of the example is another one."""
    lines = page_example().split("\n")
    at = data.draw(st.sampled_from([number for number, line in enumerate(lines) if re.match(r"\w+ = [^\[]*$", line)]))
    value = data.draw(
        st.sampled_from(
            ["-1", "0", "1", "1e308", "nan", "true", "[]", "{}", '""', '"a"', "[[]]", "[0, 0]", "07:32:00", '"${S}"', '"@"', "''' '''"]
        )
    )
    lines[at] = f"{lines[at].partition(' = ')[0]} = {value}"
    text = "\n".join(lines)
    tomllib.loads(text)
    said = sentence_of(place, text)
    assert not said or re.search(r", line \d+: \w", said)
