# SPDX-License-Identifier: Apache-2.0
"""A guest with a device whose events can be forwarded, on a host of its own."""

import pytest

from gicmodel.kvm import NEWEST, KvmError
from gicmodel.layouts.lpi_tables import bit_of, byte_of
from tests.kvm.guest import Guest

SPURIOUS = 1023
DEVICE = 2
HOST_DEVICE = 0x42
EVENTS = 8


class ForwardedGuest(Guest):
    """A guest whose device 2 has 8 events, LPIs 8192 up, even ones on vCPU 2 and odd ones on vCPU 3, on `host`."""

    def __init__(self, host, behaviour=NEWEST):
        super().__init__(driver=host.driver, behaviour=behaviour)
        self.host = host
        self.host_device = host.device(HOST_DEVICE, EVENTS)
        self.mapd(DEVICE, bits=3)
        for icid in (2, 3):
            self.mapc(icid, icid)
        for event_id in range(EVENTS):
            self.mapti(DEVICE, event_id, 8192 + event_id, 2 + event_id % 2)

    def forward(self, *events):
        events = events or range(EVENTS)
        return self.vgic.set_forwarding_many(0, DEVICE, events, self.host_device, events)

    def fire(self, *events):
        """The physical device raises its events."""
        for event_id in events:
            self.host.gic.its[self.host_device.its].translate(HOST_DEVICE, event_id)

    def vpt_bit(self, intid):
        """The bit in the VPT in host RAM, whether it is current or not."""
        table = self.vgic.its_vm.vpes[self.vgic.lpis[intid].target_vcpu].vpt_page
        return self.host.memory.read_u8(table + byte_of(intid)) >> bit_of(intid) & 1

    def vlpis(self, vcpu, cpu=0):
        """Run the vCPU and take every interrupt that the GIC delivers to it."""
        self.vgic.load(vcpu, cpu)
        interface = self.host.gic.redistributors[cpu].cpu
        taken = []
        while (intid := interface.acknowledge_virtual()) != SPURIOUS:
            taken.append(intid)
        self.vgic.put(vcpu)
        return taken

    def saved_bits(self):
        """The pending bits in guest RAM, by event."""
        return [self.pending_bit(2 + event_id % 2, 8192 + event_id) for event_id in range(EVENTS)]


def refusal(operation, *arguments):
    """The errno with which KVM refuses."""
    with pytest.raises(KvmError) as caught:
        operation(*arguments)
    return caught.value.errno
