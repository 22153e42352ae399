"""A sound detector, changed in one way: refused for the reason that is that change's own, or let through with what was found."""

import re
import shutil

import pytest

from edgewright.demo import demo_model
from edgewright.errors import InputError, ModelError
from edgewright.graph.head import recognise
from edgewright.graph.inspect import inspect_model
from edgewright.graph.lint import refuse_unsound
from edgewright.graph.load import load_model
from graph.model_mutations import ALREADY_FOUND, MUTATIONS

LONGEST = 700  # characters of a refusal: a few names and numbers, never what a stranger had to say


def judge(path, mutation, *, is_detector=True):
    """See that the file is refused, or found to be what the table says."""
    if mutation.refused is not None:
        with pytest.raises(InputError) as caught:
            refuse_unsound(load_model(path))
        is_one_sentence(caught.value, mutation.refused)
        return
    model = load_model(path)
    findings = refuse_unsound(model)
    assert set(mutation.found) <= {finding.code for finding in findings}
    assert all(text.isprintable() and len(text) <= LONGEST for finding in findings for text in finding.to_json().values())
    if not is_detector:
        return
    if mutation.not_a_detector is None:
        recognise(model)
        return
    with pytest.raises(ModelError, match="not a detector we can decode") as caught:
        recognise(model)
    is_one_sentence(caught.value, mutation.not_a_detector)


def is_one_sentence(error, reason):
    assert re.search(reason, str(error)), str(error)
    assert str(error).isprintable()
    assert len(str(error)) <= LONGEST
    assert error.exit_code == 2


@pytest.mark.parametrize("name", MUTATIONS)
def test_each_mutation_of_the_demo_detector_is_judged_for_what_it_is(tmp_path, name):
    mutation = MUTATIONS[name]

    judge(mutation.write(demo_model().read_bytes(), tmp_path), mutation)


@pytest.mark.parametrize("name", ALREADY_FOUND)
def test_each_mutation_found_in_the_wild_is_judged_alike_on_yolov8n(tmp_path, test_data, name):
    mutation = MUTATIONS[name]

    judge(mutation.write((test_data / "models" / "yolov8n.onnx").read_bytes(), tmp_path), mutation)


FAMILIES = ["yolov8n", "yolov5n", "yolox_nano", "pcb320_yolov10n_end2end", "pcb320_yolo26n_end2end", "yolov8n_unfused_bn"]


@pytest.mark.soak
@pytest.mark.parametrize("name", FAMILIES)
def test_each_mutation_of_every_family_is_judged_for_what_it_is(tmp_path, test_data, name):
    detector = (test_data / "models" / f"{name}.onnx").read_bytes()

    for changed, mutation in MUTATIONS.items():
        folder = tmp_path / changed
        folder.mkdir()
        judge(mutation.write(detector, folder), mutation, is_detector=False)  # with free axes, some exports are none
        shutil.rmtree(folder)


def test_the_mutations_are_those_of_the_collection_and_more(test_data):
    assert set(ALREADY_FOUND) == {path.stem for path in (test_data / "bad" / "onnx").glob("*.onnx")}
    assert len(MUTATIONS) > 3 * len(ALREADY_FOUND)


@pytest.mark.parametrize("name", [name for name, mutation in MUTATIONS.items() if mutation.refused is None])
def test_what_is_hostile_but_sound_is_described_and_every_word_of_it_escaped(tmp_path, name):
    described = inspect_model(MUTATIONS[name].write(demo_model().read_bytes(), tmp_path)).to_json()

    assert all(text.isprintable() and len(text) <= LONGEST for text in texts(described))


def texts(document):
    """Every text of a JSON document, keys among them."""
    if isinstance(document, str):
        return [document]
    if isinstance(document, dict):
        return [text for pair in document.items() for each in pair for text in texts(each)]
    return [text for each in document for text in texts(each)] if isinstance(document, list | tuple) else []
