# SPDX-License-Identifier: Apache-2.0
"""Registers that KVM emulates: accesses by the guest (MMIO) and by userspace (device attributes)."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from gicmodel.kvm.dist import VgicDist
from gicmodel.kvm.errors import KvmError
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.identification import ARM
from gicmodel.layouts.registers.register import (
    INNER_SHAREABLE,
    NON_CACHEABLE,
    OUTER_SHAREABLE,
    RAWB,
    SAME_AS_INNER,
    Register,
)

IMPLEMENTER = {"ProductID": ord("K"), "Implementer": ARM}
"""KVM's GICD_IIDR and GITS_IIDR."""
_WORD_BYTES = 4
DEFAULT_ATTRIBUTES = {"InnerCache": RAWB, "OuterCache": SAME_AS_INNER, "Shareability": INNER_SHAREABLE}


def _ignore(value: int) -> None:
    """The write of a register that is WI."""


class Handler(NamedTuple):
    """What an access to a register does.

    `user_read` and `user_write` replace the others for userspace. `stored` is what a write of one half of a 64-bit
    register leaves of the other half, where that is not what a read shows. `upper_is_wi`: a write of the upper half
    alone does nothing.
    """

    read: Callable[[], int]
    write: Callable[[int], None] = _ignore
    user_read: Callable[[], int] | None = None
    user_write: Callable[[int], None] | None = None
    stored: Callable[[], int] | None = None
    upper_is_wi: bool = False


class RegisterFace:
    """The registers of a virtual distributor, redistributor or ITS.

    The guest may access a 64-bit register in halves. Userspace has to with those of distributor and redistributor, and
    accesses those of an ITS whole. What is no register is RAZ/WI, except to userspace's access to an ITS.
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
        return self._read(offset, size, user=False)

    def write(self, offset: int, value: int, size: int = 8) -> None:
        """What a guest's write of 4 or 8 bytes does."""
        self._write(offset, value, size, user=False)

    def user_read(self, offset: int) -> int:
        """The 32 bits at `offset` of a distributor or redistributor (Linux `vgic_uaccess`). KvmError EBUSY."""
        self._dist.lock_all_vcpus()
        return self._read(offset, _WORD_BYTES, user=True)

    def user_write(self, offset: int, value: int) -> None:
        """Write the 32 bits at `offset`. KvmError EBUSY, and what the register refuses."""
        self._dist.lock_all_vcpus()
        self._write(offset, value, _WORD_BYTES, user=True)

    def user_read_whole(self, attribute: int) -> int:
        """The register of an ITS at `attribute`, whole (Linux `vgic_its_attr_regs_access`). KvmError ENXIO."""
        handler, shift = self._addressed(attribute)
        return (handler.user_read or handler.read)() >> shift

    def user_write_whole(self, attribute: int, value: int) -> None:
        """Write the register at `attribute`, whole. KvmError ENXIO, and what the register refuses.

        At an upper half, which only an attribute of more than 32 bits can name, the value is ORed to the register: its
        mask of 64 bits from bit 32 on is empty in C.
        """
        handler, shift = self._addressed(attribute)
        if handler.user_write:
            handler.user_write(value)
        elif shift:
            handler.write((handler.read() | value << shift) & _mask(8))
        else:
            handler.write(value)

    def _read(self, offset: int, size: int, user: bool) -> int:
        found = self._accessible(offset, size)
        if found is None:
            return 0
        described, handler = found
        read = handler.user_read or handler.read if user else handler.read
        return read() >> 8 * (offset - described.offset) & _mask(size)

    def _write(self, offset: int, value: int, size: int, user: bool) -> None:
        found = self._accessible(offset, size)
        if found is None:
            return
        described, handler = found
        shift = 8 * (offset - described.offset)
        if shift and handler.upper_is_wi:
            return
        stored = (handler.stored or handler.read)() if 8 * size < described.bits else 0
        write = handler.user_write or handler.write if user else handler.write
        write(stored & ~(_mask(size) << shift) | (value & _mask(size)) << shift)

    def _accessible(self, offset: int, size: int) -> tuple[Register, Handler] | None:
        found = self._handlers.get(offset)
        if found is None or size not in (4, 8) or offset % size or 8 * size > found[0].bits:
            return None
        return found

    def _addressed(self, attribute: int) -> tuple[Handler, int]:
        """The register's handler, and at which of its bits the attribute begins. The attribute has 64 bits, Linux'
        `vgic_find_mmio_region` looks at 32.
        """
        offset = attribute & _mask(_WORD_BYTES)
        if offset not in self._handlers:
            raise KvmError("ENXIO", f"there is no register at offset {attribute:#x}")
        described, handler = self._handlers[offset]
        return handler, 8 * (offset - described.offset)


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
