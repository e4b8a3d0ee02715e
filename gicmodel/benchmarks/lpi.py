# SPDX-License-Identifier: Apache-2.0
"""LPI pending tables: read when EnableLPIs is set, beside numpy.copyto of the same bytes.

A load is one write of GICR_CTLR, from Python. Either the way to the register is taken off, as for residencies, or it is
part of what is measured: then it is most of the time for tables of 16 bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np

from gicmodel.benchmarks.boards import PENDING, PENDING_STRIDE, booted_model
from gicmodel.benchmarks.harness import Benchmark, Case, Goal, Side, require
from gicmodel.config import GicConfig
from gicmodel.hardware.kernels.state import SLOT
from gicmodel.layouts.lpi_tables import table_bytes
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.redistributor import GICR_CTLR

REDISTRIBUTORS = 64


@contextmanager
def load_beside_memcpy(id_bits: int, whole: bool, quick: bool) -> Iterator[Case]:
    """EnableLPIs 0 to 1 on many redistributors, one after the other; `whole` with the way to the register."""
    redistributors = 4 if quick else REDISTRIBUTORS
    board = booted_model(GicConfig(redistributors=redistributors, intid_bits=id_bits))
    words = table_bytes(id_bits) // 8
    tables = np.random.default_rng(1).integers(0, 1 << 64, (redistributors, words), np.uint64)

    def disable() -> None:
        for redistributor in board.gic.redistributors:
            redistributor.write(CTLR, 0, 4)

    def enable() -> None:
        for redistributor in board.gic.redistributors:
            redistributor.write(CTLR, ENABLED, 4)

    def prove() -> None:
        disable()
        for rd in range(redistributors):
            board.memory.write(PENDING + rd * PENDING_STRIDE, tables[rd].tobytes())
        enable()
        held = board.gic.machine.slots[:redistributors, SLOT.bits :]
        require(np.array_equal(held[:, :words], tables), "pending tables")

    ram = board.memory.view(PENDING, redistributors * PENDING_STRIDE // 8, np.uint64)
    source = ram.reshape(redistributors, -1)[:, :words]
    copy = Side("numpy.copyto", partial(np.copyto, np.zeros_like(tables), source), tables.nbytes)
    # While EnableLPIs is 0, clearing it does nothing.
    model = Side("model", enable, tables.nbytes, disable, None if whole else disable)
    yield Case(model, copy, "byte", prove)


CTLR = register("GICR_CTLR").offset
ENABLED = GICR_CTLR.pack(EnableLPIs=1)
SIZES = (16, 18, 20)
BENCHMARKS = tuple(
    Benchmark(
        f"load, {bits}-bit tables{', with the register write' * whole}",
        partial(load_beside_memcpy, bits, whole),
        # Of smaller tables the register write is Python's cost of it, above all.
        None if whole and bits != SIZES[-1] else Goal("speed", 0.5),
    )
    for whole in (False, True)
    for bits in SIZES
)
