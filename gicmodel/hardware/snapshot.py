# SPDX-License-Identifier: Apache-2.0
"""The whole machine in a file: configuration, registers, caches and RAM, bit for bit.

The file is a compressed `.npz`: a header in JSON, and of each array the rows that are not zero, with their numbers.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from gicmodel.errors import UnusableInput
from gicmodel.files import MAX_UNPACKED, opened, replacing
from gicmodel.hardware.config import GicConfig
from gicmodel.hardware.gic import Gic
from gicmodel.hardware.kernels.state import CONFIG, LINE_WORDS, SLOT, Machine
from gicmodel.layouts.vpt import table_bytes
from gicmodel.memory import DIRTY, PAGE_BYTES, WRITTEN, GuestMemory

KIND, VERSION = "gicmodel snapshot", 1


def save_snapshot(gic: Gic, path: Path) -> None:
    """Write everything that `gic` holds and its RAM to a file, which takes the place of `path` when it is complete.

    Raises:
        UnusableInput: the file cannot be written, or would be too large to be read again.
    """
    arrays = {"header": _header(gic)} | _machine_arrays(gic.machine) | _ram_arrays(gic.memory)
    total = sum(array.nbytes for array in arrays.values())
    if total > MAX_UNPACKED:
        raise UnusableInput(f"{path}: the machine holds {total:#x} bytes; a snapshot has at most {MAX_UNPACKED:#x}")
    packed = io.BytesIO()  # zipfile goes back in its file, which one that is packed again cannot
    np.savez_compressed(packed, **arrays)
    with replacing(path) as file:
        file.write(packed.getbuffer())


def load_snapshot(path: Path) -> Gic:
    """The machine that `save_snapshot` has written, with a RAM of its own.

    Raises:
        UnusableInput: the file cannot be read, is damaged, or is no snapshot of this version.
    """
    with _refusing(path), opened(path) as file:
        _check_size(file)
        archive = np.load(file)
        header = json.loads(archive["header"].tobytes())
        if header["kind"] != KIND or header["version"] != VERSION:
            raise ValueError(f"it says {header['kind']!r} version {header['version']!r}")
        gic = Gic(GicConfig(**header["config"]), GuestMemory(header["base"], header["size"]))
        _restore_machine(gic, archive)
        _restore_ram(gic.memory, archive)
    return gic


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Whatever zipfile, zlib, json, NumPy's reader of headers or our checks raise for a hostile file is one line."""
    try:
        yield
    except UnusableInput:
        raise
    except Exception as error:
        reason = str(error).splitlines() or [type(error).__name__]
        raise UnusableInput(f"{path}: is no {KIND} of version {VERSION}, or is damaged: {reason[0]}") from error


def _check_size(file: IO[bytes]) -> None:
    with zipfile.ZipFile(file) as archive:
        total = sum(member.file_size for member in archive.infolist())
    if total > MAX_UNPACKED:
        raise ValueError(f"it unpacks to {total:#x} bytes, more than {MAX_UNPACKED:#x}")
    file.seek(0)


def _header(gic: Gic) -> NDArray[np.uint8]:
    window = {"base": gic.memory.base, "size": gic.memory.size}
    header = {"kind": KIND, "version": VERSION, "config": asdict(gic.config)} | window
    return np.frombuffer(json.dumps(header).encode(), np.uint8)


def _machine_arrays(machine: Machine) -> dict[str, NDArray[Any]]:
    words, slots = np.flatnonzero(machine.chip), np.flatnonzero(machine.slots.any(axis=1))
    bytes_read = np.flatnonzero(machine.configuration.any(axis=1))
    return {
        "chip_at": words,
        "chip": machine.chip[words],
        "slots_at": slots,
        "slots": machine.slots[slots],
        "configuration_at": bytes_read,
        "configuration": machine.configuration[bytes_read],
    }


def _ram_arrays(memory: GuestMemory) -> dict[str, NDArray[Any]]:
    pages = np.flatnonzero(memory.page_state)
    octets = memory.octets.reshape(-1, PAGE_BYTES)
    return {"pages_at": pages, "page_state": memory.page_state[pages], "pages": octets[pages]}


def _restore_machine(gic: Gic, archive: NpzFile) -> None:
    machine = gic.machine
    fixed = np.arange(len(CONFIG)) != CONFIG.log_count
    configured = machine.chip[: len(CONFIG)][fixed]
    for name in ("chip", "slots", "configuration"):
        array = getattr(machine, name)
        array[array.nonzero()[0]] = 0
        at, rows = _sparse(archive, name, array)
        array[at] = rows
    if not np.array_equal(machine.chip[: len(CONFIG)][fixed], configured):
        raise ValueError("its words do not fit its configuration")
    for number in np.flatnonzero(machine.slots[:, SLOT.tag]):
        _check_slot(gic, machine.slots[number])


def _restore_ram(memory: GuestMemory, archive: NpzFile) -> None:
    octets = memory.octets.reshape(-1, PAGE_BYTES)
    at, pages = _sparse(archive, "pages", octets)
    states = archive["page_state"]
    if (
        states.shape != at.shape
        or states.dtype != np.uint8
        or not np.isin(states, (DIRTY, WRITTEN, DIRTY | WRITTEN)).all()
    ):
        raise ValueError("page_state does not say what pages were written")
    octets[at] = pages
    memory.page_state[at] = states


def _sparse(archive: NpzFile, name: str, array: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Where in `array` the rows of the file go, and the rows."""
    at, rows = archive[f"{name}_at"], archive[name]
    if at.ndim != 1 or at.dtype != np.int64 or rows.dtype != array.dtype or rows.shape != (len(at), *array.shape[1:]):
        raise ValueError(f"{name} is {rows.dtype} {rows.shape} at {at.dtype} {at.shape}")
    if len(at) and not (at[0] >= 0 and at[-1] < len(array) and (np.diff(at) > 0).all()):
        raise ValueError(f"{name}_at is not a list of its places")
    return at, rows


def _check_slot(gic: Gic, slot: NDArray[np.uint64]) -> None:
    """A slot writes its table back to where it came from without asking again whether that is RAM."""
    tag, id_bits = int(slot[SLOT.tag]), int(slot[SLOT.id_bits])
    first_group = SLOT.bits + (1 << gic.config.intid_bits) // 64
    lines = int.from_bytes(slot[first_group:].astype("<u8").tobytes(), "little").bit_length()
    fits = id_bits <= gic.config.intid_bits and lines <= table_bytes(id_bits) // (8 * LINE_WORDS)
    if not (tag & 1 and fits and gic.memory.covers(tag & ~1, table_bytes(id_bits))):
        raise ValueError(f"a pending table at {tag & ~1:#x} with {id_bits} INTID bits is not in RAM")
