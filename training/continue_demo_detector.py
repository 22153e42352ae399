"""The shipped demonstration detector learns on, from its ONNX file: fresh boards, the same losses, the same loop; kill it and run it again.

`python training/continue_demo_detector.py --out out/demo-detector-on --seed 2`

What learns is the ONNX graph itself (`edgewright.learn.trainable`), batch norm folded, so what is written is that graph with other weights:
the mean of those it had and those it has learned, which forgets less than it learns (Wortsman and others, arXiv 2109.01903).
The shipped file is replaced only where it is then better on boards of another seed than any it was trained on, in both looks.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch
from onnx import numpy_helper

from demo_detector import CHECKPOINT
from demo_detector.lesson import BoardLesson
from demo_detector.material import CROP_PX, render
from edgewright.accuracy.coco import evaluate
from edgewright.accuracy.predictions import predict
from edgewright.compress.candidates import prepare_float_forms
from edgewright.data.circuit_boards import write_dataset
from edgewright.data.dataset import open_dataset
from edgewright.detector import open_detector
from edgewright.door.admission import admit_detector
from edgewright.errors import EdgewrightError
from edgewright.learn.loop import Schedule, Training
from edgewright.learn.losses import Loss
from edgewright.learn.student import Student
from edgewright.whole_file import locked, write_whole

SHIPPED = Path(__file__).parents[1] / "src/edgewright/demo_model/circuit_boards.onnx"
LOOKS = ("camera", "binary")
TOLD_EVERY = 50


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/demo-detector-on"), help="cache and checkpoint")
    parser.add_argument("--onnx", type=Path, default=SHIPPED)
    parser.add_argument("--camera-boards", type=int, default=1500)
    parser.add_argument("--binary-boards", type=int, default=1000)
    parser.add_argument("--judged-boards", type=int, default=100, help="of each look, for the comparison")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--learned", type=float, default=0.5, help="share of the learned weights in what is written")
    parser.add_argument("--seed", type=int, default=2, help="of the boards; one that nothing was trained on yet")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    args = _arguments()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(args.seed)
    try:
        _learn_on(args)
    except EdgewrightError as error:
        raise SystemExit(str(error)) from error


def _learn_on(args: argparse.Namespace) -> None:
    boards = render(
        args.out / "cache", camera=args.camera_boards, binary=args.binary_boards, first_seed=args.seed * 1_000_000, workers=args.threads
    )
    cv2.setNumThreads(1)
    print(f"{len(boards)} boards are drawn", flush=True)
    with locked(args.out), tempfile.TemporaryDirectory() as scratch:
        student = Student.of(prepare_float_forms(admit_detector(args.onnx), Path(scratch)))
        model = student.trainable((CROP_PX, CROP_PX)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        schedule = Schedule(args.steps, args.learning_rate, save_every=TOLD_EVERY)
        training = Training(model, schedule, BoardLesson(boards, args.seed, args.batch))
        checkpoint = args.out / CHECKPOINT
        if checkpoint.exists():
            training.resume(checkpoint)
        training.train(checkpoint=checkpoint, report=partial(_report, args.steps))
        learned = _mean(student.model, student.learned(training.average).model, args.learned)
        onnx.checker.check_model(learned, full_check=True)
        path = args.out / "circuit_boards.onnx"
        write_whole(path, learned.SerializeToString())
    before, after = (_judged(each, args) for each in (args.onnx, path))
    print(f"{training.elapsed_s:.0f} s of training; mAP50 and mAP50-95 on {args.judged_boards} boards of each look: {before} -> {after}")
    if all(new > old for look in LOOKS for new, old in zip(after[look], before[look], strict=True)):
        write_whole(args.onnx, path.read_bytes())
        print(f"{args.onnx} is replaced")
    else:
        print(f"{args.onnx} stays: the new one is at {path}")


def _mean(before: onnx.ModelProto, after: onnx.ModelProto, share: float) -> onnx.ModelProto:
    """`after`, with weights on the way from `before` to it."""
    mean = onnx.ModelProto()
    mean.CopyFrom(after)
    old = {tensor.name: numpy_helper.to_array(tensor) for tensor in before.graph.initializer}
    for tensor in mean.graph.initializer:
        new = numpy_helper.to_array(tensor)
        if new.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(((1 - share) * old[tensor.name] + share * new).astype(np.float32), tensor.name))
    return mean


def _judged(path: Path, args: argparse.Namespace) -> dict[str, tuple[float, float]]:
    found = {}
    for look in LOOKS:
        folder = args.out / f"judged-{look}"
        if not folder.exists():
            write_dataset(folder, train=1, val=args.judged_boards, seed=args.seed + 1, look=look)
        dataset = open_dataset(folder)
        with open_detector(path, threads=args.threads) as detector:
            report = evaluate(predict(detector, dataset, dataset.split("val"))).report
        found[look] = (round(report.map50, 4), round(report.map50_95, 4))
    return found


def _report(steps: int, step: int, loss: Loss, elapsed_s: float) -> None:
    if step % TOLD_EVERY == 0 or step == 1:
        parts = f"box {loss.box:.3f} score {loss.score:.3f} side {loss.side:.3f}"
        left_min = elapsed_s / step * (steps - step) / 60
        print(f"step {step} loss {float(loss.total.detach()):.3f} {parts} {elapsed_s:.0f} s, {left_min:.0f} min left", flush=True)


if __name__ == "__main__":
    main()
