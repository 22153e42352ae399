"""A recovery from beginning to end, as a user runs it: what it leaves, that it repeats, that it survives being killed anywhere."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

NEEDS_TORCH = "what learns needs PyTorch: pip install 'edgewright[learn]'"
pytest.importorskip("torch", reason=NEEDS_TORCH)
pytest.importorskip("safetensors", reason=NEEDS_TORCH)

import edgewright as ew  # noqa: E402
import tiny_detector  # noqa: E402
from edgewright.compress.quantize import quantize_dynamic  # noqa: E402
from edgewright.graph.metadata import trained_ranges  # noqa: E402
from edgewright.learn.trainable import silu_pairs  # noqa: E402
from tiny_dataset import grey_picture, write_tiny_dataset  # noqa: E402
from tiny_detector import build_tiny_detector, save_tiny_detector  # noqa: E402

SERVER = Path(__file__).with_name("recovery_server.py")
DOCUMENTED = {
    "schema", "model", "teacher", "recipe", "engine", "seed", "frames", "stages", "accuracy", "judged_on", "before", "after", "agreement",
    "delta", "size", "warnings", "tools", "elapsed_s", "peak_mib",
}  # fmt: skip
OF_A_STAGE = {"change", "steps", "seconds", "agreement", "size_wh", "peak_mib", "checks", "said"}
# Every moment at which something could be lost, in the order in which `swap@3,qat@1` comes to it: 24 steps, a checkpoint every other one
# and before each look; a look every 4th step; then 8 steps, a checkpoint after each.
DEATHS = [
    ("at the beginning of a change", 1),
    ("behind a step", 1),
    ("behind a checkpoint", 1),
    ("between checkpoint and look", 1),
    ("behind a step", 3),
    ("between the best student and its curve", 2),
    ("behind a look", 1),
    ("behind a step", 2),
    ("between a finished student and its facts", 1),
    ("between two changes", 1),
    ("at the beginning of a change", 1),
    ("behind a checkpoint", 3),
    ("between the best student and its curve", 1),
    ("before it is judged", 1),
    ("before it is published", 1),
]


class Server:
    """The process that runs commands, each in a fork of its own."""

    def __init__(self):
        command = [sys.executable, str(SERVER)]
        environment = {**os.environ, "COLUMNS": "200", "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def __call__(self, *words, die=None, with_signal=signal.SIGKILL):
        order = {"words": [str(word) for word in words], "die": die, "with": int(with_signal)}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert "Traceback" not in answer["said"], answer["said"]
        return Answer(answer["status"], answer["said"])

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


class Answer:
    """The exit code, or minus the signal; and what was said on standard error."""

    def __init__(self, status, said):
        self.status, self.said = status, said

    @property
    def begun(self):
        """The changes whose exercise was begun or gone on with."""
        return [line.removesuffix(": prepare") for line in self.said.splitlines() if line.endswith(": prepare")]

    @property
    def sentences(self):
        return [line for line in self.said.splitlines() if line.startswith("edgewright: ")]


@pytest.fixture(scope="module")
def run():
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_detector(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Forty pictures to learn from and eight to judge by, labelled."""
    return write_tiny_dataset(tmp_path_factory.mktemp("data"), train=40, val=8)


@pytest.fixture(scope="module")
def frames(data):
    """The same pictures, and nobody says what is in them."""
    return data.parent / "images"


@pytest.fixture(scope="module")
def recovered(run, model, frames, tmp_path_factory):
    """The folder of `recover` with its default recipe."""
    out = tmp_path_factory.mktemp("recovered") / "out"
    ran = run("recover", model, "--data", frames, "--out", out, "--effort", "0.2")
    assert ran.status == 0, ran.said
    return out


@pytest.fixture(scope="module")
def undisturbed(run, model, frames, tmp_path_factory):
    """What two changes come to when nobody kills them."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    ran = run("recover", model, "--data", frames, "--out", out, "--recipe", "swap@3,qat@1")
    assert ran.status == 0, ran.said
    assert ran.begun == ["swap", "qat"]
    return out


def network_in(out):
    return ew.Artifact.load(out).model_path


def told_of(out):
    """`recovery.json` without what a clock says, or how much memory it took."""
    document = json.loads((out / "recovery.json").read_text())
    clocks = {"elapsed_s", "peak_mib"}
    stages = [{key: value for key, value in stage.items() if key not in {"seconds", "peak_mib"}} for stage in document["stages"]]
    return {**{key: value for key, value in document.items() if key not in clocks}, "stages": stages}


def held_in(out):
    return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}


# --- what it leaves ----------------------------------------------------------------------------------------------------------------------


def test_it_leaves_an_artifact_and_what_is_known_of_it(recovered):
    artifact = ew.Artifact.load(recovered)

    assert artifact.lineage["recovered"] == {"recipe": ["swap"], "seed": 0}
    assert {path.name for path in recovered.iterdir()} == {artifact.files[0].path, "artifact.json", "recovery.json", ".recover"}


def test_what_it_leaves_finds_what_the_given_model_finds(undisturbed, model, frames):
    with ew.open(undisturbed) as changed, ew.open(model) as given:
        for picture in sorted((frames / "val").iterdir())[:6]:
            found, expected = changed(str(picture)), given(str(picture))
            assert found.names[0] == expected.names[0]
            assert np.abs(found.boxes_xyxy[0] - expected.boxes_xyxy[0]).max() < 3


def test_what_happened_is_told_with_every_documented_key(recovered):
    document = json.loads((recovered / "recovery.json").read_text())

    assert document.keys() >= DOCUMENTED
    assert document["stages"][0].keys() >= OF_A_STAGE
    assert document["stages"][0]["checks"][-1].keys() == {"step", "agreement", "map50", "map50_95"}
    assert document["stages"][0]["said"] == {"activations": 5}
    assert document["frames"] == {"learned_from": 32, "held_out": 8, "labels": False}
    assert (document["schema"], document["recipe"], document["engine"], document["seed"]) == (1, ["swap"], "onnxruntime", 0)
    assert document["model"] == document["teacher"]
    assert document["tools"].keys() >= {"torch", "threads", "precision"}
    assert document["size"]["after"]["macs"] == document["size"]["before"]["macs"] > 0
    assert document["stages"][0]["seconds"] == pytest.approx(document["elapsed_s"], abs=0.11)


def test_without_labels_accuracy_is_agreement_and_says_so(recovered):
    document = json.loads((recovered / "recovery.json").read_text())

    assert document["accuracy"] == "agreement with the given model: there are no labels, so this is no mAP"
    assert (document["before"], document["after"]) == (None, None)
    assert 0 < document["agreement"]["map50_95"] <= 1
    assert document["delta"]["map50_95"].keys() == {"estimate", "low", "high"}
    assert document["delta"]["map50_95"]["estimate"] == pytest.approx((document["agreement"]["map50_95"] - 1) * 100, abs=1e-6)
    assert all(check["map50"] is check["map50_95"] is None for check in document["stages"][0]["checks"])
    assert any("no labels" in warning for warning in document["warnings"])


def test_no_silu_is_left_and_the_interface_is_the_given_model_s(recovered, model):
    before, after = onnx.load(model), onnx.load(network_in(recovered))

    assert len(silu_pairs(before.graph.node, {"output0"}).products) == 5
    assert silu_pairs(after.graph.node, {"output0"}).products == {}
    assert sum(node.op_type == "Relu" for node in after.graph.node) == 5
    assert list(after.graph.input) == list(before.graph.input)
    assert list(after.graph.output) == list(before.graph.output)
    assert [each.version for each in after.opset_import if not each.domain] == [17]
    assert {each.key: each.value for each in after.metadata_props} == {each.key: each.value for each in before.metadata_props}


def test_labels_are_learned_from_where_they_are_asked_for_and_judge_in_any_case(run, model, data, tmp_path):
    options = ("--data", data, "--recipe", "swap@0.5", "--json", tmp_path / "told.json")
    ran = run("recover", model, *options, "--out", tmp_path / "labels", "--labels")
    document = json.loads((tmp_path / "told.json").read_text())

    assert ran.status == 0, ran.said
    assert document == json.loads((tmp_path / "labels/recovery.json").read_text())
    assert document["accuracy"] == "mAP on the val split, which nothing was learned from"
    assert document["frames"] == {"learned_from": 32, "held_out": 8, "labels": True}
    assert document["before"]["map50"] > 0.5
    assert document["after"]["map50"] > 0.5
    assert all(0 <= check["map50_95"] <= check["map50"] <= 1 for check in document["stages"][0]["checks"])
    points = (document["after"]["map50_95"] - document["before"]["map50_95"]) * 100
    assert document["delta"]["map50_95"]["estimate"] == pytest.approx(points, abs=1e-6)

    assert run("recover", model, *options, "--out", tmp_path / "teacher").status == 0
    assert network_in(tmp_path / "teacher").read_bytes() != network_in(tmp_path / "labels").read_bytes()


# --- the same again ----------------------------------------------------------------------------------------------------------------------


def test_one_seed_gives_the_same_bytes_and_another_seed_others(run, model, frames, undisturbed, tmp_path):
    options = ("--data", frames, "--recipe", "swap@3,qat@1")
    again = run("recover", model, *options, "--out", tmp_path / "again", "--seed", "0")
    other = run("recover", model, *options, "--out", tmp_path / "other", "--seed", "1")

    assert (again.status, other.status) == (0, 0)
    assert network_in(tmp_path / "again").read_bytes() == network_in(undisturbed).read_bytes()
    assert told_of(tmp_path / "again") == told_of(undisturbed)
    assert network_in(tmp_path / "other").read_bytes() != network_in(undisturbed).read_bytes()


# --- killed ------------------------------------------------------------------------------------------------------------------------------


def test_a_recovery_killed_at_every_moment_ends_with_the_bytes_of_one_that_was_not(run, model, frames, undisturbed, tmp_path):
    command = ("recover", model, "--data", frames, "--out", tmp_path / "out", "--recipe", "swap@3,qat@1", "--resume")
    for moment, count in DEATHS:
        died = run(*command, die=(moment, count))
        assert died.status == -signal.SIGKILL, (moment, died.said)
        assert not (tmp_path / "out/artifact.json").exists()
    ended = run(*command)

    assert ended.status == 0, ended.said
    assert ended.begun == [], "all was learned before the last death"
    assert network_in(tmp_path / "out").read_bytes() == network_in(undisturbed).read_bytes()
    assert told_of(tmp_path / "out") == told_of(undisturbed)
    left = {path.name for path in (tmp_path / "out/.recover").rglob("*.*")}
    assert [name for name in left if name.endswith((".safetensors", ".curve.json", ".best.onnx", ".trial.onnx"))] == []


def test_a_kill_between_two_changes_loses_neither(run, model, frames, undisturbed, tmp_path):
    command = ("recover", model, "--data", frames, "--out", tmp_path / "out", "--recipe", "swap@3,qat@1")
    died = run(*command, die=("between two changes", 1))
    assert (died.status, died.begun) == (-signal.SIGKILL, ["swap"])
    ended = run(*command, "--resume")

    assert (ended.status, ended.begun) == (0, ["qat"])
    assert network_in(tmp_path / "out").read_bytes() == network_in(undisturbed).read_bytes()


def test_a_recovery_killed_while_it_prunes_ends_with_the_same_bytes(run, frames, tmp_path, monkeypatch):
    monkeypatch.setattr(tiny_detector, "CHANNELS", 32)  # enough to lose some on any processor
    wide = save_tiny_detector(tmp_path / "wide.onnx")
    command = ("recover", wide, "--data", frames, "--recipe", "prune=0.3@2,qat@0.5", "--out")
    assert run(*command, tmp_path / "undisturbed").status == 0
    assert run(*command, tmp_path / "out", die=("behind a checkpoint", 3)).status == -signal.SIGKILL
    assert run(*command, tmp_path / "out", "--resume", die=("between two changes", 1)).status == -signal.SIGKILL
    ended = run(*command, tmp_path / "out", "--resume")
    size = json.loads((tmp_path / "out/recovery.json").read_text())["size"]

    assert (ended.status, ended.begun) == (0, ["qat"])
    assert network_in(tmp_path / "out").read_bytes() == network_in(tmp_path / "undisturbed").read_bytes()
    assert size["after"]["macs"] <= 0.7 * size["before"]["macs"]
    assert size["after"]["parameters"] < size["before"]["parameters"]
    assert trained_ranges(onnx.load(network_in(tmp_path / "out"))) != {}


def test_ctrl_c_is_one_sentence_and_exit_130_and_an_older_result_is_still_there(run, model, frames, tmp_path):
    command = ("recover", model, "--data", frames, "--out", tmp_path / "out", "--recipe", "swap@0.5")
    assert run(*command).status == 0
    held = held_in(tmp_path / "out")
    stopped = run(*command, "--seed", "1", die=("behind a step", 2), with_signal=signal.SIGINT)

    assert stopped.status == 130
    assert len(stopped.sentences) == 1
    assert "stopped" in stopped.sentences[0]
    assert "`recover` go on with --resume" in stopped.sentences[0]
    assert held_in(tmp_path / "out") == held

    assert run(*command, "--seed", "1", "--resume").status == 0
    assert held_in(tmp_path / "out").keys() != held.keys(), "the new result has taken its place"


# --- what --resume finds -----------------------------------------------------------------------------------------------------------------


def test_a_longer_recipe_goes_on_with_what_a_shorter_one_had_finished(run, model, frames, undisturbed, tmp_path):
    command = ("recover", model, "--data", frames, "--out", tmp_path / "out", "--recipe")
    assert run(*command, "swap@3").begun == ["swap"]
    longer = run(*command, "swap@3,qat@1", "--resume")

    assert (longer.status, longer.begun) == (0, ["qat"])
    assert network_in(tmp_path / "out").read_bytes() == network_in(undisturbed).read_bytes()
    assert run(*command, "swap@3", "--resume").begun == []
    assert ew.Artifact.load(tmp_path / "out").lineage["recovered"]["recipe"] == ["swap"]


def test_without_resume_or_with_another_seed_it_begins_anew(run, model, frames, tmp_path):
    command = ("recover", model, "--data", frames, "--out", tmp_path / "out", "--recipe", "swap@0.25")
    assert run(*command).begun == ["swap"]
    assert run(*command, "--resume", "--seed", "1").begun == ["swap"]
    assert run(*command, "--resume", "--seed", "0").begun == []
    assert run(*command).begun == ["swap"]
    assert run(*command, "--resume", "--seed", "1").begun == ["swap"], "what was there before is gone"


@pytest.mark.parametrize(
    ("suffix", "garbage"),
    [
        (".json", b'{"size_wh": [64, 1e999]}'),
        (".json", b"[" * 100_000),
        (".json", b"not json"),
        (".onnx", b"not a network"),
        (".onnx", None),
    ],
    ids=["facts without bounds", "facts without end", "no facts", "no network", "half a network"],
)
def test_a_finished_change_that_cannot_be_read_is_learned_again(run, model, frames, recovered, tmp_path, suffix, garbage):
    command = ("recover", model, "--data", frames, "--out", tmp_path / "out", "--recipe", "swap@0.25")
    first = run(*command)
    assert first.status == 0
    learned = network_in(tmp_path / "out").read_bytes()
    (found,) = (tmp_path / "out/.recover/stages").glob(f"01-swap-*{suffix}")
    found.write_bytes(found.read_bytes()[:1000] if garbage is None else garbage)
    again = run(*command, "--resume")

    assert (again.status, again.begun) == (0, ["swap"])
    assert network_in(tmp_path / "out").read_bytes() == learned


def test_a_checkpoint_of_a_stranger_s_is_refused_and_says_how_to_go_on(run, model, frames, tmp_path):
    command = ("recover", model, "--data", frames, "--out", tmp_path / "out", "--recipe", "swap@3")
    assert run(*command, die=("behind a checkpoint", 1)).status == -signal.SIGKILL
    (checkpoint,) = (tmp_path / "out/.recover/stages").glob("*.safetensors")
    checkpoint.write_bytes(b"\x80\x04\x95" + bytes(100))
    refused = run(*command, "--resume")

    assert refused.status == 2
    assert len(refused.sentences) == 1
    assert "start again without --resume" in refused.sentences[0]


@pytest.mark.parametrize("garbage", [b"\xff" * 500, None], ids=["garbled", "gone"])
def test_a_best_student_that_is_lost_is_said_and_how_to_go_on(run, model, frames, tmp_path, garbage):
    command = ("recover", model, "--data", frames, "--out", tmp_path / "out", "--recipe", "swap@0.25")
    assert run(*command, die=("between a finished student and its facts", 1)).status == -signal.SIGKILL
    (best,) = (tmp_path / "out/.recover/stages").glob("*.best.onnx")
    best.unlink() if garbage is None else best.write_bytes(garbage)
    refused = run(*command, "--resume")

    assert refused.status == 2
    assert len(refused.sentences) == 1
    assert "start again without --resume" in refused.sentences[0]
    assert run(*command).status == 0


# --- bad input ---------------------------------------------------------------------------------------------------------------------------


def quantized(folder):
    path = folder / "int8.onnx"
    quantize_dynamic(save_tiny_detector(folder / "float.onnx"), path)
    return path


def with_unknown_operator(folder):
    """The first convolution's activation is followed by an operator that nobody trains."""
    model = build_tiny_detector(activation="relu")
    at = next(at for at, node in enumerate(model.graph.node) if node.op_type == "Relu")
    found = model.graph.node[at]
    model.graph.node.insert(at + 1, helper.make_node("Erf", ["bent"], [found.output[0]], name="erf"))
    found.output[0] = "bent"
    onnx.save(model, folder / "erf.onnx")
    return folder / "erf.onnx"


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("prune=0", "cannot be read at prune=0; got 0, which is not between 0.01 and 0.95"),
        ("swap@0", "cannot be read at swap@0"),
        ("shrink", "no width"),
        ("shrink=33", "the model cannot be shrunk to 33; got 33x33; expected a width below 64"),
        ("shrink=64", "the model cannot be shrunk to 64"),
        ("shrink=96", "the model cannot be shrunk to 96"),
    ],
)
def test_a_value_that_a_change_cannot_take_is_refused_in_a_sentence(run, model, frames, tmp_path, recipe, said):
    refused = run("recover", model, "--data", frames, "--out", tmp_path / "out", "--recipe", recipe)

    assert refused.status == 2
    assert len(refused.sentences) == 1
    assert said in refused.sentences[0]


@pytest.mark.parametrize(
    ("make", "said"),
    [(quantized, "is already quantized"), (with_unknown_operator, "Erf")],
    ids=["a quantized model", "an operator that is not trained"],
)
def test_a_network_that_cannot_be_trained_is_refused_in_a_sentence(run, frames, tmp_path, make, said):
    refused = run("recover", make(tmp_path), "--data", frames, "--out", tmp_path / "out")

    assert refused.status == 2
    assert len(refused.sentences) == 1
    assert said in refused.sentences[0]
    assert not (tmp_path / "out/artifact.json").exists()


@pytest.mark.skipif(not ew.engines.is_installed("mnn"), reason="MNN is not installed")
def test_an_engine_without_integers_to_train_for_is_refused(run, model, frames, tmp_path):
    refused = run("recover", model, "--data", frames, "--out", tmp_path / "out", "--engine", "mnn")

    assert refused.status == 2
    assert "mnn computes in no integers that a network can be trained for here" in refused.sentences[0]
    assert not (tmp_path / "out").exists()


def test_frames_in_which_the_teacher_finds_nothing_are_warned_of(run, model, tmp_path):
    write_tiny_dataset(tmp_path / "data", train=40, val=8)
    for at, path in enumerate(sorted((tmp_path / "data/images/train").iterdir())):
        grey_picture(path, 60 + at, (64, 64))
    ran = run("recover", model, "--data", tmp_path / "data/images", "--out", tmp_path / "out", "--recipe", "swap@0.1")
    document = json.loads((tmp_path / "out/recovery.json").read_text())

    assert ran.status == 0, ran.said
    said = "the teacher finds something in 0 of 40 frames: it can teach nothing on pictures of another domain"
    assert said in document["warnings"]


# --- inside a fit ------------------------------------------------------------------------------------------------------------------------


def test_a_fit_recovers_and_recalls_what_it_had_learned_when_it_was_killed(run, model, data, tmp_path):
    options = ("--engines", "onnxruntime", "--images", "4", "--max-drop", "100", "--threads", "1")
    command = ("fit", model, "--data", data, "--out", tmp_path / "out", *options, "--recover", "--recipe", "swap@0.25,shrink=32@0.25")
    died = run(*command, die=("at the beginning of a change", 2))
    assert (died.status, died.begun) == (-signal.SIGKILL, ["swap", "shrink=32"]), died.said
    ended = run(*command, "--resume")
    evidence = json.loads((tmp_path / "out/evidence.json").read_text())

    assert ended.status in (0, 1), ended.said
    assert ended.begun == ["shrink=32"], "swap was finished before"
    assert [stage["change"] for stage in evidence["recovery"]["stages"]] == ["swap", "shrink=32"]
    assert [stage["source"] for stage in evidence["recovery"]["stages"]] == ["swap", "swap+shrink=32"]
    assert evidence["recovery"]["front"].keys() == {"without", "with"}
    sizes = {candidate["source"]: candidate["imgsz"] for candidate in evidence["candidates"]}
    assert sizes == {"": 64, "swap": 64, "swap+shrink=32": 32}
    assert '<h2 id="recovery">' in (tmp_path / "out/report.html").read_text()

    recalled = run(*command, "--resume")
    assert recalled.begun == []
    assert json.loads((tmp_path / "out/evidence.json").read_text())["recovery"] == evidence["recovery"]
