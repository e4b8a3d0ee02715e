# SPDX-License-Identifier: Apache-2.0
"""`struct its_node` in RAM, found by its shape, without symbols: the driver's copy of an ITS's registers.

    phys_base, cmd_base, cmd_write, tables[8] = { base, val, order, psz }, three pointers, typer

That much has been the same from Linux 4.x to 7.x (drivers/irqchip/irq-gic-v3-its.c).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gicmodel.images.dump import Dump
from gicmodel.inspection.linux.scan import Places, is_kernel_address
from gicmodel.layouts.registers.its import BASERS, GITS_BASER, GITS_CBASER, GITS_TYPER
from gicmodel.layouts.table import Table, TableType
from gicmodel.memory import ADDRESS_BITS

QUEUE_BYTES = 0x1_0000
"""ITS_CMD_QUEUE_SZ."""

_WORD = 8
_ADDRESS = (1 << 64) - 1
_BASER_WORDS = 3
_BEFORE, _AFTER = 32, 40
"""Words around `cmd_base` that are read."""
_HIGHEST_ORDER = 32
_PAGE_SIZES = (0x1000, 0x4000, 0x1_0000)
_TYPER_RES0 = ~np.uint64(GITS_TYPER.field_mask())

Words = NDArray[np.uint64]


class ItsNode(NamedTuple):
    """A kernel's ITS: where `cmd_base` of its structure lies, and what the structure says.

    `address` is the ITS's own. `linear` is what the kernel adds to a physical address to reach it. `typer` is None
    where the structure shows none. `own`: a list in the structure that leads back to it shows that the dump's addresses
    are those of its kernel; where there is none the kernel is most likely a guest's, and what it calls physical is not.
    """

    place: int
    address: int
    queue: int
    cwriter: int
    basers: tuple[int, ...]
    typer: int | None
    linear: int
    own: bool

    def registers(self) -> dict[str, int]:
        """The registers by name. What only the hardware has, such as CREADR, is not among them."""
        cbaser = GITS_CBASER.pack(Valid=1, Physical_Address=self.queue, Size=QUEUE_BYTES // 0x1000 - 1)
        found = {"CBASER": cbaser, "CWRITER": self.cwriter}
        if self.typer is not None:
            found["TYPER"] = self.typer
        return found | {f"BASER{number}": value for number, value in enumerate(self.basers)}


def find_nodes(dump: Dump, places: Places) -> list[ItsNode]:
    """Every `struct its_node` of the dump: those of the dumped kernel first, then in the order of their ITSs."""
    nodes = {node.place: node for place in places.basers for node in _nodes_around(dump, place)}
    return sorted(nodes.values(), key=lambda node: (not node.own, node.address, node.place))


def _nodes_around(dump: Dump, place: int) -> Iterator[ItsNode]:
    """The structures in which the word at `place` may be the register of one of the eight tables."""
    for number in range(BASERS):
        cmd_base = place - (_BASER_WORDS * number + _BASER_WORDS) * _WORD
        octets, held = dump.gather(np.array([cmd_base - _BEFORE * _WORD], np.int64), (_BEFORE + _AFTER) * _WORD)
        if held[0] and (node := _node(dump, octets[0].view("<u8"), cmd_base)):
            yield node


def _node(dump: Dump, words: Words, place: int) -> ItsNode | None:
    """The structure whose `cmd_base`, at `place`, is word _BEFORE; None if it is none."""
    cmd_base, cmd_write = int(words[_BEFORE]), int(words[_BEFORE + 1])
    tables = words[_BEFORE + 2 :][: BASERS * _BASER_WORDS].reshape(BASERS, _BASER_WORDS)
    used = tables[tables[:, 1] != 0]
    if not (used.size and _are_tables(used) and is_kernel_address(words[_BEFORE : _BEFORE + 2]).all()):
        return None
    if tables[tables[:, 1] == 0].any() or not 0 <= cmd_write - cmd_base < QUEUE_BYTES:
        return None
    linears = {int(base) - Table.of_baser(int(value)).address for base, value, _ in used}
    if len(linears) != 1:
        return None
    (linear,) = linears
    queue = cmd_base - linear
    if queue < 0 or queue % QUEUE_BYTES or queue >> 52 or (cmd_write - cmd_base) % 32:
        return None
    return ItsNode(
        place,
        int(words[_BEFORE - 1]),
        queue,
        cmd_write - cmd_base,
        tuple(tables[:, 1].tolist()),
        _typer(words[_BEFORE + 2 + BASERS * _BASER_WORDS :]),
        linear,
        _is_own(dump, words, place - _BEFORE * _WORD, linear),
    )


def _are_tables(used: Words) -> bool:
    """Whether each row is { kernel address, a valid register of a type that there is, order and page size }."""
    base, value, sizes = used.T
    fields = GITS_BASER.decode(value)
    pages = sizes >> np.uint64(32)
    return bool(
        is_kernel_address(base).all()
        and fields["Valid"].all()
        and np.isin(fields["Type"], list(TableType)).all()
        and np.isin(pages, _PAGE_SIZES).all()
        and (sizes & np.uint64(0xFFFF_FFFF) < _HIGHEST_ORDER).all()
    )


def _typer(words: Words) -> int | None:
    """GITS_TYPER among the first words behind the tables: no address, Physical = 1, no bit that the register lacks."""
    for word in words[:8]:
        if word and not is_kernel_address(word[None])[0]:
            return int(word) if word & np.uint64(1) and not word & _TYPER_RES0 else None
    return None


def _is_own(dump: Dump, words: Words, start: int, linear: int) -> bool:
    """Whether a `struct list_head` among the words leads back to itself: its `next` to what has it as its `prev`.

    An empty one is its own (`dev_alloc_lock`), the list of devices leads to the first device.
    """
    own = np.uint64(start + linear & _ADDRESS) + np.arange(words.size, dtype=np.uint64) * np.uint64(_WORD)
    rows = np.flatnonzero(is_kernel_address(words))
    there = words[rows] - np.uint64(linear & _ADDRESS)
    inside = there < 1 << ADDRESS_BITS
    octets, held = dump.gather(there[inside].astype(np.int64), 2 * _WORD)
    rows = rows[inside]
    return bool((held & (octets.view("<u8")[:, 1] == own[rows])).any())
