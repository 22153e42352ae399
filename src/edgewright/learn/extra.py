"""Whether what learning needs is there: PyTorch is an extra that no board has to carry."""

import os
from importlib.util import find_spec

from edgewright.errors import HostError

PACKAGES = ("torch", "safetensors")
# PyTorch's threads spin while they wait for one another; where anything else wants a core, that costs two thirds of the time (on two busy
# cores a step took 9 s, without spinning 3). OpenMP reads this when PyTorch is loaded.
WAITING = ("OMP_WAIT_POLICY", "PASSIVE")


def need_torch() -> None:
    """Say what is missing before anything is begun, and let threads that wait give their cores away, where nobody has said otherwise.

    Raises:
        HostError: PyTorch or safetensors is not installed.
    """
    for package in PACKAGES:
        if find_spec(package) is None:
            what = f"training needs the package {package}, which is not installed"
            raise HostError(what, fix="run: pip install 'edgewright[learn]'")
    os.environ.setdefault(*WAITING)
