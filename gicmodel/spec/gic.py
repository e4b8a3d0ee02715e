# SPDX-License-Identifier: Apache-2.0
"""The abstract GIC as devices and software meet it: messages, vSGI writes and the command queues."""

from __future__ import annotations

from collections import Counter

from gicmodel.config import GicConfig
from gicmodel.layouts.commands import OPCODES
from gicmodel.spec import cpu_interface, distributor, physical, virtual, virtual_interface
from gicmodel.spec.cpu_interface import PHYSICAL, signalled
from gicmodel.spec.interrupts import Interrupts
from gicmodel.spec.lookups import find_event, find_target
from gicmodel.spec.state import (
    ROUTE,
    Command,
    Failure,
    Fields,
    Operands,
    PhysicalEvent,
    Reason,
    Refused,
    Syndrome,
)
from gicmodel.spec.virtual_interface import VIRTUAL

COMMANDS = {
    "3": physical.COMMANDS,
    "4.0": physical.COMMANDS | virtual.COMMANDS_V40,
    "4.1": physical.COMMANDS | virtual.COMMANDS_V41,
}
"""Which commands each architecture has."""

READS = cpu_interface.READS | virtual_interface.READS
WRITES = cpu_interface.WRITES | virtual_interface.WRITES
"""What accesses to each system register do."""
TAKES = {"ICC_IAR0_EL1", "ICC_IAR1_EL1", "ICV_IAR0_EL1", "ICV_IAR1_EL1"}
"""The registers whose reads change anything."""
LINES = ((PHYSICAL, ("FIQ", "IRQ")), (VIRTUAL, ("VFIQ", "VIRQ")))
"""By what a PE is told of an interrupt of Group 0, and of Group 1."""

OPCODE_OF_CLEAR_ERRORS = 0x05
"""CLEAR is opcode 0x04, but all sources number its errors 0x0105xx."""

SYNDROMES = {
    Reason.DEVICE_OOR: Syndrome.DEVICE_OOR,
    Reason.UNMAPPED_DEVICE: Syndrome.DEVICE_UNMAPPED,
    Reason.ID_OOR: Syndrome.EVENT_OOR,
    Reason.UNMAPPED_INTERRUPT: Syndrome.EVENT_UNMAPPED,
}
"""How GITS_STATUSR says why an event was not found."""


class AbstractGic(Interrupts):
    """The abstract GIC. `devices`, `collections` and `vpes` are how many IDs each ITS's tables hold (0: not valid).

    Fields of commands have the names of `layouts.commands`; one that is left out is 0. Everything starts as after
    reset: ITSs and LPIs disabled, nothing mapped.
    """

    def __init__(self, config: GicConfig, devices: int, collections: int, vpes: int = 0) -> None:
        super().__init__(config, devices, collections, vpes)
        self.tables_valid = devices > 0 and collections > 0 and (vpes > 0 or config.architecture == "3")
        self._commands = COMMANDS[config.architecture]
        self.failures: list[Failure] = []
        """Command errors of the queues, for whoever compares them to take away."""
        self.outcomes: Counter[tuple[str, int]] = Counter()
        """How often a command of the queues ended with each error number, 0 for none."""

    # Interrupts that come in.

    def translate(self, its: int, device_id: int, event_id: int) -> Syndrome:
        """A device writes GITS_TRANSLATER. Returns why nothing was forwarded, or FORWARDED."""
        if not (self.its[its].enabled and self.tables_valid):
            return Syndrome.UNKNOWN
        try:
            event = find_event(self, self.its[its], device_id, event_id)
        except Refused as refused:
            return SYNDROMES[refused.reason]
        try:
            self.arrive(find_target(self.its[its], event))
        except Refused:
            if isinstance(event, PhysicalEvent):
                return Syndrome.COLLECTION_UNMAPPED
            return Syndrome.UNKNOWN if event.vpeid in self.its[its].vpes else Syndrome.VPE_UNMAPPED
        return Syndrome.FORWARDED

    def write_sgir(self, its: int, vpeid: int, vintid: int) -> None:
        """Software writes GITS_SGIR: vSGI `vintid` of `vpeid` becomes pending."""
        vpe = self.its[its].vpes.get(vpeid)
        if self.its[its].enabled and self.tables_valid and vpe is not None:
            self.set_virtual(vpe, vintid)

    # Commands.

    def execute(self, its: int, mnemonic: str, **fields: int) -> int:
        """Execute one command on an ITS. Returns 0 or the command error number; an erroneous command does nothing.

        An opcode that has no mnemonic is written as its number, such as "0x7f".
        """
        handler = self._commands.get(mnemonic)
        if handler is None:
            # Open: the number of a command that the architecture does not have.
            return error_number(mnemonic, Reason.UNKNOWN_COMMAND)
        try:
            handler(self, self.its[its], Operands(fields))
        except Refused as refused:
            return error_number(mnemonic, refused.reason)
        return 0

    def submit(self, its: int, *commands: Command) -> list[int]:
        """Append commands to an ITS's queue and let it run. Returns the error numbers met; a stall ends it."""
        self.its[its].waiting.extend(commands)
        return self.run(its)

    def retry(self, its: int, *replacement: Command) -> list[int]:
        """Write CWRITER.Retry, after overwriting the failing command with `replacement` if there is one."""
        queue = self.its[its]
        if queue.stalled and replacement:
            queue.waiting[0] = replacement[0]
        queue.stalled = False
        return self.run(its)

    def run(self, its: int) -> list[int]:
        """Process an ITS's queue until it is empty, stalled or disabled."""
        queue = self.its[its]
        errors = []
        while queue.enabled and queue.waiting and not queue.stalled:
            mnemonic, fields = queue.waiting[0]
            error = self.execute(its, mnemonic, **fields)
            self.outcomes[mnemonic, error] += 1
            if error:
                errors.append(error)
                self.failures.append(Failure(its, queue.completed, error))
                queue.stalled = self.config.command_errors == "stall"
            if not queue.stalled:
                queue.waiting.popleft()
                queue.completed += 1
        return errors

    # SGIs, PPIs, SPIs, and CPU interfaces.

    def set_line(self, pe: int, intid: int, level: bool) -> None:
        """The input of a PPI of this PE, or of an SPI, rises or falls."""
        distributor.set_line(self.bank_of(pe, intid), intid, level)

    def set_priority(self, pe: int, intid: int, priority: int) -> None:
        """Write the byte of an SGI, PPI or SPI in GICR_IPRIORITYR<n> or GICD_IPRIORITYR<n>."""
        distributor.write_ipriorityr(self.bank_of(pe, intid), range(intid, intid + 1), priority)

    def read_irouter(self, intid: int) -> Fields:
        """GICD_IROUTER<n>."""
        return dict(self.spis.routes[intid]) if intid in self.spis.intids else dict.fromkeys(ROUTE, 0)

    def write_irouter(self, intid: int, f: Fields) -> None:
        """GICD_IROUTER<n>."""
        if intid in self.spis.intids:
            self.spis.routes[intid] = dict(f)

    def write_message(self, intid: int, pending: bool) -> None:
        """GICD_SETSPI_NSR: a message for an SPI; GICD_CLRSPI_NSR: it is taken back."""
        if intid in self.spis.intids:
            distributor.set_by_message(self.spis, intid, pending)

    def write_gicd_ctlr(self, f: Fields) -> None:
        """GICD_CTLR. ARE and DS are RAO/WI.

        Open: nASSGIreq changes only if no group is enabled, before the write or after it (as Linux' vgic).
        """
        was, self.groups = self.groups, {group for group in (0, 1) if f[f"EnableGrp{group}"]}
        if self.config.v41 and not (was and self.groups):
            self.sgis_without_active_state = bool(f["nASSGIreq"])

    def read_gicd_ctlr(self) -> Fields:
        """GICD_CTLR."""
        enables = {f"EnableGrp{group}": int(group in self.groups) for group in (0, 1)}
        return {"DS": 1, "ARE": 1, "nASSGIreq": int(self.sgis_without_active_state)} | enables

    def read_system(self, pe: int, register: str) -> Fields:
        """A PE reads a system register, an ICC_*, ICH_* or ICV_* that can be read."""
        fields = READS[register](self, pe)
        if register in TAKES:
            virtual_interface.drive_maintenance(self, pe)
        return fields

    def write_system(self, pe: int, register: str, f: Fields) -> None:
        """A PE writes a system register that can be written."""
        WRITES[register](self, pe, f)
        virtual_interface.drive_maintenance(self, pe)

    @property
    def may_signal(self) -> bool:
        """Whether any line of any PE can be asserted: GICD_CTLR enables a group, or ICH_HCR_EL2.En is 1 somewhere."""
        return bool(self.groups) or any(pe.virtual.control["En"] for pe in self.pes)

    def lines(self, pe: int) -> set[str]:
        """What the PE sees of all this: which of IRQ, FIQ, VIRQ and VFIQ are asserted."""
        return {names[group] for kind, names in LINES if (group := signalled(kind, self, pe)) is not None}

    def virtual_pending(self, vpeid: int, its: int = 0) -> set[int]:
        """vINTIDs (vSGIs too) that are pending for a vPE that `its` maps."""
        return set(self.vpts[self.its[its].vpes[vpeid].vpt].pending)


def error_number(mnemonic: str, reason: Reason) -> int:
    """0x01, the opcode byte (5 for CLEAR), the reason byte."""
    opcode = OPCODES[mnemonic] if mnemonic in OPCODES else int(mnemonic, 0)
    if mnemonic == "CLEAR":
        opcode = OPCODE_OF_CLEAR_ERRORS
    return 0x01_0000 + opcode * 0x100 + reason
