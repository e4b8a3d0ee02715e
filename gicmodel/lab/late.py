# SPDX-License-Identifier: Apache-2.0
"""A GIC that puts off whatever the architecture lets it put off, for a driver that is to be shown what it forgot.

Things that real hardware may do, on top of `GicConfig.caching` = "retain":

* A command has no effect before the SYNC or VSYNC that completes it (IHI0069 5.3, "SYNC", "VSYNC"), or the next command
  that completes by itself; GITS_CREADR moves on at once.
* A redistributor still holds LPI configuration from before a MAPC, until INVALL.
* And configuration of a vPE's vLPIs from before a VMAPP, until VINVALL.
* A redistributor outside the CommonLPIAff group of the one to which a vPE is mapped does nothing for the vPE.
* In GICv4.0 a redistributor is told of the vLPIs of the vPEs that are mapped to it, and of no others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

import numpy as np

from gicmodel.hardware import Gic, Its
from gicmodel.hardware.kernels.configuration import RETAINED
from gicmodel.hardware.kernels.errors import OK
from gicmodel.hardware.kernels.lookup import find_vpe, redistributor_of
from gicmodel.hardware.kernels.pending import find_vpt
from gicmodel.hardware.kernels.redistributor import same_group
from gicmodel.hardware.kernels.tables import VPE_RDBASE, VPE_VPT_ADDR
from gicmodel.hardware.kernels.vpe_commands import find_allocated
from gicmodel.hardware.kernels.words import get
from gicmodel.images.qemu_trace.packets import Words
from gicmodel.lab.queue import Queue
from gicmodel.layouts.commands import decode_command, format_command
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.by_name import NamedRegisters, register
from gicmodel.layouts.registers.its import GITS_CREADR, GITS_CWRITER

STALE = 0x02
"""A configuration byte that nobody wrote: disabled, of the highest priority."""

_CBASER, _CWRITER, _CREADR = (register(name, "4.1").offset for name in ("GITS_CBASER", "GITS_CWRITER", "GITS_CREADR"))
_WIDTHS = 4, 8
"""Bytes of an access that reaches one of these, or its lower half; the offsets are there."""
_ABOUT_A_VPE = {entry.offset: entry for entry in map(register, ("GICR_INVLPIR", "GICR_INVALLR", "GICR_VSGIR"))}
_NEED_SYNC = {"MAPTI", "MAPI", "INVALL", "MOVALL"}
_NEED_VSYNC = {"VMAPTI", "VMAPI", "VMOVI", "VMOVP", "VINVALL", "VSGI", "INVDB"}
_NEED_EITHER = {"INT", "CLEAR", "INV", "MOVI", "DISCARD"}
"""Commands that name an event, and act where it is mapped to."""

_OPERANDS = {"SYNC": "RDbase", "VSYNC": "vPEID", "INVALL": "ICID", "VINVALL": "vPEID"}
Remedy = tuple[str, int | None]
"""A command of these, and what it must name; None: any will do."""


class Target(NamedTuple):
    """The interrupt that an event leads to, and the remedy of a command that names the event."""

    intid: int
    remedy: Remedy


class VirtualPe(NamedTuple):
    """What VMAPP said of a vPE's tables; before GICv4.1 nothing of the configuration table."""

    vpt: int
    vconf: int | None


@dataclass(frozen=True)
class Held:
    """A command that has no effect yet. Any of `remedies` completes it; `end` is the ring's offset behind it."""

    mnemonic: str
    fields: dict[str, int]
    text: str
    remedies: tuple[Remedy, ...]
    end: int


class LateGic:
    """The registers of `gic` as a driver gets them. `gic` retains what it reads (`caching` = "retain")."""

    def __init__(self, gic: Gic) -> None:
        self.gic = gic
        self.config = gic.config
        self.distributor = gic.distributor
        self.its = [LateIts(gic, its) for its in gic.its]
        self._unheard: dict[str, str] = {}
        self.redistributors = [
            LateRedistributor(gic, number, self._unheard) for number in range(len(gic.redistributors))
        ]

    @property
    def missing(self) -> list[str]:
        """The commands and register writes that the driver owes, each with what calls for it.

        Of configuration bytes that nothing has invalidated only if that is all: what else is missing may be the reason.
        """
        return self.owed or list(self._stale())

    @property
    def owed(self) -> list[str]:
        """As `missing`, without a look at configuration bytes."""
        commands = [command for its in self.its for command in its.missing]
        return commands + [f"{needed} is missing: {why}" for needed, why in self._unheard.items()] + self._untold()

    def _stale(self) -> Iterator[str]:
        """An INV, or what else is to be sent, for each retained configuration byte that RAM contradicts."""
        for number, redistributor in enumerate(self.redistributors):
            for intid in self._contradicted(number, redistributor.lpi_configuration):
                byte = f"the configuration byte of INTID {intid}"
                yield f"{self._invalidation(intid)} is missing after {byte} was written"
        for vpe_id, vpe in {vpe_id: vpe for its in self.its for vpe_id, vpe in its.vpes.items()}.items():
            slot = find_vpt(self.gic.machine, np.uint64(vpe.vpt))
            vconf = self._vconf_v40(vpe.vpt) if vpe.vconf is None else vpe.vconf
            for vintid in self._contradicted(int(slot), vconf) if slot >= 0 else ():
                byte = f"the configuration byte of vINTID {vintid} of vPEID {vpe_id:#x}"
                yield f"{self._invalidation(vintid, vpe_id)} is missing after {byte} was written"

    def _contradicted(self, slot: int, table: int | None) -> list[int]:
        """The INTIDs of a slot whose retained byte is not that in the table, as far as RAM has the table."""
        retained = self.gic.machine.configuration[slot]
        (kept,) = np.nonzero(retained)
        if not len(kept) or table is None or not self.gic.memory.covers(table, int(kept[-1]) + 1):
            return []
        written = self.gic.memory.view(table, int(kept[-1]) + 1, np.uint8)[kept] | np.uint8(RETAINED)
        contradicted: list[int] = (kept[retained[kept] != written] + FIRST_LPI).tolist()
        return contradicted

    def _vconf_v40(self, vpt: int) -> int | None:
        """GICv4.0: the configuration table that some GICR_VPROPBASER had while the vPE was resident."""
        return next((rd.vconf_by_vpt[vpt] for rd in self.redistributors if vpt in rd.vconf_by_vpt), None)

    def _invalidation(self, intid: int, vpe_id: int | None = None) -> str:
        """What reloads the configuration byte of an LPI, or of a vLPI of this vPE."""
        for device_id, event_id in chain.from_iterable(its.events_of(intid, vpe_id) for its in self.its):
            return f"INV of DeviceID {device_id:#x} EventID {event_id}"
        if vpe_id is not None:
            return _named(("VINVALL", vpe_id))
        doorbells = {doorbell: vpe_id for its in self.its for doorbell, vpe_id in its.doorbells.items()}
        return f"INVDB of vPEID {doorbells[intid]:#x}" if intid in doorbells else "INVALL"

    def _untold(self) -> list[str]:
        """GICv4.0: vPEs that run where no ITS sends their vLPIs."""
        if self.gic.config.architecture != "4.0":
            return []
        resident = {redistributor.resident_vpt: number for number, redistributor in enumerate(self.redistributors)}
        return [
            f"VMOVP of vPEID {vpe_id:#x} is missing: it runs on redistributor {resident[vpt]}, mapped to {number}"
            for its in self.its
            for vpe_id, vpt, number in its.mapped_vpes()
            if resident.get(vpt, number) != number
        ]


class LateIts:
    """One ITS's registers. The hardware sees of GITS_CWRITER only what is complete."""

    def __init__(self, gic: Gic, its: Its) -> None:
        self._gic = gic
        self._its = its
        self._queue = Queue(gic, its.number)
        self._architecture = gic.config.architecture
        self._seen = 0
        self._held: list[Held] = []
        self._unread: dict[str, str] = {}
        self._targets: dict[int, int] = {}
        self._events: dict[tuple[int, int], Target] = {}
        self.vpes: dict[int, VirtualPe] = {}
        """The vPEs that are mapped, by vPEID."""
        self.doorbells: dict[int, int] = {}
        """Each default doorbell's vPE, also of one that is unmapped by now."""

    @property
    def missing(self) -> list[str]:
        """As `LateGic.missing`."""
        syncs = [f"{_named(held.remedies[0])} is missing after {held.text}" for held in self._held if held.remedies]
        return syncs + [f"{needed} is missing after {text}" for needed, text in self._unread.items()]

    def mapped_vpes(self) -> Iterator[tuple[int, int, int]]:
        """vPEID, address of the VPT, and redistributor of each vPE that this ITS has mapped."""
        for vpe_id in self.vpes:
            reason, entry = find_vpe(self._gic.machine, self._its.number, np.uint64(vpe_id))
            if reason == OK:
                yield vpe_id, int(get(entry[0], VPE_VPT_ADDR)), int(get(entry[1], VPE_RDBASE))

    def events_of(self, intid: int, vpe_id: int | None) -> Iterator[tuple[int, int]]:
        """(DeviceID, EventID) of every event that leads to an LPI, or to a vLPI of this vPE."""
        for event, target in self._events.items():
            kind, at = target.remedy
            if target.intid == intid and (kind == "SYNC" if vpe_id is None else (kind, at) == ("VSYNC", vpe_id)):
                yield event

    def read(self, offset: int, size: int) -> int:
        """GITS_CREADR, unless it stalls, says that every command was read; other accesses are the hardware's."""
        value = self._its.read(offset, size)
        if size not in _WIDTHS:
            return value
        if offset == _CREADR and not GITS_CREADR.unpack(value)["Stalled"]:
            return GITS_CREADR.pack(Offset=self._seen)
        return GITS_CWRITER.pack(Offset=self._seen) if offset == _CWRITER else value

    def write(self, offset: int, value: int, size: int, *, device_id: int = 0) -> None:
        """GITS_CWRITER takes commands; a write of GITS_CBASER starts at the ring's beginning."""
        takes = offset == _CWRITER and size in _WIDTHS
        if takes and self._is_in_queue(end := GITS_CWRITER.unpack(value)["Offset"]):
            for place in self._queue.offsets(self._seen, end):
                self._seen = self._queue.after(place)
                self._hold(self._queue.words(place))
            if not self._held:
                # Of a queue that begins anew (Linux' its_restore_enable) the hardware has the old end until then.
                self._its.write(offset, value, size)
            return
        self._its.write(offset, value, size, device_id=device_id)
        if offset in (_CBASER, _CBASER + 4) and size in _WIDTHS:
            self._seen = 0

    def _is_in_queue(self, end: int) -> bool:
        """Whether there is a queue, in RAM, that has this offset; what is wrong otherwise is the hardware's to say."""
        cbaser, size = self._queue.registers("CBASER"), self._queue.size
        return bool(cbaser["Valid"]) and end < size and self._gic.memory.covers(cbaser["Physical_Address"], size)

    def _hold(self, words: Words) -> None:
        """Note a command, and let the hardware run as far as everything is complete."""
        try:
            mnemonic, fields = decode_command(words, self._architecture)
            text = format_command(words, self._architecture)
        except ValueError as unknown:
            mnemonic, fields, text = "", {}, str(unknown)
        completes = mnemonic, fields.get(_OPERANDS.get(mnemonic, ""))
        self._held = [_without(held, completes) for held in self._held]
        self._held.append(Held(mnemonic, fields, text, self._remedies(mnemonic, fields), self._seen))
        while self._held and not self._held[0].remedies:
            self._execute(self._held.pop(0))

    def _execute(self, command: Held) -> None:
        self._its.write(_CWRITER, GITS_CWRITER.pack(Offset=command.end), 8)
        fields = command.fields
        if command.mnemonic == "MAPC" and fields["V"]:
            self._unread[_named(("INVALL", fields["ICID"]))] = command.text
            self._keep_old(int(redistributor_of(self._gic.machine, np.uint64(fields["RDbase"]))))
        if command.mnemonic == "VMAPP" and fields["V"]:
            self._remember_vpe(fields, command.text)
        elif command.mnemonic == "VMAPP":
            # Its VPT may be another vPE's soon.
            self.vpes.pop(fields["vPEID"], None)
        if command.mnemonic == "VMOVP" and fields["DB"] and fields["vPEID"] in self.vpes:
            self.doorbells[fields["Default_Doorbell"]] = fields["vPEID"]
        if command.mnemonic in ("INVALL", "VINVALL"):
            self._unread.pop(_named((command.mnemonic, fields[_OPERANDS[command.mnemonic]])), None)

    def _remember_vpe(self, fields: dict[str, int], text: str) -> None:
        """A vPE that is mapped may have had vLPIs before; only in GICv4.1 does VMAPP take its VPT at once."""
        vpe_id, vpt = fields["vPEID"], fields["VPT_addr"]
        self.vpes[vpe_id] = VirtualPe(vpt, fields.get("VCONF_addr"))
        if "Default_Doorbell" in fields:
            self.doorbells[fields["Default_Doorbell"]] = vpe_id
        slot = find_vpt(self._gic.machine, np.uint64(vpt))
        if self._gic.config.v41 and slot >= 0:
            self._unread[_named(("VINVALL", vpe_id))] = text
            self._keep_old(int(slot))

    def _keep_old(self, slot: int) -> None:
        if slot >= 0:
            self._gic.machine.configuration[slot, :] = STALE

    def _remedies(self, mnemonic: str, fields: dict[str, int]) -> tuple[Remedy, ...]:
        """What completes a command; nothing for one that completes by itself."""
        event = fields.get("DeviceID", 0), fields.get("EventID", 0)
        if mnemonic == "MAPC" and fields["V"]:
            self._targets[fields["ICID"]] = fields["RDbase"]
            return (("SYNC", fields["RDbase"]),)
        if mnemonic == "MAPD":
            self._events = {known: target for known, target in self._events.items() if known[0] != event[0]}
        if mnemonic in _NEED_EITHER:
            return self._where(event, mnemonic, fields)
        remedy: Remedy
        if mnemonic in _NEED_SYNC:
            remedy = ("SYNC", self._targets.get(fields.get("ICID", -1)))
        elif mnemonic in _NEED_VSYNC or (mnemonic == "VMAPP" and (fields["V"] or self._architecture == "4.0")):
            remedy = ("VSYNC", fields["vPEID"])
        else:
            return ()
        if "EventID" in fields:
            self._events[event] = Target(self._intid(event, mnemonic, fields), remedy)
        return (remedy,)

    def _intid(self, event: tuple[int, int], mnemonic: str, fields: dict[str, int]) -> int:
        """The interrupt to which MAPTI, MAPI, VMAPTI or VMAPI maps an event, or that VMOVI moves."""
        if mnemonic == "VMOVI":
            return self._events[event].intid if event in self._events else 0
        return fields.get("pINTID", fields.get("vINTID", event[1]))

    def _where(self, event: tuple[int, int], mnemonic: str, fields: dict[str, int]) -> tuple[Remedy, ...]:
        """A MOVI is complete where the LPI was (Linux' its_build_movi_cmd); what ends a vLPI, also by any SYNC."""
        intid, at = self._events.get(event, Target(0, ("SYNC", None)))
        if mnemonic == "MOVI":
            self._events[event] = Target(intid, ("SYNC", self._targets.get(fields["ICID"])))
        if mnemonic == "DISCARD":
            self._events.pop(event, None)
        if mnemonic == "DISCARD" and at[0] == "VSYNC":
            return at, ("SYNC", None)
        return (at,)


class LateRedistributor:
    """The registers of one redistributor as a driver gets them.

    What software asks of it for a vPE of another CommonLPIAff group is CONSTRAINED UNPREDICTABLE: here, no effect.

    `unheard`, which all of a GIC share: what had no effect, and where it was written, by what is missing.
    """

    def __init__(self, gic: Gic, number: int, unheard: dict[str, str]) -> None:
        self._gic = gic
        self._number = number
        self._face = gic.redistributors[number]
        self._registers = NamedRegisters(self._face, gic.config.architecture)
        self._unheard = unheard
        self.vconf_by_vpt: dict[int, int] = {}
        """GICv4.0: the configuration table of each VPT that was resident here."""

    @property
    def lpi_configuration(self) -> int:
        """The address of the LPI configuration table."""
        return self._registers.fields("GICR_PROPBASER")["Physical_Address"]

    @property
    def resident_vpt(self) -> int | None:
        """GICv4.0: the address of the VPT of the resident vPE, if there is one."""
        vpendbaser = self._registers.fields("GICR_VPENDBASER")
        return vpendbaser["Physical_Address"] if vpendbaser["Valid"] else None

    def read(self, offset: int, size: int) -> int:
        """As the hardware."""
        return self._face.read(offset, size)

    def write(self, offset: int, value: int, size: int) -> None:
        """As the hardware, but for a vPE of another group."""
        entry = _ABOUT_A_VPE.get(offset)
        if entry is not None and size * 8 == entry.bits and self._gic.config.v41:
            fields = entry.layout.unpack(value)
            if fields.get("V", 1) and not self._hears(entry.name, fields["vPEID"]):
                return
        self._face.write(offset, value, size)
        if self._gic.config.architecture == "4.0" and (vpt := self.resident_vpt) is not None:
            self.vconf_by_vpt[vpt] = self._registers.fields("GICR_VPROPBASER")["Physical_Address"]

    def _hears(self, name: str, vpe_id: int) -> bool:
        """Whether the vPE is mapped to this group, or nowhere; otherwise what is missing is noted."""
        _, home, _ = find_allocated(self._gic.machine, np.uint64(vpe_id))
        missing = f"{name} of vPEID {vpe_id:#x}"
        if home < 0 or same_group(self._gic.machine, self._number, home):
            self._unheard.pop(missing, None)
            return True
        self._unheard[missing] = f"it was written on redistributor {self._number}, not in the group of {home}"
        return False


def _without(held: Held, completed: Remedy) -> Held:
    """The command, complete if it waited for just this."""
    done = any(kind == completed[0] and named in (None, completed[1]) for kind, named in held.remedies)
    return replace(held, remedies=()) if done else held


def _named(remedy: Remedy) -> str:
    kind, number = remedy
    return kind if number is None else f"{kind} of {_OPERANDS[kind]} {number:#x}"
