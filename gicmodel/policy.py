# SPDX-License-Identifier: Apache-2.0
"""What becomes of pending state when forwarding is reset on the destination: all that there is to say of each policy.

QEMU before 6.0 enables the MSI-X vectors of a loaded device one by one, and VFIO disables all previous ones each time
their number grows: `unset_forwarding` of all, `set_forwarding` of one more. The cover letter of "KVM: arm64: Add VLPI
migration support on GICv4.1" leaves open what happens to pending state then.
"""

from enum import Enum


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
    def avoids_resets(self) -> bool:
        """Whether forwarding is never reset."""
        return self is Policy.AVOID_UNSET

    @property
    def transfers_at_the_end(self) -> bool:
        """Whether pending state waits in software until `Vgic.transfer_pending`."""
        return self is Policy.DEDICATED_INTERFACE

    @property
    def retrieves(self) -> bool:
        """Whether `unset_forwarding` reads the state back."""
        return self is Policy.RETRIEVE_ON_UNSET

    @property
    def loses(self) -> bool:
        """Whether interrupts that are pending when forwarding is reset are expected to be lost."""
        return self is Policy.RFC
