"""The detector that ships: a small file, described by itself, that finds defects on boards it has not seen."""

import ast
from pathlib import Path

import numpy as np
import pytest

import edgewright
from edgewright.data.circuit_boards import CLASS_NAMES, draw_board

onnx = pytest.importorskip("onnx", reason="reading the model needs edgewright[fit]")
MODEL = Path(edgewright.__file__).parent / "demo_model" / "circuit_boards.onnx"


def test_is_small_and_says_what_it_is():
    model = onnx.load(MODEL)
    metadata = {p.key: p.value for p in model.metadata_props}

    assert MODEL.stat().st_size < 8_000_000
    assert ast.literal_eval(metadata["names"]) == dict(enumerate(CLASS_NAMES))
    assert metadata["license"] == "Apache-2.0"
    assert [d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim] == [1, 10, 8400]


def test_its_card_lies_beside_it():
    card = (MODEL.parent / "MODEL_CARD.md").read_text(encoding="utf-8")

    for word in ("Apache-2.0", "zero-shot", "held-out", "wall"):
        assert word in card


@pytest.mark.parametrize("look", ["camera", "binary"])
def test_finds_most_defects_of_held_out_boards_and_few_others(look):
    pytest.importorskip("onnxruntime", reason="running the model needs edgewright[ort]")
    from edgewright.detector import open_detector

    with open_detector(MODEL, threads=1) as detector:
        wanted = found = claimed = right = 0
        for seed in range(90_000, 90_010):
            picture = draw_board(seed, split="held_out", look=look)
            seen = detector.detect(picture.image_rgb, score_above=0.3)
            match = _overlaps(picture.boxes_xyxy, seen.boxes_xyxy) & (picture.class_ids[:, None] == seen.class_ids[None])
            wanted, found = wanted + len(picture.class_ids), found + int(match.any(1).sum())
            claimed, right = claimed + len(seen.scores), right + int(match.any(0).sum())

    assert wanted > 40
    assert found / wanted > 0.8
    assert right / claimed > 0.8


def _overlaps(a, b):
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    areas = [np.prod(x[:, 2:] - x[:, :2], 1) for x in (a, b)]
    return shared / (areas[0][:, None] + areas[1][None] - shared) > 0.5
