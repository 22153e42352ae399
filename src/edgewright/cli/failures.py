"""The edge of the process, where an error becomes one sentence on standard error and an exit code."""

import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgewright.cli.output import mute
from edgewright.errors import EdgewrightError, HostError, Interrupted
from edgewright.printable import printable
from edgewright.whole_file import REFUSALS, disk_error

FIT_EXTRA = frozenset({"jinja2", "onnx", "pycocotools", "yaml"})  # what a board does not have; see pyproject.toml
STOPPED = "what was finished is kept; `fit` and `recover` go on with --resume"
STDOUT = 1
LONGEST_SENTENCE = 4000  # characters, so that what comes after a long path is still read


@contextmanager
def one_sentence() -> Iterator[None]:
    """Leave the process with a sentence and its exit code when what is inside fails for a reason we know; a bug keeps its traceback."""
    _open_streams()
    with _kept(STDOUT) as output:
        try:
            with _written_out():
                yield
        except EdgewrightError as error:
            _leave(error)
        except KeyboardInterrupt:
            _leave(Interrupted("stopped", fix=STOPPED))
        except SystemExit as leaving:
            # Typer has turned Ctrl-C into this status, without a word.
            if leaving.code == Interrupted.exit_code:
                _leave(Interrupted("stopped", fix=STOPPED))
            # And a broken pipe into the exit code of a verdict.
            if isinstance(leaving.__context__, BrokenPipeError):
                _end_of_pipe(leaving.__context__, output)
            raise
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] not in FIT_EXTRA:
                raise
            _leave(HostError(f"this needs the package {error.name}, which is not installed", fix="run: pip install 'edgewright[fit]'"))
        except BrokenPipeError as error:
            _end_of_pipe(error, output)
        except OSError as error:
            _leave(_of_the_system(error))


def _open_streams() -> None:
    """Both streams are there, and take any text."""
    # A descriptor that the shell closed (`>&-`) would be given to the next file opened, and whatever is printed would go into that.
    while (lowest := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(lowest)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - a stream for the life of the process
        elif isinstance(stream, io.TextIOWrapper):
            # Latin or ASCII terminals lack letters that tables and names hold.
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def _written_out() -> Iterator[None]:
    """What is still in the buffer fails here, where it can be said, and not at exit."""
    try:
        yield
    except SystemExit:
        sys.stdout.flush()
        raise
    sys.stdout.flush()


@contextmanager
def _kept(descriptor: int) -> Iterator[int]:
    """Another name for it, which stays what it is where Rich, in writing help, points the first one elsewhere."""
    second = os.dup(descriptor)
    try:
        yield second
    finally:
        os.close(second)


def _end_of_pipe(error: BrokenPipeError, output: int) -> None:
    """Leave in peace if it is our output that nobody reads any more (`| head`), with the exit code of the work if that was done."""
    poll = select.poll()
    poll.register(output, 0)
    if not any(happened & select.POLLERR for _, happened in poll.poll(0)):
        _leave(HostError("a process at work for this one has ended", fix="run the command again"))
    mute(sys.stdout.fileno())  # writing to it again at exit would complain
    done = error.__context__
    sys.exit(done.code if isinstance(done, SystemExit) else 0)


def _of_the_system(error: OSError) -> HostError:
    """What the system refused; files of ours have been told of where they were written, so a full disk without a name is our output's."""
    try:
        sys.stdout.flush()
    except OSError:
        mute(sys.stdout.fileno())  # writing to it again at exit would complain
    if error.errno in REFUSALS and error.errno != errno.EIO:
        return disk_error(error, Path(str(error.filename or "to standard output")))
    place = f" ({error.filename})" if error.filename else ""
    return HostError(f"{error.strerror or error}{place}", fix="check space and permissions")


def _leave(error: EdgewrightError) -> None:
    sys.stderr.write(f"edgewright: {printable(str(error), LONGEST_SENTENCE)}\n")
    sys.exit(error.exit_code)
