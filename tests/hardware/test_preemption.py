# SPDX-License-Identifier: Apache-2.0
"""Which interrupt preempts which, and how one ends: binary points, priority drop and deactivation."""

import pytest

from gicmodel.layouts.lpi_tables import FIRST_LPI
from tests.hardware.pe import IDLE, SPURIOUS

SGI, PPI, SPI, LPI = 3, 27, 40, FIRST_LPI + 5


# Preemption.


def test_only_a_higher_group_priority_preempts(pes):
    pes.line(SPI, True)
    assert pes.iar() == SPI
    pes.line(PPI, True)
    assert pes.iar() == SPURIOUS
    pes.priority(PPI, 0x98)
    assert pes.iar() == PPI
    assert (pes.mrs("RPR"), pes.mrs("AP1R0")) == (0x98, 1 << 0x98 // 8 | 1 << 0xA0 // 8)
    pes.eoi(PPI)
    assert pes.mrs("RPR") == 0xA0
    pes.eoi(SPI)
    assert pes.mrs("RPR") == IDLE


@pytest.mark.parametrize(("point", "preempts"), [(3, True), (4, True), (5, True), (6, False), (7, False)])
def test_the_binary_point_of_group_1(pes, point, preempts):
    """0xA0 and 0x80 differ in bit 5."""
    pes.msr("BPR1", point)
    pes.line(SPI, True)
    assert pes.iar() == SPI
    assert pes.mrs("RPR") == 0xA0 >> point << point
    pes.priority(PPI, 0x80)
    pes.line(PPI, True)
    assert pes.iar() == (PPI if preempts else SPURIOUS)


@pytest.mark.parametrize(("point", "preempts"), [(2, True), (4, True), (5, False), (7, False)])
@pytest.mark.parametrize("common", [False, True])
def test_the_binary_point_of_group_0_and_of_both(pes, point, preempts, common):
    pes.msr("CTLR", common)
    pes.msr("BPR0", point)
    if not common:
        pes.group0(SPI)
        pes.group0(PPI)
    name = "IAR1" if common else "IAR0"
    pes.line(SPI, True)
    assert pes.mrs(name) == SPI
    pes.priority(PPI, 0x80)
    pes.line(PPI, True)
    assert pes.mrs(name) == (PPI if preempts else SPURIOUS)


def test_subpriorities_order_what_does_not_preempt(pes):
    pes.msr("BPR1", 7)
    pes.priority(SPI, 0x98)
    pes.line(PPI, True)
    pes.line(SPI, True)
    assert pes.iar() == SPI
    assert pes.iar() == SPURIOUS


# Ending.


def test_with_eoimode_1_eoir_drops_the_priority_and_dir_deactivates(pes):
    pes.msr("CTLR", 2)
    pes.line(SPI, True)
    assert pes.iar() == SPI
    pes.eoi(SPI)
    assert (pes.mrs("RPR"), pes.state(SPI), pes.iar()) == (IDLE, (True, True), SPURIOUS)
    pes.msr("DIR", SPI, pe=0)
    assert (pes.state(SPI), pes.iar()) == ((True, False), SPI)


def test_dir_of_an_spi_works_on_any_pe(pes):
    pes.line(SPI, True)
    assert pes.iar() == SPI
    pes.msr("CTLR", 2, pe=3)
    pes.msr("DIR", SPI, pe=3)
    assert pes.state(SPI) == (True, False)


def test_dir_with_eoimode_0_is_ignored(pes):
    pes.line(SPI, True)
    assert pes.iar() == SPI
    pes.msr("DIR", SPI)
    assert pes.state(SPI) == (True, True)


@pytest.mark.parametrize("intid", [1020, 1023, 1019, 4096, FIRST_LPI - 1, 1 << 20])
def test_the_end_of_no_interrupt_is_ignored(pes, intid):
    pes.line(PPI, True)
    assert pes.iar() == PPI
    pes.eoi(intid)
    assert (pes.mrs("RPR"), pes.state(PPI)) == (0xA0, (True, True))


def test_the_end_of_the_other_group_is_ignored(pes):
    pes.line(PPI, True)
    assert pes.iar() == PPI
    pes.msr("EOIR0", PPI)
    assert (pes.mrs("RPR"), pes.state(PPI)) == (0xA0, (True, True))
    pes.eoi(PPI)
    pes.eoi(PPI)
    assert pes.mrs("RPR") == IDLE


def test_groups_nest(pes):
    pes.group0(PPI)
    pes.priority(PPI, 0x40)
    pes.line(SPI, True)
    assert pes.iar() == SPI
    pes.line(PPI, True)
    assert (pes.iar(), pes.mrs("IAR0")) == (SPURIOUS, PPI)
    assert (pes.mrs("AP0R0"), pes.mrs("AP1R0"), pes.mrs("RPR")) == (1 << 8, 1 << 20, 0x40)
    pes.eoi(SPI)
    assert pes.mrs("RPR") == 0x40, "Group 0 runs"
    pes.msr("EOIR0", PPI)
    assert pes.mrs("RPR") == 0xA0


def test_software_restores_active_priorities(pes):
    pes.msr("AP1R0", 1 << 4)
    pes.line(PPI, True)
    assert (pes.mrs("RPR"), pes.iar()) == (0x20, SPURIOUS)
    pes.msr("AP1R0", 0)
    assert pes.iar() == PPI


def test_sgis_without_an_active_state(pes):
    pes.gicd.set("GICD_CTLR")
    pes.gicd.set("GICD_CTLR", EnableGrp1=1, nASSGIreq=1)
    pes.sgi(SGI, TargetList=1)
    assert pes.iar() == SGI
    assert (pes.state(SGI), pes.mrs("RPR")) == ((False, False), 0xA0)
    pes.eoi(SGI)
    assert pes.mrs("RPR") == IDLE
    pes.line(PPI, True)
    assert pes.iar() == PPI
    assert pes.state(PPI) == (True, True)
