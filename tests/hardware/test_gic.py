# SPDX-License-Identifier: Apache-2.0
"""A GIC as a whole."""

import gc
import weakref

from gicmodel.config import GicConfig
from gicmodel.hardware import Gic
from gicmodel.memory import PAGE_BYTES, GuestMemory


def test_a_gic_that_is_let_go_takes_its_memory_along():
    """Nothing in it refers to itself: campaigns boot thousands, and do not wait for the garbage collector."""
    gc.disable()
    try:
        gic = Gic(GicConfig(), GuestMemory(0, PAGE_BYTES))
        gic.its[0].write(0, 0, 4)
        parts = [weakref.ref(part) for part in (gic, gic.its[0], gic.redistributors[0], gic.distributor, gic.memory)]
        del gic
        assert [part() for part in parts] == [None] * len(parts)
    finally:
        gc.enable()
