# SPDX-License-Identifier: Apache-2.0
"""The command queue around CREADR."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gicmodel.images.dump import ABSENT, Dump
from gicmodel.inspection.entries import VPES, table
from gicmodel.inspection.frames import Frames
from gicmodel.layouts.commands import COMMAND_BYTES, OPCODES, decode_command, format_command

PAGE_BYTES = 4096
"""GITS_CBASER.Size counts these."""
BEFORE = 8
AFTER = 16
"""How many commands before CREADR, and from it on, are decoded."""


@dataclass(frozen=True)
class Command:
    """A slot of the queue: its its words, None if the dump lacks them; `known` if the architecture has it."""

    offset: int
    address: int
    file_offset: int
    words: tuple[int, ...] | None
    text: str
    state: str
    known: bool


@dataclass(frozen=True)
class Queue:
    """An ITS's queue. `creadr` and `cwriter` are byte offsets, None if not given; `waiting` counts commands."""

    its: int
    address: int
    size: int
    creadr: int | None
    cwriter: int | None
    stalled: bool
    waiting: int | None
    commands: list[Command]

    @property
    def stalled_command(self) -> Command | None:
        """The command at which processing stopped, if it did."""
        return next((command for command in self.commands if command.state == "stalled"), None)

    def inside(self, offset: int | None) -> bool:
        """Whether an offset, if known, is one of the queue's slots."""
        return offset is None or offset < self.size


def read_queue(dump: Dump, frames: Frames, its: int, architecture: str) -> Queue | None:
    """The queue of an ITS; None without GITS_CBASER, or if that is not valid."""
    frame = f"GITS{its}"
    cbaser = frames.want(frame, "CBASER", "the command queue cannot be decoded")
    if cbaser is None or not cbaser["Valid"]:
        return None
    address, size = cbaser["Physical_Address"], (cbaser["Size"] + 1) * PAGE_BYTES
    reads = frames.want(frame, "CREADR", "which commands were executed")
    writes = frames.want(frame, "CWRITER", "which commands wait")
    creadr = None if reads is None else reads["Offset"]
    cwriter = None if writes is None else writes["Offset"]
    stalled = reads is not None and bool(reads["Stalled"])
    waiting = None
    if creadr is not None and cwriter is not None and max(creadr, cwriter) < size:
        waiting = (cwriter - creadr) % size // COMMAND_BYTES
    centre = cwriter if creadr is None else creadr
    commands: list[Command] = []
    if centre is not None and centre < size:
        after = AFTER if waiting is None else min(AFTER, waiting)
        slots = [(n, (centre + n * COMMAND_BYTES) % size) for n in range(-BEFORE, after)]
        commands = [
            _command(dump, address, slot, _state(n, stalled, creadr, waiting), architecture) for n, slot in slots
        ]
    return Queue(its, address, size, creadr, cwriter, stalled, waiting, commands)


def vpes_mapped(dump: Dump, queue: Queue, architecture: str) -> NDArray[np.void]:
    """The vPEs that executed VMAPP commands, as far back as the queue goes, have mapped; places are the commands'.

    It tells what a vPE table of unknown format holds.
    """
    if queue.creadr is None or queue.creadr >= queue.size:
        return np.empty(0, VPES)
    oldest = queue.creadr + (queue.waiting or 0) * COMMAND_BYTES
    executed = queue.size - (queue.waiting or 0) * COMMAND_BYTES
    slots = queue.address + (oldest + np.arange(0, executed, COMMAND_BYTES)) % queue.size
    octets, held = dump.gather(slots, COMMAND_BYTES)
    mapped: dict[int, tuple[dict[str, int], int]] = {}
    for row in np.flatnonzero(held & (octets[:, 0] == OPCODES["VMAPP"])).tolist():
        _, fields = decode_command(octets[row].view("<u8"), architecture)
        mapped.pop(fields["vPEID"], None)
        if fields["V"]:
            mapped[fields["vPEID"]] = (fields, int(slots[row]))
    rows = [_vpe(fields, address, queue.its) for _, (fields, address) in sorted(mapped.items())]
    vpes = np.concatenate([np.empty(0, VPES), *rows])
    vpes["offset"] = dump.offsets(vpes["address"])
    return vpes


def _vpe(fields: dict[str, int], address: int, its: int) -> NDArray[np.void]:
    return table(VPES, 1, **{**fields, "its": its, "address": address})


def _state(distance: int, stalled: bool, creadr: int | None, waiting: int | None) -> str:
    if creadr is None or waiting is None:
        return "unknown"
    if distance < 0:
        return "done"
    return "stalled" if stalled and distance == 0 else "waiting"


def _command(dump: Dump, address: int, slot: int, state: str, architecture: str) -> Command:
    place = address + slot
    octets, held = dump.read(place, COMMAND_BYTES)
    if not held.all():
        return Command(slot, place, ABSENT, None, "absent", state, False)
    words = tuple(octets.view("<u8").tolist())
    try:
        text, known = format_command(words, architecture), True
    except ValueError as unknown:
        text, known = str(unknown) if any(words) else "all zero", False
    return Command(slot, place, dump.offset(place), words, text, state, known)
