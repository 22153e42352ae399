"""What nobody has tried on a machine of this kind: docs/unproven.md, as far as it concerns the one we are on."""

from collections.abc import Callable
from dataclasses import dataclass

from edgewright.doctor.machine import Machine

Concerns = Callable[[Machine], bool]


@dataclass(frozen=True, slots=True)
class Unproven:
    """`what` is a line of docs/unproven.md, word for word; `unknown`: what is not known of it, in short."""

    what: str
    unknown: str
    concerns: Concerns


def _on_arm(machine: Machine) -> bool:
    return machine.is_pi or machine.is_jetson or "neon" in machine.board.isa


def _without_vnni(machine: Machine) -> bool:
    return not _on_arm(machine) and "vnni" not in machine.board.isa


def _on_board(machine: Machine) -> bool:
    return machine.is_pi or machine.is_jetson


def _with_hardware_encoder(machine: Machine) -> bool:
    return machine.encoder is not None and machine.encoder.encoder.hardware


def _on_jetson(machine: Machine) -> bool:
    return machine.is_jetson


def _with_unified_groups(machine: Machine) -> bool:
    group = machine.reading.control_group
    return group is not None and group.version == 2


TABLE = (
    Unproven("`fit`, `bench`, `detect` on a Raspberry Pi or Jetson", "speed, memory and temperature", _on_board),
    Unproven("The integer scheme for Arm (U8S8, per channel, no reduce_range)", "whether another scheme is quicker", _on_arm),
    Unproven("OpenVINO, MNN and ncnn on Arm: float16, speed", "whether their wheels run, and how fast", _on_arm),
    Unproven("Reading the processor's name and features on Arm boards", "tested on files only", _on_arm),
    Unproven(
        "What a board feels: temperatures, clocks, throttle flags, rails, fan, GPU, memory controller",
        "whether the kernel's files are where documents say",
        _on_board,
    ),
    Unproven("The bandwidth of memory on Arm, and its share of the data sheet's figure", "checked on x86 only", _on_arm),
    Unproven("Hardware video encoders", "arguments, cost, and how they fail", _with_hardware_encoder),
    Unproven("The scheme for TensorRT (symmetric Q/DQ)", "no TensorRT has read such a file", _on_jetson),
    Unproven("The scheme for x86 without VNNI (U8S8 with reduce_range)", "the accuracy it costs, and its speed", _without_vnni),
    Unproven(
        "`doctor`'s checks and the lines that mend what they find",
        "each was tried on files; none has been typed on such a board",
        _on_board,
    ),
    Unproven("`doctor oom` under a control group of version 2", "the limit was tried in version 1", _with_unified_groups),
)


def unproven_on(machine: Machine) -> tuple[Unproven, ...]:
    """The lines that concern it."""
    return tuple(line for line in TABLE if line.concerns(machine))
