# SPDX-License-Identifier: Apache-2.0
"""One ITS as the driver keeps it: its boot, its tables, its queue, its collections (Linux' struct its_node)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gicmodel.driver import commands
from gicmodel.driver.allocator import PageAllocator
from gicmodel.driver.commands import Commands, Operand
from gicmodel.driver.errors import DriverError
from gicmodel.driver.port import DriverRegisters, Relax
from gicmodel.driver.queue import QUEUE_BYTES, CommandQueue
from gicmodel.driver.tables import affinity_key, its_alloc_table_entry, its_probe_baser_psz, its_setup_baser
from gicmodel.layouts.registers.by_name import RegisterFrame
from gicmodel.layouts.registers.its import QUEUE_PAGE_BYTES
from gicmodel.layouts.table import Table, TableType

BASERS = tuple(f"GITS_BASER{n}" for n in range(8))
_LIST_MAX = 16
"""Bits of VMOVP's ITSList (Linux' GICv4_ITS_LIST_MAX)."""


class ItsNode:
    """`targets[cpu]` is the RDbase of collection `cpu`; `list_number` the ITS' bit in VMOVP's
    ITSList, if GITS_TYPER.VMOVP = 0."""

    def __init__(self, number: int, frame: RegisterFrame, allocator: PageAllocator, relax: Relax) -> None:
        self.number = number
        self.name = f"ITS {number}"
        typer = DriverRegisters(frame, "3", relax).fields("GITS_TYPER")
        self.is_v4 = bool(typer["Virtual"])
        # GITS_TYPER.VMAPP is how software tells GICv4.1 from GICv4.0.
        self.is_v41 = self.is_v4 and bool(typer["VMAPP"])
        self.pta = bool(typer["PTA"])
        self.single_vmovp = bool(typer["VMOVP"])
        self.device_bits = typer["Devbits"] + 1
        self.itt_entry_bytes = typer["ITT_entry_size"] + 1
        self.svpet = typer["SVPET"] if self.is_v41 else 0
        self.registers = DriverRegisters(frame, "4.1" if self.is_v41 else "4.0" if self.is_v4 else "3", relax)
        self.targets: list[int] = []
        self.list_number = 0
        self.tables: dict[int, Table] = {}
        self.queue = CommandQueue(
            self.registers, allocator.memory, allocator.alloc(QUEUE_BYTES, QUEUE_BYTES), self.name
        )
        self._allocator = allocator

    def send(self, *blocks: Commands) -> None:
        """Queue commands; errors as `CommandQueue.flush`."""
        self.queue.send(*blocks)

    def sync(self, cpus: Operand) -> Commands:
        """A SYNC for each redistributor that the collections `cpus` go to."""
        if isinstance(cpus, np.ndarray):
            return commands.sync(np.array(self.targets, np.int64)[commands.distinct(cpus)])
        return commands.sync(self.targets[cpus])

    def affinity_group(self) -> int:
        """The key of the redistributors and ITSs that share this one's vPE table (GITS_TYPER.SVPET, not 0)."""
        return affinity_key(self.registers.read("GITS_MPIDR"), self.svpet)

    def shares_vpe_table(self) -> bool:
        """Whether the ITS has a vPE table that others of its affinity group must use too."""
        return bool(self.svpet) and TableType.VPES in self.tables

    def quiesce(self) -> None:
        """Stop whatever an earlier owner left running, and forget its tables."""
        ctlr = self.registers.fields("GITS_CTLR")
        if ctlr["Enabled"] or not ctlr["Quiescent"]:
            self.registers.update("GITS_CTLR", Enabled=0, ImDe=0)
            self.registers.poll("GITS_CTLR", lambda fields: bool(fields["Quiescent"]))
        for name in BASERS:
            self.registers.write(name, 0)

    def set_up_tables(self, cpus: int, vpe_bits: int, vpe_sibling: ItsNode | None) -> None:
        """Give every GITS_BASER<n> its table; `vpe_sibling` is an ITS with which this one must share its vPE table."""
        entries: dict[int, int] = {
            TableType.DEVICES: 1 << self.device_bits,
            TableType.VPES: 1 << vpe_bits,
            TableType.COLLECTIONS: cpus,
        }
        for name in BASERS:
            kind = self.registers.fields(name)["Type"]
            if kind not in entries:
                continue
            page_bytes = its_probe_baser_psz(self.registers, name)
            if kind == TableType.VPES and vpe_sibling is not None:
                self.registers.write(name, vpe_sibling.registers.read(name))
            else:
                its_setup_baser(self.registers, name, page_bytes, self._allocator, entries[kind])
            self.tables[kind] = Table.of_baser(self.registers.read(name))

    def assign_list_number(self, taken: Sequence[int]) -> int:
        """Choose GITS_CTLR.ITS_Number, or accept the one that hardware insists on (Linux' its_compute_its_list_map)."""
        free = next((number for number in range(_LIST_MAX) if number not in taken), None)
        if free is None:
            raise DriverError("EINVAL", f"{self.name} is beyond the {_LIST_MAX} of an ITS list")
        self.registers.update("GITS_CTLR", ITS_Number=free)
        number = self.registers.fields("GITS_CTLR")["ITS_Number"]
        if number in taken:
            raise DriverError("EINVAL", f"{self.name} has GITS_CTLR.ITS_Number {number}, as another ITS does")
        self.list_number = number
        return number

    def enable(self) -> None:
        """Start the command queue and translation."""
        self.registers.program(
            "GITS_CBASER", Valid=1, Physical_Address=self.queue.base, Size=QUEUE_BYTES // QUEUE_PAGE_BYTES - 1
        )
        self.registers.write("GITS_CWRITER", 0)
        self.registers.update("GITS_CTLR", Enabled=1, ImDe=int(self.is_v4))

    def require_device(self, device_id: int) -> None:
        """See that the device table has memory for the DeviceID. DriverError EINVAL if it cannot."""
        if device_id >= 1 << self.device_bits or not self._alloc_entry(TableType.DEVICES, device_id):
            raise DriverError("EINVAL", f"DeviceID {device_id:#x} is beyond {self.name}'s device table")

    def require_vpe(self, vpe_id: int) -> None:
        """See that the vPE table has memory for the vPEID. DriverError EINVAL if it cannot."""
        if TableType.VPES not in self.tables or not self._alloc_entry(TableType.VPES, vpe_id):
            raise DriverError("EINVAL", f"vPEID {vpe_id:#x} is beyond {self.name}'s vPE table")

    def _alloc_entry(self, kind: TableType, number: int) -> bool:
        """An ITS without such a table has memory of its own."""
        return kind not in self.tables or its_alloc_table_entry(self.tables[kind], number, self._allocator)
