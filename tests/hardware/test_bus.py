# SPDX-License-Identifier: Apache-2.0
"""Frames at physical addresses."""

import pytest

from gicmodel.config import FRAME_BYTES
from gicmodel.hardware.bus import Bus, Frames
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.by_name import NamedRegisters, register
from gicmodel.layouts.registers.its import GITS_TYPER
from gicmodel.layouts.registers.redistributor import GICR_PENDBASER, GICR_STATUSR, GICR_TYPER, GICR_WAKER
from gicmodel.memory import ExternalAbort
from tests.hardware.bench import SPARE, Bench

GICD, GICR = 0x0800_0000, 0x080A_0000
ITS_BYTES = {"3": 2 * FRAME_BYTES, "4.0": 2 * FRAME_BYTES, "4.1": 3 * FRAME_BYTES}
TYPER, PENDBASER, WAKER = (register(f"GICR_{name}").offset for name in ("TYPER", "PENDBASER", "WAKER"))

ASLEEP = GICR_WAKER.pack(ProcessorSleep=1, ChildrenAsleep=1)


@pytest.fixture
def bench():
    return Bench(architecture="4.1", its=2, redistributors=3)


@pytest.fixture
def bus(bench):
    return Bus(bench.gic)


@pytest.mark.parametrize("architecture", ["3", "4.0", "4.1"])
def test_frames_lie_one_after_another(architecture):
    gic = Bench(architecture=architecture, its=2, redistributors=3).gic
    stride, its = gic.config.redistributor_stride, ITS_BYTES[architecture]
    assert [region[:3] for region in Bus(gic).regions] == [
        (GICD, FRAME_BYTES, "GICD"),
        (GICR, stride, "GICR0"),
        (GICR + stride, stride, "GICR1"),
        (GICR + 2 * stride, stride, "GICR2"),
        (GICR + 3 * stride, its, "GITS0"),
        (GICR + 3 * stride + its, its, "GITS1"),
    ]


def test_a_board_says_where_its_frames_are():
    gic = Bench(architecture="4.0", redistributors=2, redistributor_base=0x2000_0000).gic
    bus = Bus(gic, distributor_base=0x1000_0000, its_base=0x0808_0000)
    assert [(region.name, region.base) for region in bus.regions] == [
        ("GITS0", 0x0808_0000),
        ("GICD", 0x1000_0000),
        ("GICR0", 0x2000_0000),
        ("GICR1", 0x2004_0000),
    ]


@pytest.mark.parametrize(
    ("bases", "what"),
    [
        ({"distributor_base": 0x0800_1000}, "GICD at 0x8001000 is not at a multiple of 0x10000"),
        ({"its_base": 0x0808_0000}, "GICR0 at 0x80a0000 lies in the frames of GITS0"),
        ({"its_base": 0x080B_0000}, "GITS0 at 0x80b0000 lies in the frames of GICR0"),
        ({"distributor_base": GICR}, "lies in the frames of"),
    ],
)
def test_frames_do_not_overlap(bases, what):
    """A GICv4.1 ITS has three frames: between QEMU's GITS and its redistributors there is room for two."""
    with pytest.raises(ValueError, match=what):
        Bus(Bench(architecture="4.1").gic, **bases)


def test_each_frame_answers_for_its_own(bus, bench):
    for number in range(3):
        typer = GICR_TYPER.unpack(bus.read(bus.base(f"GICR{number}") + TYPER, 8))
        assert (typer["Processor_Number"], typer["Last"]) == (number, number == 2)
    for number in range(2):
        typer = NamedRegisters(Frames(bus, bus.base(f"GITS{number}")), "4.1").read("GITS_TYPER")
        assert typer == bench.read_its("TYPER", number)
        assert GITS_TYPER.unpack(typer)["VMAPP"] == 1
    assert bus.read(GICD + register("GICD_TYPER").offset, 4) == bench.gic.distributor.read(4, 4)
    with pytest.raises(KeyError):
        bus.base("GICR3")


def test_a_write_goes_to_one_frame_as_wide_as_it_comes(bus, bench):
    second = Frames(bus, bus.base("GICR1"))
    second.write(WAKER, GICR_WAKER.pack(ProcessorSleep=1), 4)
    bench.gic.redistributors[1].write(register("GICR_CTLR").offset, 0, 4)
    address = GICR_PENDBASER.pack(Physical_Address=0x9_8765_0000)
    second.write(PENDBASER, address, 8)
    second.write(PENDBASER + 4, 0xF << 32 | 1, 4)
    assert bus.read(bus.base("GICR1") + PENDBASER, 8) == 1 << 32 | address & 0xFFFF_FFFF
    assert second.read(PENDBASER + 4, 4) == 1
    assert (second.read(WAKER, 4), bus.read(bus.base("GICR0") + WAKER, 4)) == (ASLEEP, 0)


def test_a_device_writes_translater_with_its_device_id(bus, bench):
    translater = bus.base("GITS1") + register("GITS_TRANSLATER").offset
    bench.run("MAPD", its=1, DeviceID=7, ITT_addr=SPARE, Size=4, V=1)
    bench.run("MAPC", its=1, ICID=0, RDbase=2, V=1)
    bench.run("MAPTI", its=1, DeviceID=7, EventID=3, pINTID=FIRST_LPI + 5, ICID=0)
    bus.write(translater, 3, 4)
    assert bench.gic.redistributors[2].cpu.pending() == 1023
    bus.write(translater, 1 << 16 | 3, 2, device_id=7)
    assert bench.gic.redistributors[2].cpu.pending() == FIRST_LPI + 5


def test_what_the_architecture_refuses_is_noted(bus):
    base = bus.base("GICR0")
    assert bus.read(base + TYPER, 2) == 0
    bus.write(base + WAKER, 0, 8)
    bus.write(base + TYPER, 0, 8)
    bus.read(base + register("GICR_VSGIR").offset, 4)
    noted = GICR_STATUSR.unpack(bus.read(base + register("GICR_STATUSR").offset, 4))
    assert noted == {"RRD": 1, "WRD": 1, "WROD": 1, "RWOD": 1}


@pytest.mark.parametrize("address", [0, GICD - 4, GICD + FRAME_BYTES - 4, GICD + FRAME_BYTES, GICR - 8, 1 << 40])
def test_where_no_frame_is_an_access_aborts(bus, address):
    with pytest.raises(ExternalAbort, match=f"{address:#x}, 8 bytes"):
        bus.read(address, 8)
    with pytest.raises(ExternalAbort):
        bus.write(address, 0, 8, device_id=1)
