"""Train the demonstration detector from scratch on drawn boards; kill it and run it again, and it goes on.

`python training/train_demo_detector.py --out out/demo-detector`, then `python training/export_demo_detector.py`.

Where other work shares the cores, take `--threads 1`, or put `OMP_WAIT_POLICY=passive` in front: PyTorch's threads spin while they wait for
one another. On two busy cores a step of two threads took 9 s, without spinning 3 to 4 s, a step of one thread about 1 s.
"""

import argparse
import platform
import time
from functools import partial
from pathlib import Path

import cv2
import torch

from demo_detector import CHECKPOINT
from demo_detector.lesson import BoardLesson
from demo_detector.material import render
from demo_detector.model import DemoDetector
from edgewright.data.circuit_boards import CLASS_NAMES
from edgewright.errors import EdgewrightError, InputError
from edgewright.learn.loop import Schedule, Training
from edgewright.learn.losses import Loss
from edgewright.learn.material import LabelledBatch
from edgewright.whole_file import locked


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/demo-detector"), help="cache and checkpoint")
    parser.add_argument("--camera-boards", type=int, default=2400)
    parser.add_argument("--binary-boards", type=int, default=2400)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--save-every", type=int, default=50, help="steps; what a killed run did since then, the next one does again")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="also the processes that draw boards; more only on a machine of your own")
    return parser.parse_args()


def main() -> None:
    args = _arguments()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(args.seed)
    try:
        _train(args)
    except EdgewrightError as error:
        raise SystemExit(str(error)) from error


def _train(args: argparse.Namespace) -> None:
    started_s = time.monotonic()
    first_seed = args.seed * 1_000_000
    boards = render(args.out / "cache", camera=args.camera_boards, binary=args.binary_boards, first_seed=first_seed, workers=args.threads)
    ready_s = time.monotonic() - started_s
    print(f"{len(boards)} boards ready after {ready_s:.0f} s on {platform.machine()}, {args.threads} threads", flush=True)
    model = DemoDetector(len(CLASS_NAMES)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    schedule = Schedule(steps=args.steps, save_every=args.save_every)
    training = Training(model, schedule, BoardLesson(boards, args.seed, args.batch))
    # Locked only once the boards are drawn: a process that draws may outlive a killed run, and would hold on to the lock.
    with locked(args.out):
        checkpoint = args.out / CHECKPOINT
        if checkpoint.exists():
            _resume(training, checkpoint)
        training.train(checkpoint=checkpoint, report=partial(_report, schedule))
    print(f"done: {training.step} steps, {training.elapsed_s:.0f} s of training", flush=True)


def _resume(training: Training[DemoDetector, LabelledBatch], checkpoint: Path) -> None:
    try:
        training.resume(checkpoint)
    except InputError as error:
        error.fix = f"delete {checkpoint}, or choose another --out"
        raise
    print(f"going on from step {training.step} after {training.elapsed_s:.0f} s", flush=True)


def _report(schedule: Schedule, step: int, loss: Loss, elapsed_s: float) -> None:
    if step % 50 == 0 or step <= 5:
        parts = f"box {loss.box:.3f} score {loss.score:.3f} side {loss.side:.3f}"
        left_s = elapsed_s / step * (schedule.steps - step)
        print(f"step {step} loss {float(loss.total.detach()):.3f} {parts} {elapsed_s:.0f} s, {left_s / 60:.0f} min left", flush=True)


if __name__ == "__main__":
    main()
