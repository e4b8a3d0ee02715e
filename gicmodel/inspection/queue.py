# SPDX-License-Identifier: Apache-2.0
"""The command queue around CREADR."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gicmodel.images.dump import ABSENT, Dump
from gicmodel.inspection.frames import Frames
from gicmodel.layouts.commands import COMMAND_BYTES, format_command

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
        commands = _commands(dump, address, size, centre, range(-BEFORE, after), architecture, waiting, stalled)
    return Queue(its, address, size, creadr, cwriter, stalled, waiting, commands)


def whole_ring(dump: Dump, queue: Queue, architecture: str) -> list[Command]:
    """Every slot of a queue that is not zero, from the oldest on."""
    centre = queue.cwriter if queue.creadr is None else queue.creadr
    if centre is None or centre >= queue.size:
        centre = 0
    waiting = queue.waiting or 0
    slots = range(waiting - queue.size // COMMAND_BYTES, waiting)
    found = _commands(dump, queue.address, queue.size, centre, slots, architecture, queue.waiting, queue.stalled)
    return [command for command in found if command.words is None or any(command.words)]


def _commands(
    dump: Dump,
    address: int,
    size: int,
    centre: int,
    slots: range,
    architecture: str,
    waiting: int | None,
    stalled: bool,
) -> list[Command]:
    """The commands of slots counted from the one at `centre`; without `waiting` nobody knows which were executed."""
    places = [(n, (centre + n * COMMAND_BYTES) % size) for n in slots]
    return [_command(dump, address, slot, _state(n, stalled, waiting), architecture) for n, slot in places]


def ring(dump: Dump, queue: Queue) -> tuple[list[tuple[int, tuple[int, ...]]], bool]:
    """The executed commands that still stand in a queue, the oldest first: address and words; and whether that is all.

    Without CREADR all are taken as executed. Linux allocates a queue of zeros: where one is left none was overwritten.
    An empty queue does not tell that nothing is mapped: the commands may have stood in another one.
    """
    end = queue.cwriter if queue.creadr is None else queue.creadr
    if end is None or end >= queue.size:
        return [], False
    waiting = (queue.waiting or 0) * COMMAND_BYTES
    slots = queue.address + (end + waiting + np.arange(0, queue.size - waiting, COMMAND_BYTES)) % queue.size
    octets, held = dump.gather(slots, COMMAND_BYTES)
    used = np.asarray(octets.any(axis=1))
    rows, words = np.flatnonzero(used).tolist(), octets.view("<u8").tolist()
    whole = bool(held.all() and used.any() and not used[0] and not (used[:-1] & ~used[1:]).any())
    return [(int(slots[row]), tuple(words[row])) for row in rows], whole


def _state(distance: int, stalled: bool, waiting: int | None) -> str:
    if waiting is None:
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
