"""A default `tritonclient[http]` from PyPI, in an environment of its own, works unchanged.

The environment is made once, in .cache/triton-client; EDGEWRIGHT_TRITON_PYTHON names the Python of one that is there already.
"""

import importlib.util
import subprocess
from pathlib import Path

import onnx
import pytest

from edgewright.graph.batch import set_batch
from edgewright.serve.triton_repository import ExportRequest, export_triton
from made_environment import python_with
from model_config_schema import model_config, parsed
from model_server import served
from tiny_detector import build_tiny_detector, save_tiny_detector

SCRIPT = Path(__file__).with_name("triton_client_script.py")
WANTED = "tritonclient[http]>=2.60"
MOST_CALLS_S = 120


@pytest.fixture(scope="module")
def client_python():
    return python_with("triton-client", WANTED, "EDGEWRIGHT_TRITON_PYTHON")


def test_a_default_client_works_unchanged(client_python, tmp_path):
    for name in ("tiny", "other"):
        save_tiny_detector(tmp_path / f"{name}.onnx")
    with served(folder=tmp_path, at_start=("tiny",)) as server:
        command = [client_python, SCRIPT, f"127.0.0.1:{server.port}", "tiny", "other"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=MOST_CALLS_S, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert len(done.stdout.splitlines()) >= 30


@pytest.fixture(scope="module")
def published(client_python):
    """The module that NVIDIA compiled from model_config.proto. Its package imports gRPC, so it is opened by its file."""
    code = "import tritonclient; print(list(tritonclient.__path__)[0])"
    package = subprocess.run([client_python, "-c", code], capture_output=True, text=True, check=True, timeout=MOST_CALLS_S).stdout.strip()
    spec = importlib.util.spec_from_file_location("model_config_pb2", Path(package) / "grpc" / "model_config_pb2.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_exported_is_what_the_published_schema_takes(published, tmp_path):
    fixed, free = save_tiny_detector(tmp_path / "fixed.onnx"), tmp_path / "free.onnx"
    onnx.save(set_batch(build_tiny_detector(), "batch").model, free)
    for path, batch in ((fixed, 0), (free, 8)):
        folder = export_triton(ExportRequest(path, tmp_path / "models", threads=2)).folder
        config = parsed((folder / "config.pbtxt").read_text(), published.ModelConfig)
        assert (config.name, config.max_batch_size) == (path.stem, batch)
        assert config.input[0].data_type == published.DataType.Value("TYPE_FP32")


def test_our_table_of_the_schema_is_a_part_of_the_published_one(published):
    def fields(descriptor, found):
        for field in descriptor.fields:
            found[f"{descriptor.full_name}.{field.name}"] = (field.number, field.type, field.is_repeated)
            if field.message_type is not None:
                fields(field.message_type, found)
            for value in field.enum_type.values if field.enum_type is not None else ():
                found[f"{field.enum_type.full_name}.{value.name}"] = value.number
        return found

    assert fields(model_config().DESCRIPTOR, {}).items() <= fields(published.ModelConfig.DESCRIPTOR, {}).items()
