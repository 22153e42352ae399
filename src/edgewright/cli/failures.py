"""The edge of the process, where an error becomes one sentence on standard error and an exit code."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from edgewright.errors import EdgewrightError, HostError, Interrupted

FIT_EXTRA = frozenset({"jinja2", "onnx", "pycocotools", "yaml"})  # what a board does not have; see pyproject.toml
STOPPED = "what was finished is kept; `fit` goes on with --resume"


@contextmanager
def one_sentence() -> Iterator[None]:
    """Leave the process with a sentence and its exit code when what is inside fails for a reason we know; a bug keeps its traceback."""
    try:
        yield
    except EdgewrightError as error:
        _leave(error)
    except KeyboardInterrupt:
        _leave(Interrupted("stopped", fix=STOPPED))
    except SystemExit as leaving:
        # Typer has turned Ctrl-C into this status, without a word.
        if leaving.code == Interrupted.exit_code:
            _leave(Interrupted("stopped", fix=STOPPED))
        raise
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in FIT_EXTRA:
            raise
        _leave(HostError(f"this needs the package {error.name}, which is not installed", fix="run: pip install 'edgewright[fit]'"))
    except BrokenPipeError:
        # The reader of our output has left (`| head`); writing to it again at exit would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        _leave(HostError(f"{error.strerror or error}{place}", fix="check space and permissions"))


def _leave(error: EdgewrightError) -> None:
    sys.stderr.write(f"edgewright: {error}\n")
    sys.exit(error.exit_code)
