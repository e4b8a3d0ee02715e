# SPDX-License-Identifier: Apache-2.0
"""Fuzzing programs from random numbers: whole queues of commands at a time, and events between them.

Nothing here looks at what the hardware does. Commands meet each other's mappings because a universe has few IDs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from gicmodel.fuzzing.programs.hardware import EVENTS
from gicmodel.fuzzing.programs.interrupts import Draw, InterruptEvents, Kind, Kinds
from gicmodel.fuzzing.programs.program import CommandStep, Event, Step
from gicmodel.fuzzing.programs.universe import Universe, words
from gicmodel.layouts.commands import COMMANDS, encode_many

Packets = NDArray[np.uint64]

_WEIGHTS = {"INT": 4.0, "MAPTI": 2.0, "VMAPTI": 3.0, "MAPD": 0.5, "VMAPP": 0.7, "DISCARD": 0.7, "INVALL": 0.3}
"""How often a command comes, 1 unless listed."""
_BOUNDARY_SHARE, _RESERVED_SHARE, _UNKNOWN_SHARE = 0.02, 0.02, 0.005
_LONGEST_RUN, _RECOVERED_SHARE = 120, 0.9
_EVENTS_BETWEEN = 6
_INTERRUPTS_BETWEEN, _INTERRUPTS_SHARE = 100, 0.05
_BITS = 64
_ENABLED_BYTE = 0xA3
_TAKEN = 6
"""A vPE that runs takes fewer interrupts than this."""
_SHARES = {"EnableLPIs": 0.7, "PTZ": 0.3, "Enabled": 0.7, "replace": 0.5}
_SHARES |= {"VGrp0En": 0.8, "VGrp1En": 0.8, "Doorbell": 0.6, "PendingLast": 0.3}
"""How often a flag of an event is 1."""


def draw_steps(
    random: np.random.Generator,
    universe: Universe,
    commands: int,
    without: frozenset[str] = frozenset(),
    interrupts: int | None = None,
) -> list[Step]:
    """Map the universe, then `commands` commands in runs, with events between the runs; `without` these mnemonics.

    `interrupts`: between two runs so many times something happens to SGIs, PPIs, SPIs or a CPU interface; by default
    in one program of some, as such events take longer than commands do.
    """
    apart = random.spawn(1)[0]
    if interrupts is None:
        interrupts = _INTERRUPTS_BETWEEN if apart.random() < _INTERRUPTS_SHARE else 0
    events, others = Events(random, universe), InterruptEvents(apart, universe)
    steps = [*boot_steps(universe), *(others.boot() if interrupts else ())]
    for packets in _runs(random, draw_packets(random, universe, commands, without).tolist()):
        its = events.value("its")
        steps += commands_for(its, packets)
        if random.random() < _RECOVERED_SHARE:
            steps.append(Event("recover", (its,)))
        steps += events.some(int(random.integers(_EVENTS_BETWEEN)))
        steps += others.some(interrupts)
    return steps


def boot_steps(universe: Universe) -> list[Step]:
    """Map the whole universe on each ITS, and enable every interrupt."""
    architecture = universe.config.architecture
    steps: list[Step] = []
    for its in range(universe.config.its):
        mapping = universe.mapping_commands(alloc=its == 0)
        steps += commands_for(its, [words(command, architecture) for command in mapping])
        steps.append(Event("recover", (its,)))
    for intid in universe.intids:
        steps.append(Event("configure", (intid, _ENABLED_BYTE)))
        for vconf in range(len(universe.vconfs) if universe.config.virtual else 0):
            steps.append(Event("configure_virtual", (vconf, intid, _ENABLED_BYTE)))
    return steps


def commands_for(its: int, packets: Iterable[Iterable[int]]) -> list[Step]:
    """Commands for one ITS, from their words."""
    return [CommandStep(its, packet) for packet in map(tuple, packets)]


def draw_packets(
    random: np.random.Generator, universe: Universe, count: int, without: frozenset[str] = frozenset()
) -> Packets:
    """Commands as uint64 [count, 4]: valid ones, and a few at or beyond a limit, with RES0 bits set, or unknown."""
    names = [name for name in universe.mnemonics if name not in without]
    weights = np.array([_WEIGHTS.get(name, 1.0) for name in names])
    unknown = int(random.binomial(count, _UNKNOWN_SHARE))
    counts = random.multinomial(count - unknown, weights / weights.sum())
    parts = [_of_one_kind(random, universe, name, int(n)) for name, n in zip(names, counts, strict=True)]
    return random.permutation(np.concatenate([*parts, _unknown(random, universe, unknown)]))


def draw_fields(
    random: np.random.Generator, universe: Universe, mnemonic: str, count: int
) -> dict[str, NDArray[np.uint64]]:
    """The fields of `count` commands of one kind."""
    names = universe.fields(mnemonic)
    fields = {name: _values(random, universe, mnemonic, name, count) for name in names}
    if tied := universe.tied(mnemonic):
        (first, pool), *others = tied.items()
        # Where in its pool each value is; 0 for one that is not.
        index = np.argmax(fields[first][:, None] == np.array(pool, np.uint64), axis=1)
        fields |= {name: np.array(values, np.uint64)[index] for name, values in others}
    return fields


def _of_one_kind(random: np.random.Generator, universe: Universe, mnemonic: str, count: int) -> Packets:
    architecture = universe.config.architecture
    packets = encode_many(mnemonic, architecture, **draw_fields(random, universe, mnemonic, count))
    noise = random.integers(1 << _BITS, size=packets.shape, dtype=np.uint64)
    chosen = random.random(len(packets)) < _RESERVED_SHARE
    packets[chosen] |= noise[chosen] & np.array(universe.reserved_bits(mnemonic), np.uint64)
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


def _runs(random: np.random.Generator, packets: list[list[int]]) -> Iterable[list[list[int]]]:
    """Pieces of random lengths."""
    while packets:
        length = int(random.integers(1, _LONGEST_RUN + 1))
        yield packets[:length]
        packets = packets[length:]


class Events(Kinds):
    """Draws events for a universe."""

    def __init__(self, random: np.random.Generator, universe: Universe) -> None:
        self._universe = universe
        super().__init__(random, [*self._physical(), *(self._virtual() if universe.config.virtual else ())])

    def value(self, name: str) -> int:
        """A value of an event's field."""
        if name in _SHARES:
            return self._chance(_SHARES[name])
        return self._pick(self._universe.of_event(name))

    def _physical(self) -> Iterator[Kind]:
        yield 3.0, self._some("translate", 4)
        yield 2.0, self._some("acknowledge", 3)
        yield 1.0, self._direct_lpi
        yield 1.0, self._some("configure")
        yield 0.5, self._some("enable_lpis")
        yield 0.3, self._some("enable_its")
        yield 0.3, self._some("retry")
        yield 0.2, self._some("zero_itt")

    def _virtual(self) -> Iterator[Kind]:
        v41 = self._universe.config.v41
        yield 1.0, self._some("configure_virtual")
        yield 2.0, self._some("schedule") if v41 else self._some("schedule_v40", 1, "vpt", "vconf")
        yield 1.5, self._some("deschedule")
        yield 2.0, self._some("acknowledge_virtual", 3)
        if v41:
            yield 2.0, self._sleep_and_wake
            yield 1.0, self._some("write_sgir")
            yield 1.0, self._invalidate
            yield 0.5, self._some("allocate", 1, "Default_Doorbell")

    def _some(self, verb: str, count: int = 1, *first: str) -> Draw:
        """What draws so many events of a kind; of each, the fields `first` before the others."""
        return lambda: [self._one(verb, first) for _ in range(count)]

    def _one(self, verb: str, first: Sequence[str] = ()) -> Event:
        values = {name: self.value(name) for name in dict.fromkeys((*first, *EVENTS[verb]))}
        return Event(verb, tuple(values[name] for name in EVENTS[verb]))

    def _direct_lpi(self) -> list[Event]:
        return [self._one("set_lpi" if self._chance(0.6) else "clear_lpi")]

    def _sleep_and_wake(self) -> list[Event]:
        """A vPE runs, leaves, and interrupts come for it."""
        rd, vpeid = self.value("rd"), self.value("vPEID")
        wake = Event("write_sgir", (self.value("its"), vpeid, self.value("vSGI")))
        # What is pending already keeps the default doorbell from being armed.
        takes = [Event("acknowledge_virtual", (rd,)) for _ in range(int(self._random.integers(_TAKEN)))]
        sleep = [Event("schedule", (rd, vpeid, 1, 1)), *takes, Event("deschedule", (rd, self._chance(0.8), 0))]
        messages = [self._one("translate") for _ in range(4)]
        return [*sleep, *messages, *([wake] if self._chance(0.5) else [])]

    def _invalidate(self) -> list[Event]:
        if self._chance(0.4):
            return [self._one("invalidate_all")]
        return [Event("invalidate", (self.value("vPEID"), self.value("LPI")))]
