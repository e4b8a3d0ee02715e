# SPDX-License-Identifier: Apache-2.0
"""A GIC that does what the architecture promises and no more names what a driver has forgotten."""

import numpy as np
import pytest

from gicmodel.config import GicConfig
from gicmodel.driver import GicDriver, PageAllocator
from gicmodel.hardware import Gic
from gicmodel.lab.late import LateGic
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_CBASER, GITS_CREADR
from gicmodel.layouts.registers.redistributor import GICR_INVALLR, GICR_VSGIPENDR
from gicmodel.memory import GuestMemory

ENABLED, DISABLED = 0xA3, 0xA2
CTLR, CBASER, CWRITER, CREADR = (register(f"GITS_{name}").offset for name in ("CTLR", "CBASER", "CWRITER", "CREADR"))
INVALLR, VSGIR, VSGIPENDR = (register(name).offset for name in ("GICR_INVALLR", "GICR_VSGIR", "GICR_VSGIPENDR"))


class Host:
    """A driver on a late GIC, a device, and a VM of one vPE on CPU 1 with the vLPI 8192."""

    def __init__(self, **choices: object) -> None:
        config = GicConfig(caching="retain", intid_bits=14, vpt_cache_sets=1, **choices)  # type: ignore[arg-type]
        self.memory = GuestMemory(0x8000_0000, 64 << 20)
        self.gic = Gic(config, self.memory)
        self.late = LateGic(self.gic)
        allocator = PageAllocator(self.memory, self.memory.base, self.memory.end)
        self.driver = GicDriver(self.late, allocator, config.intid_bits)
        self.driver.probe()
        self.device = self.driver.lpis.create_device(1, 4)
        self.driver.lpis.activate(self.device, np.arange(4))
        self.vpe = self.driver.vpes.create_vm(1).vpes[0]
        self.driver.vlpis.map(self.device, 0, self.vpe.vm, 0, FIRST_LPI, ENABLED)
        self.driver.vpes.set_affinity(self.vpe, 1)
        assert self.late.missing == []

    def pending_last(self) -> bool:
        """Let the vPE run on CPU 1; whether something enabled is pending after that."""
        self.driver.vpes.schedule(self.vpe, 1)
        self.driver.vpes.deschedule(self.vpe, True)
        return self.vpe.pending_last


def test_invallr_outside_the_group_of_the_vpe():
    """Linux 3af9571cd585: GICR_INVALLR was written on a redistributor to which the vPE is not mapped."""
    host = Host(redistributors=18, common_lpi_aff=3, svpet=3)
    host.gic.its[0].translate(1, 0)
    assert host.pending_last()
    host.driver.vlpis.prop_update(host.device, 0, DISABLED, inv=False)
    for number, missing in [(17, True), (3, False)]:
        host.late.redistributors[number].write(INVALLR, GICR_INVALLR.pack(V=1, vPEID=host.vpe.vpe_id), 8)
        said = "GICR_INVALLR of vPEID 0x0 is missing: it was written on redistributor 17, not in the group of 1"
        assert host.late.missing == ([said] if missing else [])
        assert host.pending_last() is missing


def test_vsgis_outside_the_group_of_the_vpe():
    host = Host(redistributors=18, common_lpi_aff=3, svpet=3)
    host.driver.vsgis.set_pending(host.vpe, 2, True)
    for number, pending in [(17, 0), (3, 0b100)]:
        host.late.redistributors[number].write(VSGIR, host.vpe.vpe_id, 4)
        answer = host.late.redistributors[number].read(VSGIPENDR, 4)
        assert GICR_VSGIPENDR.unpack(answer)["Pending"] == pending
        assert bool(host.late.missing) is (pending == 0)


def test_invalidation_of_physical_lpis_has_no_group():
    host = Host(redistributors=18, common_lpi_aff=3, svpet=3)
    host.late.redistributors[17].write(INVALLR, 0, 8)
    assert host.late.missing == []


@pytest.mark.parametrize("its", [1, 2])
def test_a_gicv40_vpe_that_runs_where_it_is_not_mapped(its):
    """Linux 6.12 its_vpe_set_affinity: a vPE that is mapped lazily is mapped to where it ran before."""
    host = Host(architecture="4.0", redistributors=3, its=its, vmovp=False)
    host.driver.vpes.schedule(host.vpe, 1)
    assert host.late.missing == []
    host.driver.vpes.deschedule(host.vpe, False)
    host.vpe.col_idx = 2  # as Linux does, without a VMOVP
    host.driver.vpes.schedule(host.vpe, 2)
    assert host.late.missing == ["VMOVP of vPEID 0x0 is missing: it runs on redistributor 2, mapped to 1"]
    host.driver.vpes.deschedule(host.vpe, False)
    assert host.late.missing == []


@pytest.mark.parametrize("end", [0x1000, 0xF_FFE0], ids=["behind the queue", "far behind it"])
def test_a_queue_that_does_not_have_the_offset(end):
    """Not read for ever: what is wrong is the hardware's to say."""
    host = Host()
    its = host.late.its[0]
    its.write(CTLR, 0, 4)
    its.write(CBASER, GITS_CBASER.pack(Valid=1, Physical_Address=host.memory.base), 8)
    its.write(CTLR, 1, 4)
    its.write(CWRITER, end, 8)
    assert its.read(CREADR, 8) != end


@pytest.mark.parametrize("queue", [{"Valid": 1, "Physical_Address": 0x4000_0000}, {"Valid": 0}])
def test_a_queue_that_is_not_there(queue):
    host = Host()
    its = host.late.its[0]
    its.write(CTLR, 0, 4)
    its.write(CBASER, GITS_CBASER.pack(**queue), 8)
    its.write(CTLR, 1, 4)
    its.write(CWRITER, 0x20, 8)
    assert GITS_CREADR.unpack(its.read(CREADR, 8))["Offset"] == 0


def test_accesses_are_as_wide_as_the_hardware_takes_them():
    """A half of GITS_CREADR or GITS_CWRITER is a half, also while commands wait; narrower ones reach no register."""
    host = Host()
    its = host.late.its[0]
    offset = its.read(CREADR, 8)
    for register_offset in (CREADR, CWRITER):
        assert [its.read(register_offset, size) for size in (4, 2, 1)] == [offset, 0, 0]
        assert its.read(register_offset + 4, 4) == 0
    its.write(CWRITER, offset + 0x20, 2)
    assert its.read(CREADR, 8) == offset, "no command was taken"
    its.write(CTLR, 0, 4)
    its.write(CBASER + 4, 1 << 31, 4)
    assert its.read(CREADR, 8) == 0, "the upper half of GITS_CBASER starts the queue anew, too"


def test_a_command_that_there_is_not():
    """It stalls as on any hardware."""
    host = Host()
    its = host.late.its[0]
    its.write(CTLR, 0, 4)
    its.write(CBASER, GITS_CBASER.pack(Valid=1, Physical_Address=host.memory.base), 8)
    host.memory.write_u64(host.memory.base, 0xFF)
    its.write(CTLR, 1, 4)
    its.write(CWRITER, 0x20, 8)
    assert GITS_CREADR.unpack(its.read(CREADR, 8)) == {"Offset": 0, "Stalled": 1}


def test_the_first_byte_that_a_driver_forgot_to_invalidate_is_named():
    """Without the driver's own objects: from the commands that it sent."""
    host = Host(direct_lpi=False)
    intid = host.device.lpi_base + 2
    host.gic.its[0].translate(1, 2)
    assert host.gic.redistributors[0].cpu.pending() == intid
    host.driver.gic.lpi_configuration.write(np.array([intid]), DISABLED)
    written = f"is missing after the configuration byte of INTID {intid} was written"
    assert host.late.missing == [f"INV of DeviceID 0x1 EventID 2 {written}"]
    host.driver.lpis.unmask(host.device, 2)
    assert host.late.missing == []
