"""What a machine is, from the files its kernel keeps."""

import json
import os

import pytest

from edgewright.board.profile import CATALOG, Board, known_boards, usable_cores
from edgewright.errors import InputError

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
    assert set(document) == {
        "name",
        "machine",
        "cpu",
        "cores",
        "isa",
        "memory_mib",
        "accelerators",
        "memory_gb_per_s",
        "models",
        "os",
        "python",
    }
    assert document["name"] == "host"
    assert document["isa"] == sorted(document["isa"])


def test_every_board_of_the_catalog_can_be_loaded_and_names_its_sources():
    assert set(known_boards()) == {"jetson-nano", "jetson-orin-nano", "rpi4", "rpi5", "x86-avx2", "x86-vnni"}
    for name in known_boards():
        board = Board.load(name)
        document = json.loads(json.dumps(board.to_json()))
        assert document["name"] == name
        assert "python" not in document  # what runs here says nothing of a board elsewhere
        assert "ource" in (CATALOG / f"{name}.toml").read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "isa", "accelerators"),
    [
        ("rpi5", {"neon", "dotprod", "fp16"}, ()),
        ("rpi4", {"neon"}, ()),
        ("jetson-nano", {"neon"}, ()),
        ("jetson-orin-nano", {"neon", "dotprod", "fp16"}, ("tensorrt",)),
        ("x86-avx2", {"avx2"}, ()),
        ("x86-vnni", {"avx2", "vnni"}, ()),
    ],
)
def test_known_boards_have_the_instruction_sets_their_cores_have(name, isa, accelerators):
    board = Board.load(name)
    assert (board.isa, board.accelerators) == (isa, accelerators)


def test_a_pi_that_is_detected_is_the_pi_of_the_catalog(tmp_path):
    assert Board.load("rpi5").differs_from(Board.detect(machine(tmp_path, cpuinfo=PI5))) == ()


@pytest.mark.parametrize(
    ("model", "name", "gb_per_s"),
    [
        ("Raspberry Pi 5 Model B Rev 1.0\0", "rpi5", 17.0),
        ("Raspberry Pi Compute Module 5 Rev 1.0\0", "rpi5", 17.0),
        ("Raspberry Pi 4 Model B Rev 1.5\0", "rpi4", None),
        ("NVIDIA Jetson Nano Developer Kit\0", "jetson-nano", 25.6),
        ("NVIDIA Jetson Orin Nano Developer Kit\0", "jetson-orin-nano", 68.0),
    ],
)
def test_a_board_is_found_in_the_catalog_by_what_it_calls_itself(tmp_path, model, name, gb_per_s):
    board = Board.detect(machine(tmp_path, **{"device-tree__model": model})).in_catalog()
    assert (board.name, board.memory_gb_per_s) == (name, gb_per_s)


def test_other_machines_are_in_no_catalog(tmp_path):
    assert Board.detect(tmp_path).in_catalog() is None
    assert Board.detect(machine(tmp_path, **{"device-tree__model": "Orange Pi 5\0"})).in_catalog() is None


def test_says_which_instruction_sets_a_measurement_was_made_without():
    target, here = Board.load("rpi5"), Board("x86_64", None, 2, frozenset({"avx2", "vnni"}), None)
    assert target.differs_from(here) == (
        "rpi5 has dotprod, fp16, neon, which this machine lacks",
        "this machine has avx2, vnni, which rpi5 lacks",
    )
    assert Board.load("rpi4").differs_from(target) == ("rpi5 has dotprod, fp16, which rpi4 lacks",)


MINE = 'name = "mine"\nmachine = "aarch64"\ncores = 2\nisa = ["neon"]\n'


def test_a_board_of_ones_own_is_a_file(tmp_path):
    (tmp_path / "mine.toml").write_text(MINE)
    assert Board.load(str(tmp_path / "mine.toml")) == Board("aarch64", None, 2, frozenset({"neon"}), None, "mine")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no field 'isa'"),
        (MINE + "colour = 3", "a field 'colour' that no board has"),
        (MINE.replace("neon", "mmx"), "isa 'mmx', not among amx_int8"),
        (MINE.replace('["neon"]', '"neon"'), "isa = 'neon', not a list"),
        (MINE.replace("= 2", "= true"), "cores = True, not a whole number from 1 to 1024"),
        (MINE.replace("= 2", "= 2000"), "not a whole number from 1 to 1024"),
        (MINE.replace('"mine"', '"host"'), "kept for the machine we are on"),
        (MINE.replace('"mine"', '"a\\u001b[31mb"'), "not one short line of text"),
        (MINE + "memory_mib = 1.5", "memory_mib = 1.5"),
        (MINE + "memory_gb_per_s = nan", "memory_gb_per_s = nan, not a number above 0, up to 10000"),
        (MINE + "memory_gb_per_s = 0", "memory_gb_per_s = 0, not a number"),
        (MINE + "models = 3", "models = 3, not a list"),
        (MINE + "cpu = []", "cpu = a list of 0, not one short line"),
        (MINE + "cpu = 0x" + "f" * 15_000, "cpu = a number of 60000 bits"),
        (MINE.replace("isa = ", "isa" + ".a" * 7_000 + " = "), "isa = a mapping of 1, not a list"),
        ("name = ", "does not describe a board"),
        ("a = " + "[" * 5000, "does not describe a board"),
        ("#" * 70_000, "cannot be read; got more than 16384 bytes"),
    ],
)
def test_a_file_that_is_no_board_is_refused_in_a_sentence(tmp_path, text, said):
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        Board.load(str(path))
    assert said in str(caught.value)


def test_what_is_not_there_or_no_file_is_said(tmp_path):
    with pytest.raises(InputError, match="one of jetson-nano, jetson-orin-nano, rpi4, rpi5"):
        Board.load("rpi6")
    with pytest.raises(InputError, match="no such file"):
        Board.load(str(tmp_path / "none.toml"))
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(InputError, match="not a regular file"):
        Board.load(str(tmp_path / "pipe.toml"))
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="does not describe a board"):
        Board.load(str(tmp_path / "bytes.toml"))
    with pytest.raises(InputError):
        Board.load("nul\0.toml")
