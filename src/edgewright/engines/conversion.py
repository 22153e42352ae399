"""From an ONNX file to a runtime's own format: done once, on the fitting host, by a child process whose crash is only its own.

    files = convert("openvino", Path("cut.onnx"), Path("made"), precision="float32")     # model.xml, model.bin

Converters are foreign programs: some abort, some hang, some print. What they leave is only believed when the child said that it was done.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from edgewright.engines.base import Precision, engine_module
from edgewright.errors import EngineError, HostError
from edgewright.printable import printable
from edgewright.whole_file import write_whole

CHILD = "edgewright.engines.conversion_child"
LONGEST_S = 600.0  # a nano model takes seconds; on an emulated processor minutes
LAST_WORDS = 300  # characters of what a dying converter said


def convert(engine: str, source: Path, folder: Path, *, precision: Precision) -> list[Path]:
    """Write the ONNX model at `source` in the format of `engine` into `folder`; its files, the one to open first.

    Engines that read ONNX get a copy.

    Raises:
        InputError: no such engine.
        EngineError: it is not installed, or its converter refuses the model, dies of it or finds no end.
    """
    if not has_own_format(engine):
        target = folder / f"model{engine_module(engine).SUFFIX}"
        write_whole(target, source.read_bytes())
        return [target]
    with tempfile.TemporaryDirectory(dir=folder, prefix="converting-") as name:
        scratch = Path(name)
        made = [scratch / file for file in _ask(engine, source, scratch, precision)]
        # The first is what the runtime opens; a model without weights leaves the file for them empty.
        absent = [path.name for path in made if not path.is_file() or (path == made[0] and not path.stat().st_size)]
        if absent or not made:
            got = f"nothing in {printable(absent[0])}" if absent else "no file"
            raise EngineError(f"the converter of {engine} wrote nothing for {printable(source.name)}", got=got, fix="use another engine")
        return [Path(shutil.move(path, folder / path.name)) for path in made]


def has_own_format(engine: str) -> bool:
    """Whether the engine opens something else than ONNX files.

    Raises:
        InputError: no such engine.
    """
    return hasattr(engine_module(engine), "convert")


def _ask(engine: str, source: Path, scratch: Path, precision: Precision) -> list[str]:
    # -P: the folder we are called in may be a stranger's, and hold a numpy.py.
    command = [sys.executable, "-P", "-m", CHILD, engine, precision, "--", str(source.absolute()), str(scratch.absolute())]
    shown = f"the converter of {engine}"
    try:
        done = subprocess.run(  # noqa: S603 - our own module
            command, cwd=scratch, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=LONGEST_S
        )
    except subprocess.TimeoutExpired as error:
        got = f"more than {LONGEST_S:.0f} s"
        raise EngineError(f"{shown} finds no end on {printable(source.name)}", got=got, fix="use another engine") from error
    except OSError as error:
        raise HostError("a converter cannot be started here", got=str(error)) from error
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        last = printable((done.stderr.decode("utf-8", "replace").strip().splitlines() or ["nothing"])[-1], LAST_WORDS)
        got = f"exit status {done.returncode}; its last words: {last}"
        raise EngineError(f"{shown} died of {printable(source.name)}", got=got, fix="use another engine") from None
    if "refused" in answer:
        refused = answer["refused"]
        raise EngineError(refused["what"], got=refused["got"], expected=refused["expected"], fix=refused["fix"])
    return [str(name) for name in answer["files"]]
