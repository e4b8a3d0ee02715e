# SPDX-License-Identifier: Apache-2.0
"""What codes in the registers that point at tables mean (DDI0601 GITS_BASER<n>; the others share most)."""

from enum import IntEnum

NON_SHAREABLE, INNER_SHAREABLE, OUTER_SHAREABLE = 0, 1, 2
"""Shareability."""
NON_CACHEABLE, RAWB, RAWAWB = 1, 3, 7
"""InnerCache: Normal memory that is not cached, or that is cached and written back."""
SAME_AS_INNER = 0
"""OuterCache."""
PAGE_SIZES = (0x1000, 0x4000, 0x1_0000, 0x1_0000)
"""Bytes of a page, by Page_Size; 3 is reserved and treated as 2."""

_HIGH_BITS, _LOW_BITS = 48, 12


class TableType(IntEnum):
    """GITS_BASER<n>.Type."""

    DEVICES = 1
    VPES = 2
    COLLECTIONS = 4


def baser_address(field: int, page_bytes: int) -> int:
    """The address that GITS_BASER<n>.Physical_Address means: with 64 KiB pages its bits [15:12] are PA[51:48]."""
    if page_bytes < PAGE_SIZES[2]:
        return field
    low = field & PAGE_SIZES[2] - 1
    return field - low | low >> _LOW_BITS << _HIGH_BITS


def baser_field(address: int, page_bytes: int) -> int:
    """GITS_BASER<n>.Physical_Address for a table at a page-aligned address; the reverse of `baser_address`."""
    if page_bytes < PAGE_SIZES[2]:
        return address
    return address & (1 << _HIGH_BITS) - 1 | address >> _HIGH_BITS << _LOW_BITS
