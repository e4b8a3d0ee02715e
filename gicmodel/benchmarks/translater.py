# SPDX-License-Identifier: Apache-2.0
"""GITS_TRANSLATER writes in bulk, beside a compiled loop with the same three table loads and one bit set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gicmodel.benchmarks.boards import (
    COLLECTION_TABLE,
    DEVICE_TABLE,
    DEVICES,
    PENDING,
    PENDING_STRIDE,
    REDISTRIBUTORS,
    VPTS,
    Fields,
    booted_model,
    run,
)
from gicmodel.benchmarks.harness import Benchmark, Case, Goal, Side, require
from gicmodel.config import GicConfig
from gicmodel.fuzzing.peers.qemu.process import RAM_BASE
from gicmodel.hardware.kernels.words import get
from gicmodel.jit import kernel
from gicmodel.lab.lab import Lab
from gicmodel.layouts.commands import encode_many
from gicmodel.layouts.its_tables import CTE, DTE, ITE
from gicmodel.layouts.lpi_tables import BIT_MASK, FIRST_LPI, WORD_SHIFT
from gicmodel.layouts.registers.redistributor import GICR_CTLR, GICR_PENDBASER

MESSAGES, QUICK_MESSAGES = 57_344, 512
DTE_ITT_ADDR, ITE_INTID, ITE_ICID, CTE_RDBASE = DTE["ITT_addr"], ITE["IntID"], ITE["ICID"], CTE["RDbase"]
WORD, HALF, ITE_HALVES = np.uint64(8), np.uint64(4), np.uint64(ITE.bytes // 4)
HALF_SHIFT, ONE = np.uint64(32), np.uint64(1)


@kernel
def translate_bare(
    ram: NDArray[np.uint64],
    halves: NDArray[np.uint32],
    base: np.uint64,
    tables: NDArray[np.uint64],
    device_ids: NDArray[np.uint64],
    event_ids: NDArray[np.uint64],
) -> None:
    """Messages without a check: load DTE, ITE and CTE, set the pending bit.

    `ram` and `halves` are the same bytes from address `base` on; `tables` holds the addresses of the device table, the
    collection table, the first redistributor's pending table, and the distance to the next one's.
    """
    devices, collections = (tables[0] - base) // WORD, (tables[1] - base) // WORD
    pending, stride = (tables[2] - base) // WORD, tables[3] // WORD
    for index in range(device_ids.shape[0]):
        dte = ram[devices + device_ids[index]]
        place = (get(dte, DTE_ITT_ADDR) - base) // HALF + event_ids[index] * ITE_HALVES
        ite = np.uint64(halves[place]) | (np.uint64(halves[place + ONE]) << HALF_SHIFT)
        cte = ram[collections + get(ite, ITE_ICID)]
        word = pending + stride * get(cte, CTE_RDBASE) + (get(ite, ITE_INTID) >> WORD_SHIFT)
        ram[word] |= ONE << (get(ite, ITE_INTID) & BIT_MASK)


class Messages:
    """Events of many devices, each mapped to an LPI of its own, and a message for each in random order."""

    def __init__(self, caching: Literal["none", "retain"], count: int) -> None:
        # Lines of the cache for every ITE, and as many again.
        self.board = booted_model(GicConfig(caching=caching, redistributors=REDISTRIBUTORS, table_cache_lines=1 << 17))
        number = np.arange(count)
        event: Fields = {"DeviceID": number % DEVICES, "EventID": number // DEVICES}
        run(self.board, encode_many("MAPTI", pINTID=FIRST_LPI + number, ICID=number % REDISTRIBUTORS, **event))
        order = np.random.default_rng(1).permutation(count)
        self.devices, self.events = (number[order].astype(np.uint64) for number in event.values())
        self.bare = self.board.memory.words[: (VPTS - RAM_BASE) // 8].copy()
        first = (PENDING - RAM_BASE) // 8
        self.bare_pending = self.bare[first : first + REDISTRIBUTORS * PENDING_STRIDE // 8]
        self._tables = np.array([DEVICE_TABLE, COLLECTION_TABLE, PENDING, PENDING_STRIDE], np.uint64)

    def prepare(self) -> None:
        """Nothing pending in the model."""
        for rd in range(REDISTRIBUTORS):
            restart_lpis(self.board, rd)

    def translate(self) -> None:
        """What is measured."""
        self.board.gic.its[0].translate_many(self.devices, self.events)

    def prepare_bare(self) -> None:
        """Nothing pending in the peer's RAM."""
        self.bare_pending[:] = 0

    def translate_bare(self) -> None:
        """The peer."""
        base = np.uint64(RAM_BASE)
        translate_bare(self.bare, self.bare.view(np.uint32), base, self._tables, self.devices, self.events)

    def prove(self) -> None:
        """Raise Unproven unless the same LPIs are pending at the same redistributors."""
        self.prepare()
        self.translate()
        self.prepare_bare()
        self.translate_bare()
        for rd in range(REDISTRIBUTORS):
            self.board.redistributors[rd].write("GICR_CTLR", 0)
        bare = self.bare_pending.tobytes()
        require(any(bare) and self.board.memory.read(PENDING, len(bare)) == bare, "pending tables")


def restart_lpis(board: Lab, rd: int) -> None:
    """LPIs off and on, with a pending table said to be zero."""
    pendbaser = GICR_PENDBASER.pack(PTZ=1, Physical_Address=PENDING + rd * PENDING_STRIDE)
    board.redistributors[rd].write("GICR_CTLR", 0)
    board.redistributors[rd].write("GICR_PENDBASER", pendbaser)
    board.memory.zero(PENDING + rd * PENDING_STRIDE, PENDING_STRIDE)
    board.redistributors[rd].write("GICR_CTLR", GICR_CTLR.pack(EnableLPIs=1))


@contextmanager
def build(caching: Literal["none", "retain"], quick: bool) -> Iterator[Case]:
    """The model with or without caches, and the bare loop over a copy of its RAM."""
    messages = Messages(caching, QUICK_MESSAGES if quick else MESSAGES)
    count = len(messages.devices)
    model = Side(f"model, caching {caching}", messages.translate, count, messages.prepare)
    bare = Side("bare loop", messages.translate_bare, count, messages.prepare_bare)
    yield Case(model, bare, "message", messages.prove)


BENCHMARKS = (
    Benchmark("caching none", partial(build, "none"), Goal("speed", 0.5)),
    Benchmark("caching retain", partial(build, "retain"), Goal("speed", 0.4)),
)
