"""OpenVINO + NNCF with their defaults, as an artifact that our own Detector and engine run."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewright.artifact import FILE_NAME, Artifact, describe_file
from edgewright.bench.peers.environment import Peer, run_script
from edgewright.whole_file import remove, write_whole

NAME = "OpenVINO + NNCF"
PACKAGES = ("nncf", "openvino")


def quantize_with_nncf(peer: Peer, given: Artifact, feeds: Iterable[NDArray[Any]], count: int, folder: Path) -> Path:
    """Quantize the float detector `given` in that Python, with `count` pictures as the network is fed them; the artifact folder.

    Raises:
        EngineError: NNCF or OpenVINO cannot take it.
    """
    pictures = folder / "pictures.npy"
    held = np.lib.format.open_memmap(pictures, "w+", np.dtype(given.input.dtype), (count, *given.input.shape))
    for at, feed in enumerate(feeds):
        held[at] = feed
    held.flush()
    del held
    run_script(NAME, peer.command("nncf_script.py", str(given.model_path.absolute()), str(pictures), str(folder)))
    remove(pictures)
    files = tuple(describe_file(folder / name, folder) for name in ("model.xml", "model.bin"))
    # It quantizes the decode as well, so boxes come out of the network as they do from the float one.
    made = replace(given, name=NAME, engine="openvino", precision="int8", files=files, folder=folder)
    write_whole(folder / FILE_NAME, (json.dumps(made.to_json(), indent=2) + "\n").encode())
    return folder
