"""Machines to be examined: the fake boards, with what a real one has besides."""

from edgewright.doctor.checks import examine
from edgewright.doctor.machine import Machine
from edgewright.testing.boards import FakeBoard

LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max open files            {files}                524288               files
Max address space         {space}            unlimited            bytes
"""
GROUPS = "root:x:0:\nvideo:x:44:frank\nusers:x:100:\n"


def healthy(folder, name="rpi4"):
    """A board on which nothing is to be found."""
    board = FakeBoard(folder, name)
    for resource in ("memory", "cpu", "io"):
        board.set_pressure(resource)
    if board.is_pi:
        board.write("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n")
    board.write("proc/sys/kernel/osrelease", "6.12.34+rpt-rpi-v8\n")
    board.write("proc/self/limits", LIMITS.format(files=1024, space="unlimited"))
    board.write("proc/self/status", "Name:\tpython\nUid:\t1000\t1000\t1000\t1000\nGid:\t1000\t1000\t1000\t1000\nGroups:\t44 100\n")
    board.write("etc/group", GROUPS)
    board.write("proc/cmdline", "console=tty1 root=PARTUUID=1 rootwait\n")
    board.write("boot/firmware/cmdline.txt", "console=tty1 root=PARTUUID=1 rootwait\n")
    board.write("dev/nvhost-msenc", "")
    return board


def machine_of(board, **more):
    def run(words):
        return board.vcgencmd(" ".join(words[1:])) if words[0] == "vcgencmd" else None

    more = {"run": run, "engines": ("onnxruntime", "openvino", "mnn", "ncnn"), "synchronised": True, "glibc": (2, 36)} | more
    return Machine(board.root, **more)


def codes(machine):
    """What is found, by how bad it is."""
    report = examine(machine)
    machine.close()
    return {finding.code: finding.severity for finding in report.findings}


def found(machine, code):
    """One finding."""
    report = examine(machine)
    machine.close()
    return next(finding for finding in report.findings if finding.code == code)
