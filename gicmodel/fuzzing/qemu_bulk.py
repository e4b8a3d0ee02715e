# SPDX-License-Identifier: Apache-2.0
"""Hundreds of thousands of random commands for QEMU and the model, thousands at a time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from numpy.typing import NDArray

from gicmodel.fuzzing.qemu_differences import avoided
from gicmodel.fuzzing.qemu_twins import Twins
from gicmodel.fuzzing.strategies import mnemonics
from gicmodel.fuzzing.universe import Universe
from gicmodel.layouts.commands import COMMANDS, OPCODES, encode_many, format_command

Packets = NDArray[np.uint64]

_WEIGHTS = {"INT": 4.0, "MAPTI": 2.0, "VMAPTI": 3.0, "INVALL": 0.2, "MOVALL": 0.5, "DISCARD": 0.5}
"""How often a command comes, 1 unless listed: QEMU walks whole pending tables for INVALL and MOVALL."""

_ROUND = 1000
"""Few enough that a difference is not often overwritten before RAM is compared."""

_MOVES_VPES = frozenset({"VMAPP", "VMOVP"})
_BOUNDARY_SHARE = 0.01
_ENABLED, _DISABLED = 0xA1, 0xA0


class Disagreement(AssertionError):
    """QEMU and the model differ; the message has the seed, the first command after which they do, and how."""


def hammer(make: Callable[[], Twins], seed: int, commands: int) -> Twins:
    """Execute about `commands` random commands on a pair of twins, comparing after each round, and return the pair.

    `make` boots a pair; the one that is returned is the caller's to close. Raises Disagreement.
    """
    twins = make()
    random = np.random.default_rng(seed)
    rounds = 0
    while twins.commands < commands:
        _round(twins, random, rounds)
        rounds += 1
        if differences := twins.differences():
            twins.peer.close()
            culprit = _first_command(make, seed, rounds)
            raise Disagreement(f"{culprit}: {len(differences)} differences, such as {differences[:4]}")
    return twins


def packets(universe: Universe, random: np.random.Generator, count: int, without: frozenset[str]) -> Packets:
    """About `count` commands as uint64 [n, 4], now and then with a field at or beyond its limit."""
    names = [name for name in mnemonics(universe.config.architecture) if name not in without]
    weights = np.array([_WEIGHTS.get(name, 1.0) for name in names])
    counts = random.multinomial(count, weights / weights.sum())
    parts = [_of_one_kind(universe, random, name, int(n)) for name, n in zip(names, counts, strict=True)]
    return random.permutation(np.concatenate(parts))


def _of_one_kind(universe: Universe, random: np.random.Generator, mnemonic: str, count: int) -> Packets:
    architecture = universe.config.architecture
    names = [name for name in COMMANDS(architecture)[OPCODES[mnemonic]].fields if name != "Opcode"]
    fields = {name: _values(universe, random, mnemonic, name, count) for name in names}
    if mnemonic == "VMAPP":
        fields["VPT_addr"] = _vpts(universe, fields["vPEID"])
    kept = ~np.broadcast_to(avoided(mnemonic, fields), count)
    return encode_many(mnemonic, architecture, **{name: values[kept] for name, values in fields.items()})


def _values(
    universe: Universe, random: np.random.Generator, mnemonic: str, name: str, count: int
) -> NDArray[np.uint64]:
    values = random.choice(np.array(universe.valid(mnemonic, name), np.uint64), count)
    limits = universe.boundary(mnemonic, name)
    if limits:
        beyond = random.choice(np.array(limits, np.uint64), count)
        values = np.where(random.random(count) < _BOUNDARY_SHARE, beyond, values)
    return values


def _vpts(universe: Universe, vpeids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The VPT of each vPEID: two vPEs with one VPT are not what software does."""
    index = np.zeros(len(vpeids), np.int64)
    for number, vpeid in enumerate(universe.vpeids):
        index[vpeids == np.uint64(vpeid)] = number
    return np.array(universe.vpts, np.uint64)[index]


def _round(twins: Twins, random: np.random.Generator, number: int, limit: int = _ROUND) -> Packets:
    """Register writes, then commands; in every other round no vPE moves, so that PendingLast can be compared."""
    _stir(twins, random)
    without = _MOVES_VPES if number % 2 else frozenset()
    commands = packets(twins.universe, random, _ROUND, without)[:limit]
    twins.run_words(commands)
    return commands


def _stir(twins: Twins, random: np.random.Generator) -> None:
    universe = twins.universe
    for event in (0, 1, 3, 8192):
        twins.message(event)
    for rd in range(twins.config.redistributors):
        if random.random() < 0.5:
            twins.enable_lpis(rd, False)
            twins.enable_lpis(rd, bool(random.random() < 0.9), ptz=bool(random.random() < 0.2))
        if twins.config.virtual:
            _reschedule(twins, random, rd)
    if twins.config.virtual:
        byte = _ENABLED if random.random() < 0.5 else _DISABLED
        for table, vintid in product(universe.vconfs, universe.intids):
            twins.configure_vlpi(table, vintid, byte)


def _reschedule(twins: Twins, random: np.random.Generator, rd: int) -> None:
    if rd in twins.residents():
        twins.deschedule(rd, doorbell=False, pending_last=False)
    elif random.random() < 0.8:
        vpt = twins.vpt_at_home(rd) or int(random.choice(twins.universe.vpts))
        twins.make_resident(rd, vpt, int(random.choice(twins.universe.vconfs)), twins.config.intid_bits)


def _first_command(make: Callable[[], Twins], seed: int, rounds: int) -> str:
    """The command of the last round after which the twins differ, found by bisection."""
    low, high, text = -1, _ROUND + 1, "not reproducible"
    while low + 1 < high:
        middle = (low + high) // 2
        differs, last = _replay(make, seed, rounds, middle)
        if differs:
            high, text = middle, last
        else:
            low = middle
    return f"seed {seed}, round {rounds - 1}, command {high - 1}, {text}"


def _replay(make: Callable[[], Twins], seed: int, rounds: int, limit: int) -> tuple[bool, str]:
    """Repeat the rounds, the last with `limit` commands only: whether the twins differ then, and the last command."""
    twins = make()
    random = np.random.default_rng(seed)
    for number in range(rounds - 1):
        _round(twins, random, number)
    commands = _round(twins, random, rounds - 1, limit)
    with twins.peer:
        last = format_command(commands[-1], twins.config.architecture) if limit else "the register writes before it"
        return bool(twins.differences()), last
