# SPDX-License-Identifier: Apache-2.0
"""The virtual CPU interface: list registers, vSGIs and vLPIs in one arbitration, and the maintenance interrupt."""

import pytest

from gicmodel.layouts.registers.by_name import NamedRegisters
from tests.hardware.guest import (
    ACTIVE,
    IDLE,
    INVALID,
    PENDING,
    PENDING_AND_ACTIVE,
    SPURIOUS,
    VLPI,
    Guest,
    taken,
)


def test_one_arbitration_of_list_registers_vsgis_and_vlpis(guest):
    """By priority, then by vINTID, and of one vINTID that in a list register first."""
    guest.list(0, 50)
    guest.list(1, 40)
    guest.list(2, 60, Priority=0xA0)
    guest.list(3, VLPI, Priority=0xA0)
    guest.vlpi()
    guest.vsgi(3)
    assert taken(guest) == [60, VLPI, VLPI, 40, 50, 3]
    assert [guest.listed(place) for place in range(4)] == [INVALID] * 4


@pytest.mark.parametrize("architecture", ["4.0", "4.1"])
def test_a_vlpi_is_taken_as_icv_iar1_has_it(architecture):
    guest = Guest(architecture=architecture)
    guest.vlpi()
    assert guest.lines() == "VIRQ"
    assert [guest.mrs(name) for name in ("HPPIR0", "IAR0", "HPPIR1", "IAR1", "IAR1")] == [
        *(SPURIOUS, SPURIOUS),
        *(VLPI, VLPI, SPURIOUS),
    ]
    assert (guest.mrs("RPR"), guest.mrs("AP1R0")) == (0xA0, 1 << 0xA0 // 8)
    guest.msr("EOIR1", VLPI)
    assert (guest.mrs("RPR"), guest.ich_fields("HCR")["EOIcount"]) == (IDLE, 0)


def test_list_registers_of_a_gic_without_vlpis():
    guest = Guest(architecture="3")
    guest.list(0, 40)
    assert taken(guest) == [40]
    assert guest.ich_fields("VTR")["nV4"] == 1


def test_groups_have_registers_and_lines_of_their_own(guest):
    """vSGI 6 is of Group 0. There is one highest priority pending interrupt."""
    guest.vsgi(6)
    assert guest.lines() == "VFIQ"
    guest.list(0, 40, Priority=0xA8)
    assert (guest.mrs("IAR1"), guest.mrs("HPPIR1"), guest.mrs("HPPIR0"), guest.mrs("IAR0")) == (1023, 1023, 6, 6)
    assert guest.lines() == ""
    guest.msr("EOIR0", 6)
    assert guest.lines() == "VIRQ"


@pytest.mark.parametrize(("enables", "seen"), [(0b00, 1023), (0b01, 6), (0b10, VLPI), (0b11, 6)])
def test_a_group_that_is_disabled_holds_nothing_back(enables, seen):
    guest = Guest()
    guest.vlpi()
    guest.vsgi(6)
    guest.msr("IGRPEN0", enables & 1)
    guest.msr("IGRPEN1", enables >> 1)
    assert {guest.mrs("HPPIR0"), guest.mrs("HPPIR1")} - {SPURIOUS} == {seen} - {SPURIOUS}
    assert guest.cpu.pending_virtual() == 6, "what the redistributor forwards"


def test_the_residency_enables_groups_of_vsgis_and_vlpis_only(guest):
    guest.deschedule()
    guest.schedule(groups=0b01)
    guest.vlpi()
    assert guest.mrs("HPPIR1") == SPURIOUS
    guest.list(0, 40)
    assert guest.mrs("HPPIR1") == 40


def test_nothing_comes_while_the_interface_is_off(guest):
    guest.list(0, 40)
    guest.vlpi()
    guest.ich("HCR", En=0)
    assert (guest.lines(), guest.mrs("HPPIR1"), guest.mrs("IAR1")) == ("", SPURIOUS, SPURIOUS)
    guest.ich("HCR", En=1)
    assert guest.lines() == "VIRQ"


def test_the_mask_and_the_running_priority_hold_back(guest):
    guest.list(0, 40, Priority=0xA8)
    guest.msr("PMR", 0xA8)
    assert (guest.lines(), guest.mrs("HPPIR1"), guest.mrs("IAR1")) == ("", 40, SPURIOUS)
    guest.msr("PMR", 0xB0)
    assert (guest.lines(), guest.mrs("IAR1"), guest.mrs("RPR")) == ("VIRQ", 40, 0xA8)
    guest.list(1, 41, Priority=0xA8)
    assert guest.lines() == ""
    guest.list(2, 42, Priority=0xA0)
    assert (guest.lines(), guest.mrs("IAR1"), guest.mrs("RPR")) == ("VIRQ", 42, 0xA0)
    guest.msr("EOIR1", 42)
    assert guest.mrs("RPR") == 0xA8


@pytest.mark.parametrize(
    ("group", "point", "preempts"), [(1, 3, True), (1, 5, True), (1, 6, False), (0, 4, True), (0, 5, False)]
)
def test_binary_points(guest, group, point, preempts):
    """0xA8 is active and 0x98 comes: binary point n cuts n bits of Group 1, n + 1 of Group 0."""
    guest.msr(f"BPR{group}", point)
    guest.list(0, 40, Group=group, Priority=0xA8)
    assert guest.mrs(f"IAR{group}") == 40
    guest.list(1, 41, Group=group, Priority=0x98)
    assert bool(guest.lines()) is preempts


def test_one_binary_point_for_both_groups(guest):
    guest.msr("CTLR", 1)
    guest.msr("BPR0", 5)
    guest.msr("BPR1", 7)
    assert (guest.mrs("BPR1"), guest.ich_fields("VMCR")["VBPR1"]) == (6, 3)
    guest.msr("BPR0", 7)
    assert guest.mrs("BPR1") == 7
    guest.msr("CTLR", 0)
    assert guest.mrs("BPR1") == 3


def test_the_end_of_an_interrupt_in_a_list_register(guest):
    guest.list(0, 40)
    assert (guest.mrs("IAR1"), guest.listed(0)) == (40, ACTIVE)
    guest.list(0, 40, State=PENDING_AND_ACTIVE)
    assert guest.mrs("HPPIR1") == SPURIOUS
    guest.msr("EOIR1", 40)
    assert guest.listed(0) == PENDING
    assert taken(guest) == [40]


def test_priority_drop_and_deactivation_apart(guest):
    guest.msr("CTLR", 2)
    guest.list(0, 40)
    assert guest.mrs("IAR1") == 40
    guest.msr("EOIR1", 40)
    assert (guest.mrs("RPR"), guest.listed(0)) == (IDLE, ACTIVE)
    guest.msr("DIR", 40)
    assert guest.listed(0) == INVALID
    guest.list(1, VLPI)
    assert (guest.mrs("IAR1"), guest.listed(1)) == (VLPI, ACTIVE)
    guest.msr("DIR", VLPI)
    assert guest.listed(1) == ACTIVE
    guest.msr("EOIR1", VLPI)
    assert guest.listed(1) == INVALID, "an LPI is deactivated in any mode"


def test_dir_is_ignored_where_eoir_deactivates(guest):
    guest.list(0, 40)
    assert guest.mrs("IAR1") == 40
    guest.msr("DIR", 40)
    assert guest.listed(0) == ACTIVE


@pytest.mark.parametrize("wrong", [{"Group": 0}, {"Priority": 0xB0}])
def test_a_list_register_that_was_changed_is_not_ended(guest, wrong):
    """VirtualWriteEOIR: of the group, and of the priority that is dropped."""
    guest.list(0, 40)
    assert guest.mrs("IAR1") == 40
    guest.list(0, 40, State=ACTIVE, **wrong)
    guest.msr("EOIR1", 40)
    assert (guest.listed(0), guest.mrs("RPR"), guest.ich_fields("HCR")["EOIcount"]) == (ACTIVE, IDLE, 0)


def test_what_ends_nothing(guest):
    """While no priority is active, and special INTIDs."""
    guest.list(0, 40, State=ACTIVE)
    guest.msr("EOIR1", 40)
    assert (guest.listed(0), guest.ich_fields("HCR")["EOIcount"]) == (ACTIVE, 0)
    guest.list(1, 41)
    assert guest.mrs("IAR1") == 41
    for vintid in range(1020, 1024):
        guest.msr("EOIR1", vintid)
    assert guest.mrs("RPR") == 0xA8


def test_a_special_vintid_in_a_list_register(guest):
    """UNPREDICTABLE; here it is returned once, and no priority becomes active."""
    guest.list(0, 1021)
    assert (guest.mrs("IAR1"), guest.listed(0), guest.mrs("RPR")) == (1021, INVALID, IDLE)


@pytest.mark.parametrize("pintid", [5, 20, 40])
def test_hw_deactivates_the_physical_interrupt(guest, pintid):
    registers = guest.lab.redistributors[0] if pintid < 32 else NamedRegisters(guest.gic.distributor, "4.1")
    active = "GICR_ISACTIVER0" if pintid < 32 else "GICD_ISACTIVER1"
    registers.write(active, 1 << pintid % 32)
    guest.list(0, 60, HW=1, pINTID=pintid)
    assert guest.mrs("IAR1") == 60
    assert registers.read(active) == 1 << pintid % 32
    guest.msr("EOIR1", 60)
    assert (registers.read(active), guest.listed(0)) == (0, INVALID)


@pytest.mark.parametrize("pintid", [400, 1019, 1023, 8191])
def test_hw_with_an_interrupt_that_is_not_there(guest, pintid):
    guest.list(0, 60, HW=1, pINTID=pintid)
    assert taken(guest) == [60]


def test_ends_of_what_is_in_no_list_register_are_counted(guest):
    """Not those of LPIs; of SGIs unless vSGIEOICount says so."""
    for count, vintid, more in [(1, 60, {}), (2, 5, {}), (2, VLPI, {}), (2, 5, {"vSGIEOICount": 1}), (3, 60, {})]:
        guest.ich("HCR", **guest.ich_fields("HCR") | {"vSGIEOICount": 0} | more)
        guest.ich("AP1R0", P=1)
        guest.msr("EOIR1", vintid)
        assert guest.ich_fields("HCR")["EOIcount"] == count
    guest.ich("HCR", En=1, EOIcount=31)
    guest.msr("CTLR", 2)
    guest.msr("DIR", 60)
    assert guest.ich_fields("HCR")["EOIcount"] == 0
