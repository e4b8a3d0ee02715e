# SPDX-License-Identifier: Apache-2.0
"""Registers that KVM emulates: accesses by the guest (MMIO) and by userspace (device attributes)."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from gicmodel.kvm.dist import VgicDist
from gicmodel.kvm.errors import KvmError
from gicmodel.layouts.registers import (
    INNER_SHAREABLE,
    NON_CACHEABLE,
    OUTER_SHAREABLE,
    RAWB,
    SAME_AS_INNER,
    Register,
    register,
)

IMPLEMENTER = {"ProductID": ord("K"), "Implementer": 0x43B}
"""KVM's GICD_IIDR and GITS_IIDR."""
DEFAULT_ATTRIBUTES = {"InnerCache": RAWB, "OuterCache": SAME_AS_INNER, "Shareability": INNER_SHAREABLE}


def _ignore(value: int) -> None:
    """The write of a register that is WI."""


class Handler(NamedTuple):
    """What an access to a register does.

    `user_read` and `user_write` replace the others for userspace. `stored` is what a write of one half of a 64-bit
    register leaves of the other half, where that is not what a read shows.
    """

    read: Callable[[], int]
    write: Callable[[int], None] = _ignore
    user_read: Callable[[], int] | None = None
    user_write: Callable[[int], None] | None = None
    stored: Callable[[], int] | None = None


class RegisterFace:
    """The registers of a virtual ITS or redistributor; all others are RAZ/WI to the guest.

    A 64-bit register may be accessed in halves by the guest, but only whole by userspace.
    """

    def __init__(self, dist: VgicDist, handlers: Mapping[str, Handler], architecture: str = "3") -> None:
        self._dist = dist
        self._handlers: dict[int, tuple[Register, Handler]] = {}
        for name, handler in handlers.items():
            described = register(name, architecture)
            for half in range(0, described.bits // 8, 4):
                self._handlers[described.offset + half] = described, handler

    def read(self, offset: int, size: int = 8) -> int:
        """What the guest reads, `size` 4 or 8 bytes wide."""
        found = self._accessible(offset, size)
        if found is None:
            return 0
        described, handler = found
        return handler.read() >> 8 * (offset - described.offset) & _mask(size)

    def write(self, offset: int, value: int, size: int = 8) -> None:
        """What a guest's write of 4 or 8 bytes does."""
        found = self._accessible(offset, size)
        if found is None:
            return
        described, handler = found
        shift = 8 * (offset - described.offset)
        stored = (handler.stored or handler.read)() if 8 * size < described.bits else 0
        handler.write(stored & ~(_mask(size) << shift) | (value & _mask(size)) << shift)

    def user_read(self, offset: int) -> int:
        """The whole register at `offset`. KvmError EINVAL, ENXIO, EBUSY."""
        handler = self._addressed(offset)
        return (handler.user_read or handler.read)()

    def user_write(self, offset: int, value: int) -> None:
        """Write the whole register at `offset`. KvmError EINVAL, ENXIO, EBUSY, and what the register refuses."""
        handler = self._addressed(offset)
        (handler.user_write or handler.write)(value)

    def _accessible(self, offset: int, size: int) -> tuple[Register, Handler] | None:
        found = self._handlers.get(offset)
        if found is None or size not in (4, 8) or offset % size or 8 * size > found[0].bits:
            return None
        return found

    def _addressed(self, offset: int) -> Handler:
        if offset % 4:
            raise KvmError("EINVAL", f"register offset {offset:#x} is not aligned to 4 bytes")
        if offset not in self._handlers:
            raise KvmError("ENXIO", f"there is no register at offset {offset:#x}")
        described, handler = self._handlers[offset]
        if offset != described.offset:
            raise KvmError("EINVAL", f"offset {offset:#x} is the upper half of {described.name}")
        self._dist.lock_all_vcpus()
        return handler


def sanitise_attributes(fields: dict[str, int]) -> dict[str, int]:
    """The memory attributes that KVM makes of those written (Linux `vgic_sanitise_*` in vgic-mmio-v3.c)."""
    if fields["Shareability"] == OUTER_SHAREABLE:
        fields["Shareability"] = INNER_SHAREABLE
    if fields["InnerCache"] <= NON_CACHEABLE:
        fields["InnerCache"] = RAWB
    if fields["OuterCache"] != NON_CACHEABLE:
        fields["OuterCache"] = SAME_AS_INNER
    return fields


def _mask(size: int) -> int:
    return (1 << 8 * size) - 1
