# SPDX-License-Identifier: Apache-2.0
"""The translations that a virtual ITS remembers, for MSIs that come without its lock (Linux vgic-its.c).

An event is remembered when it is translated, that is by INT, by KVM_SIGNAL_MSI and by a look for what to forward,
unless its LPI is forwarded by then. DISCARD, MOVI, MOVALL, MAPC V=0, MAPD of a mapped device, and whatever disables the
ITS or the LPIs of a vCPU forget all of them; MAPC V=1 forgets none.

From 5.4 to 6.9 Linux has one cache for all virtual ITSs, with room for 16 translations a vCPU; this is that of 6.10.
"""

from gicmodel.kvm.lpi import Lpis

_EVENTID_BITS = 16


class TranslationCache:
    """From (DeviceID, EventID) to the slot of an LPI, each of which it holds a reference to."""

    def __init__(self, lpis: Lpis) -> None:
        self._lpis = lpis
        self._slots: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def find(self, device_id: int, event_id: int) -> int | None:
        """The slot of the event's LPI, or None (Linux `vgic_its_check_cache`)."""
        if event_id >> _EVENTID_BITS:
            return None
        return self._slots.get(_key(device_id, event_id))

    def remember(self, device_id: int, event_id: int, slot: int) -> None:
        """Linux `vgic_its_cache_translation`."""
        self._lpis.hold(slot)
        old = self._slots.get(_key(device_id, event_id))
        self._slots[_key(device_id, event_id)] = slot
        if old is not None:
            self._lpis.release(old)

    def invalidate(self) -> None:
        """Forget all (Linux `vgic_its_invalidate_cache`)."""
        slots, self._slots = self._slots, {}
        for slot in slots.values():
            self._lpis.release(slot)


def _key(device_id: int, event_id: int) -> int:
    return device_id << _EVENTID_BITS | event_id
