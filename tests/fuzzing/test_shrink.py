# SPDX-License-Identifier: Apache-2.0
"""Shrinking: nothing that is not needed stays, and nothing impossible comes in."""

from gicmodel.fuzzing.finding import Plan, generate
from gicmodel.fuzzing.peers.oracle import PEER
from gicmodel.fuzzing.programs.hardware import EVENTS
from gicmodel.fuzzing.programs.program import CommandStep, Event, Program
from gicmodel.fuzzing.programs.text import format_step
from gicmodel.fuzzing.shrink import shrink
from gicmodel.layouts.commands import OPCODES


def program(architecture: str = "4.1") -> Program:
    return generate(PEER, Plan(seed=6, commands=300, architecture=architecture), 0)


def opcodes(candidate: Program) -> list[int]:
    return [step.words[0] & 0xFF for step in candidate.steps if isinstance(step, CommandStep)]


def verbs(candidate: Program) -> list[str]:
    return [step.verb for step in candidate.steps if isinstance(step, Event)]


def test_one_step_that_matters_is_left():
    small = shrink(program(), lambda candidate: OPCODES["INVALL"] in opcodes(candidate))
    assert [format_step(step, small.machine) for step in small.steps] == ["INVALL its=0 ICID=0x0"]


def test_two_steps_that_matter_stay_in_their_order():
    def fails(candidate: Program) -> bool:
        steps = [step.verb if isinstance(step, Event) else step.words[0] & 0xFF for step in candidate.steps]
        return OPCODES["DISCARD"] in steps and "acknowledge" in steps[steps.index(OPCODES["DISCARD"]) :]

    small = shrink(program("3"), fails)
    assert [format_step(step, small.machine) for step in small.steps] == [
        "DISCARD its=0 DeviceID=0x0 EventID=0x0",
        "acknowledge rd=0",
    ]


def test_every_candidate_is_possible():
    def fails(candidate: Program) -> bool:
        bounds = candidate.machine.limits()
        for step in candidate.steps:
            if isinstance(step, Event):
                assert all(value in bounds[name] for name, value in zip(EVENTS[step.verb], step.values, strict=True))
            else:
                assert step.its in bounds["its"]
        return "configure" in verbs(candidate)

    small = shrink(program(), fails)
    assert len(small.steps) == 1


def test_the_machine_becomes_simple():
    simple = shrink(program(), lambda candidate: True).machine
    assert simple.config.its == 1
    assert simple.config.command_errors == "stall"
    assert (simple.geometry.page_size, simple.geometry.indirect, simple.geometry.pages) == (0, False, 1)
