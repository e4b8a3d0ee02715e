# SPDX-License-Identifier: Apache-2.0
"""Numbers that a caller may not give: each is a ValueError that names it and the rule, on both engines."""

from collections.abc import Callable

import numpy as np
import pytest

from gicmodel.config import GicConfig
from gicmodel.hardware import Bus, Gic, Line
from gicmodel.hardware.observe import pending_physical, pending_virtual
from gicmodel.layouts.registers.by_name import encoding
from gicmodel.memory import PAGE_BYTES, GuestMemory

WIDE = 1 << 64
PMR, SGI1R = encoding("ICC_PMR_EL1"), encoding("ICC_SGI1R_EL1")
TRANSLATER = 0x1_0040


@pytest.fixture(scope="module")
def gic() -> Gic:
    return Gic(GicConfig(redistributors=2), GuestMemory(0, PAGE_BYTES))


REFUSED: list[tuple[Callable[[Gic], object], str]] = [
    *((lambda gic, size=size: Bus(gic).read(0x0800_0000, size), f"an access of {size} bytes") for size in (0, 3, -1)),
    *((lambda gic, size=size: Bus(gic).write(0x080A_0000, 1, size), f"an access of {size} bytes") for size in (5, 16)),
    (lambda gic: gic.its[0].read(0, 3), "an access of 3 bytes: a bus has those of 1, 2, 4 and 8"),
    (lambda gic: gic.distributor.read(-4, 4), "the offset of an access is -4, not from 0 to 0xf{16}"),
    (lambda gic: gic.distributor.write(-4, 0, 4), "the offset of an access is -4, not from 0 to 0xf{16}"),
    (lambda gic: Bus(gic).write(0x0800_0000, -1, 4), "the value is -1, not from 0 to 0xf{16}"),
    (lambda gic: gic.its[0].write(0x80, WIDE), "the value is 0x10{16}, not from 0 to 0xf{16}"),
    (lambda gic: gic.its[0].write(TRANSLATER, -1, 4), "the value is -1, not from 0"),
    (lambda gic: gic.its[0].write(TRANSLATER, 1, 4, device_id=-1), "a DeviceID is -1, not from 0"),
    (lambda gic: gic.its[0].translate(WIDE, 0), "a DeviceID is 0x10{16}, not from 0 to 0xf{16}"),
    (lambda gic: gic.its[0].translate(0, -1), "an EventID is -1"),
    (lambda gic: gic.its[0].translate_many([-1], [0]), "a DeviceID is -1"),
    (lambda gic: gic.its[0].translate_many([0, 1], np.array([1, -2])), "an EventID is -2"),
    (lambda gic: gic.its[0].translate_many([0], [WIDE]), "an EventID is 0x10{16}"),
    (lambda gic: gic.its[0].translate_many([0.5], [1]), "a DeviceID is .*0.5.*, not a whole number"),
    (lambda gic: gic.its[0].step(-1), "Its.step: the number of commands is -1, not from 0 to 0x7f{15}"),
    (lambda gic: gic.its[0].step(1 << 63), "Its.step: the number of commands is 0x80{15}"),
    (lambda gic: gic.redistributors[0].cpu.take(-1), "an INTID is -1"),
    (lambda gic: gic.redistributors[0].cpu.take_virtual(WIDE), "a vINTID is 0x10{16}"),
    (lambda gic: gic.redistributors[0].cpu.write(PMR, WIDE), "the value of ICC_PMR_EL1 is 0x10{16}"),
    (lambda gic: gic.redistributors[0].cpu.write(SGI1R, -1), "the value of ICC_SGI1R_EL1 is -1"),
    (lambda gic: gic.redistributors[0].cpu.read(-1), "a system register -0x001"),
    (lambda gic: gic.redistributors[0].set_line(27.5, True), "the PPI is 27.5, not a whole number"),
    (lambda gic: gic.distributor.set_line("40", True), "the SPI is '40', not a whole number"),
    *((lambda gic, pe=pe: gic.line(pe, Line.IRQ), f"Gic.line: the PE is {pe}, not from 0 to 1") for pe in (-1, 2, 9)),
    (lambda gic: gic.line(0, 9), "9 is not a valid Line"),
    (lambda gic: Bus(gic, its_base=WIDE), "Bus: the address of GITS0 is 0x10{16}, not from 0 to 0xffffffffd0000"),
    (lambda gic: Bus(gic, its_base=(1 << 52) - 0x1_0000), "Bus: the address of GITS0 is 0xf{9}0000"),
    (lambda gic: Bus(gic, distributor_base=-0x1_0000), "Bus: the address of GICD is -0x10000, not from 0"),
    (lambda gic: pending_physical(gic, -1), "the redistributor is -1, not from 0 to 1"),
    (lambda gic: pending_virtual(gic, -1, 14), "vpt_addr is -1, not from 0"),
    (lambda gic: pending_virtual(gic, 0, -1), "id_bits is -1, not from 0 to 16"),
]


@pytest.mark.parametrize(("call", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_what_is_refused(gic, call, said):
    with pytest.raises(ValueError, match=said):
        call(gic)


def test_numbers_of_numpy_are_numbers(gic):
    assert gic.line(np.int64(1), Line.IRQ) is False
    assert gic.redistributors[0].cpu.take(np.uint64(8192)) is False
    gic.redistributors[0].set_line(np.uint8(27), False)
    gic.distributor.write(0, np.uint64(0), 4)
    assert gic.its[0].translate_many(np.array([1], np.int32), [2]) == gic.its[0].translate_many([1], [2])


def test_the_registers_of_a_gic_have_gicd_ctlr(gic):
    """ARE and DS are always 1."""
    assert gic.registers()["GICD"]["CTLR"] == gic.distributor.read(0, 4) == 0x50
