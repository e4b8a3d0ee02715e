# SPDX-License-Identifier: Apache-2.0
"""One pass over a dump, at the speed of memory: where a Linux kernel left what tells about its GIC.

What is looked for is aligned to words of 8 bytes: structures are, and so is the text of a record of the kernel's log
(kernel/printk/printk_ringbuffer.c, and log_store() before Linux 5.10). BTF is aligned to 4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gicmodel.images.dump import Dump, Piece
from gicmodel.layouts.registers.its import GITS_BASER
from gicmodel.layouts.table import TableType

_BLOCK = 1 << 16
"""Words of a block: what stays in a core's cache while it is looked through several times."""
_WORD = 8
_PIECE = 1 << 26
"""Bytes read at once: those of a packed dump are unpacked together."""
_MOST, _MOST_BASERS = 1 << 12, 1 << 9
"""Places of a kind that are kept, as a dump is hostile: a line of the log takes less to look at than a structure."""

MOST_CPUS = 1 << 12
"""How many CPUs a kernel may have here."""

Words = NDArray[np.uint64]
Progress = Callable[[int, int], None]
"""Called as (bytes done, of how many) in the middle of a scan."""


def _word(text: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(text, "little"))


_VALID_AND_TYPE = np.uint64(GITS_BASER.pack(Valid=1, Type=7))
_DEVICE_TABLE = np.uint64(GITS_BASER.pack(Valid=1, Type=TableType.DEVICES))
_SEVEN = np.uint64((1 << 56) - 1)
_GICV3, _ITS = _word(b"GICv3: "), _word(b"ITS@0x00")
_VMCOREINFO = _word(b"\0\0\0\0VMCO")
"""An ELF note of type 0 whose name begins so, 8 bytes from its start."""
_BTF_MAGIC = np.uint32(0x0001_EB9F)
"""struct btf_header: magic, version 1, no flags (include/uapi/linux/btf.h)."""


@dataclass
class Places:
    """Physical addresses, ascending: words that may be a device table's GITS_BASER in a `struct its_baser`, records of
    the log that begin as the drivers' do, ELF notes named VMCOREINFO, headers of BTF.

    `full` names the kinds of which there were too many to keep.
    """

    basers: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    notes: list[int] = field(default_factory=list)
    btf: list[int] = field(default_factory=list)
    full: set[str] = field(default_factory=set)


def scan(dump: Dump, progress: Progress | None = None) -> Places:
    """Look through all RAM that a dump holds."""
    places = Places()
    done = told = 0
    for piece in _aligned(dump):
        if progress and done - told >= _PIECE:
            told = done
            progress(done, dump.octets)
        done += piece.octets.size
        words = piece.octets[: piece.octets.size // _WORD * _WORD].view("<u8")
        for first in range(0, len(words), _BLOCK):
            _look(places, words[first : first + _BLOCK], piece.address + first * _WORD)
    return places


def _aligned(dump: Dump) -> Iterator[Piece]:
    """What the dump holds, from word boundaries on."""
    for segment in dump.segments:
        first = -segment.address % _WORD
        for low in range(first, segment.end - segment.address, _PIECE):
            high = min(low + _PIECE, segment.end - segment.address)
            yield Piece(segment.address + low, segment.octets(low, high))


def _look(places: Places, words: Words, address: int) -> None:
    found = {
        "basers": _basers(words),
        "lines": (words & _SEVEN == _GICV3) | (words == _ITS),
        "notes": words == _VMCOREINFO,
    }
    for kind, hits in found.items():
        _keep(places, kind, address + np.flatnonzero(hits) * _WORD)
    _keep(places, "btf", address + np.flatnonzero(words.view("<u4") == _BTF_MAGIC) * 4)


def _basers(words: Words) -> NDArray[np.bool_]:
    """Which words are a valid device table's register between a kernel address and a page size of 4, 16 or 64 KiB.

    struct its_baser is { void *base; u64 val; u32 order; u32 psz } (drivers/irqchip/irq-gic-v3-its.c). At the edges of
    a block the neighbours are not looked at.
    """
    hits: NDArray[np.bool_] = words & _VALID_AND_TYPE == _DEVICE_TABLE
    if hits.any():
        hits[1:] &= is_kernel_address(words[:-1])
        page = words[1:] >> np.uint64(32)
        hits[:-1] &= (page == 0x1000) | (page == 0x4000) | (page == 0x1_0000)
    return hits


def is_kernel_address(words: Words) -> NDArray[np.bool_]:
    """Whether a word is an address of an AArch64 kernel: of 48 bits, or of 52 as Linux may have them since 6.9."""
    return np.asarray(words >> np.uint64(52) == 0xFFF)


def _keep(places: Places, kind: str, addresses: NDArray[np.int64]) -> None:
    kept: list[int] = getattr(places, kind)
    room = (_MOST_BASERS if kind == "basers" else _MOST) - len(kept)
    if addresses.size > room:
        places.full.add(kind)
    kept += addresses[:room].tolist()
