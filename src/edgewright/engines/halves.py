"""Where computing in halves costs time instead of saving it: an artifact that was fitted on one processor and is run on another.

OpenVINO takes bfloat16 on every x86 processor with AVX-512, and imitates it where it has no instructions for it. The demo's detector on one
thread of a Xeon, in speeds of its own float32: with AMX 2.4; with AMX masked, where AVX-512 BF16 remained, 0.77; with both masked 0.30.
"""

from pathlib import Path

from edgewright.artifact import Artifact
from edgewright.board.profile import Board
from edgewright.errors import ArtifactError

AMX = "amx_int8"  # what has it multiplies bfloat16 in its tiles as well
BF16 = "bf16"
FIX = "fit again on this machine"


def slower_here(engine: str, precision: str, board: Board) -> str | None:
    """A sentence where that engine is slower in that precision than in float32 on this board; None where it is not, or nobody knows."""
    if (engine, precision) != ("openvino", "bfloat16") or not board.isa or board.machine not in ("x86_64", "AMD64") or AMX in board.isa:
        return None
    if BF16 in board.isa:
        return f"it computes in bfloat16, and without AMX, which this processor lacks, that is slower than float32; {FIX}"
    return f"it computes in bfloat16, for which this processor has no instructions: it takes about three times as long as float32; {FIX}"


def slower_artifact(folder: Path, board: Board) -> str | None:
    """The same of an artifact in a folder; None for whatever is none, which others will refuse."""
    if not folder.is_dir():
        return None
    try:
        artifact = Artifact.load(folder)
    except ArtifactError:
        return None
    return slower_here(artifact.engine, artifact.precision, board)
