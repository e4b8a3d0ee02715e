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

from gicmodel.errors import UnusableInput
from gicmodel.files import MAX_UNPACKED, opened_whole, refusing, replacing
from gicmodel.images import Segment
from gicmodel.memory import ADDRESS_BITS, PAGE_BYTES
from gicmodel.registers_file import Registers, check_registers

KIND, VERSION = "gicmodel snapshot", 2
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
    with opened_whole(path) as file, _reading(file, path) as contents:
        yield contents


@contextmanager
def _reading(file: IO[bytes], path: Path) -> Iterator[tuple[dict[str, Any], Arrays]]:
    try:
        # A machine larger than the memory that there is: the block may make it.
        with refusing(path):
            arrays = Arrays(file)
            yield _header(arrays), arrays
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


def _header(arrays: Arrays) -> dict[str, Any]:
    text = arrays["header"].tobytes()
    with _damaged("its header"):
        header = json.loads(text)
    if not isinstance(header, dict):
        raise ValueError("its header is no object")
    if (header.get("kind"), header.get("version")) != (KIND, VERSION):
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


def read_registers(path: Path) -> Registers:
    """The registers of the machine in a file; raises UnusableInput."""
    with opened_whole(path) as file:
        return registers_in(file, path)


def registers_in(file: IO[bytes], path: Path) -> Registers:
    """As `read_registers`, of a file that is open already."""
    with _reading(file, path) as (header, _):
        registers: Registers = header["registers"]
        check_registers(path, registers)
        return registers


def read_ram(path: Path) -> list[Segment]:
    """The pages of RAM that were written, in runs; offsets count bytes of the array `pages`. Raises UnusableInput."""
    with opened_whole(path) as file:
        return ram_in(file, path)


def ram_in(file: IO[bytes], path: Path) -> list[Segment]:
    """As `read_ram`, of a file that is open already."""
    with _reading(file, path) as (header, archive):
        base = header["base"]
        at, pages = sparse(archive, "pages", ((1 << ADDRESS_BITS) // PAGE_BYTES, PAGE_BYTES), np.dtype(np.uint8))
        if base < 0 or base % PAGE_BYTES or (len(at) and base + (int(at[-1]) + 1) * PAGE_BYTES > 1 << ADDRESS_BITS):
            raise ValueError(f"RAM at {base:#x} is not in the {ADDRESS_BITS}-bit physical address space")
    starts = np.flatnonzero(np.diff(at, prepend=-2) != 1)
    runs = [run for run in np.split(np.arange(len(at)), starts) if run.size]
    return [
        Segment(base + int(at[run[0]]) * PAGE_BYTES, pages[run[0] : run[-1] + 1].reshape(-1), int(run[0]) * PAGE_BYTES)
        for run in runs
    ]


def _check_size(file: IO[bytes]) -> None:
    with zipfile.ZipFile(file) as archive:
        total = sum(member.file_size for member in archive.infolist())
    if total > MAX_UNPACKED:
        raise ValueError(f"it unpacks to {total:#x} bytes, more than {MAX_UNPACKED:#x}")
    file.seek(0)
