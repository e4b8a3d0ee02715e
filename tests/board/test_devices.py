# SPDX-License-Identifier: Apache-2.0
"""The UART, PSCI, the timers and the device tree, each alone."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from tests.conftest import needed

needed("unicorn")
needed("fdt")

import fdt

from gicmodel.board import pl011, psci
from gicmodel.board.addresses import PHYSICAL_TIMER_INTID, UART_BASE, UART_INTID, VIRTUAL_TIMER_INTID
from gicmodel.board.cells import BOARD, MOST_CELLS, PE, row_at
from gicmodel.board.device import check_map
from gicmodel.board.device_tree import DeviceTree, interrupt
from gicmodel.board.encodings import CTL_ENABLE, CTL_IMASK
from gicmodel.board.timers import Timers
from gicmodel.errors import UnusableInput

TXIM, RXIM = 1 << 5, 1 << 4


@dataclass
class Wires:
    """What a device drives."""

    sent: list[int] = field(default_factory=list)
    levels: list[bool] = field(default_factory=list)


@pytest.fixture
def wires() -> Wires:
    return Wires()


@pytest.fixture
def uart(wires: Wires) -> pl011.Pl011:
    return pl011.Pl011(UART_BASE, UART_INTID, wires.sent.append, wires.levels.append)


def test_uart_sends_what_is_written_and_is_never_full(uart: pl011.Pl011, wires: Wires) -> None:
    for octet in b"hello":
        assert uart.read(pl011.FR, 4) & 0x20 == 0
        uart.write(pl011.DR, octet, 4)
    assert bytes(wires.sent) == b"hello"


def test_uart_transmit_interrupt_is_level_and_cleared_by_icr(uart: pl011.Pl011, wires: Wires) -> None:
    uart.write(pl011.IMSC, TXIM, 4)
    assert wires.levels == []
    uart.write(pl011.DR, 65, 4)
    assert wires.levels == [True]
    assert uart.read(pl011.MIS, 4) == TXIM
    uart.write(pl011.ICR, TXIM, 4)
    assert wires.levels == [True, False]


def test_uart_receive_interrupt_stands_until_the_fifo_is_empty(uart: pl011.Pl011, wires: Wires) -> None:
    uart.write(pl011.IMSC, RXIM, 4)
    assert uart.read(pl011.FR, 4) & 0x10
    uart.receive(b"ab")
    assert wires.levels == [True]
    assert [uart.read(pl011.DR, 4), uart.read(pl011.DR, 4)] == [97, 98]
    assert wires.levels == [True, False]
    assert uart.read(pl011.FR, 4) & 0x10
    assert uart.read(pl011.DR, 4) == 0


def test_uart_says_who_it_is_as_linux_amba_bus_reads_it(uart: pl011.Pl011) -> None:
    part = sum(uart.read(0xFE0 + 4 * n, 4) << 8 * n for n in range(4))
    cell = sum(uart.read(0xFF0 + 4 * n, 4) << 8 * n for n in range(4))
    assert (part & 0xF_FFFF, cell) == (0x4_1011, 0xB105_F00D)


@dataclass
class Pe:
    mpidr: int
    is_on: bool = False
    began: tuple[int, int] | None = None

    def power_on(self, entry: int, context: int) -> None:
        self.is_on, self.began = True, (entry, context)


@pytest.fixture
def pes() -> list[Pe]:
    return [Pe(1 << 31, is_on=True), Pe(1 << 31 | 1), Pe(1 << 31 | 0x100)]


def test_psci_switches_a_pe_on_once(pes: list[Pe]) -> None:
    assert psci.call(pes, (0xC400_0003, 0x100, 0x4000_0000, 7)) == 0
    assert pes[2].began == (0x4000_0000, 7)
    assert psci.call(pes, (0xC400_0003, 0x100, 0x4000_0000, 7)) == -4
    assert psci.call(pes, (0xC400_0003, 0x200, 0x4000_0000, 7)) == -2


def test_psci_tells_who_is_on(pes: list[Pe]) -> None:
    assert [psci.call(pes, (0xC400_0004, target, 0, 0)) for target in (0, 1, 2)] == [0, 1, -2]


@pytest.mark.parametrize(
    ("function", "asked"),
    [
        (0x8400_0008, psci.Power.OFF),
        (0x8400_0009, psci.Power.RESET),
        (0x8400_0002, psci.Power.PE_OFF),
        (0xC400_0001, psci.Power.STANDBY),
        (0x8400_0000, 0x1_0001),
        (0xC400_0008, -1),
        (0x1234, -1),
        (0x8000_0000, -1),
    ],
)
def test_psci_functions(pes: list[Pe], function: int, asked: object) -> None:
    assert psci.call(pes, (function, 0, 0, 0)) == asked


@pytest.mark.parametrize(("function", "known"), [(0xC400_0003, 0), (0x8400_0008, 0), (0x8400_0005, -1), (1, -1)])
def test_psci_features(pes: list[Pe], function: int, known: int) -> None:
    assert psci.call(pes, (0x8400_000A, function, 0, 0)) == known


def test_timer_fires_at_its_compare_value_unless_masked() -> None:
    cells, row = np.zeros(MOST_CELLS, np.uint64), row_at(1)
    seen: list[tuple[int, bool]] = []
    timers = Timers(cells, row, lambda intid, level: seen.append((intid, level)))
    cells[row + PE.physical_ctl], cells[row + PE.physical_cval] = CTL_ENABLE, 100
    timers.update()
    assert (seen, timers.next()) == ([], 100)
    cells[BOARD.now] = 100
    timers.update()
    assert (seen, timers.next()) == ([(PHYSICAL_TIMER_INTID, True)], None)
    cells[row + PE.physical_ctl] |= np.uint64(CTL_IMASK)
    timers.update()
    assert seen == [(PHYSICAL_TIMER_INTID, True), (PHYSICAL_TIMER_INTID, False)]


def test_virtual_timer_counts_from_cntvoff() -> None:
    cells, row = np.zeros(MOST_CELLS, np.uint64), row_at(0)
    seen: list[tuple[int, bool]] = []
    timers = Timers(cells, row, lambda intid, level: seen.append((intid, level)))
    cells[row + PE.cntvoff], cells[row + PE.virtual_ctl], cells[row + PE.virtual_cval] = 1000, CTL_ENABLE, 5
    assert timers.next() == 1005
    cells[BOARD.now] = 1005
    timers.update()
    assert seen == [(VIRTUAL_TIMER_INTID, True)]


def test_device_tree_is_read_back_as_it_was_made(uart: pl011.Pl011) -> None:
    tree = DeviceTree()
    tree.node("/chosen", {"bootargs": "console=ttyAMA0 quiet"})
    uart.describe(tree)
    read = fdt.parse_dtb(tree.blob())
    assert read.get_property("bootargs", "/chosen").value == "console=ttyAMA0 quiet"
    path = read.get_property("stdout-path", "/chosen").value
    assert list(read.get_property("reg", path)) == [0, UART_BASE, 0, 0x1000]
    assert list(read.get_property("interrupts", path)) == [0, UART_INTID - 32, 4]
    clock = read.get_property("phandle", "/uart-clock").value
    assert list(read.get_property("clocks", path)) == [clock, clock]


def test_interrupt_specifiers() -> None:
    assert interrupt(27) == (1, 11, 4)
    assert interrupt(33) == (0, 1, 4)


@pytest.mark.parametrize(
    ("places", "says"),
    [
        ([("A", 0x1000, 0x2000), ("B", 0x2000, 0x1000)], "B at 0x2000 lies in A, 0x1000 to 0x3000"),
        ([("A", 0x1800, 0x1000)], "A at 0x1800 + 0x1000 is not a whole number of pages"),
        ([("A", 0x1000, 0)], "not a whole number of pages"),
    ],
)
def test_devices_that_overlap_are_named(places: list[tuple[str, int, int]], says: str) -> None:
    with pytest.raises(UnusableInput) as refusal:
        check_map(places)
    assert says in str(refusal.value)
