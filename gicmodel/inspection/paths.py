# SPDX-License-Identifier: Apache-2.0
"""The whole way of an interrupt in one line: from the device to the CPU or the VM, and where it is pending.

An interrupt waits in hardware while its bit in a pending table is 1; in software while Linux has noted IRQS_PENDING of
it, or KVM the `pending_latch` of what it is forwarded to.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gicmodel.inspection.entries import UNKNOWN
from gicmodel.inspection.inspection import Inspection
from gicmodel.inspection.linux.devices import KernelEvent
from gicmodel.inspection.linux.vmlinux import Guest, GuestEvent, Interrupt

_VERDICTS = {(True, True): "both", (True, False): "hardware", (False, True): "software", (False, False): "neither"}
_SENTENCES = {
    "both": "pending in hardware and in software",
    "hardware": "pending in hardware",
    "software": "pending in software",
    "neither": "pending in neither",
    "unknown": "unknown whether it is pending",
}


class Path(NamedTuple):
    """The way of one event's interrupt; what is not known is None.

    `intid` is that of its entry: an LPI, or the vINTID of vPE `vpe`. `lpi` is the physical one. `rdbase` is the
    redistributor's number, `resident` whether it has the vPE at present, `bit` the pending table's.
    """

    device_id: int
    event_id: int
    virtual: bool
    intid: int
    lpi: int | None
    rdbase: int | None
    vpe: int | None
    resident: bool | None
    bit: bool | None
    interrupt: Interrupt | None
    vm: Guest | None
    guest: GuestEvent | None
    doubt: str = ""
    """Why all of this need not be so; empty if nothing contradicts it."""

    @property
    def latch(self) -> bool | None:
        """Whether software has noted it as pending: KVM for a virtual one, Linux for a physical one."""
        if self.virtual:
            return None if self.guest is None else self.guest.pending_latch
        return None if self.interrupt is None else self.interrupt.pending

    @property
    def verdict(self) -> str:
        """Where it is pending: "hardware", "software", "both", "neither", or "unknown".

        What is known to be pending is said though the other is not known; that nothing is, only if both are.
        """
        if self.doubt or (None in (self.bit, self.latch) and not (self.bit or self.latch)):
            return "unknown"
        return _VERDICTS[bool(self.bit), bool(self.latch)]

    def document(self) -> dict[str, Any]:
        """The parts by name, for JSON and CSV."""
        own = {"DeviceID": hex(self.device_id), "EventID": self.event_id, "LPI": self.lpi}
        handled = dict.fromkeys(Interrupt._fields) if self.interrupt is None else self.interrupt._asdict()
        linux = {name: handled[name] for name in ("irq", "handlers", "device", "driver", "cpus")}
        where = {"RDbase": self.rdbase, "virtual": self.virtual, "vPEID": self.vpe}
        guest = None if self.guest is None else self.guest._asdict()
        if guest is not None:
            guest |= {name: hex(guest[name]) for name in ("its", "device_id", "priority")}
        of_vm = {"resident": self.resident, "vINTID": self.intid if self.virtual else None, "guest": guest}
        vm = None if self.vm is None else self.vm._asdict()
        state = {"bit": self.bit, "latch": self.latch, "verdict": self.verdict, "doubt": self.doubt or None}
        return own | linux | where | of_vm | {"VM": vm} | state

    def __str__(self) -> str:
        way = self._virtual() if self.virtual else self._physical()
        lpi = f"LPI {_known(self.lpi)}, {self.interrupt or 'irq unknown'}"
        where = f"device {self.device_id:#x} ({self._device()}) event {self.event_id}"
        doubt = f"; doubtful: {self.doubt}" if self.doubt else ""
        return f"{where}: {lpi} -> {way}: {_SENTENCES[self.verdict]}{doubt}"

    def _device(self) -> str:
        if self.interrupt is None:
            return "unknown"
        return f"{_named(self.interrupt.device)}, driver {_named(self.interrupt.driver)}"

    def _physical(self) -> str:
        return f"redistributor {_known(self.rdbase)}; pending bit {_bit(self.bit)}, IRQS_PENDING {_bit(self.latch)}"

    def _virtual(self) -> str:
        residency = {None: "residency unknown", True: "resident", False: "not resident"}[self.resident]
        place = f"{self.vm or 'VM unknown'}, vPE {self.vpe} on redistributor {_known(self.rdbase)} ({residency})"
        guest = "guest's event unknown"
        if self.guest is not None:
            masked = "" if self.guest.enabled else ", disabled"
            vcpu = "no vCPU" if self.guest.vcpu is None else f"vCPU {self.guest.vcpu}"
            guest = f"guest's device {self.guest.device_id:#x} event {self.guest.event_id} of {vcpu}{masked}"
        return f"{place}, vINTID {self.intid}, {guest}; VPT bit {_bit(self.bit)}, KVM's latch {_bit(self.latch)}"


def paths_of(found: Inspection, rows: NDArray[np.void]) -> list[Path]:
    """The way of each event (EVENTS)."""
    kernels = found.kernel.events()
    forwarded = {event.host_irq: event for event in found.kernel.guest_events if event.hw}
    resident = dict(zip(found.vpes["vPEID"].tolist(), found.vpes["resident"].tolist(), strict=True))
    return [_path(found, row, _kernel_event(row, kernels), forwarded, resident) for row in rows]


def physical_lpis(found: Inspection, rows: NDArray[np.void]) -> NDArray[np.int64]:
    """The physical LPI of each event, UNKNOWN for a forwarded one of which the kernel says nothing."""
    kernels = found.kernel.events()
    lpis = [_lpi(row, _kernel_event(row, kernels)) for row in rows]
    return np.array([UNKNOWN if lpi is None else lpi for lpi in lpis], np.int64)


def irqs_of(found: Inspection, rows: NDArray[np.void]) -> NDArray[np.int64]:
    """Linux's number of the interrupt of each event, or UNKNOWN."""
    handled = [found.kernel.interrupts.get(lpi) for lpi in physical_lpis(found, rows).tolist()]
    return np.array([UNKNOWN if one is None else one.irq for one in handled], np.int64)


def _kernel_event(row: np.void, kernels: dict[tuple[int, int, int], KernelEvent]) -> KernelEvent | None:
    """The kernel's event that an entry is; none if it says something else."""
    event = kernels.get((int(row["its"]), int(row["DeviceID"]), int(row["EventID"])))
    if event is None or not row["virtual"]:
        return event if event is not None and event.intid == row["INTID"] else None
    same = event.vpe is not None and (event.vintid, event.vpe.vpe_id) == (row["INTID"], row["vPEID"])
    return event if same else None


def _lpi(row: np.void, event: KernelEvent | None) -> int | None:
    if not row["virtual"]:
        return int(row["INTID"])
    return None if event is None else event.intid


def _path(
    found: Inspection,
    row: np.void,
    event: KernelEvent | None,
    forwarded: dict[int, GuestEvent],
    resident: dict[int, int],
) -> Path:
    """The way of an event; `forwarded` has what KVM forwards to by the host's irq, `resident` where vPEs are."""
    virtual, lpi = bool(row["virtual"]), _lpi(row, event)
    interrupt = None if lpi is None else found.kernel.interrupts.get(lpi)
    guest = None if interrupt is None else forwarded.get(interrupt.irq)
    vpe = int(row["vPEID"]) if virtual else None
    return Path(
        int(row["DeviceID"]),
        int(row["EventID"]),
        virtual,
        int(row["INTID"]),
        lpi,
        None if row["RDbase"] == UNKNOWN else int(row["RDbase"]),
        vpe,
        _residency(found, event, resident.get(vpe, UNKNOWN)) if vpe is not None else None,
        None if row["pending"] == UNKNOWN else bool(row["pending"]),
        interrupt,
        None if event is None or event.vpe is None else found.kernel.guests.get(event.vpe.its_vm),
        guest if guest is not None and guest.vintid == row["INTID"] else None,
        _doubt(found, row),
    )


def _doubt(found: Inspection, row: np.void) -> str:
    """Why an event's way need not be so; that of a forwarded one has its LPI from the kernel."""
    device, event = int(row["DeviceID"]), int(row["EventID"])
    doubt = next((unit.doubt(device, event) for unit in found.its if unit.number == row["its"]), "")
    devices = found.kernel.devices.get(int(row["its"]), []) if row["virtual"] else []
    return doubt or next((one.doubt for one in devices if one.device_id == device), "")


def _residency(found: Inspection, event: KernelEvent | None, resident: int) -> bool | None:
    """Whether a redistributor has the vPE: as registers say, else as the kernel does."""
    if resident != UNKNOWN:
        return True
    if event is not None and event.vpe is not None:
        return event.vpe.resident
    told = all(found.frames.value(one.frame, "VPENDBASER") is not None for one in found.redistributors)
    return False if told and found.rdbases.known is not None else None


def _known(value: object) -> str:
    return "unknown" if value is None else str(value)


def _named(text: str | None) -> str:
    return "unknown" if text is None else text or "none"


def _bit(value: bool | None) -> str:
    return "unknown" if value is None else str(int(value))
