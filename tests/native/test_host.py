# SPDX-License-Identifier: Apache-2.0
"""A C driver in this process, and what it leaves in a `Gic` that goes on living."""

import re

import pytest

from gicmodel.config import GicConfig
from gicmodel.hardware import Bus, Gic
from gicmodel.layouts.registers.by_name import SYSTEM_REGISTERS
from gicmodel.layouts.registers.register import packed
from gicmodel.memory import GuestMemory
from gicmodel.native import INCLUDE
from gicmodel.native.host import DriverEnded, Host
from gicmodel.native.running import compiled
from tests.conftest import needed
from tests.native.drivers import EXAMPLES, driver

needed("cffi")
pytestmark = pytest.mark.needs("cc")

RAM = 0x8000_0000
HEADER = INCLUDE / "gicmodel.h"


@pytest.fixture
def gic():
    return Gic(GicConfig(), GuestMemory(RAM, 1 << 20))


def test_the_gic_is_as_the_driver_has_left_it(tmp_path, gic):
    assert Host(gic).run(compiled(EXAMPLES / "its.c", tmp_path)) == 0
    assert gic.its[0].translate(42, 3) == 0
    assert gic.redistributors[0].cpu.acknowledge() == 8197
    gic.its[0].translate(42, 3)
    assert gic.redistributors[0].cpu.acknowledge() == 8197


def test_ram_is_shared_without_a_copy(tmp_path, gic):
    """Through pointers and by address, both ways; what is stored counts as written."""
    gic.memory.write_u64(RAM + 0x5008, 0x1122334455667788)
    body = f"""
        uint64_t *ram = gic_ram({RAM:#x}, 1 << 20);
        if (ram[0xa01] != 0x1122334455667788 || gic_read16({RAM:#x} + 0x500c) != 0x3344) return 1;
        if (gic_address(&ram[1]) != {RAM:#x} + 8) return 2;
        if (gic_ram({RAM:#x} - 1, 1) || gic_ram({RAM:#x}, (1 << 20) + 1) || gic_ram({RAM:#x} + (1 << 20), 1)) return 3;
        if (gic_ram(~0ull, 8) || gic_ram({RAM:#x} + 8, ~0ull)) return 4;
        ram[0x200] = 42;
        gic_write8({RAM:#x} + 0x1008, 43);
        return gic_read64({RAM:#x} + 0x1000) != 42;"""
    assert Host(gic).run(compiled(driver(tmp_path, body), tmp_path)) == 0
    assert (gic.memory.read_u64(RAM + 0x1000), gic.memory.read_u8(RAM + 0x1008)) == (42, 43)
    assert RAM + 0x1000 in gic.memory.written_pages()


def test_the_machine_is_where_the_bus_has_it(tmp_path):
    gic = Gic(GicConfig(its=2, redistributors=3), GuestMemory(RAM, 1 << 20))
    bus = Bus(gic)
    body = f"""
        const struct gic_machine *m = gic_machine();
        return !(m->distributor == {bus.base("GICD"):#x} && m->redistributors == {bus.base("GICR0"):#x} &&
                 m->redistributors + 2 * m->redistributor_stride == {bus.base("GICR2"):#x} && m->pe_count == 3 &&
                 m->its == {bus.base("GITS0"):#x} && m->its + m->its_stride == {bus.base("GITS1"):#x} &&
                 m->its_count == 2 && m->ram == {RAM:#x} && m->ram_size == 1 << 20);"""
    assert Host(gic).run(compiled(driver(tmp_path, body), tmp_path)) == 0


def test_an_access_is_as_wide_as_it_is_written(tmp_path, gic):
    body = """
        uint64_t baser = gic_machine()->its + 0x100, gicr = gic_machine()->redistributors;
        gic_write32(baser + 4, 0x80000000u);
        gic_write32(baser, 0x12345000u);
        gic_write32(gicr + 0x14, 0);
        gic_write64(gicr + 0x70, 0xd);
        return !(gic_read64(baser) >> 63 && (gic_read32(baser) & 0xfffff000u) == 0x12345000u &&
                 gic_read32(gicr + 0x70) == 0xd && gic_read32(gicr + 0x14) == 0);"""
    assert Host(gic).run(compiled(driver(tmp_path, body), tmp_path)) == 0


def test_time_passes_with_each_read_and_each_wait(tmp_path):
    """Two commands: the first is executed by the read, the second by the wait."""
    gic = Gic(GicConfig(commands_per_step=1), GuestMemory(RAM, 1 << 20))
    body = f"""
        uint64_t its = gic_machine()->its, *queue = gic_ram({RAM:#x} + 0x10000, 64);
        queue[0] = queue[4] = 9;
        queue[2] = queue[6] = 1ull << 63;
        for (int n = 0; n < 3; n++) gic_write64(its + 0x100 + 8 * n, 1ull << 63 | ({RAM:#x} + 0x1000 * n));
        gic_write64(its + 0x80, 1ull << 63 | ({RAM:#x} + 0x10000));
        gic_write32(its, 1);
        gic_write64(its + 0x88, 64);
        uint64_t at_first = gic_read64(its + 0x90), then = gic_read64(its + 0x90);
        gic_wait();
        return !(at_first == 0 && then == 32 && gic_read64(its + 0x90) == 64);"""
    assert Host(gic).run(compiled(driver(tmp_path, body), tmp_path)) == 0


def test_a_device_writes_where_it_is_told_to(tmp_path, gic):
    body = f"gic_device_write({RAM:#x} + 0x40, 0xabcd, 7); return 0;"
    assert Host(gic).run(compiled(driver(tmp_path, body), tmp_path)) == 0
    assert gic.memory.read_u64(RAM + 0x40) == 0xABCD


def test_an_external_abort_is_raised_when_the_driver_is_back(tmp_path, gic):
    """C has no exceptions: what comes after it is not done."""
    body = f"gic_write32(0x1000, 0); gic_write8({RAM:#x}, 1); return gic_read8({RAM:#x}) ? 1 : 0;"
    with pytest.raises(DriverEnded, match="external abort: no memory at 0x1000, 4 bytes"):
        Host(gic).run(compiled(driver(tmp_path, body), tmp_path))
    assert gic.memory.read_u8(RAM) == 0


def test_a_host_tells_what_is_done_before_it_is_done(tmp_path, gic):
    said: list[str] = []
    Host(gic, note=said.append).run(
        compiled(driver(tmp_path, "gic_read32(gic_machine()->its + 4); return 0;"), tmp_path)
    )
    assert said == [
        "load driver.so",
        "call driver",
        "read of GITS_IIDR of GITS0 at 0x81a0004, 4 bytes (number 1)",
    ]


DEFINED = re.findall(r"#define GIC_(\w+) GIC_SYSREG\((\d+), (\d+), (\d+), (\d+), (\d+)\)", HEADER.read_text())


def test_the_header_has_every_system_register():
    """ICV_* are at the encodings of ICC_*."""
    defined = {name: packed(*map(int, fields)) for name, *fields in DEFINED}
    lrs = {entry.name for entry in SYSTEM_REGISTERS if entry.name.startswith("ICH_LR")}
    assert defined == {
        entry.name: entry.encoding for entry in SYSTEM_REGISTERS if entry.name not in lrs and "ICV" not in entry.name
    }


def test_system_registers_and_inputs(tmp_path, gic):
    """A PPI is taken and ended; then a guest takes what its hypervisor lists for it."""
    body = """
        uint64_t sgi_base = gic_machine()->redistributors + 0x10000;
        gic_write32(gic_machine()->distributor, 3);
        gic_write32(gic_machine()->redistributors + 0x14, 0);
        gic_write32(sgi_base + 0x80, 1u << 27);
        gic_write32(sgi_base + 0x100, 1u << 27);
        gic_write8(sgi_base + 0x400 + 27, 0x80);
        gic_write_sysreg(0, GIC_ICC_PMR_EL1, 0xff);
        gic_write_sysreg(0, GIC_ICC_IGRPEN1_EL1, 1);
        gic_set_line(0, 27, 1);
        if (gic_read_sysreg(0, GIC_ICC_IAR1_EL1) != 27) return 1;
        gic_set_line(0, 27, 0);
        gic_write_sysreg(0, GIC_ICC_EOIR1_EL1, 27);
        if (gic_read_sysreg(0, GIC_ICC_IAR1_EL1) != GIC_NONE) return 2;
        gic_write_sysreg(0, GIC_ICH_HCR_EL2, 1);
        gic_write_sysreg(0, GIC_ICH_VMCR_EL2, 0xff000002);
        gic_write_sysreg(0, GIC_ICH_LR_EL2(3), 1ull << 62 | 1ull << 60 | 40);
        if (gic_guest_read_sysreg(0, GIC_ICC_IAR1_EL1) != 40) return 3;
        return gic_read_sysreg(0, GIC_ICC_IAR1_EL1) != GIC_NONE;"""
    host = Host(gic)
    assert host.run(compiled(driver(tmp_path, body), tmp_path)) == 0
    assert host.taken == [(0, 27, False), (0, 40, True)]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("gic_write_sysreg(0, GIC_ICC_IAR1_EL1, 0);", "ICC_IAR1_EL1 cannot be written"),
        ("gic_read_sysreg(0, GIC_SYSREG(3, 7, 15, 15, 7));", "0xffff"),
        ("gic_guest_write_sysreg(0, GIC_ICC_SGI1R_EL1, 0);", "ICC_SGI1R_EL1 cannot be written"),
        ("gic_read_sysreg(4, GIC_ICC_IAR1_EL1);", "there is no PE 4"),
        ("gic_host.read(gic_machine()->its, 3);", "an access of 3 bytes"),
        ("gic_host.read(gic_machine()->ram, 16);", "an access of 16 bytes"),
        ("gic_host.write(gic_machine()->ram, 0, 0xffffffff);", "an access of 4294967295 bytes"),
        ("gic_set_line(0, 15, 1);", "the PPI is 15, not from 16 to 31"),
        ("gic_set_line(0, 1020, 1);", "the SPI is 1020, not from 32 to 319"),
    ],
)
def test_what_no_pe_has(tmp_path, gic, call, said):
    with pytest.raises(DriverEnded, match=said):
        Host(gic).run(compiled(driver(tmp_path, f"{call} return 0;"), tmp_path))
