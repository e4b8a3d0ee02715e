# SPDX-License-Identifier: Apache-2.0
"""The translations that a virtual ITS remembers, for MSIs that come without its lock (Linux vgic-its.c).

An event is remembered when it is translated, that is by INT, by KVM_SIGNAL_MSI and by a look for what to forward,
unless its LPI is forwarded by then. DISCARD, MOVI, MOVALL, MAPC V=0, MAPD of a mapped device, and whatever disables the
ITS or the LPIs of a vCPU forget all of them; MAPC V=1 forgets none.

From 5.4 to 6.9 Linux has one cache for all virtual ITSs, which is `SharedCache`.
"""

from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from gicmodel.kvm.lpi import Lpis

_EVENTID_BITS = 16
_PER_VCPU = 16
"""LPI_DEFAULT_PCPU_CACHE_SIZE."""


class TranslationCache:
    """From (DeviceID, EventID) to the slot of an LPI, each of which it holds a reference to."""

    def __init__(self, lpis: Lpis) -> None:
        self._lpis = lpis
        self._slots: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def find(self, device_id: int, event_id: int) -> int | None:
        """The slot of the event's LPI, or None (Linux `vgic_its_check_cache`)."""
        if event_id >> _EVENTID_BITS:
            return None
        return self._slots.get(device_id << _EVENTID_BITS | event_id)

    def remember(self, device_id: int, event_ids: NDArray[np.int64], slots: NDArray[np.int64]) -> None:
        """Linux `vgic_its_cache_translation`, for events of a device, int64 [n], and their LPIs."""
        keys: list[int] = (event_ids | device_id << _EVENTID_BITS).tolist()
        new: dict[Hashable, int] = dict(zip(keys, slots.tolist(), strict=True))
        old = [self._slots[key] for key in new if key in self._slots]
        self._lpis.hold(np.array(list(new.values()), np.int64))
        self._slots.update(new)
        self._lpis.release(old)

    def invalidate(self) -> None:
        """Forget all (Linux `vgic_its_invalidate_cache`)."""
        slots = list(self._slots.values())
        self._slots.clear()
        self._lpis.release(slots)


class SharedCache(TranslationCache):
    """The share of one ITS, or of none, in a cache that all have in common; `invalidate` forgets those of all."""

    def __init__(self, lpis: Lpis, nr_vcpus: int, common: dict[Hashable, int]) -> None:
        super().__init__(lpis)
        self._slots = common
        """The one that was used last is the last."""
        self._room = nr_vcpus * _PER_VCPU

    def find(self, device_id: int, event_id: int) -> int | None:
        """One that is found is the one that was used last."""
        key = id(self), device_id, event_id
        slot = self._slots.pop(key, None)
        if slot is not None:
            self._slots[key] = slot
        return slot

    def remember(self, device_id: int, event_ids: NDArray[np.int64], slots: NDArray[np.int64]) -> None:
        """Nothing for an event that is remembered; else the one that was not used for longest makes room."""
        for event_id, slot in zip(event_ids.tolist(), slots.tolist(), strict=True):
            if self.find(device_id, event_id) is not None:
                continue
            if len(self._slots) == self._room:
                self._lpis.release([self._slots.pop(next(iter(self._slots)))])
            self._lpis.hold(slot)
            self._slots[id(self), device_id, event_id] = slot
