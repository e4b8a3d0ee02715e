# SPDX-License-Identifier: Apache-2.0
"""The SGIs of a VM, in software or, on GICv4.1, as vSGIs in the physical GIC (Linux vgic-v4.c, vgic-mmio.c)."""

import numpy as np
from numpy.typing import NDArray

from gicmodel.kvm.errors import KvmError
from gicmodel.kvm.vlpi import Vlpis, host_refusals
from gicmodel.layouts.lpi_tables import VSGIS

SGI = np.dtype(
    [
        ("enabled", np.bool_),
        ("group", np.uint8),
        ("priority", np.uint8),
        ("pending_latch", np.bool_),
        ("hw", np.bool_),
        ("irq_disabled", np.bool_),
    ]
)

_PRIORITY_MASK = 0xF8
"""KVM's CPU interface has five priority bits."""


class Sgis:
    """`rows` is a structured array of `SGI`, [vCPUs, 16]. Where `hw` is set, the GIC has the pending state.

    `irq_disabled` is IRQD_IRQ_DISABLED of the host interrupt that a vSGI is to Linux: set from its making on.

    A method that reaches the GIC raises KvmError with the host driver's errno.
    """

    def __init__(self, nr_vcpus: int) -> None:
        self.rows = np.zeros((nr_vcpus, VSGIS), SGI)
        self.rows["enabled"] = True
        self.rows["group"] = 1
        self.rows["irq_disabled"] = True
        self.vlpis: Vlpis | None = None
        """The vPEs, on a GICv4.1 host."""

    def deliverable(self, vcpu: int) -> NDArray[np.int64]:
        """The SGIs that software must deliver to `vcpu`, highest priority first, then lowest number."""
        rows = self.rows[vcpu]
        numbers: NDArray[np.int64] = np.flatnonzero(rows["pending_latch"] & rows["enabled"])
        return numbers[np.argsort(rows["priority"][numbers], kind="stable")]

    def configure(self, use_hw: bool) -> None:
        """Let the GIC have all SGIs, or software (Linux `vgic_v4_configure_vsgis`). What is where it belongs stays."""
        for vcpu, number in np.argwhere(self.rows["hw"] != use_hw).tolist():
            if use_hw:
                self._to_gic(vcpu, number)
            else:
                self._to_software(vcpu, number)

    def pending(self, vcpu: int, number: int) -> bool:
        """Whether an SGI is pending, wherever that is kept."""
        if not self.rows["hw"][vcpu, number]:
            return bool(self.rows["pending_latch"][vcpu, number])
        with host_refusals():
            return self._gic.driver.vsgis.get_pending(self._gic.vpe(vcpu), number)

    def set_pending(self, vcpu: int, number: int, pending: bool) -> None:
        """Make an SGI pending or not."""
        if self.rows["hw"][vcpu, number]:
            self._set_pending_in_gic(vcpu, number, pending)
        else:
            self.rows["pending_latch"][vcpu, number] = pending

    def restore_pending(self, vcpu: int, number: int, pending: bool, reaches_gic: bool) -> None:
        """What userspace's write of GICR_ISPENDR0 does: the state, whole. Not `reaches_gic`: software's copy alone."""
        if self.rows["hw"][vcpu, number] and reaches_gic:
            self._set_pending_in_gic(vcpu, number, pending)
            pending = False
        self.rows["pending_latch"][vcpu, number] = pending

    def enable(self, vcpu: int, number: int, enabled: bool) -> None:
        """Enable or disable an SGI.

        The GIC hears of it only when that changes, and its host interrupt, which vSGIs that begin enabled do not
        (kernel/irq/manage.c): the first disable is lost (docs/found-in-linux.md).
        """
        row = self.rows[vcpu, number]
        if row["hw"] and row["enabled"] != enabled and row["irq_disabled"] == enabled:
            row["irq_disabled"] = not enabled
            self._configure_in_gic(vcpu, number, enabled)
        row["enabled"] = enabled

    def set_group(self, vcpu: int, number: int, group: int) -> None:
        """Put an SGI into Group 0 or 1."""
        self.rows["group"][vcpu, number] = group
        self._update_properties(vcpu, number)

    def set_priority(self, vcpu: int, number: int, priority: int) -> None:
        """Set an SGI's priority, 8 bits wide."""
        self.rows["priority"][vcpu, number] = priority & _PRIORITY_MASK
        self._update_properties(vcpu, number)

    @property
    def _gic(self) -> Vlpis:
        if self.vlpis is None:
            raise KvmError("ENODEV", "the host's GIC cannot inject SGIs")
        return self.vlpis

    def _to_gic(self, vcpu: int, number: int) -> None:
        self.rows["hw"][vcpu, number] = True
        self._configure_in_gic(vcpu, number, bool(self.rows["enabled"][vcpu, number]))
        # In both directions: the GIC may hold something from before.
        self._set_pending_in_gic(vcpu, number, bool(self.rows["pending_latch"][vcpu, number]))
        self.rows["pending_latch"][vcpu, number] = False

    def _to_software(self, vcpu: int, number: int) -> None:
        self.rows["pending_latch"][vcpu, number] = self.pending(vcpu, number)
        self.rows["hw"][vcpu, number] = False
        with host_refusals():
            self._gic.driver.vsgis.deactivate(self._gic.vpe(vcpu), number)

    def _update_properties(self, vcpu: int, number: int) -> None:
        """Linux' PROP_UPDATE_VSGI: group and priority go to the GIC with the enable that it has."""
        if self.rows["hw"][vcpu, number]:
            self._configure_in_gic(vcpu, number, self._gic.vpe(vcpu).sgi_config[number].enabled)

    def _configure_in_gic(self, vcpu: int, number: int, enabled: bool) -> None:
        vpe, row = self._gic.vpe(vcpu), self.rows[vcpu, number]
        with host_refusals():
            self._gic.driver.vsgis.configure(vpe, number, enabled, int(row["group"]), int(row["priority"]))

    def _set_pending_in_gic(self, vcpu: int, number: int, pending: bool) -> None:
        with host_refusals():
            self._gic.driver.vsgis.set_pending(self._gic.vpe(vcpu), number, pending)
