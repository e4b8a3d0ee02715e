# SPDX-License-Identifier: Apache-2.0
"""State machines that drive the real hardware beside something that must agree with it.

`HardwareAgainstOracle` may be subclassed: override `configurations` to fix the machine, or add rules.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.strategies import DataObject, SearchStrategy

from gicmodel.fuzzing import tables_seen
from gicmodel.fuzzing.oracle import SPURIOUS, Oracle, Syndrome
from gicmodel.fuzzing.oracle.state import VirtualEvent, Vpe
from gicmodel.fuzzing.rig import QUEUE_SLOTS, Rig
from gicmodel.fuzzing.strategies import (
    Command,
    Words,
    commands,
    configurations,
    geometries,
    reserved_words,
    some_mapping_commands,
    unknown_words,
    valid_commands,
    words,
)
from gicmodel.hardware import GicConfig
from gicmodel.layouts.commands import COMMAND_BYTES, COMMANDS, decode_command

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


def agree(what: str, hardware: object, oracle: object) -> None:
    """Raise AssertionError, naming what differs, unless hardware and oracle say the same."""
    assert hardware == oracle, f"{what}: hardware {hardware}, oracle {oracle}"


class HardwareAgainstOracle(RuleBasedStateMachine):
    """Commands, register writes and interrupts for the hardware and the oracle; after each they must agree."""

    rig: Rig
    oracle: Oracle
    oracle_class: type[Oracle] = Oracle

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
        )

    @initialize(data=st.data())
    def boot(self, data: DataObject) -> None:
        """Boot both, and map some of the universe on each ITS."""
        config = data.draw(self.configurations(), "config")
        self.rig = Rig(config, data.draw(geometries(), "geometry"))
        universe = self.rig.universe
        self.oracle = self.oracle_class(config, universe.devices, universe.collections, universe.vpes)
        for number in range(config.redistributors):
            self.oracle.enable_lpis(number)
        for its in range(config.its):
            self.oracle.its[its].enabled = True
            self.push(its, data.draw(some_mapping_commands(universe, alloc=its == 0), f"ITS {its}"))
        for intid in universe.intids:
            self.set_configuration(intid, data.draw(CONFIGURATION_BYTES, f"LPI {intid}"))
            for vconf in self.rig.vconfs if config.virtual else ():
                self.set_virtual_configuration(vconf, intid, 0xA3)

    @property
    def config(self) -> GicConfig:
        """The configuration that was drawn."""
        return self.rig.config

    # Commands.

    @rule(data=st.data(), its=ITS_NUMBERS, recover=st.just(True) | st.booleans())
    def command(self, data: DataObject, its: int, recover: bool) -> None:
        """Push commands. `recover`: replace one that stalls by a harmless one, until the queue is empty."""
        batch = st.lists(commands(self.rig.universe), min_size=1, max_size=4)
        self.push(its, data.draw(batch, "commands"), recover)

    @precondition(lambda self: self.mapped_events())
    @rule(data=st.data(), pending=st.booleans())
    def command_for_an_event(self, data: DataObject, pending: bool) -> None:
        """Push a command that names a mapped event: most events never are, by chance. `pending`: raise it first."""
        its, device, event = data.draw(st.sampled_from(self.mapped_events()), "event")
        if pending:
            self.translate(its, device, event)
        chosen = data.draw(st.sampled_from(EVENT_COMMANDS[self.config.virtual]), "mnemonic")
        mnemonic, fields = data.draw(valid_commands(self.rig.universe, [chosen]), "command")
        self.push(its, [(mnemonic, fields | {"DeviceID": device, "EventID": event})])

    @precondition(lambda self: self.mapped_vpes())
    @rule(data=st.data())
    def command_for_a_vpe(self, data: DataObject) -> None:
        """Push a command that names a mapped vPE."""
        its, vpeid = data.draw(st.sampled_from(self.mapped_vpes()), "vPE")
        chosen = data.draw(st.sampled_from(VPE_COMMANDS[self.config.v41]), "mnemonic")
        mnemonic, fields = data.draw(valid_commands(self.rig.universe, [chosen]), "command")
        self.push(its, [(mnemonic, fields | {"vPEID": vpeid})])

    @precondition(lambda self: self.config.v41 and self.mapped_vpes())
    @rule(data=st.data(), ptz=st.booleans())
    def unmap_and_map(self, data: DataObject, ptz: bool) -> None:
        """Push VMAPP {V,Alloc} = {0,1}, look at the VPT, and map the vPE again. `ptz`: zero the VPT, and say so."""
        its, vpeid = data.draw(st.sampled_from(self.mapped_vpes()), "vPE")
        vpe = self.oracle.vpes[vpeid]
        self.push(its, [("VMAPP", {"vPEID": vpeid, "V": 0, "Alloc": 1})])
        self.vpts_agree()
        promised = ptz and vpeid not in self.oracle.vpes
        if promised:
            self.rig.zero_vpt(vpe.vpt)
            self.oracle.vpts.pop(vpe.vpt, None)
        tables = {"VPT_addr": vpe.vpt, "VPT_size": vpe.vintid_bits - 1, "VCONF_addr": vpe.vconf}
        target = {"RDbase": self.rig.universe.rdbase(vpe.redistributor), "Default_Doorbell": vpe.default_doorbell}
        self.push(its, [("VMAPP", {"vPEID": vpeid, "V": 1, "Alloc": 1, "PTZ": int(promised), **tables, **target})])

    @rule(data=st.data(), its=ITS_NUMBERS)
    def malformed_command(self, data: DataObject, its: int) -> None:
        """Push a command of an unknown opcode, or one with RES0 bits set."""
        malformed = unknown_words(self.rig.universe) | reserved_words(self.rig.universe)
        drawn = data.draw(malformed, "words")
        self.push_words(its, [drawn], [self.as_command(drawn)], recover=True)

    @rule(its=ITS_NUMBERS, replace=st.booleans())
    def retry(self, its: int, replace: bool) -> None:
        """Write CWRITER.Retry, whether the queue is stalled or not."""
        its %= self.config.its
        command = self.harmless()
        self.rig.retry(its, words(command, self.config.architecture) if replace and self.rig.stalled(its) else None)
        self.agree_on_errors(its, self.oracle.retry(its, *([command] if replace else [])))

    @rule(its=ITS_NUMBERS, seldom=SELDOM)
    def toggle_its(self, its: int, seldom: bool) -> None:
        """Change GITS_CTLR.Enabled; most often from 0 to 1."""
        its %= self.config.its
        self.oracle.its[its].enabled = not (self.oracle.its[its].enabled and seldom)
        self.rig.enable_its(its, self.oracle.its[its].enabled)
        self.agree_on_errors(its, self.oracle.run(its))

    def push(self, its: int, program: list[Command], recover: bool = True) -> None:
        """Push commands to both."""
        self.push_words(its, [words(command, self.config.architecture) for command in program], program, recover)

    def push_words(self, its: int, encoded: list[Words], program: list[Command], recover: bool) -> None:
        """Push commands given in both forms; without room for them, do nothing."""
        its %= self.config.its
        if len(self.oracle.its[its].waiting) + len(program) >= QUEUE_SLOTS:
            return
        self.rig.push(its, encoded)
        self.agree_on_errors(its, self.oracle.submit(its, *program))
        while recover and self.oracle.its[its].stalled and self.oracle.its[its].enabled:
            self.retry(its, replace=True)

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

    def as_command(self, drawn: Words) -> Command:
        """What four words mean to the oracle."""
        opcode = drawn[0] & 0xFF
        if opcode not in COMMANDS(self.config.architecture):
            return hex(opcode), {}
        return decode_command(drawn, self.config.architecture)

    def harmless(self) -> Command:
        """A command that succeeds and changes nothing."""
        return "SYNC", {"RDbase": self.rig.universe.rdbase(0)}

    def agree_on_errors(self, its: int, expected: list[int]) -> None:
        """Both have met the same command errors."""
        seen = [(where, hex(number)) for where, number in self.rig.take_errors()]
        agree("command errors", seen, [(its, hex(number)) for number in expected])

    # Interrupts from outside.

    @rule(data=st.data(), its=ITS_NUMBERS)
    def device_write(self, data: DataObject, its: int) -> None:
        """A device writes GITS_TRANSLATER."""
        universe, its = self.rig.universe, its % self.config.its
        devices, events = (*universe.device_ids, 7, universe.devices), (0, 1, 3, 8192, 1 << self.config.event_id_bits)
        anything = st.tuples(st.just(its), st.sampled_from(devices), st.sampled_from(events))
        mapped = self.mapped_events()
        self.translate(*data.draw(st.sampled_from(mapped) | anything if mapped else anything, "event"))

    def translate(self, its: int, device: int, event: int) -> None:
        """A device write for both, with the syndrome that GITS_STATUSR shows."""
        expected = self.oracle.translate(its, device, event)
        forwarded = expected is Syndrome.FORWARDED or not self.oracle.its[its].enabled
        agree("syndrome", self.rig.translate(its, device, event), None if forwarded else int(expected))

    @precondition(lambda self: self.config.direct_lpi)
    @rule(data=st.data(), rd=REDISTRIBUTORS, pending=st.booleans())
    def direct_lpi(self, data: DataObject, rd: int, pending: bool) -> None:
        """Write GICR_SETLPIR or GICR_CLRLPIR."""
        rd %= self.config.redistributors
        intid = data.draw(st.sampled_from((*self.rig.universe.intids, 8191, 1 << self.config.intid_bits)), "INTID")
        self.rig.write_redistributor(rd, "GICR_SETLPIR" if pending else "GICR_CLRLPIR", intid)
        (self.oracle.set_lpi if pending else self.oracle.clear_lpi)(rd, intid)

    @precondition(lambda self: self.config.v41)
    @rule(data=st.data(), its=ITS_NUMBERS, vintid=st.sampled_from([0, 3, 15]))
    def write_sgir(self, data: DataObject, its: int, vintid: int) -> None:
        """Write GITS_SGIR."""
        self.inject_vsgi(its % self.config.its, data.draw(self.any_vpeid(), "vPEID"), vintid)

    def inject_vsgi(self, its: int, vpeid: int, vintid: int) -> None:
        """A GITS_SGIR write for both."""
        self.rig.write_sgir(its, vpeid, vintid)
        self.oracle.write_sgir(its, vpeid, vintid)

    # Configuration.

    @rule(data=st.data(), byte=CONFIGURATION_BYTES)
    def configure(self, data: DataObject, byte: int) -> None:
        """Write an LPI's configuration byte."""
        intid = data.draw(st.sampled_from(self.rig.universe.intids), "INTID")
        self.set_configuration(intid, byte)

    @precondition(lambda self: self.config.virtual)
    @rule(data=st.data(), byte=CONFIGURATION_BYTES)
    def configure_virtual(self, data: DataObject, byte: int) -> None:
        """Write a vLPI's configuration byte."""
        vconf = data.draw(st.sampled_from(self.rig.vconfs), "VCONF_addr")
        vintid = data.draw(st.sampled_from(self.rig.universe.intids), "vINTID")
        self.set_virtual_configuration(vconf, vintid, byte)
        if self.config.caching == "retain":
            for vpe in list(self.oracle.vpes.values()):
                self.invalidate(vpe, None)

    def set_configuration(self, intid: int, byte: int) -> None:
        """Write an LPI's configuration byte for both."""
        self.rig.set_configuration(intid, byte)
        self.oracle.set_configuration(intid, byte)

    def set_virtual_configuration(self, vconf: int, vintid: int, byte: int) -> None:
        """Write a vLPI's configuration byte for both."""
        self.rig.set_virtual_configuration(vconf, vintid, byte)
        self.oracle.set_virtual_configuration(vconf, vintid, byte)

    @precondition(lambda self: self.config.v41 and self.oracle.vpes)
    @rule(data=st.data(), whole=st.booleans())
    def invalidate_virtual(self, data: DataObject, whole: bool) -> None:
        """Write GICR_INVLPIR or GICR_INVALLR with V=1 on the redistributor of a vPE."""
        vpe = self.oracle.vpes[data.draw(st.sampled_from(sorted(self.oracle.vpes)), "vPEID")]
        self.invalidate(vpe, None if whole else data.draw(st.sampled_from(self.rig.universe.intids), "vINTID"))

    def invalidate(self, vpe: Vpe, vintid: int | None) -> None:
        """Invalidate one or all of a vPE's vLPIs on both."""
        self.rig.invalidate_virtual(vpe.redistributor, vpe.vpeid, vintid)
        self.oracle.invalidate_virtual(vpe.vpeid, vintid)

    @rule(rd=REDISTRIBUTORS, seldom=SELDOM, ptz=st.booleans())
    def toggle_lpis(self, rd: int, seldom: bool, ptz: bool) -> None:
        """Change GICR_CTLR.EnableLPIs; most often from 0 to 1. `ptz`: the pending table is zeroed first."""
        rd %= self.config.redistributors
        was = self.oracle.redistributors[rd].enabled
        enable = not (was and seldom)
        self.rig.enable_lpis(rd, enable, ptz and enable and not was)
        self.oracle.enable_lpis(rd, enable, ptz)

    @rule(itt=st.integers(0, 2))
    def zero_itt(self, itt: int) -> None:
        """Software zeroes an ITT that no device has."""
        address = self.rig.itts[itt]
        if not any(device.itt == address for its in self.oracle.its for device in its.devices.values()):
            self.rig.zero_itt(address)
            self.oracle.itts[address].clear()

    # Residency.

    @precondition(lambda self: self.config.v41)
    @rule(data=st.data(), rd=REDISTRIBUTORS, groups=GROUPS)
    def schedule(self, data: DataObject, rd: int, groups: frozenset[int]) -> None:
        """Make a vPE resident, if none is."""
        self.make_resident(rd % self.config.redistributors, data.draw(self.any_vpeid(), "vPEID"), groups)

    @precondition(lambda self: self.config.v41 and self.oracle.vpes)
    @rule(data=st.data(), rd=REDISTRIBUTORS, doorbell=st.sampled_from([True, True, False]), vsgi=st.booleans())
    def sleep_and_wake(self, data: DataObject, rd: int, doorbell: bool, vsgi: bool) -> None:
        """A vPE runs, leaves, and an interrupt comes for it."""
        rd, vpeid = rd % self.config.redistributors, data.draw(st.sampled_from(sorted(self.oracle.vpes)), "vPEID")
        self.make_resident(rd, vpeid, frozenset({0, 1}))
        self.deschedule(rd, doorbell, False)
        if vsgi:
            self.inject_vsgi(0, vpeid, 3)
        for event in self.mapped_events():
            if self.target_of(*event) == vpeid:
                self.translate(*event)

    def make_resident(self, rd: int, vpeid: int, groups: frozenset[int]) -> None:
        """Write VPENDBASER with Valid=1 on both, unless it already is."""
        if self.oracle.redistributors[rd].residency is None:
            agree("Valid", self.rig.schedule(rd, vpeid, groups), self.oracle.schedule(rd, vpeid, groups))

    @precondition(lambda self: self.config.architecture == "4.0")
    @rule(data=st.data(), rd=REDISTRIBUTORS, bits=st.sampled_from([16, 14]))
    def schedule_v40(self, data: DataObject, rd: int, bits: int) -> None:
        """Make a VPT resident, if none is."""
        rd %= self.config.redistributors
        vpt, vconf = (
            data.draw(st.sampled_from(self.rig.vpts), "VPT"),
            data.draw(st.sampled_from(self.rig.vconfs), "VCONF"),
        )
        if self.oracle.redistributors[rd].residency is None:
            self.rig.schedule_v40(rd, vpt, vconf, bits)
            self.oracle.schedule_v40(rd, vpt, vconf, bits)

    @precondition(lambda self: self.config.virtual)
    @rule(rd=REDISTRIBUTORS, doorbell=st.booleans(), pending_last=st.sampled_from([False, False, True]))
    def deschedule(self, rd: int, doorbell: bool, pending_last: bool) -> None:
        """End a residency, if there is one."""
        rd %= self.config.redistributors
        if self.oracle.redistributors[rd].residency is not None:
            seen = self.rig.deschedule(rd, doorbell, pending_last)
            agree("PendingLast", seen, self.oracle.deschedule(rd, doorbell, pending_last))

    def any_vpeid(self) -> SearchStrategy[int]:
        """A vPEID that exists, if one does; or one of the universe, or the first out of range."""
        anything = st.sampled_from((*self.rig.universe.vpeids, self.oracle.vpe_limit))
        return st.sampled_from(sorted(self.oracle.vpes)) | anything if self.oracle.vpes else anything

    # Acknowledge.

    @rule(rd=REDISTRIBUTORS)
    def acknowledge(self, rd: int) -> None:
        """ICC_IAR1, where there is something to take if it is anywhere."""
        waiting = [number for number in range(self.config.redistributors) if self.oracle.highest(number) != SPURIOUS]
        rd = waiting[rd % len(waiting)] if waiting else rd % self.config.redistributors
        agree("ICC_IAR1", self.rig.gic.redistributors[rd].cpu.acknowledge(), self.oracle.acknowledge(rd))

    @precondition(lambda self: self.config.virtual)
    @rule(rd=REDISTRIBUTORS)
    def acknowledge_virtual(self, rd: int) -> None:
        """ICV_IAR, on a redistributor where a vPE is resident if there is one."""
        resident = [number for number, one in enumerate(self.oracle.redistributors) if one.residency is not None]
        rd = resident[rd % len(resident)] if resident else rd % self.config.redistributors
        seen = self.rig.gic.redistributors[rd].cpu.acknowledge_virtual()
        agree("ICV_IAR", seen, self.oracle.acknowledge_virtual(rd))

    # What must agree after every step.

    @invariant()
    def queues_agree(self) -> None:
        """CREADR and Stalled."""
        for number, its in enumerate(self.oracle.its):
            offset = its.completed % QUEUE_SLOTS * COMMAND_BYTES
            agree("CREADR", (self.rig.creadr(number), self.rig.stalled(number)), (offset, its.stalled))

    @invariant()
    def mappings_agree(self) -> None:
        """Device, collection and translation tables."""
        for number, its in enumerate(self.oracle.its):
            agree(f"devices of ITS {number}", tables_seen.devices(self.rig, number), its.devices)
            agree(f"collections of ITS {number}", tables_seen.collections(self.rig, number), its.collections)
        for itt in self.rig.itts:
            agree(f"ITT {itt:#x}", tables_seen.events(self.rig, itt), self.oracle.itts[itt])

    @invariant()
    def vpes_agree(self) -> None:
        """vPE tables."""
        for number, its in enumerate(self.oracle.its if self.config.virtual else []):
            vpes = self.oracle.vpes if self.config.v41 else its.vpes
            seen = tables_seen.vpes(self.rig, number)
            agree(
                f"vPEs of ITS {number}",
                {vpeid: self.without_groups(entry, vpeid) for vpeid, entry in seen.items()},
                {vpeid: self.without_groups(self.vpe_entry(vpe), vpeid) for vpeid, vpe in vpes.items()},
            )

    @invariant()
    def pending_tables_agree(self) -> None:
        """LPI pending tables in RAM, as far as RAM is current."""
        for rd, redistributor in enumerate(self.oracle.redistributors):
            if self.config.pending_writeback == "immediate" or not redistributor.enabled:
                seen = tables_seen.pending_bits(self.rig, self.rig.pending_tables[rd])
                agree(f"pending table of redistributor {rd}", seen, redistributor.pending)

    @invariant()
    def vpts_agree(self) -> None:
        """VPTs in RAM, as far as RAM is current: those that no vPE uses, or all."""
        used = {vpe.vpt for vpe in self.oracle.vpes.values()}
        for vpt in self.rig.vpts if self.config.virtual else []:
            if self.config.vpt_writeback == "immediate" or vpt not in used:
                seen = tables_seen.pending_bits(self.rig, vpt) | tables_seen.vsgis(self.rig, vpt)[0]
                agree(f"VPT {vpt:#x}", seen, self.oracle.vpts[vpt].pending)

    @invariant()
    def cpu_interfaces_agree(self) -> None:
        """The highest pending interrupt of each kind, and residency."""
        for rd, redistributor in enumerate(self.rig.gic.redistributors):
            agree(f"ICC_HPPIR1 of {rd}", redistributor.cpu.pending(), self.oracle.highest(rd))
            if self.config.virtual:
                agree(f"ICV_HPPIR of {rd}", redistributor.cpu.pending_virtual(), self.oracle.highest_virtual(rd))
                agree(f"Valid of {rd}", self.rig.resident(rd), self.oracle.redistributors[rd].residency is not None)

    @invariant()
    def vsgis_agree(self) -> None:
        """GICR_VSGIPENDR for each vPE, on its redistributor."""
        for vpe in list(self.oracle.vpes.values()):
            seen = self.rig.pending_vsgis(vpe.redistributor, vpe.vpeid)
            agree(f"vSGIs of {vpe.vpeid}", seen, self.oracle.pending_vsgis(vpe.vpeid))

    def vpe_entry(self, vpe: Vpe) -> dict[str, Any]:
        """The table entry that the oracle expects of a vPE."""
        entry = {"Valid": 1, "VPT_addr": vpe.vpt, "VPT_size": vpe.vintid_bits - 1, "RDbase": vpe.redistributor}
        if not self.config.v41:
            return entry
        mapped = sum(1 << number for number, its in enumerate(self.oracle.its) if vpe.vpeid in its.vpes)
        groups = {"VGrp0En": int(0 in vpe.groups), "VGrp1En": int(1 in vpe.groups), "DoorbellArmed": int(vpe.armed)}
        return (
            entry
            | groups
            | {
                "VCONF_addr": vpe.vconf,
                "Default_Doorbell": vpe.default_doorbell,
                "ITSMap": mapped,
            }
        )

    def without_groups(self, entry: dict[str, Any], vpeid: int) -> dict[str, Any]:
        """An entry to compare: while its vPE is resident the group enables are in the redistributor."""
        vpe = self.oracle.vpes.get(vpeid)
        if vpe is None or self.oracle.residency(vpe) is None:
            return entry
        return {name: value for name, value in entry.items() if not name.startswith("VGrp")}
