# SPDX-License-Identifier: Apache-2.0
"""Since 6.10 KVM goes through all LPIs of a VM where it went through those of one vCPU; two things show it."""

import pytest

from gicmodel.kvm import NEWEST
from gicmodel.layouts.kvm_abi import KVM_CTE
from gicmodel.layouts.registers.redistributor import GICR_PENDBASER
from tests.kvm.forwarded import ForwardedGuest
from tests.kvm.guest import COLLECTIONS, DEFAULT_BYTE, RAM_BASE, Guest, offset_of, without
from tests.kvm.host import Host
from tests.kvm.tables import put_device, put_event

OLDER = without("walks_every_lpi")
LARGE = 0x8_0000
"""An LPI that a restored ITE may have: its pending bit is in byte 64 Ki of the table."""


@pytest.mark.parametrize(("behaviour", "seen"), [(NEWEST, 0x10), (OLDER, 0xA0)])
def test_invall_gives_the_gic_the_configuration_of_every_forwarded_lpi(behaviour, seen):
    """LPI 8192 is vCPU 2's, and KVM itself goes on with the priority that it has read before."""
    guest = ForwardedGuest(Host(), behaviour)
    guest.forward(0)
    guest.configure(8192, 0x13)
    guest.command("INVALL", ICID=3)
    assert guest.host.memory.read_u8(guest.vgic.its_vm.vprop_page) & 0xFC == seen
    assert guest.vgic.lpis[8192].priority == 0xA0


@pytest.mark.parametrize(("behaviour", "loaded"), [(NEWEST, False), (OLDER, True)])
def test_enabling_lpis_stops_at_a_byte_of_any_lpi_that_cannot_be_read(behaviour, loaded):
    """Of vCPU 0's table only the end is in RAM: there is the bit of its LPI, not that of the lower one, vCPU 1's."""
    guest = Guest(behaviour=behaviour)
    guest.restart_its()
    redistributor = guest.vgic.redistributors[0]
    redistributor.write(offset_of("GICR_CTLR"), 0, 4)
    guest.configure(LARGE, DEFAULT_BYTE)
    for vcpu in (0, 1):
        guest.memory.write_u64(COLLECTIONS + 8 * vcpu, KVM_CTE.pack(V=1, RDBase=vcpu, ICID=vcpu))
    put_device(guest)
    put_event(guest, 0, 8192, icid=1, distance=1)
    put_event(guest, 1, LARGE, icid=0)
    guest.its.restore_tables()
    guest.memory.write_u8(RAM_BASE, 1)
    redistributor.write(offset_of("GICR_PENDBASER"), GICR_PENDBASER.pack(Physical_Address=RAM_BASE - LARGE // 8))
    redistributor.write(offset_of("GICR_CTLR"), 1, 4)
    assert guest.vgic.lpis[LARGE].pending_latch == loaded
