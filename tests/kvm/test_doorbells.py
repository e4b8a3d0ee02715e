# SPDX-License-Identifier: Apache-2.0
"""Doorbells of vCPUs that block, and that run again before the host has taken theirs."""

import pytest

from tests.kvm.forwarded import SPURIOUS, ForwardedGuest
from tests.kvm.host import Host


@pytest.mark.parametrize("direct_lpi", [True, False])
def test_a_gicv40_doorbell_does_not_outlive_the_next_run_of_its_vcpu(direct_lpi: bool) -> None:
    """Linux `vgic_v4_load` takes back one that the host has not taken: it would wake the vCPU when it blocks again."""
    guest = ForwardedGuest(Host("4.0", direct_lpi=direct_lpi))
    guest.forward()
    interface = guest.host.gic.redistributors[1].cpu
    guest.vgic.load(2, 1)
    guest.vgic.put(2, wfi=True)
    guest.fire(0)
    assert interface.pending() == guest.vgic.its_vm.vpes[2].doorbell_intid
    assert guest.vlpis(2, cpu=1) == [8192]
    guest.vgic.load(2, 1)
    guest.vgic.put(2, wfi=True)
    assert interface.pending() == SPURIOUS
    guest.fire(2)
    assert interface.pending() == guest.vgic.its_vm.vpes[2].doorbell_intid, "the next interrupt rings it"
