# SPDX-License-Identifier: Apache-2.0
"""KVM's accesses to guest RAM: outside the memory slots, here the one window, they end in EFAULT."""

import numpy as np
from numpy.typing import NDArray

from gicmodel.kvm.errors import KvmError
from gicmodel.layouts.kvm_abi import KVM_ITE
from gicmodel.memory import PAGE_BYTES, STORED, ExternalAbort, GuestMemory

ENTRY_BYTES = KVM_ITE.bytes
"""Size of every table entry of ITS table ABI revision 0."""
_ENTRY_SHIFT = ENTRY_BYTES.bit_length() - 1


def read_u8(memory: GuestMemory, address: int, what: str) -> int:
    """The byte at `address`; `what` names it in the KvmError EFAULT."""
    offset = address - memory.base
    if not 0 <= offset < memory.size:
        raise outside(address, what)
    return int(memory.octets[offset])


def write_entry(memory: GuestMemory, address: int, value: int, what: str) -> None:
    """Store a table entry. KvmError EFAULT outside RAM."""
    try:
        memory.write_u64(address, value)
    except ExternalAbort as abort:
        raise outside(address, what) from abort


def entries_inside(memory: GuestMemory, base: int, count: int) -> tuple[int, NDArray[np.uint64]]:
    """Those entries of a table of `count` at `base`, 8-byte aligned, that lie in RAM: the number of the first, and all.

    The entries are uint64 [n], guest RAM itself.
    """
    first = max(memory.base - base, 0) // ENTRY_BYTES
    end = max(min(count, (memory.end - base) // ENTRY_BYTES), first)
    start = (base - memory.base) // ENTRY_BYTES
    return first, memory.words[start + first : start + end]


def readable_entries(memory: GuestMemory, base: int, count: int) -> NDArray[np.uint64]:
    """The entries, uint64, of a table of `count` up to the end of RAM: a walk need not come as far as the missing ones.

    Empty if the table starts outside RAM.
    """
    first, words = entries_inside(memory, base, count)
    return words[: 0 if first else len(words)]


def inside_before_fault(memory: GuestMemory, addresses: NDArray[np.integer]) -> int:
    """How many of the addresses, int64 [n], come before the first one outside RAM."""
    outside_ram = np.flatnonzero((addresses < memory.base) | (addresses >= memory.end))
    return int(outside_ram[0]) if len(outside_ram) else len(addresses)


def write_entries(memory: GuestMemory, addresses: NDArray[np.int64], words: NDArray[np.uint64], what: str) -> None:
    """Store entries `words`, uint64 [n], at 8-byte aligned addresses, one after the other.

    KvmError EFAULT at the first one outside RAM, after those before it are stored.
    """
    count = inside_before_fault(memory, addresses)
    memory.words[addresses[:count] - memory.base >> _ENTRY_SHIFT] = words[:count]
    memory.page_state[(addresses[:count] - memory.base) // PAGE_BYTES] = STORED
    if count < len(addresses):
        raise outside(int(addresses[count]), what)


def outside(address: int, what: str) -> KvmError:
    """The error of an access outside guest RAM."""
    return KvmError("EFAULT", f"{what} at {address:#x} is outside guest RAM")
