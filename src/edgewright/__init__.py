"""edgewright: a detector, a board and a budget in; a fitted model with evidence out.

    from pathlib import Path
    import edgewright as ew
    from edgewright.fit import fit

    evidence = fit(ew.FitRequest(Path("yolov8n.onnx"), Path("data.yaml"), Path("fitted"), ew.Budget(max_drop=1.0)))
    print(evidence.judged.decision.reason)                  # why it ships, or why it does not

    with ew.open("fitted") as detector:                     # the artifact, in the engine it was fitted for
        print(detector("board.jpg").names)                  # ['short', 'pin-hole']
        for frame, found in detector.stream("line.mp4"):
            print(frame.index, found.boxes_xyxy)            # in pixels of the frame

Names are imported when they are first used: `import edgewright` itself loads neither numpy nor an engine.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgewright.version import __version__

if TYPE_CHECKING:
    from edgewright.artifact import Artifact
    from edgewright.board.profile import Board
    from edgewright.detections import Detections, Frame
    from edgewright.detector import Detector
    from edgewright.detector import open_detector as open  # noqa: A004 - `ew.open` is the contract
    from edgewright.errors import EdgewrightError
    from edgewright.fit import Budget, FitRequest

# Since 1.29, ONNX Runtime's Linux builds tell Microsoft about every model that is opened, and keep a database in ~/.cache/Microsoft for it,
# unless this stands in the environment before it is loaded (github.com/microsoft/onnxruntime/pull/27379). What is fitted here is nobody's
# business: neither we nor a child of ours says a word.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__all__ = ["Artifact", "Board", "Budget", "Detections", "Detector", "EdgewrightError", "FitRequest", "Frame", "__version__", "open"]

_HOME = {
    "Artifact": ("edgewright.artifact", "Artifact"),
    "Board": ("edgewright.board.profile", "Board"),
    "Budget": ("edgewright.fit", "Budget"),
    "Detections": ("edgewright.detections", "Detections"),
    "Detector": ("edgewright.detector", "Detector"),
    "EdgewrightError": ("edgewright.errors", "EdgewrightError"),
    "FitRequest": ("edgewright.fit", "FitRequest"),
    "Frame": ("edgewright.detections", "Frame"),
    "open": ("edgewright.detector", "open_detector"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'edgewright' has no attribute {name!r}")
    module, attribute = _HOME[name]
    return getattr(import_module(module), attribute)
