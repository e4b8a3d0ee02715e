# SPDX-License-Identifier: Apache-2.0
"""The command queue around CREADR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gicmodel.images.dump import ABSENT, Dump
from gicmodel.inspection.frames import Frames
from gicmodel.layouts.commands import COMMAND_BYTES, format_command
from gicmodel.layouts.registers.its import queue_bytes

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
    """An ITS's queue, with the commands around where it stands.

    `creadr` and `cwriter` are byte offsets, None if not given.
    """

    its: int
    address: int
    size: int
    creadr: int | None
    cwriter: int | None
    stalled: bool
    commands: Sequence[Command] = ()

    @property
    def stalled_command(self) -> Command | None:
        """The command at which processing stopped, if it did."""
        return next((command for command in self.commands if command.state == "stalled"), None)

    @property
    def waiting(self) -> int | None:
        """How many commands wait; None if the registers do not tell."""
        if self.creadr is None or self.cwriter is None or max(self.creadr, self.cwriter) >= self.size:
            return None
        return (self.cwriter - self.creadr) % self.size // COMMAND_BYTES

    @property
    def centre(self) -> int | None:
        """The slot that execution has come to, without CREADR CWRITER's; None if that is none of the queue."""
        offset = self.cwriter if self.creadr is None else self.creadr
        return offset if self.inside(offset) else None

    def inside(self, offset: int | None) -> bool:
        """Whether an offset, if known, is one of the queue's slots."""
        return offset is None or offset < self.size


def read_queue(dump: Dump, frames: Frames, its: int, architecture: str) -> Queue | None:
    """The queue of an ITS; None without GITS_CBASER, or if that is not valid."""
    frame = f"GITS{its}"
    cbaser = frames.want(frame, "CBASER", "the command queue cannot be decoded")
    if cbaser is None or not cbaser["Valid"]:
        return None
    reads = frames.want(frame, "CREADR", "which commands were executed")
    writes = frames.want(frame, "CWRITER", "which commands wait")
    queue = Queue(
        its,
        cbaser["Physical_Address"],
        queue_bytes(cbaser),
        None if reads is None else reads["Offset"],
        None if writes is None else writes["Offset"],
        reads is not None and bool(reads["Stalled"]),
    )
    if queue.centre is None:
        return queue
    after = AFTER if queue.waiting is None else min(AFTER, queue.waiting)
    return replace(queue, commands=_commands(dump, queue, range(-BEFORE, after), architecture))


def whole_ring(dump: Dump, queue: Queue, architecture: str) -> list[Command]:
    """Every slot of a queue that is not zero, from the oldest on."""
    waiting = queue.waiting or 0
    found = _commands(dump, queue, range(waiting - queue.size // COMMAND_BYTES, waiting), architecture)
    return [command for command in found if command.words is None or any(command.words)]


def _commands(dump: Dump, queue: Queue, slots: range, architecture: str) -> list[Command]:
    """The commands of slots counted from the one at `centre`."""
    places = [(n, ((queue.centre or 0) + n * COMMAND_BYTES) % queue.size) for n in slots]
    return [_command(dump, queue.address, slot, _state(queue, n), architecture) for n, slot in places]


def ring(dump: Dump, queue: Queue) -> tuple[list[tuple[int, tuple[int, ...]]], bool]:
    """The executed commands that still stand in a queue, the oldest first: address and words; and whether that is all.

    Without CREADR all are taken as executed. Linux allocates a queue of zeros: where one is left none was overwritten.
    An empty queue does not tell that nothing is mapped: the commands may have stood in another one.
    """
    if queue.centre is None:
        return [], False
    waiting = (queue.waiting or 0) * COMMAND_BYTES
    slots = queue.address + (queue.centre + waiting + np.arange(0, queue.size - waiting, COMMAND_BYTES)) % queue.size
    octets, held = dump.gather(slots, COMMAND_BYTES)
    used = np.asarray(octets.any(axis=1))
    rows, words = np.flatnonzero(used).tolist(), octets.view("<u8").tolist()
    whole = bool(held.all() and used.any() and not used[0] and not (used[:-1] & ~used[1:]).any())
    return [(int(slots[row]), tuple(words[row])) for row in rows], whole


def _state(queue: Queue, distance: int) -> str:
    if queue.waiting is None:
        return "unknown"
    if distance < 0:
        return "done"
    return "stalled" if queue.stalled and distance == 0 else "waiting"


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
