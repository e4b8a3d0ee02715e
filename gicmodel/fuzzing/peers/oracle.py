# SPDX-License-Identifier: Apache-2.0
"""The oracle as a peer: hardware on each architecture, with each policy of writing back and of caching.

Whenever one looks, both must agree on registers, tables in RAM, pending sets and residency.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from gicmodel.config import GicConfig
from gicmodel.driver.errors import DriverError
from gicmodel.errors import UnusableInput
from gicmodel.fuzzing.peers.interrupts import check_lines, check_registers
from gicmodel.fuzzing.peers.pair import Pair
from gicmodel.fuzzing.peers.peer import HardwarePeer, agree
from gicmodel.fuzzing.programs.hardware import MACHINE_CHOICES, GicMachine, draw_geometry
from gicmodel.fuzzing.programs.program import Event, Step, runs
from gicmodel.hardware.observe import pending_physical, pending_virtual
from gicmodel.lab import tables_seen
from gicmodel.layouts.commands import COMMAND_BYTES
from gicmodel.memory import ExternalAbort
from gicmodel.spec import AbstractGic
from gicmodel.spec.state import Vpe

_INTERRUPT_CHOICES = {"spis": (32, 288, 0, 960), "list_registers": (4, 1, 16), "maintenance_intid": (25, 16)}
_SMALL = {"device_id_bits": 10, "collection_id_bits": 8, "vpe_id_bits": 7, "vpt_cache_sets": 1}
_IMMEDIATE = {"vpt_writeback": "immediate", "pending_writeback": "immediate"}
_LATE = {"vpt_writeback": "unmap", "pending_writeback": "disable"}
_RETAINED = {**_LATE, "its": 1, "caching": "retain"}
_DESCHEDULED = {**_LATE, "vpt_writeback": "deschedule", "ces": False}

# See _require_judged.
POLICIES: dict[str, tuple[Mapping[str, object], ...]] = {
    "3": (_IMMEDIATE, _LATE, _RETAINED),
    "4.0": (_IMMEDIATE, {**_IMMEDIATE, "discard_unmapped": "refuse"}),
    "4.1": (_IMMEDIATE, _LATE, _DESCHEDULED, _RETAINED),
}


class AgainstOracle(Pair):
    """The hardware and an oracle, in one process."""

    def run(self, steps: Sequence[Step]) -> None:
        """After each event the lines are compared, after each run of commands CREADR and what is pending, too."""
        for step in runs(steps):
            if isinstance(step, Event):
                self.perform(step)
                check_lines(self, step)
            else:
                self.push(*step)
                self.check_queues()
                self.check_cpu_interfaces()

    def check(self) -> None:
        """Registers, tables in RAM, pending sets and residency."""
        self.check_queues()
        self.check_cpu_interfaces()
        self.check_mappings()
        self.check_vpes()
        self.check_pending_tables()
        self.check_vpts()
        self.check_vsgis()
        check_registers(self)

    def check_queues(self) -> None:
        """CREADR and Stalled."""
        for number, its in enumerate(self.oracle.its):
            offset = its.completed % self.lab.queue_slots * COMMAND_BYTES
            agree(f"CREADR of ITS {number}", (self.lab.creadr(number), self.lab.stalled(number)), (offset, its.stalled))

    def check_cpu_interfaces(self) -> None:
        """The highest pending interrupt of each kind, residency, and the lines."""
        check_lines(self)
        for rd, redistributor in enumerate(self.lab.gic.redistributors):
            agree(f"highest LPI of {rd}", redistributor.cpu.pending(), self.oracle.highest(rd))
            if self.config.virtual:
                agree(
                    f"highest vLPI or vSGI of {rd}",
                    redistributor.cpu.pending_virtual(),
                    self.oracle.highest_virtual(rd),
                )
                agree(f"Valid of {rd}", self.lab.resident(rd), self.oracle.redistributors[rd].residency is not None)

    def check_mappings(self) -> None:
        """Device, collection and translation tables."""
        for number, its in enumerate(self.oracle.its):
            agree(f"devices of ITS {number}", tables_seen.devices(self.lab, number), its.devices)
            in_ram = {icid: rd for icid, rd in its.collections.items() if icid >= self.config.hcc}
            agree(f"collections of ITS {number}", tables_seen.collections(self.lab, number), in_ram)
        for itt in self.lab.placement.itts:
            agree(f"ITT {itt:#x}", tables_seen.events(self.lab, itt), self.oracle.itts[itt])

    def check_vpes(self) -> None:
        """vPE tables."""
        for number, its in enumerate(self.oracle.its if self.config.virtual else []):
            vpes = self.oracle.vpes if self.config.v41 else its.vpes
            seen = tables_seen.vpes(self.lab, number)
            agree(
                f"vPEs of ITS {number}",
                {vpeid: self._without_groups(entry, vpeid) for vpeid, entry in seen.items()},
                {vpeid: self._without_groups(self._vpe_entry(vpe), vpeid) for vpeid, vpe in vpes.items()},
            )

    def check_pending_tables(self) -> None:
        """What is pending at each redistributor, and LPI pending tables in RAM as far as RAM is current."""
        for rd, redistributor in enumerate(self.oracle.redistributors):
            agree(f"pending LPIs of {rd}", set(pending_physical(self.lab.gic, rd).tolist()), redistributor.pending)
            if self.config.pending_writeback == "immediate" or not redistributor.enabled:
                seen = tables_seen.pending_bits(self.lab, self.lab.placement.pending_tables[rd])
                agree(f"pending table of redistributor {rd}", seen, redistributor.pending)

    def check_vpts(self) -> None:
        """What is pending in each VPT, and VPTs in RAM as far as RAM is current: those that no vPE uses, or all."""
        used = {vpe.vpt: vpe.vintid_bits for vpe in self.oracle.vpes.values()}
        for vpt in self.lab.placement.vpts if self.config.virtual else []:
            bits = used.get(vpt, self.config.intid_bits)
            within = {vintid for vintid in self.oracle.vpts[vpt].pending if vintid < 1 << bits}
            agree(f"pending in VPT {vpt:#x}", set(pending_virtual(self.lab.gic, vpt, bits).tolist()), within)
            if self.config.vpt_writeback == "immediate" or vpt not in used:
                agree(f"VPT {vpt:#x}", tables_seen.pending_bits(self.lab, vpt), self.oracle.vpts[vpt].pending)

    def check_vsgis(self) -> None:
        """GICR_VSGIPENDR for each vPE, on its redistributor."""
        for vpe in list(self.oracle.vpes.values()):
            seen = self.lab.pending_vsgis(vpe.redistributor, vpe.vpeid)
            agree(f"vSGIs of {vpe.vpeid}", seen, self.oracle.pending_vsgis(vpe.vpeid))

    def _vpe_entry(self, vpe: Vpe) -> dict[str, Any]:
        """The table entry that the oracle expects of a vPE."""
        entry = {"Valid": 1, "VPT_addr": vpe.vpt, "VPT_size": vpe.vintid_bits - 1, "RDbase": vpe.redistributor}
        if not self.config.v41:
            return entry
        mapped = sum(1 << number for number, its in enumerate(self.oracle.its) if vpe.vpeid in its.vpes)
        groups = {"VGrp0En": int(0 in vpe.groups), "VGrp1En": int(1 in vpe.groups), "DoorbellArmed": int(vpe.armed)}
        tables = {"VCONF_addr": vpe.vconf, "Default_Doorbell": vpe.default_doorbell, "ITSMap": mapped}
        return entry | groups | tables

    def _without_groups(self, entry: dict[str, Any], vpeid: int) -> dict[str, Any]:
        """An entry to compare: while its vPE is resident the group enables are in the redistributor."""
        vpe = self.oracle.vpes.get(vpeid)
        if vpe is None or self.oracle.residency(vpe) is None:
            return entry
        return {name: value for name, value in entry.items() if not name.startswith("VGrp")}


class OraclePeer(HardwarePeer):
    """The dicts and sets of `gicmodel.spec`, or of a subclass that is to be tried."""

    name: ClassVar[str] = "oracle"

    def __init__(self, oracle_class: type[AbstractGic] = AbstractGic) -> None:
        self._oracle_class = oracle_class

    def machine(self, random: np.random.Generator, architecture: str) -> GicMachine:
        """One of `POLICIES`, and of the choices that every machine has."""
        return draw_machine(random, architecture)

    def start(self, machine: GicMachine) -> AgainstOracle:
        """Boot both. Raises UnusableInput for a machine that there cannot be, or that the oracle cannot judge."""
        _require_judged(machine.config)
        return boot_pair(machine, self._oracle_class)


def _require_judged(config: GicConfig) -> None:
    """Of what a GIC may keep to itself, and lose, the oracle knows what no sequence of commands can make it lose."""
    if config.architecture == "4.0" and config.vpt_writeback != "immediate":
        raise UnusableInput(
            f"the oracle cannot judge vpt_writeback={config.vpt_writeback} on GICv4.0, which may lose what it holds"
        )
    if config.caching == "retain" and config.its > 1:
        raise UnusableInput(
            f"the oracle cannot judge caching=retain with its={config.its}: each ITS may hold what another has changed"
        )


def boot_pair(machine: GicMachine, oracle_class: type[AbstractGic] = AbstractGic) -> AgainstOracle:
    """Hardware and oracle, booted. Raises UnusableInput for a machine whose tables have no room."""
    try:
        return AgainstOracle(machine.config, machine.geometry, oracle_class)
    except (DriverError, ExternalAbort, MemoryError, ValueError) as error:
        raise UnusableInput(f"a machine that fuzzing cannot have: {error}") from error


def draw_machine(random: np.random.Generator, architecture: str) -> GicMachine:
    """A small machine of one of the `POLICIES`."""
    choices: dict[str, Any] = {name: pool[int(random.integers(len(pool)))] for name, pool in MACHINE_CHOICES.items()}
    policies = POLICIES[architecture]
    policy = policies[int(random.integers(len(policies)))]
    # Random numbers of their own: what else a seed draws does not depend on them.
    apart = random.spawn(1)[0]
    choices |= {name: pool[int(apart.integers(len(pool)))] for name, pool in _INTERRUPT_CHOICES.items()}
    config = GicConfig(**(choices | _SMALL | dict(policy) | {"architecture": architecture}))
    return GicMachine(config, draw_geometry(random))


PEER = OraclePeer()
