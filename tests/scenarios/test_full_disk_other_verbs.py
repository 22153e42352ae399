"""The disk is full at any change that a verb other than `fit` makes: one sentence, exit code 3, and the older result as it was."""

import shutil
import subprocess
import sys

import pytest

from edgewright.artifact import Artifact
from scenarios.faulty_disk import FaultyDisk, How
from scenarios.test_every_write import SERVER, FitServer, only_removals, result_in
from tiny_dataset import write_tiny_dataset
from tiny_detector import save_tiny_detector

VERBS = {
    "quantize": "quantize MODEL --data DATA --out OUT --images 4 --bias-correction --batch 2",
    "quantize dynamically": "quantize MODEL --out OUT --mode dynamic",
    "calibrate": "calibrate DATA --out OUT --images 4 --model MODEL",
    "detect": "detect MODEL PICTURES --out OUT --jsonl OUT/seen.jsonl --json OUT/seen.json",
    "eval": "eval MODEL --data DATA --json OUT/eval.json",
    "inspect": "inspect MODEL --json OUT/model.json",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    disk = FaultyDisk.build(folder)
    environment = {**disk.environment, "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        yield FitServer(disk, process, save_tiny_detector(folder / "tiny.onnx"), write_tiny_dataset(folder / "data", train=8, val=4))
        process.stdin.close()


def words_for(verb, server, out, *, other=False):
    model = server.model
    if other:
        model = save_tiny_detector(server.model.with_name("other.onnx"), activation="relu")
    places = {"MODEL": model, "DATA": server.data, "PICTURES": server.data.parent / "images/val"}
    return [str(places.get(word, word)).replace("OUT", str(out)) for word in VERBS[verb].split()] + ["--quiet"]


SHORT = ("calibrate", "detect")  # the others in the long form


@pytest.fixture(scope="module", params=[verb if verb in SHORT else pytest.param(verb, marks=pytest.mark.soak) for verb in VERBS])
def older(request, server, tmp_path_factory):
    """A verb, and what it made of another model."""
    out = tmp_path_factory.mktemp("older") / "out"
    out.mkdir()
    assert server.run_words(words_for(request.param, server, out, other=True)) == (0, "")
    return request.param, out


def fails_at(server, verb, older, out, at):
    """Whether the verb got to its `at`-th change, where the disk was full."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(older, out)
    before = result_in(out)
    with server.failing(out, How.FULL_FROM, at):
        status, said = server.run_words(words_for(verb, server, out))
    if len(server.changes) < at:
        assert (status, said) == (0, "")
        return False
    if status == 0 and only_removals(server.changes[at - 1 :]):  # for these a full disk has room
        return True
    assert status == 3, said
    assert said.startswith("edgewright: cannot write "), said
    assert "no space left on the disk" in said
    assert said.count("\n") == 1
    after = result_in(out)
    if verb == "detect":  # a picture each, whole
        assert before.keys() >= after.keys()
    elif after != before:  # several files cannot be replaced in one step
        assert any(change.endswith("publication.json") for change in server.changes)
    if verb.startswith("quantize"):
        Artifact.load(out)
    assert not [path for path in out.iterdir() if path.name.endswith(".part")]
    assert server.run_words(words_for(verb, server, out)) == (0, "")
    return True


def test_a_full_disk_is_one_sentence(server, older, tmp_path):
    assert fails_at(server, *older, tmp_path / "out", 3)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_at_every_single_change(server, older, tmp_path):
    at = 1
    while fails_at(server, *older, tmp_path / "out", at):
        at += 1
    print(f"{older[0]}: {at - 1} changes of files")
    assert at > 3
