# SPDX-License-Identifier: Apache-2.0
"""What the driver hands out: a device with its events, a VM with its vPEs. Names are those of Linux' structures."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gicmodel.driver.commands import Operand, every, within
from gicmodel.driver.errors import DriverError
from gicmodel.driver.tables import ConfigurationTable
from gicmodel.layouts.lpi_tables import VSGIS


@dataclass(eq=False)
class ItsVpe:
    """struct its_vpe. `vmapp_count` is the number of ITSs on which the vPE is mapped."""

    vpe_id: int
    vm: ItsVm
    vpt_page: int
    """Address of the virtual pending table, 64 KiB aligned."""
    doorbell_intid: int
    """The physical LPI that rings for the vPE (vpe_db_lpi)."""
    vmapp_count: int = 0
    col_idx: int = 0
    """The CPU on whose redistributor the vPE is mapped."""
    resident_cpu: int | None = None
    pending_last: bool = False
    """Something may be pending; never a statement that nothing is."""
    idai: bool = True
    """GICv4.0: GICR_VPENDBASER.IDAI when the vPE was last descheduled. A new VPT's IMPLEMENTATION DEFINED area is
    invalid."""
    sgi_config: list[VsgiConfig] = field(default_factory=lambda: [VsgiConfig() for _ in range(VSGIS)])


@dataclass
class VsgiConfig:
    """The configuration of one vSGI; `priority` is 8 bits wide, of which the GIC keeps the upper four."""

    enabled: bool = False
    group: int = 0
    priority: int = 0


@dataclass(eq=False)
class ItsVm:
    """struct its_vm. `vlpi_count` [ITS] is kept where vPEs are mapped on demand (GICv4.0 with an ITS list)."""

    vprop: ConfigurationTable
    vlpi_count: NDArray[np.int64]
    vpes: list[ItsVpe] = field(default_factory=list)
    db_lpi_base: int = 0
    nr_db_lpis: int = 0

    @property
    def vprop_page(self) -> int:
        """Address of the vLPI configuration table, 64 KiB aligned, one byte for each vINTID from 8192."""
        return self.vprop.address

    def vpe_ids(self, vcpus: Operand) -> Operand:
        """The vPEIDs of `vpes[vcpus]`. DriverError EINVAL if there is no such vCPU."""
        if not within(vcpus, len(self.vpes)):
            raise DriverError("EINVAL", f"the VM has vCPUs 0..{len(self.vpes) - 1} only")
        if isinstance(vcpus, np.ndarray):
            return np.array([vpe.vpe_id for vpe in self.vpes], np.int64)[vcpus]
        return self.vpes[vcpus].vpe_id


@dataclass(eq=False)
class ItsDevice:
    """struct its_device with its event_map. Arrays are indexed by EventID, [nr_events]."""

    device_id: int
    its: int
    itt_addr: int
    nr_events: int
    """A power of two, the number of its LPIs."""
    lpi_base: int
    """Event e is physical LPI lpi_base + e while it is not forwarded."""
    mapped: NDArray[np.bool_]
    col: NDArray[np.int64]
    """The CPU that the event's physical LPI goes to; its collection has the same number."""
    forwarded: NDArray[np.bool_]
    vpe_id: NDArray[np.int64]
    """Of forwarded events, as `vintid`."""
    vintid: NDArray[np.int64]
    db_enabled: NDArray[np.bool_]
    """Whether the event rings its vPE's doorbell, which it does while its vLPI is enabled (GICv4.0)."""
    vm: ItsVm | None = None
    """The VM that the device's forwarded events belong to."""

    @property
    def event_bits(self) -> int:
        """Width of the ITT's EventIDs: it has at least two entries, also for a device of one event."""
        return max(1, (self.nr_events - 1).bit_length())

    @classmethod
    def create(cls, device_id: int, its: int, nr_events: int, lpi_base: int) -> ItsDevice:
        """A device without an ITT, none of whose events is mapped."""
        mapped, forwarded, db_enabled = np.zeros((3, nr_events), np.bool_)
        col, vpe_id, vintid = np.zeros((3, nr_events), np.int64)
        return cls(device_id, its, 0, nr_events, lpi_base, mapped, col, forwarded, vpe_id, vintid, db_enabled)

    def check_events(self, events: Operand) -> None:
        """DriverError EINVAL unless the device has all of `events`."""
        if not within(events, self.nr_events):
            raise DriverError("EINVAL", f"device {self.device_id:#x} has events 0..{self.nr_events - 1} only")

    def check_mapped(self, events: Operand) -> None:
        """DriverError EINVAL unless all of `events` are mapped."""
        self.check_events(events)
        if not every(self.mapped[events]):
            raise DriverError("EINVAL", f"events {events} of device {self.device_id:#x} are not all mapped")

    def check_physical(self, events: Operand) -> None:
        """DriverError EINVAL unless all of `events` are mapped to physical LPIs."""
        self.check_events(events)
        if not every(self.mapped[events] & ~self.forwarded[events]):
            raise DriverError("EINVAL", f"events {events} of device {self.device_id:#x} are not all physical LPIs")

    def check_forwarded(self, events: Operand) -> None:
        """DriverError EINVAL unless all of `events` are forwarded."""
        self.check_events(events)
        if not every(self.forwarded[events]):
            raise DriverError("EINVAL", f"events {events} of device {self.device_id:#x} are not all forwarded")
