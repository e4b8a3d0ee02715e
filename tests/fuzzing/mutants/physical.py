# SPDX-License-Identifier: Apache-2.0
"""Bugs of LPIs: the commands that map, move, clear and discard events."""

import numpy as np

from gicmodel.hardware.kernels.delivery import lpi_table
from gicmodel.hardware.kernels.errors import OK
from gicmodel.hardware.kernels.lookup import find_event, invalid_ite, lpi_target, redistributor_of
from gicmodel.hardware.kernels.pending import FIRST_LPI_WORD, pending_word, write_pending_word
from gicmodel.hardware.kernels.physical_commands import (
    DEVICE_ID,
    EVENT_ID,
    ICID,
    RDBASE,
    RDBASE2,
    SIZE,
    VALID,
    lpis_on,
)
from gicmodel.hardware.kernels.state import CONFIG
from gicmodel.hardware.kernels.tables import write_cte
from gicmodel.hardware.kernels.words import ONE, ZERO, operand
from tests.fuzzing.mutants.planting import mutant

INTID_16_BITS = np.uint64(0xFFFF)
FIRST_IDS = np.uint64(64)


@mutant("physical_commands.mapd", "Linux KVM e9649129d33d")
def stale_dte(original, m, its, packet):
    """MAPD V=0 leaves the DTE in the table"""
    return original(m, its, packet) if operand(packet, VALID) == ONE else OK


@mutant("physical_commands.mapd", "QEMU 7.2, arm_gicv3_its.c:825")
def unmapping_checks_size(original, m, its, packet):
    """MAPD V=0 with a Size that is out of range is refused, and the device stays mapped"""
    if operand(packet, SIZE) >= m.chip[CONFIG.event_id_bits]:
        return original(m, its, (*packet[:2], packet[2] | np.uint64(1 << 63), packet[3]))
    return original(m, its, packet)


@mutant("physical_commands.mapc", "QEMU 84d43d2e82, Xen vgic-v3-its.c:311")
def unmapping_checks_rdbase(original, m, its, packet):
    """MAPC V=0 with an RDbase that does not exist is refused"""
    valid = (*packet[:2], packet[2] | np.uint64(1 << 63), packet[3])
    return original(m, its, packet if redistributor_of(m, operand(packet, RDBASE)) >= 0 else valid)


@mutant("physical_commands.mapc", "VirtualBox GITSAll.cpp")
def mapping_nowhere_unmaps(original, m, its, packet):
    """MAPC V=1 with an RDbase that does not exist unmaps the collection, without an error"""
    if operand(packet, VALID) == ONE and redistributor_of(m, operand(packet, RDBASE)) < 0:
        return write_cte(m, its, operand(packet, ICID), ZERO)
    return original(m, its, packet)


@mutant("physical_commands.map_lpi", "Xen vgic-v3-its.c:699")
def remapping_is_ignored(original, m, its, packet, intid):
    """MAPTI of an event that is mapped is ignored"""
    if find_event(m, its, operand(packet, DEVICE_ID), operand(packet, EVENT_ID))[0] == OK:
        return OK
    return original(m, its, packet, intid)


@mutant("physical_commands.map_lpi", "VirtualBox GITSAll.cpp", within=8000, intid_bits=16)
def pintid_of_16_bits(original, m, its, packet, intid):
    """MAPTI takes the lower 16 bits of pINTID, so that 0x12000 is LPI 8192"""
    return original(m, its, packet, intid & INTID_16_BITS)


@mutant("lookup.is_lpi", "QEMU b87fab1c8e")
def mapi_below_8192(original, m, intid):
    """MAPI maps an event to an INTID that is no LPI"""
    return original(m, intid) or intid < FIRST_IDS


@mutant("lookup.is_lpi", "QEMU 3330241407, gem5")
def intid_1023(original, m, intid):
    """INTID 1023 is taken for an LPI"""
    return original(m, intid) or intid == np.uint64(1023)


@mutant("physical_commands.move_lpi", "Xen vgic-v3-its.c:798")
def movi_leaves_pending(original, m, old, new, intid):
    """MOVI does not move what is pending"""
    return OK


@mutant("physical_commands.movall", "gem5 gic_v3_its.cc:1275")
def movall_overwrites(original, m, its, packet):
    """MOVALL loses what is pending at its target"""
    old, new = redistributor_of(m, operand(packet, RDBASE)), redistributor_of(m, operand(packet, RDBASE2))
    if min(old, new) >= 0 and old != new and lpis_on(m, old) and lpis_on(m, new):
        write_pending_word(m, new, lpi_table(m, new), FIRST_LPI_WORD, ZERO)
    return original(m, its, packet)


@mutant("physical_commands.movall", "Linux KVM 11f4f8f3e6e0, fixed by 751f4641560b")
def movall_takes_from_all(original, m, its, packet):
    """MOVALL moves the LPIs of every redistributor, not of one"""
    reason = original(m, its, packet)
    new = redistributor_of(m, operand(packet, RDBASE2))
    for rd in range(int(m.chip[CONFIG.redistributors]) if reason == OK and lpis_on(m, new) else 0):
        if rd != new and lpis_on(m, rd):
            word = pending_word(m, rd, lpi_table(m, rd), FIRST_LPI_WORD)
            there = pending_word(m, new, lpi_table(m, new), FIRST_LPI_WORD)
            write_pending_word(m, new, lpi_table(m, new), FIRST_LPI_WORD, there | word)
            write_pending_word(m, rd, lpi_table(m, rd), FIRST_LPI_WORD, ZERO)
    return reason


@mutant("physical_commands.clear", "VirtualBox GITSAll.cpp")
def clear_does_nothing(original, m, its, packet):
    """CLEAR is not there: what is pending stays so"""
    return find_event(m, its, operand(packet, DEVICE_ID), operand(packet, EVENT_ID))[0]


@mutant("physical_commands.discard", "Linux KVM 7602ffd1d5e8")
def stale_ite(original, m, its, packet):
    """DISCARD leaves the ITE in the table"""
    reason, _, low, _ = find_event(m, its, operand(packet, DEVICE_ID), operand(packet, EVENT_ID))
    return invalid_ite(lpi_target(m, its, low)[0]) if reason == OK else reason


@mutant("physical_commands.is_unmapped", "QEMU 7.2, arm_gicv3_its.c:550")
def discard_needs_a_collection(original, reason):
    """DISCARD of an event whose collection is unmapped keeps the ITE"""
    return False


@mutant("delivery.withdraw_event", "gem5 a04da61ce1")
def discard_leaves_pending(original, m, its, low):
    """CLEAR and DISCARD unmap, but what is pending is delivered nevertheless"""
    return lpi_target(m, its, low)[0]


@mutant("physical_commands.inv", "QEMU 593a7cc2d3, a686e85d2b")
def inv_checks_nothing(original, m, its, packet):
    """INV is taken for an INVALL, and never an error"""
    return OK


@mutant("physical_commands.invall", "Xen vgic-v3-its.c:533")
def invall_of_nothing(original, m, its, packet):
    """INVALL of a collection that is not mapped is not noticed"""
    return OK
