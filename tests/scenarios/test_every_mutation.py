"""Every mutation of a sound detector, by every verb that opens models: its own reason, the same words, exit code 2.

Soon, too, and in little memory.
"""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgewright.demo import demo_model
from edgewright.errors import InputError
from edgewright.graph.lint import refuse_unsound
from edgewright.graph.load import load_model
from graph.model_mutations import ALREADY_FOUND, MUTATIONS
from tiny_dataset import write_tiny_dataset

VERBS = ("inspect", "fit", "eval", "bench", "detect")
MOST_S = 20.0  # of the processors, all processes of the verb together: a busy machine is no fault of the file
MOST_MIB = 1024
PATIENCE_S = 120  # on the clock
# A process of its own between us and the verb: what it has waited for are the verb and its children, and nothing of ours.
WRAPPER = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], capture_output=True, text=True, stdin=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([done.returncode, done.stdout, done.stderr, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""


@dataclass(frozen=True)
class Told:
    """What a verb left behind: `peak_mib` is of its largest process."""

    status: int
    output: str
    error: str
    seconds: float
    peak_mib: float


@pytest.fixture(scope="module")
def material(tmp_path_factory) -> tuple[Path, Path]:
    """A data set and a picture, both sound."""
    folder = tmp_path_factory.mktemp("material")
    picture = folder / "picture.png"
    cv2.imwrite(str(picture), np.full((64, 64, 3), 114, np.uint8))
    return write_tiny_dataset(folder / "data", train=4, val=2), picture


def told_by(verb: str, model: Path, material: tuple[Path, Path], out: Path) -> Told:
    data, picture = (str(path) for path in material)
    rest = {
        "inspect": (),
        "fit": ("--data", data, "--out", str(out)),
        "eval": ("--data", data),
        "bench": (),
        "detect": (picture, "--out", str(out)),
    }[verb]
    command = [sys.executable, "-m", "edgewright", verb, str(model), *rest, "--quiet"]
    done = subprocess.run([sys.executable, "-S", "-c", WRAPPER, *command], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    return Told(*json.loads(done.stdout))


def sentence_of(path: Path) -> str:
    """The rules' own words."""
    with pytest.raises(InputError) as caught:
        refuse_unsound(load_model(path))
    return f"edgewright: {caught.value}\n"


def see_refused(name: str, detector: bytes, verb: str, material: tuple[Path, Path], folder: Path) -> Told:
    """The verb on the mutated detector: the rules' sentence and nothing else; nothing is left of `--out`."""
    folder.mkdir()
    path = MUTATIONS[name].write(detector, folder)
    told = told_by(verb, path, material, folder / "out")

    # A folder may be an artifact, and these verbs take it for one.
    as_artifact = path.is_dir() and verb in ("eval", "bench", "detect")
    assert told.error.startswith(f"edgewright: {path} is no artifact") if as_artifact else told.error == sentence_of(path), (name, verb)
    assert (told.status, told.output) == (2, ""), (name, verb)
    assert told.seconds < MOST_S, (name, verb)
    assert told.peak_mib < MOST_MIB, (name, verb)
    assert not (folder / "out").exists(), (name, verb)
    shutil.rmtree(folder)
    return told


REFUSED = [name for name, mutation in MUTATIONS.items() if mutation.refused is not None]
SOUND = [name for name in MUTATIONS if name not in REFUSED]


@pytest.mark.parametrize(("at", "name"), list(enumerate([name for name in ALREADY_FOUND if name in REFUSED][::2])))
def test_each_verb_in_turn_refuses_a_mutation_with_the_words_of_the_rules(tmp_path, material, at, name):
    see_refused(name, demo_model().read_bytes(), VERBS[at % len(VERBS)], material, tmp_path / "model")


@pytest.mark.parametrize("name", ["hostile_metadata", "hostile_names", "hostile_tensor_names"])
def test_a_hostile_but_sound_detector_is_used_and_what_is_hostile_shown_escaped(tmp_path, material, name):
    path = MUTATIONS[name].write(demo_model().read_bytes(), tmp_path)

    inspected, detected = (told_by(verb, path, material, tmp_path / "out") for verb in ("inspect", "detect"))

    assert (inspected.status, detected.status) == (0, 0), inspected.error + detected.error
    assert (tmp_path / "out").exists()
    for told in (inspected, detected):
        assert all(line.isprintable() for line in (told.output + told.error).splitlines())


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_refuses_every_mutation_of_yolov8n_with_the_same_words(tmp_path, material, test_data, verb):
    detector = (test_data / "models" / "yolov8n.onnx").read_bytes()

    told = [see_refused(name, detector, verb, material, tmp_path / name) for name in REFUSED]

    print(f"{verb}: {len(told)} mutations, at most {max(t.seconds for t in told):.1f} s, {max(t.peak_mib for t in told):.0f} MiB")


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_every_sound_mutation_of_yolov8n_is_inspected_and_used(tmp_path, material, test_data):
    for name in SOUND:
        folder = tmp_path / name
        folder.mkdir()
        path = MUTATIONS[name].write((test_data / "models" / "yolov8n.onnx").read_bytes(), folder)
        told = [told_by(verb, path, material, folder / "out") for verb in ("inspect", "detect")]

        assert [each.status for each in told] == [0, 0 if MUTATIONS[name].not_a_detector is None else 2], (name, told)
        assert all(each.seconds < MOST_S and each.peak_mib < MOST_MIB for each in told), (name, told)
        assert all(line.isprintable() for each in told for line in (each.output + each.error).splitlines()), name
        shutil.rmtree(folder)
