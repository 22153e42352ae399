"""Runs command lines that learn, each in a fork of a process that has PyTorch imported, and kills them at the moment that is asked for.

Standard input has a JSON line a command, {"words", "die", "with"}: `die` names a moment of `MOMENTS` and which one of its kind it
is; `with` is the signal (9). Standard output answers with {"status", "said"}. Passes are short and batches small.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import cv2

from edgewright.cli import command_line
from edgewright.cli.failures import one_sentence
from edgewright.fit import opening
from edgewright.fit import recover as story
from edgewright.learn import checkpoint, curve, loop, recover
from edgewright.learn.changes import PruneChannels, QuantizeAware, Shrink, SwapActivation
from edgewright.learn.studio import Stopwatch

# What is called at each moment, and whether death comes before or after it.
MOMENTS = {
    "at the beginning of a change": ((SwapActivation, PruneChannels, Shrink, QuantizeAware), "begin", "before"),
    "behind a step": ((loop.Training,), "_learn_from", "after"),
    "behind a checkpoint": ((checkpoint.Checkpoint,), "write", "after"),
    "between checkpoint and look": ((recover.Recovery,), "_look", "before"),
    "between the best student and its curve": ((curve.Curve,), "write", "before"),
    "behind a look": ((curve.Curve,), "write", "after"),
    "between a finished student and its facts": ((recover.Stage,), "to_json", "before"),
    "between two changes": ((recover.Recovery,), "_taught_stage", "after"),
    "before it is judged": ((story,), "_judge", "before"),
    "before it is published": ((story,), "publish", "before"),
}


def smaller() -> None:
    """A pass has 8 steps of 8 pictures; a machine's clock decides nothing, and a fit chooses on few pictures."""
    recover.MOST_IN_BATCH, recover.FEWEST_A_PASS = 8, 64
    opening.MOST_SELECTION = 8  # what a fit chooses on is not learned from
    Stopwatch.milliseconds = lambda *_: 1.0
    Stopwatch.saved_share = lambda *_: 0.4


def dying(owner: Any, name: str, when: str, count: int, signal: int, calls: list[str]) -> None:
    """`owner.name` ends the process at the call of that number, counted over all owners."""
    called = getattr(owner, name)

    def deadly(*args: object, **options: object) -> object:
        calls.append(name)
        if when == "before" and len(calls) == count:
            os.kill(os.getpid(), signal)
        found = called(*args, **options)
        if when == "after" and len(calls) == count:
            os.kill(os.getpid(), signal)
        return found

    setattr(owner, name, deadly)


def serve() -> None:
    """Until standard input closes."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts us in the background has it ignored
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # as many threads as a test needs, whatever else the machine does
    for name in ("jinja2", "onnxruntime.quantization.quantize", "pycocotools.cocoeval", "torch._dynamo"):  # what it imports on its way
        import_module(name)
    for line in sys.stdin:
        said = os.memfd_create("said")
        child = os.fork()
        if child == 0:
            os.dup2(said, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os._exit(run(json.loads(line), command_line))
        _, status = os.waitpid(child, 0)
        with open(said, "rb") as stream:  # noqa: PTH123 - a descriptor
            stream.seek(0)
            told = stream.read().decode(errors="replace")
        print(json.dumps({"status": os.waitstatus_to_exitcode(status), "said": told}), flush=True)


def run(order: dict, commands: Callable) -> int:
    """The order, as the command line would run it; the exit code."""
    smaller()
    if order["die"]:
        moment, count = order["die"]
        owners, name, when = MOMENTS[moment]
        calls: list[str] = []
        for owner in owners:
            dying(owner, name, when, count, order["with"], calls)
    try:
        with one_sentence():
            sys.argv = ["edgewright", *order["words"]]
            commands()()
    except SystemExit as leaving:
        return int(leaving.code or 0)
    except BaseException:  # noqa: BLE001 - the fork's edge: a traceback on standard error is what a test looks for
        sys.excepthook(*sys.exc_info())
        return 70
    finally:
        sys.stderr.flush()
    return 0


if __name__ == "__main__":
    serve()
