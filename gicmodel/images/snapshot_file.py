# SPDX-License-Identifier: Apache-2.0
"""The file that a machine is saved in: a compressed `.npz` with a header in JSON.

Of each array it has the rows that are not zero, with their numbers. What the arrays mean is known to
`gicmodel.hardware.snapshot`; registers and RAM can be read without it.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from gicmodel.config import FRAME_BYTES
from gicmodel.errors import UnusableInput
from gicmodel.images.dump import ABSENT, Dump, overlaid, with_zeros
from gicmodel.images.files import MAX_UNPACKED, opened_whole, refusing, replacing
from gicmodel.images.registers import RD_BASE, Registers, check_registers, given
from gicmodel.images.segments import Segment
from gicmodel.layouts.lpi_tables import ID_BITS
from gicmodel.memory import ADDRESS_BITS, PAGE_BYTES

KIND, VERSION = "gicmodel snapshot", 3
_LEGIBLE = (2, VERSION)
"""Versions whose registers and RAM can be read; what else the machine holds is where it is in `VERSION` alone."""
_SLOT = ("tag", "id_bits", "held", "bits")
"""Of a pending table that a redistributor may hold: its address with bit 0 set, its width, whether, and the bits."""
MOST_FRAMES = 4096

_HEADER = {"config": dict, "registers": dict, "base": int, "size": int}


def write_snapshot(path: Path, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a header and arrays, in place of `path` when complete; UnusableInput if too large to be read again."""
    about = np.frombuffer(json.dumps({"kind": KIND, "version": VERSION, **header}).encode(), np.uint8)
    total = about.nbytes + sum(array.nbytes for array in arrays.values())
    if total > MAX_UNPACKED:
        raise UnusableInput(f"{path}: the machine holds {total:#x} bytes; a snapshot has at most {MAX_UNPACKED:#x}")
    packed = io.BytesIO()  # zipfile goes back in its file, which one that is packed again cannot
    np.savez_compressed(packed, header=about, **arrays)  # type: ignore[arg-type]
    with replacing(path) as file:
        file.write(packed.getbuffer())


class Arrays:
    """The arrays of a file, unpacked one by one; ValueError, by name, for one that is missing or damaged."""

    def __init__(self, file: IO[bytes]) -> None:
        with _damaged("the archive"):
            _check_size(file)
            self._archive: Mapping[str, NDArray[Any]] = np.load(file)

    def __getitem__(self, name: str) -> NDArray[Any]:
        with _damaged(name):
            return self._archive[name]


@contextmanager
def reading(path: Path) -> Iterator[tuple[dict[str, Any], Arrays]]:
    """The header and the arrays of a file, to be checked in the block: ValueError there is UnusableInput here.

    Of the header `config` and `registers` are dicts, `base` and `size` integers.
    """
    with opened_whole(path) as file, _reading(file, path, (VERSION,)) as contents:
        yield contents


@contextmanager
def _reading(
    file: IO[bytes], path: Path, versions: tuple[int, ...] = _LEGIBLE
) -> Iterator[tuple[dict[str, Any], Arrays]]:
    try:
        # A machine larger than the memory that there is: the block may make it.
        with refusing(path):
            arrays = Arrays(file)
            yield _header(arrays, versions), arrays
    except ValueError as error:
        reason = str(error).partition("\n")[0]
        raise UnusableInput(f"{path}: is no {KIND} of version {VERSION}, or is damaged: {reason}") from error


@contextmanager
def _damaged(what: str) -> Iterator[None]:
    """ValueError for whatever zipfile, zlib and NumPy's readers raise for hostile bytes, which none of them lists."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(f"{what}: {error or type(error).__name__}") from error


def _header(arrays: Arrays, versions: tuple[int, ...]) -> dict[str, Any]:
    text = arrays["header"].tobytes()
    with _damaged("its header"):
        header = json.loads(text)
    if not isinstance(header, dict):
        raise ValueError("its header is no object")
    if header.get("kind") != KIND or header.get("version") not in versions:
        raise ValueError(f"it says {header.get('kind')!r} version {header.get('version')!r}")
    for name, kind in _HEADER.items():
        if type(header.get(name)) is not kind:
            raise ValueError(f"{name!r} in its header is no {kind.__name__}")
    return header


def sparse(
    archive: Arrays, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Where in an array of `shape` and `dtype` the rows of the file go, ascending, and the rows; or ValueError."""
    at, rows = archive[f"{name}_at"], archive[name]
    if at.ndim != 1 or at.dtype != np.int64 or rows.dtype != dtype or rows.shape != (len(at), *shape[1:]):
        raise ValueError(f"{name} is {rows.dtype} {rows.shape} at {at.dtype} {at.shape}")
    if len(at) and not (at[0] >= 0 and at[-1] < shape[0] and (np.diff(at) > 0).all()):
        raise ValueError(f"{name}_at is not a list of its places")
    return at, rows


def registers_in(file: IO[bytes], path: Path) -> Registers:
    """The registers of the machine in an open file; redistributors have RD_base if commands go by it.

    Raises UnusableInput.
    """
    with _reading(file, path) as (header, _):
        registers: Registers = header["registers"]
        check_registers(path, registers)
        for frame, address in _redistributor_addresses(header["config"]):
            registers.get(frame, {})[RD_BASE] = address
        check_registers(path, registers)
        return given(registers, str(path))


def _redistributor_addresses(config: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Where each redistributor is, for a machine with GITS_TYPER.PTA = 1: they follow each other.

    One has two frames, in GICv4 four (IHI0069, GIC Redistributor register map).
    """
    first, count = config.get("redistributor_base"), config.get("redistributors")
    if config.get("pta") and isinstance(first, int) and isinstance(count, int):
        size = FRAME_BYTES * (2 if config.get("architecture") == "3" else 4)
        for number in range(min(count, MOST_FRAMES)):
            yield f"GICR{number}", first + number * size


def dump_in(file: IO[bytes], path: Path) -> Dump:
    """The RAM of the machine in an open file, whose offsets count bytes of the array `pages`. Raises UnusableInput.

    A snapshot has all that was ever written: the rest of RAM is zero, and not absent. Where the file tells of pending
    tables that redistributors hold instead of RAM, these are where to look for pending bits.
    """
    with _reading(file, path) as (header, archive):
        base, size = header["base"], header["size"]
        if base < 0 or size <= 0 or base % PAGE_BYTES or size % PAGE_BYTES or base + size > 1 << ADDRESS_BITS:
            raise ValueError(f"RAM at {base:#x} + {size:#x} is not in the {ADDRESS_BITS}-bit physical address space")
        at, pages = sparse(archive, "pages", (size // PAGE_BYTES, PAGE_BYTES), np.dtype(np.uint8))
        held = _held_tables(header, archive, base, base + size)
    starts = np.flatnonzero(np.diff(at, prepend=-2) != 1)
    runs = [run for run in np.split(np.arange(len(at)), starts) if run.size]
    segments = [
        Segment(base + int(at[run[0]]) * PAGE_BYTES, pages[run[0] : run[-1] + 1].reshape(-1), int(run[0]) * PAGE_BYTES)
        for run in runs
    ]
    ram = with_zeros(segments, base, size)
    return Dump(ram, None if held is None else Dump(overlaid(ram, held)))


def _held_tables(header: dict[str, Any], archive: Arrays, base: int, end: int) -> list[Segment] | None:
    """The pending tables that redistributors hold, by address; of two at one place the narrower."""
    if "slot" not in header:
        return None
    columns, slots = header["slot"], archive["slots"]
    if slots.ndim != 2 or slots.dtype != np.uint64:
        raise ValueError(f"slots is {slots.dtype} {slots.shape}")
    tag, id_bits, held, bits = (columns.get(name) if isinstance(columns, dict) else None for name in _SLOT)
    if not all(type(column) is int and 0 <= column < slots.shape[1] for column in (tag, id_bits, held, bits)):
        raise ValueError(f"the columns of slots are {columns!r}")
    found: list[Segment] = []
    for row in slots[(slots[:, tag] & np.uint64(1) == 1) & (slots[:, held] == 1)]:
        table = Segment(int(row[tag]) & ~1, _pending_table(row[bits:], int(row[id_bits])), ABSENT)
        if table.address < base or table.end > end:
            raise ValueError(f"a pending table at {table.address:#x} of {table.data.size:#x} bytes is not in RAM")
        found.append(table)
    found.sort(key=lambda table: (table.address, table.end))
    return [table for n, table in enumerate(found) if not n or table.address >= found[n - 1].end]


def _pending_table(words: NDArray[np.uint64], id_bits: int) -> NDArray[np.uint8]:
    if id_bits not in ID_BITS or 1 << id_bits > 64 * words.size:
        raise ValueError(f"a pending table of {id_bits} INTID bits has {words.size} words")
    return words[: (1 << id_bits) // 64].astype("<u8").view(np.uint8)


def _check_size(file: IO[bytes]) -> None:
    with zipfile.ZipFile(file) as archive:
        total = sum(member.file_size for member in archive.infolist())
    if total > MAX_UNPACKED:
        raise ValueError(f"it unpacks to {total:#x} bytes, more than {MAX_UNPACKED:#x}")
    file.seek(0)
