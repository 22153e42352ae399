"""The figures that others publish for these models under this protocol come out of our path as well."""

import pytest

from edgewright.accuracy.coco import evaluate
from edgewright.accuracy.predictions import predict
from edgewright.data.dataset import open_dataset
from edgewright.detector import open_detector


@pytest.mark.parametrize(("model", "map50", "map50_95"), [("yolov8n", 0.590, 0.430), ("yolov8n_int8_lamri", 0.566, 0.412)])
def test_coco_val_gives_the_reference_figures(test_data, model, map50, map50_95):
    data = open_dataset(test_data / "coco/data.yaml")
    with open_detector(test_data / f"models/{model}.onnx") as detector:
        report = evaluate(predict(detector, data, data.split("val"))).report
    assert report.map50 == pytest.approx(map50, abs=0.01)
    assert report.map50_95 == pytest.approx(map50_95, abs=0.01)
