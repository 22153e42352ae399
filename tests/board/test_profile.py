"""What a machine is, from the files its kernel keeps."""

import json

import pytest

from edgewright.board.profile import Board, usable_cores

X86 = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Core(TM) i5: the fast one
flags\t\t: fpu sse4_2 avx2 avx512f avx512_vnni amx_int8

processor\t: 1
model name\t: another
"""
PI5 = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 atomics fphp asimdhp cpuid asimdrdm asimddp
CPU implementer\t: 0x41

Revision\t: d04170
Model\t\t: Raspberry Pi 5 Model B Rev 1.0
"""
JETSON = """processor\t: 0
Features\t: fp asimd i8mm bf16
"""
MEMINFO = "MemTotal:        8245432 kB\nMemFree:  100 kB\n"


def machine(root, **files):
    for name, text in files.items():
        path = root / "proc" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("cpuinfo", "tree", "cpu", "isa"),
    [
        (X86, None, "Intel(R) Core(TM) i5: the fast one", {"avx2", "avx512f", "vnni", "amx_int8"}),
        (PI5, None, "Raspberry Pi 5 Model B Rev 1.0", {"neon", "fp16", "dotprod"}),
        (JETSON, "NVIDIA Jetson Orin Nano\0", "NVIDIA Jetson Orin Nano", {"neon", "i8mm", "bf16"}),
        (JETSON, None, None, {"neon", "i8mm", "bf16"}),
        ("", None, None, set()),
        ("no colon here\n::::\nflags\n", None, None, set()),
    ],
)
def test_says_what_the_kernel_says(tmp_path, cpuinfo, tree, cpu, isa):
    files = {"cpuinfo": cpuinfo, "meminfo": MEMINFO}
    if tree is not None:
        files["device-tree__model"] = tree
    board = Board.detect(machine(tmp_path, **files))
    assert (board.cpu, board.isa, board.memory_mib) == (cpu, isa, 8052)


def test_what_is_not_told_is_none(tmp_path):
    board = Board.detect(tmp_path)
    assert (board.cpu, board.isa, board.memory_mib) == (None, frozenset(), None)
    assert board.cores >= 1


def test_bytes_that_are_no_text_are_no_error(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_bytes(b"model name\t: \xff\xfe\nflags : avx2\n")
    assert Board.detect(tmp_path).isa == {"avx2"}


def test_this_machine_is_known_and_can_be_written_down():
    document = json.loads(json.dumps(Board.detect().to_json()))
    assert document["cores"] == usable_cores() >= 1
    assert set(document) == {"machine", "cpu", "cores", "isa", "memory_mib", "os", "python"}
    assert document["isa"] == sorted(document["isa"])
