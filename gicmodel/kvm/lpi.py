# SPDX-License-Identifier: Apache-2.0
"""The VM's LPIs: what Linux keeps in one `struct vgic_irq` each, kept here as one row of an array each."""

from collections.abc import Iterable
from typing import NamedTuple, get_type_hints

import numpy as np
from numpy.typing import NDArray

NO_LPI = -1
"""In place of a slot."""
NO_HOST = -1
NO_VCPU = -1
"""`target_vcpu` of an LPI whose collection is not mapped."""

INTERRUPT_ID_BITS_ITS = 16
"""The INTID bits that KVM's ITS supports. A restored ITE may have more."""


class Lpi(NamedTuple):
    """One LPI: a row of `Lpis.rows`, or as numbers of Python's own a copy of one."""

    intid: np.int64
    references: np.int32
    target_vcpu: np.int32
    priority: np.uint8
    enabled: np.bool_
    pending_latch: np.bool_
    hw: np.bool_
    host_device: np.int32
    """With `hw`, which of `Vlpis.devices` KVM takes to feed it, and with which event; NO_HOST if none ever did."""
    host_event: np.int32


LPI = np.dtype([(name, of) for name, of in get_type_hints(Lpi).items()], align=True)


class Lpis:
    """All LPIs of a VM, whichever virtual ITSs map them (Linux `vgic_dist.lpi_xa`).

    `rows` is a structured array of `LPI`, to be read, and its `priority`, `enabled` and `pending_latch` to be written;
    an LPI keeps its row, its *slot*, as long as something refers to it: an ITE, an ap_list, a cached translation. Rows
    are not indexed by INTID because a restored ITE may carry any 32-bit INTID: KVM has no upper bound there.
    """

    def __init__(self, by_intid: bool = True) -> None:
        self._by_intid = by_intid
        self.rows = np.zeros(64, LPI)
        self.queued: NDArray[np.int32] = np.full(64, NO_VCPU, np.int32)
        """The vCPU on whose ap_list each LPI is (Linux `vgic_irq.vcpu`), by slot."""
        self.slot_of: NDArray[np.int32] = np.full(1 << INTERRUPT_ID_BITS_ITS, NO_LPI, np.int32)
        """By INTID."""
        self._wide: dict[int, int] = {}
        """The slots of wider INTIDs."""
        self._free = list(range(len(self.rows)))
        self.created: NDArray[np.int64] = np.zeros(64, np.int64)
        """When each LPI was created, by slot."""
        self._order: NDArray[np.int64] | None = None
        self.mapping_changes = 0
        """How often it has changed which LPIs there are, which vCPUs they target, and which are forwarded."""

    def __len__(self) -> int:
        return int(np.count_nonzero(self.rows["references"]))

    def __contains__(self, intid: int) -> bool:
        return self.find(intid) is not None

    def __getitem__(self, intid: int) -> Lpi:
        """The state of the LPI `intid` now. KeyError if there is none."""
        slot = self.find(intid)
        if slot is None:
            raise KeyError(intid)
        return Lpi(*self.rows[slot].item())

    def find(self, intid: int) -> int | None:
        """The slot of `intid`, or None if there is none (Linux `vgic_get_lpi`)."""
        if not 0 <= intid < len(self.slot_of):
            return self._wide.get(intid)
        slot = int(self.slot_of[intid])
        return None if slot == NO_LPI else slot

    def allocate(self, intid: int, target_vcpu: int, priority: int, enabled: bool, pending: bool) -> int:
        """The slot of a new LPI, held by one reference."""
        if not self._free:
            self._grow()
        slot = self._free.pop()
        self.rows[slot] = (intid, 1, target_vcpu, priority, enabled, pending, False, NO_HOST, 0)
        self._enter(intid, slot)
        self._mapping_changed()
        self.created[slot] = self.mapping_changes
        return slot

    def next_slots(self, count: int) -> NDArray[np.int64]:
        """The slots, int64 [n], that the next new LPIs will have in turn."""
        while len(self._free) < count:
            self._grow()
        return np.array(self._free[: -count - 1 : -1], np.int64)

    def took(self, count: int) -> None:
        """Somebody has entered so many new LPIs, none wider than INTERRUPT_ID_BITS_ITS, into `next_slots`."""
        del self._free[len(self._free) - count :]
        self._order = None
        self.mapping_changes += count

    def hold(self, slots: int | NDArray[np.int64]) -> None:
        """Take one more reference to each, by slot (Linux `vgic_get_irq_ref`)."""
        np.add.at(self.rows["references"], slots, 1)

    def release(self, slots: Iterable[int]) -> None:
        """Drop one reference to each; with the last an LPI and its pending state are gone (Linux `vgic_put_irq`)."""
        references, gone = self.rows["references"], []
        for slot in slots:
            references[slot] -= 1
            if not references[slot]:
                gone.append(slot)
        if gone:
            for intid in self.rows["intid"][gone].tolist():
                self._enter(intid, NO_LPI)
            self._free += gone
            self._mapping_changed()

    def retarget(self, slot: int, vcpu: int) -> None:
        """Let an LPI target `vcpu`."""
        self.rows["target_vcpu"][slot] = vcpu
        self._mapping_changed()

    def set_hw(self, slots: NDArray[np.int64], hw: bool) -> None:
        """Note whether the physical GIC has the state of these LPIs."""
        self.rows["hw"][slots] = hw
        self._mapping_changed()

    def slots(self) -> NDArray[np.int64]:
        """The slots of all LPIs in the order in which Linux walks them: by INTID, before 6.10 as they were created."""
        if self._order is None:
            used: NDArray[np.int64] = np.flatnonzero(self.rows["references"])
            key = self.rows["intid"] if self._by_intid else self.created
            order: NDArray[np.int64] = np.argsort(key[used], kind="stable")
            self._order = used[order]
        return self._order

    def targeting(self, vcpu: int) -> NDArray[np.int64]:
        """The slots of the LPIs that target `vcpu`, in the order of `slots`."""
        slots = self.slots()
        hit: NDArray[np.bool_] = self.rows["target_vcpu"][slots] == vcpu
        return slots[hit]

    def deliverable(self, vcpu: int) -> NDArray[np.int64]:
        """The slots that software must deliver to `vcpu`, highest priority first, then lowest INTID.

        These are what is on its ap_list and, still, pending in the latch, enabled and its own.
        """
        slots, rows = self.on_list_of(vcpu), self.rows
        slots = slots[rows["pending_latch"][slots] & rows["enabled"][slots] & (rows["target_vcpu"][slots] == vcpu)]
        order = np.lexsort((rows["intid"][slots], rows["priority"][slots]))
        ordered: NDArray[np.int64] = slots[order]
        return ordered

    def on_list_of(self, vcpu: int) -> NDArray[np.int64]:
        """The slots on the ap_list of `vcpu`, in ascending order."""
        slots: NDArray[np.int64] = np.flatnonzero(self.queued == vcpu)
        return slots

    def _enter(self, intid: int, slot: int) -> None:
        """The LPI `intid` is in `slot`, or NO_LPI."""
        if 0 <= intid < len(self.slot_of):
            self.slot_of[intid] = slot
        elif slot == NO_LPI:
            del self._wide[intid]
        else:
            self._wide[intid] = slot

    def _mapping_changed(self) -> None:
        self._order = None
        self.mapping_changes += 1

    def _grow(self) -> None:
        count = len(self.rows)
        self.rows = np.concatenate((self.rows, np.zeros(count, LPI)))
        self.queued = np.concatenate((self.queued, np.full(count, NO_VCPU, np.int32)))
        self.created = np.concatenate((self.created, np.zeros(count, np.int64)))
        self._free = [*range(count, 2 * count), *self._free]
