"""How every child process of the service begins: `python -m edgewright.run.begin CHANNEL PARENT MODULE`.

It dies with its parent, also where that died before this line, and knows its channel by one number. Ctrl-C at the service's terminal is the
service's to act on.
"""

import ctypes
import os
import runpy
import signal
import sys

from edgewright.run.channel import CHANNEL_FD

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def die_with_parent() -> None:
    """The kernel kills this process when the thread that started it is gone; a program that is started later inherits that not."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Become the module that was asked for."""
    channel, parent, module = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    die_with_parent()
    if os.getppid() != parent:
        os._exit(1)
    if channel != CHANNEL_FD:
        os.dup2(channel, CHANNEL_FD)
        os.close(channel)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
