"""Train the demonstration detector from scratch on drawn boards; kill it and run it again, and it goes on.

`python training/train_demo_detector.py --out out/demo-detector`, then `python training/export_demo_detector.py`.
"""

import argparse
import platform
import time
from functools import partial
from pathlib import Path

import cv2
import torch

from demo_detector.loop import Recipe, Run
from demo_detector.losses import Loss
from demo_detector.material import Batch, Boards, batch, render
from demo_detector.model import DemoDetector
from edgewright.data.circuit_boards import CLASS_NAMES


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/demo-detector"), help="cache, checkpoint and log")
    parser.add_argument("--camera-boards", type=int, default=2400)
    parser.add_argument("--binary-boards", type=int, default=2400)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="more only on a machine of your own")
    return parser.parse_args()


def main() -> None:
    args = _arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(args.seed)
    started = time.monotonic()
    boards = render(args.out / "cache", camera=args.camera_boards, binary=args.binary_boards, first_seed=args.seed * 1_000_000)
    ready_s = time.monotonic() - started
    print(f"{len(boards)} boards ready after {ready_s:.0f} s on {platform.machine()}, {args.threads} threads", flush=True)
    model, average = (DemoDetector(len(CLASS_NAMES)).to(memory_format=torch.channels_last) for _ in range(2))  # type: ignore[call-overload]
    run = Run(model, average, Recipe(steps=args.steps))
    checkpoint = args.out / "checkpoint.pt"
    if checkpoint.exists():
        run.resume(checkpoint)
        print(f"going on from step {run.step} after {run.elapsed_s:.0f} s", flush=True)
    run.train(partial(_batch_at, boards, args.seed, args.batch), checkpoint=checkpoint, report=_report)
    print(f"done: {run.step} steps, {run.elapsed_s:.0f} s of training", flush=True)


def _batch_at(boards: Boards, seed: int, size: int, step: int) -> Batch:
    return batch(boards, seed=seed, step=step, size=size)


def _report(step: int, loss: Loss, elapsed_s: float) -> None:
    if step % 50 == 0 or step <= 5:
        parts = f"box {loss.box:.3f} score {loss.score:.3f} focal {loss.focal:.3f}"
        print(f"step {step} loss {float(loss.total.detach()):.3f} {parts} {elapsed_s:.0f} s", flush=True)


if __name__ == "__main__":
    main()
