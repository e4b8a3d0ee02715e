# SPDX-License-Identifier: Apache-2.0
"""State machines that drive the real hardware beside something that must agree with it.

`HardwareAgainstOracle` may be subclassed: override `configurations` to fix the machine, or add rules.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.strategies import DataObject, SearchStrategy

from gicmodel.config import GicConfig
from gicmodel.fuzzing.hypothesis.strategies import (
    Command,
    commands,
    configurations,
    geometries,
    reserved_words,
    some_mapping_commands,
    unknown_words,
    valid_commands,
    words,
)
from gicmodel.fuzzing.peers.agreement import check_everything, check_vpts
from gicmodel.fuzzing.peers.pair import Pair
from gicmodel.lab.rig import Rig
from gicmodel.spec import SPURIOUS, AbstractGic
from gicmodel.spec.state import VirtualEvent

GROUPS = st.frozensets(st.sampled_from([0, 1])) | st.just(frozenset({0, 1}))
CONFIGURATION_BYTES = st.sampled_from([0xA3, 0xA2, 0x13, 0xFF, 0xA1])
"""Mostly enabled: what is disabled never gets far."""
ITS_NUMBERS = st.integers(0, 15)
REDISTRIBUTORS = st.integers(0, 15)
SELDOM = st.integers(0, 3).map(lambda drawn: drawn == 0)
EVENT_COMMANDS = {
    False: ["INT", "CLEAR", "INV", "MOVI", "DISCARD"],
    True: ["INT", "CLEAR", "INV", "MOVI", "VMOVI", "DISCARD"],
}
"""Commands that name an event, by whether there are vLPIs."""
VPE_COMMANDS = {
    False: ["VSYNC", "VINVALL", "VMOVP", "VMAPP"],
    True: ["VSYNC", "VINVALL", "INVDB", "VSGI", "VMOVP", "VMAPP"],
}
"""Commands that name a vPE, by whether this is GICv4.1."""


class HardwareAgainstOracle(RuleBasedStateMachine):
    """Commands, register writes and interrupts for the hardware and the oracle; after each they must agree."""

    pair: Pair
    oracle_class: type[AbstractGic] = AbstractGic

    @staticmethod
    def configurations() -> SearchStrategy[GicConfig]:
        """The machines to drive."""
        return configurations(
            device_id_bits=10,
            collection_id_bits=8,
            vpe_id_bits=7,
            vpt_cache_sets=1,
            vpt_writeback="immediate",
            pending_writeback="immediate",
            ces=st.booleans(),
        )

    @initialize(data=st.data())
    def boot(self, data: DataObject) -> None:
        """Boot both, and map some of the universe on each ITS."""
        config = data.draw(self.configurations(), "config")
        self.pair = Pair(config, data.draw(geometries(), "geometry"), self.oracle_class)
        for its in range(config.its):
            self.push(its, data.draw(some_mapping_commands(self.pair.universe, alloc=its == 0), f"ITS {its}"))
        for intid in self.pair.universe.intids:
            self.pair.configure(intid, data.draw(CONFIGURATION_BYTES, f"LPI {intid}"))
            for vconf in range(len(self.pair.universe.vconfs) if config.virtual else 0):
                self.pair.configure_virtual(vconf, intid, 0xA3)

    @property
    def config(self) -> GicConfig:
        """The configuration that was drawn."""
        return self.pair.config

    @property
    def rig(self) -> Rig:
        """The hardware."""
        return self.pair.rig

    @property
    def oracle(self) -> AbstractGic:
        """The oracle."""
        return self.pair.oracle

    # Commands.

    @rule(data=st.data(), its=ITS_NUMBERS, recover=st.just(True) | st.booleans())
    def command(self, data: DataObject, its: int, recover: bool) -> None:
        """Push commands. `recover`: replace one that stalls by a harmless one, until the queue is empty."""
        batch = st.lists(commands(self.pair.universe), min_size=1, max_size=4)
        self.push(its, data.draw(batch, "commands"), recover)

    @precondition(lambda self: self.mapped_events())
    @rule(data=st.data(), pending=st.booleans())
    def command_for_an_event(self, data: DataObject, pending: bool) -> None:
        """Push a command that names a mapped event: most events never are, by chance. `pending`: raise it first."""
        its, device, event = data.draw(st.sampled_from(self.mapped_events()), "event")
        if pending:
            self.pair.translate(its, device, event)
        chosen = data.draw(st.sampled_from(EVENT_COMMANDS[self.config.virtual]), "mnemonic")
        mnemonic, fields = data.draw(valid_commands(self.pair.universe, [chosen]), "command")
        self.push(its, [(mnemonic, fields | {"DeviceID": device, "EventID": event})])

    @precondition(lambda self: self.mapped_vpes())
    @rule(data=st.data())
    def command_for_a_vpe(self, data: DataObject) -> None:
        """Push a command that names a mapped vPE."""
        its, vpeid = data.draw(st.sampled_from(self.mapped_vpes()), "vPE")
        chosen = data.draw(st.sampled_from(VPE_COMMANDS[self.config.v41]), "mnemonic")
        mnemonic, fields = data.draw(valid_commands(self.pair.universe, [chosen]), "command")
        self.push(its, [(mnemonic, fields | {"vPEID": vpeid})])

    @precondition(lambda self: self.config.v41 and self.mapped_vpes())
    @rule(data=st.data(), ptz=st.booleans())
    def unmap_and_map(self, data: DataObject, ptz: bool) -> None:
        """Push VMAPP {V,Alloc} = {0,1}, look at the VPT, and map the vPE again. `ptz`: zero the VPT, and say so."""
        its, vpeid = data.draw(st.sampled_from(self.mapped_vpes()), "vPE")
        vpe = self.oracle.vpes[vpeid]
        self.push(its, [("VMAPP", {"vPEID": vpeid, "V": 0, "Alloc": 1})])
        check_vpts(self.pair)
        promised = ptz and vpeid not in self.oracle.vpes
        if promised:
            self.rig.zero_vpt(vpe.vpt)
            self.oracle.vpts.pop(vpe.vpt, None)
        tables = {"VPT_addr": vpe.vpt, "VPT_size": vpe.vintid_bits - 1, "VCONF_addr": vpe.vconf}
        target = {"RDbase": self.pair.universe.rdbase(vpe.redistributor), "Default_Doorbell": vpe.default_doorbell}
        self.push(its, [("VMAPP", {"vPEID": vpeid, "V": 1, "Alloc": 1, "PTZ": int(promised), **tables, **target})])

    @rule(data=st.data(), its=ITS_NUMBERS)
    def malformed_command(self, data: DataObject, its: int) -> None:
        """Push a command of an unknown opcode, or one with RES0 bits set."""
        malformed = unknown_words(self.pair.universe) | reserved_words(self.pair.universe)
        self.pair.push(its % self.config.its, [data.draw(malformed, "words")])
        self.pair.recover(its % self.config.its)

    @rule(its=ITS_NUMBERS, replace=st.booleans())
    def retry(self, its: int, replace: bool) -> None:
        """Write CWRITER.Retry, whether the queue is stalled or not."""
        self.pair.retry(its % self.config.its, replace)

    @rule(its=ITS_NUMBERS, seldom=SELDOM)
    def toggle_its(self, its: int, seldom: bool) -> None:
        """Change GITS_CTLR.Enabled; most often from 0 to 1."""
        its %= self.config.its
        self.pair.enable_its(its, not (self.oracle.its[its].enabled and seldom))

    def push(self, its: int, program: list[Command], recover: bool = True) -> None:
        """Push commands to both."""
        its %= self.config.its
        self.pair.push(its, [words(command, self.config.architecture) for command in program])
        if recover:
            self.pair.recover(its)

    def mapped_events(self) -> list[tuple[int, int, int]]:
        """(ITS, DeviceID, EventID) of every event that is mapped."""
        return [
            (number, device_id, event)
            for number, its in enumerate(self.oracle.its)
            for device_id, device in its.devices.items()
            for event in self.oracle.itts[device.itt]
            if event < device.events
        ]

    def target_of(self, its: int, device: int, event: int) -> int | None:
        """The vPEID that a mapped event leads to, if it does."""
        entry = self.oracle.itts[self.oracle.its[its].devices[device].itt][event]
        return entry.vpeid if isinstance(entry, VirtualEvent) else None

    def mapped_vpes(self) -> list[tuple[int, int]]:
        """(ITS, vPEID) of every vPE that is mapped."""
        return [(number, vpeid) for number, its in enumerate(self.oracle.its) for vpeid in its.vpes]

    # Interrupts from outside.

    @rule(data=st.data(), its=ITS_NUMBERS)
    def device_write(self, data: DataObject, its: int) -> None:
        """A device writes GITS_TRANSLATER."""
        universe, its = self.pair.universe, its % self.config.its
        devices, events = (*universe.device_ids, 7, universe.devices), (0, 1, 3, 8192, 1 << self.config.event_id_bits)
        anything = st.tuples(st.just(its), st.sampled_from(devices), st.sampled_from(events))
        mapped = self.mapped_events()
        self.pair.translate(*data.draw(st.sampled_from(mapped) | anything if mapped else anything, "event"))

    @precondition(lambda self: self.config.direct_lpi)
    @rule(data=st.data(), rd=REDISTRIBUTORS, pending=st.booleans())
    def direct_lpi(self, data: DataObject, rd: int, pending: bool) -> None:
        """Write GICR_SETLPIR or GICR_CLRLPIR."""
        intid = data.draw(st.sampled_from((*self.pair.universe.intids, 8191, 1 << self.config.intid_bits)), "INTID")
        (self.pair.set_lpi if pending else self.pair.clear_lpi)(rd % self.config.redistributors, intid)

    @precondition(lambda self: self.config.v41)
    @rule(data=st.data(), its=ITS_NUMBERS, vintid=st.sampled_from([0, 3, 15]))
    def write_sgir(self, data: DataObject, its: int, vintid: int) -> None:
        """Write GITS_SGIR."""
        self.pair.write_sgir(its % self.config.its, data.draw(self.any_vpeid(), "vPEID"), vintid)

    # Configuration.

    @rule(data=st.data(), byte=CONFIGURATION_BYTES)
    def configure(self, data: DataObject, byte: int) -> None:
        """Write an LPI's configuration byte."""
        self.pair.configure(data.draw(st.sampled_from(self.pair.universe.intids), "INTID"), byte)

    @precondition(lambda self: self.config.virtual)
    @rule(data=st.data(), byte=CONFIGURATION_BYTES)
    def configure_virtual(self, data: DataObject, byte: int) -> None:
        """Write a vLPI's configuration byte."""
        vconf = data.draw(st.integers(0, len(self.rig.vconfs) - 1), "VCONF")
        self.pair.configure_virtual(vconf, data.draw(st.sampled_from(self.pair.universe.intids), "vINTID"), byte)

    @precondition(lambda self: self.config.v41 and self.oracle.vpes)
    @rule(data=st.data(), whole=st.booleans())
    def invalidate_virtual(self, data: DataObject, whole: bool) -> None:
        """Write GICR_INVLPIR or GICR_INVALLR with V=1 on the redistributor of a vPE."""
        vpeid = data.draw(st.sampled_from(sorted(self.oracle.vpes)), "vPEID")
        if whole:
            self.pair.invalidate_all(vpeid)
        else:
            self.pair.invalidate(vpeid, data.draw(st.sampled_from(self.pair.universe.intids), "vINTID"))

    @rule(rd=REDISTRIBUTORS, seldom=SELDOM, ptz=st.booleans())
    def toggle_lpis(self, rd: int, seldom: bool, ptz: bool) -> None:
        """Change GICR_CTLR.EnableLPIs; most often from 0 to 1. `ptz`: the pending table is zeroed first."""
        rd %= self.config.redistributors
        self.pair.enable_lpis(rd, not (self.oracle.redistributors[rd].enabled and seldom), ptz)

    @rule(itt=st.integers(0, 2))
    def zero_itt(self, itt: int) -> None:
        """Software zeroes an ITT that no device has."""
        self.pair.zero_itt(itt)

    # Residency.

    @precondition(lambda self: self.config.v41)
    @rule(data=st.data(), rd=REDISTRIBUTORS, groups=GROUPS)
    def schedule(self, data: DataObject, rd: int, groups: frozenset[int]) -> None:
        """Make a vPE resident, if none is."""
        vpeid = data.draw(self.any_vpeid(), "vPEID")
        self.pair.schedule(rd % self.config.redistributors, vpeid, 0 in groups, 1 in groups)

    @precondition(lambda self: self.config.v41 and self.oracle.vpes)
    @rule(data=st.data(), rd=REDISTRIBUTORS, doorbell=st.sampled_from([True, True, False]), vsgi=st.booleans())
    def sleep_and_wake(self, data: DataObject, rd: int, doorbell: bool, vsgi: bool) -> None:
        """A vPE runs, leaves, and an interrupt comes for it."""
        rd, vpeid = rd % self.config.redistributors, data.draw(st.sampled_from(sorted(self.oracle.vpes)), "vPEID")
        self.pair.schedule(rd, vpeid, 1, 1)
        self.pair.deschedule(rd, doorbell, 0)
        if vsgi:
            self.pair.write_sgir(0, vpeid, 3)
        for event in self.mapped_events():
            if self.target_of(*event) == vpeid:
                self.pair.translate(*event)

    @precondition(lambda self: self.config.architecture == "4.0")
    @rule(data=st.data(), rd=REDISTRIBUTORS, bits=st.sampled_from([16, 14]))
    def schedule_v40(self, data: DataObject, rd: int, bits: int) -> None:
        """Make a VPT resident, if none is."""
        vpt = data.draw(st.integers(0, len(self.rig.vpts) - 1), "VPT")
        vconf = data.draw(st.integers(0, len(self.rig.vconfs) - 1), "VCONF")
        self.pair.schedule_v40(rd % self.config.redistributors, vpt, vconf, bits)

    @precondition(lambda self: self.config.virtual)
    @rule(rd=REDISTRIBUTORS, doorbell=st.booleans(), pending_last=st.sampled_from([False, False, True]))
    def deschedule(self, rd: int, doorbell: bool, pending_last: bool) -> None:
        """End a residency, if there is one."""
        self.pair.deschedule(rd % self.config.redistributors, doorbell, pending_last)

    def any_vpeid(self) -> SearchStrategy[int]:
        """A vPEID that exists, if one does; or one of the universe, or the first out of range."""
        anything = st.sampled_from((*self.pair.universe.vpeids, self.oracle.vpe_limit))
        return st.sampled_from(sorted(self.oracle.vpes)) | anything if self.oracle.vpes else anything

    # Acknowledge.

    @rule(rd=REDISTRIBUTORS)
    def acknowledge(self, rd: int) -> None:
        """ICC_IAR1, where there is something to take if it is anywhere."""
        waiting = [number for number in range(self.config.redistributors) if self.oracle.highest(number) != SPURIOUS]
        self.pair.acknowledge(waiting[rd % len(waiting)] if waiting else rd % self.config.redistributors)

    @precondition(lambda self: self.config.virtual)
    @rule(rd=REDISTRIBUTORS)
    def acknowledge_virtual(self, rd: int) -> None:
        """ICV_IAR, on a redistributor where a vPE is resident if there is one."""
        resident = [number for number, one in enumerate(self.oracle.redistributors) if one.residency is not None]
        self.pair.acknowledge_virtual(resident[rd % len(resident)] if resident else rd % self.config.redistributors)

    @invariant()
    def everything_agrees(self) -> None:
        """Registers, tables, pending sets and residency."""
        check_everything(self.pair)
