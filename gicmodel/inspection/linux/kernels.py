# SPDX-License-Identifier: Apache-2.0
"""The Linux kernels in a dump that drive an ITS: the one that was dumped, and those of its guests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from gicmodel.errors import UnusableInput
from gicmodel.images.dump import Dump
from gicmodel.images.segments import Segment
from gicmodel.inspection.linux.log import Log, read_logs
from gicmodel.inspection.linux.nodes import ItsNode, find_nodes
from gicmodel.inspection.linux.pages import Pages, Unreadable
from gicmodel.inspection.linux.scan import Places, Progress, scan
from gicmodel.inspection.linux.vmcoreinfo import Vmcoreinfo, read_notes
from gicmodel.layouts.table import Table

_MOST_LOG_BITS = 30


@dataclass(frozen=True)
class FoundKernel:
    """A kernel with an ITS: its nodes, by the addresses of the ITSs; what its log and its VMCOREINFO say, if found.

    `own`: the dump's addresses are this kernel's. Otherwise it is most likely a guest's, and what it calls physical
    addresses lie elsewhere in the dump.
    """

    nodes: tuple[ItsNode, ...]
    log: Log | None
    note: Vmcoreinfo | None

    @property
    def own(self) -> bool:
        """Whether the dump's addresses are its own."""
        return self.nodes[0].own

    def ram(self, dump: Dump) -> Dump:
        """The kernel's RAM by its own addresses: absent for one that is not the dumped one, as nothing tells of it."""
        return dump if self.own else Dump([Segment(0, np.empty(0, np.uint8))])

    def __str__(self) -> str:
        its = ", ".join(f"{node.address:#x}" for node in self.nodes)
        whose = "the dumped kernel" if self.own else "not the dumped kernel: a guest's, most likely"
        release = f", Linux {self.note.release}" if self.note else ""
        return f"{whose}{release}, ITS at {its}, struct its_node with cmd_base at {self.nodes[0].place:#x}"


@dataclass(frozen=True)
class Found:
    """Everything that one look at a dump has found of Linux kernels: `kernels`, the dumped one first."""

    places: Places
    kernels: list[FoundKernel] = field(default_factory=list)

    def choose(self, number: int | None) -> FoundKernel | None:
        """The kernel to look at: the dumped one, or that of a number. Raises UnusableInput if there is none of it."""
        if number is None:
            return next((kernel for kernel in self.kernels if kernel.own), None)
        if number >= len(self.kernels):
            raise UnusableInput(
                f"--node {number}: Linux kernels with an ITS in this dump: {len(self.kernels)}, from 0 on"
            )
        return self.kernels[number]


def find_kernels(dump: Dump, progress: Progress | None = None) -> Found:
    """Look through a dump's RAM for kernels that have an ITS."""
    places = scan(dump, progress)
    if not places.basers:
        return Found(places)
    logs, notes = read_logs(dump, places), read_notes(dump, places)
    # A guest's ITSs are told from the host's, and from another guest's, by where its kernel sees RAM, and by itself.
    groups = groupby(find_nodes(dump, places), key=lambda node: (not node.own, node.linear))
    return Found(places, [_kernel(dump, tuple(nodes), logs, notes) for _, nodes in groups])


def _kernel(dump: Dump, nodes: tuple[ItsNode, ...], logs: Sequence[Log], notes: Sequence[Vmcoreinfo]) -> FoundKernel:
    note = _note_of(dump, nodes[0], notes) if nodes[0].own else None
    return FoundKernel(nodes, _log_of(dump, nodes, logs, note), note)


def _note_of(dump: Dump, node: ItsNode, notes: Sequence[Vmcoreinfo]) -> Vmcoreinfo | None:
    """The VMCOREINFO whose page tables map the node where it is; where the dump lacks those, the only one there is."""
    for note in notes:
        try:
            if Pages(dump, node.linear, note).walk(node.place + node.linear) == node.place:
                return note
        except Unreadable:
            pass
    return notes[0] if notes and all(note.values == notes[0].values for note in notes) else None


def _log_of(dump: Dump, nodes: Iterable[ItsNode], logs: Sequence[Log], note: Vmcoreinfo | None) -> Log | None:
    """The log that names the tables of these ITSs: of several the one in the kernel's own buffer, if that is known."""
    tables = {Table.of_baser(baser).address for node in nodes for baser in node.basers if baser}
    fitting = [log for log in logs if log.tables & tables]
    if len(fitting) > 1 and note is not None:
        first, end = log_buffer(dump, note)
        fitting = [log for log in fitting if first <= log.first < end] or fitting
    said = {(log.property_table, tuple(sorted(log.pending_tables.items()))) for log in fitting}
    return fitting[0] if len(said) == 1 else None


def log_buffer(dump: Dump, note: Vmcoreinfo) -> tuple[int, int]:
    """Where the kernel's log lies in physical memory, up to an end (since Linux 5.10); (0, 0) if that is not told."""
    pages = Pages(dump, 0, note)
    try:
        ring = pages.number(pages.wanted("SYMBOL(prb)")) + pages.wanted("OFFSET(printk_ringbuffer.text_data_ring)")
        first = pages.physical(pages.number(ring + pages.wanted("OFFSET(prb_data_ring.data)")))
        bits = pages.number(ring + pages.wanted("OFFSET(prb_data_ring.size_bits)"), 4)
    except Unreadable:
        return 0, 0
    return first, first + (1 << min(bits, _MOST_LOG_BITS))
