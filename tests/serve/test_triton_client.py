"""A default `tritonclient[http]` from PyPI, in an environment of its own, works unchanged.

The environment is made once, in .cache/triton-client; EDGEWRIGHT_TRITON_PYTHON names the Python of one that is there already.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from model_server import served
from tiny_detector import save_tiny_detector

REPOSITORY = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("triton_client_script.py")
ENVIRONMENT = REPOSITORY / ".cache" / "triton-client"
WANTED = "tritonclient[http]>=2.60"
SET_UP_S = 240
MOST_CALLS_S = 120


@pytest.fixture(scope="module")
def client_python():
    """The Python of an environment that holds the client; an honest skip where there is none, and none can be made."""
    if given := os.environ.get("EDGEWRIGHT_TRITON_PYTHON"):
        return given
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / "done").is_file():
        subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True, timeout=SET_UP_S)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1", "--timeout", "10", WANTED]
        try:
            done = subprocess.run(pip, capture_output=True, text=True, timeout=SET_UP_S, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip(f"installing {WANTED} took more than {SET_UP_S} s")
        if done.returncode:
            pytest.skip(f"{WANTED} cannot be installed here: {(done.stderr.splitlines() or ['no reason given'])[-1]}")
        (ENVIRONMENT / "done").touch()
    return python


def test_a_default_client_works_unchanged(client_python, tmp_path):
    for name in ("tiny", "other"):
        save_tiny_detector(tmp_path / f"{name}.onnx")
    with served(folder=tmp_path, at_start=("tiny",)) as server:
        command = [client_python, SCRIPT, f"127.0.0.1:{server.port}", "tiny", "other"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=MOST_CALLS_S, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert len(done.stdout.splitlines()) >= 30
