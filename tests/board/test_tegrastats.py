"""Lines of tegrastats, in the forms that NVIDIA's releases have given them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.board.gpu import Engine
from edgewright.board.tegrastats import MIB, Power, TegraLine, read_line
from edgewright.board.thermal import Temperature

# The form is that of the Jetson Linux Developer Guide, "tegrastats Utility" (32.7, 35, 36); the figures are made up.
NANO = (
    "RAM 1800/3964MB (lfb 2x2MB) SWAP 120/1982MB (cached 6MB) IRAM 0/252kB(lfb 252kB) CPU [15%@1224,4%@1224,off,off] EMC_FREQ 7%@1600 "
    "GR3D_FREQ 40%@76 APE 25 PLL@37C CPU@40.5C PMIC@100C GPU@40C AO@45C POM_5V_IN 2750/2628 POM_5V_GPU 120/110 POM_5V_CPU 366/406"
)
ORIN = (
    "10-08-2026 04:38:21 RAM 3162/7620MB (lfb 8x4MB) SWAP 0/3810MB (cached 0MB) CPU [1%@1510,0%@1510,0%@729,0%@729,0%@729,100%@729] "
    "EMC_FREQ 3%@2133 GR3D_FREQ 99%@[305] NVDEC off VIC off APE 200 cpu@50.031C cv0@-256C tj@51.5C "
    "VDD_IN 4952mW/4800mW VDD_CPU_GPU_CV 1013mW/1000mW VDD_SOC 1544mW/1540mW"
)
NEWEST = "RAM 18207/62841MB (lfb 466x4MB) EMC_FREQ 3% GR3D_FREQ 0%@[1300,1300] tj@52.562C VIN_SYS_5V0 4707mW/4707mW NC 0mW/0mW"


def test_a_nano_s():
    line = read_line(NANO)
    assert (line.ram_used_bytes, line.ram_total_bytes) == (1800 * MIB, 3964 * MIB)
    assert (line.swap_used_bytes, line.swap_total_bytes) == (120 * MIB, 1982 * MIB)
    assert line.core_loads == (0.15, 0.04, None, None)
    assert (line.gpu, line.emc) == (Engine(0.4, 76), Engine(0.07, 1600))
    assert Temperature("CPU", 40.5) in line.zones
    assert line.power == (Power("POM_5V_IN", 2.75, 2.628), Power("POM_5V_GPU", 0.12, 0.11), Power("POM_5V_CPU", 0.366, 0.406))


def test_an_orin_s():
    line = read_line(ORIN)
    assert line.core_loads == (0.01, 0.0, 0.0, 0.0, 0.0, 1.0)
    assert (line.gpu, line.emc) == (Engine(0.99, 305), Engine(0.03, 2133))
    assert line.zones == (Temperature("cpu", 50.031), Temperature("cv0", None), Temperature("tj", 51.5))
    assert [(rail.name, rail.watts) for rail in line.power] == [("VDD_IN", 4.952), ("VDD_CPU_GPU_CV", 1.013), ("VDD_SOC", 1.544)]


def test_the_newest():
    line = read_line(NEWEST)
    assert (line.gpu, line.emc) == (Engine(0.0, 1300), Engine(0.03, None))
    assert (line.swap_used_bytes, line.core_loads) == (None, ())
    assert line.power == (Power("VIN_SYS_5V0", 4.707, 4.707),)


NOTHING = TegraLine(None, None, None, None, (), None, None, (), ())


@pytest.mark.parametrize("text", ["", "hello", "RAM 9/3MB", "RAM 99999999/99999999MB", "CPU@9999999C", "\x1b[2J"])
def test_what_is_no_line_says_nothing(text):
    assert read_line(text) == NOTHING


@settings(deadline=None)
@given(st.text(max_size=300) | st.builds(lambda at, put: NANO[:at] + put + NANO[at:], st.integers(0, len(NANO)), st.text(max_size=20)))
def test_no_line_is_an_error(text):
    line = read_line(text)
    assert all(zone.temp_c is None or -40 <= zone.temp_c <= 150 for zone in line.zones)
    assert all(0 <= load <= 1 for load in line.core_loads if load is not None)


def test_a_line_without_end_is_cut():
    assert len(read_line("cpu@50C " * 1_000_000).zones) == 64
