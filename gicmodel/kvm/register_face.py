# SPDX-License-Identifier: Apache-2.0
"""Registers that KVM emulates: accesses by the guest (MMIO) and by userspace (device attributes)."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from gicmodel.hardware.register_face import WORD_BITS, Handler, RegisterFace, accesses_of
from gicmodel.kvm.dist import VgicDist
from gicmodel.kvm.errors import KvmError
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.register import (
    INNER_SHAREABLE,
    NON_CACHEABLE,
    OUTER_SHAREABLE,
    RAWB,
    SAME_AS_INNER,
)

_WORD_BYTES = 4
_MASK32, _MASK64 = (1 << 32) - 1, (1 << 64) - 1
DEFAULT_ATTRIBUTES = {"InnerCache": RAWB, "OuterCache": SAME_AS_INNER, "Shareability": INNER_SHAREABLE}


class VgicHandler(NamedTuple):
    """What accesses to a register do that the guest makes, and those that userspace makes."""

    guest: Handler
    user: Handler


def handler(
    read: Callable[[], int],
    write: Callable[[int], None] | None = None,
    *,
    user_read: Callable[[], int] | None = None,
    user_write: Callable[[int], None] | None = None,
    stored: Callable[[], int] | None = None,
    upper_is_wi: bool = False,
) -> VgicHandler:
    """A register's handlers; `user_read` and `user_write` replace the others for userspace.

    `stored` as of `Handler`. `upper_is_wi`: a write of the upper half alone does nothing; it reads as zero.
    """
    kept, halves = _read(stored or read), (0,) if upper_is_wi else (0, WORD_BITS)
    guest = Handler(_read(read), _write(write) if write else None, kept, halves)
    user = guest._replace(read=_read(user_read)) if user_read else guest
    return VgicHandler(guest, user._replace(write=_write(user_write)) if user_write else user)


def _read(read: Callable[[], int]) -> Callable[[object], int]:
    """A function that knows its register, as that of a `Handler`."""
    return lambda face: read()


def _write(write: Callable[[int], None]) -> Callable[[object, int], None]:
    return lambda face, value: write(value)


class VgicRegisters(RegisterFace):
    """The registers of a virtual distributor, redistributor or ITS, as the guest accesses them.

    Userspace has to access those of distributor and redistributor in words, and accesses those of an ITS whole. What
    is no register is RAZ/WI, except to userspace's access to an ITS.
    """

    def __init__(self, dist: VgicDist, handlers: Mapping[str, VgicHandler], architecture: str = "3") -> None:
        super().__init__(accesses_of(architecture, {name: of.guest for name, of in handlers.items()}))
        self._dist = dist
        self._user = RegisterFace(accesses_of(architecture, {name: of.user for name, of in handlers.items()}))
        self._words: dict[int, tuple[VgicHandler, int]] = {}
        for name, of in handlers.items():
            entry = register(name, architecture)
            for shift in range(0, entry.bits, WORD_BITS):
                self._words[entry.offset + shift // 8] = of, shift

    def user_read(self, offset: int) -> int:
        """The 32 bits at `offset` of a distributor or redistributor (Linux `vgic_uaccess`). KvmError EBUSY."""
        self._dist.lock_all_vcpus()
        return self._user.read(offset, _WORD_BYTES)

    def user_write(self, offset: int, value: int) -> None:
        """Write the 32 bits at `offset`. KvmError EBUSY, and what the register refuses."""
        self._dist.lock_all_vcpus()
        self._user.write(offset, value, _WORD_BYTES)

    def user_read_whole(self, attribute: int) -> int:
        """The register of an ITS at `attribute`, whole (Linux `vgic_its_attr_regs_access`). KvmError ENXIO."""
        (_, user), shift = self._addressed(attribute)
        return int(user.read(self)) >> shift if user.read else 0

    def user_write_whole(self, attribute: int, value: int) -> None:
        """Write the register at `attribute`, whole. KvmError ENXIO, and what the register refuses.

        At an upper half, which only an attribute of more than 32 bits can name, the value is ORed to the register
        unless userspace's write is another than the guest's: its mask of 64 bits from bit 32 on is empty in C.
        """
        (guest, user), shift = self._addressed(attribute)
        if user.write is None:
            return
        if shift and user.write is guest.write:
            value = (guest.kept(self) | value << shift) & _MASK64
        user.write(self, value)

    def _addressed(self, attribute: int) -> tuple[VgicHandler, int]:
        """The register's handlers, and at which of its bits the attribute begins. The attribute has 64 bits, Linux'
        `vgic_find_mmio_region` looks at 32.
        """
        offset = attribute & _MASK32
        if offset not in self._words:
            raise KvmError("ENXIO", f"there is no register at offset {attribute:#x}")
        return self._words[offset]


def sanitise_attributes(fields: dict[str, int]) -> dict[str, int]:
    """The memory attributes that KVM makes of those written (Linux `vgic_sanitise_*` in vgic-mmio-v3.c)."""
    if fields["Shareability"] == OUTER_SHAREABLE:
        fields["Shareability"] = INNER_SHAREABLE
    if fields["InnerCache"] <= NON_CACHEABLE:
        fields["InnerCache"] = RAWB
    if fields["OuterCache"] != NON_CACHEABLE:
        fields["OuterCache"] = SAME_AS_INNER
    return fields
