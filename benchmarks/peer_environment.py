"""Build the Python environment that `edgewright bench --peers --peer-python` runs other people's detectors in.

    python benchmarks/peer_environment.py                    # .cache/peers, which git ignores; about 2 GB and five minutes
    edgewright bench yolov8n.onnx --peers --data data.yaml --peer-python .cache/peers/bin/python

It is for comparison alone. Ultralytics is AGPL-3.0: edgewright never imports it and never depends on it; it runs in processes of that
environment, which know nothing of edgewright. Ultralytics imports torchvision for one function, and a torchvision that fits the CPU build
of torch is hard to come by, so a stub of that one function stands in for it.
"""

import argparse
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENVIRONMENT = ROOT / ".cache" / "peers"
TORCH = "torch==2.13.0"
RUNTIMES = ("onnxruntime", "onnx", "openvino", "nncf", "opencv-python-headless")
# What Ultralytics asks for, but for torchvision (stubbed) and opencv-python (the headless one has the same module).
LIGHT_DEPENDENCIES = ("matplotlib", "pillow", "polars", "psutil", "pyyaml", "requests", "scipy", "ultralytics-thop")
ULTRALYTICS = "ultralytics"
STUB_VERSION = "0.28.0"  # the torchvision of torch 2.13.0
STUB_INIT = (
    f'"""A stand-in for torchvision: no more than what Ultralytics imports."""\n\nfrom . import ops\n\n__version__ = "{STUB_VERSION}"\n'
)
STUB_OPS = '''"""Non-maximum suppression, by Ultralytics' own code in torch."""


def nms(boxes, scores, iou_threshold):
    from ultralytics.utils.nms import TorchNMS

    return TorchNMS.nms(boxes, scores, iou_threshold)
'''
METADATA = f"Metadata-Version: 2.1\nName: torchvision\nVersion: {STUB_VERSION}\nSummary: a stub for comparisons, made by edgewright\n"


def build(folder: Path) -> Path:
    """Make the environment; its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    _install(python, TORCH)
    _install(python, *RUNTIMES, *LIGHT_DEPENDENCIES)
    # Without its dependencies, which are the ones above and a torchvision that would bring another torch.
    _install(python, "--no-deps", ULTRALYTICS)
    _stub_torchvision(python)
    return python


def _install(python: Path, *what: str) -> None:
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what], check=True)


def _stub_torchvision(python: Path) -> None:
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(subprocess.run([python, "-c", where], check=True, capture_output=True, text=True).stdout.strip())
    package, told = packages / "torchvision", packages / f"torchvision-{STUB_VERSION}.dist-info"
    for path, text in (
        (package / "__init__.py", STUB_INIT),
        (package / "ops.py", STUB_OPS),
        (told / "METADATA", METADATA),
        (told / "RECORD", ""),
        (told / "INSTALLER", "edgewright\n"),
    ):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def main() -> int:
    """Build it where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ENVIRONMENT)
    print(build(parser.parse_args().folder.absolute()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
