# SPDX-License-Identifier: Apache-2.0
"""The configuration and pending tables of LPIs and vLPIs.

A configuration table has a byte for each LPI, a pending table and a virtual pending table (VPT) one bit for each INTID,
from INTID 0 (IHI0069, "LPI Configuration tables", "LPI Pending tables"). The first KiB of bits, INTIDs 0 to 8191, is
IMPLEMENTATION DEFINED. In a GICv4.1 VPT this model keeps the vSGIs there: the pending bits of vSGI 0..15 are bits 0..15
of the table, and their configuration bytes follow from byte 16.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gicmodel.layouts.declaration import RES0, RES1, Address, Flag
from gicmodel.layouts.layout import Layout

SPURIOUS = 1023
"""The INTID that says that no interrupt is pending."""
FIRST_LPI = 8192
FIRST_LPI_BYTE = FIRST_LPI // 8
ID_BITS = range(14, 25)
"""How wide INTIDs are: with fewer bits there is no LPI, and more there are not (IHI0069, "INTIDs")."""
PENDING_ALIGNMENT = 0x1_0000
"""GICR_PENDBASER and VMAPP give a pending table's address in units of this."""
VSGIS = 16
VSGI_CONFIGURATION_BYTE = 16
"""Where the configuration byte of vSGI 0 lies in a VPT; vSGI n follows n bytes on."""

WORD_SHIFT, BIT_MASK = np.uint64(6), np.uint64(63)
"""A table as 64-bit words: INTID n is bit n & BIT_MASK of word n >> WORD_SHIFT."""

IntId = TypeVar("IntId", int, NDArray[np.integer])

LPI_CONFIGURATION = Layout(
    "LPI_CONFIGURATION",
    Address("Priority", 7, 2, "Priority; its two lowest bits are zero"),
    RES1(1),
    Flag("Enable", "The LPI is enabled"),
    words=(8,),
    doc="LPI configuration table entry, at (INTID - 8192) bytes",
)

VSGI_CONFIGURATION = Layout(
    "VSGI_CONFIGURATION",
    Address("Priority", 7, 4, "Priority; its four lowest bits are zero"),
    RES0(2),
    Flag("Group", "0: virtual Group 0, 1: virtual Group 1"),
    Flag("Enable", "The vSGI is enabled"),
    words=(8,),
    doc="vSGI configuration byte, at byte 16 + n of a GICv4.1 VPT (this model's format)",
)


def byte_of(intid: IntId) -> IntId:
    """The offset in the table of the byte that holds the pending bit."""
    return intid // 8


def bit_of(intid: IntId) -> IntId:
    """The number, 0 to 7, of the pending bit in its byte."""
    return intid % 8


def intids_of(octets: NDArray[np.uint8], places: NDArray[np.integer] | None = None) -> NDArray[np.int64]:
    """The INTIDs whose bits are set in bytes of a pending table ([n]): at `places`, else its first n."""
    if places is None:
        places = np.flatnonzero(octets)
        octets = octets[places]
    byte, bit = np.nonzero(np.unpackbits(octets[:, np.newaxis], axis=1, bitorder="little"))
    return places[byte].astype(np.int64) * 8 + bit


def table_bytes(id_bits: int) -> int:
    """The size of a table for INTIDs of `id_bits` bits."""
    return (1 << id_bits) // 8
