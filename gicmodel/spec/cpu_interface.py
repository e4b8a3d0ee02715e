# SPDX-License-Identifier: Apache-2.0
"""The physical CPU interface, and what the virtual one does alike: what is signalled to a PE, and the ICC_* system
registers, one function for each access.

A function gets the GIC and the PE that makes the access. Registers are given as the fields of their layouts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from gicmodel.spec import distributor
from gicmodel.spec.interrupts import BOTH_GROUPS, Interrupts, priority_of
from gicmodel.spec.priorities import NO_PLACE, PRIORITY_BITS, Interface, Pending, implemented
from gicmodel.spec.state import FIRST_LPI, FIRST_PPI, SPURIOUS, Bank, Fields, Pe

Read = Callable[[Interrupts, int], Fields]
Write = Callable[[Interrupts, int, Fields], None]


class Kind(NamedTuple):
    """What the physical and the virtual CPU interface do each in a way of its own; all else is one.

    `candidates` are what could be signalled. `take` acknowledges one of them, `end` is a write of EOIR0 or EOIR1.
    """

    prefix: str
    of: Callable[[Pe], Interface]
    candidates: Callable[[Interrupts, int], list[Pending]]
    take: Callable[[Interrupts, int, Pending], None]
    end: Callable[[Interrupts, int, int, Fields], None]
    write_dir: Write


# Which interrupt.


def highest(kind: Kind, gic: Interrupts, pe: int) -> Pending | None:
    """The highest priority pending interrupt.

    Open: of equal priorities the lowest INTID is first, and of equal ones that of the lowest list register.
    """
    return min(kind.candidates(gic, pe), default=None)


def signalled(kind: Kind, gic: Interrupts, pe: int) -> int | None:
    """The group of the interrupt that is signalled to the PE or its vPE, as FIQ (Group 0) or IRQ (Group 1)."""
    interrupt = highest(kind, gic, pe)
    return interrupt.group if interrupt and kind.of(gic.pes[pe]).signals(interrupt) else None


def candidates(gic: Interrupts, pe: int) -> list[Pending]:
    """What could be signalled to a PE: enabled, pending and not active, of a group that is enabled.

    Open: a group that the PE has disabled holds back none of the other. LPIs are Group 1, and put in order by all six
    bits that a configuration byte has for the priority. Nothing comes to a PE that sleeps (GICR_WAKER).
    """
    groups = gic.groups & gic.pes[pe].physical.groups
    if gic.redistributors[pe].asleep or not groups:
        return []
    found = [*ready(gic.pes[pe].bank), *(spi for spi in ready(gic.spis) if route(gic, spi.intid) == pe)]
    if (lpi := gic.highest(pe)) != SPURIOUS:
        found.append(Pending(priority_of(gic.configuration[lpi]), lpi, NO_PLACE, 1))
    return [interrupt for interrupt in found if interrupt.group in groups]


def ready(bank: Bank) -> list[Pending]:
    """The SGIs, PPIs or SPIs that are enabled, pending and not active."""
    return [
        Pending(bank.priorities[intid], intid, NO_PLACE, int(intid in bank.group1))
        for intid in bank.enabled & bank.pending - bank.active
    ]


def route(gic: Interrupts, intid: int) -> int | None:
    """The PE of an SPI, None if GICD_IROUTER<n> names one that is not there.

    Open: one that may go to any PE goes to the first that is awake and has enabled its group.
    """
    fields, group = gic.spis.routes[intid], int(intid in gic.spis.group1)
    if fields["Interrupt_Routing_Mode"]:
        awake = (pe for pe, redistributor in enumerate(gic.redistributors) if not redistributor.asleep)
        return next((pe for pe in awake if group in gic.pes[pe].physical.groups), None)
    return gic.pe_of(fields["Aff3"], fields["Aff2"], fields["Aff1"], fields["Aff0"])


def exists(gic: Interrupts, intid: int) -> bool:
    """Whether an INTID is one of an SGI, PPI, SPI or LPI that this GIC has."""
    return intid in gic.pes[0].bank.intids or intid in gic.spis.intids or gic.is_lpi(intid)


# Taking and ending an interrupt.


def acknowledge(kind: Kind, gic: Interrupts, pe: int, group: int) -> Fields:
    """ICC_IAR<n>_EL1, ICV_IAR<n>_EL1: take the interrupt that is signalled, if it is of this group."""
    interrupt = highest(kind, gic, pe)
    if interrupt is None or interrupt.group != group or not kind.of(gic.pes[pe]).signals(interrupt):
        return {"INTID": SPURIOUS}
    kind.take(gic, pe, interrupt)
    return {"INTID": interrupt.intid}


def take(gic: Interrupts, pe: int, interrupt: Pending) -> None:
    """It becomes active, but for LPIs, and the priority with it."""
    gic.pes[pe].physical.activate(interrupt)
    if interrupt.intid >= FIRST_LPI:
        gic.redistributors[pe].pending.discard(interrupt.intid)
    else:
        has_active_state = interrupt.intid >= FIRST_PPI or not gic.sgis_without_active_state
        bank = gic.bank_of(pe, interrupt.intid)
        distributor.acknowledge(bank, interrupt.intid, becomes_active=has_active_state)


def show_highest(kind: Kind, gic: Interrupts, pe: int, group: int) -> Fields:
    """ICC_HPPIR<n>_EL1, ICV_HPPIR<n>_EL1: the highest priority pending interrupt, if it is of this group.

    Open: whether it would be signalled does not count, neither the mask nor the running priority.
    """
    interrupt = highest(kind, gic, pe)
    return {"INTID": interrupt.intid if interrupt and interrupt.group == group else SPURIOUS}


def end(gic: Interrupts, pe: int, group: int, f: Fields) -> None:
    """ICC_EOIR<n>_EL1: drop the priority, and with EOImode=0 deactivate the interrupt.

    An INTID that is not there is ignored. Open: so is the end of an interrupt of the group that is not running, or
    while no priority is active; which interrupt had the priority that is dropped does not count.
    """
    interface = gic.pes[pe].physical
    if exists(gic, f["INTID"]) and interface.running_group() == group:
        interface.drop()
        if not interface.split:
            deactivate(gic, pe, f["INTID"])


def deactivate(gic: Interrupts, pe: int, intid: int) -> None:
    """It is no longer active; an LPI never is."""
    if exists(gic, intid) and not gic.is_lpi(intid):
        distributor.deactivate(gic.bank_of(pe, intid), intid)


def write_dir(gic: Interrupts, pe: int, f: Fields) -> None:
    """ICC_DIR_EL1: deactivate an interrupt. Open: it is ignored with EOImode=0."""
    if gic.pes[pe].physical.split:
        deactivate(gic, pe, f["INTID"])


# SGIs.


def generate(gic: Interrupts, pe: int, groups: frozenset[int], f: Fields) -> None:
    """Make an SGI pending at each target where it is of one of the groups.

    ICC_SGI0R_EL1 and, as there is no other Security state to speak of, ICC_ASGI1R_EL1 reach those of Group 0 only,
    ICC_SGI1R_EL1 those of either group, as with one Security state (Linux arch/arm64/kvm/sys_regs.c).
    """
    if f["IRM"]:
        targets = {target for target in range(len(gic.pes)) if target != pe}
    else:
        listed = (16 * f["RS"] + bit for bit in range(16) if f["TargetList"] >> bit & 1)
        named = {gic.pe_of(f["Aff3"], f["Aff2"], f["Aff1"], aff0) for aff0 in listed}
        targets = {target for target in named if target is not None}
    for target in targets:
        bank = gic.pes[target].bank
        if int(f["INTID"] in bank.group1) in groups:
            bank.latched.add(f["INTID"])


# Registers that both interfaces have, which say how interrupts are signalled.


def write_bpr(interface: Interface, group: int, f: Fields) -> None:
    """ICC_BPR<n>_EL1, ICV_BPR<n>_EL1: that of Group 1 cannot be written with CBPR=1."""
    if group == 0 or not interface.common:
        interface.set_binary_point(group, f["BinaryPoint"])


def write_pmr(interface: Interface, f: Fields) -> None:
    """ICC_PMR_EL1, ICV_PMR_EL1."""
    interface.mask = implemented(f["Priority"])


def read_ctlr(gic: Interrupts, interface: Interface) -> Fields:
    """ICC_CTLR_EL1, ICV_CTLR_EL1. INTIDs have 16 bits, or 24 where 16 are not enough.

    SGIs reach every affinity. Open: whether ICV_CTLR_EL1 says so, too, as a guest's are sent by its hypervisor.
    """
    sizes = {"RSS": 1, "A3V": 1, "IDbits": int(gic.config.intid_bits > 16), "PRIbits": PRIORITY_BITS - 1}
    return sizes | {"EOImode": int(interface.split), "CBPR": int(interface.common)}


def write_ctlr(interface: Interface, f: Fields) -> None:
    """ICC_CTLR_EL1, ICV_CTLR_EL1."""
    interface.split, interface.common = bool(f["EOImode"]), bool(f["CBPR"])


def write_igrpen(interface: Interface, group: int, f: Fields) -> None:
    """ICC_IGRPEN<n>_EL1, ICV_IGRPEN<n>_EL1."""
    interface.groups = interface.groups | {group} if f["Enable"] else interface.groups - {group}


_READS: dict[str, Callable[[Kind, Interrupts, int], Fields]] = {
    "PMR": lambda kind, gic, pe: {"Priority": kind.of(gic.pes[pe]).mask},
    "IAR0": lambda kind, gic, pe: acknowledge(kind, gic, pe, 0),
    "IAR1": lambda kind, gic, pe: acknowledge(kind, gic, pe, 1),
    "HPPIR0": lambda kind, gic, pe: show_highest(kind, gic, pe, 0),
    "HPPIR1": lambda kind, gic, pe: show_highest(kind, gic, pe, 1),
    "BPR0": lambda kind, gic, pe: {"BinaryPoint": kind.of(gic.pes[pe]).binary_point(0)},
    "BPR1": lambda kind, gic, pe: {"BinaryPoint": kind.of(gic.pes[pe]).binary_point(1)},
    "AP0R0": lambda kind, gic, pe: {"P": kind.of(gic.pes[pe]).active_register(0)},
    "AP1R0": lambda kind, gic, pe: {"P": kind.of(gic.pes[pe]).active_register(1)},
    "RPR": lambda kind, gic, pe: {"Priority": kind.of(gic.pes[pe]).running_priority()},
    "CTLR": lambda kind, gic, pe: read_ctlr(gic, kind.of(gic.pes[pe])),
    "IGRPEN0": lambda kind, gic, pe: {"Enable": int(0 in kind.of(gic.pes[pe]).groups)},
    "IGRPEN1": lambda kind, gic, pe: {"Enable": int(1 in kind.of(gic.pes[pe]).groups)},
}
_WRITES: dict[str, Callable[[Kind, Interrupts, int, Fields], None]] = {
    "PMR": lambda kind, gic, pe, f: write_pmr(kind.of(gic.pes[pe]), f),
    "EOIR0": lambda kind, gic, pe, f: kind.end(gic, pe, 0, f),
    "EOIR1": lambda kind, gic, pe, f: kind.end(gic, pe, 1, f),
    "DIR": lambda kind, gic, pe, f: kind.write_dir(gic, pe, f),
    "BPR0": lambda kind, gic, pe, f: write_bpr(kind.of(gic.pes[pe]), 0, f),
    "BPR1": lambda kind, gic, pe, f: write_bpr(kind.of(gic.pes[pe]), 1, f),
    "AP0R0": lambda kind, gic, pe, f: kind.of(gic.pes[pe]).set_active_register(0, f["P"]),
    "AP1R0": lambda kind, gic, pe, f: kind.of(gic.pes[pe]).set_active_register(1, f["P"]),
    "CTLR": lambda kind, gic, pe, f: write_ctlr(kind.of(gic.pes[pe]), f),
    "IGRPEN0": lambda kind, gic, pe, f: write_igrpen(kind.of(gic.pes[pe]), 0, f),
    "IGRPEN1": lambda kind, gic, pe, f: write_igrpen(kind.of(gic.pes[pe]), 1, f),
}
"""The registers that both interfaces have, as ICC_<name>_EL1 and ICV_<name>_EL1."""


def reads_of(kind: Kind) -> dict[str, Read]:
    """What reads of an interface's own registers return, by name."""
    return {f"{kind.prefix}_{name}_EL1": partial(read, kind) for name, read in _READS.items()}


def writes_of(kind: Kind) -> dict[str, Write]:
    """What writes of an interface's own registers do, by name."""
    return {f"{kind.prefix}_{name}_EL1": partial(write, kind) for name, write in _WRITES.items()}


PHYSICAL = Kind("ICC", lambda pe: pe.physical, candidates, take, end, write_dir)
READS: dict[str, Read] = reads_of(PHYSICAL) | {
    "ICC_SRE_EL1": lambda gic, pe: {"DIB": 1, "DFB": 1, "SRE": 1},
    "ICC_SRE_EL2": lambda gic, pe: {"Enable": 1, "DIB": 1, "DFB": 1, "SRE": 1},
}
WRITES: dict[str, Write] = writes_of(PHYSICAL) | {
    "ICC_SRE_EL1": lambda gic, pe, f: None,
    "ICC_SRE_EL2": lambda gic, pe, f: None,
    "ICC_SGI0R_EL1": lambda gic, pe, f: generate(gic, pe, frozenset({0}), f),
    "ICC_ASGI1R_EL1": lambda gic, pe, f: generate(gic, pe, frozenset({0}), f),
    "ICC_SGI1R_EL1": lambda gic, pe, f: generate(gic, pe, BOTH_GROUPS, f),
}
