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
from gicmodel.fuzzing.universe import Universe
from gicmodel.lab.geometry import Geometry as Geometry
from gicmodel.layouts.commands import COMMANDS, OPCODES, encode
from gicmodel.layouts.its_tables import NO_DOORBELL
from gicmodel.layouts.lpi_tables import FIRST_LPI

Command = tuple[str, dict[str, int]]
"""A mnemonic, and the values of its fields."""

Words = tuple[int, ...]
"""The four 64-bit words of a command."""

MACHINE_CHOICES: dict[str, tuple[Any, ...]] = {
    "its": (1, 2, 3),
    "redistributors": (2, 3, 4, 5),
    "command_errors": ("ignore", "stall"),
    "individual_doorbell": ("edge", "every"),
    "event_id_bits": (16, 14, 5),
    "intid_bits": (16, 14, 15),
    "pta": (False, True),
    "vmovp": (False, True),
    "nid": (False, True),
}
"""Fields of `GicConfig` that any machine to be fuzzed may have any value of."""

_NOISE = st.tuples(*[st.integers(0, 2**64 - 1)] * 4)


def words(command: Command, architecture: str) -> Words:
    """The four words of a command."""
    mnemonic, fields = command
    return encode(mnemonic, architecture, **fields)


def mnemonics(architecture: str) -> list[str]:
    """The commands that an architecture has, in alphabetical order."""
    return sorted(mnemonic for mnemonic, opcode in OPCODES.items() if opcode in COMMANDS(architecture))


def valid_commands(universe: Universe, only: Sequence[str] = ()) -> SearchStrategy[Command]:
    """Commands whose fields are all in range; whether one succeeds depends on what is mapped. `only`: mnemonics."""
    chosen = only or mnemonics(universe.config.architecture)
    return st.sampled_from(chosen).flatmap(lambda mnemonic: _valid(universe, mnemonic))


def boundary_commands(universe: Universe, only: Sequence[str] = ()) -> SearchStrategy[Command]:
    """Commands with one field at or beyond its limit."""
    chosen = [each for each in only or mnemonics(universe.config.architecture) if _limited(universe, each)]
    return st.sampled_from(chosen).flatmap(lambda mnemonic: _boundary(universe, mnemonic))


def commands(universe: Universe, only: Sequence[str] = ()) -> SearchStrategy[Command]:
    """Valid commands, and now and then one at a limit."""
    kinds = (valid_commands, valid_commands, valid_commands, boundary_commands)
    return st.sampled_from(kinds).flatmap(lambda kind: kind(universe, only))


def unknown_words(universe: Universe) -> SearchStrategy[Words]:
    """Four words whose opcode the architecture does not have."""
    opcodes = st.integers(0, 0xFF).filter(lambda opcode: opcode not in COMMANDS(universe.config.architecture))
    return st.builds(lambda opcode, noise: (noise[0] & ~0xFF | opcode, *noise[1:]), opcodes, _NOISE)


def reserved_words(universe: Universe) -> SearchStrategy[Words]:
    """Four words that are a command but for the bits that are RES0, which hardware must not look at."""
    return st.builds(_with_reserved_bits, st.just(universe.config.architecture), commands(universe), _NOISE)


def malformed_words(universe: Universe) -> SearchStrategy[Words]:
    """Four words: an unknown opcode, RES0 bits that are set, or all random."""
    return st.one_of(unknown_words(universe), reserved_words(universe), _NOISE)


def mapping_commands(universe: Universe, alloc: bool = True) -> list[Command]:
    """Commands that map every device, collection and vPE of the universe, and two events of each device.

    `alloc`: this is the first ITS that maps the vPEs (GICv4.1).
    """
    devices = [
        {"DeviceID": device, "Size": universe.config.event_id_bits - 1, "ITT_addr": itt, "V": 1}
        for device, itt in zip(universe.device_ids, universe.itts, strict=False)
    ]
    collections = [
        {"ICID": icid, "RDbase": universe.config.rdbase(index % universe.config.redistributors), "V": 1}
        for index, icid in enumerate(universe.icids)
    ]
    events = [
        {"DeviceID": device, "EventID": 0, "pINTID": FIRST_LPI + index, "ICID": universe.icids[index % 2]}
        for index, device in enumerate(universe.device_ids)
    ]
    physical = [("MAPD", each) for each in devices] + [("MAPC", each) for each in collections]
    return physical + [("MAPTI", each) for each in events] + _mapping_vpes(universe, alloc)


def some_mapping_commands(universe: Universe, alloc: bool = True) -> SearchStrategy[list[Command]]:
    """Some of `mapping_commands`, in their order: most often all."""
    everything = mapping_commands(universe, alloc)
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


def _mapping_vpes(universe: Universe, alloc: bool) -> list[Command]:
    config = universe.config
    if config.architecture == "3":
        return []
    size = {"V": 1, "VPT_size": config.intid_bits - 1}
    if config.architecture == "4.1":
        size |= {"Alloc": int(alloc), "Default_Doorbell": FIRST_LPI + 2}
    vpes = [
        {"vPEID": vpeid, "RDbase": universe.config.rdbase(index % config.redistributors), **size}
        for index, vpeid in enumerate(universe.vpeids)
    ]
    events = [
        {"DeviceID": device, "EventID": 1, "vINTID": FIRST_LPI + index, "vPEID": vpeid, "Doorbell": NO_DOORBELL}
        for index, (device, vpeid) in enumerate(zip(universe.device_ids, universe.vpeids, strict=False))
    ]
    mapped = [_with_its_tables(universe, ("VMAPP", vpe)) for vpe in vpes]
    return mapped + [("VMAPTI", event) for event in events]


def _fields(universe: Universe, mnemonic: str) -> list[str]:
    layout = COMMANDS(universe.config.architecture)[OPCODES[mnemonic]]
    return [name for name in layout.fields if name != "Opcode"]


@cache
def _valid(universe: Universe, mnemonic: str) -> SearchStrategy[Command]:
    pools = {name: st.sampled_from(universe.valid(mnemonic, name)) for name in _fields(universe, mnemonic)}
    command = st.tuples(st.just(mnemonic), st.fixed_dictionaries(pools))
    if mnemonic == "VMAPP":
        return command.map(lambda drawn: _with_its_tables(universe, drawn))
    if mnemonic == "MAPD" and not universe.shared_itts:
        return command.map(lambda drawn: _with_its_itt(universe, drawn))
    return command


def _with_its_itt(universe: Universe, command: Command) -> Command:
    """A MAPD whose ITT is that of its DeviceID."""
    mnemonic, fields = command
    return mnemonic, fields | {"ITT_addr": universe.itts[universe.device_ids.index(fields["DeviceID"])]}


def _with_its_tables(universe: Universe, command: Command) -> Command:
    """A VMAPP whose tables are those of its vPEID: two vPEs with one VPT are not what software does."""
    mnemonic, fields = command
    index = universe.vpeids.index(fields["vPEID"])
    tables = {"VPT_addr": universe.vpts[index]}
    if universe.config.architecture == "4.1":
        tables["VCONF_addr"] = universe.vconfs[index % len(universe.vconfs)]
    return mnemonic, fields | tables


def _limited(universe: Universe, mnemonic: str) -> list[str]:
    """The fields of a command that have limits."""
    return [name for name in _fields(universe, mnemonic) if universe.boundary(mnemonic, name)]


@cache
def _boundary(universe: Universe, mnemonic: str) -> SearchStrategy[Command]:
    limits = [(name, value) for name in _limited(universe, mnemonic) for value in universe.boundary(mnemonic, name)]
    beyond = st.sampled_from(limits)
    return st.builds(lambda command, limit: (mnemonic, command[1] | dict([limit])), _valid(universe, mnemonic), beyond)


def _with_reserved_bits(architecture: str, command: Command, noise: Words) -> Words:
    """The command with random values in its RES0 bits, which hardware must not look at."""
    layout = COMMANDS(architecture)[OPCODES[command[0]]]
    named = [0, 0, 0, 0]
    for field in layout.fields.values():
        named[field.word] |= int(field.mask) << int(field.shift)
    plain = words(command, architecture)
    return tuple(word | extra & ~mask for word, extra, mask in zip(plain, noise, named, strict=True))
