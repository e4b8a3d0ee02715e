# SPDX-License-Identifier: Apache-2.0
"""What is pending, what comes first, residency, doorbells and vSGIs: what commands and messages act on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from gicmodel.config import CPUS_PER_CLUSTER, GicConfig
from gicmodel.spec.state import (
    DISABLED_VSGI,
    FIRST_LPI,
    FIRST_SPI,
    NO_DOORBELL,
    SPURIOUS,
    Bank,
    Event,
    Its,
    Lpi,
    Redistributor,
    Residency,
    Vlpi,
    Vpe,
    Vpt,
    new_pe,
)

BOTH_GROUPS = frozenset({0, 1})


class Interrupts:
    """All ITSs' mappings, redistributors and CPU interfaces.

    `devices`, `collections` and `vpe_limit` are how many IDs the tables hold. `itts` has what each ITT, named by its
    address, maps. `configuration` and `virtual_configuration[vconf]` hold configuration bytes by INTID; a byte never
    written is 0.
    """

    def __init__(self, config: GicConfig, devices: int, collections: int, vpes: int) -> None:
        self.config = config
        self.devices = min(devices, 2**config.device_id_bits)
        self.collections = min(collections, 2**config.collection_id_bits)
        self.vpe_limit = min(vpes, 2**config.vpe_id_bits)
        self.itts: dict[int, dict[int, Event]] = defaultdict(dict)
        self.its = [Its() for _ in range(config.its)]
        self.redistributors = [Redistributor() for _ in range(config.redistributors)]
        self.vpes: dict[int, Vpe] = {}
        """vPEs that exist in the vPE configuration table (GICv4.1)."""
        self.vpts: dict[int, Vpt] = defaultdict(Vpt)
        self.configuration: dict[int, int] = {}
        self.virtual_configuration: dict[int, dict[int, int]] = defaultdict(dict)
        self.lpi_bits = config.intid_bits
        """Width that GICR_PROPBASER.IDbits leaves; LPIs beyond it do not exist."""
        self.groups: set[int] = set()
        """Those that GICD_CTLR enables."""
        self.sgis_without_active_state = False
        """GICD_CTLR.nASSGIreq."""
        self.spis = Bank(range(FIRST_SPI, FIRST_SPI + config.spis), edge=set())
        self.pes = [new_pe(config.list_registers) for _ in range(config.redistributors)]

    # SGIs, PPIs and SPIs.

    def bank_of(self, pe: int, intid: int) -> Bank:
        """Where an SGI, PPI or SPI is, as the PE sees it."""
        return self.pes[pe].bank if intid < FIRST_SPI else self.spis

    def pe_of(self, aff3: int, aff2: int, aff1: int, aff0: int) -> int | None:
        """The PE of an affinity, or None."""
        pe = aff1 * CPUS_PER_CLUSTER + aff0
        return pe if aff3 == aff2 == 0 and aff0 < CPUS_PER_CLUSTER and pe < len(self.pes) else None

    def redistributor(self, rdbase: int) -> int | None:
        """The redistributor that an RDbase field names, or None."""
        if self.config.pta:
            offset = rdbase * 2**16 - self.config.redistributor_base
            number, rest = divmod(offset, self.config.redistributor_stride)
            return number if rest == 0 and 0 <= number < self.config.redistributors else None
        return rdbase if rdbase < self.config.redistributors else None

    # Configuration.

    def set_configuration(self, intid: int, byte: int) -> None:
        """Write the LPI configuration byte of `intid`."""
        self.configuration[intid] = byte

    def set_virtual_configuration(self, vconf: int, vintid: int, byte: int) -> None:
        """Write the vLPI configuration byte of `vintid` in the table at address `vconf`."""
        self.virtual_configuration[vconf][vintid] = byte

    def invalidate_virtual(self, vpeid: int, vintid: int | None = None) -> None:
        """GICR_INVLPIR with V=1, or without `vintid` GICR_INVALLR with V=1."""
        if vpeid in self.vpes:
            self.reconsider(self.vpes[vpeid], None if vintid is None else {vintid})

    # Either kind.

    def arrive(self, target: Lpi | Vlpi) -> None:
        """An event reaches its target: INT, or a device's write of GITS_TRANSLATER."""
        match target:
            case Lpi(redistributor, intid):
                self.set_lpi(redistributor, intid)
            case Vlpi(vpe, vintid, doorbell):
                self.set_virtual(vpe, vintid, doorbell)

    def clear(self, target: Lpi | Vlpi) -> None:
        """CLEAR or DISCARD reaches the event's target."""
        match target:
            case Lpi(redistributor, intid):
                self.clear_lpi(redistributor, intid)
            case Vlpi(vpe, vintid):
                self.clear_virtual(vpe, vintid)

    # Physical LPIs.

    def enable_lpis(self, rd: int, enable: bool = True, ptz: bool = False) -> None:
        """Write GICR_CTLR.EnableLPIs. `ptz`: GICR_PENDBASER.PTZ promised that the pending table is zero.

        With GICR_CTLR.CES=0 it stays 1. Open: with EnableLPIs=0 the pending table keeps what it has, and LPIs that
        arrive or are cleared are ignored.
        """
        redistributor = self.redistributors[rd]
        if ptz and enable and not redistributor.enabled:
            redistributor.pending.clear()
        redistributor.enabled = enable or (redistributor.enabled and not self.config.ces)

    def is_lpi(self, intid: int) -> bool:
        """Whether an INTID is an LPI that this implementation has."""
        return FIRST_LPI <= intid < 1 << self.config.intid_bits

    def set_lpi(self, rd: int, intid: int) -> None:
        """An LPI arrives at a redistributor, from an ITS, a doorbell or GICR_SETLPIR."""
        redistributor = self.redistributors[rd]
        if redistributor.enabled and FIRST_LPI <= intid < 2 ** min(self.lpi_bits, self.config.intid_bits):
            redistributor.pending.add(intid)

    def clear_lpi(self, rd: int, intid: int) -> None:
        """CLEAR, DISCARD or GICR_CLRLPIR reaches a redistributor."""
        redistributor = self.redistributors[rd]
        if redistributor.enabled:
            redistributor.pending.discard(intid)

    def move_lpis(self, source: int, target: int, intids: Iterable[int]) -> None:
        """Move what is pending of `intids` between redistributors.

        Open: nothing moves into or out of a redistributor with EnableLPIs=0.
        """
        old, new = self.redistributors[source], self.redistributors[target]
        if source != target and old.enabled and new.enabled:
            moved = old.pending & set(intids)
            old.pending -= moved
            new.pending |= moved

    def pending(self, rd: int) -> set[int]:
        """INTIDs of the LPIs that are pending at a redistributor, enabled or not."""
        return set(self.redistributors[rd].pending)

    def highest(self, rd: int) -> int:
        """The LPI that a redistributor offers: pending, enabled, of the lowest priority value; else SPURIOUS.

        To a PE that sleeps it offers none. Open: of equal priorities the lowest INTID is first; so it is for vLPIs and
        vSGIs.
        """
        redistributor = self.redistributors[rd]
        if not redistributor.enabled or redistributor.asleep:
            return SPURIOUS
        candidates = [
            (priority_of(self.configuration[intid]), intid)
            for intid in redistributor.pending
            if is_enabled(self.configuration.get(intid, 0))
        ]
        return min(candidates, default=(0, SPURIOUS))[1]

    def acknowledge(self, rd: int) -> int:
        """Take the highest pending LPI, whatever the CPU interface thinks of it."""
        intid = self.highest(rd)
        self.redistributors[rd].pending.discard(intid)
        return intid

    # Virtual interrupts.

    def set_virtual(self, vpe: Vpe, vintid: int, doorbell: int = NO_DOORBELL) -> None:
        """A vLPI or vSGI arrives for a vPE. `doorbell`: the event's individual doorbell."""
        residency = self.residency(vpe)
        if residency is not None and vintid >= 2**residency.vintid_bits:
            return
        pending = self.vpts[vpe.vpt].pending
        becomes_pending = vintid not in pending
        pending.add(vintid)
        if residency is not None:
            return
        if becomes_pending or self.config.individual_doorbell == "every":
            self.set_lpi(vpe.redistributor, doorbell)
        if becomes_pending:
            self.reconsider(vpe, {vintid})

    def clear_virtual(self, vpe: Vpe, vintid: int) -> None:
        """CLEAR, DISCARD or VSGI Clear=1 reaches the vPE."""
        residency = self.residency(vpe)
        if residency is None or vintid < 2**residency.vintid_bits:
            self.vpts[vpe.vpt].pending.discard(vintid)

    def reconsider(self, vpe: Vpe, vintids: set[int] | None = None) -> None:
        """Ring the default doorbell if it is armed and one of `vintids` (None: any) is pending and enabled.

        Open: enabled is by its byte or VSGI configuration, and by its group at the last residency. It rings once, also
        when an invalidation or VSGI finds one pending, and counts as rung where it is discarded: INTID 1023, or
        EnableLPIs=0.
        """
        ready = {vintid for _, vintid in self.deliverable(vpe)}
        if vpe.armed and (ready if vintids is None else ready & vintids):
            vpe.armed = False
            self.set_lpi(vpe.redistributor, vpe.default_doorbell)

    def deliverable(self, tables: Vpe | Residency) -> list[tuple[int, int]]:
        """(priority, vINTID) of what is pending, enabled by itself and by its group, and within the table."""
        return [
            (priority, vintid)
            for vintid in self.vpts[tables.vpt].pending
            for enable, priority, group in [self.virtual_properties(tables, vintid)]
            if enable and group in tables.groups and vintid < 2**tables.vintid_bits
        ]

    def virtual_properties(self, tables: Vpe | Residency, vintid: int) -> tuple[bool, int, int]:
        """Enable, priority and group of a vLPI, which is virtual Group 1, or a vSGI."""
        if vintid < FIRST_LPI:
            vsgi = self.vpts[tables.vpt].vsgis.get(vintid, DISABLED_VSGI)
            return vsgi.enable, vsgi.priority, vsgi.group
        byte = self.virtual_configuration[tables.vconf].get(vintid, 0)
        return is_enabled(byte), priority_of(byte), 1

    def highest_virtual(self, rd: int) -> int:
        """The most urgent interrupt of the resident vPE, of either group that is enabled; else SPURIOUS."""
        residency = self.redistributors[rd].residency
        if residency is None:
            return SPURIOUS
        return min(self.deliverable(residency), default=(0, SPURIOUS))[1]

    def acknowledge_virtual(self, rd: int) -> int:
        """Take the highest pending interrupt of the resident vPE, whatever the virtual CPU interface thinks of it."""
        vintid = self.highest_virtual(rd)
        if residency := self.redistributors[rd].residency:
            self.vpts[residency.vpt].pending.discard(vintid)
        return vintid

    def pending_vsgis(self, vpeid: int) -> set[int]:
        """GICR_VSGIPENDR after a query of `vpeid`."""
        vpe = self.vpes.get(vpeid)
        return set() if vpe is None else {vintid for vintid in self.vpts[vpe.vpt].pending if vintid < 16}

    # Residency.

    def residency(self, vpe: Vpe) -> Residency | None:
        """The residency of a vPE: by vPEID on any redistributor (GICv4.1), by VPT on its own (GICv4.0)."""
        if self.config.architecture == "4.0":
            residency = self.redistributors[vpe.redistributor].residency
            return residency if residency is not None and residency.vpt == vpe.vpt else None
        residencies = (redistributor.residency for redistributor in self.redistributors)
        return next((one for one in residencies if one is not None and one.vpeid == vpe.vpeid), None)

    def share_tables(self, one: int, other: int) -> bool:
        """Whether two redistributors are of one CommonLPIAff group; only Aff1 tells any apart."""
        return self.config.common_lpi_aff < 3 or one // CPUS_PER_CLUSTER == other // CPUS_PER_CLUSTER

    def schedule(self, rd: int, vpeid: int, groups: frozenset[int] = BOTH_GROUPS) -> bool:
        """GICv4.1: write GICR_VPENDBASER with Valid=1. Returns Valid as it then reads.

        Open: it reads as 0 for a vPEID that is out of range, unmapped, mapped to another CommonLPIAff group, or
        resident elsewhere.
        """
        vpe = self.vpes.get(vpeid)
        if vpe is None or self.residency(vpe) is not None or not self.share_tables(rd, vpe.redistributor):
            return False
        vpe.groups = groups
        vpe.armed = False
        self.clear_lpi(vpe.redistributor, vpe.default_doorbell)
        self.redistributors[rd].residency = Residency(vpe.vpt, vpe.vconf, vpe.vintid_bits, groups, vpeid)
        return True

    def schedule_v40(self, rd: int, vpt: int, vconf: int, vintid_bits: int) -> None:
        """GICv4.0 (no group enables): write GICR_VPROPBASER (`vconf`, IDbits), and GICR_VPENDBASER with Valid=1."""
        bits = min(vintid_bits, self.config.intid_bits)
        self.redistributors[rd].residency = Residency(vpt, vconf, bits, BOTH_GROUPS, None)

    def deschedule(self, rd: int, doorbell: bool = False, pending_last: bool = False) -> bool:
        """Write GICR_VPENDBASER with Valid=0. Returns PendingLast as it then reads; in GICv4.1 written 1 it stays 1."""
        residency = self.redistributors[rd].residency
        if residency is None:
            raise ValueError(f"redistributor {rd} has no resident vPE")
        self.redistributors[rd].residency = None
        if pending_last and residency.vpeid is not None:
            return True
        waiting = bool(self.deliverable(residency))
        if residency.vpeid is not None:
            self.vpes[residency.vpeid].armed = doorbell and not waiting
        return waiting


def is_enabled(byte: int) -> bool:
    """Enable of a configuration byte."""
    return byte % 2 == 1


def priority_of(byte: int) -> int:
    """Priority of a configuration byte: a multiple of four; lower is more urgent."""
    return byte - byte % 4
