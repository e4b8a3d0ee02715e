# SPDX-License-Identifier: Apache-2.0
"""RAM and registers of the model against those of the machine that was traced, byte for byte."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gicmodel.errors import UnusableInput
from gicmodel.hardware import Gic, Its, Redistributor
from gicmodel.images.dump import Dump
from gicmodel.images.registers import Registers
from gicmodel.lab.tables import Place, TableInRam, itt_of, table_of, vpt_of
from gicmodel.layouts.lpi_tables import FIRST_LPI, table_bytes
from gicmodel.layouts.registers.by_name import NamedRegisters, register
from gicmodel.layouts.table import TableType
from gicmodel.replay.software import INTID_BITS

SHOWN = 8
_FRAME = re.compile(r"(GITS|GICR)\d{1,3}")


class Difference(NamedTuple):
    """A byte of RAM, or a register, that is not the same."""

    where: str
    model: int
    traced: int


class Compared(NamedTuple):
    """`bytes` were compared, `different` of them are not the same; `first` are the first SHOWN of those.

    `absent` more would have been, but the image does not hold them.
    """

    bytes: int
    different: int
    first: tuple[Difference, ...]
    absent: int = 0


def compare_tables(gic: Gic, image: Dump, taken: Iterable[Place]) -> dict[str, Compared]:
    """Compare every table that the model has at the end; a kind of table of which it has none is left out.

    The places `taken` from the image are not compared.
    """
    excluded = list(taken)
    found = {kind: [place for place in places(gic) if gic.memory.covers(*place)] for kind, places in _PLACES.items()}
    return {kind: _compare(gic, image, places, excluded) for kind, places in found.items() if places}


def check_image(gic: Gic, mapped: Iterable[TableType]) -> None:
    """Raise UnusableInput if the image had no level 2 page at all of a table in which the trace maps IDs."""
    for kind in sorted(mapped):
        table = TableInRam.of(gic.its[0], kind)
        if table is not None and table.indirect and not any(table.extents(gic.memory)):
            raise UnusableInput(
                f"the image has no level 1 entry of the table of {kind.name.lower()} at {table.address:#x}, "
                "in which the trace maps IDs: it is not the RAM of the machine that was traced"
            )


def compare_registers(gic: Gic, registers: Registers) -> Compared:
    """Compare the registers of every `GITS<n>` and `GICR<n>` of a registers file; other frames are left out.

    Raises UnusableInput for a register that the model does not have.
    """
    size = 0
    differences: list[Difference] = []
    wrong = 0
    for frame, values in registers.items():
        for name, traced in values.items() if _FRAME.fullmatch(frame) else ():
            model, octets = _read_register(gic, frame, name)
            unequal = (model ^ traced).to_bytes(8, "little")
            size += octets
            wrong += sum(octet != 0 for octet in unequal)
            if any(unequal):
                differences.append(Difference(f"{frame}.{name}", model, traced))
    return Compared(size, wrong, tuple(differences[:SHOWN]))


def _compare(gic: Gic, image: Dump, places: Iterable[Place], excluded: list[Place]) -> Compared:
    size = wrong = absent = 0
    first: list[Difference] = []
    for address, length in places:
        model = np.frombuffer(gic.memory.read(address, length), np.uint8)
        traced, held = image.read(address, length)
        wanted = _not_in(excluded, address, length)
        compared = wanted & held
        unequal = np.flatnonzero(compared & (model != traced))
        size += int(compared.sum())
        absent += int((wanted & ~held).sum())
        wrong += unequal.size
        first += [Difference(f"{address + n:#x}", int(model[n]), int(traced[n])) for n in unequal[:SHOWN].tolist()]
    return Compared(size, wrong, tuple(first[:SHOWN]), absent)


def _not_in(excluded: list[Place], address: int, length: int) -> NDArray[np.bool_]:
    compared = np.ones(length, np.bool_)
    for start, size in excluded:
        compared[max(0, start - address) : max(0, start + size - address)] = False
    return compared


def _entries(kind: TableType, gic: Gic) -> Iterator[Place]:
    table = TableInRam.of(gic.its[0], kind)
    return iter(()) if table is None else (extent.place for extent in table.extents(gic.memory))


def _mapped(kind: TableType, place_of: Callable[[Any], Place], gic: Gic) -> Iterator[Place]:
    return map(place_of, table_of(gic.its[0], kind, gic.memory)[1])


def _pending_tables(gic: Gic) -> Iterator[Place]:
    for redistributor in gic.redistributors:
        registers = NamedRegisters(redistributor, gic.config.architecture)
        id_bits = min(registers.fields("GICR_PROPBASER")["IDbits"] + 1, INTID_BITS)
        if registers.fields("GICR_CTLR")["EnableLPIs"] and 1 << id_bits > FIRST_LPI:
            yield registers.fields("GICR_PENDBASER")["Physical_Address"], table_bytes(id_bits)


_PLACES: dict[str, Callable[[Gic], Iterator[Place]]] = {
    "device_table": partial(_entries, TableType.DEVICES),
    "itts": partial(_mapped, TableType.DEVICES, itt_of),
    "collection_table": partial(_entries, TableType.COLLECTIONS),
    "vpe_table": partial(_entries, TableType.VPES),
    "lpi_pending_tables": _pending_tables,
    "vpts": partial(_mapped, TableType.VPES, vpt_of),
}


def _read_register(gic: Gic, frame: str, name: str) -> tuple[int, int]:
    """The register's value in the model, and its bytes."""
    faces: Sequence[Its | Redistributor] = gic.its if frame.startswith("GITS") else gic.redistributors
    number = int(frame[4:])
    try:
        entry = register(f"{frame[:4]}_{name}", gic.config.architecture)
    except KeyError:
        raise UnusableInput(f"{frame}.{name}: GICv{gic.config.architecture} has no such register") from None
    if number >= len(faces):
        raise UnusableInput(f"{frame}.{name}: the trace shows {len(faces)} of these, numbered from 0")
    return faces[number].read(entry.offset, entry.bits // 8), entry.bits // 8
