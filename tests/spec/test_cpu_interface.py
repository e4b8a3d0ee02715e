# SPDX-License-Identifier: Apache-2.0
"""SGIs, PPIs, SPIs and LPIs at the physical CPU interface of the oracle."""

import pytest

from gicmodel.spec import SPURIOUS, AbstractGic, distributor

SGI, PPI, SPI, LPI = 3, 27, 40, 8192
ENABLED_LPI = 0x41  # priority 0x40


@pytest.fixture(autouse=True)
def ready(oracle: AbstractGic) -> None:
    """Both groups are enabled everywhere, the SGI, the PPI and the SPI for PE 0 are enabled: Group 1, priority 0x80."""
    oracle.write_gicd_ctlr({"EnableGrp0": 1, "EnableGrp1": 1, "nASSGIreq": 0})
    for pe in range(4):
        write(oracle, "ICC_PMR_EL1", pe, Priority=0xFF)
        write(oracle, "ICC_IGRPEN0_EL1", pe, Enable=1)
        write(oracle, "ICC_IGRPEN1_EL1", pe, Enable=1)
        for intid in (SGI, PPI):
            oracle.set_priority(pe, intid, 0x80)
        distributor.write(oracle.pes[pe].bank, "ISENABLER", 0, 1 << SGI | 1 << PPI)
        distributor.write(oracle.pes[pe].bank, "IGROUPR", 0, 0xFFFF_FFFF)
    oracle.set_priority(0, SPI, 0x80)
    distributor.write(oracle.spis, "ISENABLER", SPI // 32, 1 << SPI % 32)
    distributor.write(oracle.spis, "IGROUPR", SPI // 32, 0xFFFF_FFFF)


def read(oracle: AbstractGic, register: str, pe: int = 0) -> int:
    (value,) = oracle.read_system(pe, register).values()
    return value


def write(oracle: AbstractGic, register: str, pe: int = 0, **fields: int) -> None:
    oracle.write_system(pe, register, fields)


def sgi(oracle: AbstractGic, register: str = "ICC_SGI1R_EL1", **fields: int) -> None:
    nobody = dict.fromkeys(("Aff3", "Aff2", "Aff1", "RS", "IRM", "TargetList"), 0)
    write(oracle, register, INTID=SGI, **(nobody | fields))


def test_a_level_sensitive_input_is_pending_while_it_is_high(oracle: AbstractGic) -> None:
    oracle.set_line(0, PPI, True)
    assert distributor.read(oracle.pes[0].bank, "ISPENDR", 0) == 1 << PPI
    distributor.write(oracle.pes[0].bank, "ICPENDR", 0, 1 << PPI)
    assert oracle.lines(0) == {"IRQ"}
    assert read(oracle, "ICC_IAR1_EL1") == PPI
    assert (
        distributor.read(oracle.pes[0].bank, "ISPENDR", 0)
        == distributor.read(oracle.pes[0].bank, "ISACTIVER", 0)
        == 1 << PPI
    )
    oracle.set_line(0, PPI, False)
    write(oracle, "ICC_EOIR1_EL1", INTID=PPI)
    assert (oracle.lines(0), oracle.pes[0].bank.active) == (set(), set())


def test_an_edge_is_a_rise(oracle: AbstractGic) -> None:
    distributor.write(oracle.spis, "ICFGR", SPI // 16, 2 << 2 * (SPI % 16))
    oracle.set_line(0, SPI, True)
    assert read(oracle, "ICC_IAR1_EL1") == SPI
    write(oracle, "ICC_EOIR1_EL1", INTID=SPI)
    oracle.set_line(0, SPI, True)
    assert oracle.lines(0) == set()
    oracle.set_line(0, SPI, False)
    oracle.set_line(0, SPI, True)
    assert oracle.lines(0) == {"IRQ"}


def test_messages_for_spis(oracle: AbstractGic) -> None:
    oracle.write_message(SPI, True)
    assert oracle.lines(0) == {"IRQ"}
    distributor.write(oracle.spis, "ICPENDR", SPI // 32, 1 << SPI % 32)
    assert oracle.lines(0) == {"IRQ"}
    oracle.write_message(SPI, False)
    assert oracle.lines(0) == set()
    distributor.write(oracle.spis, "ICFGR", SPI // 16, 2 << 2 * (SPI % 16))
    oracle.write_message(SPI, True)
    assert read(oracle, "ICC_IAR1_EL1") == SPI
    oracle.write_message(9, False)


def test_sgis_are_always_edge_triggered(oracle: AbstractGic) -> None:
    distributor.write(oracle.pes[0].bank, "ICFGR", 0, 0)
    assert distributor.read(oracle.pes[0].bank, "ICFGR", 0) == 0xAAAA_AAAA


def test_an_spi_goes_where_it_is_routed(oracle: AbstractGic) -> None:
    oracle.set_line(0, SPI, True)
    route = {"Aff3": 0, "Interrupt_Routing_Mode": 0, "Aff2": 0, "Aff1": 0, "Aff0": 2}
    oracle.write_irouter(SPI, route)
    assert [oracle.lines(pe) for pe in range(4)] == [set(), set(), {"IRQ"}, set()]
    anywhere = route | {"Interrupt_Routing_Mode": 1}
    oracle.write_irouter(SPI, anywhere)
    oracle.redistributors[0].asleep = True
    write(oracle, "ICC_IGRPEN1_EL1", pe=1, Enable=0)
    assert [oracle.lines(pe) for pe in range(4)] == [set(), set(), {"IRQ"}, set()]
    oracle.redistributors[0].asleep = False
    assert [oracle.lines(pe) for pe in range(4)] == [{"IRQ"}, set(), set(), set()]
    oracle.write_irouter(SPI, route | {"Aff0": 9})
    assert [oracle.lines(pe) for pe in range(4)] == [set()] * 4


@pytest.mark.parametrize(
    ("register", "of_group0", "of_group1"),
    [("ICC_SGI0R_EL1", True, False), ("ICC_ASGI1R_EL1", True, False), ("ICC_SGI1R_EL1", True, True)],
)
def test_which_sgis_a_register_makes(oracle: AbstractGic, register: str, of_group0: bool, of_group1: bool) -> None:
    distributor.write(oracle.pes[1].bank, "IGROUPR", 0, 0)
    sgi(oracle, register, IRM=1)
    assert [SGI in oracle.pes[pe].bank.latched for pe in range(4)] == [False, of_group0, of_group1, of_group1]


def test_an_sgi_for_listed_pes(oracle: AbstractGic) -> None:
    sgi(oracle, TargetList=0b1001)
    assert [SGI in oracle.pes[pe].bank.latched for pe in range(4)] == [True, False, False, True]
    sgi(oracle, TargetList=0b0110, Aff1=1)
    sgi(oracle, TargetList=0b0110, RS=1)
    assert [SGI in oracle.pes[pe].bank.latched for pe in range(4)] == [True, False, False, True]


def test_one_arbitration(oracle: AbstractGic) -> None:
    """SGI, SPI and LPI: by priority, then by INTID."""
    oracle.set_configuration(LPI, ENABLED_LPI)
    oracle.set_lpi(0, LPI)
    oracle.set_line(0, SPI, True)
    sgi(oracle, TargetList=1)
    write(oracle, "ICC_CTLR_EL1", EOImode=1, CBPR=0)
    taken = []
    for _ in range(4):
        taken.append(read(oracle, "ICC_IAR1_EL1"))
        write(oracle, "ICC_EOIR1_EL1", INTID=taken[-1])
    assert taken == [LPI, SGI, SPI, SPURIOUS]


def test_a_group_that_is_not_enabled_holds_back_none_of_the_other(oracle: AbstractGic) -> None:
    distributor.write(oracle.pes[0].bank, "IGROUPR", 0, 1 << PPI)
    oracle.set_priority(0, SGI, 0)
    sgi(oracle, TargetList=1)
    oracle.set_line(0, PPI, True)
    assert (oracle.lines(0), read(oracle, "ICC_HPPIR0_EL1"), read(oracle, "ICC_HPPIR1_EL1")) == ({"FIQ"}, SGI, SPURIOUS)
    write(oracle, "ICC_IGRPEN0_EL1", Enable=0)
    assert (oracle.lines(0), read(oracle, "ICC_HPPIR1_EL1")) == ({"IRQ"}, PPI)
    oracle.write_gicd_ctlr({"EnableGrp0": 1, "EnableGrp1": 0, "nASSGIreq": 0})
    assert oracle.lines(0) == set()


def test_the_mask_holds_back_what_is_not_more_urgent(oracle: AbstractGic) -> None:
    oracle.set_line(0, PPI, True)
    write(oracle, "ICC_PMR_EL1", Priority=0x87)
    assert (read(oracle, "ICC_PMR_EL1"), read(oracle, "ICC_IAR1_EL1")) == (0x80, SPURIOUS)
    assert read(oracle, "ICC_HPPIR1_EL1") == PPI
    write(oracle, "ICC_PMR_EL1", Priority=0x88)
    assert read(oracle, "ICC_IAR1_EL1") == PPI


@pytest.mark.parametrize(("binary_point", "preempts"), [(0, True), (3, True), (4, True), (5, False), (7, False)])
def test_preemption_is_by_group_priority(oracle: AbstractGic, binary_point: int, preempts: bool) -> None:
    """0x80 runs; 0x60 has another group priority up to binary point 5 of Group 1; 0x70 up to 4."""
    write(oracle, "ICC_BPR1_EL1", BinaryPoint=binary_point)
    assert read(oracle, "ICC_BPR1_EL1") == max(binary_point, 3)
    oracle.set_priority(0, PPI, 0x90)
    oracle.set_priority(0, SPI, 0x80)
    oracle.set_line(0, PPI, True)
    assert read(oracle, "ICC_IAR1_EL1") == PPI
    oracle.set_line(0, SPI, True)
    assert (oracle.lines(0) == {"IRQ"}) is preempts


def test_binary_points(oracle: AbstractGic) -> None:
    write(oracle, "ICC_BPR0_EL1", BinaryPoint=1)
    assert read(oracle, "ICC_BPR0_EL1") == 2
    write(oracle, "ICC_BPR1_EL1", BinaryPoint=5)
    write(oracle, "ICC_CTLR_EL1", EOImode=0, CBPR=1)
    assert read(oracle, "ICC_BPR1_EL1") == 3
    write(oracle, "ICC_BPR1_EL1", BinaryPoint=6)
    write(oracle, "ICC_BPR0_EL1", BinaryPoint=7)
    assert read(oracle, "ICC_BPR1_EL1") == 7
    write(oracle, "ICC_CTLR_EL1", EOImode=0, CBPR=0)
    assert read(oracle, "ICC_BPR1_EL1") == 5


def test_running_priorities_nest(oracle: AbstractGic) -> None:
    oracle.set_priority(0, SPI, 0x18)
    oracle.set_line(0, PPI, True)
    assert (read(oracle, "ICC_RPR_EL1"), read(oracle, "ICC_IAR1_EL1")) == (0xFF, PPI)
    oracle.set_line(0, SPI, True)
    assert (read(oracle, "ICC_RPR_EL1"), read(oracle, "ICC_IAR1_EL1")) == (0x80, SPI)
    assert (read(oracle, "ICC_RPR_EL1"), read(oracle, "ICC_AP1R0_EL1")) == (0x18, 1 << 16 | 1 << 3)
    write(oracle, "ICC_EOIR0_EL1", INTID=SPI)
    write(oracle, "ICC_EOIR1_EL1", INTID=SPURIOUS)
    assert read(oracle, "ICC_RPR_EL1") == 0x18
    write(oracle, "ICC_EOIR1_EL1", INTID=SPI)
    assert read(oracle, "ICC_RPR_EL1") == 0x80


def test_an_eoi_that_only_drops(oracle: AbstractGic) -> None:
    write(oracle, "ICC_DIR_EL1", INTID=SPI)
    write(oracle, "ICC_CTLR_EL1", EOImode=1, CBPR=0)
    oracle.set_line(0, SPI, True)
    assert read(oracle, "ICC_IAR1_EL1") == SPI
    write(oracle, "ICC_EOIR1_EL1", INTID=SPI)
    assert (read(oracle, "ICC_RPR_EL1"), oracle.spis.active, oracle.lines(0)) == (0xFF, {SPI}, set())
    write(oracle, "ICC_DIR_EL1", pe=3, INTID=SPI)
    assert oracle.spis.active == {SPI}
    write(oracle, "ICC_DIR_EL1", INTID=SPI)
    assert (oracle.spis.active, oracle.lines(0)) == (set(), {"IRQ"})


def test_sgis_without_an_active_state(oracle: AbstractGic) -> None:
    on = {"EnableGrp0": 1, "EnableGrp1": 1, "nASSGIreq": 1}
    oracle.write_gicd_ctlr(on)
    assert oracle.read_gicd_ctlr()["nASSGIreq"] == 0
    oracle.write_gicd_ctlr(dict.fromkeys(on, 0))
    oracle.write_gicd_ctlr(on)
    sgi(oracle, TargetList=1)
    assert (read(oracle, "ICC_IAR1_EL1"), read(oracle, "ICC_RPR_EL1")) == (SGI, 0x80)
    assert oracle.pes[0].bank.active == set()


def test_nothing_comes_to_a_pe_that_sleeps(oracle: AbstractGic) -> None:
    oracle.set_line(0, PPI, True)
    oracle.redistributors[0].asleep = True
    assert (oracle.lines(0), read(oracle, "ICC_IAR1_EL1")) == (set(), SPURIOUS)


def test_what_is_not_there_reads_as_zero_and_ignores_writes(oracle: AbstractGic) -> None:
    distributor.write(oracle.spis, "ISENABLER", 0, 0xFFFF_FFFF)
    distributor.write(oracle.spis, "IPRIORITYR", 255, 0xFFFF_FFFF)
    assert distributor.read(oracle.spis, "ISENABLER", 0) == distributor.read(oracle.spis, "IPRIORITYR", 255) == 0
    assert oracle.spis.enabled == {SPI}
