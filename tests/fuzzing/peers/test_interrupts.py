# SPDX-License-Identifier: Apache-2.0
"""What is not compared after a step could not have changed with it; what changes by itself is noticed."""

import numpy as np
import pytest

from gicmodel.fuzzing.peers.interrupts import DOES, check_lines, check_registers, concerned
from gicmodel.fuzzing.peers.oracle import PEER, AgainstOracle
from gicmodel.fuzzing.peers.peer import Divergence
from gicmodel.fuzzing.programs.draw import draw_steps
from gicmodel.fuzzing.programs.interrupts import Kinds
from gicmodel.fuzzing.programs.program import CommandStep, Event
from gicmodel.hardware.kernels.state import DIST, DIST_AT, RD, rd_at


@pytest.fixture(params=["3", "4.0", "4.1"])
def booted(request: pytest.FixtureRequest) -> AgainstOracle:
    return PEER.start(PEER.machine(np.random.default_rng(5), request.param))


def test_an_event_changes_lines_of_those_that_it_concerns_only(booted: AgainstOracle) -> None:
    steps = draw_steps(np.random.default_rng(5), booted.universe, commands=300, interrupts=80)
    seen = 0
    for step in steps:
        if isinstance(step, CommandStep):
            booted.run([step])
            continue
        before = [booted.oracle.lines(pe) for pe in range(booted.config.redistributors)]
        booted.perform(step)
        after = [booted.oracle.lines(pe) for pe in range(booted.config.redistributors)]
        changed = {pe for pe, lines in enumerate(after) if lines != before[pe]}
        assert changed <= set(concerned(booted, step)), step
        seen += len(changed)
        check_lines(booted)
    assert seen > 50


@pytest.mark.parametrize(
    ("place", "what"),
    [(DIST_AT + DIST.enable, "GICD_I[SC]ENABLER[01]"), (int(rd_at(1)) + RD.active, "GICR_I[SC]ACTIVER0 of 1")],
)
def test_a_register_that_changes_by_itself_is_noticed(booted: AgainstOracle, place: int, what: str) -> None:
    booted.perform(Event("set_priority", (0, 3, 0x80)))
    check_registers(booted)
    check_registers(booted)
    booted.lab.gic.machine.chip[place] ^= np.uint64(1 << 33 | 1 << 3)
    with pytest.raises(Divergence, match=what):
        check_registers(booted)


def test_an_event_that_the_hardware_overlooks_is_noticed(
    booted: AgainstOracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_registers(booted)
    monkeypatch.setitem(DOES, "sleep", lambda pair, rd, asleep: pair.oracle.set_priority(rd, 3, 0x80))
    booted.perform(Event("sleep", (0, 1)))
    with pytest.raises(Divergence, match="GICR_IPRIORITYR0 of 0"):
        check_registers(booted)


def test_kinds_are_chosen_as_numpy_chooses() -> None:
    shares = [3.0, 0.5, 1.0, 0.2]
    weights = np.array(shares) / sum(shares)
    draws = [(share, lambda number=number: [Event(str(number), ())]) for number, share in enumerate(shares)]
    drawn = [event.verb for event in Kinds(np.random.default_rng(1), draws).some(500)]
    assert drawn == [str(kind) for kind in np.random.default_rng(1).choice(len(shares), 500, p=weights)]
