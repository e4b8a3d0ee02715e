# SPDX-License-Identifier: Apache-2.0
"""The ITS commands that Linux sends (IHI0069 5.3), one of a mnemonic or many at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gicmodel.layouts.commands import COMMAND_BYTES, SYNC, VSYNC
from gicmodel.layouts.layout import Layout

Commands: TypeAlias = NDArray[np.uint64]
"""Commands in queue order, uint64 [n, 4]."""
Operand: TypeAlias = int | NDArray[np.int64]


def operand(values: Iterable[int]) -> Operand:
    """One of a command, or an array for as many commands; a single command is packed faster."""
    found = list(values)
    return found[0] if len(found) == 1 else np.array(found, np.int64)


def distinct(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those that occur, ascending; for few values several times faster than np.unique."""
    return np.array(sorted(set(values.tolist())), np.int64)


def within(values: Operand, end: int) -> bool:
    """Whether every value is in 0 .. end - 1."""
    if isinstance(values, np.ndarray):
        return bool(((values >= 0) & (values < end)).all())
    return 0 <= values < end


def every(flags: np.bool_ | NDArray[np.bool_]) -> bool:
    """Whether all flags are set. A single one is spared NumPy's reduction, which takes longer than most checks."""
    return bool(flags.all() if isinstance(flags, np.ndarray) else flags)


def command(layout: Layout, **fields: Operand) -> Commands:
    """Commands of one mnemonic; an operand that is not given is 0.

    Each operand is a number or an array of numbers; arrays are of one length and give that many commands.
    """
    if any(isinstance(value, np.ndarray) for value in fields.values()):
        return layout.encode(**fields)
    # A single command is packed as Python integers, several times faster than arrays of one.
    return np.array([layout.pack_words(**fields)], np.uint64)  # type: ignore[arg-type]


def sync(target: Operand) -> Commands:
    """A SYNC for each RDbase: a Processor_Number, or bits [51:16] of an address with GITS_TYPER.PTA = 1."""
    return command(SYNC, RDbase=target)


def vsync(vpe_ids: Operand) -> Commands:
    """One VSYNC for each vPE that `vpe_ids` names."""
    return command(VSYNC, vPEID=distinct(vpe_ids) if isinstance(vpe_ids, np.ndarray) else vpe_ids)


def in_turn(*blocks: Commands) -> Commands:
    """The first command of each block, then the second of each, and so on."""
    return np.stack(blocks, axis=1).reshape(-1, COMMAND_BYTES // 8)
