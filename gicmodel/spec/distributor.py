# SPDX-License-Identifier: Apache-2.0
"""SGIs, PPIs and SPIs: their registers, their inputs, and how they are made pending, active and inactive.

The registers of SPIs are the distributor's, those of SGIs and PPIs are the redistributor's. There is one Security state
(GICD_CTLR.DS = 1), affinity routing is always enabled, and there are no NMIs, so that GICD_IGRPMODR<n>, GICD_NSACR<n>
and GICD_INMIR<n> are RAZ/WI.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from gicmodel.spec.priorities import implemented
from gicmodel.spec.state import FIRST_PPI, Bank

Read = Callable[[Bank, range], int]
Write = Callable[[Bank, range, int], None]


def chosen(bank: Bank, intids: range, value: int) -> set[int]:
    """The INTIDs whose bits are set, of those that the bank has."""
    return {intid for bit, intid in enumerate(intids) if value >> bit & 1 and intid in bank.intids}


def write_igroupr(bank: Bank, intids: range, value: int) -> None:
    """Set the group of each."""
    bank.group1 = bank.group1 - set(intids) | chosen(bank, intids, value)


def bits(among: str) -> Read:
    """A register reads as those of a set of the bank."""
    return lambda bank, intids: sum(1 << intid - intids.start for intid in getattr(bank, among).intersection(intids))


def set_bits(among: str) -> Write:
    """A write adds to a set of the bank: enables some, makes some pending or active.

    A level-sensitive one that is made pending stays so although its input is low.
    """
    return lambda bank, intids, value: getattr(bank, among).update(chosen(bank, intids, value))


def clear_bits(among: str) -> Write:
    """A write takes from a set of the bank. A level-sensitive one whose input is high stays pending."""
    return lambda bank, intids, value: getattr(bank, among).difference_update(chosen(bank, intids, value))


def read_ipriorityr(bank: Bank, intids: range) -> int:
    """The priorities, a byte each."""
    return sum(bank.priorities[intid] << 8 * place for place, intid in enumerate(intids) if intid in bank.intids)


def write_ipriorityr(bank: Bank, intids: range, value: int) -> None:
    """Set the priorities."""
    for place, intid in enumerate(intids):
        if intid in bank.intids:
            bank.priorities[intid] = implemented(value >> 8 * place & 0xFF)


def read_icfgr(bank: Bank, intids: range) -> int:
    """Two bits each, of which the upper says edge-triggered."""
    return sum(2 << 2 * (intid - intids.start) for intid in bank.edge.intersection(intids))


def write_icfgr(bank: Bank, intids: range, value: int) -> None:
    """Make each edge-triggered or level-sensitive; SGIs always are edge-triggered.

    Open: what is pending by an edge stays so, and an input that is high is no edge.
    """
    for place, intid in enumerate(intids):
        if intid >= FIRST_PPI and intid in bank.intids:
            is_edge = bool(value >> 2 * place + 1 & 1)
            bank.edge = bank.edge | {intid} if is_edge else bank.edge - {intid}


class Kind(NamedTuple):
    """A register for each `intids` INTIDs."""

    intids: int
    read: Read
    write: Write


REGISTERS = {
    "IGROUPR": Kind(32, bits("group1"), write_igroupr),
    "ISENABLER": Kind(32, bits("enabled"), set_bits("enabled")),
    "ICENABLER": Kind(32, bits("enabled"), clear_bits("enabled")),
    "ISPENDR": Kind(32, bits("pending"), set_bits("latched")),
    "ICPENDR": Kind(32, bits("pending"), clear_bits("latched")),
    "ISACTIVER": Kind(32, bits("active"), set_bits("active")),
    "ICACTIVER": Kind(32, bits("active"), clear_bits("active")),
    "IPRIORITYR": Kind(4, read_ipriorityr, write_ipriorityr),
    "ICFGR": Kind(16, read_icfgr, write_icfgr),
}
"""The registers GICR_<name><n> of INTIDs below 32, and GICD_<name><n>, in which those are RES0 (affinity routing)."""


def read(bank: Bank, name: str, number: int) -> int:
    """Register `number` of a name; INTIDs that the bank does not have read as zero."""
    kind = REGISTERS[name]
    return kind.read(bank, range(number * kind.intids, (number + 1) * kind.intids))


def write(bank: Bank, name: str, number: int, value: int) -> None:
    """Write register `number` of a name; INTIDs that the bank does not have ignore it."""
    kind = REGISTERS[name]
    kind.write(bank, range(number * kind.intids, (number + 1) * kind.intids), value)


# What happens to an interrupt.


def set_line(bank: Bank, intid: int, level: bool) -> None:
    """The input of a PPI or SPI rises or falls. An edge is a rise."""
    if level and intid not in bank.high and intid in bank.edge:
        bank.latched.add(intid)
    bank.high = bank.high | {intid} if level else bank.high - {intid}


def set_by_message(bank: Bank, intid: int, pending: bool) -> None:
    """A message for an SPI, or that one is taken back. Open: of a level-sensitive one it is the input."""
    if intid in bank.edge:
        bank.latched = bank.latched | {intid} if pending else bank.latched - {intid}
    else:
        set_line(bank, intid, pending)


def acknowledge(bank: Bank, intid: int, *, becomes_active: bool = True) -> None:
    """A PE takes it: it is active, and no longer pending unless its input is still high."""
    bank.latched.discard(intid)
    if becomes_active:
        bank.active.add(intid)


def deactivate(bank: Bank, intid: int) -> None:
    """Software has dealt with it."""
    bank.active.discard(intid)
