# SPDX-License-Identifier: Apache-2.0
"""The output lines of PEs: who listens is told of each change, once, and of nothing else."""

import pytest

from gicmodel.hardware import Bus, Line
from gicmodel.layouts.lpi_tables import FIRST_LPI, LPI_CONFIGURATION
from gicmodel.layouts.registers.its import GITS_SGIR
from tests.hardware.bench import DISABLED, ENABLED, PROPERTIES
from tests.hardware.pe import SPURIOUS, Pes

SGI, PPI, SPI, LPI, VLPI = 3, 27, 40, FIRST_LPI + 5, FIRST_LPI + 9
IRQ, FIQ, VIRQ = Line.IRQ, Line.FIQ, Line.VIRQ


class Watched(Pes):
    """What it was told since it was last asked."""

    def __init__(self, **choices: object) -> None:
        super().__init__(**choices)
        self._told: list[tuple[int, Line, bool]] = []
        self.gic.on_line(lambda pe, line, level: self._told.append((pe, line, level)))

    def told(self) -> list[tuple[int, Line, bool]]:
        """Each change, with what `Gic.line` says of all lines being the sum of them."""
        told, self._told = self._told, []
        return told


@pytest.fixture(params=["none", "retain"])
def pes(request: pytest.FixtureRequest) -> Watched:
    return Watched(caching=request.param)


def test_the_line_of_a_level_sensitive_interrupt(pes):
    pes.line(PPI, True, pe=2)
    assert pes.told() == [(2, IRQ, True)]
    assert [pes.gic.line(pe, IRQ) for pe in range(4)] == [False, False, True, False]
    pes.line(PPI, True, pe=2)
    assert pes.told() == []
    assert pes.iar(2) == PPI
    assert pes.told() == [(2, IRQ, False)]
    pes.line(PPI, False, pe=2)
    pes.eoi(PPI, 2)
    assert pes.told() == []
    assert not any(pes.gic.line(pe, line) for pe in range(4) for line in Line)


def test_group_0_is_the_fiq(pes):
    pes.group0(PPI)
    pes.line(PPI, True)
    assert pes.told() == [(0, FIQ, True)]
    pes.priority(PPI, 0xA8)
    pes.line(SPI, True)
    assert pes.told() == [(0, IRQ, True), (0, FIQ, False)], "the SPI is more urgent"


def test_an_sgi_raises_the_lines_of_its_targets(pes):
    pes.sgi(SGI, pe=1, TargetList=0b1011)
    assert pes.told() == [(0, IRQ, True), (1, IRQ, True), (3, IRQ, True)]
    assert pes.iar(3) == SGI
    assert pes.told() == [(3, IRQ, False)]


def test_an_lpi_by_any_way(pes):
    pes.map_lpi(7, LPI)
    pes.map_lpi(8, LPI + 1, icid=1)
    bus = Bus(pes.gic)
    ways = [
        lambda: pes.gic.its[0].translate(1, 7),
        lambda: pes.gic.its[0].translate_many([1], [7]),
        lambda: bus.write(bus.base("GITS0") + 0x1_0040, 7, 4, device_id=1),
        lambda: pes.run("INT", DeviceID=1, EventID=7),
        lambda: pes.write_rd("SETLPIR", LPI),
    ]
    for way in ways:
        way()
        assert pes.told() == [(0, IRQ, True)]
        assert pes.iar() == LPI
        pes.eoi(LPI)
        assert pes.told() == [(0, IRQ, False)]
    pes.run("INT", DeviceID=1, EventID=8)
    assert pes.told() == [(1, IRQ, True)]
    pes.run("CLEAR", DeviceID=1, EventID=8)
    assert pes.told() == [(1, IRQ, False)]
    assert pes.gic.its[0].translate_many([1, 1], [7, 8]) == 2
    assert pes.told() == [(0, IRQ, True), (1, IRQ, True)]
    assert pes.gic.redistributors[0].cpu.take(LPI)
    assert pes.gic.redistributors[1].cpu.acknowledge() == LPI + 1
    assert pes.told() == [(0, IRQ, False), (1, IRQ, False)]


def test_an_lpi_that_is_moved_takes_the_line_along(pes):
    pes.map_lpi(7, LPI)
    pes.gic.its[0].translate(1, 7)
    pes.run("MOVI", DeviceID=1, EventID=7, ICID=1)
    pes.run("MOVALL", RDbase=pes.rdbase(1), RDbase2=pes.rdbase(0))
    pes.enable_lpis(False)
    assert pes.told() == [
        (0, IRQ, True),
        *((0, IRQ, False), (1, IRQ, True)),
        *((0, IRQ, True), (1, IRQ, False)),
        (0, IRQ, False),
    ]


def test_a_disabled_lpi_whose_configuration_is_invalidated(pes):
    pes.configure(PROPERTIES, LPI, DISABLED)
    pes.map_lpi(7, LPI)
    pes.gic.its[0].translate(1, 7)
    assert pes.told() == []
    pes.configure(PROPERTIES, LPI, ENABLED)
    pes.run("INV", DeviceID=1, EventID=7)
    assert pes.told() == [(0, IRQ, True)]
    pes.configure(PROPERTIES, LPI, DISABLED)
    pes.write_rd("INVLPIR", LPI)
    assert pes.told() == [(0, IRQ, False)]
    pes.configure(PROPERTIES, LPI, LPI_CONFIGURATION.pack(Priority=0xF8, Enable=1))
    pes.write_rd("INVALLR", 0)
    assert pes.told() == [], "masked"
    pes.msr("PMR", 0xFF)
    assert pes.told() == []


@pytest.mark.parametrize(
    "hold", ["enable", "group", "mask", "sleep", "distributor", "priority", "active", "route", "group of the PE"]
)
def test_whatever_holds_an_interrupt_back_moves_the_line(pes, hold):
    pes.line(SPI, True)
    assert pes.told() == [(0, IRQ, True)]
    holds = {
        "enable": lambda: pes.gicd.write("GICD_ICENABLER1", 1 << SPI - 32),
        "group": lambda: (pes.msr("IGRPEN0", 0), pes.group0(SPI)),
        "mask": lambda: pes.msr("PMR", 0xA0),
        "sleep": lambda: pes.gicr[0].set("GICR_WAKER", ProcessorSleep=1),
        "distributor": lambda: pes.gicd.set("GICD_CTLR", EnableGrp0=1),
        "priority": lambda: pes.priority(SPI, 0xF8),
        "active": lambda: pes.gicd.write("GICD_ISACTIVER1", 1 << SPI - 32),
        "route": lambda: pes.route(SPI, Aff0=9),
        "group of the PE": lambda: pes.msr("IGRPEN1", 0),
    }
    holds[hold]()
    assert pes.told() == [(0, IRQ, False)]


def test_an_spi_for_any_pe_goes_on_when_its_pe_leaves(pes):
    pes.route(SPI, Interrupt_Routing_Mode=1)
    pes.line(SPI, True)
    pes.gicr[0].set("GICR_WAKER", ProcessorSleep=1)
    pes.msr("IGRPEN1", 0, pe=1)
    assert pes.told() == [(0, IRQ, True), (0, IRQ, False), (1, IRQ, True), (1, IRQ, False), (2, IRQ, True)]


def test_an_spi_that_another_pe_deactivates(pes):
    pes.route(SPI, Aff0=2)
    pes.line(SPI, True)
    assert pes.iar(2) == SPI
    pes.msr("CTLR", 2, pe=2)
    pes.eoi(SPI, 2)
    assert pes.told() == [(2, IRQ, True), (2, IRQ, False)]
    pes.msr("CTLR", 2, pe=1)
    pes.msr("DIR", SPI, pe=1)
    assert pes.told() == [(2, IRQ, True)]


def test_a_priority_drop_lets_the_next_one_in(pes):
    pes.line(PPI, True)
    pes.line(SPI, True)
    assert pes.iar() == PPI
    pes.line(PPI, False)
    assert pes.told() == [(0, IRQ, True), (0, IRQ, False)]
    pes.eoi(PPI)
    assert pes.told() == [(0, IRQ, True)]


def test_messages_for_spis(pes):
    pes.gicd.set("GICD_SETSPI_NSR", INTID=SPI)
    pes.gicd.set("GICD_CLRSPI_NSR", INTID=SPI)
    assert pes.told() == [(0, IRQ, True), (0, IRQ, False)]


def test_a_doorbell_is_an_lpi_as_others_are(pes):
    pes.map_vpe(0, 1)
    pes.map_vlpi(7, VLPI)
    pes.schedule(0, 1)
    pes.deschedule(1, doorbell=1)
    assert pes.told() == []
    pes.gic.its[0].translate(1, 7)
    assert pes.told() == [(1, IRQ, True)]


def test_a_residency_elsewhere_withdraws_a_doorbell(pes):
    """Found by a campaign: the vPE runs on another PE than the one that it is mapped to."""
    pes.map_vpe(0, 1)
    pes.map_vlpi(7, VLPI)
    pes.schedule(0, 1)
    pes.deschedule(1, doorbell=1)
    pes.gic.its[0].translate(1, 7)
    assert pes.told() == [(1, IRQ, True)]
    assert pes.schedule(0, 2)
    assert pes.told() == [(1, IRQ, False)]


def test_a_callback_makes_accesses_itself(pes):
    """It acknowledges and ends at once, as an emulator might; what comes of it is told after it, not inside."""
    taken: list[int] = []
    inside: list[int] = []

    def handle(pe: int, line: Line, level: bool) -> None:
        assert not inside, "inside itself"
        inside.append(pe)
        if level:
            intid = pes.iar(pe)
            taken.append(intid)
            pes.sgi(SGI, pe, TargetList=0b10)
            pes.line(PPI, False, pe)
            pes.eoi(intid, pe)
        inside.clear()

    pes.gic.on_line(handle)
    pes.line(PPI, True)
    pes.msr("IGRPEN1", 0, pe=1)
    assert taken[:2] == [PPI, SGI]
    assert SPURIOUS not in taken


def test_a_callback_that_fails_loses_nothing(pes):
    failing = [True]

    def fail(pe: int, line: Line, level: bool) -> None:
        if failing:
            failing.clear()
            raise RuntimeError("no CPU")

    pes.gic.on_line(fail)
    with pytest.raises(RuntimeError, match="no CPU"):
        pes.sgi(SGI, pe=0, IRM=1)
    assert pes.told() == [(1, IRQ, True)]
    pes.line(PPI, True)
    assert pes.told() == [(0, IRQ, True), (2, IRQ, True), (3, IRQ, True)]


def test_callbacks_that_never_settle_are_told_so(pes):
    """Each change makes the next; a change that comes after is told as ever."""
    circle = [True]

    def toggle(pe: int, line: Line, level: bool) -> None:
        if circle:
            pes.line(PPI, not level)

    pes.gic.on_line(toggle)
    with pytest.raises(
        RuntimeError, match=r"^Gic\.on_line: callbacks go on changing lines: 65536 changes came of one$"
    ):
        pes.line(PPI, True)
    circle.clear()
    pes.told()
    pes.line(PPI, True, pe=3)
    assert pes.told()[-1] == (3, IRQ, True)


def test_everyone_is_told_and_of_nothing_that_was_before():
    pes = Pes()
    pes.line(PPI, True)
    told: list[list[tuple[int, Line, bool]]] = [[], []]
    for each in told:
        pes.gic.on_line(lambda *change, each=each: each.append(change))
    assert pes.gic.line(0, IRQ)
    pes.line(SPI, True)
    assert told == [[], []]
    assert pes.iar() == PPI
    assert told == [[(0, IRQ, False)]] * 2


def test_steps_are_followed():
    pes = Watched(commands_per_step=1)
    pes.map_lpi(7, LPI)
    pes.step()
    pes.queue_command("INT", DeviceID=1, EventID=7)
    pes.ring()
    assert pes.told() == []
    pes.step()
    assert pes.told() == [(0, IRQ, True)]


def test_many_pes():
    pes = Watched(redistributors=32)
    for pe in range(32):
        pes.line(PPI, True, pe)
    assert pes.told() == [(pe, IRQ, True) for pe in range(32)]
    pes.gicd.set("GICD_CTLR")
    assert pes.told() == [(pe, IRQ, False) for pe in range(32)]


def test_the_virtual_lines_of_a_resident_vpe(pes):
    """vLPIs and vSGIs move the line of the PE that the vPE is on, and no other."""
    pes.map_vpe(0, 1)
    pes.map_vlpi(7, VLPI)
    pes.run("VSGI", vINTID=3, Enable=1, Group=1, Priority=0xA)
    pes.hypervisor(1)
    pes.schedule(0, 1)
    pes.gic.its[0].translate(1, 7)
    assert pes.told() == [(1, VIRQ, True)]
    pes.run("CLEAR", DeviceID=1, EventID=7)
    assert pes.told() == [(1, VIRQ, False)]
    pes.write_its("SGIR", GITS_SGIR.pack(vINTID=3))
    assert pes.told() == [(1, VIRQ, True)]
    pes.deschedule(1)
    assert pes.told() == [(1, VIRQ, False)]
    pes.schedule(0, 1)
    assert pes.told() == [(1, VIRQ, True)]
    assert pes.gic.redistributors[1].cpu.acknowledge_virtual() == 3
    assert pes.told() == [(1, VIRQ, False)]


def test_a_vlpi_that_is_invalidated_through_another_redistributor():
    pes = Watched(caching="retain")
    pes.map_vpe(0, 1)
    pes.configure(pes.vconf(), VLPI, DISABLED)
    pes.map_vlpi(7, VLPI)
    pes.hypervisor(1)
    pes.schedule(0, 1)
    pes.gic.its[0].translate(1, 7)
    assert pes.told() == []
    pes.configure(pes.vconf(), VLPI, ENABLED)
    pes.write_rd("INVLPIR", 1 << 63 | VLPI, rd=0)
    assert pes.told() == [(1, VIRQ, True)]


def test_who_raises_keeps_nobody_else_from_being_told():
    pes, told = Pes(), []

    def broken(pe: int, line: Line, level: bool) -> None:
        raise KeyError(pe)

    pes.gic.on_line(broken)
    pes.gic.on_line(lambda *change: told.append(change))
    with pytest.raises(KeyError):
        pes.line(PPI, True, pe=2)
    assert told == [(2, IRQ, True)]
