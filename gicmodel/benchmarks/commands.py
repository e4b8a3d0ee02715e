# SPDX-License-Identifier: Apache-2.0
"""Commands from a full queue and one write of GITS_CWRITER, beside QEMU on the same bytes.

Both machines start each run from the same tables. Proved: RAM is equal afterwards, tables and pending bits alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import numpy as np

from gicmodel.benchmarks.boards import (
    DEVICES,
    ITTS,
    PAGE,
    PENDING,
    PENDING_STRIDE,
    QUEUE_COMMANDS,
    REDISTRIBUTORS,
    VPTS,
    Fields,
    Packets,
    booted_twins,
    executed,
    load_queue,
    publish,
    run,
)
from gicmodel.benchmarks.harness import Benchmark, Case, Goal, Side, require
from gicmodel.lab.lab import Software
from gicmodel.layouts.commands import encode_many
from gicmodel.layouts.its_tables import NO_DOORBELL
from gicmodel.layouts.lpi_tables import FIRST_LPI

ARCHITECTURE = "4.0"
INTID_BITS = 16
QUICK_COMMANDS = 4096
SLOW_COMMANDS = 1024
"""QEMU answers an INV by scanning the pending table: a full queue of them takes seconds."""


class Kind(NamedTuple):
    """A command, how the events it names are mapped before it, and the goal."""

    command: str
    mapped: str
    goal: float
    most: int = QUEUE_COMMANDS


KINDS = {
    "MAPTI": Kind("MAPTI", "", 10),
    "VMAPTI": Kind("VMAPTI", "", 10),
    "INT to LPI": Kind("INT", "MAPTI", 10),
    "INT to vLPI": Kind("INT", "VMAPTI", 12),
    "MOVI": Kind("MOVI", "MAPTI", 10),
    "VMOVI": Kind("VMOVI", "VMAPTI", 12),
    "INV": Kind("INV", "MAPTI", 500, SLOW_COMMANDS),
    "DISCARD": Kind("DISCARD", "MAPTI", 10),
}


def packets(command: str, count: int) -> Packets:
    """`count` commands, each for an event of its own; neighbours name different devices."""
    number = np.arange(count)
    event: Fields = {"DeviceID": number % DEVICES, "EventID": number // DEVICES}
    operands: dict[str, Fields] = {
        "MAPTI": {"pINTID": FIRST_LPI + number, "ICID": number % REDISTRIBUTORS},
        "VMAPTI": {"vINTID": FIRST_LPI + number, "vPEID": number % REDISTRIBUTORS, "Doorbell": NO_DOORBELL},
        "MOVI": {"ICID": (number + 1) % REDISTRIBUTORS},
        "VMOVI": {"vPEID": (number + 1) % REDISTRIBUTORS, "Doorbell": NO_DOORBELL},
    }
    return encode_many(command, ARCHITECTURE, **event, **operands.get(command, {}))


@contextmanager
def build(kind: Kind, quick: bool) -> Iterator[Case]:
    """Both machines booted, with vPEs, and ready to take the queue."""
    count = min(kind.most, QUICK_COMMANDS if quick else QUEUE_COMMANDS)
    commands = packets(kind.command, count)
    mapping = packets(kind.mapped, count) if kind.mapped else None
    with booted_twins() as (model, qemu):
        sides = _side("model", model, mapping, commands), _side("QEMU", qemu, mapping, commands)
        map_vpes(model)
        map_vpes(qemu)
        yield Case(*sides, "command", partial(prove, (model, qemu), sides, commands))


def _side(name: str, board: Software, mapping: Packets | None, commands: Packets) -> Side:
    def prepare() -> None:
        reset(board)
        if mapping is not None:
            run(board, mapping)
        load_queue(board, commands)

    idle = partial(board.its[0].read, "GITS_CREADR")
    return Side(name, partial(publish, board, commands), len(commands), prepare, idle)


def map_vpes(board: Software) -> None:
    """One vPE at each redistributor."""
    vpes = np.arange(REDISTRIBUTORS)
    fields: Fields = {"vPEID": vpes, "RDbase": vpes, "VPT_addr": VPTS + PAGE * vpes, "VPT_size": INTID_BITS - 1, "V": 1}
    run(board, encode_many("VMAPP", ARCHITECTURE, **fields))


def reset(board: Software) -> None:
    """No event mapped, nothing pending."""
    board.memory.zero(ITTS, DEVICES * PAGE)
    board.memory.zero(PENDING, REDISTRIBUTORS * PENDING_STRIDE)
    board.memory.zero(VPTS, REDISTRIBUTORS * PAGE)


def prove(boards: tuple[Software, Software], sides: tuple[Side, Side], commands: Packets) -> None:
    """Raise Unproven unless both have executed every command and their RAM is equal."""
    for board, side in zip(boards, sides, strict=True):
        assert side.prepare is not None
        side.prepare()
        side.run()
        executed(board, commands)
    model, qemu = boards
    for what, address, length in (
        ("translation tables", ITTS, DEVICES * PAGE),
        ("pending tables", PENDING, REDISTRIBUTORS * PENDING_STRIDE),
        ("VPTs", VPTS, REDISTRIBUTORS * PAGE),
    ):
        octets = model.memory.read(address, length)
        require(octets == qemu.memory.read(address, length), what)


BENCHMARKS = tuple(Benchmark(name, partial(build, kind), Goal("speed", kind.goal)) for name, kind in KINDS.items())
