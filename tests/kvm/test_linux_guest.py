# SPDX-License-Identifier: Apache-2.0
"""A guest that drives its virtual GIC as Linux does: the same driver as the host's, on the same register faces."""

import numpy as np
import pytest

from gicmodel.driver import GicDriver, PageAllocator
from gicmodel.kvm import Vgic
from gicmodel.layouts.registers.by_name import register
from gicmodel.memory import GuestMemory

RAM_BASE, RAM_BYTES = 0x4000_0000, 0x200_0000
SPURIOUS = 1023


class LinuxGuest:
    def __init__(self):
        self.memory = GuestMemory(RAM_BASE, RAM_BYTES)
        self.vgic = Vgic(self.memory, 3)
        self.driver = GicDriver(self.vgic, PageAllocator(self.memory, RAM_BASE, RAM_BASE + RAM_BYTES))
        self.driver.probe()

    def pending(self):
        return [self.vgic.acknowledge_all(vcpu) for vcpu in range(3)]


@pytest.fixture
def guest():
    return LinuxGuest()


def test_a_plain_gicv3_is_probed(guest):
    assert not guest.driver.gic.is_v4
    assert guest.vgic.dist.lpis_enabled == [True] * 3
    assert guest.vgic.its[0].enabled
    assert guest.vgic.its[0].collections == {0: 0, 1: 1, 2: 2}
    assert guest.driver.gic.nr_cpus == 3


def test_devices_events_affinity_and_masks(guest):
    device = guest.driver.lpis.create_device(0x42, 32)
    guest.driver.lpis.activate(device, np.arange(32), np.arange(32) % 3)
    assert len(guest.vgic.lpis) == 32
    assert all(guest.vgic.inject_msi(0x42, event) == 1 for event in range(6))
    base = device.lpi_base
    assert guest.pending() == [[base, base + 3], [base + 1, base + 4], [base + 2, base + 5]]
    guest.driver.lpis.set_affinity(device, 4, 0)
    guest.driver.lpis.mask(device, 5)
    for event in (4, 5):
        guest.vgic.inject_msi(0x42, event)
    assert guest.pending() == [[base + 4], [], []]
    guest.driver.lpis.unmask(device, 5)
    assert guest.pending() == [[], [], [base + 5]]
    guest.driver.lpis.deactivate(device, 5)
    assert guest.vgic.inject_msi(0x42, 5) == 0


def test_its_vm_is_saved_and_restored(guest):
    device = guest.driver.lpis.create_device(0x42, 32)
    guest.driver.lpis.activate(device, np.arange(32), np.arange(32) % 3)
    far = guest.driver.lpis.create_device(0x8042, 4)
    guest.driver.lpis.activate(far, np.arange(4))
    guest.vgic.inject_msi(0x42, 7)
    guest.vgic.inject_msi(0x8042, 3)
    guest.vgic.its[0].save_tables()
    guest.vgic.save_pending_tables()

    destination = Vgic(GuestMemory(RAM_BASE, RAM_BYTES), 3)
    destination.memory.octets[:] = guest.memory.octets
    for source, target in zip(guest.vgic.redistributors, destination.redistributors, strict=True):
        propbaser, pendbaser, ctlr = (register(f"GICR_{name}").offset for name in ("PROPBASER", "PENDBASER", "CTLR"))
        for offset in (propbaser, propbaser + 4, pendbaser, pendbaser + 4, ctlr):
            target.user_write(offset, source.user_read(offset))
    names = ["IIDR", "CBASER", "CREADR", "CWRITER", *(f"BASER{n}" for n in range(8))]
    offsets = [register(f"GITS_{name}").offset for name in names]
    for offset in offsets:
        destination.its[0].user_write(offset, guest.vgic.its[0].user_read(offset))
    destination.its[0].restore_tables()
    destination.its[0].user_write(register("GITS_CTLR").offset, 1)

    assert [destination.acknowledge(vcpu) for vcpu in range(3)] == [far.lpi_base + 3, device.lpi_base + 7, SPURIOUS]
    destination.its[0].save_tables()
    destination.save_pending_tables()
    assert (destination.memory.octets != guest.memory.octets).sum() == 2
