# SPDX-License-Identifier: Apache-2.0
"""Commands in a row for one ITS are one run; an event stands alone."""

from gicmodel.fuzzing.programs.program import CommandStep, Event, Program, runs

A, B, C, D = ((number, 0, 0, 0) for number in range(4))
EVENT = Event("recover", (0,))


def test_runs() -> None:
    steps = [EVENT, CommandStep(0, A), CommandStep(0, B), CommandStep(1, C), EVENT, EVENT, CommandStep(1, D)]
    assert list(runs(steps)) == [EVENT, (0, [A, B]), (1, [C]), EVENT, EVENT, (1, [D])]
    assert list(runs([])) == []
    assert Program("oracle", None, tuple(steps)).commands == 4
