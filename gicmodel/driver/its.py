# SPDX-License-Identifier: Apache-2.0
"""One ITS as the driver keeps it: its boot, its tables, its queue, its collections (Linux' struct its_node)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gicmodel.driver import commands
from gicmodel.driver.allocator import PageAllocator
from gicmodel.driver.commands import Commands, Operand
from gicmodel.driver.errors import DriverError
from gicmodel.driver.port import Frame, RegisterFace, Relax
from gicmodel.driver.queue import QUEUE_BYTES, CommandQueue
from gicmodel.driver.tables import Table, affinity_key, probe_page_size, set_up_baser
from gicmodel.layouts.registers import ITS_REGISTERS, TableType
from gicmodel.memory import PAGE_BYTES

BASERS = tuple(f"GITS_BASER{n}" for n in range(8))
_LIST_MAX = 16
"""Bits of VMOVP's ITSList (Linux' GICv4_ITS_LIST_MAX)."""


class ItsNode:
    """`targets[cpu]` is the RDbase of collection `cpu`; `list_number` the ITS' bit in VMOVP's
    ITSList, if GITS_TYPER.VMOVP = 0."""

    def __init__(self, number: int, face: RegisterFace, allocator: PageAllocator, relax: Relax) -> None:
        self.number = number
        self.name = f"ITS {number}"
        typer = Frame(face, ITS_REGISTERS, "3", relax).fields("GITS_TYPER")
        self.is_v4 = bool(typer["Virtual"])
        # GITS_TYPER.VMAPP is how software tells GICv4.1 from GICv4.0.
        self.is_v41 = self.is_v4 and bool(typer["VMAPP"])
        self.architecture = "4.1" if self.is_v41 else "4.0" if self.is_v4 else "3"
        self.pta = bool(typer["PTA"])
        self.single_vmovp = bool(typer["VMOVP"])
        self.device_bits = typer["Devbits"] + 1
        self.itt_entry_bytes = typer["ITT_entry_size"] + 1
        self.svpet = typer["SVPET"] if self.is_v41 else 0
        self.frame = Frame(face, ITS_REGISTERS, self.architecture, relax)
        self.targets: list[int] = []
        self.list_number = 0
        self.tables: dict[int, Table] = {}
        self.queue = CommandQueue(
            self.frame, allocator.memory, allocator.alloc(QUEUE_BYTES, QUEUE_BYTES), self.name, self.architecture
        )
        self._allocator = allocator

    def send(self, *blocks: Commands) -> None:
        """Queue commands; errors as `CommandQueue.flush`."""
        self.queue.send(*blocks)

    def sync(self, cpus: Operand) -> Commands:
        """A SYNC for each redistributor that the collections `cpus` go to."""
        if isinstance(cpus, np.ndarray):
            return commands.sync(np.array(self.targets, np.int64)[np.unique(cpus)])
        return commands.sync(self.targets[cpus])

    def affinity_group(self) -> int:
        """The key of the redistributors and ITSs that share this one's vPE table (GITS_TYPER.SVPET, not 0)."""
        return affinity_key(self.frame.read("GITS_MPIDR"), self.svpet)

    def quiesce(self) -> None:
        """Stop whatever an earlier owner left running, and forget its tables."""
        ctlr = self.frame.fields("GITS_CTLR")
        if ctlr["Enabled"] or not ctlr["Quiescent"]:
            self.frame.update("GITS_CTLR", Enabled=0, ImDe=0)
            self.frame.poll("GITS_CTLR", lambda fields: bool(fields["Quiescent"]))
        for name in BASERS:
            self.frame.write(name, 0)

    def set_up_tables(self, cpus: int, vpe_bits: int, vpe_sibling: ItsNode | None) -> None:
        """Give every GITS_BASER<n> its table; `vpe_sibling` is an ITS with which this one must share its vPE table."""
        entries: dict[int, int] = {
            TableType.DEVICES: 1 << self.device_bits,
            TableType.VPES: 1 << vpe_bits,
            TableType.COLLECTIONS: cpus,
        }
        for name in BASERS:
            kind = self.frame.fields(name)["Type"]
            if kind not in entries:
                continue
            page_bytes = probe_page_size(self.frame, name)
            if kind == TableType.VPES and vpe_sibling is not None:
                self.frame.write(name, vpe_sibling.frame.read(name))
                self.tables[kind] = vpe_sibling.tables[kind]
            else:
                self.tables[kind] = set_up_baser(self.frame, name, page_bytes, self._allocator, entries[kind])

    def assign_list_number(self, taken: Sequence[int]) -> int:
        """Choose GITS_CTLR.ITS_Number, or accept the one that hardware insists on (Linux' its_compute_its_list_map)."""
        free = next((number for number in range(_LIST_MAX) if number not in taken), None)
        if free is None:
            raise DriverError("EINVAL", f"{self.name} is beyond the {_LIST_MAX} of an ITS list")
        self.frame.update("GITS_CTLR", ITS_Number=free)
        number = self.frame.fields("GITS_CTLR")["ITS_Number"]
        if number in taken:
            raise DriverError("EINVAL", f"{self.name} has GITS_CTLR.ITS_Number {number}, as another ITS does")
        self.list_number = number
        return number

    def enable(self) -> None:
        """Start the command queue and translation."""
        self.frame.program("GITS_CBASER", Valid=1, Physical_Address=self.queue.base, Size=QUEUE_BYTES // PAGE_BYTES - 1)
        self.frame.write("GITS_CWRITER", 0)
        self.frame.update("GITS_CTLR", Enabled=1, ImDe=int(self.is_v4))

    def require_device(self, device_id: int) -> None:
        """See that the device table has memory for the DeviceID. DriverError EINVAL if it cannot."""
        table = self.tables.get(TableType.DEVICES)
        if device_id >= 1 << self.device_bits or (table is not None and not table.require(device_id)):
            raise DriverError("EINVAL", f"DeviceID {device_id:#x} is beyond {self.name}'s device table")

    def require_vpe(self, vpe_id: int) -> None:
        """See that the vPE table has memory for the vPEID. DriverError EINVAL if it cannot."""
        if TableType.VPES not in self.tables or not self.tables[TableType.VPES].require(vpe_id):
            raise DriverError("EINVAL", f"vPEID {vpe_id:#x} is beyond {self.name}'s vPE table")
