"""Runs fits on demand, each in a fork of a process that has everything imported: what takes time then is the fit.

Standard input has a JSON line a fit, {"model", "data", "out", "resume"}; or a line {"result", "out"} to publish a result that is already
made, or {"words"} for any verb. Standard output answers with {"status", "said"}.
"""

import json
import os
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import cv2

from edgewright.cli import command_line
from edgewright.cli.failures import one_sentence
from edgewright.compress.recipes import INT8
from edgewright.fit import Budget, FitRequest, fit
from edgewright.fit.workspace import workspace
from edgewright.result_folder import publish, staging
from edgewright.whole_file import write_whole

# One is quickly made, and has every kind of file: forms, statistics, a model, predictions.
FEW = (INT8,)


def serve() -> None:
    """Until standard input closes."""
    cv2.setNumThreads(1)
    for name in ("jinja2", "onnxruntime.quantization.quantize", "pycocotools.cocoeval"):  # what a fit imports on its way
        import_module(name)
    for line in sys.stdin:
        said = os.memfd_create("said")
        child = os.fork()
        if child == 0:
            os.dup2(said, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os._exit(run(json.loads(line)))
        _, status = os.waitpid(child, 0)
        with open(said, "rb") as stream:  # noqa: PTH123 - a descriptor
            stream.seek(0)
            told = stream.read().decode(errors="replace")
        print(json.dumps({"status": os.waitstatus_to_exitcode(status), "said": told}), flush=True)


def run(order: dict) -> int:
    """The order, as the command line would run it; the exit code."""
    try:
        with one_sentence():
            if "words" in order:
                sys.argv = ["edgewright", *order["words"]]
                command_line()()
            return publish_again(order) if "result" in order else run_fit(order)
    except SystemExit as leaving:
        return int(leaving.code or 0)
    except BaseException:  # noqa: BLE001 - the fork's edge: a traceback on standard error is what a test looks for
        sys.excepthook(*sys.exc_info())
        return 70
    finally:
        sys.stderr.flush()


def publish_again(order: dict) -> int:
    with workspace(Path(order["out"]), resume=True) as work:
        staged = staging(work)
        for path in Path(order["result"]).iterdir():
            if path.is_file():
                write_whole(staged / path.name, path.read_bytes())
        publish(staged, Path(order["out"]))
    return 0


def run_fit(order: dict) -> int:
    request = FitRequest(
        Path(order["model"]),
        Path(order["data"]),
        Path(order["out"]),
        Budget(max_drop=100),
        threads=1,
        images=4,
        resume=order["resume"],
        recipes=FEW,
        engines=("onnxruntime",),
    )
    return 0 if fit(request).ships else 1


if __name__ == "__main__":
    tempfile.tempdir = "/nonexistent"  # nobody may want a temporary folder
    serve()
