# SPDX-License-Identifier: Apache-2.0
"""A vPE with a 16-bit VPT is scheduled and descheduled, beside QEMU: two register writes each.

Taken off on both sides: the way to the register, which is a round trip of qtest for QEMU, and for the model Python's
register face and its call of a compiled function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np

from gicmodel.benchmarks.boards import VCONFIGURATION, VPTS, booted_twins
from gicmodel.benchmarks.commands import INTID_BITS
from gicmodel.benchmarks.harness import Benchmark, Case, Goal, Side, require
from gicmodel.lab.lab import Software
from gicmodel.layouts.lpi_tables import FIRST_LPI, FIRST_LPI_BYTE
from gicmodel.layouts.registers.redistributor import GICR_VPENDBASER_V40, GICR_VPROPBASER_V40

DENSITIES = {"empty": 0.0, "1 % pending": 0.01, "all pending": 1.0}
REPEATS = 20
"""Residencies of a run: one is not much longer than a look at the clock."""


@contextmanager
def build(density: float, quick: bool) -> Iterator[Case]:
    """Both machines with the same VPT, all of whose vLPIs are enabled."""
    repeats = 1 if quick else REPEATS
    table = vpt(density)
    with booted_twins() as twins:
        sides = _side("model", twins[0], table, repeats), _side("QEMU", twins[1], table, repeats)
        yield Case(*sides, "residency", partial(prove, *twins, table))


def vpt(density: float) -> bytes:
    """A VPT of which a random part of the vLPIs is pending."""
    bits = np.random.default_rng(1).random(1 << INTID_BITS) < density
    bits[:FIRST_LPI] = False
    return np.packbits(bits, bitorder="little").tobytes()


def reside(board: Software) -> None:
    """Schedule, deschedule."""
    board.redistributors[0].write("GICR_VPENDBASER", SCHEDULE)
    board.redistributors[0].write("GICR_VPENDBASER", 0)


def two_writes(board: Software) -> None:
    """The way to the register, twice: with no vPE resident, clearing Valid does nothing."""
    board.redistributors[0].write("GICR_VPENDBASER", 0)
    board.redistributors[0].write("GICR_VPENDBASER", 0)


SCHEDULE = GICR_VPENDBASER_V40.pack(Valid=1, Physical_Address=VPTS)


def _side(name: str, board: Software, table: bytes, repeats: int) -> Side:
    board.memory.write(VPTS, table)
    vpropbaser = GICR_VPROPBASER_V40.pack(Physical_Address=VCONFIGURATION, IDbits=INTID_BITS - 1)
    board.redistributors[0].write("GICR_VPROPBASER", vpropbaser)

    def repeat(what: Callable[[Software], None]) -> None:
        for _ in range(repeats):
            what(board)

    return Side(name, partial(repeat, reside), repeats, overhead=partial(repeat, two_writes))


def prove(model: Software, qemu: Software, table: bytes) -> None:
    """Raise Unproven unless both report the same PendingLast and leave the VPT as it was."""
    pending = any(table[FIRST_LPI_BYTE:])
    for board in (model, qemu):
        reside(board)
        vpendbaser = GICR_VPENDBASER_V40.unpack(board.redistributors[0].read("GICR_VPENDBASER"))
        require(vpendbaser["PendingLast"] == pending, "PendingLast")
        require(board.memory.read(VPTS, len(table)) == table, "VPT")


BENCHMARKS = tuple(Benchmark(name, partial(build, density), Goal("speed", 50)) for name, density in DENSITIES.items())
