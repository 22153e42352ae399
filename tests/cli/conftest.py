"""Run the command as a user does, and keep what came out of it."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgewright import cli
from edgewright.compress.quantize import quantize_dynamic
from tiny_dataset import write_tiny_dataset
from tiny_detector import save_tiny_detector


@dataclass(frozen=True)
class Ran:
    """What a command left: its exit code and both of its streams."""

    exit_code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    def assert_refused(self, exit_code: int, *said: str) -> None:
        """One sentence on standard error, nothing on standard output, and no traceback."""
        assert self.exit_code == exit_code, self
        assert self.out == ""
        assert "Traceback" not in self.err
        sentences = [line for line in self.err.splitlines() if line.startswith("edgewright: ")]
        assert len(sentences) == 1, self.err
        assert all(words in sentences[0] for words in said), sentences[0]


@pytest.fixture
def edgewright(monkeypatch, capfd, tmp_path):
    """`edgewright(*words)` runs the command line in this process, in an empty folder."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*words: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["edgewright", *map(str, words)])
        capfd.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        out, err = capfd.readouterr()
        return Ran(code, out, err)

    return run


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    return save_tiny_detector(tmp_path_factory.mktemp("model") / "tiny.onnx", activation="relu")


@pytest.fixture(scope="session")
def quantized_model(tiny_model) -> Path:
    """The tiny model as a tool other than ours would quantize it."""
    path = tiny_model.with_name("tiny_int8.onnx")
    quantize_dynamic(tiny_model, path)
    return path


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory) -> Path:
    return write_tiny_dataset(tmp_path_factory.mktemp("data"), train=6, val=6)
