# SPDX-License-Identifier: Apache-2.0
"""The smallest program that still fails: fewer steps, then simpler values, then a simpler machine.

Every candidate keeps the rules that generated programs keep: tables stay where they are, and belong to whom they did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from gicmodel.config import GicConfig
from gicmodel.errors import UnusableInput
from gicmodel.fuzzing.comparison import Peer
from gicmodel.fuzzing.execution import EXCEPTION, divergence_of
from gicmodel.fuzzing.hypothesis.strategies import Geometry
from gicmodel.fuzzing.program import EVENTS, Command, CommandWords, Event, Machine, Program, Step, limits
from gicmodel.layouts.commands import COMMANDS
from gicmodel.layouts.lpi_tables import FIRST_LPI

Fails = Callable[[Program], bool]

_RENAMED = ("DeviceID", "EventID", "ICID", "vPEID", "RDbase", "pINTID", "vINTID", "INTID", "LPI", "rd", "vSGI", "its")
"""Fields whose values are names: one may take the place of another wherever it is."""
_LEAST = {"LPI": FIRST_LPI}
"""The least value of a name, if it is not 0: a step must stay one that `program.limits` allows."""
_SIMPLIFIED = ("Size", "Priority", "Enable", "Group", "D", "DB", "SeqNum", "ITSList", "Doorbell", "Default_Doorbell")
"""Fields of one command that may become 0 by themselves."""
_DEFAULTED = ("command_errors", "individual_doorbell", "vmovp", "nid", "discard_unmapped")
"""Choices of the machine that change neither where its tables are nor what a comparison may look at."""


def minimal(peer: Peer, program: Program) -> Program:
    """The smallest program found that the peer and the hardware still take differently.

    One that only raises an exception stands for another that does, and for nothing else.
    """
    original = divergence_of(peer, program)
    raises = original is not None and original.kind == EXCEPTION

    def fails(candidate: Program) -> bool:
        try:
            divergence = divergence_of(peer, candidate)
        except UnusableInput:
            # The simpler machine is none that this peer can have.
            return False
        return divergence is not None and (divergence.kind == EXCEPTION) == raises

    return shrink(program, fails)


def shrink(program: Program, fails: Fails) -> Program:
    """A program without a step that it could do without, and with simple values. `program` itself must fail."""
    program = _without_steps(program, fails)
    simpler = _simplified(program, fails)
    return _without_steps(simpler, fails) if simpler != program else program


def _without_steps(program: Program, fails: Fails) -> Program:
    """Take away halves, quarters, ... single steps, from the end, until no single one can go."""
    size = max(1, len(program.steps) // 2)
    while True:
        smaller = _without_blocks(program, fails, size)
        if size == 1 and len(smaller.steps) == len(program.steps):
            return smaller
        program, size = smaller, max(1, min(size // 2, len(smaller.steps) // 2))


def _without_blocks(program: Program, fails: Fails, size: int) -> Program:
    end = len(program.steps)
    while end > 0:
        start = max(0, end - size)
        candidate = program.of(program.steps[:start] + program.steps[end:])
        if fails(candidate):
            program = candidate
        end = start
    return program


def _simplified(program: Program, fails: Fails) -> Program:
    """Apply simplifications, from the first again after each success, until none helps."""
    while (simpler := next(filter(fails, filter(_is_possible, _simplifications(program))), None)) is not None:
        program = simpler
    return program


def _is_possible(program: Program) -> bool:
    """Whether the machine has what the events name."""
    bounds = limits(program.machine)
    events = (zip(EVENTS[step.verb], step.values, strict=True) for step in program.steps if isinstance(step, Event))
    return all(value in bounds[name] for event in events for name, value in event)


def _simplifications(program: Program) -> Iterator[Program]:
    yield from _simpler_machines(program)
    for name in _renamed_fields(program):
        values = sorted({value for step in program.steps for value in [_fields(step, program).get(name)] if value})
        for value in reversed(values):
            smaller = [other for other in (_LEAST.get(name, 0), *values) if other < value]
            yield from (_renamed(program, name, value, other) for other in smaller)
    for index, step in enumerate(program.steps):
        for simpler in _simpler_steps(step, program):
            yield program.of((*program.steps[:index], simpler, *program.steps[index + 1 :]))


def _renamed_fields(program: Program) -> tuple[str, ...]:
    """Hardware that retains need not see that another device's ITT becomes a device's."""
    if program.machine.config.caching == "retain":
        return tuple(name for name in _RENAMED if name != "DeviceID")
    return _RENAMED


def _simpler_machines(program: Program) -> Iterator[Program]:
    machine = program.machine
    config = machine.config
    used = 1 + max((_fields(step, program).get("its", 0) for step in program.steps), default=0)
    configs = [replace(config, its=used)] if used < config.its else []
    defaults = {name: getattr(GicConfig(), name) for name in _DEFAULTED}
    configs += [replace(config, **{name: value}) for name, value in defaults.items() if getattr(config, name) != value]
    for simpler in configs:
        yield replace(program, machine=Machine(simpler, machine.geometry))
    if machine.geometry != Geometry():
        yield replace(program, machine=Machine(config, Geometry()))


def _simpler_steps(step: Step, program: Program) -> Iterator[Step]:
    if isinstance(step, Command):
        fields = _fields(step, program)
        plain = _command(step, program, fields)
        if plain != step:
            yield plain
        for name in _SIMPLIFIED:
            if fields.get(name):
                yield _command(step, program, fields | {name: 0})


def _renamed(program: Program, name: str, old: int, new: int) -> Program:
    """The program with one value of a field replaced wherever it occurs."""
    return program.of([_with(step, program, name, old, new) for step in program.steps])


def _with(step: Step, program: Program, name: str, old: int, new: int) -> Step:
    fields = _fields(step, program)
    if fields.get(name) != old:
        return step
    if isinstance(step, Event):
        return Event(step.verb, tuple((fields | {name: new}).values()))
    if name == "its":
        return Command(new, step.words)
    return _command(step, program, fields | {name: new})


def _fields(step: Step, program: Program) -> dict[str, int]:
    """The fields of a step by name; of a command also `its`, and nothing else if its opcode is unknown."""
    if isinstance(step, Event):
        return dict(zip(EVENTS[step.verb], step.values, strict=True))
    layout = COMMANDS(program.machine.config.architecture).get(step.words[0] & 0xFF)
    return {"its": step.its} | (layout.unpack(step.words) if layout else {})


def _command(step: Command, program: Program, fields: dict[str, int]) -> Command:
    """A command with these fields, and no RES0 bit set."""
    layout = COMMANDS(program.machine.config.architecture).get(step.words[0] & 0xFF)
    if layout is None:
        return step
    values = {name: value for name, value in fields.items() if name != "its"}
    dw0, dw1, dw2, dw3 = layout.pack_words(**values)
    words: CommandWords = (dw0, dw1, dw2, dw3)
    return Command(step.its, words)
