# SPDX-License-Identifier: Apache-2.0
"""LPI pending tables: read when EnableLPIs is set, beside numpy.copyto of the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np

from gicmodel.benchmarks.boards import PENDING, PENDING_STRIDE, booted_model
from gicmodel.benchmarks.harness import Benchmark, Case, Goal, Side, require
from gicmodel.hardware import GicConfig
from gicmodel.hardware.kernels.state import SLOT
from gicmodel.layouts.registers import GICR_CTLR
from gicmodel.layouts.vpt import table_bytes

REDISTRIBUTORS = 64


@contextmanager
def load_beside_memcpy(id_bits: int, quick: bool) -> Iterator[Case]:
    """EnableLPIs 0 to 1 on many redistributors, one after the other."""
    redistributors = 4 if quick else REDISTRIBUTORS
    board = booted_model(GicConfig(redistributors=redistributors, intid_bits=id_bits))
    words = table_bytes(id_bits) // 8
    tables = np.random.default_rng(1).integers(0, 1 << 64, (redistributors, words), np.uint64)

    def disable() -> None:
        for rd in range(redistributors):
            board.write_redistributor(rd, "GICR_CTLR", 0)

    def enable() -> None:
        for rd in range(redistributors):
            board.write_redistributor(rd, "GICR_CTLR", ENABLED)

    def prove() -> None:
        disable()
        for rd in range(redistributors):
            board.write_memory(PENDING + rd * PENDING_STRIDE, tables[rd].tobytes())
        enable()
        held = board.gic.machine.slots[:redistributors, SLOT.bits :]
        require(np.array_equal(held[:, :words], tables), "pending tables")

    ram = board.memory.view(PENDING, redistributors * PENDING_STRIDE // 8, np.uint64)
    source = ram.reshape(redistributors, -1)[:, :words]
    copy = Side("numpy.copyto", partial(np.copyto, np.zeros_like(tables), source), tables.nbytes)
    yield Case(Side("model", enable, tables.nbytes, disable), copy, "byte", prove)


ENABLED = GICR_CTLR.pack(EnableLPIs=1)
BENCHMARKS = (
    Benchmark("load, 16-bit tables", partial(load_beside_memcpy, 16), Goal("speed", 0.5)),
    Benchmark("load, 20-bit tables", partial(load_beside_memcpy, 20), Goal("speed", 0.5)),
)
