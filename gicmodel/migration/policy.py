# SPDX-License-Identifier: Apache-2.0
"""How vectors are enabled on the destination, and what becomes of pending state when that resets forwarding.

QEMU before 6.0 enables the MSI-X vectors of a loaded device one by one, and VFIO disables all previous ones each time
their number grows: `unset_forwarding` of all, `set_forwarding` of one more. The cover letter of "KVM: arm64: Add VLPI
migration support on GICv4.1" leaves open what happens to pending state then.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from gicmodel.kvm import Vgic
from gicmodel.migration.vfio import VfioDevice


class Policy(Enum):
    """What is done about forwarding that is reset."""

    RFC = "rfc"
    """Nothing, as posted: `unset_forwarding` drops what is pending in the VPT."""
    AVOID_UNSET = "avoid-unset"
    """The monitor allocates all vectors first, so that nothing is ever reset (QEMU ecebe53fe993 and dc580d51f7dd)."""
    DEDICATED_INTERFACE = "dedicated-interface"
    """Software keeps pending state until the GIC's VM state change handler transfers all of it to the VPTs."""
    RETRIEVE_ON_UNSET = "retrieve-on-unset"
    """`unset_forwarding` unmaps the vPE and reads the state back, and refuses unless the whole VM is stopped."""

    @property
    def transfers_at_the_end(self) -> bool:
        """Whether pending state waits in software until `Vgic.transfer_pending`."""
        return self is Policy.DEDICATED_INTERFACE


def enable_vectors(device: VfioDevice, vgic: Vgic, policy: Policy, resets: int) -> None:
    """Forward every vector of a loaded device, whose forwarding is reset `resets` times if the policy lets it be.

    Raises:
        KvmError: EBUSY, RETRIEVE_ON_UNSET while the VM runs; or as the host driver.
    """
    if policy is Policy.AVOID_UNSET:
        device.forward(vgic)
        return
    for vectors in growing(len(device.events), resets):
        device.unforward(vgic, retrieve=policy is Policy.RETRIEVE_ON_UNSET)
        device.forward(vgic, vectors, transfer=not policy.transfers_at_the_end)


def growing(vectors: int, resets: int) -> Iterator[int]:
    """How many vectors are enabled at first and after each reset: one more each time, and after the last one all.

    `vectors` - 1 resets are QEMU's; with more, all vectors are enabled again and again.
    """
    for reset in range(resets):
        yield min(reset + 1, vectors)
    yield vectors
