# SPDX-License-Identifier: Apache-2.0
"""Fuzzing programs from random numbers: whole queues of commands at a time, and events between them.

Nothing here looks at what the hardware does. Commands meet each other's mappings because a universe has few IDs.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from gicmodel.fuzzing.events import Events
from gicmodel.fuzzing.hypothesis.strategies import mapping_commands, mnemonics, words
from gicmodel.fuzzing.program import Command, CommandWords, Event, Step
from gicmodel.fuzzing.universe import Universe
from gicmodel.layouts.commands import COMMANDS, OPCODES, encode_many

Packets = NDArray[np.uint64]

_WEIGHTS = {"INT": 4.0, "MAPTI": 2.0, "VMAPTI": 3.0, "MAPD": 0.5, "VMAPP": 0.7, "DISCARD": 0.7, "INVALL": 0.3}
"""How often a command comes, 1 unless listed."""
_BOUNDARY_SHARE, _RESERVED_SHARE, _UNKNOWN_SHARE = 0.02, 0.02, 0.005
_LONGEST_RUN, _RECOVERED_SHARE = 120, 0.9
_EVENTS_BETWEEN = 6
_BITS = 64
_ENABLED_BYTE = 0xA3


def draw_steps(
    random: np.random.Generator, universe: Universe, commands: int, without: frozenset[str] = frozenset()
) -> list[Step]:
    """Map the universe, then `commands` commands in runs, with events between the runs; `without` these mnemonics."""
    events = Events(random, universe)
    steps = boot_steps(universe)
    for packets in _runs(random, draw_packets(random, universe, commands, without).tolist()):
        its = events.its()
        steps += commands_for(its, packets)
        if random.random() < _RECOVERED_SHARE:
            steps.append(Event("recover", (its,)))
        steps += chain.from_iterable(events.some(int(random.integers(_EVENTS_BETWEEN))))
    return steps


def boot_steps(universe: Universe) -> list[Step]:
    """Map the whole universe on each ITS, and enable every interrupt."""
    architecture = universe.config.architecture
    steps: list[Step] = []
    for its in range(universe.config.its):
        mapping = mapping_commands(universe, alloc=its == 0)
        steps += commands_for(its, [words(command, architecture) for command in mapping])
        steps.append(Event("recover", (its,)))
    for intid in universe.intids:
        steps.append(Event("configure", (intid, _ENABLED_BYTE)))
        for vconf in range(len(universe.vconfs) if universe.config.virtual else 0):
            steps.append(Event("configure_virtual", (vconf, intid, _ENABLED_BYTE)))
    return steps


def commands_for(its: int, packets: Iterable[Iterable[int]]) -> list[Step]:
    """Commands for one ITS, from their words."""
    return [Command(its, _four(*packet)) for packet in packets]


def draw_packets(
    random: np.random.Generator, universe: Universe, count: int, without: frozenset[str] = frozenset()
) -> Packets:
    """Commands as uint64 [count, 4]: valid ones, and a few at or beyond a limit, with RES0 bits set, or unknown."""
    names = [name for name in mnemonics(universe.config.architecture) if name not in without]
    weights = np.array([_WEIGHTS.get(name, 1.0) for name in names])
    unknown = int(random.binomial(count, _UNKNOWN_SHARE))
    counts = random.multinomial(count - unknown, weights / weights.sum())
    parts = [_of_one_kind(random, universe, name, int(n)) for name, n in zip(names, counts, strict=True)]
    return random.permutation(np.concatenate([*parts, _unknown(random, universe, unknown)]))


def draw_fields(
    random: np.random.Generator, universe: Universe, mnemonic: str, count: int
) -> dict[str, NDArray[np.uint64]]:
    """The fields of `count` commands of one kind."""
    layout = COMMANDS(universe.config.architecture)[OPCODES[mnemonic]]
    names = [name for name in layout.fields if name != "Opcode"]
    fields = {name: _values(random, universe, mnemonic, name, count) for name in names}
    if mnemonic == "VMAPP":
        # Two vPEs with one VPT are not what software does.
        index = _index_of(universe.vpeids, fields["vPEID"])
        fields["VPT_addr"] = np.array(universe.vpts, np.uint64)[index]
        if "VCONF_addr" in fields:
            fields["VCONF_addr"] = np.array(universe.vconfs, np.uint64)[index % len(universe.vconfs)]
    if mnemonic == "MAPD" and not universe.shared_itts:
        fields["ITT_addr"] = np.array(universe.itts, np.uint64)[_index_of(universe.device_ids, fields["DeviceID"])]
    return fields


def _of_one_kind(random: np.random.Generator, universe: Universe, mnemonic: str, count: int) -> Packets:
    architecture = universe.config.architecture
    packets = encode_many(mnemonic, architecture, **draw_fields(random, universe, mnemonic, count))
    noise = random.integers(1 << _BITS, size=packets.shape, dtype=np.uint64)
    chosen = random.random(len(packets)) < _RESERVED_SHARE
    packets[chosen] |= noise[chosen] & _reserved_bits(mnemonic, architecture)
    return packets


def _unknown(random: np.random.Generator, universe: Universe, count: int) -> Packets:
    """Commands whose opcode the architecture does not have."""
    opcodes = [opcode for opcode in range(0x100) if opcode not in COMMANDS(universe.config.architecture)]
    packets = random.integers(1 << _BITS, size=(count, 4), dtype=np.uint64)
    packets[:, 0] &= ~np.uint64(0xFF)
    packets[:, 0] |= random.choice(np.array(opcodes, np.uint64), count)
    return packets


def _values(
    random: np.random.Generator, universe: Universe, mnemonic: str, name: str, count: int
) -> NDArray[np.uint64]:
    values = random.choice(np.array(universe.valid(mnemonic, name), np.uint64), count)
    limits = universe.boundary(mnemonic, name)
    if limits:
        beyond = random.choice(np.array(limits, np.uint64), count)
        values = np.where(random.random(count) < _BOUNDARY_SHARE, beyond, values)
    return values


def _index_of(pool: tuple[int, ...], values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Where in a pool each value is; 0 for one that is not."""
    index = np.zeros(len(values), np.int64)
    for number, value in enumerate(pool):
        index[values == np.uint64(value)] = number
    return index


def _reserved_bits(mnemonic: str, architecture: str) -> Packets:
    """The RES0 bits of a command's four words, which hardware must not look at."""
    named = np.zeros(4, np.uint64)
    for field in COMMANDS(architecture)[OPCODES[mnemonic]].fields.values():
        named[field.word] |= field.mask << field.shift
    return ~named


def _runs(random: np.random.Generator, packets: list[list[int]]) -> Iterable[list[list[int]]]:
    """Pieces of random lengths."""
    while packets:
        length = int(random.integers(1, _LONGEST_RUN + 1))
        yield packets[:length]
        packets = packets[length:]


def _four(dw0: int, dw1: int, dw2: int, dw3: int) -> CommandWords:
    return dw0, dw1, dw2, dw3
