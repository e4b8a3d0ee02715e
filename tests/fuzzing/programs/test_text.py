# SPDX-License-Identifier: Apache-2.0
"""Programs as text: what is written is read again, and what is no program is refused with its line."""

import random
from inspect import signature
from pathlib import Path

import numpy as np
import pytest

from gicmodel.errors import UnusableInput
from gicmodel.fuzzing.finding import Plan, generate, run
from gicmodel.fuzzing.peers.interrupts import DOES
from gicmodel.fuzzing.peers.oracle import PEER
from gicmodel.fuzzing.peers.pair import Pair
from gicmodel.fuzzing.programs.hardware import EVENTS
from gicmodel.fuzzing.programs.program import Program
from gicmodel.fuzzing.programs.text import format_program, parse_program, read_program, write_program
from gicmodel.fuzzing.programs.universe import Universe
from gicmodel.lab.placement import Allocation, place

HEADER = "gicmodel fuzz program, version 1\nagainst oracle\nconfig architecture=4.1\n"
TABLES = "tables page_size=0 indirect=0 pages=1\n"


@pytest.mark.parametrize("architecture", ["3", "4.0", "4.1"])
def test_round_trip(tmp_path: Path, architecture: str):
    program = generate(PEER, Plan(seed=5, commands=2000, architecture=architecture), 0)
    write_program(tmp_path / "program", program, "two lines\nof comment")
    assert read_program(tmp_path / "program") == program
    text = format_program(program)
    assert format_program(parse_program(text, "text")) == text


def test_every_event_can_be_performed():
    for verb, fields in EVENTS.items():
        does = DOES.get(verb) or getattr(Pair, verb)
        assert len(signature(does).parameters) - 1 == len(fields), verb


def test_comments_and_empty_lines_mean_nothing():
    bare = HEADER + TABLES + "SYNC its=0 RDbase=0x1\n"
    spaced = HEADER + "\n# tables\n" + TABLES + "\n  SYNC   its=0 RDbase=0x1  # wait\n\n"
    assert parse_program(spaced, "text") == parse_program(bare, "text")


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 1, "no fuzz program"),
        ("#!/bin/sh\nrm -rf /\n", 2, "no fuzz program"),
        ("gicmodel fuzz program, version 2\n", 1, "only 1 is known"),
        ("gicmodel fuzz program, version 1\n", 2, "'against' is needed"),
        ("gicmodel fuzz program, version 1\nagainst nobody\n", 2, "against one of"),
        (HEADER.replace("4.1", "5") + TABLES, 3, "GicConfig.architecture"),
        (HEADER.replace("4.1", "4.1 its=17") + TABLES, 3, "GicConfig.its"),
        (HEADER.replace("4.1", "4.1 colour=1") + TABLES, 3, "'colour=1'"),
        (HEADER.replace("4.1", "4.1 commands_per_step=1") + TABLES, 3, "'commands_per_step=1'"),
        (HEADER.replace("4.1", "4.1 pta=2") + TABLES, 3, "pta=0x2"),
        (HEADER + "tables page_size=0\n", 4, "tables needs"),
        (HEADER + TABLES.replace("pages=1", "pages=99999999"), 4, "pages=0x5f5e0ff"),
        (HEADER + TABLES + "FROB its=0\n", 5, "'FROB' is neither"),
        (HEADER + TABLES + "\n\nSYNC\n", 7, "its= and the number"),
        (HEADER + TABLES + "SYNC its=9\n", 5, "its=0x9"),
        (HEADER + TABLES + "SYNC its=0 RDbase=-1\n", 5, "'RDbase=-1'"),
        (HEADER + TABLES + "SYNC its=0 RDbase=0xfffffffffffffffffff\n", 5, "not a value of 36 bits"),
        (HEADER + TABLES + "SYNC its=0 RDbase=1 RDbase=1\n", 5, "given once"),
        (HEADER + TABLES + "words its=0 1 2 3\n", 5, "3 words"),
        (HEADER + TABLES + "words its=0 1 2 3 0x1ffffffffffffffff\n", 5, "is not a number"),
        (HEADER + TABLES + "translate its=0 DeviceID=1\n", 5, "translate needs its, DeviceID, EventID"),
        (HEADER + TABLES + "acknowledge rd=512\n", 5, "rd=0x200"),
        (HEADER + TABLES + "configure LPI=0xffffffff byte=1\n", 5, "LPI=0xffffffff"),
        (HEADER.replace("4.1", "3") + TABLES + "VSYNC its=0 vPEID=1\n", 5, "no command VSYNC"),
    ],
)
def test_what_is_no_program_is_refused(text: str, line: int, reason: str):
    with pytest.raises(UnusableInput, match=r"^file:\d+: ") as refused:
        parse_program(text, "file")
    assert str(refused.value).startswith(f"file:{line}: ")
    assert reason in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_garbage_is_refused_or_read(tmp_path: Path):
    """A valid program with any of its bytes changed is either a program or one line of refusal."""
    octets = format_program(generate(PEER, Plan(seed=6, commands=40, architecture="4.1"), 0)).encode()
    draw = random.Random(1)
    file = tmp_path / "program"
    for _ in range(300):
        changed = bytearray(octets)
        for _ in range(draw.randrange(1, 6)):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        file.write_bytes(changed)
        assert "\n" not in refusal(file)


def refusal(file: Path) -> str:
    """Why a file is refused; empty for a program."""
    try:
        read_program(file)
    except UnusableInput as refused:
        return str(refused)
    return ""


def test_a_machine_too_large_is_refused():
    huge = HEADER.replace("4.1", "4.1 redistributors=32 intid_bits=24") + TABLES
    with pytest.raises(UnusableInput, match="cannot have"):
        PEER.start(parse_program(huge, "file").machine)


@pytest.mark.parametrize(
    ("choices", "reason"),
    [
        ("architecture=4.0", "vpt_writeback=unmap on GICv4.0"),
        ("architecture=4.0 vpt_writeback=deschedule", "vpt_writeback=deschedule on GICv4.0"),
        ("architecture=3 caching=retain its=2", "caching=retain with its=2"),
    ],
)
def test_a_machine_that_the_oracle_cannot_judge_is_refused(choices: str, reason: str):
    """It would find differences that are none."""
    text = HEADER.replace("architecture=4.1", choices) + TABLES
    with pytest.raises(UnusableInput, match=f"the oracle cannot judge {reason}"):
        PEER.start(parse_program(text, "file").machine)


CHOICES = [
    *("its=16", "redistributors=1", "redistributors=32", "collection_id_bits=1", "vpe_id_bits=1", "event_id_bits=1"),
    *("device_id_bits=1", "device_id_bits=24", "intid_bits=14", "intid_bits=20", "hcc=1", "hcc=64", "hcc=255"),
    *("svpet=0", "svpet=3", "common_lpi_aff=0", "common_lpi_aff=3", "vpt_cache_sets=1", "table_cache_lines=1"),
    *("umsi=0", "inv=0", "direct_lpi=0", "nid=0", "vmovp=0", "pta=1", "seis=1", "mpam=1", "caching=retain"),
    *("discard_unmapped=refuse", "individual_doorbell=every", "command_errors=ignore", "pending_writeback=immediate"),
]


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("architecture", ["3", "4.0", "4.1"])
def test_a_machine_with_any_choice_is_judged_as_it_is(architecture: str, choice: str):
    """What a program of somebody's own may choose and campaigns do not: the oracle knows of each choice, or refuses."""
    base = f"architecture={architecture} vpt_writeback=immediate"
    machine = parse_program(HEADER.replace("architecture=4.1", f"{base} {choice}") + TABLES, "file").machine
    universe = Universe.of(machine.config, place(machine.config, machine.geometry, Allocation()))
    steps = tuple(PEER.steps(np.random.default_rng(3), universe, 120))
    assert run(PEER, Program("oracle", machine, steps)).divergence is None
