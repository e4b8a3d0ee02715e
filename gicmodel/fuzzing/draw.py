# SPDX-License-Identifier: Apache-2.0
"""Fuzzing programs from random numbers: whole queues of commands at a time, and events between them.

Nothing here looks at what the hardware does. Commands meet each other's mappings because a universe has few IDs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from gicmodel.fuzzing.hypothesis.strategies import mapping_commands, mnemonics, words
from gicmodel.fuzzing.program import Command, CommandWords, Event, Step
from gicmodel.fuzzing.universe import Universe
from gicmodel.layouts.commands import COMMANDS, OPCODES, encode_many
from gicmodel.layouts.its_tables import NO_DOORBELL
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.redistributor import GICR_VPENDBASER

Packets = NDArray[np.uint64]

_WEIGHTS = {"INT": 4.0, "MAPTI": 2.0, "VMAPTI": 3.0, "MAPD": 0.5, "VMAPP": 0.7, "DISCARD": 0.7, "INVALL": 0.3}
"""How often a command comes, 1 unless listed."""
_BOUNDARY_SHARE, _RESERVED_SHARE, _UNKNOWN_SHARE = 0.02, 0.02, 0.005
_LONGEST_RUN, _RECOVERED_SHARE = 120, 0.9
_EVENTS_BETWEEN = 6
_BITS = 64
_ENABLED_BYTE = 0xA3
_BYTES = (0xA3, 0xA2, 0x13, 0xFF, 0xA1)
"""Configuration bytes, mostly enabled: what is disabled never gets far."""
_UNMAPPED_DEVICE = 7
_VSGIS = (0, 3, 15)
_TAKEN = 6
"""A vPE that runs takes fewer interrupts than this."""
_NARROW_VPT_BITS = 14
_LAST_VPEID = int(GICR_VPENDBASER["vPEID"].mask)


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


class Events:
    """Draws events for a universe."""

    def __init__(self, random: np.random.Generator, universe: Universe) -> None:
        self._random = random
        self._universe = universe
        config = universe.config
        self._kinds = [*self._physical(), *(self._virtual() if config.virtual else ())]
        self._weights = np.array([weight for weight, _ in self._kinds])
        self._weights /= self._weights.sum()

    def some(self, count: int) -> Iterator[list[Event]]:
        """`count` times an event, or a few that belong together."""
        for kind in self._random.choice(len(self._kinds), count, p=self._weights):
            yield self._kinds[int(kind)][1]()

    def its(self) -> int:
        """An ITS."""
        return int(self._random.integers(self._universe.config.its))

    def _physical(self) -> Iterator[tuple[float, Callable[[], list[Event]]]]:
        yield 3.0, self._messages
        yield 2.0, self._acknowledges
        yield 1.0, self._direct_lpi
        yield 1.0, self._configure
        yield 0.5, self._toggle_lpis
        yield 0.3, self._toggle_its
        yield 0.3, self._retry
        yield 0.2, self._zero_itt

    def _virtual(self) -> Iterator[tuple[float, Callable[[], list[Event]]]]:
        yield 1.0, self._configure_virtual
        yield 2.0, self._schedule
        yield 1.5, self._deschedule
        yield 2.0, self._acknowledge_virtual
        if self._universe.config.v41:
            yield 2.0, self._sleep_and_wake
            yield 1.0, self._vsgi
            yield 1.0, self._invalidate
            yield 0.5, self._allocate

    # Draws.

    def _pick(self, pool: tuple[int, ...]) -> int:
        return pool[int(self._random.integers(len(pool)))]

    def _chance(self, share: float) -> int:
        return int(self._random.random() < share)

    def _rd(self) -> int:
        return int(self._random.integers(self._universe.config.redistributors))

    def _vpeid(self) -> int:
        """One of the universe, or the first out of range if a register can name it."""
        return self._pick((*self._universe.vpeids, *self._universe.vpeids, min(self._universe.vpes, _LAST_VPEID)))

    def _intid(self) -> int:
        universe = self._universe
        return self._pick((*universe.intids, *universe.intids, FIRST_LPI - 1, 1 << universe.config.intid_bits))

    # Physical interrupts.

    def _messages(self) -> list[Event]:
        universe = self._universe
        devices = (*universe.device_ids, *universe.device_ids, _UNMAPPED_DEVICE, universe.devices)
        events = (0, 0, 1, 1, 3, FIRST_LPI, 1 << universe.config.event_id_bits)
        return [Event("translate", (self.its(), self._pick(devices), self._pick(events))) for _ in range(4)]

    def _acknowledges(self) -> list[Event]:
        return [Event("acknowledge", (self._rd(),)) for _ in range(3)]

    def _direct_lpi(self) -> list[Event]:
        return [Event("set_lpi" if self._chance(0.6) else "clear_lpi", (self._rd(), self._intid()))]

    def _configure(self) -> list[Event]:
        return [Event("configure", (self._pick(self._universe.intids), self._pick(_BYTES)))]

    def _toggle_lpis(self) -> list[Event]:
        return [Event("enable_lpis", (self._rd(), self._chance(0.7), self._chance(0.3)))]

    def _toggle_its(self) -> list[Event]:
        return [Event("enable_its", (self.its(), self._chance(0.7)))]

    def _retry(self) -> list[Event]:
        return [Event("retry", (self.its(), self._chance(0.5)))]

    def _zero_itt(self) -> list[Event]:
        return [Event("zero_itt", (int(self._random.integers(len(self._universe.itts))),))]

    # Virtual interrupts.

    def _configure_virtual(self) -> list[Event]:
        vconf = int(self._random.integers(len(self._universe.vconfs)))
        return [Event("configure_virtual", (vconf, self._pick(self._universe.intids), self._pick(_BYTES)))]

    def _schedule(self) -> list[Event]:
        if self._universe.config.v41:
            return [Event("schedule", (self._rd(), self._vpeid(), self._chance(0.8), self._chance(0.8)))]
        tables = int(self._random.integers(len(self._universe.vpts))), int(self._random.integers(2))
        return [Event("schedule_v40", (self._rd(), *tables, self._pick((_NARROW_VPT_BITS, 16))))]

    def _deschedule(self) -> list[Event]:
        return [Event("deschedule", (self._rd(), self._chance(0.6), self._chance(0.3)))]

    def _acknowledge_virtual(self) -> list[Event]:
        return [Event("acknowledge_virtual", (self._rd(),)) for _ in range(3)]

    def _sleep_and_wake(self) -> list[Event]:
        """A vPE runs, leaves, and interrupts come for it."""
        rd, vpeid = self._rd(), self._vpeid()
        wake = Event("write_sgir", (self.its(), vpeid, self._pick(_VSGIS)))
        # What is pending already keeps the default doorbell from being armed.
        takes = [Event("acknowledge_virtual", (rd,)) for _ in range(int(self._random.integers(_TAKEN)))]
        sleep = [Event("schedule", (rd, vpeid, 1, 1)), *takes, Event("deschedule", (rd, self._chance(0.8), 0))]
        return [*sleep, *self._messages(), *([wake] if self._chance(0.5) else [])]

    def _vsgi(self) -> list[Event]:
        return [Event("write_sgir", (self.its(), self._vpeid(), self._pick(_VSGIS)))]

    def _invalidate(self) -> list[Event]:
        if self._chance(0.4):
            return [Event("invalidate_all", (self._vpeid(),))]
        return [Event("invalidate", (self._vpeid(), self._pick(self._universe.intids)))]

    def _allocate(self) -> list[Event]:
        doorbell = self._pick((NO_DOORBELL, FIRST_LPI + 2))
        return [
            Event("allocate", (self.its(), int(self._random.integers(len(self._universe.vpts))), self._rd(), doorbell))
        ]
