# SPDX-License-Identifier: Apache-2.0
"""Every ICH_* and ICV_* system register: what it holds after reset, after a write of all ones and of zero."""

import pytest

from gicmodel.config import GicConfig
from gicmodel.hardware import Gic, UndefinedRegister
from gicmodel.layouts.registers.register import SystemRegister
from gicmodel.layouts.registers.virtual_interface import GUEST_INTERFACE_REGISTERS, HYPERVISOR_REGISTERS
from gicmodel.memory import PAGE_BYTES, GuestMemory

ONES = (1 << 64) - 1
RESET = {
    **{"ICH_VTR_EL2": 0x9028_000F, "ICH_ELRSR_EL2": 0xFFFF, "ICH_VMCR_EL2": 0x004C_0008},
    **{"ICV_BPR0_EL1": 2, "ICV_BPR1_EL1": 3, "ICV_CTLR_EL1": 0x4_8400, "ICV_RPR_EL1": 0xFF},
    **dict.fromkeys(("ICV_IAR0_EL1", "ICV_IAR1_EL1", "ICV_HPPIR0_EL1", "ICV_HPPIR1_EL1"), 1023),
}
"""What a register holds after reset, if not 0. With 16 list registers, of GICv4.1."""
ALL_ONES = {
    **dict.fromkeys(("ICH_AP0R0_EL2", "ICH_AP1R0_EL2", "ICV_AP0R0_EL1", "ICV_AP1R0_EL1"), 0xFFFF_FFFF),
    **{"ICH_HCR_EL2": 0xF800_5DFF, "ICH_VMCR_EL2": 0xF8FC_021B},
    **{f"ICH_LR{number}_EL2": 0xF0F8_1FFF_0000_FFFF for number in range(16)},
    **{"ICV_PMR_EL1": 0xF8, "ICV_BPR0_EL1": 7, "ICV_BPR1_EL1": 7, "ICV_CTLR_EL1": 0x4_8403},
    **{"ICV_IGRPEN0_EL1": 1, "ICV_IGRPEN1_EL1": 1},
}
"""What a read-write register holds after a write of all ones."""
each = pytest.mark.parametrize(
    "entry", [*HYPERVISOR_REGISTERS, *GUEST_INTERFACE_REGISTERS], ids=lambda entry: entry.name
)


def fresh(entry: SystemRegister):
    """A CPU interface, and what tells that a guest accesses the register."""
    gic = Gic(GicConfig(list_registers=16), GuestMemory(0, PAGE_BYTES))
    return gic.redistributors[1].cpu, {"virtual": entry.name.startswith("ICV")}


def test_every_read_write_register_has_a_row():
    entries = (*HYPERVISOR_REGISTERS, *GUEST_INTERFACE_REGISTERS)
    assert {entry.name for entry in entries if entry.access == "RW"} == ALL_ONES.keys()
    assert RESET.keys() <= {entry.name for entry in entries if entry.access != "WO"}


@each
def test_what_a_register_holds_after_reset_of_ones_and_of_zero(entry):
    cpu, guest = fresh(entry)
    if entry.access == "WO":
        cpu.write(entry.encoding, 0, **guest)
        return
    reset = RESET.get(entry.name, 0)
    assert cpu.read(entry.encoding, **guest) == reset
    assert {name: entry.layout.unpack(reset)[name] for name in entry.reset} == dict(entry.reset)
    if entry.access == "RW":
        cpu.write(entry.encoding, ONES, **guest)
        assert cpu.read(entry.encoding, **guest) == ALL_ONES[entry.name]
        cpu.write(entry.encoding, 0, **guest)
        assert cpu.read(entry.encoding, **guest) == reset


@each
def test_an_access_that_a_register_does_not_allow_is_undefined(entry):
    cpu, guest = fresh(entry)
    if entry.access == "WO":
        with pytest.raises(UndefinedRegister, match="cannot be read"):
            cpu.read(entry.encoding, **guest)
    if entry.access == "RO":
        with pytest.raises(UndefinedRegister, match="cannot be written"):
            cpu.write(entry.encoding, 0, **guest)
