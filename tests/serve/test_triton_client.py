"""A default `tritonclient[http]` from PyPI, in an environment of its own, works unchanged.

The environment is made once, in .cache/triton-client; EDGEWRIGHT_TRITON_PYTHON names the Python of one that is there already.
"""

import subprocess
from pathlib import Path

from made_environment import python_with
from model_server import served
from tiny_detector import save_tiny_detector

SCRIPT = Path(__file__).with_name("triton_client_script.py")
WANTED = "tritonclient[http]>=2.60"
MOST_CALLS_S = 120


def test_a_default_client_works_unchanged(tmp_path):
    python = python_with("triton-client", WANTED, "EDGEWRIGHT_TRITON_PYTHON")
    for name in ("tiny", "other"):
        save_tiny_detector(tmp_path / f"{name}.onnx")
    with served(folder=tmp_path, at_start=("tiny",)) as server:
        command = [python, SCRIPT, f"127.0.0.1:{server.port}", "tiny", "other"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=MOST_CALLS_S, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert len(done.stdout.splitlines()) >= 30
