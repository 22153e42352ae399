"""`edgewright export triton` on the command line."""

import json


def test_it_says_where_it_is_and_what_to_read(edgewright, tiny_model, tmp_path):
    ran = edgewright("export", "triton", tiny_model, "--out", tmp_path / "models")
    assert ran.exit_code == 0, ran
    assert "version 1 for Triton's onnxruntime backend, whole shapes, no batching" in ran.out
    assert "README.md" in ran.out
    quiet = edgewright("export", "triton", tiny_model, "--out", tmp_path / "models", "--quiet", "--json", "-")
    assert json.loads(quiet.out)["model"]["version"] == 2
    assert quiet.json["files"] == sorted(quiet.json["files"])
    assert quiet.json["folder"] == str(tmp_path / "models" / "tiny")


def test_what_it_refuses(edgewright, tiny_model, tmp_path):
    edgewright("export", "triton", tmp_path / "gone.onnx", "--out", tmp_path / "models").assert_refused(2, "gone.onnx")
    edgewright("export", "triton", tiny_model, "--out", tmp_path / "models", "--name", "../up").assert_refused(2, "no name for a model")
    edgewright("export", "triton", tiny_model, "--out", tmp_path / "models", "--max-batch", 4).assert_refused(2, "quantize --batch any")
    edgewright("export", "onnx", tiny_model).assert_refused(2, "onnx")
    assert not (tmp_path / "models").exists()


def test_help_has_examples(edgewright):
    assert "triton" in edgewright("export", "--help").out
    told = edgewright("export", "triton", "--help").out
    assert "edgewright export triton fitted/ --out models" in told
    assert "--max-batch" in told


def test_the_dashboard_goes_to_a_file_or_to_standard_output(edgewright, tmp_path):
    assert edgewright("export", "grafana").json["title"] == "edgewright"
    assert edgewright("export", "grafana", "--out", tmp_path / "d.json").out == ""
    assert json.loads((tmp_path / "d.json").read_text())["uid"] == "edgewright"
    edgewright("export", "grafana", "--out", tmp_path / "no" / "d.json").assert_refused(3, "cannot write")
