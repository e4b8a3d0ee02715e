# SPDX-License-Identifier: Apache-2.0
"""Hardware and oracle driven together: each method does one thing to both and compares what it returns.

What makes no sense at the moment, such as the end of a residency where there is none, does nothing on either side. So
any part of a sequence of such steps is a sequence too, which is what shrinking needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from gicmodel.config import GicConfig
from gicmodel.fuzzing.peers import interrupts
from gicmodel.fuzzing.peers.peer import HardwareComparison, agree
from gicmodel.fuzzing.programs.program import CommandWords, Event
from gicmodel.fuzzing.programs.universe import Universe, command_of, words
from gicmodel.hardware import error_name
from gicmodel.hardware.lines import Line
from gicmodel.lab.geometry import Geometry
from gicmodel.lab.lab import booted
from gicmodel.layouts.commands import COMMAND_BYTES
from gicmodel.spec import AbstractGic, Syndrome
from gicmodel.spec.state import Command, Vpe

GROUPS = (0, 1)


class Pair(HardwareComparison):
    """A booted `Lab` and an oracle in the same state: ITSs and LPIs are enabled, nothing is mapped.

    Every method raises Divergence where the two do not agree. `its` and `rd` are numbers that the machine has.
    """

    def __init__(self, config: GicConfig, geometry: Geometry, oracle_class: type[AbstractGic] = AbstractGic) -> None:
        self.config = config
        self.lab = booted(config, geometry)
        self.universe = Universe.of(config, self.lab.placement)
        self.oracle = oracle_class(config, self.universe.devices, self.universe.collections, self.universe.vpes)
        for number in range(config.redistributors):
            self.oracle.enable_lpis(number)
        for its in self.oracle.its:
            its.enabled = True
        self.outcomes = self.oracle.outcomes

        self._harmless: Command = ("SYNC", {"RDbase": config.rdbase(0)})
        self._harmless_words = words(self._harmless, config.architecture)
        self.told: list[set[str]] = [set() for _ in range(config.redistributors)]
        """The lines that each PE has been told are asserted,"""
        self.lines: list[set[str]] = [set() for _ in range(config.redistributors)]
        """and those that the oracle has last said are."""
        self.agreed_on: bytes | None = None
        """The state of the hardware's interrupts and interfaces for which all registers agreed, if no event was since.

        ITS commands and messages are none of `interrupts.DOES`.
        """
        self.lab.gic.on_line(self._tell)

    def _tell(self, pe: int, line: Line, level: bool) -> None:
        name = line.name
        if level == (name in self.told[pe]):
            agree(f"{name} of {pe} before it changes to {level}", level, not level)
        self.told[pe] ^= {name}

    def perform(self, event: Event) -> None:
        """Do to both what an event says."""
        if does := interrupts.DOES.get(event.verb):
            self.agreed_on = None
            does(self, *event.values)
        else:
            getattr(self, event.verb)(*event.values)

    # Commands.

    def push(self, its: int, encoded: Sequence[CommandWords]) -> None:
        """Write commands into the queue, as many as it has room for, and CWRITER for each part that fits."""
        left = list(encoded)
        while left and (room := self.lab.queue_slots - 1 - len(self.oracle.its[its].waiting)):
            batch, left = left[:room], left[room:]
            self.lab.push(its, batch)
            self.oracle.submit(its, *(command_of(each, self.config.architecture) for each in batch))
            self.agree_on_errors()

    def retry(self, its: int, replace: int) -> None:
        """Write CWRITER.Retry, whether the queue is stalled or not; `replace`: put SYNC where it is stalled."""
        self.lab.retry(its, self._harmless_words if replace else None)
        self.oracle.retry(its, *([self._harmless] if replace else []))
        self.agree_on_errors()

    def recover(self, its: int) -> None:
        """Replace each command that stalls by a harmless one, until the queue is empty."""
        while self.oracle.its[its].stalled and self.oracle.its[its].enabled:
            self.retry(its, replace=1)

    def enable_its(self, its: int, enable: int) -> None:
        """Write GITS_CTLR.Enabled."""
        self.oracle.its[its].enabled = bool(enable)
        self.lab.enable_its(its, bool(enable))
        self.oracle.run(its)
        self.agree_on_errors()

    def agree_on_errors(self) -> None:
        """Both have met the same command errors, at the same places of the queues."""
        seen = [(error.its, error.offset, error.number) for error in self.lab.take_errors()]
        expected = [
            (its, place % self.lab.queue_slots * COMMAND_BYTES, number) for its, place, number in self.oracle.failures
        ]
        self.oracle.failures.clear()
        if seen == expected:
            return
        hardware, oracle = next(both for both in zip_longest(seen, expected) if both[0] != both[1])
        agree(error_name((hardware or oracle)[-1]), _described(hardware), _described(oracle))

    def allocate(self, its: int, index: int, rd: int, doorbell: int) -> None:
        """Zero the VPT of a vPEID that is not in use, and map the vPE with VMAPP.PTZ = 1."""
        universe = self.universe
        if not self.config.v41 or index >= len(universe.vpeids) or universe.vpeids[index] in self.oracle.vpes:
            return
        self.lab.zero_vpt(universe.vpts[index])
        self.oracle.vpts.pop(universe.vpts[index], None)
        size = {"VPT_size": self.config.intid_bits - 1, "Default_Doorbell": doorbell, "RDbase": self.config.rdbase(rd)}
        mapped = {"vPEID": universe.vpeids[index], "V": 1, "Alloc": 1, "PTZ": 1, **size}
        self.push(its, [words(universe.tie("VMAPP", mapped), self.config.architecture)])

    # Interrupts from outside.

    def translate(self, its: int, device_id: int, event_id: int) -> None:
        """A device writes GITS_TRANSLATER; the syndrome is what GITS_STATUSR shows."""
        expected = self.oracle.translate(its, device_id, event_id)
        told = self.config.umsi and self.oracle.its[its].enabled and expected is not Syndrome.FORWARDED
        agree("syndrome", self.lab.translate(its, device_id, event_id), int(expected) if told else None)

    def write_sgir(self, its: int, vpeid: int, vintid: int) -> None:
        """Write GITS_SGIR."""
        if self.config.v41:
            self.lab.write_sgir(its, vpeid, vintid)
            self.oracle.write_sgir(its, vpeid, vintid)

    def set_lpi(self, rd: int, intid: int) -> None:
        """Write GICR_SETLPIR."""
        if self.config.direct_lpi:
            self.lab.redistributors[rd].write("GICR_SETLPIR", intid)
            self.oracle.set_lpi(rd, intid)

    def clear_lpi(self, rd: int, intid: int) -> None:
        """Write GICR_CLRLPIR."""
        if self.config.direct_lpi:
            self.lab.redistributors[rd].write("GICR_CLRLPIR", intid)
            self.oracle.clear_lpi(rd, intid)

    # Configuration.

    def configure(self, intid: int, byte: int) -> None:
        """Write an LPI's configuration byte, and invalidate it."""
        self.lab.set_configuration(intid, byte)
        self.oracle.set_configuration(intid, byte)

    def configure_virtual(self, vconf: int, vintid: int, byte: int) -> None:
        """Write a vLPI's configuration byte into a table of the universe; what retains it is told to drop it.

        Nobody is told of lines that change with RAM alone, before the redistributor is accessed.
        """
        address = self.universe.vconfs[vconf]
        self.lab.set_virtual_configuration(address, vintid, byte)
        self.oracle.set_virtual_configuration(address, vintid, byte)
        if self.config.caching == "retain":
            for vpeid in list(self.oracle.vpes):
                self.invalidate_all(vpeid)
        for redistributor in self.lab.redistributors:
            redistributor.write("GICR_STATUSR", 0)

    def invalidate(self, vpeid: int, vintid: int) -> None:
        """Write GICR_INVLPIR with V=1 on the redistributor of a vPE that exists (GICv4.1)."""
        if vpe := self.oracle.vpes.get(vpeid):
            self._invalidate(vpe, vintid)

    def invalidate_all(self, vpeid: int) -> None:
        """Write GICR_INVALLR with V=1 on the redistributor of a vPE that exists (GICv4.1)."""
        if vpe := self.oracle.vpes.get(vpeid):
            self._invalidate(vpe, None)

    def _invalidate(self, vpe: Vpe, vintid: int | None) -> None:
        self.lab.invalidate_virtual(vpe.redistributor, vpe.vpeid, vintid)
        self.oracle.invalidate_virtual(vpe.vpeid, vintid)

    def enable_lpis(self, rd: int, enable: int, ptz: int) -> None:
        """Write GICR_CTLR.EnableLPIs. `ptz`: if that is 0 to 1, the pending table is zeroed first."""
        zeroed = bool(ptz and enable and not self.oracle.redistributors[rd].enabled)
        self.lab.enable_lpis(rd, bool(enable), zeroed)
        self.oracle.enable_lpis(rd, bool(enable), zeroed)

    def zero_itt(self, itt: int) -> None:
        """Software zeroes an ITT of the universe that no device has."""
        address = self.universe.itts[itt]
        if not any(device.itt == address for its in self.oracle.its for device in its.devices.values()):
            self.lab.zero_itt(address)
            self.oracle.itts[address].clear()

    # Residency.

    def schedule(self, rd: int, vpeid: int, vgrp0en: int, vgrp1en: int) -> None:
        """GICv4.1: make a vPE resident, if none is."""
        if self.config.v41 and self.oracle.redistributors[rd].residency is None:
            groups = frozenset(group for group, enabled in zip(GROUPS, (vgrp0en, vgrp1en), strict=True) if enabled)
            agree(f"Valid of {rd}", self.lab.schedule(rd, vpeid, groups), self.oracle.schedule(rd, vpeid, groups))

    def schedule_v40(self, rd: int, vpt: int, vconf: int, vintid_bits: int) -> None:
        """GICv4.0: make a VPT of the universe resident with a vLPI configuration table, if none is."""
        if self.config.architecture == "4.0" and self.oracle.redistributors[rd].residency is None:
            tables = self.universe.vpts[vpt], self.universe.vconfs[vconf]
            self.lab.schedule_v40(rd, *tables, vintid_bits)
            self.oracle.schedule_v40(rd, *tables, vintid_bits)

    def deschedule(self, rd: int, doorbell: int, pending_last: int) -> None:
        """End a residency, if there is one."""
        if self.oracle.redistributors[rd].residency is not None:
            seen = self.lab.deschedule(rd, bool(doorbell), bool(pending_last))
            agree(f"PendingLast of {rd}", seen, self.oracle.deschedule(rd, bool(doorbell), bool(pending_last)))

    # Acknowledge.

    def acknowledge(self, rd: int) -> None:
        """ICC_IAR1."""
        agree(f"ICC_IAR1 of {rd}", self.lab.gic.redistributors[rd].cpu.acknowledge(), self.oracle.acknowledge(rd))

    def acknowledge_virtual(self, rd: int) -> None:
        """ICV_IAR0 and ICV_IAR1."""
        if self.config.virtual:
            seen = self.lab.gic.redistributors[rd].cpu.acknowledge_virtual()
            agree(f"ICV_IAR of {rd}", seen, self.oracle.acknowledge_virtual(rd))


def _described(error: tuple[int, int, int] | None) -> str:
    """A command error as text."""
    return "{2:#08x} at {1:#x} of ITS {0}".format(*error) if error else "no error"
