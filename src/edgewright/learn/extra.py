"""Whether what learning needs is there: PyTorch is an extra that no board has to carry."""

from importlib.util import find_spec

from edgewright.errors import HostError

PACKAGES = ("torch", "safetensors")


def need_torch() -> None:
    """Say what is missing before anything is begun.

    Raises:
        HostError: PyTorch or safetensors is not installed.
    """
    for package in PACKAGES:
        if find_spec(package) is None:
            what = f"training needs the package {package}, which is not installed"
            raise HostError(what, fix="run: pip install 'edgewright[learn]'")
