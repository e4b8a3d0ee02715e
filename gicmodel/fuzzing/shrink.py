# SPDX-License-Identifier: Apache-2.0
"""The smallest program that still fails: fewer steps, then simpler values, then a simpler machine.

Every candidate keeps the rules that generated programs keep: tables stay where they are, and belong to whom they did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from gicmodel.fuzzing.programs.program import CommandStep, Event, Machine, Program, Step

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
    while True:
        possible = (each for each in _simplifications(program) if each.machine.has_all(each.steps))
        simpler = next(filter(fails, possible), None)
        if simpler is None:
            return program
        program = simpler


def _simplifications(program: Program) -> Iterator[Program]:
    machine = program.machine
    for simpler in machine.simpler(program.steps):
        yield replace(program, machine=simpler)
    for name in machine.renamed():
        values = sorted({value for step in program.steps if (value := machine.fields(step).get(name))})
        for value in reversed(values):
            smaller = [other for other in (machine.least.get(name, 0), *values) if other < value]
            yield from (_renamed(program, name, value, other) for other in smaller)
    for index, step in enumerate(program.steps):
        for fewer in _simpler_steps(step, machine):
            yield program.of((*program.steps[:index], fewer, *program.steps[index + 1 :]))


def _simpler_steps(step: Step, machine: Machine) -> Iterator[Step]:
    fields = machine.fields(step)
    if isinstance(step, Event):
        for name in machine.bits:
            value = fields.get(name, 0)
            fewer = (value & ~(1 << bit) for bit in range(value.bit_length()) if value >> bit & 1)
            yield from (machine.replaced(step, fields | {name: less}) for less in fewer)
    else:
        plain = machine.replaced(step, fields)
        if plain != step:
            yield plain
        for name in machine.simplified:
            if fields.get(name):
                yield machine.replaced(step, fields | {name: 0})


def _renamed(program: Program, name: str, old: int, new: int) -> Program:
    """The program with one value of a field replaced wherever it occurs."""

    def renamed(step: Step) -> Step:
        fields = program.machine.fields(step)
        if fields.get(name) != old:
            return step
        if isinstance(step, CommandStep) and name == "its":
            return CommandStep(new, step.words)
        return program.machine.replaced(step, fields | {name: new})

    return program.of([renamed(step) for step in program.steps])
