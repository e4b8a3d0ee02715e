# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies for ITS commands, programs, table geometries, machines, and guest images.

Values come from a `Universe`, so that commands meet each other's mappings. A command is a mnemonic and its fields,
which shrink to a readable program; `words` encodes it. Nothing here imports numba, so that tests of other software can
draw from it; `GicConfig` and `Geometry` are inferred by `@given` wherever this package is installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from gicmodel.config import GicConfig
from gicmodel.fuzzing.hypothesis.guest_images import GuestImage as GuestImage
from gicmodel.fuzzing.hypothesis.guest_images import guest_images as guest_images
from gicmodel.fuzzing.programs.hardware import MACHINE_CHOICES
from gicmodel.fuzzing.programs.program import CommandWords
from gicmodel.fuzzing.programs.universe import Universe, words
from gicmodel.lab.geometry import Geometry
from gicmodel.layouts.commands import COMMANDS
from gicmodel.spec.state import Command

_NOISE = st.tuples(*[st.integers(0, 2**64 - 1)] * 4)


def valid_commands(universe: Universe, only: Sequence[str] = ()) -> SearchStrategy[Command]:
    """Commands whose fields are all in range; whether one succeeds depends on what is mapped. `only`: mnemonics."""
    chosen = only or universe.mnemonics
    return st.sampled_from(chosen).flatmap(lambda mnemonic: _valid(universe, mnemonic))


def boundary_commands(universe: Universe, only: Sequence[str] = ()) -> SearchStrategy[Command]:
    """Commands with one field at or beyond its limit."""
    chosen = [each for each in only or universe.mnemonics if _limited(universe, each)]
    return st.sampled_from(chosen).flatmap(lambda mnemonic: _boundary(universe, mnemonic))


def commands(universe: Universe, only: Sequence[str] = ()) -> SearchStrategy[Command]:
    """Valid commands, and now and then one at a limit."""
    kinds = (valid_commands, valid_commands, valid_commands, boundary_commands)
    return st.sampled_from(kinds).flatmap(lambda kind: kind(universe, only))


def unknown_words(universe: Universe) -> SearchStrategy[CommandWords]:
    """Four words whose opcode the architecture does not have."""
    opcodes = st.integers(0, 0xFF).filter(lambda opcode: opcode not in COMMANDS(universe.config.architecture))
    return st.builds(lambda opcode, noise: (noise[0] & ~0xFF | opcode, *noise[1:]), opcodes, _NOISE)


def reserved_words(universe: Universe) -> SearchStrategy[CommandWords]:
    """Four words that are a command but for the bits that are RES0, which hardware must not look at."""
    return st.builds(_with_reserved_bits, st.just(universe), commands(universe), _NOISE)


def malformed_words(universe: Universe) -> SearchStrategy[CommandWords]:
    """Four words: an unknown opcode, RES0 bits that are set, or all random."""
    return st.one_of(unknown_words(universe), reserved_words(universe), _NOISE)


def some_mapping_commands(universe: Universe, alloc: bool = True) -> SearchStrategy[list[Command]]:
    """Some of `mapping_commands`, in their order: most often all."""
    everything = universe.mapping_commands(alloc)
    choices = st.lists(st.booleans(), min_size=len(everything), max_size=len(everything))
    some = choices.map(lambda chosen: [command for command, wanted in zip(everything, chosen, strict=True) if wanted])
    return st.one_of(some, st.just(everything), st.just(everything))


def programs(universe: Universe, max_size: int = 40) -> SearchStrategy[list[Command]]:
    """Programs that first map some devices, collections, vPEs and events, then do anything."""
    rest = st.lists(commands(universe), max_size=max_size)
    return st.builds(lambda first, then: first + then, some_mapping_commands(universe), rest)


def geometries() -> SearchStrategy[Geometry]:
    """Table layouts from one flat 4 KiB page to three 64 KiB pages of level 1 descriptors."""
    return st.builds(Geometry, st.integers(0, 2), st.booleans(), st.integers(1, 3))


def configurations(**choices: Any) -> SearchStrategy[GicConfig]:
    """Machines of one to three ITSs and two to five redistributors.

    `choices` fixes fields of `GicConfig`, or gives the strategies to draw them from.
    """
    drawn: dict[str, SearchStrategy[Any]] = {"architecture": st.sampled_from(["4.1", "4.0", "3"])}
    drawn |= {name: st.sampled_from(pool) for name, pool in MACHINE_CHOICES.items()}
    fixed = {name: _as_strategy(value) for name, value in choices.items()}
    return st.builds(GicConfig, **(drawn | fixed))


def _as_strategy(value: object) -> SearchStrategy[Any]:
    """A strategy as it is; any other value for itself."""
    return value if isinstance(value, SearchStrategy) else st.just(value)


@cache
def _valid(universe: Universe, mnemonic: str) -> SearchStrategy[Command]:
    pools = {name: st.sampled_from(universe.valid(mnemonic, name)) for name in universe.fields(mnemonic)}
    return st.fixed_dictionaries(pools).map(lambda fields: universe.tie(mnemonic, fields))


def _limited(universe: Universe, mnemonic: str) -> list[str]:
    """The fields of a command that have limits."""
    return [name for name in universe.fields(mnemonic) if universe.boundary(mnemonic, name)]


@cache
def _boundary(universe: Universe, mnemonic: str) -> SearchStrategy[Command]:
    limits = [(name, value) for name in _limited(universe, mnemonic) for value in universe.boundary(mnemonic, name)]
    beyond = st.sampled_from(limits)
    return st.builds(lambda command, limit: (mnemonic, command[1] | dict([limit])), _valid(universe, mnemonic), beyond)


def _with_reserved_bits(universe: Universe, command: Command, noise: CommandWords) -> CommandWords:
    """The command with random values in its RES0 bits, which hardware must not look at."""
    plain, free = words(command, universe.config.architecture), universe.reserved_bits(command[0])
    return tuple(word | extra & bits for word, extra, bits in zip(plain, noise, free, strict=True))
