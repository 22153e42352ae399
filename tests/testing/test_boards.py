"""The boards that are folders: everything in them has a source, and every knob turns what it says."""

import pytest

from edgewright.board.profile import Board
from edgewright.board.throttle import FLAGS
from edgewright.errors import InputError
from edgewright.testing.boards import FakeBoard, known_trees


def test_the_boards_there_are():
    assert known_trees() == ("jetson-nano", "orin-nano", "rpi4", "rpi5")


@pytest.mark.parametrize("name", known_trees())
def test_every_file_is_written_and_has_a_source(tmp_path, name):
    board = FakeBoard(tmp_path, name)
    assert len({file.path for file in board.files}) == len(board.files)
    for file in board.files:
        assert board.read(file.path) == file.text
        assert len(file.source) > 10
        assert not file.path.startswith("/")
        assert ".." not in file.path


@pytest.mark.parametrize("name", known_trees())
def test_it_is_taken_for_the_board_of_the_catalog(tmp_path, name):
    board = FakeBoard(tmp_path, name)
    host, known = Board.detect(tmp_path), Board.load(board.catalog_name)
    assert host.in_catalog() == known
    assert known.isa == host.isa
    assert 0.9 < host.memory_mib / known.memory_mib <= 1


def test_an_unknown_board_is_refused(tmp_path):
    with pytest.raises(InputError, match="one of jetson-nano, orin-nano, rpi4, rpi5"):
        FakeBoard(tmp_path, "rpi6")


def test_a_shorter_text_leaves_nothing_of_a_longer_one(tmp_path):
    board = FakeBoard(tmp_path, "rpi5")
    board.set_temperature(101.25)
    board.set_temperature(9)
    assert board.read("sys/class/thermal/thermal_zone0/temp").strip() == "9000"


def test_one_zone_can_be_heated(tmp_path):
    board = FakeBoard(tmp_path, "orin-nano")
    board.set_temperature(90, "gpu-thermal")
    with board.sensors() as sensors:
        zones = {zone.name: zone.temp_c for zone in sensors.read().zones}
    assert (zones["gpu-thermal"], zones["cpu-thermal"]) == (90, 50.031)


def test_the_firmware_of_a_pi_answers_and_a_jetson_has_none(tmp_path):
    pi = FakeBoard(tmp_path / "pi", "rpi5")
    pi.set_throttled(*FLAGS)
    pi.set_throttled("throttled")
    assert pi.vcgencmd("get_throttled") == "throttled=0xf0004\n"
    assert pi.vcgencmd("measure_clock arm") == "frequency(0)=2400000000\n"
    assert "EXT5V_V volt(12)=5.15000000V" in pi.vcgencmd("pmic_read_adc")
    assert pi.vcgencmd("codec_enabled H264").startswith("error=1")
    assert FakeBoard(tmp_path / "pi4", "rpi4").vcgencmd("pmic_read_adc").startswith("error=1")
    assert FakeBoard(tmp_path / "nano", "jetson-nano").vcgencmd("get_throttled") is None


def test_stalls_add_up(tmp_path):
    board = FakeBoard(tmp_path, "rpi5")
    for _ in range(3):
        board.set_pressure("io", some=50)
    with board.sensors() as sensors:
        io = sensors.read().pressure.io
    assert (io.some.avg10_percent, io.some.total_us, io.full.total_us) == (50, 15_000_000, 0)


def test_a_knob_that_a_board_lacks_turns_nothing(tmp_path):
    board = FakeBoard(tmp_path, "rpi4")
    board.set_fan(3000, 0.5)
    board.set_gpu(1, 1000)
    board.set_over_currents(3)
    with board.sensors() as sensors:
        felt = sensors.read()
    assert (felt.fan, felt.gpu, felt.over_currents) == (None, None, None)
