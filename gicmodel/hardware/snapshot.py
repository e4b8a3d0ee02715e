# SPDX-License-Identifier: Apache-2.0
"""The whole machine in a file: configuration, registers, caches and RAM, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gicmodel.config import GicConfig
from gicmodel.hardware.gic import Gic
from gicmodel.hardware.kernels.state import CONFIG, LINE_WORDS, MOST_VPES, RESIDENT_AT, SLOT, Machine
from gicmodel.images.snapshot_file import Arrays, reading, sparse, write_snapshot
from gicmodel.layouts.lpi_tables import table_bytes
from gicmodel.memory import DIRTY, PAGE_BYTES, WRITTEN, GuestMemory

_ARRAYS = "chip", "slots", "configuration"
"""Of `Machine`: all but RAM and its pages."""
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def save_snapshot(
    gic: Gic, path: Path, about: Mapping[str, Any] = _NOTHING, arrays: Mapping[str, NDArray[Any]] = _NOTHING
) -> None:
    """Write everything that `gic` holds and its RAM to a file, which takes the place of `path` when it is complete.

    `about` and `arrays` are what is around it: more of the file's header, in JSON, and more arrays, by other names.

    Raises:
        UnusableInput: the file cannot be written, or would be too large to be read again.
    """
    window = {"base": gic.memory.base, "size": gic.memory.size}
    header = {"config": asdict(gic.config), "registers": gic.registers(), "slot": SLOT._asdict(), **window, **about}
    write_snapshot(path, header, {**_machine_arrays(gic.machine), **_ram_arrays(gic.memory), **arrays})


def load_snapshot(path: Path) -> Gic:
    """The machine that `save_snapshot` has written, with a RAM of its own.

    Raises:
        UnusableInput: the file cannot be read, is damaged, or is no snapshot of this version.
    """
    with reading(path) as (header, archive):
        return restored(header, archive)


def restored(header: Mapping[str, Any], archive: Arrays) -> Gic:
    """The machine of a file that is being read. Raises ValueError, which its reader makes UnusableInput."""
    gic = Gic(_config(header["config"]), GuestMemory(header["base"], header["size"]))
    _restore_machine(gic, archive)
    _restore_ram(gic.memory, archive)
    return gic


def _config(choices: dict[str, Any]) -> GicConfig:
    unknown = sorted(choices.keys() - {field.name for field in fields(GicConfig)})
    if unknown:
        raise ValueError(f"its configuration has {unknown[0]!r}, which is no choice")
    return GicConfig(**choices)


def _machine_arrays(machine: Machine) -> dict[str, NDArray[Any]]:
    """The rows of each array that are not zero, and where they are."""
    arrays: dict[str, NDArray[Any]] = {}
    for name in _ARRAYS:
        array = getattr(machine, name)
        at = np.flatnonzero(array if array.ndim == 1 else array.any(axis=1))
        arrays |= {f"{name}_at": at, name: array[at]}
    return arrays


def _ram_arrays(memory: GuestMemory) -> dict[str, NDArray[Any]]:
    """Pages that were marked, and pages that are not zero: CPUs of a board may write RAM and mark nothing."""
    nonzero = (memory.nonzero_pages() - memory.base) // PAGE_BYTES
    pages = np.union1d(np.flatnonzero(memory.page_state), nonzero)
    octets = memory.octets.reshape(-1, PAGE_BYTES)
    return {"pages_at": pages, "page_state": memory.page_state[pages], "pages": octets[pages]}


def _restore_machine(gic: Gic, archive: Arrays) -> None:
    machine = gic.machine
    fixed = np.arange(len(CONFIG)) != CONFIG.log_count
    configured = machine.chip[: len(CONFIG)][fixed]
    for name in _ARRAYS:
        array = getattr(machine, name)
        array[array.nonzero()[0]] = 0
        at, rows = sparse(archive, name, array.shape, array.dtype)
        array[at] = rows
    if not np.array_equal(machine.chip[: len(CONFIG)][fixed], configured):
        raise ValueError("its words do not fit its configuration")
    for number in np.flatnonzero(machine.slots[:, SLOT.tag]):
        _check_slot(gic, machine.slots[number])
    machine.chip[RESIDENT_AT : RESIDENT_AT + MOST_VPES] = 0
    for its in gic.its:
        its.derive()
    for redistributor in gic.redistributors:
        redistributor.derive()


def _restore_ram(memory: GuestMemory, archive: Arrays) -> None:
    octets = memory.octets.reshape(-1, PAGE_BYTES)
    at, pages = sparse(archive, "pages", octets.shape, octets.dtype)
    states = archive["page_state"]
    if (
        states.shape != at.shape
        or states.dtype != np.uint8
        or not np.isin(states, (0, DIRTY, WRITTEN, DIRTY | WRITTEN)).all()
    ):
        raise ValueError("page_state does not say what pages were written")
    octets[at] = pages
    memory.page_state[at] = states


def _check_slot(gic: Gic, slot: NDArray[np.uint64]) -> None:
    """A slot writes its table back to where it came from without asking again whether that is RAM."""
    tag, id_bits = int(slot[SLOT.tag]), int(slot[SLOT.id_bits])
    first_group = SLOT.bits + (1 << gic.config.intid_bits) // 64
    lines = int.from_bytes(slot[first_group:].astype("<u8").tobytes(), "little").bit_length()
    fits = id_bits <= gic.config.intid_bits and lines <= table_bytes(id_bits) // (8 * LINE_WORDS)
    if not (tag & 1 and fits and gic.memory.covers(tag & ~1, table_bytes(id_bits))):
        raise ValueError(f"a pending table at {tag & ~1:#x} with {id_bits} INTID bits is not in RAM")
