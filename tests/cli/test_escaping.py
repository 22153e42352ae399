"""What strangers wrote, on its way to a terminal, a pipe or a script: it is drawn, never obeyed."""

import contextlib
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.fit_evidence import searched_evidence
from edgewright.cli.failures import one_sentence
from edgewright.cli.fit import show
from edgewright.cli.output import LONGEST_LINE, Lines, Terminal
from edgewright.cli.screen import Screen, table
from edgewright.data.video import WebmWriter
from edgewright.errors import DataError
from tiny_dataset import write_tiny_dataset
from tiny_detector import build_tiny_detector

STRANGE = {
    "colours": "\x1b[5;41m",
    "a window's title": "\x1b]0;owned\x07",
    "an erased screen": "\x1b[2J\x1b[H",
    "C1": "\x9b5;41m",
    "a return over the line": "\rall is well",
    "a line of its own": "\nedgewright: all is well",
    "a next line": "\x85",
    "a Unicode line": "\u2028",
    "backspaces": "\b\b\b",
    "a null": "\0",
    "delete": "\x7f",
    "a tab": "\t",
    "right to left": "\u202egpj.exe",
    "an isolate": "\u2066",
    "zero width": "a\u200bb\ufeff",
    "tags": "\U000e0041",
    "not UTF-8": "\udcff\udc9b5;41m",
}
MARKUP = "[red]:bomb:[/red] [link=file:///etc/passwd]x[/link] [/]"
EVIL = "evil" + "".join(STRANGE.values())
SEQUENCE = re.compile("\x1b\\[[0-9;?]*[A-Za-z]")


def unprintable(text):
    return sorted({character for character in text if character != "\n" and not character.isprintable()})


# --- each way out -----------------------------------------------------------------------------------------------------------------------


def printed(name):
    Screen(quiet=False, stderr=False).print(f"\nfile {name}\n")


def printed_plainly(name):
    Lines(quiet=False, stderr=False).print(f"\nfile {name}\n")


def a_cell(name):
    Screen(quiet=False, stderr=False).print(table("classes", ["class", "AP"], [[name, "0.5"], ["cat", name]]))


def a_title(name):
    Screen(quiet=False, stderr=False).print(table(name, ["class", name], [["cat", "0.5"]]))


def told(name):
    with Terminal(quiet=False, clock=iter(range(0, 100, 10)).__next__) as terminal:
        terminal.stage(name)
        terminal.advance(1, 2)
        terminal.note(f"skipped: {name}")


def complained(name):
    with pytest.raises(SystemExit, match="2"), one_sentence():
        raise DataError(f"{name} is broken", got=name, fix="mend it")


def failed(name):
    with pytest.raises(SystemExit, match="3"), one_sentence():
        raise OSError(5, "Input/output error", name)


def shown(name):
    show(poisoned(searched_evidence(), name), Path(name.replace("\0", "")), Screen(quiet=False, stderr=False))


def poisoned(value, name):
    """A document every text of which is the name, but for the verdict, which is a word of ours."""
    if isinstance(value, dict):
        return {key: inner if key == "verdict" else poisoned(inner, name) for key, inner in value.items()}
    if isinstance(value, list):
        return [poisoned(inner, name) for inner in value]
    return name if isinstance(value, str) else value


WAYS = [printed, printed_plainly, a_cell, a_title, told, complained, failed, shown]


@pytest.mark.parametrize("name", [*STRANGE.values(), EVIL], ids=[*STRANGE, "all at once"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_nothing_but_letters_leaves(way, name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "4000")  # nothing is wrapped, however narrow the terminal of whoever runs this
    way("plain")
    lines = sum(stream.count("\n") for stream in capsys.readouterr())
    way(name)
    streams = capsys.readouterr()
    assert unprintable("".join(streams)) == []
    assert sum(stream.count("\n") for stream in streams) == lines, "a name makes no line of its own"
    assert "\\" in "".join(streams), "what is not obeyed is seen"


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_markup_and_emoji_codes_are_letters(way, capsys):
    way(MARKUP)
    streams = capsys.readouterr()
    assert MARKUP in "".join(streams)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_megabyte_of_name_is_cut(way, capsys):
    way("x" * 1_000_000)
    assert max(len(line) for stream in capsys.readouterr() for line in stream.splitlines()) <= 2 * LONGEST_LINE + 100


@pytest.mark.parametrize("columns", [40, 80, None])
def test_a_long_name_folds_and_its_figures_stay(columns, capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", str(columns))
    Screen(quiet=False, stderr=False).print(table("eval", ["class", "AP50", "AP50-95"], [["x" * 90, "0.1234", "0.5678"]]))
    out = capsys.readouterr().out
    assert re.search(r"x 0\.1234 +0\.5678", re.sub(" +", " ", out))
    assert out.count("x") == 90


@given(st.text(max_size=300))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lines_are_printed_alike_with_and_without_rich(capsys, text):
    for quiet in (False, True):
        Screen(quiet=quiet, stderr=False).print(text)
        drawn = capsys.readouterr().out
        Lines(quiet=quiet, stderr=False).print(text)
        assert capsys.readouterr().out == drawn


# --- whole commands ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """The same model, pictures, clip and labels twice: under plain names, and under names of every strange kind."""
    return {kind: world(tmp_path_factory.mktemp("world"), name) for kind, name in (("plain", "plain"), ("evil", EVIL))}


def world(folder, name):
    file_name = name.replace("\0", "")
    text = name.encode("utf-8", "replace").decode()  # a model holds UTF-8 alone
    model = build_tiny_detector(activation="relu", classes=tuple(f"{text}{at}" for at in range(3)))
    for key in ("author", text):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, text
    for node in model.graph.node:
        node.name = f"{text}{node.name}"
    made = {"model": folder / f"{file_name.encode('utf-8', 'replace').decode()}.onnx"}  # ONNX Runtime asks for UTF-8
    made["model"].write_bytes(model.SerializeToString())

    data = write_tiny_dataset(folder / "data", 4, 4)
    names = [f"{text}{at}" for at in range(3)]
    data.write_text(yaml.safe_dump({"path": ".", "train": "images/train", "val": "images/val", "names": names}))
    val = folder / "data/images/val"
    (val / "0000.png").rename(val / f"{file_name}.png")
    (val.parents[1] / "labels/val/0000.txt").rename(val.parents[1] / f"labels/val/{file_name}.txt")
    (val / f"{file_name}broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with WebmWriter(folder / f"{file_name}.webm", 10.0) as writer:
        writer.write(np.full((64, 64, 3), 114, np.uint8))
    made |= {"data": data, "pictures": val, "clip": folder / f"{file_name}.webm", "out": folder / f"{file_name}out"}
    return made


COMMANDS = {
    "inspect": lambda world: ("inspect", world["model"]),
    "eval": lambda world: ("eval", world["model"], "--data", world["data"]),
    "detect": lambda world: ("detect", world["model"], world["pictures"], "--out", world["out"]),
    "detect a clip": lambda world: ("detect", world["model"], world["clip"], "--out", f"{world['out']}.webm"),
    "calibrate": lambda world: ("calibrate", world["data"], "--images", 2, "--out", f"{world['out']}calibration"),
    "bench": lambda world: ("bench", world["model"], "--rounds", 2, "--threads", 1),
}
REFUSED = {
    "no such model": lambda world: ("inspect", f"{world['out']}.onnx"),
    "no such data": lambda world: ("eval", world["model"], "--data", world["out"] / "none.yaml"),
    "no such folder": lambda world: ("inspect", world["model"], "--json", f"{world['clip']}/x.json"),
    "no such option": lambda world: ("inspect", f"--{world['model'].name}"),
    "no such verb": lambda world: (world["model"].name,),
    "no such choice": lambda world: ("quantize", world["model"], "--out", "x", "--mode", world["model"].name),
    "one word too many": lambda world: ("inspect", world["model"], world["pictures"]),
    "no labels": lambda world: ("eval", world["model"], "--data", world["pictures"]),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_pipes_letters_alone(edgewright, worlds, command):
    ran = edgewright(*COMMANDS[command](worlds["evil"]))
    assert ran.exit_code == 0, ran
    assert unprintable(ran.out + ran.err) == []
    assert "\\x1b[5;41m" in ran.out + ran.err or command == "detect a clip", "the name is shown"


@pytest.mark.parametrize("command", REFUSED)
def test_a_refusal_is_one_line_of_letters(edgewright, worlds, command):
    ran = edgewright(*REFUSED[command](worlds["evil"]))
    ran.assert_refused(2)
    assert unprintable(ran.err) == []
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize("command", ["inspect", "eval", "detect"])
def test_json_is_ascii_and_says_the_same(edgewright, worlds, command):
    ran = edgewright(*COMMANDS[command](worlds["evil"]), "--json", "-")
    assert ran.out.isascii()
    assert unprintable(ran.out) == []
    assert "evil" in json.dumps(ran.json)


def test_lines_of_json_are_ascii(edgewright, worlds):
    ran = edgewright("detect", worlds["evil"]["model"], worlds["evil"]["pictures"], "--jsonl", "-")
    assert ran.out.isascii()
    assert any("evil" in each for line in ran.out.splitlines() for each in json.loads(line)["classes"])


def on_a_terminal(*words):
    """What arrives at a terminal of 160 columns."""
    keyboard, screen = pty.openpty()
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    command = [sys.executable, "-m", "edgewright", *map(str, words)]
    environment = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}}
    process = subprocess.Popen(command, stdin=screen, stdout=screen, stderr=screen, env=environment | {"TERM": "xterm-256color"})
    os.close(screen)
    arrived = b""
    with contextlib.suppress(OSError):  # how Linux says that the last writer has left
        while part := os.read(keyboard, 1 << 16):
            arrived += part
    os.close(keyboard)
    return process.wait(), arrived.decode()


@pytest.mark.parametrize("command", ["inspect", "eval", "detect", "no such choice"])
def test_a_terminal_is_sent_no_command_that_plain_names_do_not_send(worlds, command):
    words = (COMMANDS | REFUSED)[command]
    plain, evil = (on_a_terminal(*words(worlds[kind])) for kind in ("plain", "evil"))
    assert plain[0] == evil[0]
    assert set(SEQUENCE.findall(evil[1])) <= set(SEQUENCE.findall(plain[1]))
    assert unprintable(SEQUENCE.sub("", evil[1]).replace("\r", "")) == []


@pytest.mark.soak
@pytest.mark.parametrize("command", ["fit", "quantize"])
def test_a_terminal_is_sent_no_command_by_long_work(worlds, command, tmp_path):
    def words(kind):
        world, out = worlds[kind], tmp_path / kind
        return (command, world["model"], "--data", world["data"], "--out", out, "--images", 2) + (
            ("--threads", 1, "--max-drop", 100, "--engines", "onnxruntime") if command == "fit" else ()
        )

    plain, evil = (on_a_terminal(*words(kind)) for kind in ("plain", "evil"))
    assert "Traceback" not in evil[1]
    assert {plain[0], evil[0]} <= {0, 1}
    assert set(SEQUENCE.findall(evil[1])) <= set(SEQUENCE.findall(plain[1]))
    assert unprintable(SEQUENCE.sub("", evil[1]).replace("\r", "")) == []


# --- streams that are short of something ------------------------------------------------------------------------------------------------


def in_a_shell(line, **more):
    environment = os.environ | {"EDGEWRIGHT": f"{sys.executable} -m edgewright"} | more
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"], capture_output=True, text=True, env=environment, timeout=120, check=False
    )


@pytest.mark.parametrize(
    ("line", "exit_code"),
    [
        ("$EDGEWRIGHT --help | true", 0),
        ('$EDGEWRIGHT inspect "$MODEL" | true', 0),
        ('$EDGEWRIGHT inspect "$MODEL" --json - 2>/dev/null | true', 0),
        ('$EDGEWRIGHT inspect "$MODEL" >&-', 0),
        ('$EDGEWRIGHT inspect "$MODEL" --json - <&- >&- 2>&-', 0),
        ("$EDGEWRIGHT inspect none.onnx 2>&-", 2),
        ('$EDGEWRIGHT inspect "$MODEL" >/dev/full', 3),
        ('$EDGEWRIGHT inspect "$MODEL" --json - 2>/dev/null >/dev/full', 3),
    ],
)
def test_a_reader_that_leaves_and_a_closed_or_full_stream_are_no_crash(worlds, line, exit_code):
    done = in_a_shell(line, MODEL=str(worlds["plain"]["model"]))
    assert done.returncode == exit_code, done
    assert not re.search("Traceback|Exception ignored", done.stderr)


def test_the_json_is_written_though_nobody_reads_the_table(worlds, tmp_path):
    done = in_a_shell(f'$EDGEWRIGHT inspect "$MODEL" --json {tmp_path}/found.json | true', MODEL=str(worlds["plain"]["model"]))
    assert done.returncode == 0
    assert json.loads((tmp_path / "found.json").read_text())["family"] == "yolov8"


def test_a_terminal_that_knows_ascii_alone_is_sent_ascii_alone(worlds):
    evil = worlds["evil"]
    words = '$EDGEWRIGHT eval "$MODEL" --data "$DATA"'
    done = in_a_shell(words, MODEL=str(evil["model"]), DATA=str(evil["data"]), PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done
    assert (done.stdout + done.stderr).isascii()
    assert unprintable(done.stdout + done.stderr) == []
