# SPDX-License-Identifier: Apache-2.0
"""The physical CPU interface: its registers, and interrupts of all kinds in one arbitration."""

import pytest

from gicmodel.config import GicConfig
from gicmodel.hardware import Gic, UndefinedRegister
from gicmodel.hardware.snapshot import load_snapshot, save_snapshot
from gicmodel.layouts.lpi_tables import FIRST_LPI, LPI_CONFIGURATION
from gicmodel.layouts.registers.by_name import encoding
from gicmodel.layouts.registers.cpu_interface import CPU_INTERFACE_REGISTERS
from gicmodel.layouts.registers.register import packed
from gicmodel.memory import PAGE_BYTES, GuestMemory
from tests.hardware.bench import DISABLED, PROPERTIES
from tests.hardware.pe import IDLE, SPURIOUS, Pes

SGI, PPI, SPI, LPI = 3, 27, 40, FIRST_LPI + 5
ONES = (1 << 64) - 1
CTLR = 1 << 18 | 1 << 15 | 4 << 8
"""RSS, A3V, five bits of priority."""

RESET = {
    "ICC_IAR0_EL1": SPURIOUS,
    "ICC_IAR1_EL1": SPURIOUS,
    "ICC_HPPIR0_EL1": SPURIOUS,
    "ICC_HPPIR1_EL1": SPURIOUS,
    "ICC_BPR0_EL1": 2,
    "ICC_BPR1_EL1": 3,
    "ICC_RPR_EL1": IDLE,
    "ICC_CTLR_EL1": CTLR,
    "ICC_SRE_EL1": 0x7,
    "ICC_SRE_EL2": 0xF,
}
ALL_ONES = {
    "ICC_PMR_EL1": 0xF8,
    "ICC_BPR0_EL1": 7,
    "ICC_BPR1_EL1": 7,
    "ICC_AP0R0_EL1": 0xFFFF_FFFF,
    "ICC_AP1R0_EL1": 0xFFFF_FFFF,
    "ICC_CTLR_EL1": CTLR | 3,
    "ICC_SRE_EL1": 0x7,
    "ICC_SRE_EL2": 0xF,
    "ICC_IGRPEN0_EL1": 1,
    "ICC_IGRPEN1_EL1": 1,
}
each = pytest.mark.parametrize("entry", CPU_INTERFACE_REGISTERS, ids=lambda entry: entry.name)


def fresh(**choices: object) -> Gic:
    return Gic(GicConfig(**choices), GuestMemory(0, PAGE_BYTES))  # type: ignore[arg-type]


# Registers.


@each
def test_what_a_register_holds_after_reset_of_ones_and_of_zero(entry):
    cpu = fresh().redistributors[1].cpu
    if entry.access == "WO":
        cpu.write(entry.encoding, 0)
        return
    assert cpu.read(entry.encoding) == RESET.get(entry.name, 0)
    if entry.access == "RW":
        cpu.write(entry.encoding, ONES)
        assert cpu.read(entry.encoding) == ALL_ONES[entry.name]
        cpu.write(entry.encoding, 0)
        assert cpu.read(entry.encoding) == RESET.get(entry.name, 0)


@each
def test_an_access_that_a_register_does_not_allow_is_undefined(entry):
    cpu = fresh().redistributors[0].cpu
    if entry.access == "WO":
        with pytest.raises(UndefinedRegister, match=f"{entry.name} cannot be read"):
            cpu.read(entry.encoding)
    if entry.access == "RO":
        with pytest.raises(UndefinedRegister, match=f"{entry.name} cannot be written"):
            cpu.write(entry.encoding, 0)


@pytest.mark.parametrize("register", [0, packed(3, 0, 12, 8, 5), packed(3, 0, 12, 9, 5), packed(3, 6, 12, 12, 4)])
def test_a_register_that_is_not_there_is_undefined(register):
    """Nothing; the second of the active priorities, which six bits of priority need; that of NMIs; one of EL3."""
    cpu = fresh().redistributors[0].cpu
    with pytest.raises(UndefinedRegister, match=f"{register:#06x}"):
        cpu.read(register)
    with pytest.raises(UndefinedRegister, match=f"{register:#06x}"):
        cpu.write(register, 0)


def test_how_wide_intids_are():
    wide = fresh(intid_bits=17).redistributors[0].cpu
    assert wide.read(encoding("ICC_CTLR_EL1")) == CTLR | 1 << 11


def test_bpr1_with_cbpr_is_that_of_group_0_and_one(pes):
    pes.msr("BPR0", 4)
    pes.msr("BPR1", 6)
    pes.msr("CTLR", 1)
    assert pes.mrs("BPR1") == 5
    pes.msr("BPR1", 3)
    pes.msr("BPR0", 7)
    assert pes.mrs("BPR1") == 7
    pes.msr("CTLR", 0)
    assert pes.mrs("BPR1") == 6


# One interrupt of each kind.


def test_a_level_sensitive_ppi(pes):
    """The life of a timer's interrupt."""
    pes.line(PPI, True)
    assert pes.state(PPI) == (True, False)
    assert pes.mrs("HPPIR1") == PPI
    assert pes.iar() == PPI
    assert pes.state(PPI) == (True, True), "its input is still high"
    assert (pes.iar(), pes.mrs("HPPIR1"), pes.mrs("RPR")) == (SPURIOUS, SPURIOUS, 0xA0)
    pes.line(PPI, False)
    pes.eoi(PPI)
    assert (pes.state(PPI), pes.mrs("RPR"), pes.iar()) == ((False, False), IDLE, SPURIOUS)


def test_a_level_that_software_does_not_take_away_comes_again(pes):
    pes.line(PPI, True)
    assert pes.iar() == PPI
    pes.eoi(PPI)
    assert pes.iar() == PPI


def test_an_edge_while_its_interrupt_is_active_is_not_lost(pes):
    pes.edge(SPI)
    pes.line(SPI, True)
    assert pes.iar() == SPI
    assert pes.state(SPI) == (False, True)
    pes.line(SPI, False)
    pes.line(SPI, True)
    assert (pes.state(SPI), pes.iar()) == ((True, True), SPURIOUS)
    pes.eoi(SPI)
    assert pes.iar() == SPI


def test_what_software_made_pending_is_taken_once(pes):
    """Of a level-sensitive interrupt, too, whose input is low."""
    pes.gicd.write("GICD_ISPENDR1", 1 << SPI - 32)
    assert pes.iar() == SPI
    assert pes.state(SPI) == (False, True)
    pes.eoi(SPI)
    assert pes.iar() == SPURIOUS


def test_an_sgi(pes):
    pes.sgi(SGI, pe=0, TargetList=0b0110)
    assert [pes.iar(pe) for pe in range(4)] == [SPURIOUS, SGI, SGI, SPURIOUS]
    assert pes.state(SGI, 1) == (False, True)
    pes.sgi(SGI, pe=0, TargetList=0b0010)
    assert pes.state(SGI, 1) == (True, True)
    pes.eoi(SGI, 1)
    assert pes.iar(1) == SGI


def test_an_lpi_has_a_priority_and_no_active_state(pes):
    pes.map_lpi(7, LPI)
    pes.gic.its[0].translate(1, 7)
    assert pes.mrs("HPPIR1") == LPI
    assert pes.iar() == LPI
    assert (pes.mrs("RPR"), pes.bit(pes.pending_table(), LPI)) == (0xA0, 0)
    pes.gic.its[0].translate(1, 7)
    assert pes.iar() == SPURIOUS, "it does not preempt itself"
    pes.eoi(LPI)
    assert (pes.mrs("RPR"), pes.iar()) == (IDLE, LPI)


def test_all_kinds_in_the_order_of_their_priorities(pes):
    pes.map_lpi(7, LPI)
    pes.configure(PROPERTIES, LPI, LPI_CONFIGURATION.pack(Priority=0x60, Enable=1))
    pes.run("INV", DeviceID=1, EventID=7)
    for intid, priority in ((SGI, 0x80), (PPI, 0x40), (SPI, 0x20)):
        pes.priority(intid, priority)
    pes.sgi(SGI, TargetList=1)
    pes.line(PPI, True)
    pes.line(SPI, True)
    pes.gic.its[0].translate(1, 7)
    for intid in (SPI, PPI, LPI, SGI):
        assert pes.iar() == intid
        if intid in (SPI, PPI):
            pes.line(intid, False)
        pes.eoi(intid)
    assert pes.iar() == SPURIOUS


def test_of_equal_priorities_the_lowest_intid_is_first(pes):
    pes.map_lpi(7, LPI)
    pes.gic.its[0].translate(1, 7)
    pes.line(SPI + 1, True)
    pes.line(SPI, True)
    pes.line(PPI, True)
    pes.sgi(SGI, TargetList=1)
    for intid in (SGI, PPI, SPI, SPI + 1, LPI):
        assert pes.iar() == intid
        pes.eoi(intid)
        if intid not in (SGI, LPI):
            pes.line(intid, False)


def test_the_priority_of_an_lpi_is_the_one_that_the_redistributor_holds():
    """A driver changed the byte in RAM and has not invalidated yet: with `retain` the old one counts."""
    for caching, first in (("retain", SPI), ("none", LPI)):
        pes = Pes(caching=caching)
        pes.map_lpi(7, LPI)
        pes.gic.its[0].translate(1, 7)
        assert pes.mrs("HPPIR1") == LPI
        pes.configure(PROPERTIES, LPI, LPI_CONFIGURATION.pack(Priority=0x40, Enable=1))
        pes.line(SPI, True)
        pes.priority(SPI, 0x80)
        assert pes.mrs("HPPIR1") == first, caching
        pes.run("INV", DeviceID=1, EventID=7)
        assert pes.mrs("HPPIR1") == LPI
        pes.configure(PROPERTIES, LPI, DISABLED)
        pes.run("INV", DeviceID=1, EventID=7)
        assert pes.mrs("HPPIR1") == SPI


# What holds an interrupt back.


def test_a_disabled_interrupt_waits(pes):
    pes.gicr[0].write("GICR_ICENABLER0", 1 << PPI)
    pes.line(PPI, True)
    assert (pes.mrs("HPPIR1"), pes.state(PPI)) == (SPURIOUS, (True, False))
    pes.gicr[0].write("GICR_ISENABLER0", 1 << PPI)
    assert pes.iar() == PPI


def test_an_active_interrupt_waits(pes):
    pes.gicr[0].write("GICR_ISACTIVER0", 1 << PPI)
    pes.line(PPI, True)
    assert pes.mrs("HPPIR1") == SPURIOUS
    pes.gicr[0].write("GICR_ICACTIVER0", 1 << PPI)
    assert pes.mrs("HPPIR1") == PPI


@pytest.mark.parametrize("by", ["GICD_CTLR", "IGRPEN"])
def test_a_group_that_is_disabled_waits_and_holds_back_no_other(pes, by):
    pes.group0(PPI)
    pes.priority(PPI, 0x10)
    pes.line(PPI, True)
    pes.line(SPI, True)
    assert (pes.mrs("HPPIR0"), pes.mrs("HPPIR1"), pes.iar()) == (PPI, SPURIOUS, SPURIOUS)
    if by == "IGRPEN":
        pes.msr("IGRPEN0", 0)
    else:
        pes.gicd.set("GICD_CTLR", EnableGrp1=1)
    assert (pes.mrs("HPPIR0"), pes.mrs("HPPIR1")) == (SPURIOUS, SPI)
    if by == "IGRPEN":
        pes.msr("IGRPEN1", 0)
    else:
        pes.gicd.set("GICD_CTLR")
    assert (pes.iar(), pes.mrs("HPPIR1")) == (SPURIOUS, SPURIOUS)


def test_lpis_are_group_1(pes):
    pes.map_lpi(7, LPI)
    pes.gic.its[0].translate(1, 7)
    pes.msr("IGRPEN1", 0)
    assert (pes.iar(), pes.mrs("IAR0")) == (SPURIOUS, SPURIOUS)
    assert pes.gic.redistributors[0].cpu.pending() == LPI, "the redistributor has it"


def test_the_mask_lets_through_what_is_more_urgent(pes):
    pes.line(PPI, True)
    for mask, intid in ((0xA0, SPURIOUS), (0xA7, SPURIOUS), (0, SPURIOUS), (0xA8, PPI)):
        pes.msr("PMR", mask)
        assert pes.mrs("HPPIR1") == PPI, "the mask does not count"
        assert pes.iar() == intid, hex(mask)


def test_priority_0xf8_is_masked_by_any_mask(pes):
    pes.priority(PPI, 0xFF)
    pes.line(PPI, True)
    pes.msr("PMR", 0xFF)
    assert pes.iar() == SPURIOUS


def test_nothing_comes_to_a_pe_that_sleeps(pes):
    pes.line(PPI, True)
    pes.gicr[0].set("GICR_WAKER", ProcessorSleep=1)
    assert (pes.mrs("HPPIR1"), pes.iar()) == (SPURIOUS, SPURIOUS)
    pes.sgi(SGI, pe=1, TargetList=1)
    pes.gicr[0].set("GICR_WAKER")
    assert pes.iar() == SGI


# Where SGIs and SPIs go.


@pytest.mark.parametrize(
    ("name", "of_group0", "of_group1"), [("SGI0R", True, False), ("ASGI1R", True, False), ("SGI1R", True, True)]
)
def test_which_groups_a_register_reaches(pes, name, of_group0, of_group1):
    pes.group0(SGI, pe=1)
    pes.sgi(SGI, name=name, IRM=1)
    pending = [pes.state(SGI, pe)[0] for pe in range(4)]
    assert pending == [False, of_group0, of_group1, of_group1]


def test_sgis_by_affinity():
    pes = Pes(redistributors=20)
    pes.sgi(SGI, TargetList=0b1010, Aff1=1)
    assert [pe for pe in range(20) if pes.state(SGI, pe)[0]] == [17, 19]
    pes.sgi(SGI, TargetList=0xFFF0, Aff1=1)
    pes.sgi(SGI, TargetList=1, Aff1=2)
    pes.sgi(SGI, TargetList=1, Aff2=1)
    pes.sgi(SGI, TargetList=1, Aff3=1)
    pes.sgi(SGI, TargetList=1, RS=1)
    assert [pe for pe in range(20) if pes.state(SGI, pe)[0]] == [17, 19], "nobody is there"
    pes.sgi(SGI + 1, pe=17, IRM=1, TargetList=0xFFFF, Aff1=1)
    assert [pe for pe in range(20) if not pes.state(SGI + 1, pe)[0]] == [17]


def test_an_spi_goes_where_it_is_routed():
    pes = Pes(redistributors=20)
    pes.line(SPI, True)
    for fields, pe in (({}, 0), ({"Aff0": 3}, 3), ({"Aff1": 1, "Aff0": 2}, 18)):
        pes.route(SPI, **fields)
        assert [n for n in range(20) if pes.mrs("HPPIR1", n) == SPI] == [pe]
    for fields in ({"Aff1": 1, "Aff0": 4}, {"Aff0": 16}, {"Aff1": 16}, {"Aff2": 1}, {"Aff3": 1}):
        pes.route(SPI, **fields)
        assert [n for n in range(20) if pes.mrs("HPPIR1", n) == SPI] == [], fields


def test_an_spi_for_any_pe_goes_to_the_first_that_takes_part(pes):
    pes.route(SPI, Interrupt_Routing_Mode=1, Aff0=3)
    pes.line(SPI, True)
    assert [pes.mrs("HPPIR1", pe) for pe in range(4)] == [SPI, SPURIOUS, SPURIOUS, SPURIOUS]
    pes.msr("IGRPEN1", 0, pe=0)
    pes.gicr[1].set("GICR_WAKER", ProcessorSleep=1)
    assert [pes.mrs("HPPIR1", pe) for pe in range(4)] == [SPURIOUS, SPURIOUS, SPI, SPURIOUS]
    pes.group0(SPI)
    assert pes.mrs("HPPIR0", 0) == SPI


# The machine.


def test_a_snapshot_has_what_is_active(tmp_path, pes):
    pes.edge(SPI)
    pes.line(SPI, True)
    assert pes.iar() == SPI
    pes.priority(PPI, 0x40)
    pes.line(PPI, True, pe=0)
    pes.route(SPI, Aff0=2)
    save_snapshot(pes.gic, tmp_path / "machine")
    cpu = load_snapshot(tmp_path / "machine").redistributors[0].cpu
    assert cpu.read(encoding("ICC_RPR_EL1")) == 0xA0
    assert cpu.read(encoding("ICC_IAR1_EL1")) == PPI
    assert cpu.read(encoding("ICC_RPR_EL1")) == 0x40


def test_two_hundred_edges_are_two_hundred_interrupts(pes):
    pes.edge(SPI)
    for _ in range(200):
        pes.line(SPI, True)
        pes.line(SPI, False)
        assert pes.iar() == SPI
        pes.eoi(SPI)
    assert pes.iar() == SPURIOUS
