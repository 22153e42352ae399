"""How much memory and time a stranger's model may take before we have made up our mind about it.

Both grow with the file, so that a large honest model passes, and the time also with how slow the machine is: what a Raspberry Pi or an
emulated processor needs for its imports is the measure.
"""

import ctypes
import resource
import signal
from pathlib import Path

MIB = 1 << 20
BASE_BYTES = 512 * MIB  # parsing and running yolov8n once takes 90 MiB beyond the imports; libraries and large inputs take more
PER_MODEL_BYTE = 8  # parsed, held as arrays, packed by the runtime: a model of 268 MB took four times that in all
PER_INPUT_BYTE = 16  # a detector's first maps are 5 to 10 times its input, and two or three are alive at once
LEAST_S = 10.0
IMPORTS = 20.0  # examining yolov8n takes as long as the imports before it; twenty times that is a hang
BYTES_PER_S = 4e6  # of a large model; a busy machine of two cores examined 16 MB a second
MOST_FILES = 256
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def memory_allowance(model_bytes: int, input_bytes: int = 0) -> int:
    """Bytes of address space beyond what the imports took."""
    return BASE_BYTES + PER_MODEL_BYTE * model_bytes + PER_INPUT_BYTE * input_bytes


def patience_s(import_s: float, model_bytes: int) -> float:
    """Seconds that the examination may take on a machine that took `import_s` for the child's imports."""
    return max(LEAST_S, IMPORTS * import_s) + model_bytes / BYTES_PER_S


def give_up_files_and_parent() -> None:
    """This process writes no file, leaves no core, opens few files, and dies with the one that asked."""
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, MOST_FILES)
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def limit_memory(allowance: int) -> None:
    """Let the address space grow by `allowance` bytes from where it is now (the runtime's libraries are mapped, not used)."""
    _limit(resource.RLIMIT_AS, _address_space() + allowance)


def limit_cpu(seconds: float) -> None:
    """A second guard behind the asking process's clock: should that one be stopped, this one still ends."""
    _limit(resource.RLIMIT_CPU, int(seconds) + 1)


def _limit(what: int, value: int) -> None:
    _soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    return pages * resource.getpagesize()
