# SPDX-License-Identifier: Apache-2.0
"""The GITS_* registers: control frame at 0, translation frame at 0x1_0000, vSGI frame at 0x2_0000 (DDI0601)."""

from collections.abc import Mapping

from gicmodel.layouts.declaration import IMPDEF, RES0, Address, Bits, Flag
from gicmodel.layouts.registers.identification import identification_registers
from gicmodel.layouts.registers.register import (
    GICV4_1,
    INNER_CACHE,
    OUTER_CACHE,
    SHAREABILITY,
    Register,
    iidr,
    mpamidr,
    numbered,
    partidr,
    register32,
    register64,
    statusr,
)

GITS_CTLR = register32(
    "GITS_CTLR",
    "ITS control",
    Flag("Quiescent", "RO: no operation is in progress and memory is up to date"),
    RES0(22),
    Flag("UMSIirq", "Interrupt when GITS_STATUSR.UMSI is set"),
    Bits("ITS_Number", 4, "Bit of VMOVP's ITSList that means this ITS (GICv4)"),
    RES0(2),
    Flag("ImDe", "IMPLEMENTATION DEFINED (GICv4)"),
    Flag("Enabled", "Commands are processed and interrupts translated"),
)
GITS_IIDR = iidr("GITS_IIDR", "ITS")
GITS_TYPER = register64(
    "GITS_TYPER",
    "ITS features and sizes",
    RES0(17),
    Flag("INV", "Clearing GITS_BASER<n>.Valid invalidates what was cached of the table"),
    Flag("UMSIirq", "GITS_CTLR.UMSIirq exists"),
    Flag("UMSI", "Unmapped MSIs are reported"),
    Flag("nID", "Individual doorbells are not supported (GICv4.1)"),
    Bits("SVPET", 2, "vPE table shared with redistributors, 0: no, 1..3: of the same Aff3, Aff3.2, Aff3.2.1 (GICv4.1)"),
    Flag("VMAPP", "VMAPP has its GICv4.1 layout"),
    Flag("VSGI", "vSGIs are supported (GICv4.1)"),
    Flag("MPAM", "Memory partitioning is supported"),
    Flag("VMOVP", "VMOVP goes to one ITS only (GICv4)"),
    Flag("CIL", "CIDbits gives the width of ICIDs, which is 16 otherwise"),
    Bits("CIDbits", 4, "Number of ICID bits, minus one"),
    Bits("HCC", 8, "Number of collections held in the ITS"),
    RES0(4),
    Flag("PTA", "RDbase is an address, not a processor number"),
    Flag("SEIS", "Errors are reported as SErrors"),
    Bits("Devbits", 5, "Number of DeviceID bits, minus one"),
    Bits("ID_bits", 5, "Number of EventID bits, minus one"),
    Bits("ITT_entry_size", 4, "Bytes of an interrupt translation table entry, minus one"),
    IMPDEF(1),
    Flag("CCT", "Collections in memory are added to those held in the ITS"),
    Flag("Virtual", "vLPIs are supported (GICv4)"),
    Flag("Physical", "Physical LPIs are supported, always 1"),
)
GITS_MPAMIDR = mpamidr("GITS_MPAMIDR", "ITS")
GITS_PARTIDR = partidr("GITS_PARTIDR", "ITS")
GITS_MPIDR = register32(
    "GITS_MPIDR",
    "Affinity that the ITS shares its vPE table with (GICv4.1)",
    Bits("Aff3", 8, "Affinity level 3"),
    Bits("Aff2", 8, "Affinity level 2"),
    Bits("Aff1", 8, "Affinity level 1"),
    RES0(8),
)
GITS_STATUSR = statusr(
    "GITS_STATUSR",
    "ITS",
    (
        RES0(22),
        Bits("Syndrome", 4, "Cause of the unmapped MSI"),
        Flag("Overflow", "Another unmapped MSI arrived while UMSI was set"),
        Flag("UMSI", "An unmapped MSI arrived"),
    ),
)
GITS_UMSIR = register64(
    "GITS_UMSIR",
    "The unmapped MSI that GITS_STATUSR reports",
    Bits("DeviceID", 32, "Its device"),
    Bits("EventID", 32, "Its event"),
)
GITS_CBASER = register64(
    "GITS_CBASER",
    "Command queue: memory",
    Flag("Valid", "The queue exists"),
    RES0(1),
    INNER_CACHE,
    RES0(3),
    OUTER_CACHE,
    RES0(1),
    Address("Physical_Address", 51, 12, "Address of the queue, aligned to 64 KiB"),
    SHAREABILITY,
    RES0(2),
    Bits("Size", 8, "Number of 4 KiB pages, minus one"),
)
GITS_CWRITER = register64(
    "GITS_CWRITER",
    "Command queue: where software writes next",
    RES0(44),
    Address("Offset", 19, 5, "Offset of the next free slot"),
    RES0(4),
    Flag("Retry", "WO: process again from the command that stalled"),
)
GITS_CREADR = register64(
    "GITS_CREADR",
    "Command queue: where the ITS reads next",
    RES0(44),
    Address("Offset", 19, 5, "Offset of the next command"),
    RES0(4),
    Flag("Stalled", "Processing stopped at a command error"),
)
GITS_BASER = register64(
    "GITS_BASER",
    "Memory of an ITS table",
    Flag("Valid", "The table exists"),
    Flag("Indirect", "0: flat, 1: two levels"),
    INNER_CACHE,
    Bits("Type", 3, "RO: 0 none, 1 devices, 2 vPEs, 4 collections"),
    OUTER_CACHE,
    Bits("Entry_Size", 5, "RO: bytes of an entry, minus one"),
    Address("Physical_Address", 47, 12, "Address of the table; with 64 KiB pages bits [15:12] hold PA[51:48]"),
    SHAREABILITY,
    Bits("Page_Size", 2, "0: 4 KiB, 1: 16 KiB, 2: 64 KiB"),
    Bits("Size", 8, "Number of pages, minus one"),
)
GITS_TRANSLATER = register32(
    "GITS_TRANSLATER",
    "Written by a device to raise an interrupt; the DeviceID comes with the write",
    Bits("EventID", 32, "Event of the device"),
)
GITS_SGIR = register64(
    "GITS_SGIR",
    "Make a vSGI pending (GICv4.1)",
    RES0(16),
    Bits("vPEID", 16, "vPE"),
    RES0(28),
    Bits("vINTID", 4, "Virtual SGI"),
)

BASERS = 8
QUEUE_ALIGNMENT = 0x1_0000
"""Bits [15:12] of the address of the command queue are zero (DDI0601 GITS_CBASER.Physical_Address)."""
QUEUE_PAGE_BYTES = 0x1000
"""What GITS_CBASER.Size counts, minus one (DDI0601)."""

ITS_REGISTERS = (
    Register("GITS_CTLR", 0x0000, "RW", GITS_CTLR, reset={"Quiescent": 1, "UMSIirq": 0, "ImDe": 0, "Enabled": 0}),
    Register("GITS_IIDR", 0x0004, "RO", GITS_IIDR),
    Register("GITS_TYPER", 0x0008, "RO", GITS_TYPER),
    Register("GITS_MPAMIDR", 0x0010, "RO", GITS_MPAMIDR),
    Register("GITS_PARTIDR", 0x0014, "RW", GITS_PARTIDR, reset={"PMG": 0, "PARTID": 0}),
    Register("GITS_MPIDR", 0x0018, "RO", GITS_MPIDR, GICV4_1),
    Register("GITS_STATUSR", 0x0040, "RW", GITS_STATUSR),
    Register("GITS_UMSIR", 0x0048, "RO", GITS_UMSIR),
    Register("GITS_CBASER", 0x0080, "RW", GITS_CBASER, reset={"Valid": 0}),
    Register("GITS_CWRITER", 0x0088, "RW", GITS_CWRITER),
    Register("GITS_CREADR", 0x0090, "RO", GITS_CREADR),
    *numbered(0x0100, GITS_BASER, range(BASERS), Valid=0),
    *identification_registers("GITS"),
    Register("GITS_TRANSLATER", 0x1_0040, "WO", GITS_TRANSLATER),
    Register("GITS_SGIR", 0x2_0020, "WO", GITS_SGIR, GICV4_1),
)


def queue_bytes(cbaser: Mapping[str, int]) -> int:
    """The size of the command queue that fields of GITS_CBASER describe."""
    return (cbaser["Size"] + 1) * QUEUE_PAGE_BYTES
