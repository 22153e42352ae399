"""A real disk that is too small: a tmpfs of a few hundred kilobytes, mounted for one process alone."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgewright.artifact import Artifact
from tiny_dataset import write_tiny_dataset
from tiny_detector import save_tiny_detector

SERVER = Path(__file__).with_name("fit_server.py")
BLOCK = 4096

# $1 the size in KiB, $2 where to mount, $3 the older result, $4 where copies and answers go, $5 and $6 two orders, $7 Python, $8 the server
STORY = """
set -e
mount -t tmpfs -o "size=$1k" none "$2"
cp -r "$3" "$2/out"
echo "$5" | "$7" "$8" > "$4/full.json"
cp -r "$2/out" "$4/full"
mount -o remount,size=64m none "$2"
echo "$6" | "$7" "$8" > "$4/resumed.json"
cp -r "$2/out" "$4/resumed"
"""


@pytest.fixture(scope="module")
def private_mounts():
    """Skips where a process cannot have mounts of its own."""
    unshare = shutil.which("unshare")
    probe = [unshare or "", "-rm", "sh", "-c", "mount -t tmpfs none /mnt"]
    if unshare is None or subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        pytest.skip("no private mounts here (unshare -rm)")
    return unshare


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = tmp_path_factory.mktemp("material")
    return save_tiny_detector(folder / "tiny.onnx"), write_tiny_dataset(folder / "data", train=12, val=6)


@pytest.fixture(scope="module")
def older(material, tmp_path_factory):
    """A finished result of another model."""
    folder = tmp_path_factory.mktemp("older")
    order = order_for((save_tiny_detector(folder / "other.onnx", activation="relu"), material[1]), folder / "out", resume=False)
    subprocess.run([sys.executable, SERVER], input=order, text=True, check=True, capture_output=True)
    return folder / "out"


def order_for(material, out, *, resume):
    return json.dumps({"model": str(material[0]), "data": str(material[1]), "out": str(out), "resume": resume})


def blocks_of(folder):
    """What it takes on a disk, in KiB."""
    return sum(-(-path.stat().st_size // BLOCK) * BLOCK // 1024 for path in folder.rglob("*") if path.is_file())


def result_in(out):
    return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}


def tell(spare_kib, private_mounts, material, older, tmp_path):
    """A fit with so much space left, then `--resume` with enough of it; whether the space was too little."""
    disk, kept = tmp_path / "disk", tmp_path / str(spare_kib)
    disk.mkdir(exist_ok=True)
    kept.mkdir()
    orders = [order_for(material, disk / "out", resume=resume) for resume in (False, True)]
    words = [blocks_of(older) + spare_kib, disk, older, kept, *orders, sys.executable, SERVER]
    subprocess.run([private_mounts, "-rm", "sh", "-c", STORY, "sh", *map(str, words)], check=True, timeout=280)
    full, resumed = (json.loads((kept / f"{name}.json").read_text()) for name in ("full", "resumed"))
    assert resumed == {"status": 0, "said": ""}
    Artifact.load(kept / "resumed")
    if full["status"] == 0:
        return False
    assert full["status"] == 3
    assert full["said"].startswith("edgewright: cannot write "), full["said"]
    assert "no space left on the disk" in full["said"]
    assert full["said"].count("\n") == 1
    assert result_in(kept / "full") == result_in(older)
    return True


@pytest.mark.parametrize("spare_kib", [pytest.param(0, marks=pytest.mark.soak), 200])
def test_a_disk_too_small_is_one_sentence_and_the_older_result_stays(spare_kib, private_mounts, material, older, tmp_path):
    assert tell(spare_kib, private_mounts, material, older, tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_from_no_space_to_enough_of_it(private_mounts, material, older, tmp_path):
    spare_kib = 0
    while tell(spare_kib, private_mounts, material, older, tmp_path):
        spare_kib += 24
    print(f"{spare_kib // 24} sizes were too small, {spare_kib} KiB more than the older result are enough")
    assert spare_kib > 200
