"""Stacked answers are measured against single ones."""

import numpy as np
import onnx
import pytest

from edgewright.compress.batch_check import check_batch, noise_pictures
from edgewright.errors import ModelError
from edgewright.graph.batch import set_batch
from tiny_detector import build_tiny_detector


@pytest.fixture
def single(tmp_path):
    onnx.save(build_tiny_detector(), tmp_path / "single.onnx")
    return tmp_path / "single.onnx"


@pytest.fixture
def pictures():
    return noise_pictures("images", (1, 3, 64, 64), 3)


@pytest.mark.parametrize("batch", [3, "batch"])
def test_answers_that_are_equal_pass(single, pictures, tmp_path, batch):
    onnx.save(set_batch(build_tiny_detector(), batch).model, tmp_path / "stacked.onnx")
    assert check_batch(single, tmp_path / "stacked.onnx", pictures) <= 1e-4


def test_answers_to_the_wrong_picture_are_heard(single, pictures, tmp_path):
    """A model that turns the stack round answers every question, but of another picture."""
    model = set_batch(build_tiny_detector(), 3).model
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2, 1, 0]), "backwards"))
    model.graph.node.append(onnx.helper.make_node("Gather", ["output0", "backwards"], ["turned"], axis=0))
    model.graph.output[0].name = "turned"
    onnx.save(model, tmp_path / "turned.onnx")
    with pytest.raises(ModelError, match="the model answers otherwise when pictures are stacked; got a difference of"):
        check_batch(single, tmp_path / "turned.onnx", pictures)


def test_a_model_that_takes_another_number_of_pictures_is_heard(single, pictures, tmp_path):
    onnx.save(set_batch(build_tiny_detector(), 2).model, tmp_path / "two.onnx")
    with pytest.raises(ModelError, match="cannot run with pictures stacked"):
        check_batch(single, tmp_path / "two.onnx", pictures)


def test_no_two_pictures_of_noise_are_alike():
    first, second = noise_pictures("x", (1, 3, 8, 8), 2, highest=255)
    assert first["x"].dtype == np.float32
    assert 200 < first["x"].max() < 255
    assert not np.array_equal(first["x"], second["x"])
