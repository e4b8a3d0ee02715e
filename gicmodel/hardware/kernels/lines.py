# SPDX-License-Identifier: Apache-2.0
"""The output lines of PEs: IRQ, FIQ and their virtual twins, worked out only when somebody asks for them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gicmodel.hardware.kernels.cpu_interface import GROUP0, GROUP1, lowest_of, signalled_group
from gicmodel.hardware.kernels.state import CONFIG, DIST, DIST_AT, RD, Index, Machine, Word, rd_at, stir
from gicmodel.hardware.kernels.virtual_interface import signalled_virtual_group
from gicmodel.hardware.kernels.words import ZERO
from gicmodel.jit import kernel

IRQ, FIQ = np.uint64(1), np.uint64(2)
VIRTUAL_SHIFT = np.uint64(2)
"""From IRQ to VIRQ, and from FIQ to VFIQ."""


@kernel
def line_of(group: Word) -> Word:
    """By what a PE is told of an interrupt: FIQ of Group 0, IRQ of Group 1, nothing of 2, which is none."""
    if group == GROUP0:
        return FIQ
    if group == GROUP1:
        return IRQ
    return ZERO


@kernel
def lines_of(m: Machine, rd: Index) -> Word:
    """The lines of a PE that are high, as bits: IRQ, FIQ, VIRQ, VFIQ."""
    return line_of(signalled_group(m, rd)) | (line_of(signalled_virtual_group(m, rd)) << VIRTUAL_SHIFT)


@kernel
def changed_lines(m: Machine, told: NDArray[np.uint64]) -> tuple[Index, Word]:
    """(PE, which of its lines) of a PE one of whose lines is not as `told`, for each PE; or (-1, 0) if there is none.

    Only PEs are looked at to which something happened, and those no more of which all is told then.
    """
    if m.chip[DIST_AT + DIST.stirred] != ZERO:
        m.chip[DIST_AT + DIST.stirred] = ZERO
        for rd in range(np.int64(m.chip[CONFIG.redistributors])):
            stir(m, rd)
    for rd in range(np.int64(m.chip[CONFIG.redistributors])):
        if m.chip[rd_at(rd) + RD.stirred] != ZERO:
            differ = lines_of(m, rd) ^ told[rd]
            line = lowest_of(differ)
            if line == differ:
                m.chip[rd_at(rd) + RD.stirred] = ZERO
            if line != ZERO:
                return rd, line
    return np.int64(-1), ZERO
