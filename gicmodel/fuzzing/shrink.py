# SPDX-License-Identifier: Apache-2.0
"""The smallest program that still fails: fewer steps, then simpler values, then a simpler machine.

Every candidate keeps the rules that generated programs keep: tables stay where they are, and belong to whom they did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from gicmodel.fuzzing.peers.peer import peer
from gicmodel.fuzzing.programs.notation import Notation
from gicmodel.fuzzing.programs.program import CommandStep, Event, Program, Step

Fails = Callable[[Program], bool]


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
    notation = peer(program.against).notation
    while True:
        possible = filter(notation.is_possible, _simplifications(program, notation))
        simpler = next(filter(fails, possible), None)
        if simpler is None:
            return program
        program = simpler


def _simplifications(program: Program, notation: Notation[Any]) -> Iterator[Program]:
    for machine in notation.simpler_machines(program):
        yield replace(program, machine=machine)
    for name in notation.renamed(program):
        seen = (notation.fields(step, program.machine).get(name) for step in program.steps)
        values = sorted({value for value in seen if value})
        for value in reversed(values):
            smaller = [other for other in (notation.least.get(name, 0), *values) if other < value]
            yield from (_renamed(program, notation, name, value, other) for other in smaller)
    for index, step in enumerate(program.steps):
        for simpler in _simpler_steps(step, program, notation):
            yield program.of((*program.steps[:index], simpler, *program.steps[index + 1 :]))


def _simpler_steps(step: Step, program: Program, notation: Notation[Any]) -> Iterator[Step]:
    fields = notation.fields(step, program.machine)
    if isinstance(step, Event):
        for name in notation.bits:
            value = fields.get(name, 0)
            fewer = (value & ~(1 << bit) for bit in range(value.bit_length()) if value >> bit & 1)
            yield from (notation.replaced(step, program.machine, fields | {name: less}) for less in fewer)
    else:
        plain = notation.replaced(step, program.machine, fields)
        if plain != step:
            yield plain
        for name in notation.simplified:
            if fields.get(name):
                yield notation.replaced(step, program.machine, fields | {name: 0})


def _renamed(program: Program, notation: Notation[Any], name: str, old: int, new: int) -> Program:
    """The program with one value of a field replaced wherever it occurs."""

    def renamed(step: Step) -> Step:
        fields = notation.fields(step, program.machine)
        if fields.get(name) != old:
            return step
        if isinstance(step, CommandStep) and name == "its":
            return CommandStep(new, step.words)
        return notation.replaced(step, program.machine, fields | {name: new})

    return program.of([renamed(step) for step in program.steps])
