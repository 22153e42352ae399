"""A struct of arrays that stays one."""

import json

import numpy as np
import pytest

from edgewright.detections import Detections


def three():
    boxes = np.array([[0, 0, 10, 10.123], [5, 5, 6, 6], [1, 2, 3, 4]], np.float32)
    return Detections(boxes, np.array([0.9, 0.5, 0.123456789], np.float32), np.array([1, 0, 7]), ("cat", "dog"))


def test_names_fall_back_to_numbers():
    assert three().names == ["dog", "cat", "7"]


@pytest.mark.parametrize(("score", "left"), [(0.0, 3), (0.5, 1), (0.499, 2), (1.0, 0)])
def test_above_is_strict(score, left):
    found = three().above(score)
    assert len(found) == left
    assert found.boxes_xyxy.shape == (left, 4)
    assert found.classes == ("cat", "dog")


def test_slices_and_masks_keep_rows_together():
    found = three()[1:]
    assert found.names == ["cat", "7"]
    assert three()[np.array([True, False, True])].scores == pytest.approx([0.9, 0.123456789])


def test_json_is_rounded_to_what_a_box_is_good_for():
    document = json.loads(json.dumps(three().to_json()))
    assert document["boxes_xyxy"][0] == [0.0, 0.0, 10.0, 10.12]
    assert document["scores"][2] == 0.12346
    assert document["classes"] == ["dog", "cat", "7"]


def test_none_is_well_formed():
    found = Detections.none(("cat",))
    assert len(found) == 0
    assert found.to_json() == {"boxes_xyxy": [], "scores": [], "classes": []}


@pytest.mark.parametrize(("boxes", "scores", "class_ids"), [((2, 4), 3, 3), ((3, 5), 3, 3), ((3, 4), 3, 2), ((12,), 3, 3)])
def test_rows_that_do_not_belong_together_are_refused(boxes, scores, class_ids):
    with pytest.raises(ValueError, match="not the same boxes"):
        Detections(np.zeros(boxes, np.float32), np.zeros(scores, np.float32), np.zeros(class_ids, np.int64))
