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
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from gicmodel.errors import UnusableInput
from gicmodel.files import MAX_UNPACKED, opened, replacing
from gicmodel.images import Segment
from gicmodel.memory import ADDRESS_BITS, PAGE_BYTES
from gicmodel.registers_file import Registers, check_registers

KIND, VERSION = "gicmodel snapshot", 2


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


@contextmanager
def reading(path: Path) -> Iterator[tuple[dict[str, Any], NpzFile]]:
    """The header and the arrays of a file, to be checked in the block.

    Whatever zipfile, zlib, json, NumPy's reader of headers or the checks raise for a hostile file is UnusableInput.
    """
    try:
        with opened(path) as file:
            _check_size(file)
            archive = np.load(file)
            header = json.loads(archive["header"].tobytes())
            if header["kind"] != KIND or header["version"] != VERSION:
                raise ValueError(f"it says {header['kind']!r} version {header['version']!r}")
            yield header, archive
    except UnusableInput:
        raise
    except Exception as error:
        reason = str(error).splitlines() or [type(error).__name__]
        raise UnusableInput(f"{path}: is no {KIND} of version {VERSION}, or is damaged: {reason[0]}") from error


def sparse(
    archive: NpzFile, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]
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
    with reading(path) as (header, _):
        registers: Registers = header["registers"]
        check_registers(path, registers)
        return registers


def read_ram(path: Path) -> list[Segment]:
    """The pages of RAM that were written, in runs; offsets count bytes of the array `pages`. Raises UnusableInput."""
    with reading(path) as (header, archive):
        base = int(header["base"])
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
