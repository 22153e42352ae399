"""Somebody changed a fitted folder on its way: it is refused before any engine, or the child that would try one, is so much as imported."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgewright.artifact import FILE_NAME
from edgewright.graph.describe import describe_detector
from tiny_dataset import write_tiny_dataset
from tiny_detector import save_tiny_detector

# Runs commands in one process, and tells of each: its exit code, what it said, and what it loaded or started. The standard library's and
# Rich's own modules are not what is meant.
WATCH = """
import contextlib, io, json, sys
from edgewright import cli

seen = []

def watch(event, arguments):
    if event == "import" and arguments[0].partition(".")[0] in ("onnxruntime", "onnx"):
        seen.append("imported " + arguments[0])
    elif event in ("subprocess.Popen", "os.fork", "os.posix_spawn", "os.exec"):
        seen.append(event)

sys.addaudithook(watch)
for line in sys.stdin:
    seen.clear()
    sys.argv = ["edgewright", *json.loads(line)]
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            cli.main()
            code = 0
        except SystemExit as leaving:
            code = leaving.code or 0
    print("@" + json.dumps({"code": code, "said": said.getvalue(), "seen": list(seen)}), flush=True)
"""


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> Path:
    """A sound artifact, pictures for `detect` and a data set for `eval`."""
    root = tmp_path_factory.mktemp("sound")
    folder = root / "fitted"
    folder.mkdir()
    save_tiny_detector(folder / "model.onnx")
    (folder / FILE_NAME).write_text(json.dumps(describe_detector(folder / "model.onnx").to_json()))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_tiny_dataset(tmp_path_factory.mktemp("data"), 1, 2)


def commands(folder: Path, data: Path) -> list[list[str]]:
    pictures = data.parent / "images/val"
    return [
        ["detect", str(folder), str(pictures), "--quiet"],
        ["eval", str(folder), "--data", str(data), "--quiet"],
        ["bench", str(folder), "--rounds", "2", "--quiet"],
    ]


def watched(lines: list[list[str]]) -> list[dict]:
    done = subprocess.run(
        [sys.executable, "-c", WATCH],
        input="".join(json.dumps(line) + "\n" for line in lines),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={**os.environ, "TERM": "dumb"},
    )
    told = [json.loads(line[1:]) for line in done.stdout.splitlines() if line.startswith("@")]
    assert len(told) == len(lines), done.stderr[-3000:]
    return told


# --- what somebody may do to it ---------------------------------------------------------------------------------------------------------


def one_bit(folder):
    content = bytearray((folder / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.onnx").write_bytes(content)


def another_model(folder):
    save_tiny_detector(folder / "model.onnx", classes=("cat", "dog"))


def padded(folder):
    with (folder / "model.onnx").open("ab") as stream:
        stream.write(b"\0")


def cut(folder):
    os.truncate(folder / "model.onnx", 100)


def removed(folder):
    (folder / "model.onnx").unlink()


def replaced_by_a_pipe(folder):
    removed(folder)
    os.mkfifo(folder / "model.onnx")


def replaced_by_a_folder(folder):
    removed(folder)
    (folder / "model.onnx").mkdir()


def replaced_by_a_loop(folder):
    removed(folder)
    (folder / "model.onnx").symlink_to("model.onnx")


def replaced_by_a_link_to_its_twin_outside(folder):
    (folder / "model.onnx").rename(folder.parent / "model.onnx")
    (folder / "model.onnx").symlink_to(folder.parent / "model.onnx")


def in_a_folder_that_leads_outside(folder):
    (folder.parent / "elsewhere").mkdir()
    (folder / "model.onnx").rename(folder.parent / "elsewhere/model.onnx")
    (folder / "inside").symlink_to(folder.parent / "elsewhere")
    rewrite(folder, path="inside/model.onnx")


def rewrite(folder, digest=None, **changes):
    """The first file's entry changed, and the document's digest made right for it (or `digest`)."""
    document = json.loads((folder / FILE_NAME).read_text())
    document["files"][0].update(changes)
    lines = "\n".join(f"{file['path']} {file['sha256']}" for file in document["files"])
    document["digest"] = digest or "sha256:" + hashlib.sha256(lines.encode("utf-8", "surrogatepass")).hexdigest()
    (folder / FILE_NAME).write_text(json.dumps(document))


def at(place):
    """The same bytes, named where they lie outside."""

    def moved(folder):
        shutil.copy(folder / "model.onnx", folder.parent / "outside.onnx")
        (folder / "sub").mkdir()
        rewrite(folder, path=place.format(parent=folder.parent, here=folder))

    return moved


def entry(**changes):
    return lambda folder: rewrite(folder, **changes)


def field(**changes):
    def changed(folder):
        document = json.loads((folder / FILE_NAME).read_text())
        (folder / FILE_NAME).write_text(json.dumps({**document, **changes}))

    return changed


def text(content):
    return lambda folder: (folder / FILE_NAME).write_text(content)


def named_twice(folder):
    document = json.loads((folder / FILE_NAME).read_text())
    document["files"] *= 2
    (folder / FILE_NAME).write_text(json.dumps(document))
    rewrite(folder)


def key_twice(folder):
    document = (folder / FILE_NAME).read_text()
    (folder / FILE_NAME).write_text(document[:-1] + ', "engine": "onnxruntime"}')


def document_a_pipe(folder):
    (folder / FILE_NAME).unlink()
    os.mkfifo(folder / FILE_NAME)


OUTSIDE, CHANGED, GARBLED = "a file outside its folder", "is not the file that was fitted", "lacks or garbles a field"
TAMPERINGS = {
    "one bit of the model": (one_bit, CHANGED),
    "another sound model": (another_model, CHANGED),
    "a byte more": (padded, CHANGED),
    "cut short": (cut, CHANGED),
    "removed": (removed, "is missing"),
    "a pipe": (replaced_by_a_pipe, "not a regular file"),
    "a folder": (replaced_by_a_folder, "not a regular file"),
    "a loop of links": (replaced_by_a_loop, "cannot be read"),
    "a link to the same bytes outside": (replaced_by_a_link_to_its_twin_outside, OUTSIDE),
    "a linked folder with the same bytes": (in_a_folder_that_leads_outside, OUTSIDE),
    "the parent's file": (at("../outside.onnx"), OUTSIDE),
    "up through a folder": (at("sub/../../outside.onnx"), OUTSIDE),
    "up and down again": (at("../fitted/model.onnx"), OUTSIDE),
    "an absolute path": (at("{parent}/outside.onnx"), OUTSIDE),
    "an absolute path inside": (at("{here}/model.onnx"), OUTSIDE),
    "a null character": (entry(path="model.onnx\0"), OUTSIDE),
    "half a surrogate pair": (entry(path="model\ud800.onnx"), "is not JSON that we read"),
    "a backslash": (entry(path="sub\\model.onnx"), OUTSIDE),
    "nothing": (entry(path=""), OUTSIDE),
    "the folder itself": (entry(path="."), OUTSIDE),
    "a device": (entry(path="/dev/zero"), OUTSIDE),
    "the description as the model": (entry(path=FILE_NAME), "twice, or as its model"),
    "the model twice": (named_twice, "twice, or as its model"),
    "another digest of the file": (entry(sha256="0" * 64), CHANGED),
    "a digest that is none": (entry(sha256="../../../etc/passwd"), GARBLED),
    "another size": (entry(bytes=1), CHANGED),
    "a size below nothing": (entry(bytes=-1), GARBLED),
    "a size beyond all": (entry(bytes=10**30), GARBLED),
    "another digest of the whole": (field(digest="sha256:" + "0" * 64), "was changed"),
    "no files": (field(files=[]), "names no model file"),
    "a thousand files": (field(files=[{"path": "a", "sha256": "0" * 64, "bytes": 0}] * 1000), GARBLED),
    "an engine of their own": (field(engine="../../evil"), "there is no engine"),
    "another task": (field(task="execute"), GARBLED),
    "an input as large as memory": (
        field(input={"name": "x", "shape": [1, 16384, 16384, 16384], "layout": "NCHW", "dtype": "float32", "colour": "RGB"}),
        GARBLED,
    ),
    "a score beyond one": (field(threshold={"score": 7, "iou": 0.5, "per_class": None}), GARBLED),
    "a scheme without a recipe": (field(scheme={}), GARBLED),
    "another schema": (field(schema=True), "has another schema"),
    "a key twice": (key_twice, "a key stands twice"),
    "not a number": (field(lineage={"loss": float("nan")}), "is not JSON that we read"),
    "nested without end": (text('{"schema": 1, "lineage": ' + "[" * 100_000), "is not JSON that we read"),
    "a description that is a pipe": (document_a_pipe, "cannot be read"),
    "terminal sequences": (field(engine="\x1b]0;owned\x07"), "there is no engine"),
}
IN_THE_CHILD = {"there is no engine"}  # the child at the door says so; it knows the engines, and loads none it does not know


def test_a_tampered_folder_is_refused_by_every_verb_before_anything_is_loaded(fitted, data, tmp_path):
    lines, expected = [], []
    for number, (name, (tamper, said)) in enumerate(TAMPERINGS.items()):
        folder = tmp_path / str(number) / "fitted"
        shutil.copytree(fitted, folder)
        tamper(folder)
        for command in commands(folder, data):
            lines.append(command)
            expected.append((name, command[0], said))
    for (name, verb, said), told in zip(expected, watched(lines), strict=True):
        case = (name, verb, told)
        assert told["code"] == 2, case
        assert said in told["said"], case
        assert told["said"].count("\n") == 1, case
        assert told["said"][:-1].isprintable(), case
        assert len(told["said"]) < 2000, case
        assert said in IN_THE_CHILD or told["seen"] == [], case


def test_the_watch_sees_what_a_sound_folder_loads_and_what_lies_beside_or_leads_to_it_is_no_matter(fitted, data, tmp_path):
    folder = tmp_path / "fitted"
    shutil.copytree(fitted, folder)
    (folder / "notes.txt").write_text("not named, not opened")
    os.mkfifo(folder / "pipe")
    (tmp_path / "link").symlink_to(folder)
    for told in watched(commands(folder, data) + commands(tmp_path / "link", data)[:1]):
        assert told["code"] == 0, told
        assert "subprocess.Popen" in told["seen"], told
    assert any(name.startswith("imported onnxruntime") for name in watched(commands(folder, data)[:1])[0]["seen"])


def test_the_command_itself_refuses_it(fitted, data, tmp_path):
    shutil.copytree(fitted, tmp_path / "fitted")
    one_bit(tmp_path / "fitted")
    words = [sys.executable, "-m", "edgewright", *commands(tmp_path / "fitted", data)[0]]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("edgewright: ")
    assert CHANGED in done.stderr
