"""Write the trained average as the ONNX file that ships, after ONNX Runtime has agreed with the module on drawn boards.

`python training/export_demo_detector.py --out out/demo-detector`
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from torch.utils.flop_counter import FlopCounterMode

from demo_detector.export import save, to_onnx
from demo_detector.model import DemoDetector, decode
from edgewright.data.circuit_boards import CLASS_NAMES, draw_board

SHIPPED = Path(__file__).parents[1] / "src/edgewright/demo_model/circuit_boards.onnx"
FARTHEST_SCORE, FARTHEST_PX = 1e-4, 1e-2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/demo-detector"), help="the folder that training wrote to")
    parser.add_argument("--onnx", type=Path, default=SHIPPED)
    args = parser.parse_args()
    state = torch.load(args.out / "checkpoint.pt", map_location="cpu", weights_only=True)
    model = DemoDetector(len(CLASS_NAMES))
    model.load_state_dict(state["average"])
    model.eval()
    exported = to_onnx(model, CLASS_NAMES, description="Demonstration detector of circuit-board defects, trained on drawn boards")
    apart_px, apart_score = _disagreement(model, exported.SerializeToString())
    if apart_px > FARTHEST_PX or apart_score > FARTHEST_SCORE:
        raise SystemExit(f"the export is {apart_px:.2g} px and {apart_score:.2g} of score off the module; nothing was written")
    args.onnx.parent.mkdir(parents=True, exist_ok=True)
    save(exported, args.onnx)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 640, 640))
    facts = {
        "file": args.onnx.name, "bytes": args.onnx.stat().st_size, "steps": state["step"], "training_s": round(state["elapsed_s"]),
        "parameters": sum(p.numel() for p in model.parameters()), "gmac_at_640": round(counter.get_total_flops() / 2e9, 3),
        "farthest_px": apart_px, "farthest_score": apart_score,
    }  # fmt: skip
    print(json.dumps(facts, indent=1))


def _disagreement(model: DemoDetector, exported: bytes) -> tuple[float, float]:
    """The largest difference of any box side and of any score over a few boards."""
    session = ort.InferenceSession(exported, providers=["CPUExecutionProvider"])
    apart = np.zeros(2)
    for seed, look in enumerate(("camera", "binary", "camera")):
        image = draw_board(seed, split="held_out", look=look).image_rgb  # type: ignore[arg-type]
        tensor = np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32) / 255
        with torch.no_grad():
            expected = decode(model(torch.from_numpy(tensor))).numpy()
        (found,) = session.run(None, {"images": tensor})
        off = np.abs(found - expected)
        apart = np.maximum(apart, [off[:, :4].max(), off[:, 4:].max()])
    return float(apart[0]), float(apart[1])


if __name__ == "__main__":
    main()
