# SPDX-License-Identifier: Apache-2.0
"""The whole board in a file: a snapshot of its GIC and RAM, with the processors and the devices beside them.

What reads snapshots, `gicmodel inspect` among them, finds the GIC and the RAM in it as in any other.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gicmodel.board.board import Board
from gicmodel.errors import UnusableInput
from gicmodel.hardware.snapshot import restored, save_snapshot
from gicmodel.images.snapshot_file import reading

_ABOUT, _CELLS, _CONTEXT = "board", "board_cells", "board_context"
_PE = {"is_on": bool, "is_waiting": bool, "exceptions": int}
_OCTETS = range(256)


def save_board(board: Board, path: Path) -> None:
    """Write a board that does not run to a file. Raises UnusableInput: it cannot be written, or would be too large."""
    about = {
        "el2": board.el2,
        "doorbells": sorted(board.watch.doorbells),
        "uart": {
            "registers": {f"{offset:#x}": value for offset, value in board.uart.registers.items()},
            "raw_interrupts": board.uart.raw_interrupts,
            "received": list(board.uart.received),
        },
        "smmu": board.smmu.state(),
        "function": board.function.state(),
        "pes": [{name: getattr(cpu, name) for name in _PE} for cpu in board.cpus],
    }
    contexts = [np.frombuffer(cpu.context(), np.uint8) for cpu in board.cpus]
    save_snapshot(board.gic, path, {_ABOUT: about}, {_CELLS: board.cells, _CONTEXT: np.stack(contexts)})


def load_board(path: Path, send: Callable[[int], None], trace: Callable[[str], object] | None = None) -> Board:
    """The board that `save_board` has written, as it was; its trace begins here. Raises UnusableInput."""
    with reading(path) as (header, archive):
        about = header.get(_ABOUT)
        if not isinstance(about, dict):
            raise UnusableInput(f"{path}: is a snapshot of a GIC and its RAM only: there are no processors in it")
        board = Board(restored(header, archive), el2=_typed(about, "el2", bool), send=send, trace=trace)
        board.make_cpus()
        try:
            _restore(board, about, archive[_CELLS], archive[_CONTEXT])
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"the state of a device: {error!r}") from error
    return board


def _restore(board: Board, about: dict[str, Any], cells: Any, contexts: Any) -> None:
    pes = _typed(about, "pes", list)
    if cells.shape != board.cells.shape or cells.dtype != np.uint64:
        raise ValueError(f"{_CELLS} is {cells.dtype} {cells.shape}")
    if contexts.dtype != np.uint8 or contexts.shape[:1] != (len(board.cpus),) or len(pes) != len(board.cpus):
        raise ValueError(f"{_CONTEXT} is {contexts.dtype} {contexts.shape}, for {len(pes)} PEs")
    board.restore_cells(cells)
    for cpu, state, context in zip(board.cpus, pes, contexts, strict=True):
        cpu.restore(context.tobytes())
        for name, kind in _PE.items():
            setattr(cpu, name, _typed(state, name, kind))
    board.watch.doorbells = {int(intid) for intid in _typed(about, "doorbells", list)}
    _restore_uart(board, _typed(about, "uart", dict))
    board.smmu.restore(_typed(about, "smmu", dict))
    board.function.restore(_typed(about, "function", dict))


def _restore_uart(board: Board, state: dict[str, Any]) -> None:
    uart = board.uart
    for offset, value in _typed(state, "registers", dict).items():
        if int(offset, 0) not in uart.registers:
            raise ValueError(f"the UART has no register at {offset}")
        uart.write(int(offset, 0), int(value), 4)
    uart.raw_interrupts = _typed(state, "raw_interrupts", int)
    received = _typed(state, "received", list)
    if not all(octet in _OCTETS for octet in received):
        raise ValueError("what the UART has received are no octets")
    uart.receive(bytes(received))


def _typed(state: Any, name: str, kind: type) -> Any:
    value = state.get(name) if isinstance(state, dict) else None
    if type(value) is not kind:
        raise ValueError(f"{name!r} is {value!r}, no {kind.__name__}")
    return value
