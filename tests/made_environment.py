"""Environments of other people's packages, which no dependency of ours is: made once in .cache, and an honest skip where they cannot be."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
SET_UP_S = 240


def python_with(name, wanted, variable):
    """The Python of an environment that holds the package; `variable` names that of one that is there already."""
    if given := os.environ.get(variable):
        return given
    folder = REPOSITORY / ".cache" / name
    python = folder / "bin" / "python"
    if not (folder / "done").is_file():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True, timeout=SET_UP_S)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1", "--timeout", "10", wanted]
        try:
            done = subprocess.run(pip, capture_output=True, text=True, timeout=SET_UP_S, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip(f"installing {wanted} took more than {SET_UP_S} s")
        if done.returncode:
            pytest.skip(f"{wanted} cannot be installed here: {(done.stderr.splitlines() or ['no reason given'])[-1]}")
        (folder / "done").touch()
    return python
