# SPDX-License-Identifier: Apache-2.0
"""The maintenance interrupt, and what hypervisor and guest have of one another's registers and lines."""

import pytest

from gicmodel.hardware import UndefinedRegister, load_snapshot, save_snapshot
from gicmodel.layouts.registers.by_name import NamedRegisters, encoding, register
from gicmodel.layouts.registers.distributor import GICD_TYPER
from tests.hardware.guest import (
    ACTIVE,
    EOI,
    IDLE,
    MAINTENANCE,
    PENDING,
    PENDING_AND_ACTIVE,
    SPURIOUS,
    Guest,
    taken,
)

MAINTENANCE_CASES = [
    ({"UIE": 1}, {}, {"U"}),
    ({"UIE": 1}, {"LR0": PENDING}, {"U"}),
    ({"UIE": 1}, {"LR0": PENDING, "LR3": ACTIVE}, set()),
    ({"NPIE": 1}, {"LR0": ACTIVE, "LR1": PENDING_AND_ACTIVE}, {"NP"}),
    ({"NPIE": 1}, {"LR2": PENDING}, set()),
    ({"LRENPIE": 1}, {}, set()),
    ({"LRENPIE": 1, "EOIcount": 1}, {}, {"LRENP"}),
    ({"VGrp0EIE": 1, "VGrp0DIE": 1, "VGrp1EIE": 1, "VGrp1DIE": 1}, {}, {"VGrp0E", "VGrp1D"}),
    ({"EOIcount": 3}, {}, set()),
]


@pytest.mark.parametrize(("control", "states", "causes"), MAINTENANCE_CASES)
def test_why_there_is_a_maintenance_interrupt(guest, control, states, causes):
    guest.ich("VMCR", VPMR=0xFF, VENG0=1)
    for place, state in states.items():
        guest.list(int(place[2:]), 40, State=state)
    guest.ich("HCR", En=1, **control)
    assert (guest.misr(), guest.maintained()) == (causes, bool(causes))
    guest.ich("HCR", En=0, **control)
    assert (guest.misr(), guest.maintained()) == (causes, False), "ICH_HCR_EL2.En lets it out"


def test_the_guest_makes_a_maintenance_interrupt(guest):
    """It follows what the guest does: an interrupt taken and ended, a group enabled."""
    guest.list(0, 40, pINTID=EOI)
    guest.list(1, 41)
    guest.ich("HCR", En=1, NPIE=1, VGrp1DIE=1)
    assert not guest.maintained()
    assert guest.mrs("IAR1") == 40
    assert not guest.maintained()
    guest.msr("EOIR1", 40)
    assert (guest.maintained(), guest.misr(), guest.ich_fields("EISR")["Status"]) == (True, {"EOI"}, 0b0001)
    assert guest.ich_fields("ELRSR")["Status"] == 0b1100
    guest.ich("LR0")
    assert (guest.maintained(), guest.ich_fields("ELRSR")["Status"]) == (False, 0b1101)
    guest.msr("IGRPEN1", 0)
    assert guest.misr() == {"VGrp1D"}
    guest.msr("IGRPEN1", 1)
    assert guest.mrs("IAR1") == 41
    assert guest.misr() == {"NP"}
    assert guest.maintained()


def test_a_maintenance_interrupt_of_another_ppi():
    guest = Guest(maintenance_intid=31)
    guest.ich("HCR", En=1, NPIE=1)
    assert guest.read_rd("ISPENDR0") == 1 << 31


def test_the_guests_registers_are_in_vmcr(guest):
    for name, value, field, shown in [
        *(("PMR", 0xAF, "VPMR", 0xA8), ("BPR0", 0, "VBPR0", 2), ("BPR1", 0, "VBPR1", 3), ("BPR1", 7, "VBPR1", 7)),
        *(("IGRPEN0", 0, "VENG0", 0), ("IGRPEN1", 1, "VENG1", 1)),
    ]:
        guest.msr(name, value)
        assert guest.ich_fields("VMCR")[field] == guest.mrs(name) == shown
    guest.msr("CTLR", 3)
    assert (guest.ich_fields("VMCR")["VEOIM"], guest.ich_fields("VMCR")["VCBPR"]) == (1, 1)
    guest.ich("VMCR")
    assert guest.ich_fields("VMCR") == dict.fromkeys(guest.ich_fields("VMCR"), 0) | {
        "VBPR0": 2,
        "VBPR1": 3,
        "VFIQEn": 1,
    }
    assert (guest.mrs("CTLR") & 3, guest.mrs("PMR")) == (0, 0)


@pytest.mark.parametrize("group", [0, 1])
def test_active_priorities_are_the_hypervisors_too(guest, group):
    guest.ich(f"AP{group}R0", P=0x8000_0100)
    assert (guest.mrs(f"AP{group}R0"), guest.mrs("RPR")) == (0x8000_0100, 0x40)
    guest.msr(f"AP{group}R0", 0xF_0000_0000)
    assert guest.ich_fields(f"AP{group}R0")["P"] == 0


@pytest.mark.parametrize(
    ("choices", "written"), [({}, 0xFFFF_FFFF_FFFF_FFFF), ({"architecture": "4.0"}, (1 << 64) - 1)]
)
def test_what_is_kept_of_all_ones(choices, written):
    guest = Guest(**choices)
    for name, kept in [("HCR", 0xF800_5DFF), ("LR0", 0xF0F8_1FFF_0000_3FFF), ("VMCR", 0xF8FC_021B)]:
        guest.cpu.write(encoding(f"ICH_{name}_EL2"), (1 << 64) - 1)
        if name == "HCR" and not guest.config.v41:
            kept &= ~(1 << 8)
        assert guest.cpu.read(encoding(f"ICH_{name}_EL2")) == kept


@pytest.mark.parametrize("count", [1, 4, 16])
def test_as_many_list_registers_as_there_are(count):
    guest = Guest(list_registers=count)
    assert guest.ich_fields("VTR")["ListRegs"] == count - 1
    guest.list(count - 1, 40)
    assert guest.ich_fields("ELRSR")["Status"] == (1 << count - 1) - 1
    assert taken(guest) == [40]
    for place in range(count, 16):
        with pytest.raises(UndefinedRegister, match=f"ICH_LR{place}_EL2 cannot be read"):
            guest.ich_fields(f"LR{place}")


def test_what_the_interface_does_not_have(guest):
    """A guest's SGIs are its hypervisor's to send; ICC_SRE_EL1 has no virtual counterpart."""
    for name in ("SGI0R", "SGI1R", "ASGI1R"):
        with pytest.raises(UndefinedRegister, match=f"ICC_{name}_EL1 cannot be written"):
            guest.msr(name, 0)
    for name in ("VTR", "MISR", "EISR", "ELRSR"):
        with pytest.raises(UndefinedRegister, match=f"ICH_{name}_EL2 cannot be written"):
            guest.ich(name)
    with pytest.raises(UndefinedRegister, match="ICC_EOIR1_EL1 cannot be read"):
        guest.mrs("EOIR1")
    with pytest.raises(UndefinedRegister, match="0xffff"):
        guest.cpu.read(0xFFFF, virtual=True)
    assert guest.mrs("SRE") == 7


def test_features(guest):
    """ICV_CTLR_EL1 has the features of ICC_CTLR_EL1, whose SGI registers reach every affinity; VTR says the same."""
    assert guest.ich_fields("VTR") == {
        **{"PRIbits": 4, "PREbits": 4, "IDbits": 0, "SEIS": 0, "A3V": 1, "nV4": 0},
        **{"TDS": 1, "DVIM": 0, "ListRegs": 3},
    }
    assert guest.mrs("CTLR") == guest.cpu.read(encoding("ICC_CTLR_EL1")) == 1 << 18 | 1 << 15 | 4 << 8
    distributor = GICD_TYPER.unpack(guest.gic.distributor.read(register("GICD_TYPER").offset, 4))
    assert (distributor["RSS"], distributor["A3V"]) == (1, 1)
    wide = Guest(intid_bits=17)
    assert (wide.ich_fields("VTR")["IDbits"], wide.mrs("CTLR") >> 11 & 7) == (1, 1)


def test_a_snapshot_has_the_interface(guest, tmp_path):
    guest.list(0, 40)
    guest.list(1, 41, Priority=0x80)
    assert guest.mrs("IAR1") == 41
    save_snapshot(guest.gic, tmp_path / "snapshot")
    other = load_snapshot(tmp_path / "snapshot")
    cpu = other.redistributors[0].cpu
    cpu.write(encoding("ICC_EOIR1_EL1"), 41, virtual=True)
    assert cpu.read(encoding("ICC_IAR1_EL1"), virtual=True) == 40


def test_what_the_guest_takes_is_its_own(guest):
    """The physical interface knows nothing of it, and the other way round."""
    guest.list(0, 40)
    assert guest.mrs("IAR1") == 40
    assert guest.cpu.read(encoding("ICC_RPR_EL1")) == IDLE
    assert guest.cpu.read(encoding("ICC_HPPIR1_EL1")) == SPURIOUS


def test_virtual_lines_are_told_as_they_change(guest):
    """By what the hypervisor lists, what a device and another vCPU send, and what the guest does."""
    told: list[tuple[int, str, bool]] = []
    guest.gic.on_line(lambda pe, line, level: told.append((pe, line.name, level)))

    def new() -> list[tuple[str, bool]]:
        found = [(name, level) for pe, name, level in told if pe == 0]
        assert len(found) == len(told)
        told.clear()
        return found

    guest.list(0, 40)
    assert new() == [("VIRQ", True)]
    guest.vsgi(6)
    assert sorted(new()) == [("VFIQ", True), ("VIRQ", False)]
    assert guest.mrs("IAR0") == 6
    assert new() == [("VFIQ", False)]
    guest.msr("EOIR0", 6)
    assert new() == [("VIRQ", True)]
    guest.msr("PMR", 0)
    assert new() == [("VIRQ", False)]
    guest.ich("LR0")
    guest.ich("VMCR", VPMR=0xFF, VENG1=1)
    guest.vlpi()
    assert new() == [("VIRQ", True)]
    guest.deschedule()
    assert new() == [("VIRQ", False)]
    guest.schedule(groups=0b10)
    assert new() == [("VIRQ", True)]


def test_the_maintenance_interrupt_is_one_of_the_pes(guest):
    """It comes and goes on the PE's own line as any other PPI."""
    told: list[tuple[str, bool]] = []
    guest.gic.on_line(lambda pe, line, level: told.append((line.name, level)))
    guest.write_rd("IGROUPR0", 1 << MAINTENANCE)
    guest.write_rd("ISENABLER0", 1 << MAINTENANCE)
    NamedRegisters(guest.gic.distributor, "4.1").set("GICD_CTLR", EnableGrp1=1)
    guest.cpu.write(encoding("ICC_PMR_EL1"), 0xFF)
    guest.cpu.write(encoding("ICC_IGRPEN1_EL1"), 1)
    guest.ich("HCR", En=1, NPIE=1)
    assert told == [("IRQ", True)]
    assert guest.cpu.read(encoding("ICC_IAR1_EL1")) == MAINTENANCE
    guest.list(0, 40)
    guest.cpu.write(encoding("ICC_EOIR1_EL1"), MAINTENANCE)
    assert told[1:] == [("IRQ", False), ("VIRQ", True)]
