# SPDX-License-Identifier: Apache-2.0
"""Table decode as `inspect` does it, beside numpy.frombuffer and one mask pass over the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
from numpy.typing import NDArray

from gicmodel.benchmarks.harness import Benchmark, Case, Goal, Side, require
from gicmodel.images.segments import Segment
from gicmodel.inspection import Dump
from gicmodel.inspection.profiles import DEVICE, Decoded
from gicmodel.inspection.table import Entries, nonzero
from gicmodel.layouts.its_tables import DTE

DTES, QUICK_DTES = 1 << 16, 1 << 10
TABLE = 0x8000_0000


@contextmanager
def build(occupied: float, quick: bool) -> Iterator[Case]:
    """A flat device table with DeviceIDs of 16 bits, a random part of which is mapped."""
    rng = np.random.default_rng(1)
    mapped = rng.random(QUICK_DTES if quick else DTES) < occupied
    itts = rng.integers(0, 1 << 40, len(mapped)) << 8
    sizes = rng.integers(0, 16, len(mapped))
    words = DTE.encode(Valid=1, Size=sizes, ITT_addr=itts)[:, 0] * mapped
    octets = words.astype("<u8").tobytes()
    dump = Dump([Segment(TABLE, np.frombuffer(octets, np.uint8))])

    def decode() -> tuple[Entries, Decoded]:
        entries = nonzero(dump, TABLE, len(octets), DTE.bytes)
        return entries, DEVICE.decode(entries.octets)

    def mask() -> NDArray[np.uint64]:
        table: NDArray[np.uint64] = np.frombuffer(octets, "<u8") & DTE["ITT_addr"].mask
        return table

    def prove() -> None:
        entries, decoded = decode()
        ids = entries.numbers()
        require(np.array_equal(ids, np.flatnonzero(mapped)), "DeviceIDs")
        require(np.array_equal(ids[decoded.used], ids) and not ids[decoded.reserved].size, "DTEs in use")
        require(np.array_equal(decoded.columns["ITT_addr"], itts[mapped]), "ITTs")
        require(np.array_equal(decoded.columns["Size"], sizes[mapped]), "sizes")

    size = len(octets)
    yield Case(Side("inspection", decode, size), Side("frombuffer, one mask", mask, size), "byte", prove)


BENCHMARKS = (
    Benchmark("device table, full", partial(build, 1.0), Goal("speed", 0.3)),
    Benchmark("device table, 1 % mapped", partial(build, 0.01), Goal("speed", 0.3)),
)
