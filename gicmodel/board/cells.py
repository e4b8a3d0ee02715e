# SPDX-License-Identifier: Apache-2.0
"""The words that the hooks share with Python: the board's time, and a row for each processing element (PE)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gicmodel.hardware.kernels.state import MOST_REDISTRIBUTORS

CODE_LINE_BYTES = 64
CODE_LINES = 256
"""Cache lines of code that were invalidated last, in a ring."""


class BoardWords(NamedTuple):
    """Words of the board.

    `scratch` is where Unicorn's registers are read to, `attributes` what it says of a page besides its address; `now`
    the time, which instructions and reads of the counter advance; `deadline` when the PE that runs has to stop; `row`
    where the row of that PE begins; `stopped` whether a hook stopped it; `instructions` how many were executed; `pes`
    how many PEs there are; `el2` whether EL2 is the software's; `pfr0` what ID_AA64PFR0_EL1 says; `code_lines` how many
    lines of code were ever invalidated, `lines` the last of them; `ram` where RAM begins.
    """

    scratch: int
    now: int
    deadline: int
    row: int
    stopped: int
    instructions: int
    pes: int
    el2: int
    pfr0: int
    code_lines: int
    attributes: int
    ram: int
    lines: int


class PeWords(NamedTuple):
    """Words of one PE.

    `inputs`: what the GIC drives, bit n is `Line` n. The system registers that decide what an access of another one, or
    a timer, does; then control and compare value of the virtual, the physical and the EL2 physical timer. `stale_tlb`:
    another PE has told all to drop translations; `code_seen`: how many lines of code this one has dropped; `state`:
    where Unicorn has its state; `outputs`: what the timers drive, bit n is the output of the n-th.
    """

    inputs: int
    mpidr: int
    hcr: int
    cntvoff: int
    cnthctl: int
    cntkctl: int
    virtual_ctl: int
    virtual_cval: int
    physical_ctl: int
    physical_cval: int
    hyp_ctl: int
    hyp_cval: int
    stale_tlb: int
    code_seen: int
    state: int
    outputs: int


BOARD = BoardWords(*range(len(BoardWords._fields)))
PE = PeWords(*range(len(PeWords._fields)))
PE_WORDS = len(PE)
FIRST_ROW = BOARD.lines + CODE_LINES
MOST_CELLS = FIRST_ROW + PE_WORDS * MOST_REDISTRIBUTORS

Cells = NDArray[np.uint64]


def row_at(number: int) -> int:
    """Where the row of a PE begins."""
    return FIRST_ROW + PE_WORDS * number
