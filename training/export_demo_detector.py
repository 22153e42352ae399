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

from demo_detector import CHECKPOINT
from demo_detector.export import to_onnx
from demo_detector.model import INPUT, DemoDetector, decode
from edgewright.data.circuit_boards import CLASS_NAMES, draw_board
from edgewright.errors import InputError
from edgewright.learn.checkpoint import Checkpoint
from edgewright.learn.material import to_input
from edgewright.whole_file import make_folder, write_whole

SHIPPED = Path(__file__).parents[1] / "src/edgewright/demo_model/circuit_boards.onnx"
FARTHEST_SCORE, FARTHEST_PX = 1e-4, 1e-2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/demo-detector"), help="the folder that training wrote to")
    parser.add_argument("--onnx", type=Path, default=SHIPPED)
    args = parser.parse_args()
    try:
        trained = Checkpoint.read(args.out / CHECKPOINT)
    except InputError as error:
        error.fix = "train_demo_detector.py writes one"
        raise SystemExit(str(error)) from error
    model = DemoDetector(len(CLASS_NAMES))
    model.load_state_dict(trained.part("average."))
    model.eval()
    exported = to_onnx(model, CLASS_NAMES, description="Demonstration detector of circuit-board defects, trained on drawn boards")
    apart_px, apart_score = _disagreement(model, exported.SerializeToString())
    if apart_px > FARTHEST_PX or apart_score > FARTHEST_SCORE:
        raise SystemExit(f"the export is {apart_px:.2g} px and {apart_score:.2g} of score off the module; nothing was written")
    make_folder(args.onnx.parent)
    write_whole(args.onnx, exported.SerializeToString())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(INPUT.shape))
    facts = {
        "file": args.onnx.name, "bytes": args.onnx.stat().st_size, "steps": trained.facts["step"],
        "training_s": round(trained.facts["elapsed_s"]),
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
        tensor = to_input(image[None], INPUT)
        with torch.no_grad():
            expected = decode(model(tensor)).numpy()
        (found,) = session.run(None, {INPUT.name: np.ascontiguousarray(tensor.numpy())})
        off = np.abs(found - expected)
        apart = np.maximum(apart, [off[:, :4].max(), off[:, 4:].max()])
    return float(apart[0]), float(apart[1])


if __name__ == "__main__":
    main()
