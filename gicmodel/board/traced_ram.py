# SPDX-License-Identifier: Apache-2.0
"""What software writes to the tables in RAM that a GIC reads, found by comparing: no store to RAM is seen.

Who reads the trace has what the hardware wrote by doing the same. So software has written what RAM holds before the
hardware looks at it, and did not hold when the hardware had last done something.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from gicmodel.hardware import Gic
from gicmodel.lab.tables import Place, TableInRam, as_fields, itt_of, table_of, vpt_of
from gicmodel.layouts.lpi_tables import FIRST_LPI, table_bytes
from gicmodel.layouts.registers.by_name import NamedRegisters
from gicmodel.layouts.table import Table, TableType
from gicmodel.memory import GuestMemory

_WORD = 8


class TracedRam:
    """The tables of a GIC with one ITS, and what a reader of the trace knows of them."""

    def __init__(self, gic: Gic) -> None:
        self._gic = gic
        self._known = GuestMemory(gic.memory.base, gic.memory.size)
        self._announced: list[Place] = []
        architecture = gic.config.architecture
        self._redistributors = [NamedRegisters(each, architecture) for each in gic.redistributors]
        self._places = self._tables()
        self.settle()

    def announce(self, commands: Iterable[tuple[str, dict[str, int]]]) -> None:
        """The hardware will execute these, and none else that is not yet: what they map is its to read."""
        self._announced = [
            place
            for mnemonic, fields in commands
            if fields.get("V") and mnemonic in _MAPPED
            for place in _MAPPED[mnemonic](fields)
        ]

    def written(self) -> Iterator[tuple[int, int, int]]:
        """What software has written, each as address, 64 bits, and how often they follow; known from here on."""
        self._places = self._tables()
        for address, length in self._places:
            now = self._gic.memory.view(address, length // _WORD, np.uint64)
            known = self._known.view(address, length // _WORD, np.uint64)
            at = np.flatnonzero(now != known)
            breaks = np.flatnonzero((np.diff(at) != 1) | (now[at[1:]] != now[at[:-1]])) + 1
            for run in np.split(at, breaks) if at.size else ():
                yield address + _WORD * int(run[0]), int(now[run[0]]), run.size
            known[at] = now[at]

    def settle(self) -> None:
        """The hardware has done something since: what it wrote is known."""
        for address, length in self._places:
            self._known.view(address, length, np.uint8)[:] = self._gic.memory.view(address, length, np.uint8)

    def _tables(self) -> list[Place]:
        found = {*self._its_tables(), *self._redistributor_tables(), *self._mapped(), *self._announced}
        return sorted(place for place in found if place[1] > 0 and self._gic.memory.covers(*place))

    def _its_tables(self) -> Iterator[Place]:
        for kind in TableType:
            table = TableInRam.of(self._gic.its[0], kind)
            if table is not None:
                yield table.address, table.size
                yield from (extent.place for extent in table.extents(self._gic.memory))

    def _mapped(self) -> Iterator[Place]:
        """What entries say that is mapped."""
        for kind, places in ((TableType.DEVICES, _of_device), (TableType.VPES, _of_vpe)):
            for fields in as_fields(table_of(self._gic.its[0], kind, self._gic.memory)[1]):
                yield from places(fields)

    def _redistributor_tables(self) -> Iterator[Place]:
        config = self._gic.config
        for registers in self._redistributors:
            propbaser, pendbaser = registers.fields("GICR_PROPBASER"), registers.fields("GICR_PENDBASER")
            id_bits = min(propbaser["IDbits"] + 1, config.intid_bits)
            yield propbaser["Physical_Address"], (1 << id_bits) - FIRST_LPI
            yield pendbaser["Physical_Address"], table_bytes(id_bits)
            if config.v41:
                table = Table.of_vpropbaser(registers.read("GICR_VPROPBASER"))
                yield table.address, table.size if table.valid else 0
            elif config.virtual:
                vpropbaser = registers.fields("GICR_VPROPBASER")
                yield vpropbaser["Physical_Address"], (1 << vpropbaser["IDbits"] + 1) - FIRST_LPI


def _of_device(fields: dict[str, int]) -> list[Place]:
    """What a MAPD, or a DTE, gives to the hardware."""
    return [itt_of(fields)]


def _of_vpe(fields: dict[str, int]) -> list[Place]:
    """What a VMAPP, or a vPE's entry, does; a GICv4.0's has no configuration table."""
    tables = [vpt_of(fields)]
    configured = (1 << fields["VPT_size"] + 1) - FIRST_LPI
    return [*tables, (fields["VCONF_addr"], configured)] if "VCONF_addr" in fields else tables


_MAPPED = {"MAPD": _of_device, "VMAPP": _of_vpe}
