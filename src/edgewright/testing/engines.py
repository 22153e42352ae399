"""Does an engine answer as the ONNX specification words it?

    report = check_engine("mnn", Path("cut.onnx"))
    assert report.verdict == "agrees", report.reason

The model is converted, opened and run once in a child process (`engine_child`), so that a runtime which crashes is a reason in a
report. What it answers is held against the reference evaluator, which is slow: hand its answer over as `expected` when several
engines are checked on one model.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgewright.engines import Precision, open_engine
from edgewright.engines.noise import invent
from edgewright.errors import EngineError, HostError
from edgewright.printable import printable

CHILD = "edgewright.testing.engine_child"
LONGEST_S = 900.0
LAST_WORDS = 300
# The largest difference of any output, as a share of that output's spread: highest minus lowest expected value, zero included, for halves
# round by magnitude. float32: another order of summation, and fast forms of exp; MNN's worst on the models of the test data is 0.0005.
# Halves have 11 and 8 significant bits, which some sixty layers add up: on YOLOX-nano, which is fed 0 to 255, OpenVINO's one worst value
# is off by 0.03 and 0.20. There this check finds only what is broken, and in int8 only what is hopeless: whether it is good
# enough, accuracy decides.
TOLERANCE: Mapping[str, float] = {"float32": 2e-3, "float16": 5e-2, "bfloat16": 3e-1, "int8": 0.5}

Verdict: TypeAlias = Literal["agrees", "differs", "not usable"]
Feeds: TypeAlias = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Conformance:
    """What one engine made of one model.

    `precision` was asked for, `computes_in` is what the engine says. `largest` is the largest difference of any value, `largest_share` the
    largest as a share of its output's spread; None where there was no answer, and then `reason` says why.
    """

    engine: str
    precision: str
    computes_in: str | None
    largest: float | None
    largest_share: float | None
    tolerance: float
    verdict: Verdict
    reason: str | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def reference_answer(model: Path, feeds: Feeds | None = None) -> tuple[dict[str, NDArray[Any]], list[NDArray[Any]]]:
    """What the model was fed (seeded noise unless told) and what the reference evaluator answers.

    Raises:
        EngineError: onnx is not installed, or cannot evaluate the model.
    """
    engine = open_engine("reference", model, threads=1)
    fed = dict(feeds) if feeds is not None else {spec.name: invent(spec) for spec in engine.describe().inputs}
    return fed, engine.run(fed)


def check_engine(
    name: str,
    model: Path,
    *,
    precision: Precision = "float32",
    expected: tuple[Feeds, Sequence[NDArray[Any]]] | None = None,
    tolerance: float | None = None,
    threads: int = 1,
) -> Conformance:
    """Convert the ONNX `model` for the engine called `name`, and hold its answer against the reference's (`expected`, if that is known).

    Raises:
        InputError: no such engine.
        EngineError: the reference cannot evaluate the model.
        HostError: no process can be started here.
    """
    fed, wanted = expected if expected is not None else reference_answer(model)
    limit = TOLERANCE[precision] if tolerance is None else tolerance
    try:
        computes_in, found = _ask(name, model, precision, fed, threads)
    except EngineError as error:
        return Conformance(name, precision, None, None, None, limit, "not usable", str(error))
    return _judged(Conformance(name, precision, computes_in, None, None, limit, "differs", None), found, wanted)


def _judged(blank: Conformance, found: Sequence[NDArray[Any]], wanted: Sequence[NDArray[Any]]) -> Conformance:
    """The blank filled in."""
    facts = asdict(blank)
    shapes, right = [list(each.shape) for each in found], [list(each.shape) for each in wanted]
    if shapes != right:
        return Conformance(**facts | {"reason": f"outputs of shapes {shapes}, expected {right}"})
    if not all(np.isfinite(each).all() for each in found):
        return Conformance(**facts | {"reason": "an answer that is not finite"})
    differences = [
        float(np.abs(np.subtract(one, other, dtype=np.float64)).max(initial=0)) for one, other in zip(found, wanted, strict=True)
    ]
    spreads = [float(each.max(initial=0) - each.min(initial=0)) or 1.0 for each in wanted]
    share = max((off / spread for off, spread in zip(differences, spreads, strict=True)), default=0.0)
    facts |= {"largest": max(differences, default=0.0), "largest_share": share}
    if share <= blank.tolerance:
        return Conformance(**facts | {"verdict": "agrees"})
    return Conformance(**facts | {"reason": f"off by {share:.2g} of an output's spread, allowed is {blank.tolerance:.2g}"})


def _ask(name: str, model: Path, precision: Precision, fed: Feeds, threads: int) -> tuple[str, list[NDArray[Any]]]:
    """In what the engine computes, and its answer.

    Raises:
        EngineError: it refuses the model, dies of it or finds no end.
    """
    with tempfile.TemporaryDirectory(prefix="edgewright-") as scratch:
        folder = Path(scratch)
        # By position: names are the model's, and may be anything.
        np.savez(folder / "fed.npz", *fed.values())
        (folder / "names.json").write_text(json.dumps(list(fed)), "ascii")
        command = [sys.executable, "-P", "-m", CHILD, name, precision, str(threads), "--", str(model.absolute()), str(folder)]
        shown = f"{name} on {printable(model.name)}"
        try:
            done = subprocess.run(  # noqa: S603 - our own module
                command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=LONGEST_S
            )
        except subprocess.TimeoutExpired as error:
            raise EngineError(f"{shown} finds no end", got=f"more than {LONGEST_S:.0f} s") from error
        except OSError as error:
            raise HostError("a process cannot be started here", got=str(error)) from error
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            last = printable((done.stderr.decode("utf-8", "replace").strip().splitlines() or ["nothing"])[-1], LAST_WORDS)
            raise EngineError(f"{shown} died", got=f"exit status {done.returncode}; its last words: {last}") from None
        if "refused" in answer:
            raise EngineError(answer["refused"])
        with np.load(folder / "found.npz", allow_pickle=False) as found:
            return str(answer["computes_in"]), [found[f"arr_{at}"] for at in range(answer["outputs"])]
