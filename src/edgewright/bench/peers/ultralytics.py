"""Ultralytics' `predict` on the ONNX file as given, in its own Python: what most people run today."""

from pathlib import Path

from edgewright.bench.end_to_end import FrameJob
from edgewright.bench.measure import Job
from edgewright.bench.peers.environment import Peer

NAME = "Ultralytics predict"
PACKAGES = ("ultralytics", "torch", "onnxruntime")
SCRIPT = "ultralytics_script.py"


def model_job(peer: Peer, like: Job, scratch: Path) -> Job:
    """The model alone, as Ultralytics times it: `like` is the job of the same file in ONNX Runtime."""
    return Job(NAME, like.path, "onnxruntime", like.precision, like.threads, imgsz=like.imgsz, macs=like.macs,
               command=peer.command(SCRIPT, *_options(like, scratch), str(like.path.absolute())))  # fmt: skip


def frame_job(peer: Peer, like: Job, source: Path, scratch: Path) -> FrameJob:
    """`predict(source, stream=True)` with its defaults, which are ours: score above 0.25, IoU 0.7, 300 boxes."""
    words = (*_options(like, scratch), str(like.path.absolute()), str(source.absolute()))
    return FrameJob(NAME, like.threads, peer.command(SCRIPT, *words))


def _options(like: Job, scratch: Path) -> tuple[str, ...]:
    return (f"--threads={like.threads}", f"--scratch={scratch}")
