# SPDX-License-Identifier: Apache-2.0
"""What the tests of Linux' peers run: programs of a VM that is set up, campaigns that must find nothing, or a bug."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from gicmodel.fuzzing.finding import Plan, run_chunk
from gicmodel.fuzzing.peers.linux import source
from gicmodel.fuzzing.peers.peer import Peer
from gicmodel.fuzzing.programs.program import Program
from gicmodel.fuzzing.programs.text import format_program, parse_program

_SET_UP = """gicmodel fuzz program, version 1
against linux-kvm
vm architecture=4.1 vcpus=1 its=1 vsgis=0

poke_byte address=0x40050000 byte=0xa3
rd_write rd=0 offset=0x70 value=0x4005000f size=8
rd_write rd=0 offset=0x78 value=0x40100000 size=8
rd_write rd=0 offset=0 value=1 size=4
its_write its=0 offset=0x100 value=0x8000000040020000 size=8
its_write its=0 offset=0x108 value=0x8000000040040000 size=8
its_write its=0 offset=0x80 value=0x8000000040010000 size=8
its_write its=0 offset=0 value=1 size=4
MAPC its=0 ICID=0x0 RDbase=0x0 V=1
MAPD its=0 DeviceID=0x0 Size=0x3 ITT_addr=0x400c0800 V=1
"""


def with_a_device(steps: str) -> Program:
    """Steps of a VM whose LPIs, queue and tables are set up, with collection 0 and device 0 of 16 events."""
    return parse_program(_SET_UP + steps, "this test")


def outcomes_of(peer: Peer, plan: Plan) -> Counter[tuple[str, object]]:
    """What the operations of a campaign came to, which finds nothing."""
    outcomes: Counter[tuple[str, object]] = Counter()
    for chunk in range(plan.chunks(peer)):
        result = run_chunk(peer, plan, chunk)
        assert result.finding is None, format_program(result.finding.program, result.finding.difference)
        outcomes += result.outcomes
    return outcomes


def finds_something(peer: Peer, plan: Plan) -> bool:
    """Whether a campaign does."""
    return any(run_chunk(peer, plan, chunk).finding for chunk in range(plan.chunks(peer)))


class Bug(NamedTuple):
    """`broken` gets the function that it replaces, and its arguments."""

    place: Any
    name: str
    broken: Callable[..., Any]
    architecture: str = "3"


def nothing(original: object, *arguments: object, **named: object) -> None:
    """A step that is left out."""


def other_sources(linux_source: Path) -> list[Path]:
    """Every other source that is here."""
    return [path for path in source.INSTALLED.glob("linux-source-*.tar*") if path != linux_source]
